/* What the operation rows share: checks of shapes and types with one sentence each, the common costs,
 * row copies, and the small steps of gradient rules. Included by op_*.c only. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_OP_SHAPE_H
#define GRAPH_OP_SHAPE_H
#include <string.h>
#include "base/err.h"
#include "graph/op.h"

#define OP_IN(...) (struct g_tensor *const[]){__VA_ARGS__}

/* ---- checks ---- */

/* NUN_EARG: "<op>: expected <what>, found <shape and type of input i>". */
int op_bad(const struct g_tensor *t, int i, const char *what);
/* Inputs [0, n) that are present are float32. */
int op_all_f32(const struct g_tensor *t, int n);
/* The result is float32 and shaped as input i. */
int op_like(struct g_tensor *t, int i);
/* Inputs i and j have the same shape. */
int op_same(const struct g_tensor *t, int i, int j);
/* Input i is a float32 vector of as many values as the last dimension of input 0. */
int op_width(const struct g_tensor *t, int i);
/* Input i is I32. */
int op_ids(const struct g_tensor *t, int i);
/* The result of an OPF_INTO operation: its last input, float32. */
int op_into(struct g_tensor *t);

/* ---- costs ---- */

/* `flops` a value of the result; every input and the result moved once. */
void op_cost(const struct g_tensor *t, double flops, struct g_cost *out);

/* ---- runs ---- */

struct op_range { size_t lo, hi; };

/* This thread's share of the result's rows, of n values in whole cache lines. */
static inline struct op_range op_share(const struct g_env *env, int64_t count, size_t unit)
{
    struct op_range r;
    par_share(&env->par, (size_t)count, unit, &r.lo, &r.hi);
    return r;
}
static inline struct op_range op_my_rows(const struct g_tensor *x, const struct g_env *env)
{
    return op_share(env, g_rows(x), 1);
}
static inline struct op_range op_my_values(const struct g_tensor *x, const struct g_env *env)
{
    return op_share(env, g_count(x), 64);
}
static inline void op_fill_nan(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = __builtin_nanf("");
}
/* Dimension 0 taken as rows: values in one. */
static inline int64_t op_row_len(const struct g_tensor *t)
{
    return t->shape.n && t->shape.d[0] ? g_count(t) / t->shape.d[0] : 0;
}

/* ---- gradients ---- */

/* dt contributes to input i, reshaped to it where that differs. */
void op_give(struct graph *g, struct g_tensor *t, int i, struct g_tensor *dt);
/* dt viewed in the shape of `like`. */
struct g_tensor *op_as(struct graph *g, struct g_tensor *dt, const struct g_tensor *like);
/* The gradient of input i, which repeats over the leading dimensions of `full`. */
void op_give_repeated(struct graph *g, struct g_tensor *t, int i, struct g_tensor *full);

#endif
