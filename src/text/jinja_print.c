/* Values of templates to text: str(), repr() and json.dumps() of Python, byte for byte. Knows nothing of
 * nodes; output, filters and formats call it. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_int.h"
#include "text/tok_chars.h"

/* ---- floats -------------------------------------------------------------------------------------------------- */

/* The fewest digits that read back as f, and the exponent of the first: d.ddd x 10^exponent. */
static int shortest_digits(double f, char digits[20], int *exponent)
{
    char text[40];
    for (int n = 0; n < 17; n++) {
        snprintf(text, sizeof text, "%.*e", n, f);
        if (n == 16 || strtod(text, NULL) == f)
            break;
    }
    int n = 0;
    char *e = strchr(text, 'e');
    for (const char *c = text; c < e; c++)
        if (*c >= '0' && *c <= '9')
            digits[n++] = *c;
    *exponent = (int)strtol(e + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

/* As Python's repr: plain from 1e-4 up to 1e16, else with an exponent of two digits or more. */
void jinja_put_float(double f, struct buf *out)
{
    char digits[20];
    int exponent;
    if (!isfinite(f)) {
        buf_str(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    int n = shortest_digits(fabs(f), digits, &exponent);
    if (signbit(f))
        buf_char(out, '-');
    if (exponent < -4 || exponent >= 16) {
        buf_char(out, digits[0]);
        if (n > 1)
            buf_printf(out, ".%.*s", n - 1, digits + 1);
        buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    /* i is a place among the digits; the point stands after place `exponent` */
    for (int i = exponent < 0 ? exponent : 0; i < n || i <= exponent + 1; i++) {
        buf_char(out, i >= 0 && i < n ? digits[i] : '0');
        if (i == exponent)
            buf_char(out, '.');
    }
}

/* ---- strings ---------------------------------------------------------------------------------------------------- */

static bool printable(uint32_t cp)
{
    return cp == ' ' || !tok_is(cp, TOK_OTHERS | TOK_CAT(CN) | TOK_CAT(ZL) | TOK_CAT(ZP) | TOK_CAT(ZS));
}

static void put_escape(uint32_t cp, struct buf *out)
{
    static const char from[] = "\t\n\r", to[] = "tnr";
    const char *found = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (found)
        buf_printf(out, "\\%c", to[found - from]);
    else
        buf_printf(out, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

static void put_quoted(struct span s, struct buf *out)
{
    char quote = memchr(s.ptr, '\'', s.len) && !memchr(s.ptr, '"', s.len) ? '"' : '\'';
    buf_char(out, quote);
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        if (cp == '\\' || cp == (uint32_t)quote)
            buf_char(out, '\\');
        if (printable(cp))
            buf_append(out, s.ptr + i, n);
        else
            put_escape(cp, out);
    }
    buf_char(out, quote);
}

/* ---- str and repr -------------------------------------------------------------------------------------------------- */

static int put_items(struct jinja_run *r, const struct jinja_seq *s, const char *open, const char *close)
{
    buf_str(r->out, open);
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            buf_str(r->out, ", ");
        TRY(jinja_put_repr(r, &s->at[i]));
    }
    buf_str(r->out, close);
    return buf_error(r->out);
}

static int put_seq(struct jinja_run *r, const struct jinja_value *v)
{
    static const char *const views[] = {"dict_keys([", "dict_values([", "dict_items(["};
    const struct jinja_seq *s = v->seq;
    switch (v->kind) {
    case JV_TUPLE: return put_items(r, s, "(", s->n == 1 ? ",)" : ")");
    case JV_VIEW: return put_items(r, s, views[v->flag], "])");
    case JV_RANGE:
        buf_printf(r->out, "range(%" PRId64 ", %" PRId64, s->start, s->stop);
        if (s->step != 1)
            buf_printf(r->out, ", %" PRId64, s->step);
        buf_char(r->out, ')');
        return 0;
    case JV_LIST: return put_items(r, s, "[", "]");
    default: return jinja_error(r, "a generator has no text of its own; make it a list first");
    }
}

static int put_dict(struct jinja_run *r, const struct jinja_dict *d)
{
    buf_char(r->out, '{');
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            buf_str(r->out, ", ");
        TRY(jinja_put_repr(r, &d->at[i].key));
        buf_str(r->out, ": ");
        TRY(jinja_put_repr(r, &d->at[i].value));
    }
    buf_char(r->out, '}');
    return buf_error(r->out);
}

static int put_nested(struct jinja_run *r, const struct jinja_value *v)
{
    int rc = 0;
    TRY(jinja_deeper(r));
    TRY(jinja_charge(r, 1));
    if (v->kind == JV_NAMESPACE)
        buf_str(r->out, "<Namespace ");
    if (v->kind == JV_DICT || v->kind == JV_NAMESPACE)
        rc = put_dict(r, v->dict);
    else if (jinja_is_seq(v))
        rc = put_seq(r, v);
    else if (v->kind == JV_MACRO)
        buf_printf(r->out, "<Macro '%.*s'>", (int)v->macro->node->name->len, v->macro->node->name->ptr);
    else if (v->kind == JV_LOOP)
        buf_printf(r->out, "<LoopContext %zu/%zu>", v->loop->index0 + 1, v->loop->items->n);
    else
        rc = jinja_error(r, "a %s has no text of its own", jinja_kind_name(v));
    if (v->kind == JV_NAMESPACE)
        buf_char(r->out, '>');
    r->depth--;
    return rc;
}

static int put_value(struct jinja_run *r, const struct jinja_value *v, bool repr)
{
    switch (v->kind) {
    case JV_UNDEFINED: buf_str(r->out, repr ? "Undefined" : ""); break;
    case JV_NONE: buf_str(r->out, "None"); break;
    case JV_BOOL: buf_str(r->out, v->b ? "True" : "False"); break;
    case JV_INT: buf_printf(r->out, "%" PRId64, v->i); break;
    case JV_FLOAT: jinja_put_float(v->f, r->out); break;
    case JV_STRING:
        if (repr && v->flag)
            buf_str(r->out, "Markup(");
        if (repr)
            put_quoted(jinja_span(v->s), r->out);
        else
            buf_span(r->out, jinja_span(v->s));
        if (repr && v->flag)
            buf_char(r->out, ')');
        TRY(jinja_charge(r, v->s->len / 64));
        break;
    default: return put_nested(r, v);
    }
    return buf_error(r->out);
}

int jinja_put(struct jinja_run *r, const struct jinja_value *v)
{
    return put_value(r, v, false);
}

int jinja_put_repr(struct jinja_run *r, const struct jinja_value *v)
{
    return put_value(r, v, true);
}

int jinja_to_str(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out)
{
    if (v->kind == JV_STRING) {
        *out = *v;
        return 0;
    }
    size_t mark = jinja_mark(r);
    TRY(jinja_put(r, v));
    return jinja_cut(r, mark, out);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------- */

static void put_json_char(uint32_t cp, struct buf *out)
{
    static const char from[] = "\b\t\n\f\r", to[] = "btnfr";
    const char *found = cp && cp < 0x20 ? strchr(from, (int)cp) : NULL;
    if (cp == '"' || cp == '\\')
        buf_printf(out, "\\%c", (int)cp);
    else if (found)
        buf_printf(out, "\\%c", to[found - from]);
    else if (cp < 0x10000)
        buf_printf(out, "\\u%04x", cp);
    else
        buf_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
}

static void put_json_string(struct span s, bool ascii, struct buf *out)
{
    size_t plain = 0;
    buf_char(out, '"');
    for (size_t i = 0, n; i < s.len; i += n) {
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        if (cp >= 0x20 && cp != '"' && cp != '\\' && !(ascii && cp >= 0x7f))
            continue;
        buf_append(out, s.ptr + plain, i - plain);
        plain = i + n;
        put_json_char(cp, out);
    }
    buf_append(out, s.ptr + plain, s.len - plain);
    buf_char(out, '"');
}

static void json_line(struct jinja_run *r, const struct jinja_json *how, size_t level)
{
    if (!how->indented)
        return;
    buf_char(r->out, '\n');
    while (level-- && !buf_error(r->out))
        buf_span(r->out, how->indent);
}

static int json_value(struct jinja_run *r, const struct jinja_value *v, const struct jinja_json *how, size_t level);

static int json_list(struct jinja_run *r, const struct jinja_seq *s, const struct jinja_json *how, size_t level)
{
    if (!s->n) {
        buf_str(r->out, "[]");
        return 0;
    }
    buf_char(r->out, '[');
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            buf_span(r->out, how->item);
        json_line(r, how, level + 1);
        TRY(json_value(r, &s->at[i], how, level + 1));
    }
    json_line(r, how, level);
    buf_char(r->out, ']');
    return 0;
}

static int json_scalar(struct jinja_run *r, const struct jinja_value *v, bool ascii)
{
    switch (v->kind) {
    case JV_NONE: buf_str(r->out, "null"); break;
    case JV_BOOL: buf_str(r->out, v->b ? "true" : "false"); break;
    case JV_INT: buf_printf(r->out, "%" PRId64, v->i); break;
    case JV_FLOAT:
        if (isfinite(v->f))
            jinja_put_float(v->f, r->out);
        else
            buf_str(r->out, isnan(v->f) ? "NaN" : v->f < 0 ? "-Infinity" : "Infinity");
        break;
    case JV_STRING:
        put_json_string(jinja_span(v->s), ascii, r->out);
        return jinja_charge(r, v->s->len / 32);
    default: return jinja_error(r, "Object of type %s is not JSON serializable", jinja_kind_name(v));
    }
    return 0;
}

/* Keys that are not strings become what their JSON looks like. */
static int json_key(struct jinja_run *r, const struct jinja_value *key, bool ascii)
{
    if (key->kind == JV_STRING)
        return json_scalar(r, key, ascii);
    if (key->kind != JV_NONE && !jinja_is_number(key))
        return jinja_error(r, "keys must be str, int, float, bool or None, not %s", jinja_kind_name(key));
    buf_char(r->out, '"');
    TRY(json_scalar(r, key, ascii));
    buf_char(r->out, '"');
    return 0;
}

/* The dict's places in the order of its keys. */
static int json_order(struct jinja_run *r, const struct jinja_dict *d, struct jinja_seq **out)
{
    struct jinja_seq *keys = jinja_seq_new(r, d->n);
    *out = jinja_seq_new(r, d->n);
    if (!keys || !*out)
        return NUN_ENOMEM;
    for (size_t i = 0; i < d->n; i++) {
        TRY(jinja_push(r, *out, jinja_int((int64_t)i)));
        TRY(jinja_push(r, keys, d->at[i].key));
    }
    return jinja_sort(r, *out, keys, false);
}

static int json_dict(struct jinja_run *r, const struct jinja_dict *d, const struct jinja_json *how, size_t level)
{
    struct jinja_seq *order = NULL;
    if (!d->n) {
        buf_str(r->out, "{}");
        return 0;
    }
    if (how->sort)
        TRY(json_order(r, d, &order));
    buf_char(r->out, '{');
    for (size_t i = 0; i < d->n; i++) {
        const struct jinja_pair *pair = &d->at[order ? (size_t)order->at[i].i : i];
        if (i)
            buf_span(r->out, how->item);
        json_line(r, how, level + 1);
        TRY(json_key(r, &pair->key, how->ascii));
        buf_span(r->out, how->key);
        TRY(json_value(r, &pair->value, how, level + 1));
    }
    json_line(r, how, level);
    buf_char(r->out, '}');
    return 0;
}

static int json_value(struct jinja_run *r, const struct jinja_value *v, const struct jinja_json *how, size_t level)
{
    int rc;
    TRY(buf_error(r->out));
    TRY(jinja_charge(r, 1));
    TRY(jinja_deeper(r));
    if (v->kind == JV_DICT)
        rc = json_dict(r, v->dict, how, level);
    else if (v->kind == JV_LIST || v->kind == JV_TUPLE)
        rc = json_list(r, v->seq, how, level);
    else
        rc = json_scalar(r, v, how->ascii);
    r->depth--;
    return rc;
}

int jinja_put_json(struct jinja_run *r, const struct jinja_value *v, const struct jinja_json *how)
{
    TRY(json_value(r, v, how, 0));
    return buf_error(r->out);
}
