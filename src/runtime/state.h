/* Recurrent state: what a sequence's recurrent layers carry from token to token, of one size whatever the
 * length. Beside the live state a sequence keeps marks, copies at a few earlier positions, because a
 * recurrence can't be run backwards: going back means going on from the last mark. Forks share slots until
 * they write. Knows no models and takes no locks: the model's lock is held by whoever calls. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_STATE_H
#define RUNTIME_STATE_H
#include <stddef.h>
#include <stdint.h>

enum { STATE_MARKS = 4 };

struct state_slot {
    struct state_slot *next; /* in the free list */
    int refs;
    float *data;             /* [floats] */
};

struct state_pool {
    size_t floats;           /* of one state; 0: the model has no recurrent layers, and nothing below does anything */
    size_t max_bytes;        /* 0: no limit */
    size_t bytes;            /* of all slots, used or free */
    struct state_slot *free;
};

/* The states of one sequence. A zeroed one is of an empty sequence, whose state needs no slot. */
struct state_line {
    struct state_slot *live;
    struct { int64_t position; struct state_slot *slot; } mark[STATE_MARKS]; /* ascending; before `position` */
    int n;
};

void state_pool_init(struct state_pool *p, size_t floats, size_t max_bytes);
void state_pool_free(struct state_pool *p); /* every slot must have been dropped */

/* Make the live state writable: there, and this line's alone. */
int state_own(struct state_line *s, struct state_pool *p);
/* Mark the live state, which is that before `position`. The first mark and the latest ones stay. */
void state_mark(struct state_line *s, struct state_pool *p, int64_t position);
/* The last position up to `position` whose state is there; `now` is the live one's. */
int64_t state_reach(const struct state_line *s, const struct state_pool *p, int64_t now, int64_t position);
/* Make the state before `position`, which state_reach gave, the live one; later marks are dropped. */
void state_back(struct state_line *s, struct state_pool *p, int64_t now, int64_t position);
/* As `from` before `position`, which state_reach gave for it, `now` being its live one's. *to is empty. */
void state_share(struct state_line *to, const struct state_line *from, const struct state_pool *p, int64_t now, int64_t position);
void state_free(struct state_line *s, struct state_pool *p);

#endif
