/* The table of operations: what a row of ops.def is made of. Included by the op_*.c files, which
 * define the slots, and by the builder, autograd, planner and executor, which use the table. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_OP_H
#define GRAPH_OP_H
#include "graph/graph.h"
#include "kernels/kernels.h"

enum { OPF_NO_GRAD = 1, OPF_INPLACE = 2, OPF_INTO = 4 };

struct g_cost { double flops, bytes; size_t scratch; }; /* scratch: bytes needed while running */

/* What a running operation sees besides its node. */
struct g_env {
    struct par par;                 /* thread, team */
    const struct kernels *kernels;
    enum gemm_format compute;
    void *scratch;                  /* as many bytes as cost_NAME asked for, 64-byte aligned, shared by the team */
    uint64_t seed, step;            /* dropout */
};

struct op_info {
    const char *name;
    int min_in, max_in;
    unsigned flags;
    const char *doc;
    /* Set t->dt and t->shape from inputs and attributes; NUN_EARG with a sentence when they do not fit. */
    int (*shape)(struct g_tensor *t);
    /* FLOPs, bytes moved, scratch for a team of `threads`. */
    void (*cost)(const struct graph *g, const struct g_tensor *t, struct g_cost *out);
    /* Every thread of the team runs it; the executor has a barrier after it. */
    void (*run)(const struct g_tensor *t, const struct g_env *env);
    /* Contribute to the gradients of t's inputs, given dt. NULL with OPF_NO_GRAD. */
    void (*grad)(struct graph *g, struct g_tensor *t, struct g_tensor *dt);
};
extern const struct op_info op_table[OP_COUNT];

#define OP(name, min_in, max_in, flags, doc)                                           \
    int shape_##name(struct g_tensor *t);                                              \
    void cost_##name(const struct graph *g, const struct g_tensor *t, struct g_cost *out); \
    void run_##name(const struct g_tensor *t, const struct g_env *env);                \
    void grad_##name(struct graph *g, struct g_tensor *t, struct g_tensor *dt);
#include "graph/ops.def"
#undef OP

#endif
