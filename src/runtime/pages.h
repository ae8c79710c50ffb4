/* Key/value memory: blocks of KV_PAGE positions over all layers, counted by reference, so that forks
 * share their past. Knows no models and takes no locks: the model's lock is held by whoever calls. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_PAGES_H
#define RUNTIME_PAGES_H
#include <stddef.h>
#include <stdint.h>
#include "graph/kv.h"

struct page_block {
    struct page_block *next; /* in the free list */
    int refs;
    char *data;              /* a page of each layer */
};

struct page_pool {
    int layers;
    size_t *at;              /* [layers + 1]: where each layer's page begins in a block, in bytes */
    size_t max_bytes;        /* 0: no limit */
    size_t bytes;            /* of all blocks, used or free */
    struct page_block *free;
};

/* bytes(layer): what that layer keeps of one position; 0: nothing. */
int page_pool_init(struct page_pool *p, int layers, size_t (*bytes)(const void *arg, int layer), const void *arg, size_t max_bytes);
void page_pool_free(struct page_pool *p); /* every block must have been dropped */
size_t page_block_bytes(const struct page_pool *p);

/* The pages of one sequence: pages[layer * stride + position / KV_PAGE]. A zeroed one is empty. */
struct page_table {
    struct page_block **blocks; /* [stride] */
    void **pages;               /* [layers * stride] */
    int n, stride;
};

/* Make positions [from, to) writable: blocks appended, the shared one that is written into copied. What
 * was reserved stays when it fails. */
int page_table_reserve(struct page_table *t, struct page_pool *p, int64_t from, int64_t to);
/* Share all blocks of the first `positions` positions. */
int page_table_share(struct page_table *to, const struct page_table *from, struct page_pool *p, int64_t positions);
/* Drop the blocks that no position below `positions` needs. */
void page_table_cut(struct page_table *t, struct page_pool *p, int64_t positions);
void page_table_free(struct page_table *t, struct page_pool *p);

#endif
