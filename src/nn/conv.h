/* Convolutional encoders as graph builders: a run of blocks over feature maps [B,h,w,C], each a row of
 * conv_blocks.def. A block is made of units, convolutions with their norm and activation; facts say how wide they
 * are, how far they step, which norm they have. What nn.h is for transformers: knows no files and no families;
 * models/ fills the facts and the weights.
 *
 * To add a block: a row, plan_NAME and build_NAME in conv.c, and a family that makes some in its finish function. */
/* SPDX-License-Identifier: MIT */
#ifndef NN_CONV_H
#define NN_CONV_H
#include "nn/nn.h"

#define BLOCK(name, doc) NN_BLOCK_##name,
enum nn_block_kind {
#include "nn/conv_blocks.def"
    NN_BLOCK_KINDS
};
#undef BLOCK

/* The units of a block, in the order in which they are computed; no block has all. */
enum nn_unit_place {
    NN_UNIT_first, NN_UNIT_second, NN_UNIT_squeeze, NN_UNIT_excite, NN_UNIT_third, NN_UNIT_shortcut,
    NN_UNITS
};

enum nn_unit_norm { NN_UNIT_PLAIN, NN_UNIT_BATCH, NN_UNIT_LAYER_BEFORE, NN_UNIT_LAYER_AFTER };

/* A convolution, its norm, its activation. */
struct nn_unit {
    int in, out;                 /* channels; out 0: the block has no such unit */
    int kernel, stride, groups;
    int before, after;           /* padding: above and to the left, below and to the right */
    int act, norm;               /* enum act_kind, enum nn_unit_norm */
    float eps;
    bool bias, gain;             /* of the convolution; a learned factor a channel */
    bool flat;                   /* on disk a matrix [out, in] */
    struct g_param *w, *b;       /* [out, kernel, kernel, in / groups], [out] */
    struct g_param *norm_w, *norm_b, *norm_mean, *norm_var, *gain_w;
};

/* Which names on disk are the block's. */
enum nn_block_part { NN_PART_STEM, NN_PART_DOWN, NN_PART_BODY, NN_PART_TOP };

struct nn_block {
    int kind, part;              /* enum nn_block_kind, enum nn_block_part */
    int stage, index;            /* as names count them */
    /* facts, of which a kind reads some */
    int in, out, inner;          /* channels; between (mbconv: of the depthwise convolution) */
    int kernel, stride;
    int before, after;           /* padding of the unit that steps */
    int squeeze;                 /* channels between squeeze and excitation; 0: neither */
    int act, norm;
    float eps;
    bool bias, gain;
    bool early;                  /* bottleneck: the first unit steps, not the second */
    bool skip;                   /* mbconv: the input is added */
    struct nn_unit unit[NN_UNITS]; /* by nn_block_plan */
};

struct nn_conv {
    struct nn_block *block;
    int n_blocks;                /* 0: there is no such encoder */
    int channels, width;         /* of pictures, of the last maps */
    int classes;                 /* of the head; 0: none */
    float pool_eps;
    struct g_param *pool_norm_w, *pool_norm_b; /* layer norm of the pooled maps, where there is one */
    struct g_param *head_w, *head_b;           /* NN_classifier_w, NN_classifier_b: [classes, width], [classes] */
};

extern const struct nn_block_info { const char *name, *doc; } nn_blocks_info[NN_BLOCK_KINDS];

/* The units that the block's facts mean. */
void nn_block_plan(struct nn_block *b);
/* The size that a letter of a unit's weight stands for: O out, I in a group, P side of the kernel. */
int nn_unit_dim(const struct nn_unit *u, char letter);

/* pixels [B,C,H,W] -> maps [B,H,W,C] */
struct g_tensor *nn_conv_maps(struct graph *g, struct g_tensor *pixels);
/* maps through blocks [from, to) */
struct g_tensor *nn_conv_blocks(struct graph *g, const struct nn_conv *c, struct g_tensor *maps, int from, int to);
/* As a tower: pixels [B,C,H,W] -> the last maps as rows [B*h*w, width], pictures one after the other. */
struct g_tensor *nn_conv_rows(struct graph *g, const struct nn_conv *c, struct g_tensor *pixels);
/* The mean over each picture's pixels, normalised where there is a norm: maps [B,h,w,C] -> [B,C]. */
struct g_tensor *nn_conv_pool(struct graph *g, const struct nn_conv *c, struct g_tensor *maps);

#endif
