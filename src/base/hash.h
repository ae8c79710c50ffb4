/* Hashes: a fast 64-bit one for tables, a 256-bit one (BLAKE2b, libsodium) for content identity. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *p, size_t n, uint64_t seed);

struct digest { uint8_t bytes[32]; };
void digest_of(const void *p, size_t n, struct digest *out);
void digest_hex(const struct digest *d, char out[65]);

/* Incremental: */
struct digest_state { _Alignas(64) unsigned char opaque[384]; };
void digest_begin(struct digest_state *s);
void digest_update(struct digest_state *s, const void *p, size_t n);
void digest_end(struct digest_state *s, struct digest *out);

#endif
