/* A kernel's place in the team: thread ith of nth. All threads of the pool run the same kernel and
 * take static shares; par_barrier separates phases. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_PAR_H
#define KERNELS_PAR_H
#include "base/pool.h"

struct par { int ith, nth; struct pool *pool; };

static inline void par_barrier(const struct par *p)
{
    if (p->nth > 1)
        pool_barrier(p->pool);
}
static inline void par_share(const struct par *p, size_t count, size_t unit, size_t *lo, size_t *hi)
{
    pool_share(count, unit, p->ith, p->nth, lo, hi);
}

#endif
