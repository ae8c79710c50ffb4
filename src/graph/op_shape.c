/* The shared parts of the operation rows; see op_shape.h. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_shape.h"
#include <stdio.h>

int op_bad(const struct g_tensor *t, int i, const char *what)
{
    char text[SHAPE_TEXT];
    return err_set(NUN_EARG, "%s: input %d: expected %s, found %s %s", op_table[t->op].name, i, what,
                   dtype_name(t->in[i]->dt), shape_format(&t->in[i]->shape, text));
}

int op_all_f32(const struct g_tensor *t, int n)
{
    for (int i = 0; i < n; i++)
        if (t->in[i] && t->in[i]->dt != DT_F32)
            return op_bad(t, i, "F32");
    return 0;
}

int op_like(struct g_tensor *t, int i)
{
    if (t->in[i]->dt != DT_F32)
        return op_bad(t, i, "F32");
    t->dt = DT_F32;
    t->shape = t->in[i]->shape;
    return 0;
}

int op_same(const struct g_tensor *t, int i, int j)
{
    char text[SHAPE_TEXT];
    if (!shape_eq(&t->in[i]->shape, &t->in[j]->shape))
        return op_bad(t, j, shape_format(&t->in[i]->shape, text));
    return 0;
}

int op_width(const struct g_tensor *t, int i)
{
    char text[48];
    const struct g_tensor *w = t->in[i];
    if (w->dt == DT_F32 && w->shape.n == 1 && w->shape.d[0] == g_last(t->in[0]))
        return 0;
    snprintf(text, sizeof text, "F32 [%lld]", (long long)g_last(t->in[0]));
    return op_bad(t, i, text);
}

int op_ids(const struct g_tensor *t, int i)
{
    return t->in[i]->dt == DT_I32 ? 0 : op_bad(t, i, "I32");
}

int op_into(struct g_tensor *t)
{
    return op_like(t, t->n_in - 1);
}

void op_cost(const struct g_tensor *t, double flops, struct g_cost *out)
{
    double bytes = (double)g_bytes(t);
    for (int i = 0; i < t->n_in; i++)
        bytes += t->in[i] ? (double)g_bytes(t->in[i]) : 0;
    *out = (struct g_cost){.flops = flops * (double)g_count(t), .bytes = bytes};
}

struct g_tensor *op_as(struct graph *g, struct g_tensor *dt, const struct g_tensor *like)
{
    return !dt || shape_eq(&dt->shape, &like->shape) ? dt : g_reshape(g, dt, like->shape);
}

void op_give(struct graph *g, struct g_tensor *t, int i, struct g_tensor *dt)
{
    if (g_wants(t->in[i]))
        g_grad_add(g, t->in[i], op_as(g, dt, t->in[i]));
}

void op_give_repeated(struct graph *g, struct g_tensor *t, int i, struct g_tensor *full)
{
    struct g_tensor *y = t->in[i];
    if (!g_wants(y) || !full)
        return;
    int64_t n = g_count(y) ? g_count(full) / g_count(y) : 1;
    if (y->kind == G_PARAM && y->shape.n == 1 && g_last(full) == g_last(y)) {
        /* straight into the accumulator: micro-batches then add up as one batch does */
        g_op(g, OP_sum_rows_into, NULL, 2, OP_IN(full, g_grad_into(g, y)));
    } else if (n == 1) {
        op_give(g, t, i, full);
    } else {
        union g_attr a = {.rows = {n}};
        op_give(g, t, i, g_op(g, OP_sum_repeats, &a, 1, OP_IN(full)));
    }
}
