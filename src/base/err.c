/* Errors: the sentence of the last failure, one a thread. Knows no file, no format and no caller;
 * every room writes here through err_set and applications read it with nun_error. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))
#define SENTENCE_BYTES 1024

static _Thread_local char sentence[SENTENCE_BYTES];

PUBLIC const char *nun_error(void)
{
    return sentence;
}

PUBLIC const char *nun_code_name(int code)
{
    static const char *const names[] = {
        "ok", "argument", "memory", "io", "format", "limit", "unsupported", "numeric", "context", "stopped",
    };
    unsigned i = 0u - (unsigned)code;
    return i < sizeof names / sizeof *names ? names[i] : "unknown";
}

int (err_set)(int code, const char *fmt, ...)
{
    char text[SENTENCE_BYTES]; /* aside, since an argument may be the old sentence itself */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(sentence, text, sizeof sentence);
    return code < 0 ? code : NUN_EARG; /* a failure is never taken for a success */
}

int err_at(int code, const char *fmt, ...)
{
    char place[SENTENCE_BYTES / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(place, sizeof place, fmt, ap);
    va_end(ap);
    size_t n = strlen(place); /* a sentence about the place itself, or a file in it, need not hear it twice */
    if (strncmp(sentence, place, n) == 0 && (sentence[n] == ':' || sentence[n] == '/'))
        return code;
    return err_set(code, "%s: %s", place, sentence);
}

int (err_errno)(const char *fmt, ...)
{
    int saved = errno;
    char text[SENTENCE_BYTES / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(NUN_EIO, "%s: %s", text, strerror(saved));
}

int (err_nomem)(unsigned long long bytes)
{
    return err_set(NUN_ENOMEM, "out of memory: could not allocate %llu bytes", bytes);
}

void err_clear(void)
{
    sentence[0] = '\0';
}
