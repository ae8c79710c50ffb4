/* SentencePiece's compiled normalisation: a double-array trie from byte strings to offsets of NUL-ended replacements.
 * Every index into the file's arrays is checked. Knows only this one format. */
/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include "text/tok_int.h"

struct tok_charsmap {
    const unsigned char *trie;
    size_t units; /* 32-bit little-endian units in the trie */
    struct span texts;
};

/* ---- the double array ----
 * unit: bits 0-7 and 31 label, bit 8 "a word ends here", bits 10-30 offset, bit 9 offset is shifted by 8 */

static uint32_t unit_at(const struct tok_charsmap *m, size_t i)
{
    uint32_t u;
    memcpy(&u, m->trie + 4 * i, 4);
    return u;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* The first (shortest) or the last (longest) word that begins `text`: its length, 0 when there is none. */
static size_t lookup(const struct tok_charsmap *m, struct span text, bool longest, struct span *out)
{
    size_t node = m->units ? offset_of(unit_at(m, 0)) : 0, found = 0;
    for (size_t i = 0; i < text.len && m->units; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        node ^= c;
        if (!c || node >= m->units)
            break;
        uint32_t unit = unit_at(m, node);
        if ((unit & (1u << 31 | 0xff)) != c)
            break;
        node ^= offset_of(unit);
        if (!(unit >> 8 & 1) || node >= m->units)
            continue;
        *out = span_from(m->texts, unit_at(m, node) & 0x7fffffff);
        out->len = strnlen(out->ptr, out->len);
        found = i + 1;
        if (!longest)
            break;
    }
    return found;
}

static int make(struct arena *mem, struct span bytes, const char *path, const struct tok_charsmap **out)
{
    struct tok_charsmap *m = arena_alloc(mem, sizeof *m);
    uint32_t trie = 0;
    if (!m)
        return NUN_ENOMEM;
    if (bytes.len) {
        if (bytes.len < 4)
            return err_set(NUN_EFORMAT, "%s: expected at least 4 bytes, found %zu", path, bytes.len);
        memcpy(&trie, bytes.ptr, 4);
        if (trie % 4 || !ck_range(4, trie, bytes.len))
            return err_set(NUN_EFORMAT, "%s: trie of %u bytes in %zu", path, trie, bytes.len);
        m->trie = (const unsigned char *)bytes.ptr + 4;
        m->units = trie / 4;
        m->texts = span_from(bytes, 4 + trie);
    }
    *out = m;
    return 0;
}

int tok_charsmap_parse(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    struct span text = {0};
    size_t n = 0;
    TRY(tok_json_span(o, path, "precompiled_charsmap", &text));
    char *bytes = arena_alloc(&t->mem, text.len + 1);
    if (!bytes)
        return NUN_ENOMEM;
    if (text.len && sodium_base642bin((unsigned char *)bytes, text.len, text.ptr, text.len, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL))
        return err_set(NUN_EFORMAT, "%s.precompiled_charsmap: expected base64", path);
    const struct tok_charsmap *m = NULL;
    bool graphemes = true;
    TRY(make(&t->mem, span_of(bytes, n), path, &m));
    TRY(tok_json_bool(o, path, "graphemes", &graphemes));
    json_object_del((json_t *)o, "graphemes"); /* a word between tok_raw.c and here: the file format lacks it */
    s->on = graphemes;
    s->data = m;
    return 0;
}

/* ---- running ---- */

/* The reference implementation replaces a whole grapheme by what its shortest known beginning maps to, and looks
 * character by character only when none is known or the grapheme has 6 bytes or more. */
static void rewrite(const struct tok_charsmap *m, struct span grapheme, struct buf *out)
{
    struct span to;
    if (grapheme.len < 6 && lookup(m, grapheme, false, &to)) {
        buf_span(out, to);
        return;
    }
    for (size_t i = 0, len; i < grapheme.len; i += len) {
        uint32_t cp;
        len = tok_char_at(grapheme, i, &cp);
        struct span c = span_of(grapheme.ptr + i, len);
        buf_span(out, lookup(m, c, false, &to) ? to : c);
    }
}

/* SentencePiece itself: from each place the longest known string, else a character as it is. */
static int run_longest(const struct tok_charsmap *m, struct span in, struct buf *out)
{
    while (in.len) {
        struct span to;
        uint32_t cp;
        size_t len = lookup(m, in, true, &to);
        if (!len) {
            len = tok_char_at(in, 0, &cp);
            to = span_of(in.ptr, len);
        }
        buf_span(out, to);
        in = span_from(in, len);
    }
    return 0;
}

int tok_charsmap_run(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    utf8proc_int32_t state = 0;
    size_t start = 0;
    uint32_t before = 0, cp;
    if (!s->on)
        return run_longest(s->data, in, out);
    for (size_t i = 0, len; i < in.len; i += len, before = cp) {
        len = tok_char_at(in, i, &cp);
        if (i > 0 && utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)cp, &state)) {
            rewrite(s->data, span_of(in.ptr + start, i - start), out);
            start = i;
        }
    }
    rewrite(s->data, span_from(in, start), out);
    return 0;
}
