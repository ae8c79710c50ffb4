/* The executor: replays a plan on a pool. Every thread walks the steps, takes its static share of each
 * and meets the others at a barrier. Nothing is allocated; mem_freeze watches. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_EXEC_H
#define GRAPH_EXEC_H
#include "graph/plan.h"

struct exec_profile {             /* nanoseconds and calls by operation; add up over replays */
    uint64_t ns[OP_COUNT], calls[OP_COUNT];
    double flops[OP_COUNT];
};

struct exec {
    struct pool *pool;            /* borrowed; NULL: this thread alone */
    uint64_t seed, step;          /* dropout */
    struct exec_profile *profile; /* NULL: none */
};

/* Inputs must have been set (t->data). Returns 0, or NUN_EARG naming an input without data. */
int exec_run(const struct plan *p, const struct exec *e);

#endif
