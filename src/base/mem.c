/* Tagged allocation: a 64-byte header in front of every block carries its size, its tag and a canary.
 * The only file that may call the C heap; knows nothing of what the blocks hold. */
/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/log.h"

#define MEM_ALIGN 64
#define CANARY_LIVE 0x6e756e6368692121u
#define CANARY_DEAD 0x64656164626c6f63u

struct head {
    _Alignas(MEM_ALIGN) size_t size; /* of the caller's bytes, which follow */
    enum mem_tag tag;
    uint64_t canary;
};
_Static_assert(sizeof(struct head) == MEM_ALIGN, "the header keeps the block aligned");

struct counters {
    _Alignas(64) atomic_size_t live_bytes;
    atomic_size_t live_blocks, peak_bytes;
    atomic_uint_fast64_t calls;
};
static struct counters counters[MEM_TAG_COUNT + 1]; /* the last one: all tags together */

/* The failure hook: `asked` numbers the allocations since mem_fail_at. */
static atomic_uint_fast64_t asked, fail_from;
static atomic_bool fail_forever;

static _Thread_local bool frozen;
static _Thread_local uint64_t violations;

static void counter_add(struct counters *c, size_t size)
{
    size_t now = atomic_fetch_add_explicit(&c->live_bytes, size, memory_order_relaxed) + size;
    size_t peak = atomic_load_explicit(&c->peak_bytes, memory_order_relaxed);
    while (peak < now && !atomic_compare_exchange_weak_explicit(&c->peak_bytes, &peak, now, memory_order_relaxed,
                                                                memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&c->live_blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->calls, 1, memory_order_relaxed);
}

static void counter_sub(struct counters *c, size_t size)
{
    atomic_fetch_sub_explicit(&c->live_bytes, size, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->live_blocks, 1, memory_order_relaxed);
}

/* Counts the request; true when the hook wants this one to fail. */
static bool must_fail(void)
{
    if (frozen)
        violations++;
    uint64_t number = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    uint64_t from = atomic_load_explicit(&fail_from, memory_order_relaxed);
    if (from == 0 || number < from)
        return false;
    return number == from || atomic_load_explicit(&fail_forever, memory_order_relaxed);
}

/* The header of a block, or NULL (and a log line) when it is not a live block of ours. Such a bug leaks
 * the block: a library does not kill its host. */
static struct head *head_of(void *p)
{
    struct head *h = (struct head *)p - 1;
    if (h->canary == CANARY_LIVE)
        return h;
    log_write(LOG_ERROR, "mem: block %p is %s", p,
              h->canary == CANARY_DEAD ? "freed already" : "not ours, or its header was overwritten");
    return NULL;
}

void *mem_alloc(enum mem_tag tag, size_t size)
{
    size_t total;
    struct head *h = NULL;
    if (!must_fail() && !ck_add(size, sizeof *h + MEM_ALIGN - 1, &total))
        h = aligned_alloc(MEM_ALIGN, total & ~(size_t)(MEM_ALIGN - 1));
    if (!h) {
        err_nomem(size);
        return NULL;
    }
    h->size = size;
    h->tag = tag;
    h->canary = CANARY_LIVE;
    counter_add(&counters[tag], size);
    counter_add(&counters[MEM_TAG_COUNT], size);
    return h + 1;
}

void *mem_calloc(enum mem_tag tag, size_t count, size_t size)
{
    size_t total;
    if (ck_mul(count, size, &total)) {
        err_set(NUN_ENOMEM, "out of memory: %zu items of %zu bytes do not fit the address space", count, size);
        return NULL;
    }
    void *p = mem_alloc(tag, total);
    return p ? memset(p, 0, total) : NULL;
}

void *mem_realloc(enum mem_tag tag, void *p, size_t size)
{
    if (!p)
        return mem_alloc(tag, size);
    struct head *h = head_of(p);
    void *q = h ? mem_alloc(tag, size) : NULL; /* realloc(3) would lose the alignment */
    if (!q)
        return NULL;
    memcpy(q, p, h->size < size ? h->size : size);
    mem_free(p);
    return q;
}

void mem_free(void *p)
{
    struct head *h = p ? head_of(p) : NULL;
    if (!h)
        return;
    counter_sub(&counters[h->tag], h->size);
    counter_sub(&counters[MEM_TAG_COUNT], h->size);
    h->canary = CANARY_DEAD;
    free(h);
}

char *mem_strdup(enum mem_tag tag, const char *s)
{
    return mem_strndup(tag, s, strlen(s));
}

char *mem_strndup(enum mem_tag tag, const char *s, size_t len)
{
    size_t total;
    char *p = ck_add(len, 1, &total) ? NULL : mem_alloc(tag, total);
    if (!p)
        return NULL;
    if (len)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

void mem_stats(enum mem_tag tag, struct mem_stats *out)
{
    struct counters *c = &counters[tag];
    out->live_bytes = atomic_load(&c->live_bytes);
    out->live_blocks = atomic_load(&c->live_blocks);
    out->peak_bytes = atomic_load(&c->peak_bytes);
    out->calls = atomic_load(&c->calls);
}

const char *mem_tag_name(enum mem_tag tag)
{
    static const char *const names[MEM_TAG_COUNT + 1] = {
        [MEM_BASE] = "base",   [MEM_TENSOR] = "tensor",   [MEM_KERNEL] = "kernel", [MEM_GRAPH] = "graph",
        [MEM_FORMAT] = "format", [MEM_TEXT] = "text",     [MEM_MEDIA] = "media",   [MEM_MODEL] = "model",
        [MEM_RUNTIME] = "runtime", [MEM_DATA] = "data",   [MEM_TRAIN] = "train",   [MEM_EVAL] = "eval",
        [MEM_CLI] = "cli",     [MEM_TEST] = "test",       [MEM_TAG_COUNT] = "total",
    };
    return (unsigned)tag <= MEM_TAG_COUNT ? names[tag] : "unknown";
}

uint64_t mem_fail_at(uint64_t n, bool forever)
{
    atomic_store(&fail_from, 0);
    uint64_t before = atomic_exchange(&asked, 0);
    atomic_store(&fail_forever, forever);
    atomic_store(&fail_from, n);
    return before;
}

void mem_freeze(bool on)
{
    if (on && !frozen)
        violations = 0;
    frozen = on;
}

uint64_t mem_freeze_violations(void)
{
    return violations;
}
