/* Classes of characters that the tokenizer's rows speak of, from Unicode's general categories. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOK_CHARS_H
#define TEXT_TOK_CHARS_H
#include <utf8proc.h>
#include "base/buf.h"
#include "base/utf8.h"

static inline bool tok_is_space(uint32_t cp) /* Unicode White_Space */
{
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* The general category as one of utf8proc's numbers, and sets of them as bits. */
#define TOK_CAT(name) (1u << UTF8PROC_CATEGORY_##name)
#define TOK_LETTERS (TOK_CAT(LU) | TOK_CAT(LL) | TOK_CAT(LT) | TOK_CAT(LM) | TOK_CAT(LO))
#define TOK_MARKS (TOK_CAT(MN) | TOK_CAT(MC) | TOK_CAT(ME))
#define TOK_NUMBERS (TOK_CAT(ND) | TOK_CAT(NL) | TOK_CAT(NO))
#define TOK_PUNCTUATION (TOK_CAT(PC) | TOK_CAT(PD) | TOK_CAT(PS) | TOK_CAT(PE) | TOK_CAT(PI) | TOK_CAT(PF) | TOK_CAT(PO))
#define TOK_OTHERS (TOK_CAT(CC) | TOK_CAT(CF) | TOK_CAT(CO) | TOK_CAT(CS))

static inline bool tok_is(uint32_t cp, uint32_t categories)
{
    return categories >> utf8proc_category((utf8proc_int32_t)cp) & 1;
}

static inline bool tok_is_word(uint32_t cp)
{
    return tok_is(cp, TOK_LETTERS | TOK_MARKS | TOK_CAT(ND) | TOK_CAT(NL) | TOK_CAT(PC)) || cp == 0x200c || cp == 0x200d;
}

static inline bool tok_is_number(uint32_t cp)
{
    return tok_is(cp, TOK_NUMBERS);
}

/* Unicode's punctuation, and the ASCII symbols that keyboards call so ($ + < = > ^ ` | ~). */
static inline bool tok_is_punctuation(uint32_t cp)
{
    return tok_is(cp, TOK_PUNCTUATION) || (cp < 0x80 && cp > 0x20 && strchr("$+<=>^`|~", (int)cp));
}

static inline void tok_append_char(struct buf *out, uint32_t cp)
{
    char c[4];
    buf_append(out, c, utf8_encode(cp, c));
}

/* The character at `at` of valid UTF-8, and its length. */
static inline size_t tok_char_at(struct span s, size_t at, uint32_t *cp)
{
    size_t n = utf8_decode(s.ptr + at, s.len - at, cp);
    if (n)
        return n;
    *cp = 0xfffd;
    return 1;
}

#endif
