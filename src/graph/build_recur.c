/* The recurrent operations as functions; as build.c. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "graph/graph.h"

#define IN(...) (struct g_tensor *const[]){__VA_ARGS__}

static union g_attr at_of(int64_t at)
{
    return (union g_attr){.recur = {.at = at}};
}

struct g_tensor *g_conv1d(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *bias,
                          struct g_tensor *where, int64_t at)
{
    union g_attr a = at_of(at);
    return g_op(g, OP_conv1d, &a, 4, IN(x, where, w, bias));
}

struct g_tensor *g_selective_scan(struct graph *g, struct g_tensor *const in[6], struct g_tensor *where, int64_t at)
{
    union g_attr a = at_of(at);
    return g_op(g, OP_selective_scan, &a, 7, IN(in[0], where, in[1], in[2], in[3], in[4], in[5]));
}

struct g_tensor *g_ssd_scan(struct graph *g, struct g_tensor *const in[6], int groups, float dt_min, float dt_max,
                            struct g_tensor *where, int64_t at)
{
    union g_attr a = {.recur = {at, groups, dt_min, dt_max}};
    return g_op(g, OP_ssd_scan, &a, 7, IN(in[0], where, in[1], in[2], in[3], in[4], in[5]));
}

struct g_tensor *g_delta_scan(struct graph *g, struct g_tensor *const in[6], int groups, struct g_tensor *where, int64_t at)
{
    union g_attr a = {.recur = {.at = at, .groups = groups}};
    return g_op(g, OP_delta_scan, &a, 7, IN(in[0], where, in[1], in[2], in[3], in[4], in[5]));
}

struct g_tensor *g_rg_lru(struct graph *g, struct g_tensor *x, struct g_tensor *gate_x, struct g_tensor *gate_a,
                          struct g_tensor *param, struct g_tensor *where, int64_t at)
{
    union g_attr a = at_of(at);
    return g_op(g, OP_rg_lru, &a, 5, IN(x, where, gate_x, gate_a, param));
}

struct g_tensor *g_token_shift(struct graph *g, struct g_tensor *x, int n, struct g_tensor *const *mix,
                               struct g_tensor *where, int64_t at)
{
    union g_attr a = at_of(at);
    struct g_tensor *in[G_MAX_IN] = {x, where};
    if (n < 1 || n > G_MAX_IN - 2) {
        g->error = g->error ? g->error : err_set(NUN_EARG, "token_shift: %d mixes, 1 to %d are possible", n, G_MAX_IN - 2);
        return NULL;
    }
    memcpy(in + 2, mix, (size_t)n * sizeof *mix);
    return g_op(g, OP_token_shift, &a, n + 2, in);
}

struct g_tensor *g_wkv(struct graph *g, struct g_tensor *k, struct g_tensor *v, struct g_tensor *decay,
                       struct g_tensor *first, struct g_tensor *where, int64_t at)
{
    union g_attr a = at_of(at);
    return g_op(g, OP_wkv, &a, 5, IN(k, where, v, decay, first));
}
