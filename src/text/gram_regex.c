/* Regular expressions in the manner of ECMA-262: what describes a regular language and nothing else. Back
 * references, looking around and word boundaries are refused. A whole text must match when one is a
 * grammar of its own; in JSON Schema a pattern is searched for, see gram_dfa.c. */
/* SPDX-License-Identifier: MIT */
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/gram_int.h"

struct regex {
    struct gram_builder *b;
    struct span text;
    size_t at;
    const char *place;
    uint32_t depth;
    struct gram_vec ranges;      /* of the class being read */
};

static int wrong(const struct regex *p, int code, const char *what)
{
    return err_set(code, "%s: at byte %zu of the expression: %s", p->place, p->at, what);
}

static int peek(const struct regex *p)
{
    return p->at < p->text.len ? (uint8_t)p->text.ptr[p->at] : -1;
}

static bool take(struct regex *p, const char *s)
{
    if (!span_starts(span_from(p->text, p->at), span_str(s)))
        return false;
    p->at += strlen(s);
    return true;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static int add_range(struct regex *p, uint32_t lo, uint32_t hi)
{
    TRY(gram_vec_room(&p->ranges, 1, sizeof(struct cp_range)));
    GRAM_AT(p->ranges, struct cp_range)[p->ranges.n++] = (struct cp_range){lo, hi};
    return 0;
}

static int add_set(struct regex *p, struct cp_set s, bool inverted)
{
    if (inverted)
        TRY(cp_set_invert(&p->b->g->arena, &s, &s));
    for (uint32_t i = 0; i < s.n; i++)
        TRY(add_range(p, s.at[i].lo, s.at[i].hi));
    return 0;
}

static struct cp_range digits[] = {{'0', '9'}};
static struct cp_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static struct cp_range blank[] = {{9, 13}, {32, 32}, {0xa0, 0xa0}, {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029},
                                  {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static struct cp_range line_ends[] = {{10, 10}, {13, 13}, {0x2028, 0x2029}};
static const struct { char letter; struct cp_set set; } shorthands[] = {{'d', {digits, 1}}, {'w', {word, 4}}, {'s', {blank, 10}}};

/* All code points whose category begins with `code`: seen once, kept with the grammar. */
static int collect(const struct regex *p, const char *code, struct cp_set *out)
{
    enum { RANGES_MAX = 4096 }; /* the largest category has some 650 */
    struct cp_set s = {arena_array(&p->b->g->arena, RANGES_MAX, sizeof *s.at), 0};
    if (!s.at)
        return NUN_ENOMEM;
    for (uint32_t cp = 0; cp <= CP_MAX && s.n < RANGES_MAX; cp++) {
        if (strncmp(utf8proc_category_string((utf8proc_int32_t)cp), code, strlen(code)) != 0)
            continue;
        if (s.n && s.at[s.n - 1].hi + 1 == cp)
            s.at[s.n - 1].hi = cp;
        else
            s.at[s.n++] = (struct cp_range){cp, cp};
    }
    return cp_set_make(&p->b->g->arena, s.at, s.n, out);
}

/* General categories, by first letter or both, and a few long names. */
static int category(struct regex *p, bool inverted)
{
    static const struct { const char *name, *code; } names[] = {
        {"Letter", "L"}, {"Lowercase_Letter", "Ll"}, {"Uppercase_Letter", "Lu"}, {"Number", "N"}, {"Decimal_Number", "Nd"}, {"digit", "Nd"},
        {"Punctuation", "P"}, {"Symbol", "S"}, {"Separator", "Z"}, {"Mark", "M"}};
    static const char codes[][3] = {"L", "M", "N", "P", "S", "Z", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd",
                                    "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};
    const char *close = memchr(p->text.ptr + p->at, '}', p->text.len - p->at);
    size_t n = close ? (size_t)(close - (p->text.ptr + p->at)) : 0;
    if (!close || peek(p) != '{')
        return wrong(p, NUN_EFORMAT, "expected {category} behind \\p");
    struct span name = span_of(p->text.ptr + p->at + 1, n - 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (span_is(name, names[i].name))
            name = span_str(names[i].code);
    size_t which = 0, all = sizeof codes / sizeof *codes;
    while (which < all && !span_is(name, codes[which]))
        which++;
    if (which == all)
        return wrong(p, NUN_EUNSUP, "this \\p{...} is not supported: general categories are");
    p->at += n + 1;
    struct cp_set *kept = &p->b->g->category[which];
    if (!kept->n)
        TRY(collect(p, codes[which], kept));
    return add_set(p, *kept, inverted);
}

static int hex(struct regex *p, int min, int max, uint32_t *cp)
{
    int n = 0;
    *cp = 0;
    for (; n < max; n++, p->at++) {
        int c = peek(p), v = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (v < 0)
            break;
        *cp = *cp * 16 + (uint32_t)v;
    }
    return n < min ? wrong(p, NUN_EFORMAT, "expected a hexadecimal digit") : 0;
}

static int unicode(struct regex *p, uint32_t *cp)
{
    uint32_t low;
    if (take(p, "{")) {
        TRY(hex(p, 1, 6, cp));
        return take(p, "}") ? 0 : wrong(p, NUN_EFORMAT, "expected }");
    }
    TRY(hex(p, 4, 4, cp));
    if (*cp >= 0xd800 && *cp <= 0xdbff && take(p, "\\u")) {
        TRY(hex(p, 4, 4, &low));
        *cp = 0x10000 + ((*cp - 0xd800) << 10) + (low - 0xdc00);
    }
    if (*cp > CP_MAX || (*cp >= CP_SURROGATE && *cp < CP_AFTER_SURROGATES))
        return wrong(p, NUN_EUNSUP, "half a surrogate pair");
    return 0;
}

/* Behind a backslash: a set (*is_set, added to the ranges) or one code point. */
static int escape(struct regex *p, bool inside, bool *is_set, uint32_t *cp)
{
    static const char controls[] = "tnvfr0", means[] = "\t\n\v\f\r\0";
    int c = peek(p);
    *is_set = false;
    if (c < 0)
        return wrong(p, NUN_EFORMAT, "a backslash at the end");
    for (size_t i = 0; i < sizeof shorthands / sizeof *shorthands; i++)
        if ((c | 32) == shorthands[i].letter) {
            p->at++;
            *is_set = true;
            return add_set(p, shorthands[i].set, c != shorthands[i].letter);
        }
    p->at++;
    const char *control = strchr(controls, c);
    if (c == 'p' || c == 'P') {
        *is_set = true;
        return category(p, c == 'P');
    }
    if (c == 'x')
        return hex(p, 2, 2, cp);
    if (c == 'u')
        return unicode(p, cp);
    if (c == 'c' && (peek(p) | 32) >= 'a' && (peek(p) | 32) <= 'z') {
        *cp = (uint32_t)(peek(p) & 31);
        p->at++;
        return 0;
    }
    *cp = inside && c == 'b' ? 8 : control ? (uint8_t)means[control - controls] : (uint32_t)c;
    if (control && c == '0' && peek(p) >= '0' && peek(p) <= '9')
        return wrong(p, NUN_EUNSUP, "octal escapes are not supported");
    if (control || (inside && c == 'b') || !((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c >= 0x80))
        return 0;
    return wrong(p, NUN_EUNSUP, c >= '1' && c <= '9' ? "back references are not supported" : "this escape is not supported");
}

static int literal(struct regex *p, uint32_t *cp)
{
    size_t n = utf8_decode(p->text.ptr + p->at, p->text.len - p->at, cp);
    if (!n)
        return wrong(p, NUN_EFORMAT, "this is not UTF-8");
    p->at += n;
    return 0;
}

static int member(struct regex *p, bool *is_set, uint32_t *cp)
{
    if (peek(p) < 0)
        return wrong(p, NUN_EFORMAT, "a [ without ]");
    *is_set = false;
    return take(p, "\\") ? escape(p, true, is_set, cp) : literal(p, cp);
}

static int class(struct regex *p)
{
    bool inverted = take(p, "^"), is_set, to_set;
    struct cp_set s;
    p->ranges.n = 0;
    while (peek(p) != ']') {
        uint32_t lo = 0, hi = 0;
        TRY(member(p, &is_set, &lo));
        hi = lo;
        if (peek(p) == '-' && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] != ']') {
            p->at++;
            TRY(member(p, &to_set, &hi));
            if (is_set || to_set)
                return wrong(p, NUN_EFORMAT, "a range with a set as its end");
        }
        if (hi < lo)
            return wrong(p, NUN_EFORMAT, "a range from great to small");
        if (!is_set)
            TRY(add_range(p, lo, hi));
    }
    p->at++;
    if (!inverted)
        return 0;
    TRY(add_range(p, CP_SURROGATE, CP_SURROGATE)); /* never empty; surrogates fall out */
    TRY(cp_set_make(&p->b->g->arena, p->ranges.at, p->ranges.n, &s));
    p->ranges.n = 0;
    return add_set(p, s, true);
}

/* The ranges gathered as one character. */
static int made(struct regex *p, struct gram_expr **out)
{
    struct cp_range none = {CP_SURROGATE, CP_SURROGATE};
    struct cp_set s;
    TRY(cp_set_make(&p->b->g->arena, p->ranges.n ? p->ranges.at : &none, p->ranges.n ? p->ranges.n : 1, &s));
    *out = ex_class(p->b, &s, GRAM_RAW);
    return p->b->error;
}

/* ---- structure ----------------------------------------------------------------------------- */

static int alternatives(struct regex *p, struct gram_expr **out);

static int group(struct regex *p, struct gram_expr **out)
{
    TRY(limit_check(LIMIT_json_depth, ++p->depth, p->place));
    if (take(p, "?<") && peek(p) != '=' && peek(p) != '!') {
        while (peek(p) >= 0 && peek(p) != '>')
            p->at++;
        p->at++;
    } else if (!take(p, "?:") && (peek(p) == '?' || (p->at >= 2 && p->text.ptr[p->at - 1] == '<'))) {
        return wrong(p, NUN_EUNSUP, "groups with (?= (?! (?<= (?<! and flags are not supported");
    }
    TRY(alternatives(p, out));
    if (!take(p, ")"))
        return wrong(p, NUN_EFORMAT, "a ( without )");
    p->depth--;
    return 0;
}

static int edge(struct regex *p, uint32_t which, struct gram_expr **out)
{
    *out = ex_new(p->b, EX_EDGE);
    if (*out)
        (*out)->a = which;
    return p->b->error;
}

static int atom(struct regex *p, struct gram_expr **out)
{
    bool is_set;
    uint32_t cp = 0;
    p->ranges.n = 0;
    if (take(p, "("))
        return group(p, out);
    if (take(p, "^"))
        return edge(p, 0, out);
    if (take(p, "$"))
        return edge(p, 1, out);
    if (take(p, "[")) {
        TRY(class(p));
        return made(p, out);
    }
    if (take(p, ".")) {
        TRY(add_set(p, (struct cp_set){line_ends, 3}, true));
        return made(p, out);
    }
    if (take(p, "\\")) {
        if (peek(p) == 'b' || peek(p) == 'B')
            return wrong(p, NUN_EUNSUP, "word boundaries are not supported");
        TRY(escape(p, false, &is_set, &cp));
        if (is_set)
            return made(p, out);
    } else {
        if (peek(p) == '*' || peek(p) == '+' || peek(p) == '?')
            return wrong(p, NUN_EFORMAT, "nothing to repeat");
        TRY(literal(p, &cp));
    }
    *out = ex_char(p->b, cp, GRAM_RAW);
    return p->b->error;
}

/* {m}, {m,} or {m,n}; anything else behind { is text, and *found stays false. */
static int braces(struct regex *p, uint32_t *min, uint32_t *max, bool *found)
{
    uint64_t v[2] = {0, 0};
    size_t at = p->at + 1, digits_of[2] = {0, 0};
    int which = 0;
    for (; at < p->text.len; at++) {
        char c = p->text.ptr[at];
        if (c == ',' && !which)
            which = 1;
        else if (c >= '0' && c <= '9' && v[which] < 1000000000)
            v[which] = v[which] * 10 + (uint64_t)(c - '0'), digits_of[which]++;
        else
            break;
    }
    *found = at < p->text.len && p->text.ptr[at] == '}' && digits_of[0];
    if (!*found)
        return 0;
    *min = (uint32_t)v[0];
    *max = !which ? *min : digits_of[1] ? (uint32_t)v[1] : REPEAT_FOREVER;
    if (v[0] > INT32_MAX || v[1] > INT32_MAX || *max < *min)
        return wrong(p, NUN_EFORMAT, "a repetition that is out of order or too great");
    p->at = at + 1;
    return 0;
}

static int repeated(struct regex *p, struct gram_expr **e)
{
    uint32_t min = 0, max = REPEAT_FOREVER;
    bool found = true;
    if (take(p, "+")) {
        min = 1;
    } else if (take(p, "?")) {
        max = 1;
    } else if (peek(p) == '{') {
        TRY(braces(p, &min, &max, &found));
        if (!found)
            return 0;
    } else if (!take(p, "*")) {
        return 0;
    }
    if ((*e)->kind == EX_EDGE)
        return wrong(p, NUN_EFORMAT, "a repeated anchor");
    take(p, "?"); /* as few as possible: the same texts */
    if (peek(p) == '*' || peek(p) == '+' || peek(p) == '?')
        return wrong(p, NUN_EUNSUP, "a repetition of a repetition needs a group");
    *e = ex_repeat(p->b, *e, min, max);
    return p->b->error;
}

static int alternatives(struct regex *p, struct gram_expr **out)
{
    struct gram_expr *e, *seq;
    *out = ex_new(p->b, EX_ALT);
    do {
        seq = ex_new(p->b, EX_SEQ);
        while (peek(p) >= 0 && peek(p) != '|' && peek(p) != ')') {
            TRY(atom(p, &e));
            TRY(repeated(p, &e));
            ex_add(p->b, seq, e);
        }
        ex_add(p->b, *out, seq);
        TRY(p->b->error);
    } while (take(p, "|"));
    return 0;
}

int regex_parse(struct gram_builder *b, struct span text, const char *place, struct gram_expr **out)
{
    struct regex p = {.b = b, .text = text, .place = place};
    int rc = limit_check(LIMIT_grammar_bytes, text.len, place);
    if (rc >= 0)
        rc = alternatives(&p, out);
    if (rc >= 0 && peek(&p) >= 0)
        rc = wrong(&p, NUN_EFORMAT, "a ) without (");
    mem_free(p.ranges.at);
    return rc;
}

/* ---- a grammar of its own ------------------------------------------------------------------ */

/* Up to here all members of a sequence are at its start: only ^ stands before. */
static const struct gram_expr *start_of(const struct gram_expr *e)
{
    const struct gram_expr *found = e->last;
    for (const struct gram_expr *c = e->kind == EX_SEQ ? e->last : NULL; c; c = c->prev)
        if (c->kind != EX_EDGE || c->a)
            found = c;
    return found;
}

/* Anchors at the ends say what holds anyway; elsewhere they are refused. Depth as parsed. */
static int drop_edges(struct gram_expr *e, bool first, bool last, const char *place)
{
    if (e->kind == EX_EDGE) {
        if (e->a ? !last : !first)
            return err_set(NUN_EUNSUP, "%s: an anchor in the middle of the expression is not supported", place);
        e->kind = EX_EMPTY;
        return 0;
    }
    const struct gram_expr *start = start_of(e);
    bool ahead = false, behind = e->kind != EX_REPEAT && last;
    for (struct gram_expr *c = e->last; c; c = c->prev) {
        ahead = ahead || (c == start && e->kind != EX_REPEAT && first);
        TRY(drop_edges(c, ahead, behind, place));
        behind = behind && (e->kind != EX_SEQ || c->kind == EX_EMPTY);
    }
    return 0;
}

int grammar_from_regex(struct span text, const char *place, struct grammar **out)
{
    struct gram_builder b;
    struct gram_expr *e;
    uint32_t root = 0;
    int rc = gram_builder_start(&b);
    if (rc >= 0) {
        root = gram_new_rule(&b, "root");
        rc = b.error ? b.error : regex_parse(&b, text, place, &e);
    }
    if (rc >= 0)
        rc = drop_edges(e, true, true, place);
    if (rc < 0) {
        gram_builder_drop(&b);
        return rc;
    }
    gram_rule_at(b.g, root)->body = e;
    return gram_builder_finish(&b, root, place, out);
}
