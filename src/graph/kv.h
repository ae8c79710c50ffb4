/* The paged key/value state that attention_cached reads and appends to, one struct a batch step.
 * The runtime owns the pages and fills this in before each replay.
 *
 * A page holds KV_PAGE positions of one layer: keys [Hkv][KV_PAGE][D], then values [Hkv][KV_PAGE][D], unless the
 * keys are the values. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_KV_H
#define GRAPH_KV_H
#include <stdint.h>

enum { KV_PAGE = 64 };

struct kv_row {                  /* one new token */
    float *const *pages;         /* pages[layer * stride + position / KV_PAGE] */
    int32_t page_stride;         /* pages a layer in that table */
    int32_t position;            /* where this token's key and value go; -1: padding row, result zero */
    float *state;                /* recurrent state of its sequence after the row before; NULL: the model has none */
    int32_t span[4];             /* two half-open key ranges that it attends to, in positions; the second may be empty */
    int32_t run[2];              /* one more, which windows do not cut: tokens that see each other */
};

struct kv_step { const struct kv_row *rows; int n_rows; };

#endif
