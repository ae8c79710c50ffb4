/* The paged key/value state that attention_cached reads and appends to, one struct a batch step.
 * The runtime owns the pages and fills this in before each replay.
 *
 * A page holds KV_PAGE positions of one layer: keys [Hkv][KV_PAGE][D], then values [Hkv][KV_PAGE][D], unless the
 * keys are the values. Packed, a row of D is a whole number of blocks (attn_row_bytes) and made of its own numbers
 * alone, when it is appended: so the bytes do not depend on how a sequence was cut into steps. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_KV_H
#define GRAPH_KV_H
#include <stdbool.h>
#include <stdint.h>
#include "tensor/dtype.h"

enum { KV_PAGE = 64 };

struct kv_row {                  /* one new token */
    void *const *pages;          /* pages[layer * stride + position / KV_PAGE] */
    int32_t page_stride;         /* pages a layer in that table */
    int32_t position;            /* where this token's key and value go; -1: padding row, result zero */
    float *state;                /* recurrent state of its sequence after the row before; NULL: the model has none */
    int32_t span[4];             /* two half-open key ranges that it attends to, in positions; the second may be empty */
    int32_t run[2];              /* one more, which windows do not cut: tokens that see each other */
    void *const *kept;           /* rows kept beside the sequence, a picture's: kept[layer * stride + row / KV_PAGE]; NULL: none */
    int32_t kept_stride;
    int32_t sees[2];             /* the half-open range of those rows that attention_kept lets it see */
};

struct kv_step {
    const struct kv_row *rows;
    int n_rows;
    enum dtype k, v;             /* formats of the pages: F32, BF16, Q8_0 or Q4_0 */
};

/* x[D] as the page holds it. A packed row that is not all finite becomes all NaN: blocks of integers would hide it. */
void kv_pack(enum dtype dt, const float *x, int D, void *to);
/* Four bits are too few for rows with a few large numbers, as keys are: those rows are turned first, which spreads
 * them, and so must be the queries and what comes out of turned values. */
bool kv_turns(enum dtype dt);
/* x[D] times a symmetric orthogonal matrix: of 32 and 32 numbers Hadamard's of that order; of a rest, of lesser powers of
 * two. Twice, x comes back. */
void kv_turn(float *x, int D);

#endif
