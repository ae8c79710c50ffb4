/* Typed getters and the table-driven reader: every failure says place, key, expected and found. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include "base/err.h"
#include "formats/json.h"

#define FOUND_TEXT 96
#define EXPECT_TEXT 256

/* ---- finding and describing ---------------------------------------------------------------- */

static const json_t *not_null(const json_t *v)
{
    return v && !json_is_null(v) ? v : NULL;
}

const json_t *json_dig(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    while (!v) {
        const char *dot = strchr(key, '.');
        if (!dot || !json_is_object(obj))
            return NULL;
        obj = json_object_getn(obj, key, (size_t)(dot - key));
        key = dot + 1;
        v = json_object_get(obj, key);
    }
    return not_null(v);
}

/* A value in a few words, for the end of a sentence. */
static const char *describe(const json_t *v, char out[FOUND_TEXT])
{
    switch (json_typeof(v)) {
    case JSON_INTEGER: snprintf(out, FOUND_TEXT, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: snprintf(out, FOUND_TEXT, "%.17g", json_real_value(v)); break;
    case JSON_STRING: snprintf(out, FOUND_TEXT, "string \"%.60s\"", json_string_value(v)); break;
    case JSON_ARRAY: snprintf(out, FOUND_TEXT, "array of %zu", json_array_size(v)); break;
    case JSON_OBJECT: return "object";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return out;
}

static int mismatch(int code, const char *place, const char *key, const char *what, const json_t *found)
{
    char text[FOUND_TEXT];
    return err_set(code, "%s: %s: expected %s, found %s", place, key, what, describe(found, text));
}

static int expected(const char *place, const char *key, const char *what, const json_t *found)
{
    return mismatch(NUN_EFORMAT, place, key, what, found);
}

int json_missing(const char *place, const char *key)
{
    return err_set(NUN_EFORMAT, "%s: %s: required, but absent or null", place, key);
}

/* ---- values already found ------------------------------------------------------------------ */

static int want_int(const json_t *v, const char *place, const char *key, int64_t lo, int64_t hi, int64_t *out)
{
    double whole;
    int64_t x = 0;
    bool ok = json_is_integer(v);
    if (ok) {
        x = json_integer_value(v);
    } else if (json_is_real(v) && modf(json_real_value(v), &whole) == 0.0 && fabs(whole) <= 0x1p53) {
        x = (int64_t)whole; /* 4096.0: some configs write counts so */
        ok = true;
    }
    char what[EXPECT_TEXT];
    snprintf(what, sizeof what, "integer in [%" PRId64 ", %" PRId64 "]", lo, hi);
    if (!ok || x < lo || x > hi)
        return expected(place, key, what, v);
    *out = x;
    return 0;
}

static bool as_double(const json_t *v, double *out)
{
    if (json_is_number(v))
        return *out = json_number_value(v), true;
    const char *s = json_string_value(v);
    if (s && strcmp(s, "NaN") == 0)
        return *out = NAN, true;
    if (s && (strcmp(s, "Infinity") == 0 || strcmp(s, "-Infinity") == 0))
        return *out = s[0] == '-' ? -INFINITY : INFINITY, true;
    return false;
}

static int want_double(const json_t *v, const char *place, const char *key, double lo, double hi, double *out)
{
    double x = 0;
    char what[EXPECT_TEXT];
    snprintf(what, sizeof what, "number in [%g, %g]", lo, hi);
    if (!as_double(v, &x) || !(x >= lo && x <= hi))
        return expected(place, key, what, v);
    *out = x;
    return 0;
}

static int want_string(const json_t *v, const char *place, const char *key, const char **out)
{
    if (!json_is_string(v))
        return expected(place, key, "string", v);
    if (strlen(json_string_value(v)) != json_string_length(v))
        return expected(place, key, "string without NUL", v);
    *out = json_string_value(v);
    return 0;
}

static int want_enum(const json_t *v, const char *place, const char *key, const struct json_name *names, int *out)
{
    const char *s = json_string_value(v);
    char what[EXPECT_TEXT] = "one of";
    size_t at = strlen(what);
    for (const struct json_name *n = names; n->name; n++) {
        if (s && strcmp(s, n->name) == 0)
            return *out = n->value, 0;
        int k = snprintf(what + at, sizeof what - at, "%s \"%s\"", n == names ? "" : ",", n->name);
        at += k > 0 && (size_t)k < sizeof what - at ? (size_t)k : 0;
        what[at] = '\0';
    }
    return mismatch(s ? NUN_EUNSUP : NUN_EFORMAT, place, key, what, v);
}

/* The list's items one by one: `one` stores item i. A lone value is a list of one. */
static int want_list(const json_t *v, const char *place, const char *key, int cap, int *count,
                     int (*one)(const json_t *item, const char *place, const char *key, int i, void *arg), void *arg)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    char what[EXPECT_TEXT], name[EXPECT_TEXT];
    snprintf(what, sizeof what, "at most %d numbers", cap);
    if (n > (size_t)cap)
        return expected(place, key, what, v);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s[%zu]", key, i);
        TRY(one(json_is_array(v) ? json_array_get(v, i) : v, place, json_is_array(v) ? name : key, (int)i, arg));
    }
    *count = (int)n;
    return 0;
}

struct int_list { int64_t lo, hi; int *out; };
struct float_list { double lo, hi; float *out; };

static int one_int(const json_t *item, const char *place, const char *key, int i, void *arg)
{
    const struct int_list *l = arg;
    int64_t x;
    TRY(want_int(item, place, key, l->lo, l->hi, &x));
    l->out[i] = (int)x;
    return 0;
}

static int one_float(const json_t *item, const char *place, const char *key, int i, void *arg)
{
    const struct float_list *l = arg;
    double x;
    TRY(want_double(item, place, key, l->lo, l->hi, &x));
    l->out[i] = (float)x;
    return 0;
}

/* ---- getters ------------------------------------------------------------------------------- */

#define FIND(obj, key)                            \
    const json_t *v = json_dig(obj, key);         \
    if (!v)                                       \
        return 1

int json_get_int(const json_t *obj, const char *place, const char *key, int64_t lo, int64_t hi, int64_t *out)
{
    FIND(obj, key);
    return want_int(v, place, key, lo, hi, out);
}

int json_get_double(const json_t *obj, const char *place, const char *key, double lo, double hi, double *out)
{
    FIND(obj, key);
    return want_double(v, place, key, lo, hi, out);
}

int json_get_bool(const json_t *obj, const char *place, const char *key, bool *out)
{
    FIND(obj, key);
    if (!json_is_boolean(v))
        return expected(place, key, "true or false", v);
    *out = json_is_true(v);
    return 0;
}

int json_get_string(const json_t *obj, const char *place, const char *key, const char **out)
{
    FIND(obj, key);
    return want_string(v, place, key, out);
}

int json_get_object(const json_t *obj, const char *place, const char *key, const json_t **out)
{
    FIND(obj, key);
    if (!json_is_object(v))
        return expected(place, key, "object", v);
    *out = v;
    return 0;
}

int json_get_array(const json_t *obj, const char *place, const char *key, const json_t **out)
{
    FIND(obj, key);
    if (!json_is_array(v))
        return expected(place, key, "array", v);
    *out = v;
    return 0;
}

int json_get_ints(const json_t *obj, const char *place, const char *key, int64_t lo, int64_t hi,
                  int *out, int cap, int *count)
{
    FIND(obj, key);
    struct int_list l = {lo < INT_MIN ? INT_MIN : lo, hi > INT_MAX ? INT_MAX : hi, out};
    return want_list(v, place, key, cap, count, one_int, &l);
}

int json_get_floats(const json_t *obj, const char *place, const char *key, double lo, double hi,
                    float *out, int cap, int *count)
{
    FIND(obj, key);
    struct float_list l = {lo, hi, out};
    return want_list(v, place, key, cap, count, one_float, &l);
}

int json_get_enum(const json_t *obj, const char *place, const char *key, const struct json_name *names, int *out)
{
    FIND(obj, key);
    return want_enum(v, place, key, names, out);
}

/* ---- the table-driven reader --------------------------------------------------------------- */

/* One row at work. `key` is the full dotted name for messages. */
struct slot { const struct json_field *row; const char *place, *key; char *member, *count; };

static void bounds(const struct json_field *f, double widest, double *lo, double *hi)
{
    bool any = f->min == 0 && f->max == 0;
    *lo = any ? -widest : f->min;
    *hi = any ? widest : f->max;
}

static int read_int(const struct slot *s, const json_t *v)
{
    double lo, hi;
    bool wide = s->row->kind == JSON_KIND_INT64;
    int64_t x = (int64_t)s->row->def;
    bounds(s->row, wide ? 0x1p62 : INT_MAX, &lo, &hi);
    if (v)
        TRY(want_int(v, s->place, s->key, (int64_t)lo, (int64_t)hi, &x));
    if (wide)
        *(int64_t *)(void *)s->member = x;
    else
        *(int *)(void *)s->member = (int)x;
    return 0;
}

static int read_double(const struct slot *s, const json_t *v)
{
    double lo, hi, x = s->row->def;
    bounds(s->row, INFINITY, &lo, &hi);
    if (v)
        TRY(want_double(v, s->place, s->key, lo, hi, &x));
    if (s->row->kind == JSON_KIND_DOUBLE)
        *(double *)(void *)s->member = x;
    else
        *(float *)(void *)s->member = (float)x;
    return 0;
}

static int read_bool(const struct slot *s, const json_t *v)
{
    if (v && !json_is_boolean(v))
        return expected(s->place, s->key, "true or false", v);
    *(bool *)s->member = v ? json_is_true(v) : s->row->def != 0;
    return 0;
}

static int read_string(const struct slot *s, const json_t *v)
{
    const char **out = (const char **)(void *)s->member;
    *out = s->row->def_string;
    return v ? want_string(v, s->place, s->key, out) : 0;
}

static int read_enum(const struct slot *s, const json_t *v)
{
    int *out = (int *)(void *)s->member;
    *out = (int)s->row->def;
    return v ? want_enum(v, s->place, s->key, s->row->names, out) : 0;
}

static int read_list(const struct slot *s, const json_t *v)
{
    double lo, hi;
    int *count = (int *)(void *)s->count;
    bool ints = s->row->kind == JSON_KIND_INTS;
    bounds(s->row, ints ? INT_MAX : INFINITY, &lo, &hi);
    struct int_list il = {ints ? (int64_t)lo : 0, ints ? (int64_t)hi : 0, (int *)(void *)s->member};
    struct float_list fl = {lo, hi, (float *)(void *)s->member};
    *count = 0;
    if (!v)
        return 0;
    return ints ? want_list(v, s->place, s->key, s->row->cap, count, one_int, &il)
                : want_list(v, s->place, s->key, s->row->cap, count, one_float, &fl);
}

static int read_node(const struct slot *s, const json_t *v)
{
    *(const json_t **)(void *)s->member = v;
    return 0;
}

static int (*const readers[])(const struct slot *s, const json_t *v) = {
    [JSON_KIND_INT] = read_int,       [JSON_KIND_INT64] = read_int,     [JSON_KIND_FLOAT] = read_double,
    [JSON_KIND_DOUBLE] = read_double, [JSON_KIND_BOOL] = read_bool,     [JSON_KIND_STRING] = read_string,
    [JSON_KIND_ENUM] = read_enum,     [JSON_KIND_INTS] = read_list,     [JSON_KIND_FLOATS] = read_list,
    [JSON_KIND_NODE] = read_node,
};

/* Step through "a|b|c": the next spelling, or false. */
static bool next_spelling(const char **at, struct span *key)
{
    if (!**at)
        return false;
    size_t n = strcspn(*at, "|");
    *key = span_of(*at, n);
    *at += n + ((*at)[n] == '|');
    return true;
}

static int read_row(const json_t *obj, const char *place, const char *path, const struct json_field *f, char *dst)
{
    char name[EXPECT_TEXT];
    struct span key;
    const json_t *v = NULL;
    for (const char *at = f->key; !v && next_spelling(&at, &key);) {
        snprintf(name, sizeof name, "%.*s", (int)key.len, key.ptr);
        v = json_dig(obj, name);
    }
    snprintf(name, sizeof name, "%s%s%s", path, *path ? "." : "", f->key);
    if (!v && f->required)
        return json_missing(place, name);
    if (v)
        snprintf(name, sizeof name, "%s%s%.*s", path, *path ? "." : "", (int)key.len, key.ptr);
    struct slot s = {f, place, name, dst + f->offset, dst + f->count_offset};
    return readers[f->kind](&s, v);
}

static bool is_row(const struct json_field *rows, size_t count, struct span name)
{
    struct span key;
    for (size_t i = 0; i < count; i++)
        for (const char *at = rows[i].key; next_spelling(&at, &key);)
            if (span_eq(key, name))
                return true;
    return false;
}

static bool is_ignored(const char *const *list, struct span name)
{
    for (; list && *list; list++) {
        struct span pattern = span_str(*list);
        bool prefix = span_ends(pattern, SPAN("*"));
        pattern.len -= prefix;
        if (prefix ? span_starts(name, pattern) : span_eq(name, pattern))
            return true;
    }
    return false;
}

static int check_unknown(const json_t *obj, const char *place, const char *path, const struct json_field *rows,
                         size_t count, const struct json_unknown *u)
{
    json_t *o = (json_t *)obj;
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
        const char *key = json_object_iter_key(it);
        char found[FOUND_TEXT];
        if (is_row(rows, count, span_str(key)) || is_ignored(u->ignore, span_str(key)))
            continue;
        if (u->report)
            u->report(u->arg, key, json_object_iter_value(it));
        if (u->strict)
            return err_set(NUN_EUNSUP, "%s: %s%s%s: expected only keys that are understood, found this one with %s",
                           place, path, *path ? "." : "", key, describe(json_object_iter_value(it), found));
    }
    return 0;
}

int json_read(const json_t *root, const char *place, const char *path, const struct json_field *rows, size_t count,
              void *dst, const struct json_unknown *unknown)
{
    const json_t *obj = *path ? json_dig(root, path) : root;
    if (!obj)
        return json_missing(place, path);
    if (!json_is_object(obj))
        return expected(place, *path ? path : "top level", "object", obj);
    for (size_t i = 0; i < count; i++)
        TRY(read_row(obj, place, path, &rows[i], dst));
    return unknown ? check_unknown(obj, place, path, rows, count, unknown) : 0;
}
