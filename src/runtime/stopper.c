/* Only what was not let out can hold the beginning of a stop string, so the search starts there. */
/* SPDX-License-Identifier: MIT */
#include "runtime/stopper.h"

#include <string.h>

/* The longest end of `tail` that begins `stop`, shorter than it. */
static size_t overlap(struct span tail, struct span stop)
{
    size_t most = stop.len - 1 < tail.len ? stop.len - 1 : tail.len;
    for (size_t n = most; n > 0; n--)
        if (!memcmp(tail.ptr + tail.len - n, stop.ptr, n))
            return n;
    return 0;
}

const char *stopper_look(struct stopper *s, struct buf *text, size_t *until)
{
    struct span tail = span_from(buf_view(text), s->emitted);
    const char *found = NULL, *which = NULL;
    size_t hold = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct span stop = span_str(s->strings[i]);
        const char *at = tail.len ? memmem(tail.ptr, tail.len, stop.ptr, stop.len) : NULL;
        if (at && (!found || at < found)) {
            found = at;
            which = s->strings[i];
        }
        size_t n = at ? 0 : overlap(tail, stop);
        hold = n > hold ? n : hold;
    }
    if (found) {
        text->len = (size_t)(found - text->ptr);
        text->ptr[text->len] = '\0';
        hold = 0;
    }
    *until = text->len - hold;
    return which;
}
