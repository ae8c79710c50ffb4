/* Checked arithmetic: the only way to compute a size from numbers that came from outside.
 * Each returns true when the result does not fit, and then leaves *out untouched. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_CK_H
#define BASE_CK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CK_WARN __attribute__((warn_unused_result)) static inline

CK_WARN bool ck_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return true;
    *out = r;
    return false;
}

CK_WARN bool ck_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return true;
    *out = r;
    return false;
}

/* Round a up to a multiple of `align`, a power of two. */
CK_WARN bool ck_pad(size_t a, size_t align, size_t *out)
{
    size_t r;
    if (ck_add(a, align - 1, &r))
        return true;
    *out = r & ~(align - 1);
    return false;
}

/* A 64-bit number from a file as a size_t. */
CK_WARN bool ck_cast(uint64_t a, size_t *out)
{
    if (a > SIZE_MAX)
        return true;
    *out = (size_t)a;
    return false;
}

/* a signed number from a file as an int within [lo, hi]. */
CK_WARN bool ck_int(int64_t a, int lo, int hi, int *out)
{
    if (a < lo || a > hi)
        return true;
    *out = (int)a;
    return false;
}

/* offset + len <= total, without overflow. */
static inline bool ck_range(size_t offset, size_t len, size_t total)
{
    return offset <= total && len <= total - offset;
}

#endif
