/* A sink: one file written in a stream, through the seam, with its checksum computed on the way. The
 * error is sticky: write freely, the close tells. Used by the safetensors and GGUF writers and the
 * checkpoint store. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_SINK_H
#define FORMATS_SINK_H
#include <stdint.h>
#include "base/hash.h"

struct sink {
    int fd;
    int error;           /* sticky; the sentence is the thread's */
    uint64_t bytes;      /* accepted so far */
    size_t held, cap;
    unsigned char *block;
    struct digest_state digest;
    char *path;          /* the file being written */
    char *final;         /* where sink_publish puts it; NULL for sink_open */
};

/* Create `path`, which must not exist. */
int sink_open(struct sink *s, const char *path);
/* Write aside, in the same folder; sink_publish moves it to `path`. */
int sink_open_aside(struct sink *s, const char *path);
void sink_write(struct sink *s, const void *p, size_t n);
void sink_zero(struct sink *s, size_t n); /* n zero bytes */

/* Each ends the sink, whatever it returns, and removes the file when it fails. `digest` may be NULL. */
int sink_close(struct sink *s, struct digest *digest);   /* flush, fsync, close */
int sink_publish(struct sink *s, struct digest *digest); /* and rename, and fsync of the folder */
void sink_abort(struct sink *s);                         /* close and remove */

#endif
