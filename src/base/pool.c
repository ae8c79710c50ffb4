/* The thread pool: workers wait for a new epoch, run the job once, and count themselves out. Every wait
 * spins some tens of microseconds and then sleeps in a futex, so that back-to-back jobs cost no system
 * call and an oversubscribed machine does not burn its time slices. Knows nothing of the jobs. */
/* SPDX-License-Identifier: MIT */
#include "base/pool.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/seam.h"

#define SPIN_NS 30000 /* a wake-up through the kernel costs about as much */

/* A number that threads wait on. It only grows (and wraps): a waiter names the value it saw. */
struct gate {
    _Alignas(64) atomic_uint value;
    atomic_uint sleepers;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    int ith;
};

struct pool {
    struct gate start;   /* the epoch: one more for every pool_run */
    struct gate finish;  /* one more when the last worker of an epoch is done */
    struct gate barrier; /* one more when all have arrived */
    _Alignas(64) atomic_int running;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) pool_fn *fn; /* the job; written before `start` opens */
    void *arg;
    int nth, spawned;
    unsigned spins;
    atomic_bool quit;
    struct worker workers[]; /* [nth], number 0 is the caller */
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` returns at once on most cores */
#endif
}

static void gate_wait(struct gate *g, unsigned seen, unsigned spins)
{
    for (unsigned i = 0; i < spins; i++) {
        if (atomic_load_explicit(&g->value, memory_order_acquire) != seen)
            return;
        cpu_relax();
    }
    /* Sequentially consistent with gate_open: it sees the sleeper, or the sleeper sees the new value. */
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->value) == seen)
        syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
}

static void gate_open(struct gate *g)
{
    atomic_fetch_add(&g->value, 1);
    if (atomic_load(&g->sleepers))
        syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (unsigned epoch = 0;; epoch++) {
        gate_wait(&p->start, epoch, p->spins);
        if (atomic_load(&p->quit))
            return NULL;
        p->fn(p->arg, w->ith, p->nth);
        if (atomic_fetch_sub(&p->running, 1) == 1)
            gate_open(&p->finish);
    }
}

static int cpus_allowed(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 CPUs do not fit the set */
    return n > 0 ? (int)n : 1;
}

/* How many turns of the spin loop take SPIN_NS here: a pause lasts 5 to 150 cycles by CPU model. */
static unsigned spins_measure(void)
{
    enum { TURNS = 1000, LEAST = 200, MOST = 20000 };
    uint64_t begin = seam_now_ns();
    for (int i = 0; i < TURNS; i++)
        cpu_relax();
    uint64_t took = seam_now_ns() - begin, turns = took ? (uint64_t)SPIN_NS * TURNS / took : LEAST;
    return turns < LEAST ? LEAST : turns > MOST ? MOST : (unsigned)turns;
}

static int workers_spawn(struct pool *p)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are the host's: its own threads get them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    for (int i = 1; i < p->nth && rc == 0; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .ith = i};
        rc = pthread_create(&w->thread, NULL, worker_main, w);
        p->spawned += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? err_set(NUN_EIO, "thread %d of %d could not start: %s", p->spawned + 1, p->nth, strerror(rc)) : 0;
}

int pool_create(int threads, struct pool **out)
{
    if (threads < 0)
        return err_set(NUN_EARG, "threads: expected 0 or more, found %d", threads);
    int cpus = cpus_allowed();
    int nth = threads ? threads : cpus;
    TRY(limit_check(LIMIT_threads, (size_t)nth, "threads"));
    struct pool *p = mem_calloc(MEM_BASE, 1, sizeof *p + (size_t)nth * sizeof p->workers[0]);
    if (!p)
        return NUN_ENOMEM;
    p->nth = nth;
    p->spins = nth > cpus ? 0 : spins_measure(); /* with more threads than CPUs, spinning delays the others */
    int rc = workers_spawn(p);
    if (rc) {
        pool_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->quit, true);
    gate_open(&p->start);
    for (int i = 1; i <= p->spawned; i++)
        pthread_join(p->workers[i].thread, NULL);
    mem_free(p);
}

int pool_threads(const struct pool *p)
{
    return p->nth;
}

void pool_run(struct pool *p, pool_fn *fn, void *arg)
{
    if (p->nth == 1) {
        fn(arg, 0, 1);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    unsigned seen = atomic_load(&p->finish.value);
    atomic_store(&p->running, p->nth - 1);
    gate_open(&p->start);
    fn(arg, 0, p->nth);
    gate_wait(&p->finish, seen, p->spins);
}

void pool_barrier(struct pool *p)
{
    if (p->nth == 1)
        return;
    unsigned seen = atomic_load(&p->barrier.value);
    if (atomic_fetch_add(&p->arrived, 1) + 1 < p->nth) {
        gate_wait(&p->barrier, seen, p->spins);
        return;
    }
    atomic_store(&p->arrived, 0); /* before the gate opens: nobody can arrive again until then */
    gate_open(&p->barrier);
}
