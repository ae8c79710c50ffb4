/* The pair table behind merges and tries: growth and insertion. Lookup is inline in the header. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_pairs.h"
#include "base/ck.h"
#include "base/err.h"

static struct tok_pair *find_slot(struct tok_pair *slot, size_t cap, uint32_t a, uint32_t b)
{
    size_t i = tok_pair_home(a, b, cap);
    while (slot[i].a != TOK_PAIR_FREE && (slot[i].a != a || slot[i].b != b))
        i = (i + 1) & (cap - 1);
    return &slot[i];
}

static int grow(struct tok_pairs *p, size_t cap)
{
    size_t bytes;
    if (ck_mul(cap, sizeof *p->slot, &bytes))
        return err_set(NUN_ELIMIT, "pair table: %zu slots do not fit", cap);
    struct tok_pair *slot = mem_alloc(MEM_TEXT, bytes);
    if (!slot)
        return NUN_ENOMEM;
    for (size_t i = 0; i < cap; i++)
        slot[i].a = TOK_PAIR_FREE;
    for (size_t i = 0; i < p->cap; i++)
        if (p->slot[i].a != TOK_PAIR_FREE)
            *find_slot(slot, cap, p->slot[i].a, p->slot[i].b) = p->slot[i];
    mem_free(p->slot);
    p->slot = slot;
    p->cap = cap;
    return 0;
}

int tok_pairs_reserve(struct tok_pairs *p, size_t n)
{
    size_t cap = p->cap ? p->cap : 16;
    while (cap / 2 < n)
        cap *= 2;
    return cap > p->cap ? grow(p, cap) : 0;
}

struct tok_pair *tok_pairs_put(struct tok_pairs *p, uint32_t a, uint32_t b, bool *made)
{
    if (tok_pairs_reserve(p, p->n + 1) < 0)
        return NULL;
    struct tok_pair *s = find_slot(p->slot, p->cap, a, b);
    *made = s->a == TOK_PAIR_FREE;
    if (*made) {
        *s = (struct tok_pair){a, b, 0, 0};
        p->n++;
    }
    return s;
}

void tok_pairs_free(struct tok_pairs *p)
{
    mem_free(p->slot);
    *p = (struct tok_pairs){0};
}
