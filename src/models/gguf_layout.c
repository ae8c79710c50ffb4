/* Values on their way between a folder's layout and GGUF's, row by row, so that a tensor is never whole
 * in memory as floats. A row that is only moved is handed on in its own format, quantised or not. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ck.h"
#include "base/err.h"
#include "models/gguf_map.h"

/* ---- names ------------------------------------------------------------------------------------- */

static bool take_number(struct span *s, int *out)
{
    int64_t v = 0;
    size_t n = 0;
    while (n < s->len && n < 6 && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        v = v * 10 + (s->ptr[n++] - '0');
    if (n == 0 || (n > 1 && s->ptr[0] == '0'))
        return false;
    *s = span_from(*s, n);
    *out = (int)v;
    return true;
}

bool gguf_name_fits(const char *pattern, struct span name, int n[2], struct span *rest)
{
    int holes = 0;
    for (; *pattern; pattern++) {
        if (pattern[0] == '%' && pattern[1] == 'd') {
            if (holes == 2 || !take_number(&name, &n[holes++]))
                return false;
            pattern++;
            continue;
        }
        if (!name.len || *name.ptr != *pattern)
            return false;
        name = span_from(name, 1);
    }
    *rest = name;
    return !name.len || span_is(name, ".weight") || span_is(name, ".bias");
}

int gguf_name_holes(const char *pattern)
{
    int n = 0;
    while ((pattern = strstr(pattern, "%d"))) {
        pattern += 2;
        n++;
    }
    return n;
}

int gguf_name_make(const char *pattern, const int n[2], struct span rest, char *out, size_t cap)
{
    size_t at = 0;
    for (int holes = 0; *pattern && at < cap; pattern++)
        if (pattern[0] == '%' && pattern[1] == 'd') {
            at += (size_t)snprintf(out + at, cap - at, "%d", n[holes++]);
            pattern++;
        } else {
            out[at++] = *pattern;
        }
    if (at + rest.len >= cap)
        return err_set(NUN_ELIMIT, "a tensor name is longer than %zu characters", cap - 1);
    memcpy(out + at, rest.ptr ? rest.ptr : "", rest.len);
    out[at + rest.len] = 0;
    return 0;
}

/* ---- sizes ------------------------------------------------------------------------------------- */

int gguf_sizes_of(const json_t *config, const struct gguf_arch *arch, struct gguf_sizes *out)
{
    enum { MOST = 1 << 20 };
    int64_t heads = gguf_config_int(config, "num_attention_heads", gguf_config_int(config, "n_head", 1));
    int64_t kv = gguf_config_int(config, "num_key_value_heads", heads), groups = gguf_config_int(config, "n_groups", 1);
    int64_t nope = gguf_config_int(config, "qk_nope_head_dim", 0), v_dim = gguf_config_int(config, "v_head_dim", 0);
    *out = (struct gguf_sizes){.pairs = arch->pairs};
    if (ck_int(heads, 1, MOST, &out->heads) || ck_int(kv, 1, MOST, &out->kv_heads) || ck_int(groups, 1, MOST, &out->groups) ||
        ck_int(nope, 0, MOST, &out->nope) || ck_int(v_dim, 0, MOST, &out->v_dim))
        return err_set(NUN_EFORMAT, "config: heads, groups or head widths are out of range");
    return 0;
}

/* ---- shapes ------------------------------------------------------------------------------------ */

static int misfit(const struct gguf_piece *p, const char *name, const char *want)
{
    char text[SHAPE_TEXT];
    return err_set(NUN_EFORMAT, "%s: expected %s, found %s", name, want, shape_format(&p->src[0]->shape, text));
}

/* Rows in whole heads; a vector is rows of one value. */
static int divides(const struct gguf_piece *p, const char *name, int64_t by)
{
    return by > 0 && p->shape.n >= 1 && p->shape.n <= 2 && p->shape.d[0] % by == 0 ? 0 : misfit(p, name, "rows in whole heads");
}

static int shape_mla(struct gguf_piece *p, const char *name)
{
    const struct gguf_sizes *z = &p->sizes;
    const struct shape *s = &p->src[0]->shape;
    int64_t per_head = z->nope + z->v_dim;
    if (!p->to_gguf) {
        const struct shape *v = p->n_src == 2 ? &p->src[1]->shape : NULL;
        if (!v || s->n != 3 || v->n != 3 || s->d[0] != z->heads || v->d[0] != z->heads || s->d[2] != z->nope ||
            v->d[1] != z->v_dim || v->d[2] != s->d[1])
            return misfit(p, name, "[heads, rank, nope] and [heads, v, rank]");
        p->shape = SHAPE2(z->heads * per_head, s->d[1]);
        return 0;
    }
    if (s->n != 2 || s->d[0] != z->heads * per_head)
        return misfit(p, name, "[heads * (nope + v), rank]");
    p->shape = p->layout == GL_MLA_K ? SHAPE3(z->heads, s->d[1], z->nope) : SHAPE3(z->heads, z->v_dim, s->d[1]);
    return 0;
}

static int shape_column(struct gguf_piece *p, const char *name)
{
    const struct shape *s = &p->src[0]->shape;
    if (s->n != (p->to_gguf ? 1 : 2) || (!p->to_gguf && s->d[1] != 1))
        return misfit(p, name, "one column");
    p->shape = p->to_gguf ? SHAPE2(s->d[0], 1) : SHAPE1(s->d[0]);
    return 0;
}

static int shape_groups(struct gguf_piece *p, const char *name)
{
    const struct shape *s = &p->src[0]->shape;
    int64_t g = p->sizes.groups;
    if (s->n != (p->to_gguf ? 1 : 2) || (p->to_gguf && s->d[0] % g))
        return misfit(p, name, "groups of one width");
    p->shape = p->to_gguf ? SHAPE2(g, s->d[0] / g) : SHAPE1(s->d[0] * s->d[1]);
    return 0;
}

static int shape_conv(struct gguf_piece *p, const char *name)
{
    const struct shape *s = &p->src[0]->shape;
    if (s->n != (p->to_gguf ? 3 : 2) || (p->to_gguf && s->d[1] != 1))
        return misfit(p, name, "a kernel for each channel");
    p->shape = p->to_gguf ? SHAPE2(s->d[0], s->d[2]) : SHAPE3(s->d[0], 1, s->d[1]);
    return 0;
}

static int shape_transposed(struct gguf_piece *p, const char *name)
{
    const struct shape *s = &p->src[0]->shape;
    if (s->n == 2)
        p->shape = SHAPE2(s->d[1], s->d[0]);
    return s->n <= 2 ? 0 : misfit(p, name, "a matrix");
}

static int shape_rope_q(struct gguf_piece *p, const char *name) { return divides(p, name, 2 * (int64_t)p->sizes.heads); }
static int shape_rope_k(struct gguf_piece *p, const char *name) { return divides(p, name, 2 * (int64_t)p->sizes.kv_heads); }
static int shape_neox(struct gguf_piece *p, const char *name) { return divides(p, name, 3 * (int64_t)p->sizes.heads); }

int gguf_piece_init(struct gguf_piece *p, const char *name)
{
    static int (*const shapes[])(struct gguf_piece *p, const char *name) = {
        [GL_ROPE_Q] = shape_rope_q, [GL_ROPE_K] = shape_rope_k, [GL_NEOX_QKV] = shape_neox, [GL_COLUMN] = shape_column,
        [GL_NEG_EXP_COLUMN] = shape_column, [GL_GROUPS] = shape_groups, [GL_CONV] = shape_conv,
        [GL_TRANSPOSED] = shape_transposed, [GL_MLA_K] = shape_mla, [GL_MLA_V] = shape_mla};
    bool stacked = p->n_src > 1 && p->layout != GL_MLA_K;
    p->shape = p->src[0]->shape;
    if (!p->sizes.pairs && (p->layout == GL_ROPE_Q || p->layout == GL_ROPE_K))
        p->layout = GL_AS_IS;
    if (p->layout < sizeof shapes / sizeof shapes[0] && shapes[p->layout])
        TRY(shapes[p->layout](p, name));
    if (!stacked)
        return 0;
    for (size_t i = 1; i < p->n_src; i++)
        if (!shape_eq(&p->src[i]->shape, &p->src[0]->shape) || p->src[i]->dtype != p->src[0]->dtype)
            return err_set(NUN_EFORMAT, "%s: the experts' tensors differ in shape or format", name);
    if (p->shape.n != 2)
        return misfit(p, name, "a matrix for each expert");
    p->shape = SHAPE3((int64_t)p->n_src, p->shape.d[0], p->shape.d[1]);
    return 0;
}

size_t gguf_piece_cols(const struct gguf_piece *p)
{
    bool vector = p->shape.n == 1 && (p->layout == GL_ROPE_Q || p->layout == GL_ROPE_K || p->layout == GL_NEOX_QKV);
    return p->shape.n == 0 || vector ? 1 : (size_t)p->shape.d[p->shape.n - 1];
}

size_t gguf_piece_rows(const struct gguf_piece *p)
{
    size_t n = 0, cols = gguf_piece_cols(p);
    return shape_count(&p->shape, &n) < 0 || !cols ? 0 : n / cols;
}

/* ---- rows that move ---------------------------------------------------------------------------- */

/* Row of the source that row i of (a, b, c) -> (a, c, b) comes from, in blocks of b * c. */
static size_t swapped(size_t i, size_t b, size_t c)
{
    size_t block = i / (b * c), at = i % (b * c);
    return block * b * c + at % b * c + at / b;
}

static size_t source_row(const struct gguf_piece *p, size_t i)
{
    size_t rows = gguf_piece_rows(p), heads = (size_t)(p->layout == GL_ROPE_K ? p->sizes.kv_heads : p->sizes.heads);
    switch (p->layout) {
    case GL_ROPE_Q:
    case GL_ROPE_K: { /* (half, value) as (value, half) */
        size_t half = rows / heads / 2;
        return p->to_gguf ? swapped(i, 2, half) : swapped(i, half, 2);
    }
    case GL_NEOX_QKV: { /* (head, part, value) as (part, head, value) */
        size_t width = rows / heads / 3, value = i % width, outer = i / width;
        return (p->to_gguf ? swapped(outer, heads, 3) : swapped(outer, 3, heads)) * width + value;
    }
    default:
        return i;
    }
}

static bool computed(enum gguf_layout l)
{
    return l == GL_PLUS_ONE || l == GL_NEG_EXP || l == GL_NEG_EXP_COLUMN || l == GL_TRANSPOSED || l == GL_MLA_K || l == GL_MLA_V;
}

static size_t row_bytes(const struct st_tensor *t, size_t cols)
{
    const struct dtype_info *d = &dtype_table[t->dtype];
    return cols / d->block_values * d->block_bytes;
}

const void *gguf_piece_raw(const struct gguf_piece *p, size_t row)
{
    size_t cols = gguf_piece_cols(p);
    if ((computed(p->layout) && !(p->layout == GL_TRANSPOSED && p->shape.n < 2)) || cols % dtype_table[p->src[0]->dtype].block_values)
        return NULL;
    size_t each = gguf_piece_rows(p) / p->n_src, part = row / (each ? each : 1);
    size_t from = p->n_src > 1 ? row % each : source_row(p, row);
    return (const char *)p->src[part]->data + from * row_bytes(p->src[part], cols);
}

/* ---- rows that are computed -------------------------------------------------------------------- */

/* Values [at, at + n) of a tensor; both are whole blocks, or the format has blocks of one. */
static int values(const struct st_tensor *t, size_t at, size_t n, float *out)
{
    const struct dtype_info *d = &dtype_table[t->dtype];
    return dtype_to_f32(t->dtype, (const char *)t->data + at / d->block_values * d->block_bytes, out, n);
}

/* One value of a tensor, through the block that it lies in. */
static int value(const struct st_tensor *t, size_t at, float *scratch, float *out)
{
    size_t block = dtype_table[t->dtype].block_values;
    TRY(values(t, at / block * block, block, scratch));
    *out = scratch[at % block];
    return 0;
}

static int transposed_row(const struct gguf_piece *p, size_t row, float *scratch, float *out)
{
    size_t cols = gguf_piece_cols(p), rows = gguf_piece_rows(p);
    for (size_t c = 0; c < cols; c++)
        TRY(value(p->src[0], c * rows + row, scratch, &out[c]));
    return 0;
}

/* kv_b [heads * (nope + v), rank] from k [heads, rank, nope] and v [heads, v, rank], or one of them from it. */
static int mla_row(const struct gguf_piece *p, size_t row, float *scratch, float *out)
{
    size_t nope = (size_t)p->sizes.nope, v = (size_t)p->sizes.v_dim, cols = gguf_piece_cols(p);
    if (!p->to_gguf) {
        size_t head = row / (nope + v), at = row % (nope + v), rank = cols;
        if (at >= nope)
            return values(p->src[1], (head * v + at - nope) * rank, rank, out);
        for (size_t c = 0; c < rank; c++)
            TRY(value(p->src[0], (head * rank + c) * nope + at, scratch, &out[c]));
        return 0;
    }
    if (p->layout == GL_MLA_V) {
        size_t head = row / v;
        return values(p->src[0], (head * (nope + v) + nope + row % v) * cols, cols, out);
    }
    size_t rank = (size_t)p->shape.d[1], head = row / rank;
    for (size_t c = 0; c < nope; c++)
        TRY(value(p->src[0], (head * (nope + v) + c) * rank + row % rank, scratch, &out[c]));
    return 0;
}

static int mapped_row(const struct gguf_piece *p, size_t row, float *out)
{
    size_t cols = gguf_piece_cols(p);
    TRY(values(p->src[0], row * cols, cols, out));
    for (size_t i = 0; i < cols; i++) {
        if (p->layout == GL_PLUS_ONE)
            out[i] += p->to_gguf ? 1.0f : -1.0f;
        else
            out[i] = p->to_gguf ? -expf(out[i]) : logf(-out[i]);
    }
    return 0;
}

size_t gguf_piece_scratch(const struct gguf_piece *p)
{
    return dtype_table[p->src[0]->dtype].block_values;
}

int gguf_piece_row(const struct gguf_piece *p, size_t row, float *scratch, float *out)
{
    const void *raw = gguf_piece_raw(p, row);
    if (raw)
        return dtype_to_f32(p->src[0]->dtype, raw, out, gguf_piece_cols(p));
    if (p->layout == GL_TRANSPOSED)
        return transposed_row(p, row, scratch, out);
    if (p->layout == GL_MLA_K || p->layout == GL_MLA_V)
        return mla_row(p, row, scratch, out);
    if (computed(p->layout))
        return mapped_row(p, row, out);
    /* quantised in other rows than are made: only sizes that no model has */
    return err_set(NUN_EUNSUP, "%s: rows of %zu values cut a %s block", p->src[0]->name, gguf_piece_cols(p), dtype_name(p->src[0]->dtype));
}
