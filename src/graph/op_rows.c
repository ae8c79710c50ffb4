/* Operations that move rows and blocks: tables, gathers, scatters, concatenation, slices, transposes and
 * repeats. Nothing here computes, except the sums of scattered gradients. An index beyond its table gives
 * NaN, never a read or write out of bounds, so that whoever checks for non-finite values stops. Called
 * through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_shape.h"

/* ---- embedding ---- */

int shape_embedding(struct g_tensor *t)
{
    const struct g_tensor *table = t->in[0], *ids = t->in[1];
    TRY(op_ids(t, 1));
    const struct dtype_info *d = &dtype_table[table->dt];
    bool real = table->dt == DT_F32 || table->dt == DT_BF16 || table->dt == DT_F16 || d->block_values > 1;
    if (table->shape.n != 2 || !real || table->shape.d[1] % (int64_t)d->block_values)
        return op_bad(t, 0, "a table [V, D] of F32, BF16, F16 or whole blocks");
    if (ids->shape.n >= SHAPE_MAX_DIMS)
        return op_bad(t, 1, "fewer dimensions");
    t->dt = DT_F32;
    t->shape = ids->shape;
    t->shape.d[t->shape.n++] = table->shape.d[1];
    return 0;
}
void cost_embedding(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){.bytes = 2.0 * (double)g_bytes(t)};
}
void run_embedding(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *table = t->in[0];
    const int32_t *ids = g_i32(t->in[1]);
    size_t d = (size_t)g_last(t), row_bytes = d / dtype_table[table->dt].block_values * dtype_table[table->dt].block_bytes;
    struct op_range r = op_my_rows(t, env);
    for (size_t i = r.lo; i < r.hi; i++) {
        float *y = g_f32(t) + i * d;
        if (ids[i] < 0 || ids[i] >= table->shape.d[0])
            op_fill_nan(y, d);
        else
            dtype_table[table->dt].decode((const char *)table->data + (size_t)ids[i] * row_bytes, y, d);
    }
}
void grad_embedding(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        g_op(g, OP_embedding_dw, NULL, 3, OP_IN(t->in[1], op_as(g, dt, t), g_grad_into(g, t->in[0])));
}

int shape_embedding_dw(struct g_tensor *t)
{
    TRY(op_ids(t, 0));
    if (t->in[2]->shape.n != 2)
        return op_bad(t, 2, "a table [V, D]");
    if (t->in[1]->dt != DT_F32 || g_last(t->in[1]) != g_last(t->in[2]) || g_rows(t->in[1]) != g_count(t->in[0]))
        return op_bad(t, 1, "F32, a row of the table's width an id");
    return op_into(t);
}
void cost_embedding_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    double n = (double)g_count(t->in[1]);
    *out = (struct g_cost){.flops = n, .bytes = 12.0 * n};
}
/* to[idx[i]] += x[i] for rows of d values, i ascending; threads share the columns. */
static void add_rows(const struct g_env *env, int64_t n, const int32_t *idx, const float *x, int64_t d, int64_t rows,
                     float *to)
{
    struct op_range c = op_share(env, d, 16);
    size_t width = c.hi - c.lo;
    for (int64_t i = 0; i < n; i++) {
        if (idx[i] < 0)
            continue;
        float *row = to + (idx[i] < rows ? idx[i] * d : 0) + c.lo;
        if (idx[i] < rows)
            env->kernels->add_map(width, row, x + i * d + c.lo, row);
        else
            op_fill_nan(row, width);
    }
}
void run_embedding_dw(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *table = t->in[2];
    add_rows(env, g_count(t->in[0]), g_i32(t->in[0]), g_f32(t->in[1]), g_last(table), table->shape.d[0], g_f32(table));
}

/* ---- gather and scatter ---- */

static int rows_of(const struct g_tensor *t, int i)
{
    return t->in[i]->dt == DT_F32 && t->in[i]->shape.n >= 1 ? 0 : op_bad(t, i, "F32 rows");
}

int shape_gather_rows(struct g_tensor *t)
{
    TRY(rows_of(t, 0));
    TRY(op_ids(t, 1));
    TRY(op_like(t, 0));
    t->shape.d[0] = g_count(t->in[1]);
    return 0;
}
void cost_gather_rows(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){.bytes = 2.0 * (double)g_bytes(t)};
}
void run_gather_rows(const struct g_tensor *t, const struct g_env *env)
{
    const int32_t *idx = g_i32(t->in[1]);
    const float *x = g_f32(t->in[0]);
    size_t d = (size_t)op_row_len(t);
    struct op_range r = op_share(env, t->shape.d[0], 1);
    for (size_t i = r.lo; i < r.hi; i++) {
        float *y = g_f32(t) + i * d;
        if (idx[i] >= t->in[0]->shape.d[0])
            op_fill_nan(y, d);
        else if (idx[i] < 0)
            memset(y, 0, d * sizeof *y);
        else
            memcpy(y, x + (size_t)idx[i] * d, d * sizeof *y);
    }
}
void grad_gather_rows(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    union g_attr a = {.rows = {t->in[0]->shape.d[0]}};
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_scatter_add, &a, 2, OP_IN(op_as(g, dt, t), t->in[1])));
}

/* x[idx[t]] for each of the rows of input `x`, and the rows fit those of `base`. */
static int indexed_rows(const struct g_tensor *t, int x, int idx)
{
    TRY(rows_of(t, x));
    TRY(op_ids(t, idx));
    if (g_count(t->in[idx]) != t->in[x]->shape.d[0])
        return op_bad(t, idx, "as many indices as rows");
    return 0;
}

int shape_scatter_rows(struct g_tensor *t)
{
    TRY(rows_of(t, 0));
    TRY(indexed_rows(t, 2, 1));
    if (op_row_len(t->in[0]) != op_row_len(t->in[2]) && g_count(t->in[0]) && g_count(t->in[2]))
        return op_bad(t, 2, "rows as long as the base's");
    return op_like(t, 0);
}
void cost_scatter_rows(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
}
/* Rows idx[i] of t become x's rows, or zero without x, in a copy of base; threads share the columns. */
static void replace_rows(const struct g_tensor *t, const struct g_env *env, const struct g_tensor *idx, const float *x)
{
    int64_t d = op_row_len(t), rows = t->shape.d[0], n = g_count(idx);
    struct op_range c = op_share(env, d, 16);
    size_t bytes = (c.hi - c.lo) * sizeof(float);
    float *y = g_f32(t) + c.lo;
    const float *base = g_f32(t->in[0]) + c.lo;
    const int32_t *at = g_i32(idx);
    for (int64_t i = 0; i < rows; i++)
        memcpy(y + i * d, base + i * d, bytes);
    for (int64_t i = 0; i < n; i++) {
        if (at[i] >= rows)
            op_fill_nan(y, rows ? c.hi - c.lo : 0);
        else if (at[i] >= 0 && x)
            memcpy(y + at[i] * d, x + i * d + c.lo, bytes);
        else if (at[i] >= 0)
            memset(y + at[i] * d, 0, bytes);
    }
}
void run_scatter_rows(const struct g_tensor *t, const struct g_env *env)
{
    replace_rows(t, env, t->in[1], g_f32(t->in[2]));
}
void grad_scatter_rows(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    dt = op_as(g, dt, t);
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_zero_rows, NULL, 2, OP_IN(dt, t->in[1])));
    if (g_wants(t->in[2]))
        op_give(g, t, 2, g_gather_rows(g, dt, t->in[1]));
}

int shape_scatter_add(struct g_tensor *t)
{
    TRY(indexed_rows(t, 0, 1));
    TRY(op_like(t, 0));
    t->shape.d[0] = t->attr.rows.rows;
    return 0;
}
void cost_scatter_add(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
void run_scatter_add(const struct g_tensor *t, const struct g_env *env)
{
    int64_t d = op_row_len(t->in[0]), rows = t->shape.d[0];
    struct op_range c = op_share(env, d, 16);
    for (int64_t i = 0; i < rows; i++)
        memset(g_f32(t) + i * d + c.lo, 0, (c.hi - c.lo) * sizeof(float));
    if (rows)
        add_rows(env, g_count(t->in[1]), g_i32(t->in[1]), g_f32(t->in[0]), d, rows, g_f32(t));
}

int shape_zero_rows(struct g_tensor *t)
{
    TRY(rows_of(t, 0));
    TRY(op_ids(t, 1));
    return op_like(t, 0);
}
void cost_zero_rows(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
}
void run_zero_rows(const struct g_tensor *t, const struct g_env *env)
{
    replace_rows(t, env, t->in[1], NULL);
}

/* ---- ranges along an axis ---- */

/* A tensor around an axis: `outer` blocks of `bytes` bytes. */
struct blocks { size_t outer, bytes; };

static struct blocks blocks_at(const struct shape *s, int axis)
{
    struct blocks b = {1, 4};
    for (int i = 0; i < s->n; i++)
        *(i < axis ? &b.outer : &b.bytes) *= (size_t)s->d[i];
    return b;
}

static int axis_ok(const struct g_tensor *t, int i)
{
    int axis = t->attr.range.axis;
    if (t->in[i]->dt != DT_F32 && t->in[i]->dt != DT_I32)
        return op_bad(t, i, "F32 or I32");
    return axis >= 0 && axis < t->in[i]->shape.n ? 0 : op_bad(t, i, "the axis of the attribute");
}

int shape_concat(struct g_tensor *t)
{
    int axis = t->attr.range.axis;
    int64_t sum = 0;
    char text[SHAPE_TEXT];
    for (int i = 0; i < t->n_in; i++) {
        if (!t->in[i])
            return err_set(NUN_EARG, "concat: input %d is absent", i);
        TRY(axis_ok(t, i));
        struct shape s = t->in[i]->shape;
        sum += s.d[axis];
        s.d[axis] = t->in[0]->shape.d[axis];
        if (!shape_eq(&s, &t->in[0]->shape) || t->in[i]->dt != t->in[0]->dt)
            return op_bad(t, i, shape_format(&t->in[0]->shape, text));
    }
    t->dt = t->in[0]->dt;
    t->shape = t->in[0]->shape;
    t->shape.d[axis] = sum;
    return 0;
}
void cost_concat(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
}
void run_concat(const struct g_tensor *t, const struct g_env *env)
{
    struct blocks to = blocks_at(&t->shape, t->attr.range.axis);
    char *y = t->data;
    for (int k = 0; k < t->n_in; k++) {
        struct blocks from = blocks_at(&t->in[k]->shape, t->attr.range.axis);
        struct op_range r = op_share(env, (int64_t)(from.outer * from.bytes), 64); /* bytes, cut anywhere */
        for (size_t i = r.lo; i < r.hi;) {
            size_t block = i / from.bytes, at = i % from.bytes, n = from.bytes - at;
            n = n < r.hi - i ? n : r.hi - i;
            memcpy(y + block * to.bytes + at, (const char *)t->in[k]->data + i, n);
            i += n;
        }
        y += from.bytes;
    }
}
void grad_concat(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    int axis = t->attr.range.axis;
    int64_t from = 0;
    dt = op_as(g, dt, t);
    for (int i = 0; i < t->n_in; i++) {
        int64_t to = from + t->in[i]->shape.d[axis];
        if (g_wants(t->in[i]))
            op_give(g, t, i, g_slice(g, dt, axis, from, to));
        from = to;
    }
}

int shape_slice(struct g_tensor *t)
{
    int axis = t->attr.range.axis;
    int64_t from = t->attr.range.from, to = t->attr.range.to;
    TRY(axis_ok(t, 0));
    if (from < 0 || from > to || to > t->in[0]->shape.d[axis])
        return err_set(NUN_EARG, "slice: range [%lld, %lld) of axis %d with %lld", (long long)from, (long long)to, axis,
                       (long long)t->in[0]->shape.d[axis]);
    t->dt = t->in[0]->dt;
    t->shape = t->in[0]->shape;
    t->shape.d[axis] = to - from;
    return 0;
}
void cost_slice(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){.bytes = 2.0 * (double)g_bytes(t)};
}
void run_slice(const struct g_tensor *t, const struct g_env *env)
{
    int axis = t->attr.range.axis;
    struct blocks from = blocks_at(&t->in[0]->shape, axis), to = blocks_at(&t->shape, axis);
    size_t start = to.bytes ? to.bytes / (size_t)t->shape.d[axis] * (size_t)t->attr.range.from : 0;
    struct op_range r = op_share(env, (int64_t)to.outer, 1);
    for (size_t i = r.lo; i < r.hi; i++)
        memcpy((char *)t->data + i * to.bytes, (const char *)t->in[0]->data + i * from.bytes + start, to.bytes);
}
void grad_slice(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    union g_attr a = t->attr;
    a.range.full = t->in[0]->shape.d[a.range.axis];
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_slice_grad, &a, 1, OP_IN(op_as(g, dt, t))));
}

int shape_slice_grad(struct g_tensor *t)
{
    TRY(axis_ok(t, 0));
    TRY(op_like(t, 0));
    int axis = t->attr.range.axis;
    if (t->attr.range.from < 0 || t->attr.range.from + t->shape.d[axis] > t->attr.range.full)
        return op_bad(t, 0, "a range within the full axis");
    t->shape.d[axis] = t->attr.range.full;
    return 0;
}
void cost_slice_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
}
void run_slice_grad(const struct g_tensor *t, const struct g_env *env)
{
    int axis = t->attr.range.axis;
    struct blocks from = blocks_at(&t->in[0]->shape, axis), to = blocks_at(&t->shape, axis);
    size_t start = to.bytes ? to.bytes / (size_t)t->shape.d[axis] * (size_t)t->attr.range.from : 0;
    struct op_range r = op_share(env, (int64_t)to.outer, 1);
    for (size_t i = r.lo; i < r.hi; i++) {
        char *y = (char *)t->data + i * to.bytes;
        memset(y, 0, start);
        memcpy(y + start, (const char *)t->in[0]->data + i * from.bytes, from.bytes);
        memset(y + start + from.bytes, 0, to.bytes - start - from.bytes);
    }
}

/* ---- transpose, reshape, repeat ---- */

int shape_transpose(struct g_tensor *t)
{
    const struct shape *s = &t->in[0]->shape;
    const int *perm = t->attr.transpose.perm;
    unsigned seen = 0;
    if (s->n > 4 || (t->in[0]->dt != DT_F32 && t->in[0]->dt != DT_I32))
        return op_bad(t, 0, "F32 or I32 of up to 4 dimensions");
    t->dt = t->in[0]->dt;
    t->shape.n = s->n;
    for (int i = 0; i < s->n; i++) {
        if (perm[i] < 0 || perm[i] >= s->n || seen >> perm[i] & 1)
            return err_set(NUN_EARG, "transpose: dimension %d takes from %d, not a permutation of %d", i, perm[i], s->n);
        seen |= 1u << perm[i];
        t->shape.d[i] = s->d[perm[i]];
    }
    return 0;
}
void cost_transpose(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
}
void run_transpose(const struct g_tensor *t, const struct g_env *env)
{
    size_t d[4] = {1, 1, 1, 1}, step[4] = {0}, stride[4]; /* the result's dimensions and where they step in x */
    int n = t->shape.n;
    for (int i = n - 1; i >= 0; i--)
        stride[i] = i == n - 1 ? 1 : stride[i + 1] * (size_t)t->in[0]->shape.d[i + 1];
    for (int i = 0; i < n; i++) {
        d[4 - n + i] = (size_t)t->shape.d[i];
        step[4 - n + i] = stride[t->attr.transpose.perm[i]];
    }
    struct op_range r = op_share(env, (int64_t)(d[0] * d[1] * d[2]), 1);
    for (size_t i = r.lo; i < r.hi; i++) {
        const float *x = g_f32(t->in[0]) + i / (d[1] * d[2]) * step[0] + i / d[2] % d[1] * step[1] + i % d[2] * step[2];
        float *y = g_f32(t) + i * d[3];
        if (step[3] == 1)
            memcpy(y, x, d[3] * sizeof *y);
        else
            for (size_t k = 0; k < d[3]; k++)
                memcpy(y + k, x + k * step[3], sizeof *y); /* the values may be integers */
    }
}
void grad_transpose(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    int back[4] = {0, 1, 2, 3};
    for (int i = 0; i < t->shape.n; i++)
        back[t->attr.transpose.perm[i]] = i;
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_transpose(g, op_as(g, dt, t), back));
}

/* A reshape is a view that g_reshape makes and checks; nothing of it is ever run. */
int shape_reshape(struct g_tensor *t)
{
    t->dt = t->in[0]->dt;
    if (!t->shape.n)
        t->shape = t->in[0]->shape;
    return g_count(t) == g_count(t->in[0]) ? 0 : op_bad(t, 0, "as many values as the new shape has");
}
void cost_reshape(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){0};
}
void run_reshape(const struct g_tensor *t, const struct g_env *env)
{
}
void grad_reshape(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, dt);
}

int shape_repeat_rows(struct g_tensor *t)
{
    TRY(rows_of(t, 0));
    if (t->attr.rows.rows < 1 || __builtin_mul_overflow(t->in[0]->shape.d[0], t->attr.rows.rows, &(int64_t){0}))
        return err_set(NUN_EARG, "repeat_rows: %lld times", (long long)t->attr.rows.rows);
    TRY(op_like(t, 0));
    t->shape.d[0] *= t->attr.rows.rows;
    return 0;
}
void cost_repeat_rows(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
}
void run_repeat_rows(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t->in[0], env);
    for (int64_t i = 0; i < t->attr.rows.rows; i++)
        memcpy(g_f32(t) + i * g_count(t->in[0]) + r.lo, g_f32(t->in[0]) + r.lo, (r.hi - r.lo) * sizeof(float));
}
void grad_repeat_rows(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (t->attr.rows.rows == 1)
        op_give(g, t, 0, dt);
    else if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_sum_repeats, &t->attr, 1, OP_IN(op_as(g, dt, t))));
}
