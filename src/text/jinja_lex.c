/* Template source to tokens: text between tags, and what stands inside them. White space control is
 * decided here, with trim_blocks and lstrip_blocks on. Knows nothing of grammar; jinja_parse.c pulls. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/ck.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "text/jinja_int.h"
#include "text/tok_chars.h"

enum { IN_TEXT, IN_RAW, IN_BLOCK, IN_VAR };
enum { NUMBER_BYTES = 512 };

static int lex_fail(const struct jinja_lexer *x, const char *at, const char *what)
{
    return err_set(NUN_EFORMAT, "%s:%u:%zu: %s", x->place, x->line, (size_t)(at - x->line_start) + 1, what);
}

/* Line ends become \n, and one at the very end goes, as in jinja2 without keep_trailing_newline. */
static size_t copy_lines(struct span s, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n')
            continue;
        to[n++] = s.ptr[i] == '\r' ? '\n' : s.ptr[i];
    }
    return n && to[n - 1] == '\n' ? n - 1 : n;
}

int jinja_lex_open(struct jinja_lexer *x, struct arena *arena, struct span source, const char *place)
{
    if (!utf8_valid(source.ptr, source.len))
        return err_set(NUN_EFORMAT, "%s: not UTF-8", place);
    char *copy = arena_alloc(arena, source.len + 1);
    if (!copy)
        return NUN_ENOMEM;
    *x = (struct jinja_lexer){.arena = arena, .place = place, .p = copy, .line_start = copy, .line = 1, .line_starting = true};
    x->end = copy + copy_lines(source, copy);
    return 0;
}

static void move_to(struct jinja_lexer *x, const char *to)
{
    for (const char *nl; x->p < to && (nl = memchr(x->p, '\n', (size_t)(to - x->p))); x->p = nl + 1) {
        x->line++;
        x->line_start = nl + 1;
    }
    x->p = to;
}

static void place_token(const struct jinja_lexer *x, struct jinja_token *t)
{
    t->line = x->line;
    t->column = (uint32_t)(x->p - x->line_start) + 1;
}

static bool at(const struct jinja_lexer *x, const char *p, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(x->end - p) >= n && memcmp(p, text, n) == 0;
}

static const char *skip_space(const char *p, const char *end)
{
    uint32_t cp;
    for (size_t n; p < end; p += n) {
        n = jinja_next_char(span_of(p, (size_t)(end - p)), 0, &cp);
        if (!jinja_is_space(cp))
            break;
    }
    return p;
}

/* ---- text and where it ends ------------------------------------------------------------------------ */

/* The end of a tag at p: "-%}" eats white space, "+%}" nothing, "%}" one line end. NULL: not here. */
static const char *tag_end(const struct jinja_lexer *x, const char *p, const char *mark, bool trims)
{
    bool minus = p < x->end && *p == '-', plus = trims && p < x->end && *p == '+';
    if (!at(x, p + (minus || plus), mark))
        return NULL;
    p += (minus || plus) + strlen(mark);
    if (minus)
        return skip_space(p, x->end);
    return trims && !plus && p < x->end && *p == '\n' ? p + 1 : p;
}

static void leave_tag(struct jinja_lexer *x, const char *to)
{
    x->line_starting = to[-1] == '\n';
    move_to(x, to);
    x->state = IN_TEXT;
}

/* Text before a tag with `sign` after its opening. */
static struct span trim_before(const struct jinja_lexer *x, struct span text, char sign, bool is_var)
{
    if (sign == '-')
        return jinja_strip(text, NULL, false, true);
    if (sign == '+' || is_var)
        return text;
    const char *nl = memrchr(text.ptr, '\n', text.len);
    size_t line = nl ? (size_t)(nl - text.ptr) + 1 : 0;
    if ((line || x->line_starting) && skip_space(text.ptr + line, text.ptr + text.len) == text.ptr + text.len)
        text.len = line;
    return text;
}

static char sign_at(const struct jinja_lexer *x, const char *p)
{
    return p < x->end && (*p == '-' || *p == '+') ? *p : 0;
}

/* "{%- word" at p: where it goes on after the word and white space; NULL when another word stands there. */
static const char *block_word(const struct jinja_lexer *x, const char *p, const char *word)
{
    if (!at(x, p, "{%"))
        return NULL;
    p += 2;
    p = skip_space(p + (sign_at(x, p) != 0), x->end);
    return at(x, p, word) ? skip_space(p + strlen(word), x->end) : NULL;
}

static int lex_comment(struct jinja_lexer *x, const char *from)
{
    const char *body = from + 2 + (sign_at(x, from + 2) != 0);
    const char *p = memmem(body, (size_t)(x->end - body), "#}", 2);
    if (!p)
        return lex_fail(x, from, "a comment that does not end");
    p -= p > body && sign_at(x, p - 1);
    leave_tag(x, tag_end(x, p, "#}", true));
    return 0;
}

static int lex_raw(struct jinja_lexer *x, struct jinja_token *out)
{
    for (const char *p = x->p; (p = memmem(p, (size_t)(x->end - p), "{%", 2)); p += 2) {
        const char *after = block_word(x, p, "endraw"), *to = after ? tag_end(x, after, "%}", true) : NULL;
        if (!to)
            continue;
        out->type = TOKEN_DATA;
        out->text = trim_before(x, span_of(x->p, (size_t)(p - x->p)), sign_at(x, p + 2), false);
        leave_tag(x, to);
        return 0;
    }
    return lex_fail(x, x->p, "a raw block that does not end");
}

static const char *next_tag(const struct jinja_lexer *x)
{
    for (const char *p = x->p; (p = memchr(p, '{', (size_t)(x->end - p))); p++)
        if (p + 1 < x->end && (p[1] == '{' || p[1] == '%' || p[1] == '#'))
            return p;
    return NULL;
}

/* Text up to the next tag, and past its opening. */
static int lex_text(struct jinja_lexer *x, struct jinja_token *out)
{
    const char *tag = next_tag(x);
    out->type = TOKEN_DATA;
    out->text = span_of(x->p, (size_t)((tag ? tag : x->end) - x->p));
    if (!tag) {
        out->type = x->p < x->end ? TOKEN_DATA : TOKEN_END;
        move_to(x, x->end);
        return 0;
    }
    char sign = sign_at(x, tag + 2);
    const char *raw = block_word(x, tag, "raw");
    bool dash = raw && raw < x->end && *raw == '-';
    out->text = trim_before(x, out->text, sign, tag[1] == '{');
    move_to(x, tag);
    if (tag[1] == '#')
        return lex_comment(x, tag);
    if (raw && at(x, raw + dash, "%}")) {
        leave_tag(x, dash ? skip_space(raw + 3, x->end) : raw + 2);
        x->state = IN_RAW;
        return 0;
    }
    x->begin = tag[1] == '{' ? TOKEN_VAR_BEGIN : TOKEN_BLOCK_BEGIN;
    x->state = tag[1] == '{' ? IN_VAR : IN_BLOCK;
    return 0;
}

static int lex_begin(struct jinja_lexer *x, struct jinja_token *out)
{
    out->type = x->begin;
    x->begin = TOKEN_END;
    move_to(x, x->p + 2 + (sign_at(x, x->p + 2) != 0));
    return 0;
}

/* ---- names, numbers, strings ------------------------------------------------------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *name_end(const struct jinja_lexer *x, const char *p)
{
    for (size_t n; p < x->end; p += n) {
        uint32_t cp;
        n = jinja_next_char(span_of(p, (size_t)(x->end - p)), 0, &cp);
        if (!tok_is(cp, TOK_LETTERS | TOK_CAT(ND) | TOK_CAT(NL) | TOK_CAT(MN) | TOK_CAT(MC) | TOK_CAT(PC)))
            break;
    }
    return p;
}

/* Digits with single '_' between them. */
static const char *digits_end(const struct jinja_lexer *x, const char *p)
{
    while (p < x->end && (is_digit(*p) || (*p == '_' && is_digit(p[-1]) && p + 1 < x->end && is_digit(p[1]))))
        p++;
    return p;
}

/* The end of a float at p, or p when it is none. */
static const char *float_end(const struct jinja_lexer *x, const char *p)
{
    const char *from = p, *q;
    bool is = false;
    if (p > x->line_start && p[-1] == '.')
        return from;
    p = digits_end(x, p);
    if (p + 1 < x->end && *p == '.' && is_digit(p[1])) {
        p = digits_end(x, p + 1);
        is = true;
    }
    if (p < x->end && (*p == 'e' || *p == 'E')) {
        q = p + 1 + (sign_at(x, p + 1) != 0);
        if (q < x->end && is_digit(*q)) {
            p = digits_end(x, q);
            is = true;
        }
    }
    return is ? p : from;
}

static int number_text(const struct jinja_lexer *x, struct span s, char out[NUMBER_BYTES])
{
    size_t n = 0;
    if (s.len >= NUMBER_BYTES)
        return lex_fail(x, s.ptr, "a number that is too long");
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '_')
            out[n++] = s.ptr[i];
    out[n] = '\0';
    return 0;
}

/* 0x, 0o and 0b with their digits, single '_' before any of them. */
static const char *based_end(const struct jinja_lexer *x, const char *p, int *base)
{
    static const struct { char letter; int base; const char *digits; } rows[] = {
        {'x', 16, "0123456789abcdefABCDEF"}, {'o', 8, "01234567"}, {'b', 2, "01"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && p + 2 < x->end && *p == '0'; i++) {
        const char *q = p + 2;
        if ((p[1] | 0x20) != rows[i].letter)
            continue;
        while (q < x->end && *q && (strchr(rows[i].digits, *q) || (*q == '_' && q + 1 < x->end && q[1] && strchr(rows[i].digits, q[1]))))
            q++;
        *base = rows[i].base;
        return q > p + 2 ? q : NULL;
    }
    return NULL;
}

static int lex_int(struct jinja_lexer *x, struct jinja_token *out)
{
    char text[NUMBER_BYTES];
    int base = 10;
    const char *end = based_end(x, x->p, &base);
    if (!end) /* Python has no 007: zeros end at another digit */
        for (end = digits_end(x, x->p); *x->p == '0' && end > x->p + 1 && strspn(x->p, "0_") < (size_t)(end - x->p);)
            end = x->p + strspn(x->p, "0");
    out->text = span_of(x->p, (size_t)(end - x->p));
    TRY(number_text(x, base == 10 ? out->text : span_from(out->text, 2), text));
    unsigned long long v = 0;
    for (const char *c = text; *c; c++) {
        unsigned digit = is_digit(*c) ? (unsigned)(*c - '0') : (unsigned)((*c | 0x20) - 'a') + 10;
        if (__builtin_mul_overflow(v, (unsigned)base, &v) || __builtin_add_overflow(v, digit, &v) || v > INT64_MAX)
            return lex_fail(x, x->p, "an integer beyond 64 bits");
    }
    out->value = jinja_int((int64_t)v);
    return 0;
}

static int lex_number(struct jinja_lexer *x, struct jinja_token *out)
{
    char text[NUMBER_BYTES];
    const char *end = float_end(x, x->p);
    out->type = TOKEN_NUMBER;
    if (end > x->p) {
        out->text = span_of(x->p, (size_t)(end - x->p));
        TRY(number_text(x, out->text, text));
        out->value = jinja_float(strtod(text, NULL));
    } else {
        TRY(lex_int(x, out));
    }
    move_to(x, out->text.ptr + out->text.len);
    return 0;
}

/* Up to `digits` digits of `base` at p. */
static size_t read_digits(const char *p, const char *end, size_t digits, unsigned base, uint32_t *out)
{
    size_t n = 0;
    for (*out = 0; n < digits && p + n < end; n++) {
        unsigned char c = (unsigned char)p[n];
        unsigned d = c >= '0' && c <= '9' ? c - 0u - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10u : 99u;
        if (d >= base)
            break;
        *out = *out * base + d;
    }
    return n;
}

/* One escape after the backslash at p, as Python's unicode-escape reads it; NULL when malformed. */
static const char *unescape(const char *p, const char *end, struct buf *out)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    static const struct { char letter; size_t digits; } rows[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    const char *found = *p ? strchr(from, *p) : NULL;
    uint32_t cp;
    size_t n;
    if (found) {
        buf_char(out, to[found - from]);
        return p + 1;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (*p == rows[i].letter) {
            char utf8[4];
            bool whole = read_digits(p + 1, end, rows[i].digits, 16, &cp) == rows[i].digits;
            n = whole ? utf8_encode(cp, utf8) : 0;
            buf_append(out, utf8, n);
            return n ? p + 1 + rows[i].digits : NULL;
        }
    n = read_digits(p, end, 3, 8, &cp);
    if (n)
        jinja_put_utf8(cp, out);
    else if (*p == 'N')
        return NULL;
    else if (*p == '\n')
        n = 1;
    else
        buf_char(out, '\\');
    return p + n;
}

static int decode_string(struct jinja_lexer *x, struct span s, struct buf *work)
{
    for (const char *p = s.ptr, *end = s.ptr + s.len; p < end;) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        buf_append(work, p, (size_t)((slash ? slash : end) - p));
        p = slash ? unescape(slash + 1, end, work) : end;
        if (!p)
            return lex_fail(x, slash, "an escape that is not a character");
    }
    return buf_error(work);
}

static int make_string(struct jinja_lexer *x, struct span s, struct jinja_value *out)
{
    struct jinja_str *made = arena_alloc(x->arena, sizeof *made);
    if (!made)
        return NUN_ENOMEM;
    *made = (struct jinja_str){.ptr = s.ptr, .len = s.len, .chars = JINJA_UNCOUNTED};
    *out = jinja_string(made);
    if (!memchr(s.ptr, '\\', s.len))
        return 0;
    struct buf work;
    buf_init(&work, MEM_TEXT, s.len * 2 + 4);
    int rc = decode_string(x, s, &work);
    made->len = work.len;
    made->ptr = rc < 0 ? NULL : arena_strndup(x->arena, buf_cstr(&work), work.len);
    buf_free(&work);
    return rc < 0 ? rc : made->ptr ? 0 : NUN_ENOMEM;
}

static int lex_string(struct jinja_lexer *x, struct jinja_token *out)
{
    const char *p = x->p + 1;
    while (p < x->end && *p != *x->p)
        p += 1 + (*p == '\\');
    if (p >= x->end)
        return lex_fail(x, x->p, "a string that does not end");
    out->type = TOKEN_STRING;
    out->text = span_of(x->p + 1, (size_t)(p - x->p - 1));
    TRY(make_string(x, out->text, &out->value));
    move_to(x, p + 1);
    return 0;
}

/* ---- operators ------------------------------------------------------------------------------------------ */

static const struct { const char *text; enum jinja_op op; } operators[] = { /* longest first */
    {"//", OP_FLOORDIV}, {"**", OP_POW}, {"==", OP_EQ}, {"!=", OP_NE}, {">=", OP_GE}, {"<=", OP_LE},
    {"+", OP_ADD}, {"-", OP_SUB}, {"/", OP_DIV}, {"*", OP_MUL}, {"%", OP_MOD}, {"~", OP_TILDE},
    {"[", OP_LBRACKET}, {"]", OP_RBRACKET}, {"(", OP_LPAREN}, {")", OP_RPAREN}, {"{", OP_LBRACE}, {"}", OP_RBRACE},
    {">", OP_GT}, {"<", OP_LT}, {"=", OP_ASSIGN}, {".", OP_DOT}, {":", OP_COLON}, {"|", OP_PIPE}, {",", OP_COMMA},
    {";", OP_SEMICOLON}};

static int balance(struct jinja_lexer *x, char c)
{
    const char *open = "([{", *close = ")]}", *found;
    if ((found = strchr(open, c))) {
        if (x->n_closers == JINJA_BRACKETS)
            return err_set(NUN_ELIMIT, "%s:%u: %d brackets within each other, limit %d", x->place, x->line,
                           JINJA_BRACKETS + 1, JINJA_BRACKETS);
        x->closers[x->n_closers++] = close[found - open];
    } else if (strchr(close, c)) {
        if (!x->n_closers || x->closers[--x->n_closers] != c)
            return lex_fail(x, x->p, "a closing bracket that was not opened");
    }
    return 0;
}

static int lex_operator(struct jinja_lexer *x, struct jinja_token *out)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (at(x, x->p, operators[i].text)) {
            out->type = TOKEN_OP;
            out->op = operators[i].op;
            out->text = span_of(x->p, strlen(operators[i].text));
            TRY(balance(x, *x->p));
            move_to(x, x->p + out->text.len);
            return 0;
        }
    return lex_fail(x, x->p, "a character that no expression has");
}

static int lex_inside(struct jinja_lexer *x, struct jinja_token *out)
{
    const char *end;
    bool block = x->state == IN_BLOCK;
    if (!x->n_closers && (end = tag_end(x, x->p, block ? "%}" : "}}", block))) {
        place_token(x, out);
        out->type = block ? TOKEN_BLOCK_END : TOKEN_VAR_END;
        leave_tag(x, end);
        return 0;
    }
    move_to(x, skip_space(x->p, x->end));
    if (x->p == x->end)
        return lex_fail(x, x->p, "the template ends inside a tag");
    if (!x->n_closers && tag_end(x, x->p, block ? "%}" : "}}", block))
        return lex_inside(x, out);
    place_token(x, out);
    if (is_digit(*x->p))
        return lex_number(x, out);
    if (*x->p == '"' || *x->p == '\'')
        return lex_string(x, out);
    end = name_end(x, x->p);
    if (end == x->p)
        return lex_operator(x, out);
    out->type = TOKEN_NAME;
    out->text = span_of(x->p, (size_t)(end - x->p));
    move_to(x, end);
    return 0;
}

int jinja_lex(struct jinja_lexer *x, struct jinja_token *out)
{
    for (;;) {
        *out = (struct jinja_token){.type = TOKEN_END};
        place_token(x, out);
        if (x->begin != TOKEN_END)
            return lex_begin(x, out);
        if (x->state == IN_BLOCK || x->state == IN_VAR)
            return lex_inside(x, out);
        TRY(x->state == IN_RAW ? lex_raw(x, out) : lex_text(x, out));
        if (out->type == TOKEN_END || out->text.len)
            return 0;
    }
}
