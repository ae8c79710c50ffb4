/* Values of templates as Python has them: truth, equality, order, membership, and dicts that keep the
 * order of insertion. Knows nothing of nodes; the evaluator and every row call it. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/ck.h"
#include "base/hash.h"
#include "base/limits.h"
#include "text/jinja_int.h"

enum { DICT_SMALL = 8 };

const char *jinja_kind_name(const struct jinja_value *v)
{
    static const char *const names[JV_KIND_COUNT] = {
        [JV_ABSENT] = "nothing", [JV_UNDEFINED] = "Undefined", [JV_NONE] = "NoneType", [JV_BOOL] = "bool", [JV_INT] = "int",
        [JV_FLOAT] = "float", [JV_STRING] = "str", [JV_LIST] = "list", [JV_TUPLE] = "tuple", [JV_RANGE] = "range",
        [JV_VIEW] = "dict view", [JV_GENERATOR] = "generator", [JV_DICT] = "dict", [JV_NAMESPACE] = "Namespace",
        [JV_MACRO] = "Macro", [JV_NATIVE] = "function", [JV_LOOP] = "LoopContext", [JV_SLICE] = "slice"};
    return names[v->kind];
}

bool jinja_truth(const struct jinja_value *v)
{
    switch (v->kind) {
    case JV_ABSENT:
    case JV_UNDEFINED:
    case JV_NONE: return false;
    case JV_BOOL: return v->b;
    case JV_INT: return v->i != 0;
    case JV_FLOAT: return v->f != 0;
    case JV_STRING: return v->s->len != 0;
    case JV_LIST:
    case JV_TUPLE:
    case JV_RANGE:
    case JV_VIEW: return v->seq->n != 0;
    case JV_DICT: return v->dict->n != 0;
    default: return true; /* generators too: they cannot tell */
    }
}

int jinja_length(struct jinja_run *r, const struct jinja_value *v, size_t *out)
{
    if (v->kind == JV_STRING)
        *out = jinja_chars(v->s);
    else if (jinja_is_seq(v) && v->kind != JV_GENERATOR)
        *out = v->seq->n;
    else if (v->kind == JV_DICT)
        *out = v->dict->n;
    else if (v->kind == JV_UNDEFINED)
        *out = 0;
    else if (v->kind == JV_LOOP)
        *out = v->loop->items->n;
    else
        return 1;
    return v->kind == JV_STRING ? jinja_charge(r, v->s->len / 64) : 0;
}

/* ---- equality and order -------------------------------------------------------------------------------------- */

static int equal_seqs(struct jinja_run *r, const struct jinja_seq *a, const struct jinja_seq *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++)
        TRY(jinja_equal(r, &a->at[i], &b->at[i], out));
    return jinja_charge(r, a->n);
}

static int equal_dicts(struct jinja_run *r, const struct jinja_dict *a, const struct jinja_dict *b, bool *out)
{
    struct jinja_value other;
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        int rc = jinja_dict_get(r, b, &a->at[i].key, &other);
        TRY(rc);
        *out = rc == 0;
        if (*out)
            TRY(jinja_equal(r, &a->at[i].value, &other, out));
    }
    return jinja_charge(r, a->n);
}

static bool equal_numbers(const struct jinja_value *a, const struct jinja_value *b)
{
    if (jinja_is_int(a) && jinja_is_int(b))
        return jinja_as_int(a) == jinja_as_int(b);
    return jinja_as_double(a) == jinja_as_double(b);
}

static int equal_inside(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, bool *out)
{
    TRY(jinja_deeper(r));
    int rc = a->kind == JV_DICT ? equal_dicts(r, a->dict, b->dict, out) : equal_seqs(r, a->seq, b->seq, out);
    r->depth--;
    return rc;
}

int jinja_equal(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, bool *out)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = equal_numbers(a, b);
        return 0;
    }
    *out = a->kind == b->kind;
    if (!*out)
        return 0;
    if (a->kind == JV_STRING) {
        *out = span_eq(jinja_span(a->s), jinja_span(b->s));
        return jinja_charge(r, a->s->len == b->s->len ? a->s->len / 64 : 0);
    }
    if (a->kind == JV_DICT || a->kind == JV_LIST || a->kind == JV_TUPLE || a->kind == JV_RANGE)
        return equal_inside(r, a, b, out);
    if (a->kind == JV_NATIVE)
        *out = a->native->row == b->native->row;
    else if (a->kind != JV_NONE && a->kind != JV_UNDEFINED)
        *out = a->seq == b->seq; /* the same object */
    return 0;
}

static int order_seqs(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, const char *op, int *out)
{
    bool same = true;
    size_t i = 0, n = a->seq->n < b->seq->n ? a->seq->n : b->seq->n;
    TRY(jinja_deeper(r));
    TRY(jinja_charge(r, n));
    for (; i < n && same; i += same)
        TRY(jinja_equal(r, &a->seq->at[i], &b->seq->at[i], &same));
    if (i < n)
        TRY(jinja_order(r, &a->seq->at[i], &b->seq->at[i], op, out));
    else
        *out = (a->seq->n > b->seq->n) - (a->seq->n < b->seq->n);
    r->depth--;
    return 0;
}

int jinja_order(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, const char *op, int *out)
{
    if (jinja_is_int(a) && jinja_is_int(b)) {
        *out = (jinja_as_int(a) > jinja_as_int(b)) - (jinja_as_int(a) < jinja_as_int(b));
    } else if (jinja_is_number(a) && jinja_is_number(b)) {
        double x = jinja_as_double(a), y = jinja_as_double(b);
        *out = (x > y) - (x < y);
    } else if (a->kind == JV_STRING && b->kind == JV_STRING) {
        size_t n = a->s->len < b->s->len ? a->s->len : b->s->len; /* bytes of UTF-8 order as code points do */
        TRY(jinja_charge(r, n / 64));
        int c = n ? memcmp(a->s->ptr, b->s->ptr, n) : 0;
        *out = c ? c : (a->s->len > b->s->len) - (a->s->len < b->s->len);
    } else if (a->kind == b->kind && (a->kind == JV_LIST || a->kind == JV_TUPLE)) {
        return order_seqs(r, a, b, op, out);
    } else if (a->kind == JV_UNDEFINED || b->kind == JV_UNDEFINED) {
        return jinja_error_undefined(r, a->kind == JV_UNDEFINED ? a : b);
    } else {
        return jinja_error(r, "'%s' not supported between instances of '%s' and '%s'", op, jinja_kind_name(a),
                           jinja_kind_name(b));
    }
    return 0;
}

static int seq_contains(struct jinja_run *r, const struct jinja_seq *s, const struct jinja_value *v, bool *out)
{
    *out = false;
    for (size_t i = s->next; i < s->n && !*out; i++)
        TRY(jinja_equal(r, &s->at[i], v, out));
    return jinja_charge(r, s->n / 4);
}

int jinja_contains(struct jinja_run *r, const struct jinja_value *in, const struct jinja_value *v, bool *out)
{
    *out = false;
    if (in->kind == JV_STRING) {
        if (v->kind == JV_UNDEFINED)
            return jinja_error_undefined(r, v);
        if (v->kind != JV_STRING)
            return jinja_error(r, "'in <string>' requires string as left operand, not %s", jinja_kind_name(v));
        *out = v->s->len == 0 || memmem(in->s->ptr, in->s->len, v->s->ptr, v->s->len) != NULL;
        return jinja_charge(r, in->s->len / 64);
    }
    if (jinja_is_seq(in))
        return seq_contains(r, in->seq, v, out);
    if (in->kind == JV_DICT) {
        int rc = jinja_dict_get(r, in->dict, v, NULL);
        *out = rc == 0;
        return rc < 0 ? rc : 0;
    }
    if (in->kind == JV_LOOP)
        return seq_contains(r, in->loop->items, v, out);
    if (in->kind == JV_UNDEFINED)
        return 0;
    return jinja_error(r, "argument of type '%s' is not iterable", jinja_kind_name(in));
}

/* ---- sequences -------------------------------------------------------------------------------------------------- */

struct jinja_seq *jinja_seq_new(struct jinja_run *r, size_t cap)
{
    struct jinja_seq *s = arena_alloc(&r->arena, sizeof *s);
    if (!s || !cap)
        return s;
    s->at = arena_array(&r->arena, cap, sizeof *s->at);
    s->cap = cap;
    return s->at ? s : NULL;
}

int jinja_push(struct jinja_run *r, struct jinja_seq *s, struct jinja_value v)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        struct jinja_value *at = arena_array(&r->arena, cap, sizeof *at);
        if (!at)
            return NUN_ENOMEM;
        if (s->n)
            memcpy(at, s->at, s->n * sizeof *at);
        s->at = at;
        s->cap = cap;
    }
    s->at[s->n++] = v;
    return 0;
}

/* ---- dicts ------------------------------------------------------------------------------------------------------- */

/* Equal keys hash alike: 1, 1.0 and true are one key. 0 or a code. */
static int hash_key(struct jinja_run *r, const struct jinja_value *k, uint64_t *out)
{
    if (k->kind == JV_STRING) {
        TRY(jinja_charge(r, k->s->len / 64));
        *out = hash64(k->s->ptr, k->s->len, 1);
    } else if (jinja_is_number(k)) {
        double f = jinja_as_double(k) + 0.0; /* -0.0 is 0.0 */
        *out = hash64(&f, sizeof f, 2);
    } else if (k->kind == JV_TUPLE) {
        uint64_t all = 3, one;
        TRY(jinja_deeper(r));
        TRY(jinja_charge(r, k->seq->n));
        for (size_t i = 0; i < k->seq->n; i++) {
            TRY(hash_key(r, &k->seq->at[i], &one));
            all = hash64(&one, sizeof one, all);
        }
        r->depth--;
        *out = all;
    } else if (k->kind == JV_NONE || k->kind == JV_UNDEFINED) {
        *out = k->kind;
    } else if (k->kind == JV_LIST || k->kind == JV_DICT || k->kind == JV_SLICE) {
        return jinja_error(r, "unhashable type: '%s'", jinja_kind_name(k));
    } else {
        *out = hash64(&k->seq, sizeof k->seq, 4);
    }
    return 0;
}

struct jinja_dict *jinja_dict_new(struct jinja_run *r, size_t cap)
{
    struct jinja_dict *d = arena_alloc(&r->arena, sizeof *d);
    if (!d || !cap)
        return d;
    d->at = arena_array(&r->arena, cap, sizeof *d->at);
    d->cap = cap;
    return d->at ? d : NULL;
}

static int key_is(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, bool *out)
{
    if (a->kind != JV_STRING || b->kind != JV_STRING)
        return jinja_equal(r, a, b, out);
    *out = a->s == b->s || span_eq(jinja_span(a->s), jinja_span(b->s));
    return 0;
}

/* Where the key lies, or d->n; in a large dict also the place in the index. */
static int dict_find(struct jinja_run *r, const struct jinja_dict *d, const struct jinja_value *key, size_t *place, size_t *slot)
{
    uint64_t hash;
    bool same = false;
    TRY(hash_key(r, key, &hash));
    if (!d->index) {
        for (*place = 0; *place < d->n; ++*place) {
            TRY(key_is(r, &d->at[*place].key, key, &same));
            if (same)
                break;
        }
        return 0;
    }
    for (size_t i = hash & (d->index_cap - 1);; i = (i + 1) & (d->index_cap - 1)) {
        *slot = i;
        *place = d->index[i] ? d->index[i] - 1 : d->n;
        if (*place < d->n)
            TRY(key_is(r, &d->at[*place].key, key, &same));
        if (same || *place == d->n)
            return 0;
    }
}

static int dict_index(struct jinja_run *r, struct jinja_dict *d)
{
    uint64_t hash;
    size_t cap = 32;
    while (cap < d->cap * 2)
        cap *= 2;
    d->index_cap = cap;
    d->index = arena_array(&r->arena, cap, sizeof *d->index);
    if (!d->index)
        return NUN_ENOMEM;
    for (size_t i = 0; i < d->n; i++) {
        TRY(hash_key(r, &d->at[i].key, &hash));
        size_t slot = hash & (cap - 1);
        while (d->index[slot])
            slot = (slot + 1) & (cap - 1);
        d->index[slot] = (uint32_t)i + 1;
    }
    return jinja_charge(r, d->n);
}

static int dict_grow(struct jinja_run *r, struct jinja_dict *d)
{
    size_t cap = d->cap ? d->cap * 2 : 4;
    struct jinja_pair *at = arena_array(&r->arena, cap, sizeof *at);
    if (!at)
        return NUN_ENOMEM;
    if (d->n)
        memcpy(at, d->at, d->n * sizeof *at);
    d->at = at;
    d->cap = cap;
    return cap > DICT_SMALL ? dict_index(r, d) : 0;
}

int jinja_dict_put(struct jinja_run *r, struct jinja_dict *d, const struct jinja_value *key, struct jinja_value v)
{
    size_t place, slot = 0;
    if (!d->index && d->n > DICT_SMALL)
        TRY(dict_index(r, d));
    TRY(dict_find(r, d, key, &place, &slot));
    if (place < d->n) {
        d->at[place].value = v; /* the first spelling of the key stays */
        return 0;
    }
    if (d->n == d->cap) {
        TRY(dict_grow(r, d));
        TRY(dict_find(r, d, key, &place, &slot));
    }
    if (d->index)
        d->index[slot] = (uint32_t)d->n + 1;
    d->at[d->n++] = (struct jinja_pair){*key, v};
    return 0;
}

int jinja_dict_get(struct jinja_run *r, const struct jinja_dict *d, const struct jinja_value *key, struct jinja_value *out)
{
    size_t place, slot;
    TRY(dict_find(r, d, key, &place, &slot));
    if (place == d->n)
        return 1;
    if (out)
        *out = d->at[place].value;
    return 0;
}

int jinja_dict_pop(struct jinja_run *r, struct jinja_dict *d, const struct jinja_value *key, struct jinja_value *out)
{
    size_t place, slot;
    TRY(dict_find(r, d, key, &place, &slot));
    if (place == d->n)
        return 1;
    *out = d->at[place].value;
    d->n--;
    memmove(d->at + place, d->at + place + 1, (d->n - place) * sizeof *d->at);
    TRY(jinja_charge(r, d->n));
    return d->index ? dict_index(r, d) : 0;
}

int jinja_dict_view(struct jinja_run *r, const struct jinja_dict *d, enum jinja_view view, struct jinja_value *out)
{
    struct jinja_seq *s = jinja_seq_new(r, d->n);
    if (!s)
        return NUN_ENOMEM;
    for (size_t i = 0; i < d->n; i++) {
        struct jinja_value one = view == JINJA_KEYS ? d->at[i].key : d->at[i].value;
        if (view == JINJA_ITEMS) {
            struct jinja_seq *pair = jinja_seq_new(r, 2);
            if (!pair)
                return NUN_ENOMEM;
            pair->at[pair->n++] = d->at[i].key;
            pair->at[pair->n++] = d->at[i].value;
            one = jinja_of_seq(JV_TUPLE, pair);
        }
        s->at[s->n++] = one;
    }
    *out = jinja_of_seq(JV_VIEW, s);
    out->flag = (uint8_t)view;
    return jinja_charge(r, d->n / 4);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------- */

static int string_from_json(struct jinja_run *r, const json_t *v, struct jinja_value *out)
{
    return jinja_borrow_str(r, span_of(json_string_value(v), json_string_length(v)), out);
}

static int list_from_json(struct jinja_run *r, const json_t *v, struct jinja_value *out)
{
    size_t n = json_array_size(v);
    struct jinja_seq *s = jinja_seq_new(r, n);
    if (!s)
        return NUN_ENOMEM;
    for (; s->n < n; s->n++)
        TRY(jinja_from_json(r, json_array_get(v, s->n), &s->at[s->n]));
    *out = jinja_of_seq(JV_LIST, s);
    return 0;
}

static int dict_from_json(struct jinja_run *r, json_t *v, struct jinja_value *out)
{
    size_t n = json_object_size(v);
    struct jinja_dict *d = jinja_dict_new(r, n);
    if (!d)
        return NUN_ENOMEM;
    for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it), d->n++) {
        TRY(jinja_borrow_str(r, span_of(json_object_iter_key(it), json_object_iter_key_len(it)), &d->at[d->n].key));
        TRY(jinja_from_json(r, json_object_iter_value(it), &d->at[d->n].value));
    }
    *out = jinja_of_dict(JV_DICT, d);
    return n > DICT_SMALL ? dict_index(r, d) : 0;
}

int jinja_from_json(struct jinja_run *r, const json_t *v, struct jinja_value *out)
{
    int rc = 0;
    TRY(jinja_deeper(r));
    switch (json_typeof(v)) {
    case JSON_OBJECT: rc = dict_from_json(r, (json_t *)(uintptr_t)v, out); break;
    case JSON_ARRAY: rc = list_from_json(r, v, out); break;
    case JSON_STRING: rc = string_from_json(r, v, out); break;
    case JSON_INTEGER: *out = jinja_int(json_integer_value(v)); break;
    case JSON_REAL: *out = jinja_float(json_real_value(v)); break;
    case JSON_TRUE: *out = jinja_bool(true); break;
    case JSON_FALSE: *out = jinja_bool(false); break;
    case JSON_NULL: *out = jinja_none(); break;
    }
    r->depth--;
    return rc;
}
