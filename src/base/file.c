/* Files: whole reads with a maximum, read-only maps, durable writes. Every call that the seam has a row
 * for goes through it. Knows no formats; readers and the checkpoint store call it. */
/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"
#include "base/seam.h"

#define CHUNK ((size_t)64 << 10)

static int open_read(const char *path, int flags, struct stat *st, int *fd)
{
    const struct seam *os = seam_get();
    *fd = os->open(path, O_RDONLY | O_CLOEXEC | flags, 0);
    if (*fd < 0)
        return err_errno("%s", path);
    if (os->fstat(*fd, st) == 0)
        return 0;
    int rc = err_errno("%s", path);
    os->close(*fd);
    return rc;
}

int file_map(const char *path, struct file_map *out)
{
    struct stat st;
    int fd, rc = 0;
    TRY(open_read(path, O_NONBLOCK, &st, &fd)); /* a FIFO without writer must not hang us */
    void *p = (void *)"";
    if (!S_ISREG(st.st_mode))
        rc = err_set(NUN_EIO, "%s: not a regular file", path);
    else if (st.st_size > 0 && (p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        rc = err_errno("%s: map of %lld bytes", path, (long long)st.st_size);
    if (rc) {
        seam_get()->close(fd);
        return rc;
    }
    *out = (struct file_map){.ptr = p, .len = (size_t)st.st_size, .fd = fd};
    return 0;
}

void file_unmap(struct file_map *m)
{
    if (!m->ptr)
        return;
    if (m->len)
        munmap((void *)m->ptr, m->len);
    seam_get()->close(m->fd);
    *m = (struct file_map){.fd = -1};
}

static int too_long(const char *path, const struct buf *out, size_t found)
{
    return err_set(NUN_ELIMIT, "%s: at most %zu bytes allowed here, found %s%zu", path, out->max - out->len,
                   found ? "" : "at least ", found ? found : out->max - out->len + 1);
}

/* Reads to the end; the file may be a pipe, or grow meanwhile. */
static int read_all(int fd, const char *path, struct buf *out)
{
    char chunk[CHUNK];
    for (;;) {
        ssize_t n = seam_get()->read(fd, chunk, sizeof chunk);
        if (n == 0)
            return buf_error(out);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno("%s", path);
        if ((size_t)n > out->max - out->len)
            return too_long(path, out, 0);
        buf_append(out, chunk, (size_t)n);
        TRY(buf_error(out));
    }
}

int file_read(const char *path, struct buf *out)
{
    struct stat st;
    int fd, rc;
    TRY(buf_error(out));
    TRY(open_read(path, 0, &st, &fd));
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > out->max - out->len)
        rc = too_long(path, out, (size_t)st.st_size);
    else
        rc = read_all(fd, path, out);
    seam_get()->close(fd);
    if (rc && !out->error)
        out->error = rc;
    return rc;
}

static int write_all(int fd, const char *path, const void *p, size_t n)
{
    const char *at = p;
    while (n) {
        ssize_t k = seam_get()->write(fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k == 0)
            errno = ENOSPC; /* a disk that takes nothing is full */
        if (k <= 0)
            return err_errno("%s: %zu bytes left to write", path, n);
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

/* The whole content into the file `aside`, on the disk. */
static int write_aside(const char *aside, const void *p, size_t n)
{
    const struct seam *os = seam_get();
    int fd = os->open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_errno("%s", aside);
    int rc = write_all(fd, aside, p, n);
    if (rc == 0 && os->fsync(fd) != 0)
        rc = err_errno("%s: fsync", aside);
    if (os->close(fd) != 0 && rc == 0)
        rc = err_errno("%s: close", aside);
    return rc;
}

/* The folder of path, as the system call wants it: "." when there is none. */
static int path_dir(const char *path, char *out, size_t cap)
{
    size_t n = (size_t)(path_base(path) - path);
    if (n >= cap)
        return err_set(NUN_ELIMIT, "%s: path over %zu bytes", path, cap - 1);
    if (n == 0)
        path = ".", n = 1;
    memcpy(out, path, n);
    out[n] = '\0';
    return 0;
}

int file_write_durable(const char *path, const void *p, size_t n)
{
    const struct seam *os = seam_get();
    char aside[PATH_MAX], dir[PATH_MAX];
    uint64_t unique;
    os->entropy(&unique, sizeof unique);
    int len = snprintf(aside, sizeof aside, "%s.%016llx.tmp", path, (unsigned long long)unique);
    if (len < 0 || len >= (int)sizeof aside)
        return err_set(NUN_ELIMIT, "%s: path over %zu bytes", path, sizeof aside - 1);
    TRY(path_dir(path, dir, sizeof dir));
    int rc = write_aside(aside, p, n);
    if (rc == 0 && os->rename(aside, path) != 0)
        rc = err_errno("%s: rename", path);
    if (rc) {
        os->unlink(aside);
        return rc;
    }
    return file_fsync_dir(dir);
}

int file_fsync_dir(const char *dir)
{
    const struct seam *os = seam_get();
    int rc = 0, fd = os->open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return err_errno("%s", dir);
    if (os->fsync(fd) != 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        rc = err_errno("%s: fsync", dir);
    os->close(fd);
    return rc;
}
