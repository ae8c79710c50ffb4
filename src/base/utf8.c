/* UTF-8 after RFC 3629: decoding, checking, and finding the unfinished character at the end of a
 * stream. Knows no Unicode properties; those are utf8proc's. */
/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

/* What a lead byte promises: length, and the range its second byte must have (this one range rules out
 * overlong forms, surrogates and code points beyond U+10FFFF). */
struct lead {
    unsigned len;
    unsigned char lo, hi;
};

static struct lead lead_of(unsigned char c)
{
    if (c < 0x80)
        return (struct lead){1, 0, 0};
    if (c < 0xc2 || c > 0xf4)
        return (struct lead){0, 0, 0};
    if (c < 0xe0)
        return (struct lead){2, 0x80, 0xbf};
    if (c < 0xf0)
        return (struct lead){3, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf};
    return (struct lead){4, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf};
}

/* How many of the n bytes are a good beginning of the character that `lead` promises. */
static size_t good_prefix(struct lead lead, const unsigned char *s, size_t n)
{
    size_t i = 1;
    if (n > 1 && lead.len > 1 && s[1] >= lead.lo && s[1] <= lead.hi)
        for (i = 2; i < n && i < lead.len && (s[i] & 0xc0) == 0x80;)
            i++;
    return i;
}

size_t utf8_decode(const char *p, size_t n, uint32_t *cp)
{
    static const unsigned char payload[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)p;
    struct lead lead = n ? lead_of(s[0]) : (struct lead){0, 0, 0};
    if (lead.len == 0 || lead.len > n || good_prefix(lead, s, n) < lead.len)
        return 0;
    uint32_t v = s[0] & payload[lead.len];
    for (unsigned i = 1; i < lead.len; i++)
        v = v << 6 | (s[i] & 0x3f);
    *cp = v;
    return lead.len;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(0xf00u >> n | cp); /* n ones, then a zero, then what is left */
    return n;
}

bool utf8_valid(const char *p, size_t n)
{
    uint32_t cp;
    for (size_t at = 0, len; at < n; at += len)
        if ((len = utf8_decode(p + at, n - at, &cp)) == 0)
            return false;
    return true;
}

size_t utf8_incomplete_tail(const char *p, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const unsigned char *at = s + n - back;
        if ((*at & 0xc0) == 0x80)
            continue;
        struct lead lead = lead_of(*at);
        return lead.len > back && good_prefix(lead, at, back) == back ? back : 0;
    }
    return 0;
}
