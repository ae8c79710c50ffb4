/* UTF-8, decoded and checked without allocation. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode one code point at p (n > 0 bytes left). Returns its length 1..4, or 0 when the bytes are
 * not valid UTF-8 (overlong, surrogate, beyond U+10FFFF, truncated). */
size_t utf8_decode(const char *p, size_t n, uint32_t *cp);
size_t utf8_encode(uint32_t cp, char out[4]); /* 0 for an invalid code point */
bool utf8_valid(const char *p, size_t n);
/* How many bytes at the end of p[0..n) are the beginning of an unfinished character (0..3). */
size_t utf8_incomplete_tail(const char *p, size_t n);

#endif
