/* The seam's real side: the system calls themselves, and the pointer that tests replace. Knows no
 * policy: retries, sentences and durability belong to file.c. */
/* SPDX-License-Identifier: MIT */
#include "base/seam.h"
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

static uint64_t real_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int64_t real_wall_s(void)
{
    return (int64_t)time(NULL);
}

static void real_sleep_ns(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (nanosleep(&t, &t) != 0)
        ; /* interrupted: t holds what is left */
}

static void real_entropy(void *p, size_t n)
{
    randombytes_buf(p, n);
}

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int real_fstat(int fd, struct stat *st)
{
    return fstat(fd, st);
}

static int64_t real_free_bytes(const char *path)
{
    struct statvfs v;
    return statvfs(path, &v) == 0 ? (int64_t)v.f_bavail * (int64_t)v.f_frsize : -1;
}

static const struct seam real = {
    .now_ns = real_now_ns, .wall_s = real_wall_s, .sleep_ns = real_sleep_ns, .entropy = real_entropy,
    .open = real_open,     .read = read,          .write = write,            .fsync = fsync,
    .close = close,        .rename = rename,      .unlink = unlink,          .mkdir = mkdir,
    .rmdir = rmdir,        .fstat = real_fstat,   .free_bytes = real_free_bytes,
};

static _Atomic(const struct seam *) current = &real;

const struct seam *seam_get(void)
{
    return atomic_load_explicit(&current, memory_order_acquire);
}

void seam_set(const struct seam *s)
{
    atomic_store_explicit(&current, s ? s : &real, memory_order_release);
}

const struct seam *seam_real(void)
{
    return &real;
}
