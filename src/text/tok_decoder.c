/* Decoders: pieces in, pieces of text out, one row a type. Pieces may hold bytes that are not UTF-8 yet. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

/* ---- rewriting piece by piece ---- */

/* What becomes of piece `at` of w->now: appended to `out`. */
typedef int rewrite_fn(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out);

static int rewrite(const struct tok_step *s, struct tok_work *w, rewrite_fn *fn)
{
    struct buf *b = &w->piece;
    for (size_t i = 0; i < w->now.n; i++) {
        struct tok_piece p = w->now.at[i];
        buf_reset(b);
        TRY(fn(s, w, i, b));
        TRY(buf_error(b));
        if (!(p.text.ptr = arena_strndup(&w->mem, buf_cstr(b), b->len)))
            return NUN_ENOMEM;
        p.text.len = b->len;
        TRY(tok_pieces_push(&w->next, p));
    }
    return 0;
}

/* Copy `in` with every `from` replaced, for patterns that are not a step's own. */
static void replace(struct span in, struct span from, struct span to, struct buf *out)
{
    const char *p;
    while (from.len && in.len >= from.len && (p = memmem(in.ptr, in.len, from.ptr, from.len))) {
        buf_append(out, in.ptr, (size_t)(p - in.ptr));
        buf_span(out, to);
        in = span_from(in, (size_t)(p - in.ptr) + from.len);
    }
    buf_span(out, in);
}

/* ---- Fuse, ByteLevel ---- */

static int run_fuse(const struct tok_step *s, struct tok_work *w)
{
    size_t total = 0;
    for (size_t i = 0; i < w->now.n; i++)
        total += w->now.at[i].text.len;
    char *all = arena_alloc(&w->mem, total + 1), *p = all;
    if (!all)
        return NUN_ENOMEM;
    for (size_t i = 0; i < w->now.n; i++) {
        struct span text = w->now.at[i].text;
        if (text.len)
            memcpy(p, text.ptr, text.len);
        p += text.len;
    }
    return tok_pieces_push(&w->next, (struct tok_piece){span_of(all, total), -1, true});
}

/* A piece whose characters all belong to the byte-level alphabet is bytes; any other (an added token) is text. */
static int piece_byte_level(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out)
{
    struct span text = w->now.at[at].text;
    for (size_t i = 0; i < text.len;) {
        uint32_t cp;
        i += tok_char_at(text, i, &cp);
        int b = tok_char_byte(cp);
        if (b < 0) {
            buf_reset(out);
            buf_span(out, text);
            break;
        }
        buf_char(out, (char)b);
    }
    return 0;
}

/* All bytes together become one text: characters may reach over pieces. */
static int run_byte_level(const struct tok_step *s, struct tok_work *w)
{
    struct buf *text = &w->joined;
    TRY(rewrite(s, w, piece_byte_level));
    tok_swap_pieces(w);
    TRY(run_fuse(s, w));
    if (w->flags & TOK_RAW_BYTES)
        return 0;
    struct span *all = &w->next.at[0].text;
    if (utf8_valid(all->ptr, all->len))
        return 0;
    buf_reset(text);
    tok_append_lossy(text, *all);
    TRY(buf_error(text));
    char *kept = arena_strndup(&w->mem, buf_cstr(text), text->len);
    *all = span_of(kept, kept ? text->len : 0);
    return kept ? 0 : NUN_ENOMEM;
}

/* ---- Metaspace ---- */

static int piece_metaspace(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out)
{
    bool drop = at == 0 && s->mode != TOK_PREPEND_NEVER;
    replace(w->now.at[at].text, s->a, drop ? (struct span){0} : SPAN(" "), out);
    return 0;
}

static int run_metaspace(const struct tok_step *s, struct tok_work *w)
{
    return rewrite(s, w, piece_metaspace);
}

/* ---- Replace, Strip ---- */

static int parse_replace(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    TRY(tok_json_pattern(t, o, path, s));
    return tok_json_text(t, o, path, "content", &s->b);
}

static int piece_replace(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out)
{
    return tok_replace(s, w, w->now.at[at].text, out);
}

static int run_replace(const struct tok_step *s, struct tok_work *w)
{
    return rewrite(s, w, piece_replace);
}

static int parse_strip(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    TRY(tok_json_text(t, o, path, "content", &s->a));
    TRY(tok_json_size(o, path, "start", &s->start));
    TRY(tok_json_size(o, path, "stop", &s->stop));
    return s->a.len ? 0 : err_set(NUN_EFORMAT, "%s.content: expected a character", path);
}

/* Up to `start` times the character goes from the front of each piece, up to `stop` times from its end. */
static int run_strip(const struct tok_step *s, struct tok_work *w)
{
    for (size_t i = 0; i < w->now.n; i++) {
        struct tok_piece p = w->now.at[i];
        for (size_t k = 0; k < s->start && span_starts(p.text, s->a); k++)
            p.text = span_from(p.text, s->a.len);
        for (size_t k = 0; k < s->stop && span_ends(p.text, s->a); k++)
            p.text.len -= s->a.len;
        TRY(tok_pieces_push(&w->next, p));
    }
    return 0;
}

/* ---- ByteFallback: <0xE2> is a byte ---- */

static int hex_byte(struct span text)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    int value = 0;
    if (text.len != 6 || !span_starts(text, SPAN("<0x")) || text.ptr[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        const char *d = memchr(digits, text.ptr[i], 32);
        if (!d)
            return -1;
        value = 16 * value + (int)((d - digits) % 16);
    }
    return value;
}

/* A run of byte pieces is one character sequence; when it is not UTF-8, each byte is one U+FFFD. A stream asks for the
 * bytes as they are: the run may go on. */
static int flush_bytes(struct tok_work *w, struct span run)
{
    bool keep = (w->flags & TOK_RAW_BYTES) || utf8_valid(run.ptr, run.len);
    if (keep)
        return run.len ? tok_pieces_push(&w->next, (struct tok_piece){run, -1, false}) : 0;
    for (size_t i = 0; i < run.len; i++)
        TRY(tok_pieces_push(&w->next, (struct tok_piece){SPAN("\xef\xbf\xbd"), -1, false}));
    return 0;
}

static int run_byte_fallback(const struct tok_step *s, struct tok_work *w)
{
    char *bytes = arena_alloc(&w->mem, w->now.n + 1);
    size_t n = 0, from = 0;
    if (!bytes)
        return NUN_ENOMEM;
    for (size_t i = 0; i < w->now.n; i++) {
        int b = hex_byte(w->now.at[i].text);
        if (b >= 0) {
            bytes[n++] = (char)b;
            continue;
        }
        TRY(flush_bytes(w, span_of(bytes + from, n - from)));
        from = n;
        TRY(tok_pieces_push(&w->next, w->now.at[i]));
    }
    return flush_bytes(w, span_of(bytes + from, n - from));
}

/* ---- WordPiece, CTC: with the clean-up of blanks that BERT's first tokenizer did ---- */

static int clean_up(struct span in, struct buf *out)
{
    static const char *const rules[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    struct buf from;
    buf_init(&from, MEM_TEXT, out->max);
    buf_span(out, in);
    int rc = buf_error(out);
    for (size_t i = 0; rc == 0 && i < sizeof rules / sizeof *rules; i++) {
        struct buf spare = from;
        from = *out;
        *out = spare;
        buf_reset(out);
        replace(buf_view(&from), span_str(rules[i][0]), span_str(rules[i][1]), out);
        rc = buf_error(out);
    }
    buf_free(&from);
    return rc;
}

static int parse_word_piece(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool cleanup = true;
    TRY(tok_json_text(t, o, path, "prefix", &s->a));
    TRY(tok_json_bool(o, path, "cleanup", &cleanup));
    s->on = cleanup;
    return 0;
}

static int piece_word_piece(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out)
{
    struct span text = w->now.at[at].text, joined = text;
    bool inner = at && s->a.len && span_starts(text, s->a);
    if (inner)
        joined = span_from(text, s->a.len);
    if (at && !inner) {
        char *p = arena_alloc(&w->mem, text.len + 1);
        if (!p)
            return NUN_ENOMEM;
        p[0] = ' ';
        if (text.len)
            memcpy(p + 1, text.ptr, text.len);
        joined = span_of(p, text.len + 1);
    }
    if (s->on)
        return clean_up(joined, out);
    buf_span(out, joined);
    return 0;
}

static int run_word_piece(const struct tok_step *s, struct tok_work *w)
{
    return rewrite(s, w, piece_word_piece);
}

static int parse_ctc(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool cleanup = true;
    TRY(tok_json_text(t, o, path, "pad_token", &s->a));
    TRY(tok_json_text(t, o, path, "word_delimiter_token", &s->b));
    TRY(tok_json_bool(o, path, "cleanup", &cleanup));
    s->on = cleanup;
    return 0;
}

static int piece_ctc(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out)
{
    struct buf padless, clean;
    struct span text = w->now.at[at].text;
    if (at && span_eq(text, w->now.at[at - 1].text))
        return 0; /* the same label again */
    buf_init(&padless, MEM_TEXT, out->max);
    buf_init(&clean, MEM_TEXT, out->max);
    replace(text, s->a, (struct span){0}, &padless);
    int rc = buf_error(&padless);
    if (rc == 0 && s->on)
        rc = clean_up(buf_view(&padless), &clean);
    if (rc == 0)
        rc = buf_error(&clean);
    if (rc == 0)
        replace(buf_view(s->on ? &clean : &padless), s->on ? s->b : (struct span){0}, SPAN(" "), out);
    buf_free(&padless);
    buf_free(&clean);
    return rc;
}

static int run_ctc(const struct tok_step *s, struct tok_work *w)
{
    size_t n = 0;
    TRY(rewrite(s, w, piece_ctc));
    for (size_t i = 0; i < w->next.n; i++)
        if (w->next.at[i].text.len)
            w->next.at[n++] = w->next.at[i];
    w->next.n = n;
    return 0;
}

/* ---- BPEDecoder: a suffix ends words ---- */

static int parse_suffix(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    return tok_json_text(t, o, path, "suffix", &s->a);
}

static int piece_suffix(const struct tok_step *s, struct tok_work *w, size_t at, struct buf *out)
{
    replace(w->now.at[at].text, s->a, at + 1 == w->now.n ? (struct span){0} : SPAN(" "), out);
    return 0;
}

static int run_suffix(const struct tok_step *s, struct tok_work *w)
{
    return rewrite(s, w, piece_suffix);
}

/* ---- the table ---- */

static const struct tok_row rows[] = {
    {"Sequence", NULL, NULL, {0}},
    {"BPEDecoder", "suffix", parse_suffix, {.decode = run_suffix}},
    {"ByteFallback", "", NULL, {.decode = run_byte_fallback}},
    {"ByteLevel", "add_prefix_space trim_offsets use_regex", NULL, {.decode = run_byte_level}},
    {"CTC", "pad_token word_delimiter_token cleanup", parse_ctc, {.decode = run_ctc}},
    {"Fuse", "", NULL, {.decode = run_fuse}},
    {"Metaspace", "replacement add_prefix_space str_rep prepend_scheme split", tok_metaspace_parse, {.decode = run_metaspace}},
    {"Replace", "pattern content", parse_replace, {.decode = run_replace}},
    {"Strip", "content start stop", parse_strip, {.decode = run_strip}},
    {"WordPiece", "prefix cleanup", parse_word_piece, {.decode = run_word_piece}},
    {NULL, NULL, NULL, {0}},
};
const struct tok_stage tok_decoders = {"decoder", "decoders", rows};
