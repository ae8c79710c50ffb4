/* The block pool and the tables over it. */
/* SPDX-License-Identifier: MIT */
#include "runtime/pages.h"

#include <string.h>

#include "base/ck.h"
#include "base/err.h"
#include "base/mem.h"

int page_pool_init(struct page_pool *p, int layers, size_t (*bytes)(const void *arg, int layer), const void *arg, size_t max_bytes)
{
    *p = (struct page_pool){.layers = layers, .max_bytes = max_bytes};
    if (!(p->at = mem_calloc(MEM_RUNTIME, (size_t)layers + 1, sizeof *p->at)))
        return NUN_ENOMEM;
    for (int i = 0; i < layers; i++)
        p->at[i + 1] = p->at[i] + KV_PAGE * bytes(arg, i);
    return 0;
}

size_t page_block_bytes(const struct page_pool *p)
{
    return p->at ? p->at[p->layers] : 0;
}

void page_pool_free(struct page_pool *p)
{
    while (p->free) {
        struct page_block *b = p->free;
        p->free = b->next;
        mem_free(b->data);
        mem_free(b);
    }
    p->bytes = 0;
    mem_free(p->at);
    p->at = NULL;
}

static int block_take(struct page_pool *p, struct page_block **out)
{
    struct page_block *b = p->free;
    if (b) {
        p->free = b->next;
        *b = (struct page_block){.refs = 1, .data = b->data};
        *out = b;
        return 0;
    }
    size_t bytes = page_block_bytes(p);
    if (p->max_bytes && p->bytes + bytes > p->max_bytes)
        return err_set(NUN_ELIMIT, "key/value state: limit is %zu bytes, %zu in use and a block of %zu wanted", p->max_bytes,
                       p->bytes, bytes);
    b = mem_calloc(MEM_RUNTIME, 1, sizeof *b);
    if (!b || !(b->data = mem_calloc(MEM_RUNTIME, bytes ? bytes : 1, 1))) {
        mem_free(b);
        return NUN_ENOMEM;
    }
    b->refs = 1;
    p->bytes += bytes;
    *out = b;
    return 0;
}

static void block_drop(struct page_pool *p, struct page_block *b)
{
    if (--b->refs > 0)
        return;
    b->next = p->free;
    p->free = b;
}

static void set_block(struct page_table *t, const struct page_pool *p, int at, struct page_block *b)
{
    t->blocks[at] = b;
    for (int l = 0; l < p->layers; l++)
        t->pages[(size_t)l * (size_t)t->stride + (size_t)at] = b->data + p->at[l];
}

static int widen(struct page_table *t, const struct page_pool *p, int need)
{
    if (need <= t->stride)
        return 0;
    int stride = t->stride ? t->stride : 4;
    while (stride < need)
        stride *= 2;
    struct page_block **blocks = mem_calloc(MEM_RUNTIME, (size_t)stride, sizeof *blocks);
    void **pages = mem_calloc(MEM_RUNTIME, (size_t)stride * (size_t)p->layers, sizeof *pages);
    if (!blocks || !pages) {
        mem_free(blocks);
        mem_free(pages);
        return NUN_ENOMEM;
    }
    struct page_table old = *t;
    *t = (struct page_table){blocks, pages, old.n, stride};
    for (int i = 0; i < old.n; i++)
        set_block(t, p, i, old.blocks[i]);
    mem_free(old.blocks);
    mem_free(old.pages);
    return 0;
}

static int own(struct page_table *t, struct page_pool *p, int at)
{
    struct page_block *shared = t->blocks[at], *mine;
    if (shared->refs == 1)
        return 0;
    TRY(block_take(p, &mine));
    memcpy(mine->data, shared->data, page_block_bytes(p));
    block_drop(p, shared);
    set_block(t, p, at, mine);
    return 0;
}

int page_table_reserve(struct page_table *t, struct page_pool *p, int64_t from, int64_t to)
{
    if (!page_block_bytes(p)) /* no layer attends */
        return 0;
    int first = (int)(from / KV_PAGE), need = (int)((to + KV_PAGE - 1) / KV_PAGE);
    TRY(widen(t, p, need));
    for (int i = first; i < t->n && i < need; i++)
        TRY(own(t, p, i));
    while (t->n < need) {
        struct page_block *b;
        TRY(block_take(p, &b));
        set_block(t, p, t->n++, b);
    }
    return 0;
}

int page_table_share(struct page_table *to, const struct page_table *from, struct page_pool *p, int64_t positions)
{
    int n = page_block_bytes(p) ? (int)((positions + KV_PAGE - 1) / KV_PAGE) : 0;
    TRY(widen(to, p, n));
    for (int i = 0; i < n; i++) {
        from->blocks[i]->refs++;
        set_block(to, p, i, from->blocks[i]);
    }
    to->n = n;
    return 0;
}

void page_table_cut(struct page_table *t, struct page_pool *p, int64_t positions)
{
    int n = (int)((positions + KV_PAGE - 1) / KV_PAGE);
    while (t->n > n)
        block_drop(p, t->blocks[--t->n]);
}

void page_table_free(struct page_table *t, struct page_pool *p)
{
    page_table_cut(t, p, 0);
    mem_free(t->blocks);
    mem_free(t->pages);
    *t = (struct page_table){0};
}
