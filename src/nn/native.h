/* Towers over pictures of their own size: patches as rows, in groups that become one feature of the decoder; groups
 * of a window lie together, so that a window is one range of keys; every patch turns by its row and its column.
 * arXiv:2409.12191, windows arXiv:2502.13923. Knows no processors; models/sight_*.c build with it. */
/* SPDX-License-Identifier: MIT */
#ifndef NN_NATIVE_H
#define NN_NATIVE_H
#include "nn/nn.h"

/* Grids of rows x cols patches, each a sequence of its own: pictures, or steps of videos. */
struct nn_native {
    const struct nn_stack *s;
    int grids, rows, cols;
    struct g_tensor *order;            /* I32 [grids * rows * cols]: which patch, in reading order, stands at each row */
    struct g_tensor *back;             /* I32 [features]: which group, as they stand, is the next in reading order */
    struct g_tensor *all, *windows;    /* I32 [grids, rows * cols, 2]: the keys of a patch */
    struct nn_seq seq;
};

int nn_native_features(const struct nn_facts *f, int grids, int rows, int cols);
/* Sides are multiples of the stack's merge, or the graph has an error. */
struct nn_native nn_native_begin(struct graph *g, const struct nn_stack *s, int grids, int rows, int cols);
/* pixels F32 [n * frames, C, H, W] of n pictures or videos -> x [grids * rows * cols, hidden] before the first block. */
struct g_tensor *nn_native_patches(struct graph *g, const struct nn_native *t, struct g_tensor *pixels, int frames);
/* x through blocks [from, to). */
struct g_tensor *nn_native_blocks(struct graph *g, const struct nn_native *t, struct g_tensor *x, int from, int to);
/* x normalised, in groups, through two matrices: [features, projection], as they stand in x. */
struct nn_native_out { struct g_param *norm_w, *norm_b, *w1, *b1, *w2, *b2; };
struct g_tensor *nn_native_join(struct graph *g, const struct nn_native *t, struct g_tensor *x, const struct nn_native_out *w);
/* Features in reading order. */
struct g_tensor *nn_native_reading(struct graph *g, const struct nn_native *t, struct g_tensor *x);

#endif
