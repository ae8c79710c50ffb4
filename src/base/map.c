/* The map from byte strings to numbers: open addressing with linear probing, at most 3/4 full, hashes
 * kept so that growing never touches the keys. Vocabularies and name tables live here. */
/* SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "base/ck.h"
#include "base/err.h"
#include "base/hash.h"

#define SLOT_USED ((uint64_t)1 << 63) /* set in the hash of every filled slot */

struct map_slot {
    uint64_t hash; /* 0: empty */
    struct span key;
    int64_t value;
};

void map_init(struct map *m, enum mem_tag tag)
{
    *m = (struct map){.tag = tag};
}

static uint64_t key_hash(struct span key)
{
    return hash64(key.ptr, key.len, 0) | SLOT_USED;
}

/* The slot that holds the key, or the empty one where it belongs. cap > 0, never full. */
static struct map_slot *slot_find(const struct map *m, struct span key, uint64_t hash)
{
    size_t mask = m->cap - 1, i = (size_t)hash & mask;
    while (m->slots[i].hash && !(m->slots[i].hash == hash && span_eq(m->slots[i].key, key)))
        i = (i + 1) & mask;
    return &m->slots[i];
}

static int map_resize(struct map *m, size_t cap)
{
    struct map_slot *old = m->slots, *fresh = mem_calloc(m->tag, cap, sizeof *fresh);
    if (!fresh)
        return NUN_ENOMEM;
    size_t mask = cap - 1;
    for (size_t i = 0; i < m->cap; i++) {
        size_t at = (size_t)old[i].hash & mask;
        if (!old[i].hash)
            continue;
        while (fresh[at].hash)
            at = (at + 1) & mask;
        fresh[at] = old[i];
    }
    mem_free(old);
    m->slots = fresh;
    m->cap = cap;
    return 0;
}

int map_reserve(struct map *m, size_t count)
{
    size_t cap = m->cap ? m->cap : 16;
    while (cap - cap / 4 < count)
        if (ck_mul(cap, 2, &cap))
            return err_nomem(count);
    return cap == m->cap ? 0 : map_resize(m, cap);
}

int map_put(struct map *m, struct span key, int64_t value, int64_t *old)
{
    uint64_t hash = key_hash(key);
    TRY(map_reserve(m, m->count + 1));
    struct map_slot *s = slot_find(m, key, hash);
    int found = s->hash != 0;
    if (found && old)
        *old = s->value;
    m->count += !found;
    *s = (struct map_slot){hash, found ? s->key : key, value};
    return found;
}

bool map_get(const struct map *m, struct span key, int64_t *value)
{
    if (m->cap == 0)
        return false;
    const struct map_slot *s = slot_find(m, key, key_hash(key));
    if (!s->hash)
        return false;
    *value = s->value;
    return true;
}

void map_free(struct map *m)
{
    mem_free(m->slots);
    map_init(m, m->tag);
}
