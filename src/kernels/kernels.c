/* Fills the dispatch table. Must not know any kernel: the rows of kernels_init.def do. */
/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static const struct { unsigned bit; void (*init)(struct kernels *k); } inits[] = {
#define INIT(isa, function) {CPU_##isa, function},
#include "kernels/kernels_init.def"
#undef INIT
};

void kernels_init(struct kernels *k, unsigned mask)
{
    memset(k, 0, sizeof(*k));
    mask |= CPU_scalar;
    for (size_t i = 0; i < sizeof(inits) / sizeof(inits[0]); i++)
        if (mask & inits[i].bit)
            inits[i].init(k);
}

static struct kernels active;
static _Atomic unsigned active_for; /* the mask `active` was made for; 0: not made */
static pthread_mutex_t active_lock = PTHREAD_MUTEX_INITIALIZER;

const struct kernels *kernels_active(void)
{
    unsigned mask = cpu_mask();
    if (atomic_load_explicit(&active_for, memory_order_acquire) != mask) {
        pthread_mutex_lock(&active_lock);
        if (atomic_load(&active_for) != mask) {
            kernels_init(&active, mask);
            atomic_store_explicit(&active_for, mask, memory_order_release);
        }
        pthread_mutex_unlock(&active_lock);
    }
    return &active;
}
