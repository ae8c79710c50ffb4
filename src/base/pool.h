/* Thread pool: single program, many threads. pool_run calls fn(arg, i, n) once on every thread
 * (the caller is thread 0); work is divided statically by i and n, so that results cannot depend on
 * timing. Threads spin briefly, then sleep. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_POOL_H
#define BASE_POOL_H
#include <stddef.h>

struct pool;
typedef void pool_fn(void *arg, int ith, int nth);

/* threads: 0 = as many as there are CPUs this process may run on. */
int pool_create(int threads, struct pool **out);
void pool_free(struct pool *p); /* NULL is fine */
int pool_threads(const struct pool *p);
/* Returns when all have returned. Not reentrant. */
void pool_run(struct pool *p, pool_fn *fn, void *arg);
/* Inside pool_run: wait until every thread got here. */
void pool_barrier(struct pool *p);

/* This thread's half-open share [*lo, *hi) of `count` items in units of `unit`. */
static inline void pool_share(size_t count, size_t unit, int ith, int nth, size_t *lo, size_t *hi)
{
    size_t units = (count + unit - 1) / unit, n = (size_t)nth, i = (size_t)ith;
    size_t a = units * i / n * unit, b = units * (i + 1) / n * unit;
    *lo = a < count ? a : count;
    *hi = b < count ? b : count;
}

#endif
