/* Spans: pointer and length, never NUL-terminated input. A span borrows. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span { const char *ptr; size_t len; };

static inline struct span span_of(const void *p, size_t n) { return (struct span){p, n}; }
static inline struct span span_str(const char *s) { return (struct span){s, s ? strlen(s) : 0}; }
#define SPAN(literal) ((struct span){literal, sizeof(literal) - 1})

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool span_is(struct span a, const char *s) { return span_eq(a, span_str(s)); }
static inline bool span_starts(struct span a, struct span prefix)
{
    return a.len >= prefix.len && memcmp(a.ptr, prefix.ptr, prefix.len) == 0;
}
static inline bool span_ends(struct span a, struct span suffix)
{
    return a.len >= suffix.len && memcmp(a.ptr + a.len - suffix.len, suffix.ptr, suffix.len) == 0;
}
static inline struct span span_from(struct span a, size_t at)
{
    return at >= a.len ? (struct span){a.ptr + a.len, 0} : (struct span){a.ptr + at, a.len - at};
}

/* Little-endian numbers from unaligned bytes. */
static inline unsigned long long span_u64(const void *p)
{
    unsigned long long v;
    memcpy(&v, p, 8);
    return v;
}

#endif
