/* A list in the order of use: it is short, and what is looked up was costly to make. */
/* SPDX-License-Identifier: MIT */
#include "runtime/feature_cache.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

void features_drop(struct features *f)
{
    if (f && --f->refs == 0)
        mem_free(f);
}

struct features *feature_cache_find(struct feature_cache *c, const struct digest *identity)
{
    for (struct features **at = &c->first; *at; at = &(*at)->next)
        if (!memcmp(&(*at)->identity, identity, sizeof *identity)) {
            struct features *f = *at;
            *at = f->next;
            f->next = c->first;
            c->first = f;
            f->refs++;
            return f;
        }
    return NULL;
}

/* Those beyond the limit go, from the first that goes over it on. */
static void trim(struct feature_cache *c)
{
    struct features **at = &c->first;
    size_t bytes = 0;
    while (*at && bytes + (*at)->bytes <= LIMIT_OF(picture_cache)) {
        bytes += (*at)->bytes;
        at = &(*at)->next;
    }
    c->bytes = bytes;
    while (*at) {
        struct features *f = *at;
        *at = f->next;
        f->next = NULL;
        features_drop(f);
    }
}

struct features *feature_cache_add(struct feature_cache *c, const struct digest *identity, const float *values, size_t n)
{
    struct features *f = mem_alloc(MEM_RUNTIME, sizeof *f + n * sizeof *values);
    if (!f)
        return NULL;
    *f = (struct features){.next = c->first, .refs = 2, .identity = *identity, .bytes = n * sizeof *values};
    memcpy(f->at, values, f->bytes);
    c->first = f;
    trim(c);
    return f;
}

void feature_cache_free(struct feature_cache *c)
{
    while (c->first) {
        struct features *f = c->first;
        c->first = f->next;
        features_drop(f);
    }
    c->bytes = 0;
}
