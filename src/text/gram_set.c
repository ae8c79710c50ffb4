/* Sets of code points: sorted ranges without surrogates. Used by every front end and by the classes. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "text/gram_int.h"

static int by_low(const void *x, const void *y)
{
    uint32_t a = ((const struct cp_range *)x)->lo, b = ((const struct cp_range *)y)->lo;
    return (a > b) - (a < b);
}

static void put(struct cp_set *s, uint32_t lo, uint32_t hi)
{
    if (lo > hi)
        return;
    if (s->n && s->at[s->n - 1].hi + 1 >= lo) {
        if (hi > s->at[s->n - 1].hi)
            s->at[s->n - 1].hi = hi;
    } else {
        s->at[s->n++] = (struct cp_range){lo, hi};
    }
}

int cp_set_make(struct arena *a, struct cp_range *ranges, size_t n, struct cp_set *out)
{
    struct cp_set s = {arena_array(a, n + 1, sizeof *s.at), 0};
    if (!s.at)
        return NUN_ENOMEM;
    qsort(ranges, n, sizeof *ranges, by_low);
    for (size_t i = 0; i < n; i++) {
        uint32_t lo = ranges[i].lo, hi = ranges[i].hi > CP_MAX ? CP_MAX : ranges[i].hi;
        if (lo < CP_SURROGATE && hi >= CP_SURROGATE && hi < CP_AFTER_SURROGATES)
            hi = CP_SURROGATE - 1;
        if (lo >= CP_SURROGATE && lo < CP_AFTER_SURROGATES)
            lo = CP_AFTER_SURROGATES;
        put(&s, lo, hi);
    }
    /* at most one range spans the surrogates: cut it in two (there is room for n + 1) */
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.at[i].lo >= CP_SURROGATE || s.at[i].hi < CP_AFTER_SURROGATES)
            continue;
        for (uint32_t k = s.n++; k > i + 1; k--)
            s.at[k] = s.at[k - 1];
        s.at[i + 1] = (struct cp_range){CP_AFTER_SURROGATES, s.at[i].hi};
        s.at[i].hi = CP_SURROGATE - 1;
        break;
    }
    *out = s;
    return 0;
}

int cp_set_one(struct arena *a, uint32_t lo, uint32_t hi, struct cp_set *out)
{
    struct cp_range r = {lo, hi};
    return cp_set_make(a, &r, 1, out);
}

int cp_set_invert(struct arena *a, const struct cp_set *s, struct cp_set *out)
{
    struct cp_range *r = arena_array(a, s->n + 1, sizeof *r);
    uint32_t n = 0, from = 0;
    if (!r)
        return NUN_ENOMEM;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->at[i].lo > from)
            r[n++] = (struct cp_range){from, s->at[i].lo - 1};
        from = s->at[i].hi + 1;
    }
    if (from <= CP_MAX)
        r[n++] = (struct cp_range){from, CP_MAX};
    return cp_set_make(a, r, n, out);
}

/* The first range that ends at cp or later. */
static uint32_t find(const struct cp_set *s, uint32_t cp)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->at[mid].hi < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool cp_set_has(const struct cp_set *s, uint32_t cp)
{
    uint32_t i = find(s, cp);
    return i < s->n && s->at[i].lo <= cp;
}

enum cp_cover cp_set_cover(const struct cp_set *s, uint32_t lo, uint32_t hi)
{
    uint32_t i = find(s, lo);
    if (i == s->n || s->at[i].lo > hi)
        return CP_NONE;
    return s->at[i].lo <= lo && s->at[i].hi >= hi ? CP_ALL : CP_SOME;
}
