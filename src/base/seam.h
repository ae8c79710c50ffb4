/* The seam: every call to the clock, the disk and the system's randomness goes through one table,
 * so that tests can fail, record and replay them. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_SEAM_H
#define BASE_SEAM_H
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct seam {
    uint64_t (*now_ns)(void);      /* monotonic */
    int64_t (*wall_s)(void);       /* seconds since 1970 */
    void (*sleep_ns)(uint64_t ns);
    void (*entropy)(void *p, size_t n);
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*read)(int fd, void *p, size_t n);
    ssize_t (*write)(int fd, const void *p, size_t n);
    int (*fsync)(int fd);
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    int (*fstat)(int fd, struct stat *st);
    int64_t (*free_bytes)(const char *path); /* on the file system of path; -1 unknown */
};

const struct seam *seam_get(void);          /* never NULL */
void seam_set(const struct seam *s);        /* NULL: the real system again */
const struct seam *seam_real(void);
static inline uint64_t seam_now_ns(void) { return seam_get()->now_ns(); }

#endif
