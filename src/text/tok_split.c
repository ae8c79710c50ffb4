/* Pre-tokenizers: pieces in, finer pieces out, one row a type. Pieces that are tokens already pass. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

int tok_pieces_push(struct tok_pieces *p, struct tok_piece piece)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct tok_piece *grown = mem_realloc(MEM_TEXT, p->at, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        p->at = grown;
        p->cap = cap;
    }
    p->at[p->n++] = piece;
    return 0;
}

int tok_find(const struct tok_step *s, struct tok_work *w, struct span text, size_t at, size_t *from, size_t *to)
{
    if (s->regex) {
        if (!w->match)
            TRY(tok_match_create(&w->match));
        return tok_regex_find(s->regex, w->match, text, at, from, to);
    }
    if (at >= text.len || !s->a.len)
        return 0;
    const char *p = memmem(text.ptr + at, text.len - at, s->a.ptr, s->a.len);
    if (!p)
        return 0;
    *from = (size_t)(p - text.ptr);
    *to = *from + s->a.len;
    return 1;
}

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
    if (from == to)
        return 0;
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

/* Cut one piece at the matches of a step's pattern. */
static int cut_pattern(const struct tok_step *s, struct cutter *c)
{
    struct span text = c->in.text;
    size_t done = 0;
    for (size_t at = 0, from, to; at < text.len;) {
        int rc = tok_find(s, c->w, text, at, &from, &to);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        TRY(add_part(c, done, from, c->invert));
        TRY(add_part(c, from, to, !c->invert));
        done = to;
        at = to;
        if (to == from) { /* step over one character */
            at++;
            while (at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
                at++;
        }
    }
    return add_part(c, done, text.len, c->invert);
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

static const struct tok_row rows[] = {
    {"Sequence", NULL, NULL, {0}},
    {"ByteLevel", "add_prefix_space trim_offsets use_regex", parse_byte_level, {.split = run_byte_level}},
    {"Split", "pattern behavior invert", parse_split, {.split = run_split}},
    {NULL},
};
const struct tok_stage tok_splitters = {"pre_tokenizer", "pretokenizers", rows};
