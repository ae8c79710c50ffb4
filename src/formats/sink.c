/* Streamed, checksummed, durable file writing. Knows no format. */
/* SPDX-License-Identifier: MIT */
#include "formats/sink.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/seam.h"

#define BLOCK ((size_t)1 << 20)

static void release(struct sink *s)
{
    mem_free(s->block);
    mem_free(s->path);
    mem_free(s->final);
    *s = (struct sink){.fd = -1, .error = s->error};
}

/* Takes ownership of path and final, either of which may be NULL after a failed allocation. */
static int start(struct sink *s, char *path, char *final, bool whole)
{
    *s = (struct sink){.fd = -1, .cap = BLOCK, .path = path, .final = final};
    s->block = mem_alloc(MEM_FORMAT, BLOCK);
    if (!whole || !s->block) {
        release(s);
        return s->error = NUN_ENOMEM;
    }
    s->fd = seam_get()->open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (s->fd < 0) {
        int rc = err_errno("%s", path);
        release(s);
        return s->error = rc;
    }
    digest_begin(&s->digest);
    return 0;
}

int sink_open(struct sink *s, const char *path)
{
    char *own = mem_strdup(MEM_FORMAT, path);
    return start(s, own, NULL, own != NULL);
}

int sink_open_aside(struct sink *s, const char *path)
{
    uint64_t unique;
    seam_get()->entropy(&unique, sizeof unique);
    size_t cap = strlen(path) + 32;
    char *final = mem_strdup(MEM_FORMAT, path), *aside = mem_alloc(MEM_FORMAT, cap);
    if (aside)
        snprintf(aside, cap, "%s.%016llx.tmp", path, (unsigned long long)unique);
    return start(s, aside, final, aside && final);
}

static int write_all(struct sink *s, const unsigned char *p, size_t n)
{
    digest_update(&s->digest, p, n);
    while (n) {
        ssize_t k = seam_get()->write(s->fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k == 0)
            errno = ENOSPC; /* a disk that takes nothing is full */
        if (k <= 0)
            return err_errno("%s: write after %llu bytes", s->path, (unsigned long long)(s->bytes - s->held));
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

static void flush(struct sink *s)
{
    if (!s->error && s->held)
        s->error = write_all(s, s->block, s->held);
    s->held = 0;
}

void sink_write(struct sink *s, const void *p, size_t n)
{
    const unsigned char *from = p;
    while (n && !s->error) {
        if (s->held == 0 && n >= s->cap) { /* large data goes past the block */
            s->bytes += s->cap;
            s->error = write_all(s, from, s->cap);
            from += s->cap, n -= s->cap;
            continue;
        }
        size_t k = s->cap - s->held < n ? s->cap - s->held : n;
        memcpy(s->block + s->held, from, k);
        s->held += k, s->bytes += k;
        from += k, n -= k;
        if (s->held == s->cap)
            flush(s);
    }
}

void sink_zero(struct sink *s, size_t n)
{
    static const unsigned char zeros[4096];
    for (; n && !s->error; n -= n < sizeof zeros ? n : sizeof zeros)
        sink_write(s, zeros, n < sizeof zeros ? n : sizeof zeros);
}

/* Flush, fsync, close; on failure the file is gone. The sink's memory stays. */
static int settle(struct sink *s, struct digest *digest)
{
    const struct seam *os = seam_get();
    if (s->fd < 0)
        return s->error ? s->error : err_set(NUN_EARG, "sink: not open");
    flush(s);
    if (!s->error && os->fsync(s->fd) != 0)
        s->error = err_errno("%s: fsync", s->path);
    if (os->close(s->fd) != 0 && !s->error)
        s->error = err_errno("%s: close", s->path);
    s->fd = -1;
    if (s->error)
        os->unlink(s->path);
    else if (digest)
        digest_end(&s->digest, digest);
    return s->error;
}

int sink_close(struct sink *s, struct digest *digest)
{
    int rc = settle(s, digest);
    release(s);
    return rc;
}

static int fsync_folder_of(const char *path)
{
    size_t n = (size_t)(path_base(path) - path);
    char *dir = n ? mem_strndup(MEM_FORMAT, path, n) : mem_strdup(MEM_FORMAT, ".");
    int rc = dir ? file_fsync_dir(dir) : NUN_ENOMEM;
    mem_free(dir);
    return rc;
}

int sink_publish(struct sink *s, struct digest *digest)
{
    int rc = settle(s, digest);
    if (rc == 0 && !s->final)
        rc = err_set(NUN_EARG, "%s: this sink was not opened aside", s->path);
    if (rc == 0 && seam_get()->rename(s->path, s->final) != 0) {
        rc = err_errno("%s: rename", s->final);
        seam_get()->unlink(s->path);
    }
    if (rc == 0)
        rc = fsync_folder_of(s->final);
    release(s);
    return rc;
}

void sink_abort(struct sink *s)
{
    if (s->fd >= 0) {
        seam_get()->close(s->fd);
        seam_get()->unlink(s->path);
    }
    release(s);
}
