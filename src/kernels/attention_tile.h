/* A tile of attention: up to 32 rows side by side in the lanes, the union of their keys one after the
 * other in slots. Private to kernels/: attention_tmpl.h computes on it, attention.c sizes it.
 *
 *   scores   [slot][lane]   k broadcast, queries transposed: no sum crosses lanes
 *   results  [d][lane]      v broadcast, lanes that do not attend are masked off */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_ATTENTION_TILE_H
#define KERNELS_ATTENTION_TILE_H
#include <stdbool.h>
#include "kernels/attention.h"

enum {
    ATTN_LANES = 32,             /* rows of a tile: one or two vectors of 16 */
    ATTN_SLOTS = 4096,           /* keys in hand of a tile; more are taken in segments */
    ATTN_PIECES = 128,
    ATTN_MIX = 2 * ATTN_PAGE,    /* rows in hand of a result tile: they stay in the first-level cache for all dimensions */
    ATTN_RANGES = ATTN_LANES * ATTN_SPANS,
};

/* Neighbouring keys of one page. */
struct attn_piece {
    int32_t pos;
    int n, slot;
    bool full;                   /* every lane attends to all of them */
};

struct attn_place { int range; int32_t pos; }; /* pos < 0: the range's begin */

struct attn_tile {
    const struct attn *a;
    int first, n;                /* rows (query * heads + head) of the job */
    int nq, ld;                  /* vectors a slot, lanes a slot */
    ptrdiff_t row[ATTN_LANES];   /* where the lanes' rows begin in q, out, dout, dq */
    ptrdiff_t bias[ATTN_LANES];  /* and in bias, dbias */
    float *p, *dp, *slope;       /* [slots][ld] scores, then probabilities; the gradient's */
    uint16_t *mask;              /* [slots][2] lanes that attend */
    float *qt, *ot, *dot;        /* [D][ld] queries, results, dout */
    float *rows;                 /* [ATTN_MIX][] unpacked keys or values */
    float *q, *dout;             /* [lanes][width] the same by lane, zero padded */
    int width;                   /* D padded to whole vectors */
    int32_t lo[ATTN_SPANS][ATTN_LANES], hi[ATTN_SPANS][ATTN_LANES];
    int32_t range[ATTN_RANGES][2];
    int n_ranges;
    struct attn_piece piece[ATTN_PIECES];
    int n_pieces, n_slots;
    int32_t fetched;             /* keys before this position were asked for */
    float sink[ATTN_LANES];
    float max[ATTN_LANES], sum[ATTN_LANES], inv[ATTN_LANES], delta[ATTN_LANES];
};

#endif
