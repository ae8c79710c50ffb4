/* Tagged allocation: the only door to the heap. Every block is 64-byte aligned and counted under
 * its tag; tests make any allocation fail through the hook. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mem_tag {
    MEM_BASE, MEM_TENSOR, MEM_KERNEL, MEM_GRAPH, MEM_FORMAT, MEM_TEXT, MEM_MEDIA, MEM_MODEL,
    MEM_RUNTIME, MEM_DATA, MEM_TRAIN, MEM_EVAL, MEM_CLI, MEM_TEST, MEM_TAG_COUNT
};

/* NULL on failure, with the error sentence set. Size 0 gives a valid block. Not zeroed. */
void *mem_alloc(enum mem_tag tag, size_t size);
/* count * size bytes, zeroed; overflow is a failure. */
void *mem_calloc(enum mem_tag tag, size_t count, size_t size);
/* Grow or shrink, keeping contents. On failure the old block stays valid. p may be NULL. */
void *mem_realloc(enum mem_tag tag, void *p, size_t size);
/* NULL is fine. */
void mem_free(void *p);
char *mem_strdup(enum mem_tag tag, const char *s);
char *mem_strndup(enum mem_tag tag, const char *s, size_t len);

struct mem_stats { size_t live_bytes, live_blocks, peak_bytes; uint64_t calls; };
void mem_stats(enum mem_tag tag, struct mem_stats *out); /* MEM_TAG_COUNT: all tags together */
const char *mem_tag_name(enum mem_tag tag);

/* Make allocation number `n` from now (1 = next) fail; `forever` keeps failing after it.
 * n = 0 switches it off. Returns how many allocations were asked for since the last call. */
uint64_t mem_fail_at(uint64_t n, bool forever);

/* Between mem_freeze(true) and mem_freeze(false) on this thread every allocation is counted as a
 * violation; mem_freeze_violations() returns the count: how "no heap in replay" is proved. */
void mem_freeze(bool on);
uint64_t mem_freeze_violations(void);

#endif
