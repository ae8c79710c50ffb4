/* GGUF reader: header, metadata, tensor table, data. A cursor with the bytes that are left walks the
 * file once; counts are compared with what the rest of the file could hold before anything is reserved
 * for them. */
/* SPDX-License-Identifier: MIT */
#include "formats/gguf.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"

#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT ((int64_t)1 << 20)
#define MAX_NAME 1024
#define MAX_DIMS 4       /* the format's own bound */
#define MIN_VALUE 13     /* bytes of the shortest key and value: 8 + 4 + 1 */
#define MIN_TENSOR 24    /* bytes of the shortest entry: 8 + 4 + 4 + 8 */

struct gguf {
    struct arena arena; /* names */
    const char *place;
    struct file_map map;
    uint32_t version;
    size_t alignment;
    struct gguf_value *values;
    size_t value_count;
    struct st_tensor *tensors; /* data holds the offset until the table is placed */
    size_t count;
    struct map by_key, by_name;
};

/* Bytes of one item; 0 for those with a length of their own. */
static const struct { const char *name; size_t bytes; } types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"uint8", 1},     [GGUF_I8] = {"int8", 1},       [GGUF_U16] = {"uint16", 2},
    [GGUF_I16] = {"int16", 2},    [GGUF_U32] = {"uint32", 4},    [GGUF_I32] = {"int32", 4},
    [GGUF_F32] = {"float32", 4},  [GGUF_BOOL] = {"bool", 1},     [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0},  [GGUF_U64] = {"uint64", 8},    [GGUF_I64] = {"int64", 8},
    [GGUF_F64] = {"float64", 8},
};

const char *gguf_type_name(enum gguf_type type)
{
    return (unsigned)type < GGUF_TYPE_COUNT ? types[type].name : "?";
}

/* ---- the cursor ---------------------------------------------------------------------------- */

struct cursor { const unsigned char *start, *at; size_t left; const char *place; };

static int take(struct cursor *c, size_t n, const char *what, const unsigned char **out)
{
    if (n > c->left)
        return err_set(NUN_EFORMAT, "%s: at byte %zu: expected %zu bytes of %s, found %zu", c->place,
                       (size_t)(c->at - c->start), n, what, c->left);
    *out = c->at;
    c->at += n;
    c->left -= n;
    return 0;
}

static int take_u32(struct cursor *c, const char *what, uint32_t *out)
{
    const unsigned char *p = NULL;
    TRY(take(c, sizeof *out, what, &p));
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_u64(struct cursor *c, const char *what, uint64_t *out)
{
    const unsigned char *p = NULL;
    TRY(take(c, sizeof *out, what, &p));
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_string(struct cursor *c, const char *what, struct span *out)
{
    uint64_t n;
    size_t len;
    const unsigned char *p = NULL;
    TRY(take_u64(c, what, &n));
    if (ck_cast(n, &len))
        len = SIZE_MAX; /* more than is left, whatever is left */
    TRY(take(c, len, what, &p));
    *out = span_of(p, len);
    return 0;
}

static int bad(const struct cursor *c, const char *what)
{
    return err_set(NUN_EFORMAT, "%s: at byte %zu: %s", c->place, (size_t)(c->at - c->start), what);
}

/* ---- metadata ------------------------------------------------------------------------------ */

static int value_bad(const struct cursor *c, struct span key, const char *what)
{
    return err_set(NUN_EFORMAT, "%s: %.*s: %s", c->place, key.len > 80 ? 80 : (int)key.len, key.ptr, what);
}

static int take_items(struct cursor *c, struct gguf_value *v)
{
    const unsigned char *p = NULL;
    size_t bytes;
    v->data = c->at;
    if (v->type == GGUF_STRING) {
        struct span s;
        for (size_t i = 0; i < v->count; i++)
            TRY(take_string(c, "a string", &s));
        v->bytes = (size_t)(c->at - v->data);
        return 0;
    }
    if (ck_mul(v->count, types[v->type].bytes, &bytes))
        return value_bad(c, v->key, "the array's size does not fit");
    TRY(take(c, bytes, "values", &p));
    v->bytes = bytes;
    for (size_t i = 0; v->type == GGUF_BOOL && i < v->count; i++)
        if (p[i] > 1)
            return value_bad(c, v->key, "expected a bool of 0 or 1");
    return 0;
}

static int take_type(struct cursor *c, struct span key, enum gguf_type *out)
{
    uint32_t t;
    TRY(take_u32(c, "a value type", &t));
    if (t >= GGUF_TYPE_COUNT)
        return value_bad(c, key, "unknown value type");
    *out = (enum gguf_type)t;
    return 0;
}

static int take_value(struct cursor *c, struct gguf_value *v)
{
    TRY(take_string(c, "a key", &v->key));
    if (v->key.len == 0 || v->key.len > UINT16_MAX || memchr(v->key.ptr, 0, v->key.len))
        return bad(c, "expected a key of 1 to 65535 characters");
    TRY(take_type(c, v->key, &v->type));
    v->count = 1;
    v->is_array = v->type == GGUF_ARRAY;
    if (v->is_array) {
        uint64_t n;
        TRY(take_type(c, v->key, &v->type));
        TRY(take_u64(c, "an array length", &n));
        if (v->type == GGUF_ARRAY)
            return err_set(NUN_EUNSUP, "%s: %.*s: arrays of arrays are not read", c->place, (int)v->key.len,
                           v->key.ptr);
        if (n > c->left) /* every item has a byte at least */
            return value_bad(c, v->key, "the array is longer than the file");
        v->count = (size_t)n;
    }
    return take_items(c, v);
}

static int read_values(struct gguf *g, struct cursor *c, uint64_t n)
{
    if (n > c->left / MIN_VALUE)
        return bad(c, "more metadata is declared than the file can hold");
    g->values = mem_calloc(MEM_FORMAT, (size_t)n, sizeof *g->values);
    if (!g->values)
        return NUN_ENOMEM;
    for (; g->value_count < n; g->value_count++) {
        struct gguf_value *v = &g->values[g->value_count];
        TRY(take_value(c, v));
        int rc = map_put(&g->by_key, v->key, (int64_t)g->value_count, NULL);
        if (rc > 0)
            return value_bad(c, v->key, "the key is there twice");
        TRY(rc);
    }
    return 0;
}

static int read_alignment(struct gguf *g)
{
    int64_t a = DEFAULT_ALIGNMENT;
    TRY(gguf_get_int(g, "general.alignment", 1, MAX_ALIGNMENT, &a));
    if (a & (a - 1))
        return err_set(NUN_EFORMAT, "%s: general.alignment: expected a power of two, found %" PRId64, g->place, a);
    g->alignment = (size_t)a;
    return 0;
}

/* ---- the tensor table ---------------------------------------------------------------------- */

static int tensor_bad(const struct gguf *g, const struct st_tensor *t, const char *what)
{
    return err_set(NUN_EFORMAT, "%s: tensor \"%s\": %s", g->place, t->name, what);
}

static int take_name(struct gguf *g, struct cursor *c, struct st_tensor *t)
{
    struct span name;
    TRY(take_string(c, "a tensor name", &name));
    if (name.len == 0 || name.len > MAX_NAME || memchr(name.ptr, 0, name.len))
        return bad(c, "expected a tensor name of 1 to 1024 characters");
    t->name = arena_strndup(&g->arena, name.ptr, name.len);
    return t->name ? 0 : NUN_ENOMEM;
}

/* The file lists the innermost dimension first. */
static int take_shape(struct gguf *g, struct cursor *c, struct st_tensor *t)
{
    uint32_t n;
    TRY(take_u32(c, "a dimension count", &n));
    if (n > MAX_DIMS)
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected at most %d dimensions, found %u", g->place, t->name,
                       MAX_DIMS, n);
    t->shape = (struct shape){.n = (int)n};
    for (uint32_t i = 0; i < n; i++) {
        uint64_t d;
        TRY(take_u64(c, "a dimension", &d));
        if (d > INT64_MAX)
            return tensor_bad(g, t, "a dimension is negative");
        t->shape.d[n - 1 - i] = (int64_t)d;
    }
    return 0;
}

static int size_tensor(struct gguf *g, struct st_tensor *t, uint32_t type)
{
    size_t values;
    int rc = dtype_from_gguf(type, &t->dtype);
    if (rc == 0)
        rc = shape_count(&t->shape, &values);
    if (rc == 0)
        rc = dtype_bytes(t->dtype, values, &t->bytes);
    if (rc)
        return err_at(rc, "%s: tensor \"%s\"", g->place, t->name);
    size_t block = dtype_table[t->dtype].block_values;
    if (block > 1 && (t->shape.n == 0 || (size_t)t->shape.d[t->shape.n - 1] % block))
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected rows of a multiple of %zu values for %s", g->place,
                       t->name, block, dtype_name(t->dtype));
    return 0;
}

static int take_tensor(struct gguf *g, struct cursor *c, struct st_tensor *t)
{
    uint32_t type;
    uint64_t offset;
    TRY(take_name(g, c, t));
    TRY(take_shape(g, c, t));
    TRY(take_u32(c, "a tensor type", &type));
    TRY(take_u64(c, "a tensor offset", &offset));
    TRY(size_tensor(g, t, type));
    if (offset % g->alignment)
        return tensor_bad(g, t, "its offset is not aligned");
    if (offset > INTPTR_MAX)
        return tensor_bad(g, t, "its offset does not fit");
    t->data = (const void *)(uintptr_t)offset;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct st_tensor *x = *(const struct st_tensor *const *)a, *y = *(const struct st_tensor *const *)b;
    if (x->data != y->data)
        return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* In order of offset each tensor begins where the one before it ends, padded to the alignment. */
static int check_tiling(struct gguf *g, struct st_tensor *const *sorted, size_t data_len)
{
    size_t next = 0, end = 0;
    for (size_t i = 0; i < g->count; i++) {
        struct st_tensor *t = sorted[i];
        size_t begin = (size_t)(uintptr_t)t->data;
        if (begin != next)
            return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected offset %zu, the end of the one before, found %zu",
                           g->place, t->name, next, begin);
        if (!ck_range(begin, t->bytes, data_len))
            return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected %zu bytes at %zu, found data of %zu bytes",
                           g->place, t->name, t->bytes, begin, data_len);
        end = begin + t->bytes;
        if (ck_pad(end, g->alignment, &next))
            return tensor_bad(g, t, "its end does not fit");
    }
    if (data_len > next)
        log_warn("%s: %zu bytes after the last tensor are not part of any", g->place, data_len - end);
    return 0;
}

static int place_tensors(struct gguf *g, struct span file, size_t table_end)
{
    size_t start;
    if (g->count == 0)
        return 0;
    if (ck_pad(table_end, g->alignment, &start) || start > file.len)
        start = file.len; /* the tiling check then finds the data missing */
    struct st_tensor **sorted = mem_calloc(MEM_FORMAT, g->count, sizeof(struct st_tensor *));
    if (!sorted)
        return NUN_ENOMEM;
    for (size_t i = 0; i < g->count; i++)
        sorted[i] = &g->tensors[i];
    qsort(sorted, g->count, sizeof *sorted, by_offset);
    int rc = check_tiling(g, sorted, file.len - start);
    mem_free(sorted);
    TRY(rc);
    for (size_t i = 0; i < g->count; i++)
        g->tensors[i].data = file.ptr + start + (uintptr_t)g->tensors[i].data;
    return 0;
}

static int read_tensors(struct gguf *g, struct cursor *c, uint64_t n)
{
    if (n > c->left / MIN_TENSOR)
        return bad(c, "more tensors are declared than the file can hold");
    TRY(limit_check(LIMIT_tensors, (size_t)n, g->place));
    g->tensors = mem_calloc(MEM_FORMAT, (size_t)n, sizeof *g->tensors);
    if (!g->tensors)
        return NUN_ENOMEM;
    for (; g->count < n; g->count++) {
        struct st_tensor *t = &g->tensors[g->count];
        TRY(take_tensor(g, c, t));
        int rc = map_put(&g->by_name, span_str(t->name), (int64_t)g->count, NULL);
        if (rc > 0)
            return tensor_bad(g, t, "the name is there twice");
        TRY(rc);
    }
    return 0;
}

/* ---- the file ------------------------------------------------------------------------------ */

static int check_version(struct gguf *g)
{
    if (g->version == 2 || g->version == 3)
        return 0;
    if (g->version != 0 && (g->version & 0xffff) == 0)
        return err_set(NUN_EUNSUP, "%s: expected a little-endian GGUF file, found a big-endian one", g->place);
    return err_set(NUN_EUNSUP, "%s: expected GGUF version 2 or 3, found %u", g->place, g->version);
}

static int read_file(struct gguf *g, struct span file)
{
    struct cursor c = {(const unsigned char *)file.ptr, (const unsigned char *)file.ptr, file.len, g->place};
    const unsigned char *magic = NULL;
    uint64_t tensors, values;
    TRY(take(&c, 4, "magic", &magic));
    if (memcmp(magic, "GGUF", 4) != 0)
        return err_set(NUN_EFORMAT, "%s: expected a GGUF file, found another magic number", g->place);
    TRY(take_u32(&c, "version", &g->version));
    TRY(check_version(g));
    TRY(take_u64(&c, "the tensor count", &tensors));
    TRY(take_u64(&c, "the metadata count", &values));
    TRY(read_values(g, &c, values));
    TRY(read_alignment(g));
    TRY(read_tensors(g, &c, tensors));
    return place_tensors(g, file, (size_t)(c.at - c.start));
}

static struct gguf *create(const char *place)
{
    struct gguf *g = mem_calloc(MEM_FORMAT, 1, sizeof *g);
    if (!g)
        return NULL;
    arena_init(&g->arena, MEM_FORMAT, 0);
    map_init(&g->by_key, MEM_FORMAT);
    map_init(&g->by_name, MEM_FORMAT);
    g->place = arena_strdup(&g->arena, place);
    if (g->place)
        return g;
    gguf_close(g);
    return NULL;
}

static int finish(struct gguf *g, int rc, struct gguf **out)
{
    if (rc == 0)
        *out = g;
    else
        gguf_close(g);
    return rc;
}

bool gguf_is_file(const char *path)
{
    struct file_map m;
    if (file_is_dir(path) || file_map(path, &m) < 0) {
        err_clear(); /* opening it will say what is wrong */
        return false;
    }
    bool yes = span_starts(span_of(m.ptr, m.len), SPAN("GGUF"));
    file_unmap(&m);
    return yes;
}

int gguf_open(const char *path, struct gguf **out)
{
    struct gguf *g = create(path);
    if (!g)
        return NUN_ENOMEM;
    int rc = file_map(path, &g->map);
    return finish(g, rc ? rc : read_file(g, span_of(g->map.ptr, g->map.len)), out);
}

int gguf_open_bytes(struct span file, const char *place, struct gguf **out)
{
    struct gguf *g = create(place);
    return g ? finish(g, read_file(g, file), out) : NUN_ENOMEM;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    file_unmap(&g->map);
    map_free(&g->by_key);
    map_free(&g->by_name);
    mem_free(g->values);
    mem_free(g->tensors);
    arena_free(&g->arena);
    mem_free(g);
}

int gguf_version(const struct gguf *g) { return (int)g->version; }
size_t gguf_count(const struct gguf *g) { return g->count; }
const struct st_tensor *gguf_at(const struct gguf *g, size_t i) { return i < g->count ? &g->tensors[i] : NULL; }
size_t gguf_value_count(const struct gguf *g) { return g->value_count; }

const struct st_tensor *gguf_find(const struct gguf *g, struct span name)
{
    int64_t i;
    return map_get(&g->by_name, name, &i) ? &g->tensors[i] : NULL;
}

const struct gguf_value *gguf_value_at(const struct gguf *g, size_t i)
{
    return i < g->value_count ? &g->values[i] : NULL;
}

const struct gguf_value *gguf_value_find(const struct gguf *g, const char *key)
{
    int64_t i;
    return map_get(&g->by_key, span_str(key), &i) ? &g->values[i] : NULL;
}

/* ---- getters ------------------------------------------------------------------------------- */

static bool is_int(enum gguf_type t) { return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64; }
static bool is_float(enum gguf_type t) { return t == GGUF_F32 || t == GGUF_F64; }

static int wrong_type(const struct gguf *g, const struct gguf_value *v, const char *want)
{
    return err_set(NUN_EFORMAT, "%s: %.*s: expected %s, found %s%s", g->place, (int)v->key.len, v->key.ptr, want,
                   v->is_array ? "an array of " : "", types[v->type].name);
}

int64_t gguf_item_int(const struct gguf_value *v, size_t i)
{
    const unsigned char *p = v->data + i * types[v->type].bytes;
    uint64_t u = 0;
    memcpy(&u, p, types[v->type].bytes);
    switch (v->type) {
    case GGUF_I8: return (int8_t)u;
    case GGUF_I16: return (int16_t)u;
    case GGUF_I32: return (int32_t)u;
    case GGUF_U64: return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    default: return (int64_t)u;
    }
}

double gguf_item_double(const struct gguf_value *v, size_t i)
{
    float f;
    double d;
    if (v->type == GGUF_F32)
        return memcpy(&f, v->data + i * sizeof f, sizeof f), (double)f;
    if (v->type == GGUF_F64)
        return memcpy(&d, v->data + i * sizeof d, sizeof d), d;
    return (double)gguf_item_int(v, i);
}

bool gguf_item_bool(const struct gguf_value *v, size_t i)
{
    return v->data[i] != 0;
}

bool gguf_next_string(const struct gguf_value *v, size_t *at, struct span *out)
{
    if (*at >= v->bytes)
        return false;
    size_t len = (size_t)span_u64(v->data + *at); /* proved when the file was opened */
    *out = span_of(v->data + *at + 8, len);
    *at += 8 + len;
    return true;
}

int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (!v)
        return 1;
    if (v->is_array || !is_int(v->type))
        return wrong_type(g, v, "an integer");
    int64_t x = gguf_item_int(v, 0);
    if (x < lo || x > hi)
        return err_set(NUN_EFORMAT, "%s: %s: expected integer in [%" PRId64 ", %" PRId64 "], found %" PRId64, g->place,
                       key, lo, hi, x);
    *out = x;
    return 0;
}

int gguf_get_double(const struct gguf *g, const char *key, double lo, double hi, double *out)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (!v)
        return 1;
    if (v->is_array || !(is_float(v->type) || is_int(v->type)))
        return wrong_type(g, v, "a number");
    double x = gguf_item_double(v, 0);
    if (!(x >= lo && x <= hi))
        return err_set(NUN_EFORMAT, "%s: %s: expected number in [%g, %g], found %g", g->place, key, lo, hi, x);
    *out = x;
    return 0;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (!v)
        return 1;
    if (v->is_array || v->type != GGUF_BOOL)
        return wrong_type(g, v, "a bool");
    *out = gguf_item_bool(v, 0);
    return 0;
}

int gguf_get_string(const struct gguf *g, const char *key, struct span *out)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    size_t at = 0;
    if (!v)
        return 1;
    if (v->is_array || v->type != GGUF_STRING)
        return wrong_type(g, v, "a string");
    gguf_next_string(v, &at, out);
    return 0;
}

int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type type, const struct gguf_value **out)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    if (!v)
        return 1;
    bool fits = v->type == type || (type == GGUF_I32 && is_int(v->type)) || (type == GGUF_F32 && is_float(v->type));
    char want[64];
    snprintf(want, sizeof want, "an array of %s", type == GGUF_I32 ? "integers" : gguf_type_name(type));
    if (!v->is_array || !fits)
        return wrong_type(g, v, want);
    *out = v;
    return 0;
}
