/* Text of templates: strings that never change, counted and cut by code points, with Python's idea of
 * white space, case, splitting and replacing. Rows of filters and methods call it. */
/* SPDX-License-Identifier: MIT */
#include "base/ck.h"
#include "text/jinja_int.h"
#include "text/tok_chars.h"

struct jinja_tail { char *base; size_t used, cap; };
enum { TAIL_FROM = 256 };

/* ---- making ------------------------------------------------------------------------------------------------ */

int jinja_borrow_str(struct jinja_run *r, struct span s, struct jinja_value *out)
{
    struct jinja_str *made = arena_alloc(&r->arena, sizeof *made);
    if (!made)
        return NUN_ENOMEM;
    *made = (struct jinja_str){.ptr = s.len ? s.ptr : "", .len = s.len, .chars = JINJA_UNCOUNTED};
    *out = jinja_string(made);
    return 0;
}

int jinja_new_str(struct jinja_run *r, struct span s, struct jinja_value *out)
{
    char *copy = s.len ? arena_alloc(&r->arena, s.len) : "";
    if (!copy)
        return NUN_ENOMEM;
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    TRY(jinja_charge(r, s.len / 64));
    return jinja_borrow_str(r, span_of(copy, s.len), out);
}

/* A part of a string shares its bytes and its markup. */
int jinja_part(struct jinja_run *r, const struct jinja_value *whole, struct span part, struct jinja_value *out)
{
    uint8_t flag = whole->flag;
    TRY(jinja_borrow_str(r, part, out));
    out->flag = flag;
    return 0;
}

/* Text built piece by piece takes time in proportion to what is added: a's buffer is used on when a is
 * what was last written there. */
int jinja_join2(struct jinja_run *r, const struct jinja_str *a, const struct jinja_str *b, struct jinja_value *out)
{
    size_t total, cap;
    struct jinja_tail *t = a->tail;
    if (ck_add(a->len, b->len, &total) || ck_mul(total, 2, &cap))
        return err_set(NUN_ELIMIT, "a string of %zu and %zu bytes", a->len, b->len);
    struct jinja_str *made = arena_alloc(&r->arena, sizeof *made);
    if (!made)
        return NUN_ENOMEM;
    if (!t || t->base + t->used != a->ptr + a->len || t->cap - t->used < b->len) {
        t = total >= TAIL_FROM ? arena_alloc(&r->arena, sizeof *t) : NULL;
        char *base = arena_alloc(&r->arena, t ? cap : total + 1);
        if (!base || (total >= TAIL_FROM && !t))
            return NUN_ENOMEM;
        memcpy(base, a->ptr, a->len);
        if (t)
            *t = (struct jinja_tail){.base = base, .used = a->len, .cap = cap};
        made->ptr = base;
        TRY(jinja_charge(r, a->len / 64));
    } else {
        made->ptr = a->ptr;
    }
    memcpy((char *)(uintptr_t)made->ptr + a->len, b->ptr, b->len);
    if (t)
        t->used += b->len;
    made->len = total;
    made->tail = t;
    made->chars = JINJA_UNCOUNTED;
    *out = jinja_string(made);
    return jinja_charge(r, b->len / 64);
}

/* ---- code points -------------------------------------------------------------------------------------------- */

size_t jinja_next_char(struct span s, size_t at, uint32_t *cp)
{
    return tok_char_at(s, at, cp);
}

void jinja_put_utf8(uint32_t cp, struct buf *out)
{
    tok_append_char(out, cp);
}

static bool continues(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

size_t jinja_chars(const struct jinja_str *s)
{
    size_t n = 0;
    if (s->chars != JINJA_UNCOUNTED)
        return s->chars;
    for (size_t i = 0; i < s->len; i++)
        n += !continues(s->ptr[i]);
    return n;
}

size_t jinja_char_offset(const struct jinja_str *s, size_t index)
{
    size_t i = 0;
    if (index >= s->len)
        return s->len;
    for (; i < s->len; i++)
        if (!continues(s->ptr[i]) && index-- == 0)
            break;
    return i;
}

bool jinja_is_space(uint32_t cp)
{
    return tok_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

bool jinja_chars_have(struct span set, uint32_t cp)
{
    uint32_t one;
    for (size_t i = 0; i < set.len; i += jinja_next_char(set, i, &one))
        if (jinja_next_char(set, i, &one) && one == cp)
            return true;
    return false;
}

/* chars NULL: white space. */
struct span jinja_strip(struct span s, const struct span *chars, bool left, bool right)
{
    uint32_t cp;
    for (size_t n; left && s.len; s = span_from(s, n)) {
        n = jinja_next_char(s, 0, &cp);
        if (!(chars ? jinja_chars_have(*chars, cp) : jinja_is_space(cp)))
            break;
    }
    while (right && s.len) {
        size_t at = s.len - 1;
        while (at && continues(s.ptr[at]))
            at--;
        jinja_next_char(s, at, &cp);
        if (!(chars ? jinja_chars_have(*chars, cp) : jinja_is_space(cp)))
            break;
        s.len = at;
    }
    return s;
}

/* ---- case ------------------------------------------------------------------------------------------------------- */

/* The common letters whose case mapping is more than one letter. */
static const struct { uint32_t cp; const char *upper, *title, *lower; } special_case[] = {
    {0xdf, "SS", "Ss", "\u00df"},      {0x149, "\u02bcN", "\u02bcN", "\u0149"}, {0x130, "\u0130", "\u0130", "i\u0307"},
    {0x1f0, "J\u030c", "J\u030c", "\u01f0"}, {0xfb00, "FF", "Ff", "\ufb00"},    {0xfb01, "FI", "Fi", "\ufb01"},
    {0xfb02, "FL", "Fl", "\ufb02"},    {0xfb03, "FFI", "Ffi", "\ufb03"},        {0xfb04, "FFL", "Ffl", "\ufb04"},
    {0xfb05, "ST", "St", "\ufb05"},    {0xfb06, "ST", "St", "\ufb06"},          {0x587, "\u0535\u0552", "\u0535\u0582", "\u0587"}};

static bool is_cased(uint32_t cp)
{
    return tok_is(cp, TOK_CAT(LU) | TOK_CAT(LL) | TOK_CAT(LT));
}

/* Sigma at `at` ends a word: a cased letter stands before it and none after. */
static bool final_sigma(struct span s, size_t at)
{
    uint32_t before = 0, after = 0;
    size_t back = at;
    while (back && continues(s.ptr[--back]))
        ;
    if (back < at)
        jinja_next_char(s, back, &before);
    if (at + 2 < s.len)
        jinja_next_char(s, at + 2, &after);
    return is_cased(before) && !is_cased(after);
}

static uint32_t simple_case(uint32_t cp, enum jinja_case how)
{
    utf8proc_int32_t c = (utf8proc_int32_t)cp;
    return (uint32_t)(how == JINJA_UPPER ? utf8proc_toupper(c) : how == JINJA_TITLE ? utf8proc_totitle(c) : utf8proc_tolower(c));
}

void jinja_put_case(struct span s, enum jinja_case how, struct buf *out)
{
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        const char *special = NULL;
        n = jinja_next_char(s, i, &cp);
        if (cp < 0x80) {
            bool lower = cp >= 'a' && cp <= 'z', upper = cp >= 'A' && cp <= 'Z';
            buf_char(out, (char)(how == JINJA_UPPER || how == JINJA_TITLE ? cp - (lower ? 32 : 0) : cp + (upper ? 32 : 0)));
            continue;
        }
        for (size_t k = 0; k < sizeof special_case / sizeof special_case[0]; k++)
            if (special_case[k].cp == cp)
                special = how == JINJA_UPPER ? special_case[k].upper : how == JINJA_TITLE ? special_case[k].title
                        : how == JINJA_FOLD && cp == 0xdf ? "ss" : special_case[k].lower;
        if (how == JINJA_LOWER && cp == 0x3a3 && final_sigma(s, i))
            special = "\u03c2";
        if (special)
            buf_str(out, special);
        else
            tok_append_char(out, simple_case(cp, how));
    }
}

int jinja_lower_key(struct jinja_run *r, struct jinja_value *v)
{
    if (v->kind != JV_STRING)
        return 0;
    size_t mark = jinja_mark(r);
    jinja_put_case(jinja_span(v->s), JINJA_LOWER, r->out);
    return jinja_cut(r, mark, v);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

void jinja_put_escaped(struct span s, struct buf *out)
{
    static const struct { char c; const char *text; } rows[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    for (size_t i = 0; i < s.len; i++) {
        const char *text = NULL;
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
            if (rows[k].c == s.ptr[i])
                text = rows[k].text;
        if (text)
            buf_str(out, text);
        else
            buf_char(out, s.ptr[i]);
    }
}

void jinja_put_padding(struct jinja_run *r, struct span fill, size_t times)
{
    size_t total;
    if (ck_mul(fill.len, times, &total) || total > r->out->max) {
        r->out->error = err_set(NUN_ELIMIT, "%zu times %zu bytes of text, limit %zu", times, fill.len, r->out->max);
        return;
    }
    while (times-- && !buf_error(r->out))
        buf_span(r->out, fill);
}

/* ---- splitting and replacing -------------------------------------------------------------------------------------- */

static int push_part(struct jinja_run *r, struct jinja_seq *to, const struct jinja_value *whole, struct span part)
{
    struct jinja_value v;
    TRY(jinja_part(r, whole, part, &v));
    return jinja_push(r, to, v);
}

static struct span span_between(struct span s, size_t from, size_t to)
{
    return span_of(s.ptr + from, to - from);
}

/* The next run of what is not white space at or after `at`; false when there is none. */
static bool next_word(struct span s, size_t at, size_t *from, size_t *to)
{
    uint32_t cp;
    size_t n;
    for (; at < s.len; at += n) {
        n = jinja_next_char(s, at, &cp);
        if (!jinja_is_space(cp))
            break;
    }
    for (*from = at; at < s.len; at += n) {
        n = jinja_next_char(s, at, &cp);
        if (jinja_is_space(cp))
            break;
    }
    *to = at;
    return *to > *from;
}

static int split_words(struct jinja_run *r, const struct jinja_value *v, int64_t max, struct jinja_seq *to)
{
    struct span s = jinja_span(v->s);
    size_t from, end = 0;
    while (next_word(s, end, &from, &end)) {
        if (max >= 0 && (int64_t)to->n == max)
            return push_part(r, to, v, span_from(s, from));
        TRY(push_part(r, to, v, span_between(s, from, end)));
    }
    return 0;
}

static void reverse_items(struct jinja_seq *s)
{
    for (size_t i = 0; i < s->n / 2; i++) {
        struct jinja_value v = s->at[i];
        s->at[i] = s->at[s->n - 1 - i];
        s->at[s->n - 1 - i] = v;
    }
}

/* As split_words, from the end; what is collected is in reverse. */
static int rsplit_words(struct jinja_run *r, const struct jinja_value *v, int64_t max, struct jinja_seq *to)
{
    struct span s = jinja_strip(jinja_span(v->s), NULL, false, true);
    while (s.len) {
        size_t at = s.len;
        uint32_t cp;
        if (max >= 0 && (int64_t)to->n == max) {
            TRY(push_part(r, to, v, s));
            break;
        }
        for (size_t back = at; back; at = back) {
            while (continues(s.ptr[--back]))
                ;
            jinja_next_char(s, back, &cp);
            if (jinja_is_space(cp))
                break;
        }
        TRY(push_part(r, to, v, span_from(s, at)));
        s = jinja_strip(span_of(s.ptr, at), NULL, false, true);
    }
    reverse_items(to);
    return 0;
}

static int split_by(struct jinja_run *r, const struct jinja_value *v, struct span sep, int64_t max, struct jinja_seq *to)
{
    struct span s = jinja_span(v->s);
    const char *found;
    while ((max < 0 || (int64_t)to->n < max) && (found = memmem(s.ptr, s.len, sep.ptr, sep.len))) {
        size_t n = (size_t)(found - s.ptr);
        TRY(push_part(r, to, v, span_of(s.ptr, n)));
        s = span_from(s, n + sep.len);
    }
    return push_part(r, to, v, s);
}

static int rsplit_by(struct jinja_run *r, const struct jinja_value *v, struct span sep, int64_t max, struct jinja_seq *to)
{
    struct span s = jinja_span(v->s);
    for (size_t at = s.len; at >= sep.len && (max < 0 || (int64_t)to->n < max); at--) {
        if (memcmp(s.ptr + at - sep.len, sep.ptr, sep.len) != 0)
            continue;
        TRY(push_part(r, to, v, span_from(s, at)));
        s.len = at - sep.len;
        at = s.len + 1;
    }
    TRY(push_part(r, to, v, s));
    reverse_items(to);
    return 0;
}

int jinja_split(struct jinja_run *r, const struct jinja_value *s, const struct span *sep, int64_t max_split, bool from_right,
                struct jinja_value *out)
{
    struct jinja_seq *to = jinja_seq_new(r, 0);
    if (!to)
        return NUN_ENOMEM;
    if (sep && !sep->len)
        return jinja_error(r, "empty separator");
    if (sep)
        TRY(from_right ? rsplit_by(r, s, *sep, max_split, to) : split_by(r, s, *sep, max_split, to));
    else
        TRY(from_right ? rsplit_words(r, s, max_split, to) : split_words(r, s, max_split, to));
    TRY(jinja_charge(r, s->s->len / 16 + to->n));
    *out = jinja_of_seq(JV_LIST, to);
    return 0;
}

static bool is_line_end(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

int jinja_split_lines(struct jinja_run *r, const struct jinja_value *v, bool keep_ends, struct jinja_value *out)
{
    struct jinja_seq *to = jinja_seq_new(r, 0);
    struct span s = jinja_span(v->s);
    if (!to)
        return NUN_ENOMEM;
    size_t from = 0;
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        if (!is_line_end(cp))
            continue;
        if (cp == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n')
            n = 2;
        TRY(push_part(r, to, v, span_between(s, from, keep_ends ? i + n : i)));
        from = i + n;
    }
    if (from < s.len)
        TRY(push_part(r, to, v, span_from(s, from)));
    *out = jinja_of_seq(JV_LIST, to);
    return jinja_charge(r, s.len / 16 + to->n);
}

/* Between all code points, and at both ends. */
static void replace_nothing(struct jinja_run *r, struct span s, struct span to, int64_t count)
{
    for (size_t i = 0, n; i <= s.len && !buf_error(r->out); i += n) {
        uint32_t cp;
        if (count < 0 || count-- > 0)
            buf_span(r->out, to);
        if (i == s.len)
            break;
        n = jinja_next_char(s, i, &cp);
        buf_append(r->out, s.ptr + i, n);
    }
}

int jinja_replace(struct jinja_run *r, struct span s, struct span from, struct span to, int64_t count, struct jinja_value *out)
{
    size_t mark = jinja_mark(r);
    const char *found;
    TRY(jinja_charge(r, s.len / 64));
    if (!from.len) {
        replace_nothing(r, s, to, count);
        return jinja_cut(r, mark, out);
    }
    for (; (count < 0 || count-- > 0) && (found = memmem(s.ptr, s.len, from.ptr, from.len)) && !buf_error(r->out);
         s = span_from(s, (size_t)(found - s.ptr) + from.len)) {
        buf_append(r->out, s.ptr, (size_t)(found - s.ptr));
        buf_span(r->out, to);
    }
    buf_span(r->out, s);
    return jinja_cut(r, mark, out);
}
