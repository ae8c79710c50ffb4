/* Mixtures of experts and products a head, as functions that make nodes: what nn/moe.c and nn/latent.c
 * are written in. The operations themselves are rows of ops.def. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_EXPERTS_H
#define GRAPH_EXPERTS_H
#include "graph/graph.h"

struct route {
    int top_k;
    int groups, top_groups;  /* groups <= 1: every expert may be chosen */
    bool pairs;              /* a group's score: the sum of its two best, else the best */
};

/* scores[T,E] (+ bias[E], NULL: none) -> ids I32 [T,K] */
struct g_tensor *g_route(struct graph *g, struct g_tensor *scores, struct g_tensor *bias, const struct route *how);
/* w[T,K]: scores at ids, over their sum if `renormalise`, times `scale` */
/* As SparseMixer weighs when it answers; the scores are no probabilities. */
struct g_tensor *g_route_sparse(struct graph *g, struct g_tensor *scores, struct g_tensor *ids, float jitter);
struct g_tensor *g_route_weights(struct graph *g, struct g_tensor *scores, struct g_tensor *ids, bool renormalise,
                                 float scale);

/* Rows sorted by expert, first by token within one. */
struct expert_rows {
    struct g_tensor *tokens;  /* I32 [R]: whose copy a sorted row is */
    struct g_tensor *places;  /* I32 [T,K]: the sorted row of each slot */
    struct g_tensor *starts;  /* I32 [E+1]: an expert's first row */
};
struct expert_rows g_expert_order(struct graph *g, struct g_tensor *ids, int experts);
/* x[R,D], w[E,N,D], b[E,N] or NULL -> [R,N] */
struct g_tensor *g_expert_linear(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *starts,
                                 struct g_tensor *b);
/* x[R,D], w[T,K] -> [T,D] */
struct g_tensor *g_expert_mix(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *places);
/* p[T,E], ids[T,K] -> one number */
struct g_tensor *g_balance_loss(struct graph *g, struct g_tensor *p, struct g_tensor *ids);
/* x[T,G,D], w[G,N,D] (transposed: [G,D,N]) -> [T,G,N] */
struct g_tensor *g_group_linear(struct graph *g, struct g_tensor *x, struct g_tensor *w, bool transposed);

#endif
