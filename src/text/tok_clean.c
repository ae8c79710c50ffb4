/* Blanks before punctuation go, as the ecosystem does with decoded text when a config asks for it: ten
 * replacements, one after the other over the whole text. Text may come in parts: of each pattern, what the text
 * so far may still turn out to begin is held back. Called by tok_decode.c. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

static const struct { const char *from, *to; } rules[TOK_CLEAN_RULES] = {
    {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

/* The longest k < n so that the first n characters of the pattern end as the pattern begins. */
static unsigned border(const char *pattern, unsigned n)
{
    unsigned k = n - 1;
    while (k && memcmp(pattern, pattern + n - k, k) != 0)
        k--;
    return k;
}

static void run_rule(int rule, unsigned char *held, struct span in, bool last, struct buf *out)
{
    const char *from = rules[rule].from;
    unsigned n = *held;
    for (size_t i = 0; i < in.len; i++) {
        while (n && from[n] != in.ptr[i]) {
            unsigned keep = border(from, n);
            buf_append(out, from, n - keep); /* what is held is the pattern's own beginning, and so is its rest */
            n = keep;
        }
        if (from[n] != in.ptr[i])
            buf_char(out, in.ptr[i]);
        else
            n++;
        if (!from[n]) {
            buf_str(out, rules[rule].to);
            n = 0;
        }
    }
    if (last)
        buf_append(out, from, n);
    *held = last ? 0 : (unsigned char)n;
}

int tok_clean(struct tok_cleaner *c, struct span in, bool last, struct buf *out)
{
    struct buf work[2];
    int rc = 0;
    buf_init(&work[0], MEM_TEXT, 2 * LIMIT_OF(text_bytes));
    buf_init(&work[1], MEM_TEXT, 2 * LIMIT_OF(text_bytes));
    for (int rule = 0; rc == 0 && rule < TOK_CLEAN_RULES; rule++) {
        struct buf *to = rule + 1 < TOK_CLEAN_RULES ? &work[rule % 2] : out;
        if (to != out)
            buf_reset(to);
        run_rule(rule, &c->held[rule], in, last, to);
        rc = buf_error(to);
        in = buf_view(to);
    }
    buf_free(&work[0]);
    buf_free(&work[1]);
    return rc;
}
