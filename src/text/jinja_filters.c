/* Filters of templates that work on text and numbers: one row each. Those on sequences are in
 * jinja_filters_seq.c. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_int.h"
#include "text/tok_chars.h"

/* Most text filters take anything, as its text. */
static int text_of(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return jinja_to_str(r, &c->self, out);
}

/* ---- case and white space --------------------------------------------------------------------------------------------- */

static int cased(struct jinja_run *r, const struct jinja_call *c, enum jinja_case how, struct jinja_value *out)
{
    struct jinja_value text;
    TRY(text_of(r, c, &text));
    size_t mark = jinja_mark(r);
    jinja_put_case(jinja_span(text.s), how, r->out);
    TRY(jinja_cut(r, mark, out));
    out->flag = text.flag;
    return 0;
}

static int filter_upper(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(r, c, JINJA_UPPER, out);
}

static int filter_lower(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(r, c, JINJA_LOWER, out);
}

static int filter_capitalize(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    uint32_t cp;
    TRY(text_of(r, c, &text));
    struct span s = jinja_span(text.s);
    size_t mark = jinja_mark(r), first = s.len ? jinja_next_char(s, 0, &cp) : 0;
    jinja_put_case(span_of(s.ptr, first), JINJA_TITLE, r->out);
    jinja_put_case(span_from(s, first), JINJA_LOWER, r->out);
    TRY(jinja_cut(r, mark, out));
    out->flag = text.flag;
    return 0;
}

static int filter_title(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    TRY(text_of(r, c, &text));
    struct span s = jinja_span(text.s);
    size_t mark = jinja_mark(r);
    bool begins = true;
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        bool between = jinja_is_space(cp) || (cp < 0x80 && cp && strchr("-({[<", (int)cp));
        if (between)
            buf_append(r->out, s.ptr + i, n);
        else
            jinja_put_case(span_of(s.ptr + i, n), begins ? JINJA_UPPER : JINJA_LOWER, r->out);
        begins = between;
    }
    return jinja_cut(r, mark, out);
}

static int filter_trim(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    struct span chars;
    TRY(text_of(r, c, &text));
    int rc = jinja_arg_str(r, c, 0, &chars);
    TRY(rc);
    return jinja_part(r, &text, jinja_strip(jinja_span(text.s), rc ? NULL : &chars, true, true), out);
}

/* ---- layout ------------------------------------------------------------------------------------------------------------- */

static int filter_center(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_args width = {.at = c->arg, .n = 1};
    struct jinja_value text, eighty = jinja_int(80);
    TRY(text_of(r, c, &text));
    if (!jinja_given(&c->arg[0]))
        width.at = &eighty;
    return jinja_call_row(r, jinja_find_method(JV_STRING, SPAN("center")), &text, &width, out);
}

static int filter_indent(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value lines, with_end, newline;
    struct span fill = SPAN(" ");
    int64_t times = 1;
    if (c->self.kind != JV_STRING)
        return jinja_error(r, "indent: expected a string, found %s", jinja_kind_name(&c->self));
    if (c->arg[0].kind == JV_STRING)
        fill = jinja_span(c->arg[0].s);
    else
        TRY(jinja_arg_int(r, c, 0, 4, &times));
    TRY(jinja_borrow_str(r, SPAN("\n"), &newline));
    TRY(jinja_join2(r, c->self.s, newline.s, &with_end));
    TRY(jinja_split_lines(r, &with_end, false, &lines));
    size_t mark = jinja_mark(r), n = times > 0 ? (size_t)times : 0;
    for (size_t i = 0; i < lines.seq->n; i++) {
        const struct jinja_str *line = lines.seq->at[i].s;
        if (i)
            buf_char(r->out, '\n');
        if (i ? line->len || jinja_arg_true(c, 2) : jinja_arg_true(c, 1))
            jinja_put_padding(r, fill, n);
        buf_span(r->out, jinja_span(line));
    }
    TRY(jinja_cut(r, mark, out));
    out->flag = c->self.flag;
    return 0;
}

static int filter_truncate(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    struct span end = SPAN("...");
    int64_t length, leeway;
    TRY(text_of(r, c, &text));
    TRY(jinja_arg_int(r, c, 0, 255, &length));
    TRY(jinja_arg_str(r, c, 2, &end));
    TRY(jinja_arg_int(r, c, 3, 5, &leeway));
    struct jinja_str tail = {.ptr = end.ptr, .len = end.len, .chars = JINJA_UNCOUNTED};
    int64_t keep = length - (int64_t)jinja_chars(&tail);
    if (keep < 0 || leeway < 0)
        return jinja_error(r, "truncate: expected a length of at least the ending's and a leeway of at least 0");
    TRY(jinja_charge(r, text.s->len / 64));
    *out = text;
    if ((int64_t)jinja_chars(text.s) - leeway <= length)
        return 0;
    struct span s = span_of(text.s->ptr, jinja_char_offset(text.s, (size_t)keep));
    const char *space = jinja_arg_true(c, 1) ? NULL : memrchr(s.ptr, ' ', s.len);
    size_t mark = jinja_mark(r);
    buf_append(r->out, s.ptr, space ? (size_t)(space - s.ptr) : s.len);
    buf_span(r->out, end);
    return jinja_cut(r, mark, out);
}

static int filter_wordcount(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    int64_t words = 0;
    bool inside = false;
    TRY(text_of(r, c, &text));
    struct span s = jinja_span(text.s);
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        bool word = cp == '_' || tok_is(cp, TOK_LETTERS | TOK_NUMBERS);
        words += word && !inside;
        inside = word;
    }
    *out = jinja_int(words);
    return jinja_charge(r, s.len / 16);
}

/* ---- replacing, formatting, markup --------------------------------------------------------------------------------------- */

static int filter_replace(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text, from, to;
    int64_t count;
    TRY(text_of(r, c, &text));
    TRY(jinja_to_str(r, &c->arg[0], &from));
    TRY(jinja_to_str(r, &c->arg[1], &to));
    TRY(jinja_arg_int(r, c, 2, -1, &count));
    return jinja_replace(r, jinja_span(text.s), jinja_span(from.s), jinja_span(to.s), count, out);
}

static int filter_format(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text, values;
    struct jinja_seq *s = jinja_seq_new(r, c->all.n);
    struct jinja_dict *d = jinja_dict_new(r, 0);
    if (!s || !d)
        return NUN_ENOMEM;
    if (c->all.n && c->all.n_kw)
        return jinja_error(r, "format: positional and keyword arguments at the same time");
    for (size_t i = 0; i < c->all.n; i++)
        TRY(jinja_push(r, s, c->all.at[i]));
    for (size_t i = 0; i < c->all.n_kw; i++)
        TRY(jinja_dict_put(r, d, &c->all.kw[i].key, c->all.kw[i].value));
    values = c->all.n_kw ? jinja_of_dict(JV_DICT, d) : jinja_of_seq(JV_TUPLE, s);
    TRY(text_of(r, c, &text));
    return jinja_binary(r, OP_MOD, &text, &values, out);
}

static int filter_string(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return text_of(r, c, out);
}

static int filter_safe(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    TRY(text_of(r, c, out));
    out->flag = 1;
    return 0;
}

static int filter_forceescape(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    TRY(text_of(r, c, &text));
    size_t mark = jinja_mark(r);
    jinja_put_escaped(jinja_span(text.s), r->out);
    TRY(jinja_cut(r, mark, out));
    out->flag = 1;
    return 0;
}

static int filter_escape(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = c->self;
    return c->self.kind == JV_STRING && c->self.flag ? 0 : filter_forceescape(r, c, out);
}

static void put_url(struct span s, bool query, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        bool plain = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || (ch && strchr("_.-~", ch));
        if (plain || (ch == '/' && !query))
            buf_char(out, (char)ch);
        else if (ch == ' ' && query)
            buf_char(out, '+');
        else
            buf_printf(out, "%%%02X", ch);
    }
}

static int put_url_pair(struct jinja_run *r, const struct jinja_seq *pair, bool first, struct buf *to)
{
    struct jinja_value text;
    if (pair->n != 2)
        return jinja_error(r, "urlencode: expected pairs, found %zu values", pair->n);
    for (size_t i = 0; i < 2; i++) {
        TRY(jinja_to_str(r, &pair->at[i], &text));
        if (i || !first)
            buf_char(to, i ? '=' : '&');
        put_url(jinja_span(text.s), true, to);
    }
    return buf_error(to);
}

static int filter_urlencode(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value all = c->self, text;
    struct jinja_seq *items, *pair;
    size_t mark = jinja_mark(r);
    if (all.kind == JV_DICT)
        TRY(jinja_dict_view(r, all.dict, JINJA_ITEMS, &all));
    if (!jinja_is_seq(&all)) {
        TRY(text_of(r, c, &text));
        mark = jinja_mark(r);
        put_url(jinja_span(text.s), false, r->out);
        return jinja_cut(r, mark, out);
    }
    TRY(jinja_items_of(r, &all, &items));
    for (size_t i = 0; i < items->n; i++) {
        TRY(jinja_items_of(r, &items->at[i], &pair));
        TRY(put_url_pair(r, pair, i == 0, r->out));
    }
    return jinja_cut(r, mark, out);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------- */

static int json_separators(struct jinja_run *r, const struct jinja_value *v, struct jinja_json *how)
{
    if (!jinja_given(v) || v->kind == JV_NONE)
        return 0;
    bool pair = (v->kind == JV_TUPLE || v->kind == JV_LIST) && v->seq->n == 2 && v->seq->at[0].kind == JV_STRING &&
                v->seq->at[1].kind == JV_STRING;
    if (!pair)
        return jinja_error(r, "tojson: separators must be two strings");
    how->item = jinja_span(v->seq->at[0].s);
    how->key = jinja_span(v->seq->at[1].s);
    return 0;
}

/* json.dumps as the transformers library calls it: no HTML escapes, UTF-8 unless asked. */
static int filter_tojson(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_value *indent = &c->arg[1];
    struct jinja_json how = {.ascii = jinja_arg_true(c, 0), .sort = jinja_arg_true(c, 3), .item = SPAN(", "), .key = SPAN(": ")};
    struct jinja_value fill, space, one = jinja_int(0);
    how.indented = jinja_given(indent) && indent->kind != JV_NONE;
    if (how.indented) {
        how.item = SPAN(",");
        if (indent->kind == JV_STRING) {
            fill = *indent;
        } else {
            TRY(jinja_arg_int(r, c, 1, 0, &one.i));
            TRY(jinja_borrow_str(r, SPAN(" "), &space));
            TRY(jinja_binary(r, OP_MUL, &space, &one, &fill));
        }
        how.indent = jinja_span(fill.s);
    }
    TRY(json_separators(r, &c->arg[2], &how));
    size_t mark = jinja_mark(r);
    TRY(jinja_put_json(r, &c->self, &how));
    return jinja_cut(r, mark, out);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------------------- */

static bool float_to_int(double f, struct jinja_value *out)
{
    if (!(f > -9.2e18 && f < 9.2e18))
        return false;
    *out = jinja_int((int64_t)f);
    return true;
}

static int filter_int(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    int64_t base, v;
    double f;
    TRY(jinja_arg_int(r, c, 1, 10, &base));
    if (c->self.kind == JV_UNDEFINED)
        return jinja_error_undefined(r, &c->self);
    *out = jinja_given(&c->arg[0]) ? c->arg[0] : jinja_int(0);
    if (jinja_is_int(&c->self))
        *out = jinja_int(jinja_as_int(&c->self));
    else if (c->self.kind == JV_FLOAT)
        float_to_int(c->self.f, out);
    else if (c->self.kind == JV_STRING && jinja_read_int(jinja_span(c->self.s), base, &v))
        *out = jinja_int(v);
    else if (c->self.kind == JV_STRING && jinja_read_float(jinja_span(c->self.s), &f))
        float_to_int(f, out);
    return 0;
}

static int filter_float(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    double f;
    if (c->self.kind == JV_UNDEFINED)
        return jinja_error_undefined(r, &c->self);
    *out = jinja_given(&c->arg[0]) ? c->arg[0] : jinja_float(0);
    if (jinja_is_number(&c->self))
        *out = jinja_float(jinja_as_double(&c->self));
    else if (c->self.kind == JV_STRING && jinja_read_float(jinja_span(c->self.s), &f))
        *out = jinja_float(f);
    return 0;
}

static int filter_abs(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    if (c->self.kind == JV_UNDEFINED)
        return jinja_error_undefined(r, &c->self);
    if (!jinja_is_number(&c->self))
        return jinja_error(r, "bad operand type for abs(): '%s'", jinja_kind_name(&c->self));
    if (c->self.kind == JV_FLOAT)
        *out = jinja_float(fabs(c->self.f));
    else if (jinja_as_int(&c->self) == INT64_MIN)
        return err_set(NUN_ELIMIT, "an integer beyond 64 bits");
    else
        *out = jinja_int(llabs(jinja_as_int(&c->self)));
    return 0;
}

enum { ROUND_DIGITS = 300 };

/* Half to even on the exact value, as printf rounds. */
static double round_to(double f, int64_t digits)
{
    char text[ROUND_DIGITS * 2 + 40];
    if (!isfinite(f) || digits > ROUND_DIGITS)
        return f;
    if (digits < 0) {
        double scale = pow(10, (double)-digits);
        return digits < -ROUND_DIGITS ? 0 : rint(f / scale) * scale;
    }
    snprintf(text, sizeof text, "%.*f", (int)digits, f);
    return strtod(text, NULL);
}

static int filter_round(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span method = SPAN("common");
    int64_t digits;
    TRY(jinja_arg_int(r, c, 0, 0, &digits));
    TRY(jinja_arg_str(r, c, 1, &method));
    bool up = span_is(method, "ceil"), down = span_is(method, "floor");
    if (!up && !down && !span_is(method, "common"))
        return jinja_error(r, "round: method must be common, ceil or floor");
    if (c->self.kind == JV_UNDEFINED)
        return jinja_error_undefined(r, &c->self);
    if (!jinja_is_number(&c->self))
        return jinja_error(r, "round: expected a number, found %s", jinja_kind_name(&c->self));
    double f = jinja_as_double(&c->self), scale = pow(10, (double)digits);
    if (up || down)
        *out = jinja_float((up ? ceil(f * scale) : floor(f * scale)) / scale);
    else if (c->self.kind == JV_FLOAT)
        *out = jinja_float(round_to(f, digits));
    else
        *out = jinja_int(digits >= 0 ? jinja_as_int(&c->self) : (int64_t)round_to(f, digits));
    return 0;
}

static const struct jinja_row rows[] = {
    {"abs", filter_abs, ""},
    {"capitalize", filter_capitalize, ""},
    {"center", filter_center, "?width"},
    {"e", filter_escape, ""},
    {"escape", filter_escape, ""},
    {"float", filter_float, "?default"},
    {"forceescape", filter_forceescape, ""},
    {"format", filter_format, "*"},
    {"indent", filter_indent, "?width ?first ?blank"},
    {"int", filter_int, "?default ?base"},
    {"lower", filter_lower, ""},
    {"replace", filter_replace, "old new ?count"},
    {"round", filter_round, "?precision ?method"},
    {"safe", filter_safe, ""},
    {"string", filter_string, ""},
    {"title", filter_title, ""},
    {"tojson", filter_tojson, "?ensure_ascii ?indent ?separators ?sort_keys"},
    {"trim", filter_trim, "?chars"},
    {"truncate", filter_truncate, "?length ?killwords ?end ?leeway"},
    {"upper", filter_upper, ""},
    {"urlencode", filter_urlencode, ""},
    {"wordcount", filter_wordcount, ""},
};
const struct jinja_table jinja_filters_text = JINJA_TABLE(rows);
