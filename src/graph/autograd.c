/* Reverse-mode differentiation by appending nodes: each row's gradient rule contributes to its inputs
 * in reverse order of construction. Recompute segments are copied right before their backward part,
 * and the rules then read the copies; a gradient for a copy counts for its original. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "graph/op.h"

bool g_wants(const struct g_tensor *t)
{
    return t && t->needs_grad;
}

struct g_tensor *g_grad_into(struct graph *g, struct g_tensor *param)
{
    if (g->error || !param)
        return NULL;
    if (!param->grad) {
        if (param->kind != G_PARAM || !param->param->grad) {
            g->error = err_set(NUN_EARG, "autograd: %s has no gradient accumulator", param->name ? param->name : "a value");
            return NULL;
        }
        struct g_tensor *acc = g_input(g, param->name, DT_F32, param->shape);
        if (!acc)
            return NULL;
        acc->kind = G_GRAD;
        acc->param = param->param;
        acc->data = param->param->grad;
        param->grad = acc;
    }
    return param->grad;
}

void g_grad_add(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g->error || !dt || !g_wants(t))
        return;
    if (t->origin)
        t = t->origin;
    if (g_count(t) != g_count(dt)) {
        char a[SHAPE_TEXT], b[SHAPE_TEXT];
        g->error = err_set(NUN_EARG, "autograd: gradient %s for a value %s", shape_format(&dt->shape, a),
                           shape_format(&t->shape, b));
        return;
    }
    if (t->kind == G_PARAM) {
        struct g_tensor *in[] = {dt, g_grad_into(g, t)};
        g_op(g, OP_accumulate, NULL, 2, in);
    } else {
        t->grad = t->grad ? g_add(g, t->grad, dt) : dt;
    }
}

/* Append copies of the forward nodes of segment `seg`, which ends at node `last`; copy[id] maps them. */
static void copy_segment(struct graph *g, int seg, int last, struct g_tensor **copy)
{
    int first = last;
    while (first > 0 && g->nodes[first - 1]->segment == seg)
        first--;
    for (int i = first; i <= last && !g->error; i++) {
        struct g_tensor *t = g->nodes[i];
        if (t->segment != seg || (t->kind != G_OP && t->kind != G_VIEW))
            continue;
        struct g_tensor *in[G_MAX_IN] = {0};
        for (int k = 0; k < t->n_in; k++)
            in[k] = t->in[k] && copy[t->in[k]->id] ? copy[t->in[k]->id] : t->in[k];
        struct g_tensor *c;
        if (t->kind == G_VIEW) {
            struct g_tensor *base = copy[t->base->id] ? copy[t->base->id] : t->base;
            c = t->n_in ? g_reshape(g, in[0], t->shape) : g_view(g, base, 0, t->shape);
            if (c)
                c->base_offset = t->base_offset;
        } else {
            c = g_op(g, t->op, &t->attr, t->n_in, in);
        }
        if (!c)
            return;
        c->origin = t;
        c->name = t->name;
        c->backward = true;
        copy[t->id] = c;
    }
}

/* The rule of node t, reading the copy of t where there is one. */
static void differentiate(struct graph *g, int i, struct g_tensor **copy)
{
    struct g_tensor *t = g->nodes[i];
    bool last_of_segment = t->segment >= 0 && (t->kind == G_OP || t->kind == G_VIEW) &&
                           (i + 1 == g->n_nodes || g->nodes[i + 1]->segment != t->segment);
    if (last_of_segment)
        copy_segment(g, t->segment, i, copy);
    if (!t->needs_grad || !t->grad || t->kind == G_PARAM || t->kind == G_INPUT)
        return;
    const struct op_info *op = &op_table[t->op];
    if (!op->grad) {
        g->error = err_set(NUN_EUNSUP, "autograd: %s has no gradient rule", op->name);
        return;
    }
    op->grad(g, copy[t->id] ? copy[t->id] : t, t->grad);
}

int graph_backward(struct graph *g, struct g_tensor *loss, struct g_tensor *seed)
{
    if (g->error)
        return g->error;
    if (!loss || g_count(loss) != 1)
        return g->error = err_set(NUN_EARG, "autograd: the loss must be one number");
    static const float one = 1.0f;
    int n = g->n_nodes;
    struct g_tensor **copy = mem_calloc(MEM_GRAPH, (size_t)n + 1, sizeof *copy);
    if (!copy)
        return g->error = NUN_ENOMEM;
    int open_segment = g->segment;
    g->segment = -1;
    loss->grad = seed ? seed : g_const(g, DT_F32, loss->shape, &one, true);
    for (int i = n - 1; i >= 0 && !g->error; i--)
        differentiate(g, i, copy);
    for (int i = n; i < g->n_nodes; i++)
        g->nodes[i]->backward = true;
    g->segment = open_segment;
    mem_free(copy);
    return g->error;
}
