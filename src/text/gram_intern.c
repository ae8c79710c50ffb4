/* Byte strings by content, and the housekeeping of a run: when it remembers too much it keeps the present
 * state, with the stacks and data that it stands on, and forgets the rest. */
/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "text/gram_run.h"

void intern_free(struct intern *t)
{
    mem_free(t->bytes.at);
    mem_free(t->ends.at);
    mem_free(t->slot);
    *t = (struct intern){.slot = NULL};
}

static uint32_t place(const struct intern *t, const void *p, uint32_t n)
{
    uint32_t h = (uint32_t)hash64(p, n, 0) & (t->n_slots - 1), len;
    for (; t->slot[h]; h = (h + 1) & (t->n_slots - 1)) {
        const void *other = intern_at(t, t->slot[h] - 1, &len);
        if (len == n && (!n || memcmp(other, p, n) == 0)) /* the empty set lies nowhere */
            break;
    }
    return h;
}

static int grow(struct intern *t)
{
    uint32_t cap = t->n_slots ? t->n_slots * 2 : 256, n;
    uint32_t *slot = mem_calloc(MEM_TEXT, cap, sizeof *slot);
    if (!slot)
        return NUN_ENOMEM;
    mem_free(t->slot);
    t->slot = slot;
    t->n_slots = cap;
    for (uint32_t i = 0; i < t->ends.n; i++) {
        const void *p = intern_at(t, i, &n);
        t->slot[place(t, p, n)] = i + 1;
    }
    return 0;
}

/* Bytes of a run are bounded by its own limit, not by that of a grammar's nodes. */
static int more_bytes(struct gram_vec *v, uint32_t n)
{
    size_t want = (size_t)v->n + n, cap = v->cap ? v->cap : 4096;
    if (want <= v->cap)
        return 0;
    TRY(limit_check(LIMIT_grammar_state, want, "grammar: the state of an answer"));
    while (cap < want)
        cap *= 2;
    void *p = mem_realloc(MEM_TEXT, v->at, cap);
    if (!p)
        return NUN_ENOMEM;
    v->at = p;
    v->cap = (uint32_t)cap;
    return 0;
}

int intern_put(struct intern *t, const void *p, uint32_t n, uint32_t *id)
{
    if (t->ends.n * 2 >= t->n_slots)
        TRY(grow(t));
    uint32_t h = place(t, p, n);
    if (t->slot[h]) {
        *id = t->slot[h] - 1;
        return 0;
    }
    TRY(more_bytes(&t->bytes, n));
    TRY(gram_vec_room(&t->ends, 1, sizeof(uint32_t)));
    if (n)
        memcpy(GRAM_AT(t->bytes, char) + t->bytes.n, p, n);
    t->bytes.n += n;
    GRAM_AT(t->ends, uint32_t)[t->ends.n] = t->bytes.n;
    t->slot[h] = *id = ++t->ends.n;
    --*id;
    return 0;
}

/* ---- runs ---------------------------------------------------------------------------------- */

static size_t intern_bytes(const struct intern *t)
{
    return t->bytes.cap + ((size_t)t->ends.cap + t->n_slots) * sizeof(uint32_t);
}

size_t gram_run_bytes(const struct gram_run *r)
{
    return intern_bytes(&r->states) + intern_bytes(&r->stacks) + intern_bytes(&r->data) + r->note_bytes +
           r->notes.cap * sizeof(struct state_note) + r->cap_seen * sizeof(struct seen);
}

static void forget(struct gram_run *r)
{
    for (uint32_t i = 0; i < r->notes.n; i++) {
        mem_free(GRAM_AT(r->notes, struct state_note)[i].row);
        mem_free(GRAM_AT(r->notes, struct state_note)[i].mask);
    }
    intern_free(&r->states);
    intern_free(&r->stacks);
    intern_free(&r->data);
    mem_free(r->notes.at);
    mem_free(r->depth.at);
    r->notes = r->depth = (struct gram_vec){.at = NULL};
    r->note_bytes = r->masks = 0;
}

/* State 0 is dead, stack 0 is the bottom, data 0 are no data. */
static int first_ids(struct gram_run *r)
{
    struct item_data none = {{0, 0}, 0};
    uint32_t id, dead = UINT32_MAX;
    TRY(intern_put(&r->states, &dead, sizeof dead, &id));
    TRY(intern_put(&r->stacks, NULL, 0, &id));
    TRY(intern_put(&r->data, &none, sizeof none, &id));
    TRY(gram_vec_room(&r->notes, 1, sizeof(struct state_note)));
    TRY(gram_vec_room(&r->depth, 1, sizeof(uint32_t)));
    GRAM_AT(r->notes, struct state_note)[r->notes.n++] = (struct state_note){NULL, NULL};
    GRAM_AT(r->depth, uint32_t)[r->depth.n++] = 0;
    return 0;
}

/* The old ids that the state stands on; stacks stand on older stacks only, so one pass downwards finds all. */
static void mark(const struct gram_run *r, bool *stack, bool *data)
{
    uint32_t n;
    const char *p = intern_at(&r->states, r->now, &n);
    for (uint32_t at = 4; at + sizeof(struct item) <= n; at += sizeof(struct item)) {
        struct item it;
        memcpy(&it, p + at, sizeof it);
        stack[it.at.stack] = data[it.at.data] = true;
    }
    for (uint32_t id = r->stacks.ends.n; id-- > 1;) {
        const struct cont *c = intern_at(&r->stacks, id, &n);
        for (uint32_t i = 0; stack[id] && i < n / sizeof *c; i++)
            stack[c[i].stack] = data[c[i].data] = true;
    }
}

static int by_cont(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct cont));
}

static int by_item(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct item));
}

static int copy_stacks(const struct gram_run *r, struct gram_run *to, const uint32_t *data_id, uint32_t *stack_id, const bool *wanted)
{
    for (uint32_t id = 1; id < r->stacks.ends.n; id++) {
        uint32_t n, new_id;
        const struct cont *c = intern_at(&r->stacks, id, &n);
        if (!wanted[id])
            continue;
        struct cont *copy = mem_alloc(MEM_TEXT, n);
        if (!copy)
            return NUN_ENOMEM;
        for (uint32_t i = 0; i < n / sizeof *c; i++)
            copy[i] = (struct cont){c[i].node, data_id[c[i].data], stack_id[c[i].stack]};
        qsort(copy, n / sizeof *c, sizeof *c, by_cont);
        int rc = intern_put(&to->stacks, copy, n, &new_id);
        mem_free(copy);
        TRY(rc);
        TRY(gram_vec_room(&to->depth, 1, sizeof(uint32_t)));
        GRAM_AT(to->depth, uint32_t)[to->depth.n++] = GRAM_AT(r->depth, uint32_t)[id];
        stack_id[id] = new_id;
    }
    return 0;
}

static int copy_state(const struct gram_run *r, struct gram_run *to, const uint32_t *data_id, const uint32_t *stack_id)
{
    uint32_t n;
    const char *p = intern_at(&r->states, r->now, &n);
    char *copy = mem_alloc(MEM_TEXT, n);
    if (!copy)
        return NUN_ENOMEM;
    memcpy(copy, p, n);
    for (uint32_t at = 4; at + sizeof(struct item) <= n; at += sizeof(struct item)) {
        struct item it;
        memcpy(&it, p + at, sizeof it);
        it.at.data = data_id[it.at.data];
        it.at.stack = stack_id[it.at.stack];
        memcpy(copy + at, &it, sizeof it);
    }
    qsort(copy + 4, (n - 4) / sizeof(struct item), sizeof(struct item), by_item);
    int rc = intern_put(&to->states, copy, n, &to->now);
    mem_free(copy);
    TRY(rc);
    TRY(gram_vec_room(&to->notes, 1, sizeof(struct state_note)));
    GRAM_AT(to->notes, struct state_note)[to->notes.n++] = (struct state_note){NULL, NULL};
    return 0;
}

static int copy_present(const struct gram_run *r, struct gram_run *to)
{
    size_t stacks = r->stacks.ends.n, datas = r->data.ends.n;
    uint32_t *ids = mem_calloc(MEM_TEXT, stacks + datas, sizeof *ids);
    bool *wanted = mem_calloc(MEM_TEXT, stacks + datas, 1);
    int rc = ids && wanted ? first_ids(to) : NUN_ENOMEM;
    if (rc >= 0)
        mark(r, wanted, wanted + stacks);
    for (uint32_t i = 1; i < datas && rc >= 0; i++) {
        uint32_t n;
        const void *p = intern_at(&r->data, i, &n);
        if (wanted[stacks + i])
            rc = intern_put(&to->data, p, n, &ids[stacks + i]);
    }
    if (rc >= 0)
        rc = copy_stacks(r, to, ids + stacks, ids, wanted);
    if (rc >= 0)
        rc = copy_state(r, to, ids + stacks, ids);
    mem_free(ids);
    mem_free(wanted);
    return rc;
}

int gram_tidy(struct gram_run *r, bool now)
{
    struct gram_run fresh = {.g = r->g};
    if (!now && gram_run_bytes(r) <= LIMIT_OF(grammar_state) / 2)
        return 0;
    int rc = copy_present(r, &fresh);
    if (rc < 0) {
        forget(&fresh);
        return rc;
    }
    forget(r);
    r->states = fresh.states;
    r->stacks = fresh.stacks;
    r->data = fresh.data;
    r->notes = fresh.notes;
    r->depth = fresh.depth;
    r->now = fresh.now;
    return limit_check(LIMIT_grammar_state, 2 * gram_run_bytes(r), "grammar: the state of an answer, twice");
}

void gram_run_free(struct gram_run *r)
{
    if (!r)
        return;
    forget(r);
    struct gram_vec *work[] = {&r->todo, &r->kernel, &r->calls, &r->gather, &r->scratch};
    for (size_t i = 0; i < sizeof work / sizeof *work; i++)
        mem_free(work[i]->at);
    mem_free(r->seen);
    mem_free(r);
}

int gram_run_twin(const struct gram_run *r, struct gram_run **out)
{
    struct gram_run *twin = mem_calloc(MEM_TEXT, 1, sizeof *twin);
    if (!twin)
        return NUN_ENOMEM;
    twin->g = r->g;
    twin->wide = r->wide;
    int rc = copy_present(r, twin);
    if (rc < 0) {
        gram_run_free(twin);
        return rc;
    }
    *out = twin;
    return 0;
}

int gram_run_create(const struct grammar *g, bool wide, struct gram_run **out)
{
    struct gram_run *r = mem_calloc(MEM_TEXT, 1, sizeof *r);
    if (!r)
        return NUN_ENOMEM;
    r->g = g;
    r->wide = wide;
    int rc = first_ids(r);
    if (rc >= 0)
        rc = gram_run_begin(r);
    if (rc < 0) {
        gram_run_free(r);
        return rc;
    }
    *out = r;
    return 0;
}
