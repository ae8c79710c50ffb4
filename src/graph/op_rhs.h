/* A weight of any number format as the right-hand side of a matrix product: its ready panels, or panels packed in
 * scratch. Included by op_linear.c and op_conv2d.c.
 *
 * A weight's packed[] must be there, or not, from the plan on: the plan sizes the scratch by it. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_OP_RHS_H
#define GRAPH_OP_RHS_H
#include "graph/op.h"

static inline size_t op_pad64(size_t n) { return (n + 63) & ~(size_t)63; }

/* Weights are [N,K]; a convolution's [N,C,p,p] counts as [N,C*p*p]. */
static inline int op_weight_rows(const struct g_tensor *w) { return w->shape.n ? (int)w->shape.d[0] : 1; }
static inline int op_weight_cols(const struct g_tensor *w)
{
    int64_t n = op_weight_rows(w);
    return n ? (int)(g_count(w) / n) : 0;
}

/* Scratch: [panels | float32 rows of w, when needed]. */
struct op_rhs {
    const struct g_tensor *w;
    int side;                   /* 0: x W^T, 1: dy W */
    enum gemm_format format;
};

/* x W^T or dy W in the format of products with w. */
struct op_rhs op_rhs_of(const struct g_tensor *w, int side, enum gemm_format compute);
static inline int op_rhs_k(const struct op_rhs *r) { return r->side ? op_weight_rows(r->w) : op_weight_cols(r->w); }
static inline int op_rhs_n(const struct op_rhs *r) { return r->side ? op_weight_cols(r->w) : op_weight_rows(r->w); }
const void *op_rhs_ready(const struct op_rhs *r); /* its panels; NULL: they are to be packed */
size_t op_rhs_bytes(const struct op_rhs *r);      /* of scratch */
/* Called by the whole team; unless it was ready, what it returns is complete after the caller's next barrier. */
struct gemm_b op_rhs_pack(const struct op_rhs *r, void *scratch, const struct par *par);

#endif
