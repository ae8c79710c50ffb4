/* A small table from a pair of 32-bit numbers to a pair of 32-bit numbers: merges (left, right) ->
 * (rank, id) and trie edges (node, byte) -> node. Open addressing, insertion only. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOK_PAIRS_H
#define TEXT_TOK_PAIRS_H
#include "base/mem.h"

struct tok_pair { uint32_t a, b, x, y; };
struct tok_pairs { struct tok_pair *slot; size_t n, cap; }; /* cap: 0 or a power of two */

#define TOK_PAIR_FREE UINT32_MAX /* in `a`: no id, node or rank reaches it */

static inline size_t tok_pair_home(uint32_t a, uint32_t b, size_t cap)
{
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 29) & (cap - 1);
}

/* NULL when absent. */
static inline const struct tok_pair *tok_pairs_get(const struct tok_pairs *p, uint32_t a, uint32_t b)
{
    if (!p->cap)
        return NULL;
    for (size_t i = tok_pair_home(a, b, p->cap);; i = (i + 1) & (p->cap - 1)) {
        const struct tok_pair *s = &p->slot[i];
        if (s->a == a && s->b == b)
            return s;
        if (s->a == TOK_PAIR_FREE)
            return NULL;
    }
}

/* The slot of the pair, made with x = y = 0 when absent (*made tells). Valid until the next put. NULL
 * when memory ran out. */
struct tok_pair *tok_pairs_put(struct tok_pairs *p, uint32_t a, uint32_t b, bool *made);
int tok_pairs_reserve(struct tok_pairs *p, size_t n);
void tok_pairs_free(struct tok_pairs *p);

#endif
