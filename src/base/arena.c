/* Arenas: a list of blocks, bump-allocated and freed together. Knows only the tagged heap; model,
 * timeline, step and request memory live here. */
/* SPDX-License-Identifier: MIT */
#include "base/arena.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/ck.h"
#include "base/err.h"

#define BLOCK_MIN ((size_t)8 << 10)
#define BLOCK_MAX ((size_t)1 << 20)

struct arena_block {
    _Alignas(64) struct arena_block *next; /* the older one */
    size_t used, cap;                      /* of data */
    _Alignas(64) unsigned char data[];
};

void arena_init(struct arena *a, enum mem_tag tag, size_t max)
{
    *a = (struct arena){.max = max, .tag = tag};
}

static struct arena_block *block_create(struct arena *a, size_t cap)
{
    size_t total;
    if (ck_add(cap, sizeof(struct arena_block), &total)) {
        err_nomem(cap);
        return NULL;
    }
    struct arena_block *b = mem_alloc(a->tag, total);
    if (b)
        *b = (struct arena_block){.cap = cap};
    return b;
}

/* A new block with room for `size`. Large requests get their own, put behind the head, so that the
 * head's free end stays in use. */
static struct arena_block *block_for(struct arena *a, size_t size)
{
    size_t usual = a->head ? a->head->cap * 2 : BLOCK_MIN;
    usual = usual < BLOCK_MIN ? BLOCK_MIN : usual > BLOCK_MAX ? BLOCK_MAX : usual;
    bool own = size > usual / 4;
    struct arena_block *b = block_create(a, own ? size : usual);
    if (!b)
        return NULL;
    if (own && a->head) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t total, align = size >= 64 ? 64 : 16, at = 0;
    if (ck_add(a->used, size, &total))
        total = SIZE_MAX;
    if (a->max && total > a->max) {
        err_set(NUN_ELIMIT, "arena %s: %zu bytes wanted over %zu in use, limit %zu", mem_tag_name(a->tag), size, a->used,
                a->max);
        return NULL;
    }
    struct arena_block *b = a->head;
    if (b)
        at = (b->used + align - 1) & ~(align - 1);
    if (!b || !ck_range(at, size, b->cap)) {
        at = 0;
        b = block_for(a, size);
        if (!b)
            return NULL;
    }
    b->used = at + size;
    a->used = total;
    return memset(b->data + at, 0, size);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    if (ck_mul(count, size, &total)) {
        err_set(NUN_ENOMEM, "out of memory: %zu items of %zu bytes do not fit the address space", count, size);
        return NULL;
    }
    return arena_alloc(a, total);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    size_t total;
    char *p = ck_add(len, 1, &total) ? NULL : arena_alloc(a, total);
    if (p && len)
        memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_block *kept = a->head;
    if (kept) {
        a->head = kept->next;
        kept->next = NULL;
        kept->used = 0;
    }
    arena_free(a);
    a->head = kept;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    a->head = NULL;
    a->used = 0;
}
