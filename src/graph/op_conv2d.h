/* What conv2d and its gradients share: the geometry, and rows of taps gathered from maps [B,H,W,C], which turn a
 * convolution into a matrix product. Included by op_conv2d.c and op_conv2d_grad.c only. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_OP_CONV2D_H
#define GRAPH_OP_CONV2D_H
#include "graph/op_rhs.h"
#include "graph/op_shape.h"

struct conv2d {
    size_t B, H, W, C;           /* x */
    size_t h, w, O;              /* y */
    size_t kh, kw, I;            /* W[O,kh,kw,I]: I channels of x a group */
    size_t groups, stride;
    ptrdiff_t before;            /* padding above and to the left */
};

/* Of x, W and y (or dy), with the attributes of t. */
struct conv2d conv2d_of(const struct g_tensor *t, const struct g_tensor *x, const struct g_tensor *w, const struct g_tensor *y);

static inline size_t conv2d_taps(const struct conv2d *c) { return c->kh * c->kw; }
static inline size_t conv2d_pixels(const struct conv2d *c) { return c->B * c->h * c->w; }
/* One channel each: too thin for matrices. */
static inline bool conv2d_is_depthwise(const struct conv2d *c) { return c->groups > 1 && c->groups == c->C && c->O == c->C; }
/* The maps themselves are the rows. */
static inline bool conv2d_is_pointwise(const struct conv2d *c)
{
    return c->kh == 1 && c->kw == 1 && c->stride == 1 && c->groups == 1 && c->h == c->H && c->w == c->W && !c->before;
}

/* The taps [lo, hi) of a kernel of `taps` that lie inside [0, size), when the first lies at `at`. */
static inline struct op_range conv2d_inside(ptrdiff_t at, size_t taps, size_t size)
{
    struct op_range r = {at < 0 ? (size_t)-at : 0, taps};
    r.lo = r.lo < taps ? r.lo : taps;
    if (at + (ptrdiff_t)taps > (ptrdiff_t)size)
        r.hi = (ptrdiff_t)size > at ? (size_t)((ptrdiff_t)size - at) : 0;
    r.hi = r.hi > r.lo ? r.hi : r.lo;
    return r;
}

/* rows [r.hi - r.lo, kh, kw, I]: what the taps of the result's pixels [r.lo, r.hi) see of x; zeros outside. */
void conv2d_gather(const struct conv2d *c, const float *x, size_t group, struct op_range r, float *rows);

/* A weight of one channel a group, [C, taps], turned: [taps, C]; each thread its channels, complete after a barrier. */
void conv2d_turn(const struct conv2d *c, const float *w, const struct g_env *env, float *turned);

/* Rows of gathered taps, each of `width` floats, that stay in the second-level cache. */
static inline size_t conv2d_block(size_t width)
{
    enum { BYTES = 512 << 10, LEAST = 32, MOST = 1024 };
    size_t rows = BYTES / sizeof(float) / (width ? width : 1);
    return rows < LEAST ? LEAST : rows > MOST ? MOST : rows;
}

#endif
