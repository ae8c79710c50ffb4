/* Torture: run a scenario with allocation 1, 2, 3, ... failing in turn until one run goes through. Each
 * failed run must report a negative code and a sentence, and leave not one block behind. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_TORTURE_H
#define TESTS_TORTURE_H
#include "base/mem.h"
#include "check.h"

/* 0, or a negative code; in both cases the scenario has freed all that it made. */
typedef int torture_fn(void *arg);

static inline void torture_leaks(const char *name, uint64_t at, const struct mem_stats *before)
{
    struct mem_stats after;
    mem_stats(MEM_TAG_COUNT, &after);
    if (after.live_blocks != before->live_blocks || after.live_bytes != before->live_bytes)
        fail_msg("%s: with allocation %llu failing, %lld blocks (%lld bytes) leaked", name, (unsigned long long)at,
                 (long long)(after.live_blocks - before->live_blocks), (long long)(after.live_bytes - before->live_bytes));
}

/* stride 1 fails every allocation; a long scenario may take every stride-th one. Returns how many
 * allocations the scenario makes. A first run without failures warms what is made once a process. */
static inline uint64_t torture_run(const char *name, torture_fn *fn, void *arg, uint64_t stride)
{
    struct mem_stats before;
    int rc = fn(arg);
    if (rc < 0)
        fail_msg("%s: fails without any failing allocation: %s", name, nun_error());
    for (uint64_t at = 1;; at += stride) {
        mem_stats(MEM_TAG_COUNT, &before);
        err_clear();
        mem_fail_at(at, false);
        rc = fn(arg);
        uint64_t asked = mem_fail_at(0, false);
        torture_leaks(name, at, &before);
        if (asked < at) { /* the run ended before the failing one: nothing is left to fail */
            if (rc < 0)
                fail_msg("%s: fails without any failing allocation: %s", name, nun_error());
            return asked;
        }
        if (rc >= 0 || !*nun_error())
            fail_msg("%s: allocation %llu failed unnoticed (code %d, sentence \"%s\")", name, (unsigned long long)at, rc,
                     nun_error());
    }
}

#endif
