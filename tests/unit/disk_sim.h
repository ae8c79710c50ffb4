/* A disk that can crash: records every call that changes it through the seam, then builds the states
 * that a crash after call k may leave: entries and blocks that were not synced are there or not, and
 * blocks may be torn. For tests of anything durable. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_DISK_SIM_H
#define TESTS_DISK_SIM_H
#include <stdint.h>
#include "base/seam.h"

/* Record from now on everything below `root` (an existing, empty folder). */
void disk_record(const char *root);
/* The real disk, but for fsync, which does nothing: tests need no durability of the host. Recording and
 * failing end here too. */
void disk_plain(void);
/* Stop; the number of recorded calls. */
int disk_stop(void);
int disk_calls(void); /* recorded so far */

enum disk_loss {
    DISK_KEEP_ALL,  /* everything issued reached the disk */
    DISK_LOSE_ALL,  /* nothing that was not synced did */
    DISK_RANDOM,    /* each folder kept a random prefix of its changes, each block is random */
};
/* Build in `into` (an existing, empty folder) what a crash after call k leaves. */
void disk_crash(int k, enum disk_loss loss, uint64_t seed, const char *into);

/* A seam whose call number n (from 1) fails with `error`; with `forever`, all after it too. n = 0: none.
 * Only calls that change the disk count. */
void disk_fail_at(int n, int error, int forever);
int disk_fail_calls(void); /* calls seen since */

#endif
