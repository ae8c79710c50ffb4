/* The channel part of a mixture of experts: a router chooses some of many small MLPs for each token and mixes what
 * they say; a shared MLP, where there is one, says its part to all. arXiv:1701.06538, arXiv:2401.06066. Knows
 * weights by role only; the law of numbers is that of the operations. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "graph/experts.h"
#include "nn/nn.h"

/* Remembers what the router said, for the loss that spreads the load. */
static void remember(struct nn_env *e, struct g_tensor *scores, struct g_tensor *ids)
{
    struct nn_routes *r = e->seq->routes;
    if (!r || r->n == r->cap)
        return;
    r->scores[r->n] = scores;
    r->ids[r->n++] = ids;
}

struct nn_choice { struct g_tensor *ids, *weights; };

static struct nn_choice choose(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x)
{
    const struct nn_moe *m = &e->f->moe;
    struct route how = {m->top_k, m->groups, m->top_groups, m->pairs};
    struct g_tensor *scores = nn_linear(g, w[NN_router_w], w[NN_router_b], x, NULL, ACT_NONE);
    if (m->jitter > 0) {
        struct g_tensor *best = g_route(g, scores, NULL, &how);
        remember(e, g_softmax(g, scores), best);
        return (struct nn_choice){best, g_route_sparse(g, scores, best, m->jitter)};
    }
    scores = m->sigmoid ? g_act(g, scores, ACT_SIGMOID) : g_softmax(g, scores);
    struct g_tensor *bias = w[NN_choice_b] ? g_param(g, w[NN_choice_b]) : NULL;
    struct g_tensor *ids = g_route(g, scores, bias, &how);
    remember(e, scores, ids);
    return (struct nn_choice){ids, g_route_weights(g, scores, ids, m->renormalise, m->scale)};
}

static struct g_tensor *expert(struct graph *g, struct g_param *w, struct g_param *b, struct g_tensor *x,
                               const struct expert_rows *rows)
{
    return g_expert_linear(g, x, g_param(g, w), rows->starts, b ? g_param(g, b) : NULL);
}

/* [M] ones */
static struct g_tensor *one(struct graph *g, int n)
{
    float *ones;
    struct g_tensor *t = nn_const(g, SHAPE1(n), &ones);
    for (int i = 0; t && i < n; i++)
        ones[i] = 1;
    return t;
}

static struct g_tensor *gated(struct graph *g, const struct nn_facts *f, struct g_tensor *gate, struct g_tensor *up)
{
    float most = f->moe.limit;
    if (most > 0) {
        gate = g_clamp(g, gate, -INFINITY, most);
        up = g_add(g, g_clamp(g, up, -most, most), one(g, f->moe.width));
    }
    return g_glu(g, gate, up, (enum act_kind)f->act);
}

static struct g_tensor *routed(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x)
{
    const struct nn_facts *f = e->f;
    struct nn_choice c = choose(g, e, w, x);
    struct expert_rows rows = g_expert_order(g, c.ids, f->moe.experts);
    struct g_tensor *each = g_gather_rows(g, x, rows.tokens);
    struct g_tensor *up = expert(g, w[NN_expert_up_w], w[NN_expert_up_b], each, &rows);
    if (w[NN_expert_gate_w])
        up = gated(g, f, expert(g, w[NN_expert_gate_w], w[NN_expert_gate_b], each, &rows), up);
    else
        up = g_act(g, up, (enum act_kind)f->act);
    up = expert(g, w[NN_expert_down_w], w[NN_expert_down_b], up, &rows);
    return g_expert_mix(g, up, c.weights, rows.places);
}

/* y[T,H] with each row times gate[T,1]. */
static struct g_tensor *times_rows(struct graph *g, struct g_tensor *y, struct g_tensor *gate)
{
    int64_t T = y ? y->shape.d[0] : 0;
    int32_t *at = arena_array(&g->arena, (size_t)T + 1, sizeof *at);
    if (!at) {
        g->error = g->error ? g->error : NUN_ENOMEM;
        return NULL;
    }
    for (int64_t i = 0; i < T; i++)
        at[i] = (int32_t)i;
    return g_expert_mix(g, y, gate, g_const(g, DT_I32, SHAPE2(T, 1), at, false));
}

static struct g_tensor *shared(struct graph *g, const struct nn_facts *f, struct g_param *const *w, struct g_tensor *x)
{
    struct g_tensor *h = g_glu(g, nn_linear(g, w[NN_shared_gate_w], NULL, x, NULL, ACT_NONE),
                               nn_linear(g, w[NN_shared_up_w], NULL, x, NULL, ACT_NONE), (enum act_kind)f->act);
    struct g_tensor *y = nn_linear(g, w[NN_shared_down_w], NULL, h, NULL, ACT_NONE);
    if (!w[NN_shared_mix_w])
        return y;
    return times_rows(g, y, nn_linear(g, w[NN_shared_mix_w], NULL, x, NULL, ACT_SIGMOID));
}

struct g_tensor *nn_channel_moe(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                struct g_tensor *residual, int layer)
{
    struct g_tensor *y = routed(g, e, w, x);
    if (w[NN_shared_up_w])
        y = g_add(g, y, shared(g, e->f, w, x));
    y = g_dropout(g, y, e->f->dropout);
    return residual ? g_add(g, y, residual) : y;
}

/* ---- the loss that spreads the load -------------------------------------------------------- */

enum { JOIN = 8 };

/* All layers' rows under one another. */
static struct g_tensor *joined(struct graph *g, struct g_tensor **list, int n)
{
    while (n > 1) {
        int kept = 0;
        for (int i = 0; i < n; i += JOIN)
            list[kept++] = i + 1 == n ? list[i] : g_concat(g, 0, n - i < JOIN ? n - i : JOIN, &list[i]);
        n = kept;
    }
    return list[0];
}

struct g_tensor *nn_balance(struct graph *g, const struct nn_facts *f, struct g_tensor *loss, struct nn_routes *r)
{
    if (!r || !r->n)
        return loss;
    struct g_tensor *more = g_balance_loss(g, joined(g, r->scores, r->n), joined(g, r->ids, r->n));
    return g_add(g, g_reshape(g, loss, SHAPE1(1)), g_scale(g, more, f->moe.balance));
}

int nn_routes_for(struct graph *g, const struct nn_facts *f, struct nn_routes **out)
{
    *out = NULL;
    if (f->moe.balance == 0)
        return 0;
    struct nn_routes *r = arena_alloc(&g->arena, sizeof *r);
    size_t n = (size_t)f->layers;
    if (!r || !(r->scores = arena_array(&g->arena, n, sizeof *r->scores)) || !(r->ids = arena_array(&g->arena, n, sizeof *r->ids)))
        return NUN_ENOMEM;
    r->cap = f->layers;
    *out = r;
    return 0;
}
