/* What the fuzz targets of grammars do with a grammar once it is read: take texts, a mask, and compare the two. */
/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_GRAMMAR_FUZZ_H
#define FUZZ_GRAMMAR_FUZZ_H
#include "text/grammar.h"

/* A random walk through the grammar by its own masks must never be refused, and what the mask forbids must be. */
static inline void fuzz_walk(const struct grammar *g, uint32_t seed)
{
    char bytes[256];
    struct span words[256];
    struct gram_vocab *v = NULL;
    struct gram_run *r = NULL;
    const uint64_t *mask;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        words[i] = span_of(&bytes[i], 1);
    }
    if (gram_vocab_create(words, 256, &v) == 0 && gram_run_create(g, seed & 1, &r) == 0) {
        for (int step = 0; step < 24 && gram_run_mask(r, v, &mask) == 0; step++) {
            int at = -1;
            for (int i = 0; i < 256; i++) {
                int id = (int)((seed >> 8) + (uint32_t)i * 37u) & 255;
                if (mask[id / 64] >> (id % 64) & 1)
                    at = at < 0 ? id : at;
                else if (step < 2 && gram_run_feed(r, words[id]) > 0)
                    __builtin_trap();
            }
            seed = seed * 1664525u + 1013904223u;
            if (at < 0)
                break;
            if (gram_run_feed(r, words[at]) == 0)
                __builtin_trap();
        }
    }
    gram_run_free(r);
    gram_vocab_free(v);
}

#endif
