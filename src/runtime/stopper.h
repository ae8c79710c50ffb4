/* Stop strings over text that arrives in pieces: what may still become part of one is held back. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_STOPPER_H
#define RUNTIME_STOPPER_H
#include "base/buf.h"

struct stopper {
    const char *const *strings; /* borrowed, not empty strings */
    size_t n;
    size_t emitted;             /* bytes of the text that were let out */
};

/* The text grew. Returns the stop string that is now in it (the text is cut before it), or NULL. *until
 * is how much of the text is certain. */
const char *stopper_look(struct stopper *s, struct buf *text, size_t *until);

#endif
