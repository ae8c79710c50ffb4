/* Growable byte buffers with a maximum and a sticky error. Knows nothing of what is written into
 * them; readers, renderers and writers of every room append here. */
/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/ck.h"
#include "base/err.h"

void buf_init(struct buf *b, enum mem_tag tag, size_t max)
{
    *b = (struct buf){.max = max, .tag = tag};
}

/* Room for `n` more bytes and the closing NUL; false leaves the sticky error. */
static bool buf_grow(struct buf *b, size_t n)
{
    size_t len, need, cap;
    if (b->error)
        return false;
    if (ck_add(b->len, n, &len) || len > b->max || ck_add(len, 1, &need)) {
        b->error = err_set(NUN_ELIMIT, "buffer %s: %zu bytes wanted over %zu in use, limit %zu", mem_tag_name(b->tag),
                           n, b->len, b->max);
        return false;
    }
    if (need <= b->cap)
        return true;
    if (ck_mul(b->cap, 2, &cap) || cap < need)
        cap = need < 64 ? 64 : need;
    char *p = mem_realloc(b->tag, b->ptr, cap);
    if (!p) {
        b->error = NUN_ENOMEM;
        return false;
    }
    b->ptr = p;
    b->cap = cap;
    return true;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (!buf_grow(b, n))
        return;
    if (n)
        memcpy(b->ptr + b->len, p, n);
    b->len += n;
    b->ptr[b->len] = '\0';
}

void buf_span(struct buf *b, struct span s)
{
    buf_append(b, s.ptr, s.len);
}

void buf_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0 && !b->error)
        b->error = err_set(NUN_EARG, "buffer %s: \"%s\" cannot be formatted", mem_tag_name(b->tag), fmt);
    if (n >= 0 && buf_grow(b, (size_t)n)) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->error = 0;
    if (b->ptr)
        b->ptr[0] = '\0';
}

int buf_error(const struct buf *b)
{
    return b->error;
}

const char *buf_cstr(const struct buf *b)
{
    return b->ptr ? b->ptr : "";
}

struct span buf_view(const struct buf *b)
{
    return span_of(buf_cstr(b), b->len);
}

char *buf_take(struct buf *b)
{
    if (!buf_grow(b, 0)) /* so that an empty buffer gives "" */
        return NULL;
    char *p = b->ptr;
    p[b->len] = '\0';
    buf_init(b, b->tag, b->max);
    return p;
}

void buf_free(struct buf *b)
{
    mem_free(b->ptr);
    buf_init(b, b->tag, b->max);
}
