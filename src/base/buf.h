/* Growable byte buffers that must carry a maximum. The error is sticky: append freely, then check
 * buf_error() once. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include "base/mem.h"
#include "base/span.h"

struct buf {
    char *ptr;       /* always NUL-terminated once anything was appended */
    size_t len, cap, max;
    enum mem_tag tag;
    int error;       /* 0, or the negative code of the first failure */
};

void buf_init(struct buf *b, enum mem_tag tag, size_t max);
void buf_append(struct buf *b, const void *p, size_t n);
void buf_span(struct buf *b, struct span s);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_reset(struct buf *b);                 /* length and error to 0, memory kept */
int buf_error(const struct buf *b);            /* 0 or the sticky code */
const char *buf_cstr(const struct buf *b);     /* "" when empty; borrowed */
struct span buf_view(const struct buf *b);     /* borrowed */
char *buf_take(struct buf *b);                 /* the bytes become the caller's (mem_free); NULL on sticky error */
void buf_free(struct buf *b);

#endif
