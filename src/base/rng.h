/* Counter-based random numbers: Philox4x32-10 (Salmon et al., 2011). There is no state to lose: a
 * draw is a pure function of (seed, stream, index). */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_RNG_H
#define BASE_RNG_H
#include <stdint.h>

struct rng {
    uint64_t seed, stream; /* key and upper half of the counter */
    uint64_t index;        /* next 32-bit draw; lower half of the counter is index / 4 */
};

/* One block: four words for counter (stream, block) under key `seed`. */
void philox4x32(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4]);

static inline struct rng rng_at(uint64_t seed, uint64_t stream) { return (struct rng){seed, stream, 0}; }
uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
float rng_float(struct rng *r);            /* uniform in [0, 1), 24 bits */
double rng_double(struct rng *r);          /* uniform in [0, 1), 53 bits */
float rng_normal(struct rng *r);           /* standard normal, Box-Muller, two draws each */
uint32_t rng_below(struct rng *r, uint32_t n); /* uniform in [0, n), n > 0, unbiased */
int rng_range(struct rng *r, int lo, int hi);  /* uniform in [lo, hi] */
/* A keyed permutation of [0, n): a Feistel network with cycle walking. Used for shuffles that depend
 * on (seed, epoch, index) alone. */
uint64_t rng_permute(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t index);

#endif
