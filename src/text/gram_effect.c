/* Data of items: counters, names of an object that came, texts that came. An effect makes new data or ends
 * the item. Data are interned byte strings: a header, then bytes. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_run.h"

enum { NOTED_MAX = 1 << 14 }; /* bytes of all texts that must differ */

/* A copy of the data with `more` zero bytes behind, in the scratch of the run. */
static int copy(struct gram_run *r, uint32_t data, uint32_t more, struct item_data **head, uint32_t *tail)
{
    uint32_t n;
    const void *p = intern_at(&r->data, data, &n);
    r->scratch.n = 0;
    TRY(gram_vec_room(&r->scratch, n + more, 1));
    memcpy(r->scratch.at, p, n);
    memset(GRAM_AT(r->scratch, char) + n, 0, more);
    *head = r->scratch.at;
    *tail = n - (uint32_t)sizeof **head;
    return 0;
}

static int put(struct gram_run *r, uint32_t tail, uint32_t *out)
{
    TRY(intern_put(&r->data, r->scratch.at, (uint32_t)sizeof(struct item_data) + tail, out));
    return 1;
}

static char *tail_of(struct gram_run *r)
{
    return GRAM_AT(r->scratch, char) + sizeof(struct item_data);
}

/* ---- names --------------------------------------------------------------------------------- */

static bool bit(const uint64_t *set, uint32_t i)
{
    return set[i / 64] >> (i % 64) & 1;
}

/* All names that are still to come may come. */
static bool can_close(const struct gram_object *o, const uint64_t *came)
{
    for (uint32_t w = 0; w < o->words; w++) {
        uint64_t need = o->required[w], barred = 0;
        for (uint32_t i = 0; i < o->names; i++) {
            if (!bit(came, i))
                continue;
            barred |= o->before[(size_t)i * o->words + w];
            need |= o->needs ? o->needs[(size_t)i * o->words + w] : 0;
        }
        if (need & ~came[w] & barred)
            return false;
    }
    return true;
}

static uint32_t count_bits(const struct gram_object *o, const uint64_t *came, bool missing)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < o->words; w++) {
        uint64_t need = o->required[w];
        for (uint32_t i = 0; i < o->names && o->needs; i++)
            need |= bit(came, i) ? o->needs[(size_t)i * o->words + w] : 0;
        n += (uint32_t)__builtin_popcountll(missing ? need & ~came[w] : came[w]);
    }
    return n;
}

static int see(struct gram_run *r, const struct gram_effect *fx, uint32_t data, uint32_t *out)
{
    const struct gram_object *o = GRAM_AT(r->g->objects, struct gram_object) + fx->object;
    uint64_t came[GRAM_NAME_WORDS];
    struct item_data *head;
    uint32_t tail, size = o->words * 8;
    TRY(copy(r, data, size, &head, &tail));
    memcpy(came, tail_of(r), size);
    for (uint32_t i = 0; i < o->names; i++)
        if (bit(came, i) && (i == fx->n || bit(o->before + (size_t)i * o->words, fx->n)))
            return 0;
    came[fx->n / 64] |= 1ull << (fx->n % 64);
    head->slot[0]++;
    if (!can_close(o, came) || (o->max != UINT32_MAX && head->slot[0] + count_bits(o, came, true) > o->max))
        return 0;
    memcpy(tail_of(r), came, size);
    return put(r, size, out);
}

static int may_close(struct gram_run *r, const struct gram_effect *fx, uint32_t data)
{
    const struct gram_object *o = GRAM_AT(r->g->objects, struct gram_object) + fx->object;
    uint64_t came[GRAM_NAME_WORDS];
    struct item_data *head;
    uint32_t tail, size = o->words * 8;
    TRY(copy(r, data, size, &head, &tail));
    memcpy(came, tail_of(r), size);
    return count_bits(o, came, true) == 0;
}

/* ---- texts that must differ ---------------------------------------------------------------- */

int gram_note(struct gram_run *r, uint32_t data, uint8_t byte, uint32_t *out)
{
    struct item_data *head;
    uint32_t tail;
    TRY(copy(r, data, 1, &head, &tail));
    if (tail >= NOTED_MAX)
        return err_set(NUN_ELIMIT, "grammar: more than %d bytes of items that must differ (uniqueItems)", NOTED_MAX);
    tail_of(r)[tail] = (char)byte;
    return put(r, tail + 1, out);
}

static int note(struct gram_run *r, uint32_t data, uint32_t *out)
{
    struct item_data *head;
    uint32_t tail;
    TRY(copy(r, data, 0, &head, &tail));
    head->open = tail;
    return put(r, tail, out);
}

/* Every text is its length in four bytes, then itself; the open one has neither length nor canonical form. */
static int unique(struct gram_run *r, uint32_t data, uint32_t *out)
{
    struct item_data *head;
    uint32_t tail, len, size;
    TRY(copy(r, data, 16, &head, &tail));
    char *p = tail_of(r), *open = p + head->open;
    len = gram_canonical(open, tail - head->open);
    for (uint32_t at = 0; at < head->open; at += 4 + size) {
        memcpy(&size, p + at, 4);
        if (size == len && memcmp(p + at + 4, open, len) == 0)
            return 0;
    }
    memmove(open + 4, open, len);
    memcpy(open, &len, 4);
    tail = head->open + 4 + len;
    head->open = 0;
    return put(r, tail, out);
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* A counter. Data are of any length, so that theirs may lie anywhere. */
static uint32_t slot_of(const struct gram_run *r, uint32_t data, uint32_t slot)
{
    struct item_data head;
    uint32_t size;
    memcpy(&head, intern_at(&r->data, data, &size), sizeof head);
    return head.slot[slot];
}

int gram_apply(struct gram_run *r, const struct gram_effect *fx, uint32_t data, uint32_t *out)
{
    struct item_data *head;
    uint32_t tail;
    *out = data;
    switch (fx->kind) {
    case FX_BELOW: return slot_of(r, data, fx->slot) < fx->n;
    case FX_LEAST: return slot_of(r, data, fx->slot) >= fx->n;
    case FX_SEE: return see(r, fx, data, out);
    case FX_WIDE: return r->wide;
    case FX_CLOSE: return may_close(r, fx, data);
    case FX_NOTE: return note(r, data, out);
    case FX_UNIQUE: return unique(r, data, out);
    case FX_TICK: break;
    }
    TRY(copy(r, data, 0, &head, &tail));
    if (head->slot[fx->slot] >= fx->n)
        return 1;
    head->slot[fx->slot]++;
    return put(r, tail, out);
}
