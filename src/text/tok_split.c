/* Pre-tokenizers: pieces in, finer pieces out, one row a type. Pieces that are tokens already pass. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

/* ---- the five ways to treat what matched ---- */

/* One cut of a piece: pieces go to w->next, joined as the behaviour says. */
struct cutter {
    struct tok_work *w;
    struct tok_piece in;
    int behavior;
    bool invert;
    size_t base;   /* w->next.n at the start */
    bool previous; /* was the last part a match? */
};

static int push_part(struct cutter *c, size_t from, size_t to)
{
    struct tok_piece p = {span_of(c->in.text.ptr + from, to - from), -1, c->in.first && from == 0};
    return tok_pieces_push(&c->w->next, p);
}

/* The next part [from, to) of the text; `match` after inversion decides what becomes of it. */
static int add_part(struct cutter *c, size_t from, size_t to, bool match)
{
    struct tok_pieces *next = &c->w->next;
    bool any = next->n > c->base, join = false;
    switch ((enum tok_behavior)c->behavior) {
    case TOK_ISOLATED: break;
    case TOK_REMOVED:
        if (match)
            return 0;
        break;
    case TOK_MERGED_WITH_PREVIOUS: join = any && match && !c->previous; break;
    case TOK_MERGED_WITH_NEXT: join = any && c->previous && !match; break;
    case TOK_CONTIGUOUS: join = any && match == c->previous; break;
    }
    c->previous = match;
    if (!join)
        return push_part(c, from, to);
    next->at[next->n - 1].text.len += to - from;
    return 0;
}

static struct cutter cutter_of(struct tok_work *w, struct tok_piece in, int behavior, bool invert)
{
    return (struct cutter){w, in, behavior, invert, w->next.n, false};
}

static void drop_empty(struct cutter *c)
{
    struct tok_pieces *next = &c->w->next;
    size_t n = c->base;
    for (size_t i = c->base; i < next->n; i++)
        if (next->at[i].text.len)
            next->at[n++] = next->at[i];
    next->n = n;
}

/* Cut one piece at the matches of a step's pattern. An empty match is a part too, until the end: it keeps its
 * neighbours apart. */
static int cut_pattern(const struct tok_step *s, struct cutter *c)
{
    struct span text = c->in.text;
    struct tok_scan scan = {0};
    size_t done = 0;
    bool empty = false;
    int rc;
    while ((rc = tok_scan_next(s, c->w, text, &scan)) > 0) {
        if (scan.from > done)
            TRY(add_part(c, done, scan.from, c->invert));
        TRY(add_part(c, scan.from, scan.to, !c->invert));
        empty = empty || scan.from == scan.to;
        done = scan.to;
    }
    if (rc == 0 && done < text.len)
        rc = add_part(c, done, text.len, c->invert);
    if (empty)
        drop_empty(c);
    return rc;
}

/* Every character of a class is a match by itself. */
static int cut_chars(struct cutter *c, bool (*is)(uint32_t))
{
    struct span text = c->in.text;
    size_t done = 0;
    for (size_t i = 0, len; i < text.len; i += len) {
        uint32_t cp;
        len = tok_char_at(text, i, &cp);
        if (!is(cp))
            continue;
        if (i > done)
            TRY(add_part(c, done, i, false));
        TRY(add_part(c, i, i + len, true));
        done = i + len;
    }
    return done < text.len ? add_part(c, done, text.len, false) : 0;
}

/* Run `cut` on every piece of text. */
typedef int cut_fn(const struct tok_step *s, struct cutter *c);

static int each(const struct tok_step *s, struct tok_work *w, int behavior, bool invert, cut_fn *cut)
{
    for (size_t i = 0; i < w->now.n; i++) {
        if (w->now.at[i].id >= 0) {
            TRY(tok_pieces_push(&w->next, w->now.at[i]));
            continue;
        }
        struct cutter c = cutter_of(w, w->now.at[i], behavior, invert);
        TRY(cut(s, &c));
    }
    return 0;
}

/* ---- Split ---- */

static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous", NULL};

static int parse_split(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool invert = false;
    TRY(tok_json_pattern(t, o, path, s));
    TRY(tok_json_word(o, path, "behavior", behaviors, &s->mode));
    TRY(tok_json_bool(o, path, "invert", &invert));
    s->on = invert;
    return 0;
}

static int run_split(const struct tok_step *s, struct tok_work *w)
{
    return each(s, w, s->mode, s->on, cut_pattern);
}

/* ---- ByteLevel ---- */

enum { ADD_PREFIX_SPACE = 1, USE_REGEX = 2 };
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static int parse_byte_level(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool prefix = true, regex = true, trim = true;
    TRY(tok_json_bool(o, path, "add_prefix_space", &prefix));
    TRY(tok_json_bool(o, path, "use_regex", &regex));
    TRY(tok_json_bool(o, path, "trim_offsets", &trim)); /* offsets into the text are not kept here */
    s->on = (prefix ? ADD_PREFIX_SPACE : 0) | (regex ? USE_REGEX : 0);
    return regex ? tok_regex_add(t, span_str(gpt2_pattern), path, &s->regex) : 0;
}

static int prefixed(struct tok_work *w, struct span prefix, struct span in, struct span *out)
{
    char *p = arena_alloc(&w->mem, prefix.len + in.len + 1);
    if (!p)
        return NUN_ENOMEM;
    memcpy(p, prefix.ptr, prefix.len);
    memcpy(p + prefix.len, in.ptr, in.len);
    *out = span_of(p, prefix.len + in.len);
    return 0;
}

static int cut_byte_level(const struct tok_step *s, struct cutter *c)
{
    if ((s->on & ADD_PREFIX_SPACE) && !span_starts(c->in.text, SPAN(" ")))
        TRY(prefixed(c->w, SPAN(" "), c->in.text, &c->in.text));
    return s->on & USE_REGEX ? cut_pattern(s, c) : push_part(c, 0, c->in.text.len);
}

/* Spell every byte of the pieces in w->next in the byte-level alphabet, in one block. */
static int spell_bytes(struct tok_work *w)
{
    char spelled[256][4];
    size_t len[256], total = 0;
    for (int b = 0; b < 256; b++)
        len[b] = utf8_encode(tok_byte_char((unsigned char)b), spelled[b]);
    for (size_t i = 0; i < w->next.n; i++)
        total += w->next.at[i].id < 0 ? w->next.at[i].text.len : 0;
    char *p = arena_array(&w->mem, total + 1, 2);
    if (!p)
        return NUN_ENOMEM;
    for (size_t i = 0; i < w->next.n; i++) {
        struct tok_piece *piece = &w->next.at[i];
        if (piece->id >= 0)
            continue;
        char *start = p;
        for (size_t k = 0; k < piece->text.len; k++) {
            unsigned char b = (unsigned char)piece->text.ptr[k];
            p[0] = spelled[b][0];
            p[1] = spelled[b][1];
            p += len[b];
        }
        piece->text = span_of(start, (size_t)(p - start));
    }
    return 0;
}

static int run_byte_level(const struct tok_step *s, struct tok_work *w)
{
    TRY(each(s, w, TOK_ISOLATED, false, cut_byte_level));
    return spell_bytes(w);
}

/* ---- by class of character ---- */

static int cut_spaces(const struct tok_step *s, struct cutter *c)
{
    return cut_chars(c, tok_is_space);
}

static int cut_numbers(const struct tok_step *s, struct cutter *c)
{
    return cut_chars(c, tok_is_number);
}

static int cut_punctuation(const struct tok_step *s, struct cutter *c)
{
    return cut_chars(c, tok_is_punctuation);
}

static int run_whitespace_split(const struct tok_step *s, struct tok_work *w)
{
    return each(s, w, TOK_REMOVED, false, cut_spaces);
}

static int run_bert(const struct tok_step *s, struct tok_work *w)
{
    TRY(each(s, w, TOK_REMOVED, false, cut_spaces));
    tok_swap_pieces(w);
    return each(s, w, TOK_ISOLATED, false, cut_punctuation);
}

static int parse_digits(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool individual = false;
    TRY(tok_json_bool(o, path, "individual_digits", &individual));
    s->mode = individual ? TOK_ISOLATED : TOK_CONTIGUOUS;
    return 0;
}

static int run_digits(const struct tok_step *s, struct tok_work *w)
{
    return each(s, w, s->mode, false, cut_numbers);
}

static int parse_punctuation(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    return tok_json_word(o, path, "behavior", behaviors, &s->mode);
}

static int run_punctuation(const struct tok_step *s, struct tok_work *w)
{
    return each(s, w, s->mode, false, cut_punctuation);
}

/* ---- Whitespace, CharDelimiterSplit, FixedLength ---- */

/* \w as Rust's regexes have it. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"

static int parse_whitespace(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    s->mode = TOK_REMOVED;
    s->on = true; /* what the pattern does not match goes */
    return tok_regex_add(t, SPAN("[" WORD "]+|[^" WORD "\\s]+"), path, &s->regex);
}

static int parse_delimiter(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    s->mode = TOK_REMOVED;
    return tok_json_text(t, o, path, "delimiter", &s->a);
}

static int parse_length(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    s->start = 5;
    TRY(tok_json_size(o, path, "length", &s->start));
    return s->start ? 0 : err_set(NUN_EFORMAT, "%s.length: expected at least 1", path);
}

static int cut_length(const struct tok_step *s, struct cutter *c)
{
    struct span text = c->in.text;
    size_t from = 0, chars = 0;
    for (size_t i = 0; i < text.len;) {
        uint32_t cp;
        i += tok_char_at(text, i, &cp);
        if (++chars < s->start && i < text.len)
            continue;
        TRY(push_part(c, from, i));
        from = i;
        chars = 0;
    }
    return 0;
}

static int run_length(const struct tok_step *s, struct tok_work *w)
{
    return each(s, w, TOK_ISOLATED, false, cut_length);
}

/* ---- Metaspace: blanks become a visible mark, which begins words ---- */

static const char *const schemes[] = {"never", "first", "always", NULL};

int tok_metaspace_parse(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    bool prefix = true, split = true;
    TRY(tok_json_text(t, o, path, "replacement", &s->a));
    TRY(tok_json_bool(o, path, "add_prefix_space", &prefix)); /* the older spelling of prepend_scheme */
    TRY(tok_json_bool(o, path, "split", &split));
    s->mode = prefix ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    TRY(tok_json_word(o, path, "prepend_scheme", schemes, &s->mode));
    s->on = split;
    return s->a.len ? 0 : err_set(NUN_EFORMAT, "%s.replacement: expected a character", path);
}

static int cut_metaspace(const struct tok_step *s, struct cutter *c)
{
    struct span in = c->in.text, mark = s->a;
    char *p = arena_array(&c->w->mem, in.len + 1, mark.len);
    size_t n = 0;
    if (!p)
        return NUN_ENOMEM;
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] != ' ') {
            p[n++] = in.ptr[i];
            continue;
        }
        memcpy(p + n, mark.ptr, mark.len);
        n += mark.len;
    }
    c->in.text = span_of(p, n);
    bool wanted = s->mode == TOK_PREPEND_ALWAYS || (s->mode == TOK_PREPEND_FIRST && c->in.first);
    if (wanted && !span_starts(c->in.text, mark))
        TRY(prefixed(c->w, mark, c->in.text, &c->in.text));
    return s->on ? cut_pattern(s, c) : push_part(c, 0, c->in.text.len);
}

static int run_metaspace(const struct tok_step *s, struct tok_work *w)
{
    return each(s, w, TOK_MERGED_WITH_NEXT, false, cut_metaspace);
}

/* ---- the table ---- */

static const struct tok_row rows[] = {
    {"Sequence", NULL, NULL, {0}},
    {"BertPreTokenizer", "", NULL, {.split = run_bert}},
    {"ByteLevel", "add_prefix_space trim_offsets use_regex", parse_byte_level, {.split = run_byte_level}},
    {"CharDelimiterSplit", "delimiter", parse_delimiter, {.split = run_split}},
    {"Digits", "individual_digits", parse_digits, {.split = run_digits}},
    {"FixedLength", "length", parse_length, {.split = run_length}},
    {"Metaspace", "replacement add_prefix_space str_rep prepend_scheme split", tok_metaspace_parse, {.split = run_metaspace}},
    {"Punctuation", "behavior", parse_punctuation, {.split = run_punctuation}},
    {"Split", "pattern behavior invert", parse_split, {.split = run_split}},
    {"Whitespace", "", parse_whitespace, {.split = run_split}},
    {"WhitespaceSplit", "", NULL, {.split = run_whitespace_split}},
    {NULL, NULL, NULL, {0}},
};
const struct tok_stage tok_splitters = {"pre_tokenizer", "pretokenizers", rows};
