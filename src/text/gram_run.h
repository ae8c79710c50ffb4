/* What a run is made of: interned data of items, stacks of continuations, and states; see gram_run.c. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_GRAM_RUN_H
#define TEXT_GRAM_RUN_H
#include <stdlib.h>
#include "text/gram_int.h"

/* Byte strings by content: equal bytes have one id, ids ascend from 0. */
struct intern {
    struct gram_vec bytes, ends;     /* char; uint32_t, where string i ends */
    uint32_t *slot, n_slots;
};
void intern_free(struct intern *t);
int intern_put(struct intern *t, const void *p, uint32_t n, uint32_t *id);
static inline const void *intern_at(const struct intern *t, uint32_t id, uint32_t *n)
{
    uint32_t from = id ? GRAM_AT(t->ends, uint32_t)[id - 1] : 0;
    *n = GRAM_AT(t->ends, uint32_t)[id] - from;
    return GRAM_AT(t->bytes, char) + from;
}

/* A place in the grammar, its rule's own data, and what comes when the rule ends. */
struct cont { uint32_t node, data, stack; };
struct item { struct cont at; uint32_t sub; };               /* a character; sub: its byte state */
struct item_data { uint32_t slot[2], open; };                /* then bytes: names that came, texts that came */

enum { STATE_DEAD = 0, STACK_BOTTOM = 0, DATA_NONE = 0 };
struct state_note { uint32_t *row; uint64_t *mask; };        /* row[byte]: state + 1, 0 unknown */

struct seen { struct cont c; uint32_t round; };

struct gram_run {
    const struct grammar *g;
    struct intern states, stacks, data; /* a state: whether the text may end, then items; a stack: conts */
    struct gram_vec notes;              /* state_note, one a state */
    struct gram_vec depth;              /* uint32_t, one a stack */
    uint32_t now;
    size_t note_bytes, masks;
    size_t steps;
    /* work of one step */
    struct gram_vec todo, kernel, calls, gather, scratch; /* cont, item, call, cont, char */
    struct seen *seen;
    uint32_t n_seen, cap_seen, round;
    bool may_end, wide;
};

/* One byte on. STATE_DEAD: it does not fit. */
int gram_step(struct gram_run *r, uint32_t state, uint8_t byte, uint32_t *out);
/* The state before any byte, as the present one. */
int gram_run_begin(struct gram_run *r);
/* What an effect makes of data: 1 with the new id, 0 when its condition does not hold, or a negative code. */
int gram_apply(struct gram_run *r, const struct gram_effect *fx, uint32_t data, uint32_t *out);
/* The data with one more byte written down. */
int gram_note(struct gram_run *r, uint32_t data, uint8_t byte, uint32_t *out);
/* One text for every way to write a JSON string or number, in place; the new length, at most len + 12. */
uint32_t gram_canonical(char *p, uint32_t len);
/* Forget all states but the present one, when memory is more than half of the limit. */
int gram_tidy(struct gram_run *r, bool now);
size_t gram_run_bytes(const struct gram_run *r);

#endif
