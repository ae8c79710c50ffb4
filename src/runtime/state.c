/* Slots of recurrent state, counted by reference, and the marks of sequences; see state.h. */
/* SPDX-License-Identifier: MIT */
#include "runtime/state.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void state_pool_init(struct state_pool *p, size_t floats, size_t max_bytes)
{
    *p = (struct state_pool){.floats = floats, .max_bytes = max_bytes};
}

void state_pool_free(struct state_pool *p)
{
    while (p->free) {
        struct state_slot *s = p->free;
        p->free = s->next;
        mem_free(s->data);
        mem_free(s);
    }
    p->bytes = 0;
}

static int slot_take(struct state_pool *p, struct state_slot **out)
{
    struct state_slot *s = p->free;
    size_t bytes = p->floats * sizeof(float);
    if (s) {
        p->free = s->next;
        s->refs = 1;
        *out = s;
        return 0;
    }
    if (p->max_bytes && p->bytes + bytes > p->max_bytes)
        return err_set(NUN_ELIMIT, "recurrent state: limit is %zu bytes, %zu in use and %zu more wanted", p->max_bytes, p->bytes, bytes);
    s = mem_calloc(MEM_RUNTIME, 1, sizeof *s);
    if (!s || !(s->data = mem_calloc(MEM_RUNTIME, p->floats, sizeof(float)))) {
        mem_free(s);
        return NUN_ENOMEM;
    }
    s->refs = 1;
    p->bytes += bytes;
    *out = s;
    return 0;
}

static void slot_drop(struct state_pool *p, struct state_slot *s)
{
    if (!s || --s->refs > 0)
        return;
    s->next = p->free;
    p->free = s;
}

int state_own(struct state_line *s, struct state_pool *p)
{
    struct state_slot *mine;
    if (!p->floats || (s->live && s->live->refs == 1))
        return 0;
    TRY(slot_take(p, &mine));
    if (s->live)
        memcpy(mine->data, s->live->data, p->floats * sizeof(float));
    slot_drop(p, s->live);
    s->live = mine;
    return 0;
}

void state_mark(struct state_line *s, struct state_pool *p, int64_t position)
{
    if (!p->floats || !s->live || (s->n && s->mark[s->n - 1].position >= position))
        return;
    if (s->n == STATE_MARKS) {
        slot_drop(p, s->mark[1].slot);
        memmove(&s->mark[1], &s->mark[2], (STATE_MARKS - 2) * sizeof s->mark[0]);
        s->n--;
    }
    s->live->refs++; /* whoever writes next makes its own */
    s->mark[s->n].position = position;
    s->mark[s->n++].slot = s->live;
}

/* The last mark up to `position`; -1: none. */
static int mark_at(const struct state_line *s, int64_t position)
{
    int i = s->n - 1;
    while (i >= 0 && s->mark[i].position > position)
        i--;
    return i;
}

int64_t state_reach(const struct state_line *s, const struct state_pool *p, int64_t now, int64_t position)
{
    if (!p->floats || position >= now)
        return position < now ? position : now;
    int i = mark_at(s, position);
    return i < 0 ? 0 : s->mark[i].position;
}

void state_back(struct state_line *s, struct state_pool *p, int64_t now, int64_t position)
{
    if (!p->floats || position == now)
        return;
    int i = mark_at(s, position);
    while (s->n > i + 1)
        slot_drop(p, s->mark[--s->n].slot);
    slot_drop(p, s->live);
    s->live = i < 0 ? NULL : s->mark[i].slot;
    if (s->live)
        s->live->refs++;
}

void state_share(struct state_line *to, const struct state_line *from, const struct state_pool *p, int64_t now, int64_t position)
{
    if (!p->floats)
        return;
    int i = mark_at(from, position);
    to->live = position == now ? from->live : i < 0 ? NULL : from->mark[i].slot;
    if (to->live)
        to->live->refs++;
    for (to->n = 0; to->n <= i; to->n++) {
        to->mark[to->n] = from->mark[to->n];
        to->mark[to->n].slot->refs++;
    }
}

void state_free(struct state_line *s, struct state_pool *p)
{
    while (s->n)
        slot_drop(p, s->mark[--s->n].slot);
    slot_drop(p, s->live);
    s->live = NULL;
}
