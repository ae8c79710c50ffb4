/* Methods of strings in templates, as Python's str has them: one row each. Those of lists and dicts are
 * in jinja_methods_seq.c. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "text/jinja_int.h"
#include "text/tok_chars.h"

static struct span self_of(const struct jinja_call *c) { return jinja_span(c->self.s); }

/* Finish what was written after mark, as markup if the string was. */
static int done(struct jinja_run *r, const struct jinja_call *c, size_t mark, struct jinja_value *out)
{
    TRY(jinja_charge(r, c->self.s->len / 32));
    TRY(jinja_cut(r, mark, out));
    out->flag = c->self.flag;
    return 0;
}

static int needed_str(struct jinja_run *r, const struct jinja_call *c, int i, struct span *out)
{
    int rc = jinja_arg_str(r, c, i, out);
    return rc > 0 ? jinja_error(r, "%s(): expected a string, found %s", c->row->name, jinja_kind_name(&c->arg[i])) : rc;
}

/* ---- case -------------------------------------------------------------------------------------------------------------- */

static int recase(struct jinja_run *r, const struct jinja_call *c, enum jinja_case how, struct jinja_value *out)
{
    size_t mark = jinja_mark(r);
    jinja_put_case(self_of(c), how, r->out);
    return done(r, c, mark, out);
}

static int str_upper(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return recase(r, c, JINJA_UPPER, out);
}

static int str_lower(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return recase(r, c, JINJA_LOWER, out);
}

static int str_casefold(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return recase(r, c, JINJA_FOLD, out);
}

static int str_capitalize(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_args none = {0};
    return jinja_call_row(r, jinja_find_filter(SPAN("capitalize")), &c->self, &none, out);
}

static bool is_upper(uint32_t cp) { return tok_is(cp, TOK_CAT(LU)); }
static bool is_lower(uint32_t cp) { return tok_is(cp, TOK_CAT(LL)); }
static bool is_cased(uint32_t cp) { return tok_is(cp, TOK_CAT(LU) | TOK_CAT(LL) | TOK_CAT(LT)); }

/* A capital after whatever is no letter, unlike the filter of this name. */
static int str_title(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c);
    size_t mark = jinja_mark(r);
    bool inside = false;
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        jinja_put_case(span_of(s.ptr + i, n), inside ? JINJA_LOWER : JINJA_TITLE, r->out);
        inside = is_cased(cp);
    }
    return done(r, c, mark, out);
}

static int str_swapcase(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c);
    size_t mark = jinja_mark(r);
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        jinja_put_case(span_of(s.ptr + i, n), is_upper(cp) ? JINJA_LOWER : JINJA_UPPER, r->out);
    }
    return done(r, c, mark, out);
}

/* ---- stripping and padding ------------------------------------------------------------------------------------------------ */

static int strip(struct jinja_run *r, const struct jinja_call *c, bool left, bool right, struct jinja_value *out)
{
    struct span chars;
    int rc = jinja_arg_str(r, c, 0, &chars);
    TRY(rc);
    TRY(jinja_charge(r, c->self.s->len / 64));
    return jinja_part(r, &c->self, jinja_strip(self_of(c), rc ? NULL : &chars, left, right), out);
}

static int str_strip(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return strip(r, c, true, true, out);
}

static int str_lstrip(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return strip(r, c, true, false, out);
}

static int str_rstrip(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return strip(r, c, false, true, out);
}

static int str_removeprefix(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c), part;
    TRY(needed_str(r, c, 0, &part));
    return jinja_part(r, &c->self, span_starts(s, part) ? span_from(s, part.len) : s, out);
}

static int str_removesuffix(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c), part;
    TRY(needed_str(r, c, 0, &part));
    return jinja_part(r, &c->self, span_ends(s, part) ? span_of(s.ptr, s.len - part.len) : s, out);
}

/* left of 2: how much of the padding goes in front: all, none, or the half that Python gives there. */
enum { PAD_LEFT, PAD_RIGHT, PAD_BOTH };

static int pad(struct jinja_run *r, const struct jinja_call *c, int where, struct jinja_value *out)
{
    struct span fill = SPAN(" ");
    int64_t width;
    TRY(jinja_arg_int(r, c, 0, 0, &width));
    TRY(jinja_arg_str(r, c, 1, &fill));
    int64_t n = (int64_t)jinja_chars(c->self.s), room = width > n ? width - n : 0;
    int64_t left = where == PAD_LEFT ? room : where == PAD_RIGHT ? 0 : room / 2 + (room & width & 1);
    size_t mark = jinja_mark(r);
    jinja_put_padding(r, fill, (size_t)left);
    buf_span(r->out, self_of(c));
    jinja_put_padding(r, fill, (size_t)(room - left));
    TRY(jinja_charge(r, (size_t)room / 16));
    return done(r, c, mark, out);
}

static int str_center(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pad(r, c, PAD_BOTH, out);
}

static int str_ljust(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pad(r, c, PAD_RIGHT, out);
}

static int str_rjust(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pad(r, c, PAD_LEFT, out);
}

static int str_zfill(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c);
    int64_t width, n = (int64_t)jinja_chars(c->self.s);
    size_t mark = jinja_mark(r), sign = s.len && (*s.ptr == '-' || *s.ptr == '+');
    TRY(jinja_arg_int(r, c, 0, 0, &width));
    buf_append(r->out, s.ptr, sign);
    jinja_put_padding(r, SPAN("0"), width > n ? (size_t)(width - n) : 0);
    buf_span(r->out, span_from(s, sign));
    return done(r, c, mark, out);
}

static int str_expandtabs(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c);
    int64_t size, column = 0;
    size_t mark = jinja_mark(r);
    TRY(jinja_arg_int(r, c, 0, 8, &size));
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        if (cp == '\t' && size > 0)
            jinja_put_padding(r, SPAN(" "), (size_t)(size - column % size));
        else if (cp != '\t')
            buf_append(r->out, s.ptr + i, n);
        column = cp == '\n' || cp == '\r' ? 0 : cp == '\t' ? 0 : column + 1;
    }
    return done(r, c, mark, out);
}

/* ---- finding ------------------------------------------------------------------------------------------------------------------ */

/* The part between arguments i and i + 1, counted in code points; *from is where it begins. */
static int between(struct jinja_run *r, const struct jinja_call *c, int i, struct span *part, int64_t *from)
{
    struct span s = self_of(c);
    int64_t n = (int64_t)jinja_chars(c->self.s), end;
    TRY(jinja_charge(r, s.len / 64));
    TRY(jinja_arg_int(r, c, i, 0, from));
    TRY(jinja_arg_int(r, c, i + 1, n, &end));
    *from = *from < -n ? 0 : *from < 0 ? *from + n : *from;
    end = end < -n ? 0 : end < 0 ? end + n : end > n ? n : end;
    if (*from > end) {
        *part = (struct span){NULL, 0}; /* nothing can be found there, not even "" */
        return 0;
    }
    size_t lo = jinja_char_offset(c->self.s, (size_t)*from), hi = jinja_char_offset(c->self.s, (size_t)end);
    *part = span_of(s.ptr + lo, hi - lo);
    return 0;
}

/* startswith, endswith: of one string, or of any in a tuple. */
static int affix(struct jinja_run *r, const struct jinja_call *c, bool (*fits)(struct span, struct span), struct jinja_value *out)
{
    const struct jinja_value *one = &c->arg[0];
    size_t n = one->kind == JV_TUPLE ? one->seq->n : 1;
    struct span part;
    int64_t from;
    bool found = false;
    TRY(between(r, c, 1, &part, &from));
    for (size_t i = 0; i < n && !found; i++) {
        const struct jinja_value *v = one->kind == JV_TUPLE ? &one->seq->at[i] : one;
        if (v->kind == JV_UNDEFINED)
            return jinja_error_undefined(r, v);
        if (v->kind != JV_STRING)
            return jinja_error(r, "%s() takes a str or a tuple of str, not %s", c->row->name, jinja_kind_name(v));
        found = part.ptr && fits(part, jinja_span(v->s));
    }
    *out = jinja_bool(found);
    return 0;
}

static int str_startswith(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return affix(r, c, span_starts, out);
}

static int str_endswith(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return affix(r, c, span_ends, out);
}

static const char *last_of(struct span s, struct span what)
{
    for (size_t at = s.len + 1; at-- > what.len;)
        if (!what.len || memcmp(s.ptr + at - what.len, what.ptr, what.len) == 0)
            return s.ptr + at - what.len;
    return NULL;
}

/* The code point where the argument is found, or -1. */
static int find(struct jinja_run *r, const struct jinja_call *c, bool last, int64_t *out)
{
    struct span part, what;
    int64_t from;
    TRY(needed_str(r, c, 0, &what));
    TRY(between(r, c, 1, &part, &from));
    const char *found = !part.ptr ? NULL : last ? last_of(part, what) : !what.len ? part.ptr
                      : memmem(part.ptr, part.len, what.ptr, what.len);
    struct jinja_str before = {.ptr = part.ptr, .len = found ? (size_t)(found - part.ptr) : 0, .chars = JINJA_UNCOUNTED};
    *out = found ? from + (int64_t)jinja_chars(&before) : -1;
    return 0;
}

static int str_find(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_int(-1);
    return find(r, c, false, &out->i);
}

static int str_rfind(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_int(-1);
    return find(r, c, true, &out->i);
}

static int str_index(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    TRY(str_find(r, c, out));
    return out->i < 0 ? jinja_error(r, "substring not found") : 0;
}

static int str_rindex(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    TRY(str_rfind(r, c, out));
    return out->i < 0 ? jinja_error(r, "substring not found") : 0;
}

static int str_count(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span part, what;
    int64_t from, n = 0;
    TRY(needed_str(r, c, 0, &what));
    TRY(between(r, c, 1, &part, &from));
    struct jinja_str all = {.ptr = part.ptr, .len = part.len, .chars = JINJA_UNCOUNTED};
    if (!what.len)
        n = part.ptr ? (int64_t)jinja_chars(&all) + 1 : 0;
    for (const char *p; what.len && part.len && (p = memmem(part.ptr, part.len, what.ptr, what.len)); n++)
        part = span_from(part, (size_t)(p - part.ptr) + what.len);
    *out = jinja_int(n);
    return 0;
}

/* ---- splitting and joining --------------------------------------------------------------------------------------------------- */

static int split(struct jinja_run *r, const struct jinja_call *c, bool from_right, struct jinja_value *out)
{
    struct span sep;
    int64_t max;
    int rc = jinja_arg_str(r, c, 0, &sep);
    TRY(rc);
    TRY(jinja_arg_int(r, c, 1, -1, &max));
    return jinja_split(r, &c->self, rc ? NULL : &sep, max, from_right, out);
}

static int str_split(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return split(r, c, false, out);
}

static int str_rsplit(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return split(r, c, true, out);
}

static int str_splitlines(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return jinja_split_lines(r, &c->self, jinja_arg_true(c, 0), out);
}

static int parts3(struct jinja_run *r, const struct jinja_call *c, bool last, struct jinja_value *out)
{
    struct span s = self_of(c), sep, parts[3];
    TRY(needed_str(r, c, 0, &sep));
    if (!sep.len)
        return jinja_error(r, "empty separator");
    const char *p = last ? last_of(s, sep) : memmem(s.ptr, s.len, sep.ptr, sep.len);
    size_t at = p ? (size_t)(p - s.ptr) : last ? 0 : s.len;
    parts[0] = span_of(s.ptr, at);
    parts[1] = span_of(s.ptr + at, p ? sep.len : 0);
    parts[2] = span_from(s, at + (p ? sep.len : 0));
    struct jinja_seq *made = jinja_seq_new(r, 3);
    if (!made)
        return NUN_ENOMEM;
    for (made->n = 0; made->n < 3; made->n++)
        TRY(jinja_part(r, &c->self, parts[made->n], &made->at[made->n]));
    *out = jinja_of_seq(JV_TUPLE, made);
    return jinja_charge(r, s.len / 64);
}

static int str_partition(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return parts3(r, c, false, out);
}

static int str_rpartition(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return parts3(r, c, true, out);
}

static int str_join(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s;
    TRY(jinja_items_of(r, &c->arg[0], &s));
    size_t mark = jinja_mark(r);
    for (size_t i = 0; i < s->n; i++) {
        if (s->at[i].kind != JV_STRING)
            return jinja_error(r, "sequence item %zu: expected str instance, %s found", i, jinja_kind_name(&s->at[i]));
        if (i)
            buf_span(r->out, self_of(c));
        buf_span(r->out, jinja_span(s->at[i].s));
    }
    TRY(jinja_charge(r, s->n));
    return done(r, c, mark, out);
}

static int str_replace(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span from, to;
    int64_t count;
    TRY(needed_str(r, c, 0, &from));
    TRY(needed_str(r, c, 1, &to));
    TRY(jinja_arg_int(r, c, 2, -1, &count));
    TRY(jinja_replace(r, self_of(c), from, to, count, out));
    out->flag = c->self.flag;
    return 0;
}

static int str_format(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    size_t mark = jinja_mark(r);
    TRY(jinja_format(r, self_of(c), &c->all));
    return done(r, c, mark, out);
}

static const struct jinja_row rows[] = {
    {"capitalize", str_capitalize, ""},
    {"casefold", str_casefold, ""},
    {"center", str_center, "width ?fillchar"},
    {"count", str_count, "sub ?start ?end"},
    {"endswith", str_endswith, "suffix ?start ?end"},
    {"expandtabs", str_expandtabs, "?tabsize"},
    {"find", str_find, "sub ?start ?end"},
    {"format", str_format, "*"},
    {"index", str_index, "sub ?start ?end"},
    {"join", str_join, "iterable"},
    {"ljust", str_ljust, "width ?fillchar"},
    {"lower", str_lower, ""},
    {"lstrip", str_lstrip, "?chars"},
    {"partition", str_partition, "sep"},
    {"removeprefix", str_removeprefix, "prefix"},
    {"removesuffix", str_removesuffix, "suffix"},
    {"replace", str_replace, "old new ?count"},
    {"rfind", str_rfind, "sub ?start ?end"},
    {"rindex", str_rindex, "sub ?start ?end"},
    {"rjust", str_rjust, "width ?fillchar"},
    {"rpartition", str_rpartition, "sep"},
    {"rsplit", str_rsplit, "?sep ?maxsplit"},
    {"rstrip", str_rstrip, "?chars"},
    {"split", str_split, "?sep ?maxsplit"},
    {"splitlines", str_splitlines, "?keepends"},
    {"startswith", str_startswith, "prefix ?start ?end"},
    {"strip", str_strip, "?chars"},
    {"swapcase", str_swapcase, ""},
    {"title", str_title, ""},
    {"upper", str_upper, ""},
    {"zfill", str_zfill, "width"},
};
const struct jinja_table jinja_methods_str = JINJA_TABLE(rows);

/* ---- questions about all characters -------------------------------------------------------------------------------------------- */

/* Every character passes and there is one; `needs`: at least one of these among them, others may be. */
static int every(struct jinja_run *r, const struct jinja_call *c, bool (*passes)(uint32_t), bool when_empty,
                 struct jinja_value *out)
{
    struct span s = self_of(c);
    bool all = s.len || when_empty;
    for (size_t i = 0, n; i < s.len && all; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        all = passes(cp);
    }
    *out = jinja_bool(all);
    return jinja_charge(r, s.len / 64);
}

static bool is_alpha(uint32_t cp) { return tok_is(cp, TOK_LETTERS); }
static bool is_decimal(uint32_t cp) { return tok_is(cp, TOK_CAT(ND)); }
static bool is_super(uint32_t cp) { return cp == 0xb2 || cp == 0xb3 || cp == 0xb9 || (cp >= 0x2070 && cp <= 0x2089); }
static bool is_digit(uint32_t cp) { return is_decimal(cp) || is_super(cp); }
static bool is_numeric(uint32_t cp) { return tok_is(cp, TOK_NUMBERS); }
static bool is_alnum(uint32_t cp) { return is_alpha(cp) || is_numeric(cp); }
static bool is_ascii(uint32_t cp) { return cp < 0x80; }

#define EVERY_METHOD(name, test, when_empty)                                                          \
    static int str_##name(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)   \
    {                                                                                                 \
        return every(r, c, (test), (when_empty), out);                                                \
    }
EVERY_METHOD(isalpha, is_alpha, false)
EVERY_METHOD(isdecimal, is_decimal, false)
EVERY_METHOD(isdigit, is_digit, false)
EVERY_METHOD(isnumeric, is_numeric, false)
EVERY_METHOD(isalnum, is_alnum, false)
EVERY_METHOD(isascii, is_ascii, true)
EVERY_METHOD(isspace, jinja_is_space, false)

static int one_case(struct jinja_run *r, const struct jinja_call *c, bool (*wanted)(uint32_t), struct jinja_value *out)
{
    struct span s = self_of(c);
    bool some = false, other = false;
    for (size_t i = 0, n; i < s.len && !other; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        some = some || wanted(cp);
        other = is_cased(cp) && !wanted(cp);
    }
    *out = jinja_bool(some && !other);
    return jinja_charge(r, s.len / 64);
}

static int str_islower(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return one_case(r, c, is_lower, out);
}

static int str_isupper(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return one_case(r, c, is_upper, out);
}

static int str_istitle(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span s = self_of(c);
    bool inside = false, some = false, good = true;
    for (size_t i = 0, n; i < s.len && good; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        good = !is_cased(cp) || inside == is_lower(cp);
        inside = is_cased(cp);
        some = some || inside;
    }
    *out = jinja_bool(some && good);
    return jinja_charge(r, s.len / 64);
}

static const struct jinja_row is_rows[] = {
    {"isalnum", str_isalnum, ""},
    {"isalpha", str_isalpha, ""},
    {"isascii", str_isascii, ""},
    {"isdecimal", str_isdecimal, ""},
    {"isdigit", str_isdigit, ""},
    {"islower", str_islower, ""},
    {"isnumeric", str_isnumeric, ""},
    {"isspace", str_isspace, ""},
    {"istitle", str_istitle, ""},
    {"isupper", str_isupper, ""},
};
const struct jinja_table jinja_methods_str_is = JINJA_TABLE(is_rows);
