/* Philox4x32-10 and the distributions on it. Reference: Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (2011). Stateless, so data order, dropout and sampling can be replayed
 * from any point. */
/* SPDX-License-Identifier: MIT */
#include "base/rng.h"
#include <math.h>

#define ROUNDS 10
#define MUL_0 0xD2511F53u
#define MUL_1 0xCD9E8D57u
#define WEYL_0 0x9E3779B9u /* golden ratio */
#define WEYL_1 0xBB67AE85u /* sqrt(3) - 1 */

void philox4x32(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int i = 0; i < ROUNDS; i++, k0 += WEYL_0, k1 += WEYL_1) {
        uint64_t p0 = (uint64_t)MUL_0 * c0, p1 = (uint64_t)MUL_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint32_t rng_u32(struct rng *r)
{
    uint32_t word[4];
    philox4x32(r->seed, r->stream, r->index / 4, word);
    return word[r->index++ % 4];
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t lo = rng_u32(r);
    return (uint64_t)rng_u32(r) << 32 | lo;
}

float rng_float(struct rng *r)
{
    return (float)(rng_u32(r) >> 8) * 0x1p-24f;
}

double rng_double(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

float rng_normal(struct rng *r)
{
    double u = ((double)rng_u32(r) + 1.0) * 0x1p-32; /* (0, 1]: its logarithm is finite */
    double angle = (double)rng_u32(r) * (6.283185307179586477 * 0x1p-32);
    return (float)(sqrt(-2.0 * log(u)) * cos(angle));
}

/* Lemire's method: the product's high word is the draw, its low word says when to draw again. */
uint32_t rng_below(struct rng *r, uint32_t n)
{
    uint64_t m = (uint64_t)rng_u32(r) * n;
    if ((uint32_t)m < n) {
        uint32_t reject = -n % n; /* 2^32 mod n */
        while ((uint32_t)m < reject)
            m = (uint64_t)rng_u32(r) * n;
    }
    return (uint32_t)(m >> 32);
}

int rng_range(struct rng *r, int lo, int hi)
{
    uint32_t n = (uint32_t)hi - (uint32_t)lo + 1; /* 0: the whole range of int */
    return (int)((uint32_t)lo + (n ? rng_below(r, n) : rng_u32(r)));
}

#define FEISTEL_ROUNDS 6
#define FEISTEL_DOMAIN 0x7065726d75746521u /* keeps these blocks apart from ordinary draws */

/* A permutation of 2 * half_bits bits, half_bits in 1..32. */
static uint64_t feistel(uint64_t seed, uint64_t epoch, unsigned half_bits, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t left = x >> half_bits & mask, right = x & mask;
    for (uint64_t round = 0; round < FEISTEL_ROUNDS; round++) {
        uint32_t word[4];
        philox4x32(seed ^ FEISTEL_DOMAIN, epoch, round << 32 | right, word);
        uint64_t mixed = left ^ (word[0] & mask);
        left = right;
        right = mixed;
    }
    return left << half_bits | right;
}

uint64_t rng_permute(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t index)
{
    if (n <= 1)
        return 0;
    unsigned bits = 64 - (unsigned)__builtin_clzll(n - 1);
    uint64_t x = index % n;
    do /* cycle walking: outside [0, n) we are still on the cycle of a point inside */
        x = feistel(seed, epoch, (bits + 1) / 2, x);
    while (x >= n);
    return x;
}
