/* A map from byte strings to 64-bit values: open addressing, keys borrowed, insertion only. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/mem.h"
#include "base/span.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t count, cap; /* cap is a power of two or 0 */
    enum mem_tag tag;
};

void map_init(struct map *m, enum mem_tag tag);
/* Insert or overwrite. The key's bytes must outlive the map. 0 or NUN_ENOMEM.
 * When the key was there, *old (if not NULL) receives the former value and 1 is returned. */
int map_put(struct map *m, struct span key, int64_t value, int64_t *old);
/* true when present. */
bool map_get(const struct map *m, struct span key, int64_t *value);
int map_reserve(struct map *m, size_t count);
void map_free(struct map *m);

#endif
