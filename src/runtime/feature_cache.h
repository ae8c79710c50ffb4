/* Features of pictures, found again by what the picture is: the same file in another turn, request or sequence is not
 * encoded twice. Bounded by bytes; what was used longest ago goes first, and lives on in the pictures that hold it. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_FEATURE_CACHE_H
#define RUNTIME_FEATURE_CACHE_H
#include "base/hash.h"

struct features {
    struct features *next;       /* in the cache; the one used longest ago is the last */
    int refs;
    struct digest identity;
    size_t bytes;
    float at[];
};

struct feature_cache { struct features *first; size_t bytes; };

/* All under the model's lock. A reference of the caller's own (features_drop), or NULL. */
struct features *feature_cache_find(struct feature_cache *c, const struct digest *identity);
/* A copy of values, kept as far as LIMIT_picture_cache allows. NULL: out of memory, or the sentence is pending. */
struct features *feature_cache_add(struct feature_cache *c, const struct digest *identity, const float *values, size_t n);
void features_drop(struct features *f); /* NULL is fine */
void feature_cache_free(struct feature_cache *c);

#endif
