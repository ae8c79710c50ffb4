/* Arenas: objects of one lifetime (model, timeline, step, request), freed together. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include "base/mem.h"

struct arena_block;
struct arena {
    struct arena_block *head; /* newest block */
    size_t used, max;         /* bytes handed out, and the most that may be */
    enum mem_tag tag;
};

/* max: 0 means no limit but memory. A zeroed struct arena is a valid empty arena of MEM_BASE. */
void arena_init(struct arena *a, enum mem_tag tag, size_t max);
/* Zeroed, 64-byte aligned when size >= 64, else 16. NULL on failure, with the sentence set. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size); /* overflow checked */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a); /* forgets all, keeps the newest block for what comes */
void arena_free(struct arena *a); /* frees all; the arena may be used again */

#endif
