/* Equal JSON scalars, equal bytes: strings without escapes, numbers as digits and a power of ten. For arrays
 * whose items must differ. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/utf8.h"
#include "text/gram_run.h"

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v * 16 + (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v;
}

/* The character of an escape at p (behind the backslash); returns its bytes. */
static uint32_t unescape(const char *p, uint32_t *cp)
{
    static const char letters[] = "bfnrt", means[] = "\b\f\n\r\t";
    const char *known = strchr(letters, *p);
    *cp = known ? (uint32_t)means[known - letters] : (uint8_t)*p;
    if (*p != 'u')
        return 1;
    *cp = hex4(p + 1);
    if (*cp < 0xd800 || *cp > 0xdbff)
        return 5;
    *cp = 0x10000 + ((*cp - 0xd800) << 10) + (hex4(p + 7) - 0xdc00);
    return 11;
}

static uint32_t string(char *p, uint32_t len)
{
    uint32_t n = 0, cp;
    for (uint32_t i = 0; i < len;) {
        if (p[i] != '\\') {
            p[n++] = p[i++];
            continue;
        }
        i += 1 + unescape(p + i + 1, &cp);
        n += (uint32_t)utf8_encode(cp, p + n); /* never longer than the escape */
    }
    return n;
}

enum { EXPONENT_MAX = 100000 };

/* What the exponent says; false beyond what may be compared. */
static bool exponent(const char *p, uint32_t len, long *out)
{
    bool minus = len && *p == '-';
    long v = 0;
    for (uint32_t i = len && (*p == '-' || *p == '+'); i < len; i++)
        if ((v = v * 10 + (p[i] - '0')) > EXPONENT_MAX)
            return false;
    *out = minus ? -v : v;
    return true;
}

static uint32_t number(char *p, uint32_t len)
{
    uint32_t from = *p == '-', n = from, end = from, point = 0, zeros = 0;
    long e = 0;
    while (end < len && (p[end] | 32) != 'e')
        end++;
    if (end < len && !exponent(p + end + 1, len - end - 1, &e))
        return len;
    for (uint32_t i = from; i < end; i++) {
        if (p[i] == '.') {
            point = end - i - 1;
            continue;
        }
        if (n > from || p[i] != '0')
            p[n++] = p[i];
    }
    e -= (long)point;
    while (n > from && p[n - 1] == '0') {
        n--;
        zeros++;
    }
    if (n == from) {
        p[0] = '0';
        return 1;
    }
    char power[16];
    uint32_t size = (uint32_t)snprintf(power, sizeof power, "e%ld", e + (long)zeros);
    memcpy(p + n, power, size);
    return n + size;
}

uint32_t gram_canonical(char *p, uint32_t len)
{
    if (len && *p == '"')
        return string(p, len);
    return len && (*p == '-' || (*p >= '0' && *p <= '9')) ? number(p, len) : len;
}
