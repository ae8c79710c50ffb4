/* Plans: the order of execution and one block of memory in which every value has its place for as
 * long as it is read. Made once per shape, replayed many times by exec.h. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_PLAN_H
#define GRAPH_PLAN_H
#include "graph/graph.h"

struct plan {
    struct graph *graph;      /* borrowed */
    struct g_tensor **steps;  /* nodes that run, in order */
    int n_steps;
    void *memory;             /* values */
    size_t memory_bytes;
    size_t unshared_bytes;    /* what the values would take without reuse: for reports */
    void *scratch;
    size_t scratch_bytes;
    double flops, bytes;      /* of one replay, by the rows' cost rules */
};

/* Keeps what outputs (g_output) and gradients need, drops the rest, lays out memory by liveness, and
 * sets t->data of every value. The graph must outlive the plan. One plan per graph. */
int plan_create(struct graph *g, struct plan **out);
void plan_free(struct plan *p); /* NULL is fine */

#endif
