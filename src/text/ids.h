/* Growable lists of token ids, the currency between text and everything below it. Knows nothing of
 * tokenizers; the runtime, data and training rooms use it too. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_IDS_H
#define TEXT_IDS_H
#include <stdint.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/mem.h"

/* A zeroed struct ids is a valid empty list. */
struct ids { int32_t *at; size_t n, cap; };

/* Room for `more` further ids. */
static inline int ids_reserve(struct ids *v, size_t more)
{
    size_t need, cap = v->cap ? v->cap : 16;
    if (ck_add(v->n, more, &need) || need > SIZE_MAX / 2 / sizeof *v->at)
        return err_set(NUN_ELIMIT, "token ids: %zu and %zu more do not fit", v->n, more);
    if (need <= v->cap)
        return 0;
    while (cap < need)
        cap *= 2;
    int32_t *grown = mem_realloc(MEM_TEXT, v->at, cap * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    v->at = grown;
    v->cap = cap;
    return 0;
}

static inline int ids_push(struct ids *v, int32_t id)
{
    if (v->n == v->cap)
        TRY(ids_reserve(v, 1));
    v->at[v->n++] = id;
    return 0;
}

/* Append the ids [from, from + count) of the same list. */
static inline int ids_repeat(struct ids *v, size_t from, size_t count)
{
    TRY(ids_reserve(v, count));
    for (size_t i = 0; i < count; i++)
        v->at[v->n++] = v->at[from + i];
    return 0;
}

static inline void ids_free(struct ids *v)
{
    mem_free(v->at);
    *v = (struct ids){0};
}

#endif
