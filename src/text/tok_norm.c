/* Normalizers: text in, text out, one row a type. They see the text between added tokens. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

/* ---- Prepend, Replace, Strip ---- */

static int parse_prepend(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    return tok_json_text(t, o, path, "prepend", &s->a);
}

static int run_prepend(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    if (in.len)
        buf_span(out, s->a);
    buf_span(out, in);
    return 0;
}

static int parse_replace(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    TRY(tok_json_pattern(t, o, path, s));
    return tok_json_text(t, o, path, "content", &s->b);
}

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };

static int parse_strip(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool left = true, right = true;
    TRY(tok_json_bool(o, path, "strip_left", &left));
    TRY(tok_json_bool(o, path, "strip_right", &right));
    s->on = (left ? STRIP_LEFT : 0) | (right ? STRIP_RIGHT : 0);
    return 0;
}

static int run_strip(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    size_t from = 0, to = 0;
    bool leading = s->on & STRIP_LEFT;
    for (size_t i = 0, len; i < in.len; i += len) {
        uint32_t cp;
        len = tok_char_at(in, i, &cp);
        bool space = tok_is_space(cp);
        leading = leading && space;
        if (leading)
            from = i + len;
        if (!space || !(s->on & STRIP_RIGHT))
            to = i + len;
    }
    if (to > from)
        buf_append(out, in.ptr + from, to - from);
    return 0;
}

/* ---- Unicode forms ---- */

struct code_points { int32_t *at; size_t n, cap; };

static int decompose(struct span in, int options, struct code_points *out)
{
    int bound = 0; /* grapheme state, not asked for */
    for (size_t i = 0; i < in.len;) {
        uint32_t cp;
        i += tok_char_at(in, i, &cp);
        utf8proc_ssize_t n = 0;
        while ((n = utf8proc_decompose_char((int32_t)cp, out->at ? out->at + out->n : &(int32_t){0},
                                            (utf8proc_ssize_t)(out->cap - out->n), (utf8proc_option_t)options, &bound)) >
               (utf8proc_ssize_t)(out->cap - out->n)) {
            size_t cap = 2 * out->cap + in.len + 32;
            int32_t *grown = mem_realloc(MEM_TEXT, out->at, (cap + 1) * sizeof *grown);
            if (!grown)
                return NUN_ENOMEM;
            out->at = grown;
            out->cap = cap;
        }
        if (n < 0)
            return err_set(NUN_EFORMAT, "Unicode normal form: %s", utf8proc_errmsg(n));
        out->n += (size_t)n;
    }
    return 0;
}

static unsigned combining(int32_t cp)
{
    return (unsigned)utf8proc_get_property(cp)->combining_class & 0xff;
}

/* Sort a run of marks by combining class, stable: by counting, since a hostile run may be the whole text. */
static int order_run(int32_t *at, size_t n)
{
    size_t start[257] = {0};
    int32_t few[64], *copy = n <= 64 ? few : mem_alloc(MEM_TEXT, n * sizeof *copy);
    if (!copy)
        return NUN_ENOMEM;
    memcpy(copy, at, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        start[combining(at[i]) + 1]++;
    for (size_t c = 1; c < 257; c++)
        start[c] += start[c - 1];
    for (size_t i = 0; i < n; i++)
        at[start[combining(copy[i])]++] = copy[i];
    if (copy != few)
        mem_free(copy);
    return 0;
}

static int order_marks(struct code_points *c)
{
    for (size_t i = 0, to; i < c->n; i = to + 1) {
        for (to = i; to < c->n && combining(c->at[to]); to++)
            ;
        if (to - i > 1)
            TRY(order_run(c->at + i, to - i));
    }
    return 0;
}

static bool is_ascii(struct span s)
{
    unsigned char any = 0;
    for (size_t i = 0; i < s.len; i++)
        any |= (unsigned char)s.ptr[i];
    return any < 0x80;
}

static int normal_form(struct span in, int options, struct buf *out)
{
    struct code_points c = {0};
    if (is_ascii(in)) {
        buf_span(out, in);
        return 0;
    }
    int rc = decompose(in, (options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE, &c);
    if (rc == 0)
        rc = order_marks(&c);
    if (rc == 0 && (options & UTF8PROC_COMPOSE))
        c.n = (size_t)utf8proc_normalize_utf32(c.at, (utf8proc_ssize_t)c.n, (utf8proc_option_t)options);
    for (size_t i = 0; rc == 0 && i < c.n; i++)
        tok_append_char(out, (uint32_t)c.at[i]);
    mem_free(c.at);
    return rc;
}

static int run_nfc(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return normal_form(in, UTF8PROC_STABLE | UTF8PROC_COMPOSE, out);
}

static int run_nfd(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return normal_form(in, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, out);
}

static int run_nfkc(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return normal_form(in, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, out);
}

static int run_nfkd(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return normal_form(in, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, out);
}

/* ---- character by character ---- */

/* What becomes of one character: appended to `out`, or not. */
typedef void char_fn(uint32_t cp, struct buf *out);

static int map_chars(struct span in, char_fn *fn, struct buf *out)
{
    for (size_t i = 0; i < in.len;) {
        uint32_t cp;
        i += tok_char_at(in, i, &cp);
        fn(cp, out);
    }
    return 0;
}

static void lower(uint32_t cp, struct buf *out)
{
    if (cp == 0x130)
        buf_str(out, "i\xcc\x87"); /* the one letter whose lower case is two characters */
    else
        tok_append_char(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

static void drop_marks(uint32_t cp, struct buf *out)
{
    if (!tok_is(cp, TOK_MARKS))
        tok_append_char(out, cp);
}

static void drop_nonspacing(uint32_t cp, struct buf *out)
{
    if (!tok_is(cp, TOK_CAT(MN)))
        tok_append_char(out, cp);
}

static void clean(uint32_t cp, struct buf *out)
{
    bool blank = cp == '\t' || cp == '\n' || cp == '\r';
    if (cp == 0xfffd || (!blank && tok_is(cp, TOK_OTHERS)))
        return;
    tok_append_char(out, blank || tok_is_space(cp) ? ' ' : cp);
}

static void space_han(uint32_t cp, struct buf *out)
{
    /* As BERT lists them; the sixth block begins at 2B920 there, not at 2B820. */
    static const uint32_t blocks[][2] = {{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
        {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff}, {0x2f800, 0x2fa1f}};
    bool han = false;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        han = han || (cp >= blocks[i][0] && cp <= blocks[i][1]);
    if (han)
        buf_char(out, ' ');
    tok_append_char(out, cp);
    if (han)
        buf_char(out, ' ');
}

/* Controls go, odd blanks become a blank: the rules of the NMT systems before SentencePiece. */
static void nmt(uint32_t cp, struct buf *out)
{
    bool gone = (cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) || cp == 0x7f || cp == 0x8f || cp == 0x9f;
    bool blank = cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 || (cp >= 0x200b && cp <= 0x200f) ||
                 cp == 0x2028 || cp == 0x2029 || cp == 0x2581 || cp == 0xfeff || cp == 0xfffd;
    if (!gone)
        tok_append_char(out, blank ? ' ' : cp);
}

static int run_lowercase(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return map_chars(in, lower, out);
}

static int run_strip_accents(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return map_chars(in, drop_marks, out);
}

static int run_nmt(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    return map_chars(in, nmt, out);
}

static int run_byte_level(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++)
        tok_append_char(out, tok_byte_char((unsigned char)in.ptr[i]));
    return 0;
}

/* ---- BertNormalizer ---- */

enum { BERT_CLEAN = 1, BERT_HAN = 2, BERT_ACCENTS = 4, BERT_LOWER = 8 };

static int parse_bert(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool clean_text = true, han = true, lowercase = true, accents;
    TRY(tok_json_bool(o, path, "clean_text", &clean_text));
    TRY(tok_json_bool(o, path, "handle_chinese_chars", &han));
    TRY(tok_json_bool(o, path, "lowercase", &lowercase));
    accents = lowercase; /* unless told otherwise */
    TRY(tok_json_bool(o, path, "strip_accents", &accents));
    s->on = (clean_text ? BERT_CLEAN : 0) | (han ? BERT_HAN : 0) | (accents ? BERT_ACCENTS : 0) | (lowercase ? BERT_LOWER : 0);
    return 0;
}

static int nfd_chars(struct span in, struct buf *out)
{
    struct buf decomposed;
    buf_init(&decomposed, MEM_TEXT, out->max);
    int rc = normal_form(in, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &decomposed);
    if (rc == 0)
        rc = buf_error(&decomposed);
    if (rc == 0)
        rc = map_chars(buf_view(&decomposed), drop_nonspacing, out);
    buf_free(&decomposed);
    return rc;
}

static int bert_pass(unsigned pass, struct span in, struct buf *out)
{
    switch (pass) {
    case BERT_CLEAN: return map_chars(in, clean, out);
    case BERT_HAN: return map_chars(in, space_han, out);
    case BERT_ACCENTS: return nfd_chars(in, out);
    default: return map_chars(in, lower, out);
    }
}

static int run_bert(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    struct buf from;
    int rc = 0;
    buf_init(&from, MEM_TEXT, out->max);
    buf_span(out, in);
    for (unsigned pass = BERT_CLEAN; rc == 0 && pass <= BERT_LOWER; pass *= 2) {
        if (!(s->on & pass))
            continue;
        struct buf spare = from;
        from = *out;
        *out = spare;
        buf_reset(out);
        rc = bert_pass(pass, buf_view(&from), out);
        if (rc == 0)
            rc = buf_error(&from);
    }
    buf_free(&from);
    return rc;
}

/* ---- the table ---- */

static const struct tok_row rows[] = {
    {"Sequence", NULL, NULL, {0}},
    {"BertNormalizer", "clean_text handle_chinese_chars strip_accents lowercase", parse_bert, {.normalize = run_bert}},
    {"ByteLevel", "", NULL, {.normalize = run_byte_level}},
    {"Lowercase", "", NULL, {.normalize = run_lowercase}},
    {"NFC", "", NULL, {.normalize = run_nfc}},
    {"NFD", "", NULL, {.normalize = run_nfd}},
    {"NFKC", "", NULL, {.normalize = run_nfkc}},
    {"NFKD", "", NULL, {.normalize = run_nfkd}},
    {"Nmt", "", NULL, {.normalize = run_nmt}},
    {"Precompiled", "precompiled_charsmap graphemes", tok_charsmap_parse, {.normalize = tok_charsmap_run}},
    {"Prepend", "prepend", parse_prepend, {.normalize = run_prepend}},
    {"Replace", "pattern content", parse_replace, {.normalize = tok_replace}},
    {"Strip", "strip_left strip_right", parse_strip, {.normalize = run_strip}},
    {"StripAccents", "", NULL, {.normalize = run_strip_accents}},
    {NULL, NULL, NULL, {0}},
};
const struct tok_stage tok_normalizers = {"normalizer", "normalizers", rows};

static int keep(struct tok_work *w, struct span in, struct span *out)
{
    char *kept = arena_strndup(&w->mem, in.len ? in.ptr : "", in.len);
    *out = span_of(kept, in.len);
    return kept ? 0 : NUN_ENOMEM;
}

int tok_normalize(const struct tok_steps *steps, struct tok_work *w, struct span in, struct span *out)
{
    struct buf turns[2]; /* each step reads what the one before it wrote */
    size_t most = LIMIT_OF(text_growth) * in.len + LIMIT_OF(token_bytes);
    int rc = 0;
    for (int i = 0; i < 2; i++)
        buf_init(&turns[i], MEM_TEXT, most);
    for (size_t i = 0; rc == 0 && i < steps->n; i++) {
        struct buf *b = &turns[i % 2];
        buf_reset(b);
        rc = steps->at[i].row->run.normalize(&steps->at[i], w, in, b);
        if (rc == 0)
            rc = buf_error(b);
        in = buf_view(b);
    }
    if (rc == 0 && !steps->n)
        *out = in;
    else if (rc == 0)
        rc = keep(w, in, out);
    for (int i = 0; i < 2; i++)
        buf_free(&turns[i]);
    return rc;
}
