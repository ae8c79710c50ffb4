/* Hashes: a multiply-and-fold hash of 64 bits for tables (not against an adversary), and BLAKE2b-256
 * from libsodium for content identity. Knows no file formats. */
/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include <sodium.h>
#include <string.h>
#include "base/log.h"

/* Odd constants with balanced bits: fractional parts of the square roots of 2, 3, 5 and 7. */
#define K0 0x6a09e667f3bcc909u
#define K1 0xbb67ae8584caa73bu
#define K2 0x3c6ef372fe94f82bu
#define K3 0xa54ff53a5f1d36f1u

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Both halves of the 128-bit product, folded: every input bit reaches every output bit. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t absorb(uint64_t h, const unsigned char *p)
{
    return (h << 29 | h >> 35) + fold(load64(p) ^ K1 ^ h, load64(p + 8) ^ K2);
}

uint64_t hash64(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *s = p;
    uint64_t h = fold(seed ^ K0, n ^ K3);
    size_t left = n;
    for (; left >= 16; left -= 16, s += 16)
        h = absorb(h, s);
    if (left) {
        unsigned char tail[16] = {0};
        memcpy(tail, s, left);
        h = absorb(h, tail);
    }
    return fold(h ^ K0, fold(h ^ K3, K1) ^ K2);
}

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct digest_state), "the state fits its box");

void digest_begin(struct digest_state *s)
{
    if (sodium_init() < 0)
        log_debug("libsodium: no fast implementation chosen"); /* the plain one gives the same digests */
    crypto_generichash_init((crypto_generichash_state *)s->opaque, NULL, 0, sizeof(struct digest));
}

void digest_update(struct digest_state *s, const void *p, size_t n)
{
    crypto_generichash_update((crypto_generichash_state *)s->opaque, p, n);
}

void digest_end(struct digest_state *s, struct digest *out)
{
    crypto_generichash_final((crypto_generichash_state *)s->opaque, out->bytes, sizeof out->bytes);
}

void digest_of(const void *p, size_t n, struct digest *out)
{
    struct digest_state s;
    digest_begin(&s);
    digest_update(&s, p, n);
    digest_end(&s, out);
}

void digest_hex(const struct digest *d, char out[65])
{
    sodium_bin2hex(out, 65, d->bytes, sizeof d->bytes);
}
