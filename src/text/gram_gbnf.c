/* GBNF: rules `name ::= alternatives`, literals, character classes, repetitions, groups, comments. The rule
 * `root` is what a text must be. A rule ends where its line ends outside of parentheses. */
/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "base/utf8.h"
#include "text/gram_int.h"

struct names { struct { uint32_t rule; uint32_t used; } *slot; uint32_t cap, n; };

struct gbnf {
    struct gram_builder b;
    struct span text;
    size_t at;
    const char *place;
    struct names names;
    struct gram_vec used_at;     /* size_t, one a rule: where it was first spoken of */
    uint32_t depth;
};

static int wrong(const struct gbnf *p, const char *expected)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < p->at && i < p->text.len; i++) {
        column = p->text.ptr[i] == '\n' ? 1 : column + 1;
        line += p->text.ptr[i] == '\n';
    }
    if (p->at >= p->text.len)
        return err_set(NUN_EFORMAT, "%s:%zu:%zu: expected %s, found the end", p->place, line, column, expected);
    return err_set(NUN_EFORMAT, "%s:%zu:%zu: expected %s, found '%c'", p->place, line, column, expected, p->text.ptr[p->at]);
}

/* ---- letters ------------------------------------------------------------------------------- */

static int peek(const struct gbnf *p)
{
    return p->at < p->text.len ? (uint8_t)p->text.ptr[p->at] : -1;
}

static bool take(struct gbnf *p, const char *s)
{
    if (!span_starts(span_from(p->text, p->at), span_str(s)))
        return false;
    p->at += strlen(s);
    return true;
}

static void skip(struct gbnf *p, bool lines)
{
    for (int c; (c = peek(p)) >= 0; p->at++) {
        if (c == '#')
            while (peek(p) >= 0 && peek(p) != '\n' && peek(p) != '\r')
                p->at++;
        c = peek(p);
        if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
            return;
    }
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static int hex(struct gbnf *p, int digits, uint32_t *cp)
{
    *cp = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        int c = peek(p), v = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (v < 0)
            return wrong(p, "a hexadecimal digit");
        *cp = *cp * 16 + (uint32_t)v;
    }
    if (*cp > CP_MAX || (*cp >= CP_SURROGATE && *cp < CP_AFTER_SURROGATES))
        return wrong(p, "a code point of Unicode before this place");
    return 0;
}

static int one_char(struct gbnf *p, uint32_t *cp)
{
    static const char letters[] = "nrt\\\"[]", means[] = "\n\r\t\\\"[]";
    if (peek(p) == '\\') {
        p->at++;
        int c = peek(p);
        const char *known = c > 0 ? strchr(letters, c) : NULL;
        int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (!known && !digits)
            return wrong(p, "one of x u U n r t \\ \" [ ] behind a backslash");
        p->at++;
        if (digits)
            return hex(p, digits, cp);
        *cp = (uint8_t)means[known - letters];
        return 0;
    }
    size_t n = p->at < p->text.len ? utf8_decode(p->text.ptr + p->at, p->text.len - p->at, cp) : 0;
    if (!n)
        return wrong(p, "a character in UTF-8");
    p->at += n;
    return 0;
}

/* ---- names --------------------------------------------------------------------------------- */

static int more_names(struct gbnf *p)
{
    struct names *t = &p->names, old = *t;
    t->cap = old.cap ? old.cap * 2 : 64;
    t->slot = mem_calloc(MEM_TEXT, t->cap, sizeof *t->slot);
    if (!t->slot) {
        *t = old;
        return NUN_ENOMEM;
    }
    for (uint32_t i = 0; i < old.cap; i++) {
        if (!old.slot[i].used)
            continue;
        struct span name = span_str(gram_rule_at(p->b.g, old.slot[i].rule)->name);
        uint32_t h = (uint32_t)hash64(name.ptr, name.len, 0) & (t->cap - 1);
        while (t->slot[h].used)
            h = (h + 1) & (t->cap - 1);
        t->slot[h] = old.slot[i];
    }
    mem_free(old.slot);
    return 0;
}

static int rule_of(struct gbnf *p, struct span name, uint32_t *out)
{
    if (p->names.n * 2 >= p->names.cap)
        TRY(more_names(p));
    uint32_t h = (uint32_t)hash64(name.ptr, name.len, 0) & (p->names.cap - 1);
    for (; p->names.slot[h].used; h = (h + 1) & (p->names.cap - 1)) {
        *out = p->names.slot[h].rule;
        if (span_is(name, gram_rule_at(p->b.g, *out)->name))
            return 0;
    }
    char *copy = arena_strndup(&p->b.g->arena, name.ptr, name.len);
    if (!copy)
        return NUN_ENOMEM;
    *out = gram_new_rule(&p->b, copy);
    TRY(p->b.error);
    p->names.slot[h].rule = *out;
    p->names.slot[h].used = 1;
    p->names.n++;
    TRY(gram_vec_room(&p->used_at, 1, sizeof(size_t)));
    GRAM_AT(p->used_at, size_t)[p->used_at.n++] = p->at - name.len;
    return 0;
}

static struct span take_name(struct gbnf *p)
{
    size_t from = p->at;
    while (is_name(peek(p)))
        p->at++;
    return span_of(p->text.ptr + from, p->at - from);
}

/* ---- expressions --------------------------------------------------------------------------- */

static int literal(struct gbnf *p, struct gram_expr **out)
{
    uint32_t cp;
    p->at++;
    *out = ex_new(&p->b, EX_SEQ);
    while (peek(p) != '"') {
        if (peek(p) < 0)
            return wrong(p, "a closing \"");
        TRY(one_char(p, &cp));
        ex_add(&p->b, *out, ex_char(&p->b, cp, GRAM_RAW));
    }
    p->at++;
    return p->b.error;
}

static int class(struct gbnf *p, struct gram_expr **out)
{
    struct gram_vec ranges = {.at = NULL};
    struct cp_set set;
    p->at++;
    bool inverted = take(p, "^");
    int rc = 0;
    while (rc >= 0 && peek(p) != ']') {
        struct cp_range r = {0, 0};
        rc = peek(p) < 0 ? wrong(p, "a closing ]") : one_char(p, &r.lo);
        r.hi = r.lo;
        if (rc >= 0 && peek(p) == '-' && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] != ']') {
            p->at++;
            rc = one_char(p, &r.hi);
        }
        if (rc >= 0 && r.hi < r.lo)
            rc = wrong(p, "a range from small to great before this place");
        if (rc >= 0)
            rc = gram_vec_room(&ranges, 1, sizeof r);
        if (rc >= 0)
            GRAM_AT(ranges, struct cp_range)[ranges.n++] = r;
    }
    p->at++;
    struct cp_range none;
    if (rc >= 0)
        rc = cp_set_make(&p->b.g->arena, ranges.n ? ranges.at : &none, ranges.n, &set);
    mem_free(ranges.at);
    TRY(rc);
    if (inverted)
        TRY(cp_set_invert(&p->b.g->arena, &set, &set));
    *out = ex_class(&p->b, &set, GRAM_RAW);
    return p->b.error;
}

static int number(struct gbnf *p, uint32_t *out)
{
    uint64_t v = 0;
    if (peek(p) < '0' || peek(p) > '9')
        return wrong(p, "a number");
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++)
        if ((v = v * 10 + (uint64_t)(peek(p) - '0')) > INT32_MAX)
            return wrong(p, "a repetition below 2147483648");
    *out = (uint32_t)v;
    return 0;
}

/* * + ? {m} {m,} {,n} {m,n} behind what was just read. */
static int repetition(struct gbnf *p, struct gram_expr **e, bool lines, bool *found)
{
    uint32_t min = 0, max = REPEAT_FOREVER;
    size_t before = p->at;
    skip(p, lines);
    *found = true;
    if (take(p, "+")) {
        min = 1;
    } else if (take(p, "?")) {
        max = 1;
    } else if (take(p, "{")) {
        skip(p, lines);
        if (peek(p) != ',')
            TRY(number(p, &min));
        skip(p, lines);
        max = min;
        if (take(p, ",")) {
            skip(p, lines);
            max = REPEAT_FOREVER;
            if (peek(p) != '}')
                TRY(number(p, &max));
            skip(p, lines);
        }
        if (!take(p, "}"))
            return wrong(p, "} or ,");
        if (max < min)
            return wrong(p, "a repetition from small to great before this place");
    } else if (!take(p, "*")) {
        p->at = before;
        *found = false;
        return 0;
    }
    *e = ex_repeat(&p->b, *e, min, max);
    return p->b.error;
}

static int alternatives(struct gbnf *p, bool inside, struct gram_expr **out);

static int group(struct gbnf *p, struct gram_expr **out)
{
    TRY(limit_check(LIMIT_json_depth, ++p->depth, p->place));
    p->at++;
    TRY(alternatives(p, true, out));
    if (!take(p, ")"))
        return wrong(p, "a closing )");
    p->depth--;
    return 0;
}

/* One part of a sequence; *out NULL where none begins. A name that ::= follows begins the next rule. */
static int part(struct gbnf *p, struct gram_expr **out)
{
    struct cp_set all = {NULL, 0};
    uint32_t rule;
    *out = NULL;
    switch (peek(p)) {
    case '"': return literal(p, out);
    case '[': return class(p, out);
    case '(': return group(p, out);
    case '.':
        p->at++;
        TRY(cp_set_invert(&p->b.g->arena, &all, &all));
        *out = ex_class(&p->b, &all, GRAM_RAW);
        return p->b.error;
    }
    if (!is_name(peek(p)))
        return 0;
    TRY(rule_of(p, take_name(p), &rule));
    *out = ex_rule(&p->b, rule);
    return p->b.error;
}

static int sequence(struct gbnf *p, bool inside, struct gram_expr **out)
{
    struct gram_expr *e;
    uint32_t repeats;
    *out = ex_new(&p->b, EX_SEQ);
    for (;;) {
        skip(p, inside);
        TRY(part(p, &e));
        if (!e)
            return p->b.error;
        bool found = true;
        for (repeats = 0; found; repeats++) {
            TRY(limit_check(LIMIT_json_depth, repeats, p->place));
            TRY(repetition(p, &e, inside, &found));
        }
        ex_add(&p->b, *out, e);
        TRY(p->b.error);
    }
}

/* Behind a | a new line does not end the rule. */
static int alternatives(struct gbnf *p, bool inside, struct gram_expr **out)
{
    struct gram_expr *e;
    *out = ex_new(&p->b, EX_ALT);
    do {
        skip(p, true);
        TRY(sequence(p, inside, &e));
        ex_add(&p->b, *out, e);
        TRY(p->b.error);
        skip(p, inside);
    } while (take(p, "|"));
    return 0;
}

static int rule(struct gbnf *p)
{
    struct gram_expr *body;
    uint32_t id;
    if (!is_name(peek(p)))
        return wrong(p, "the name of a rule");
    TRY(rule_of(p, take_name(p), &id));
    skip(p, true);
    if (!take(p, "::="))
        return wrong(p, "::=");
    skip(p, true);
    TRY(alternatives(p, false, &body));
    if (peek(p) >= 0 && peek(p) != '\n' && peek(p) != '\r')
        return wrong(p, "the end of the rule");
    struct gram_rule *r = gram_rule_at(p->b.g, id);
    if (r->body)
        return err_set(NUN_EFORMAT, "%s: rule %s stands twice", p->place, r->name);
    r->body = body;
    return 0;
}

static int whole(struct gbnf *p, uint32_t *root)
{
    TRY(limit_check(LIMIT_grammar_bytes, p->text.len, p->place));
    for (skip(p, true); peek(p) >= 0; skip(p, true))
        TRY(rule(p));
    TRY(rule_of(p, SPAN("root"), root));
    for (uint32_t i = 0; i < p->b.g->rules.n; i++) {
        if (gram_rule_at(p->b.g, i)->body)
            continue;
        if (i == *root)
            return err_set(NUN_EFORMAT, "%s: there is no rule root", p->place);
        p->at = GRAM_AT(p->used_at, size_t)[i];
        return wrong(p, "the name of a rule that exists");
    }
    return 0;
}

int grammar_from_gbnf(struct span text, const char *place, struct grammar **out)
{
    struct gbnf p = {.text = text, .place = place};
    uint32_t root = 0;
    int rc = gram_builder_start(&p.b);
    if (rc >= 0)
        rc = whole(&p, &root);
    mem_free(p.names.slot);
    mem_free(p.used_at.at);
    if (rc < 0) {
        gram_builder_drop(&p.b);
        return rc;
    }
    return gram_builder_finish(&p.b, root, place, out);
}
