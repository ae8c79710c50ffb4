/* Python's two ways to format text, "%" and str.format(), and numbers read from text. Templates use
 * little of it; what is not here is refused with its place in the format. */
/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_int.h"

enum { PRECISION_MAX = 300, WIDTH_MAX = 1000000, BODY_BYTES = 1024 };

/* How one value is to be written. */
struct spec {
    struct span fill;
    char align;    /* < > ^ = or 0 for the kind's own */
    char sign;     /* + - or ' ' */
    char group;    /* , _ or 0 */
    char type;     /* 0: the kind's own */
    bool alt;
    int64_t width, precision; /* -1: none */
};

static const struct spec plain = {.fill = {" ", 1}, .sign = '-', .width = 0, .precision = -1};

/* ---- writing ------------------------------------------------------------------------------------------------------------- */

/* sign and digits, with padding between them ('=') or around both. */
static int put_padded(struct jinja_run *r, const struct spec *s, struct span sign, struct span body, char own_align)
{
    struct jinja_str whole = {.ptr = body.ptr, .len = body.len, .chars = JINJA_UNCOUNTED};
    int64_t n = (int64_t)(sign.len + jinja_chars(&whole)), room = s->width > n ? s->width - n : 0;
    char align = s->align ? s->align : own_align;
    int64_t left = align == '<' ? 0 : align == '^' ? room / 2 : room;
    if (align == '=')
        buf_span(r->out, sign);
    jinja_put_padding(r, s->fill, (size_t)left);
    if (align != '=')
        buf_span(r->out, sign);
    buf_span(r->out, body);
    jinja_put_padding(r, s->fill, (size_t)(room - left));
    return buf_error(r->out);
}

static int put_text(struct jinja_run *r, const struct spec *s, const struct jinja_value *v)
{
    struct span text = jinja_span(v->s);
    if (s->precision >= 0)
        text.len = jinja_char_offset(v->s, (size_t)s->precision);
    return put_padded(r, s, (struct span){"", 0}, text, '<');
}

/* Separators between groups of digits of the integer part; `out` has room. */
static size_t group_digits(const char *digits, char mark, size_t every, char *out)
{
    size_t n = strspn(digits, "0123456789abcdefABCDEF"), at = 0;
    if (every == 3)
        n = strspn(digits, "0123456789");
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % every == 0)
            out[at++] = mark;
        out[at++] = digits[i];
    }
    size_t rest = strlen(digits + n);
    memcpy(out + at, digits + n, rest + 1);
    return at + rest;
}

/* digits: without sign, NUL-terminated. */
static int put_digits(struct jinja_run *r, const struct spec *s, bool negative, const char *prefix, const char *digits)
{
    char body[BODY_BYTES * 2], sign[8];
    bool hex = s->type && strchr("xXob", s->type);
    size_t n = strlen(digits);
    if (s->group)
        n = group_digits(digits, s->group, hex ? 4 : 3, body);
    else
        memcpy(body, digits, n + 1);
    int sign_n = snprintf(sign, sizeof sign, "%s%s", negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "", prefix);
    return put_padded(r, s, span_of(sign, (size_t)sign_n), span_of(body, n), '>');
}

static void base_digits(uint64_t v, unsigned base, bool upper, int64_t at_least, char out[BODY_BYTES])
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[80];
    int64_t n = 0, at = 0;
    do
        reversed[n++] = digits[v % base];
    while (v /= base);
    for (; at < at_least - n && at < PRECISION_MAX; at++)
        out[at] = '0';
    while (n)
        out[at++] = reversed[--n];
    out[at] = '\0';
}

static int put_int(struct jinja_run *r, const struct spec *s, int64_t v)
{
    static const struct { char type; unsigned base; const char *prefix; } rows[] = {
        {'d', 10, ""}, {'x', 16, "0x"}, {'X', 16, "0X"}, {'o', 8, "0o"}, {'b', 2, "0b"}};
    char digits[BODY_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].type == (s->type ? s->type : 'd')) {
            uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
            base_digits(magnitude, rows[i].base, s->type == 'X', s->precision, digits);
            return put_digits(r, s, v < 0, s->alt ? rows[i].prefix : "", digits);
        }
    return jinja_error(r, "no format '%c' for an integer", s->type);
}

static void own_float(double f, char out[BODY_BYTES])
{
    struct buf text;
    buf_init(&text, MEM_TEXT, BODY_BYTES - 1);
    jinja_put_float(f, &text);
    memcpy(out, buf_cstr(&text), text.len + 1);
    buf_free(&text);
}

static int put_float(struct jinja_run *r, const struct spec *s, double f)
{
    char digits[BODY_BYTES], format[] = {'%', '.', '*', 'f', '\0'};
    char type = s->type == '%' ? 'f' : s->type == 'n' ? 'g' : s->type;
    bool negative = signbit(f) && !isnan(f);
    double v = fabs(f) * (s->type == '%' ? 100 : 1);
    if (s->precision > PRECISION_MAX || (type && !strchr("eEfFgG", type)))
        return jinja_error(r, "no format '%c' of that precision for a number", type ? type : 'g');
    format[3] = type ? type : 'g';
    if (!isfinite(v))
        snprintf(digits, sizeof digits, "%s", isnan(v) ? "nan" : "inf");
    else if (!type && s->precision < 0)
        own_float(v, digits);
    else
        snprintf(digits, sizeof digits - 1, format, s->precision < 0 ? 6 : (int)s->precision, v);
    if (s->type == '%')
        strncat(digits, "%", 2);
    return put_digits(r, s, negative, "", digits);
}

static int put_value(struct jinja_run *r, const struct spec *s, const struct jinja_value *v)
{
    struct jinja_value text;
    bool wants_float = s->type && strchr("eEfFgG%", s->type), own_bool = v->kind == JV_BOOL && !s->type;
    if (jinja_is_number(v) && !own_bool && s->type != 's' && s->type != 'c')
        return v->kind == JV_FLOAT || wants_float ? put_float(r, s, jinja_as_double(v)) : put_int(r, s, jinja_as_int(v));
    if (s->type && s->type != 's')
        return jinja_error(r, "no format '%c' for an object of type '%s'", s->type, jinja_kind_name(v));
    TRY(jinja_to_str(r, v, &text));
    return put_text(r, s, &text);
}

/* ---- the percent sign ------------------------------------------------------------------------------------------------------ */

struct percent {
    struct jinja_run *r;
    struct span fmt;
    size_t at;
    const struct jinja_value *args, *values; /* values [n] of a tuple, or args alone */
    size_t n, used;
};

static char peek(const struct percent *p) { return p->at < p->fmt.len ? p->fmt.ptr[p->at] : '\0'; }

static int next_value(struct percent *p, struct jinja_value *out)
{
    if (p->used == p->n)
        return jinja_error(p->r, "not enough arguments for format string");
    *out = p->values[p->used++];
    return 0;
}

/* Digits, or '*' for the next argument. */
static int percent_number(struct percent *p, int64_t *out)
{
    struct jinja_value v = jinja_none();
    if (peek(p) == '*') {
        p->at++;
        TRY(next_value(p, &v));
        if (!jinja_is_int(&v))
            return jinja_error(p->r, "* wants int");
        *out = jinja_as_int(&v);
    }
    for (; isdigit((unsigned char)peek(p)) && *out <= WIDTH_MAX; p->at++)
        *out = *out * 10 + (peek(p) - '0');
    return *out > WIDTH_MAX || *out < -WIDTH_MAX ? err_set(NUN_ELIMIT, "a format wider than %d", WIDTH_MAX) : 0;
}

static int percent_key(struct percent *p, struct jinja_value *out)
{
    const char *end = memchr(p->fmt.ptr + p->at, ')', p->fmt.len - p->at);
    struct jinja_value key;
    if (!end)
        return jinja_error(p->r, "incomplete format key");
    if (p->args->kind != JV_DICT)
        return jinja_error(p->r, "format requires a mapping");
    TRY(jinja_borrow_str(p->r, span_of(p->fmt.ptr + p->at + 1, (size_t)(end - p->fmt.ptr) - p->at - 1), &key));
    p->at = (size_t)(end - p->fmt.ptr) + 1;
    int rc = jinja_dict_get(p->r, p->args->dict, &key, out);
    p->used = p->n;
    return rc > 0 ? jinja_error(p->r, "no key '%.*s' to format", (int)key.s->len, key.s->ptr) : rc;
}

static int percent_spec(struct percent *p, struct spec *s)
{
    bool zero = false;
    for (char c; (c = peek(p)) && strchr("-+ #0", c); p->at++) {
        zero = zero || c == '0';
        s->alt = s->alt || c == '#';
        s->align = c == '-' ? '<' : s->align;
        s->sign = c == '+' || (c == ' ' && s->sign != '+') ? c : s->sign;
    }
    TRY(percent_number(p, &s->width));
    if (s->width < 0) {
        s->align = '<';
        s->width = -s->width;
    }
    if (peek(p) == '.') {
        p->at++;
        s->precision = 0;
        TRY(percent_number(p, &s->precision));
    }
    while (peek(p) && strchr("lLh", peek(p)))
        p->at++;
    s->type = peek(p);
    p->at += s->type != 0;
    if (zero && s->align != '<' && strchr("diuoxXeEfFgG", s->type)) {
        s->fill = (struct span){"0", 1};
        s->align = '=';
    }
    s->align = s->align ? s->align : '>';
    return 0;
}

static int percent_value(struct percent *p, struct spec *s, struct jinja_value *v)
{
    struct jinja_run *r = p->r;
    bool decimal = s->type == 'd' || s->type == 'i' || s->type == 'u';
    size_t mark = jinja_mark(r);
    if (s->type == 'r' || s->type == 'a') {
        TRY(jinja_put_repr(r, v));
        TRY(jinja_cut(r, mark, v));
        return put_text(r, s, v);
    }
    if (s->type == 's') {
        TRY(jinja_to_str(r, v, v));
        return put_text(r, s, v);
    }
    if (s->type == 'c' && v->kind == JV_STRING && jinja_chars(v->s) == 1)
        return put_text(r, s, v);
    if (v->kind == JV_UNDEFINED)
        return jinja_error_undefined(r, v);
    if (!jinja_is_number(v) || !s->type || !strchr("diuoxXeEfFgG", s->type))
        return jinja_error(r, "%%%c format: a real number is required, not %s", s->type ? s->type : '?', jinja_kind_name(v));
    if (decimal && v->kind == JV_FLOAT) {
        if (!(fabs(v->f) < 9e18))
            return jinja_error(r, "cannot convert this float to an integer");
        *v = jinja_int((int64_t)v->f);
    }
    s->type = decimal ? 'd' : s->type;
    if (v->kind == JV_BOOL)
        *v = jinja_int(v->b);
    return put_value(r, s, v);
}

static int percent_one(struct percent *p)
{
    struct spec s = plain;
    struct jinja_value v;
    bool keyed = peek(p) == '(';
    if (keyed)
        TRY(percent_key(p, &v));
    TRY(percent_spec(p, &s));
    if (s.type == '%') {
        buf_char(p->r->out, '%');
        return 0;
    }
    if (!s.type)
        return jinja_error(p->r, "incomplete format");
    if (!keyed)
        TRY(next_value(p, &v));
    return percent_value(p, &s, &v);
}

int jinja_percent(struct jinja_run *r, struct span fmt, const struct jinja_value *args)
{
    bool tuple = args->kind == JV_TUPLE;
    struct percent p = {.r = r, .fmt = fmt, .args = args, .values = tuple ? args->seq->at : args, .n = tuple ? args->seq->n : 1};
    TRY(jinja_charge(r, fmt.len / 16));
    while (p.at < fmt.len) {
        const char *sign = memchr(fmt.ptr + p.at, '%', fmt.len - p.at);
        size_t to = sign ? (size_t)(sign - fmt.ptr) : fmt.len;
        buf_append(r->out, fmt.ptr + p.at, to - p.at);
        p.at = to + (sign != NULL);
        if (sign)
            TRY(percent_one(&p));
    }
    if (p.used < p.n && args->kind != JV_DICT)
        return jinja_error(r, "not all arguments converted during string formatting");
    return buf_error(r->out);
}

/* ---- str.format -------------------------------------------------------------------------------------------------------------- */

static int64_t read_number(struct span *s)
{
    int64_t n = 0;
    for (; s->len && isdigit((unsigned char)*s->ptr) && n <= WIDTH_MAX; *s = span_from(*s, 1))
        n = n * 10 + (*s->ptr - '0');
    return n;
}

static bool take(struct span *s, const char *set, char *out)
{
    if (!s->len || !*s->ptr || !strchr(set, *s->ptr))
        return false;
    *out = *s->ptr;
    *s = span_from(*s, 1);
    return true;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static int read_spec(struct jinja_run *r, struct span text, struct spec *s)
{
    struct span rest = text;
    uint32_t cp;
    char c;
    size_t n = rest.len ? jinja_next_char(rest, 0, &cp) : 0;
    *s = plain;
    if (rest.len > n && strchr("<>^=", rest.ptr[n]) && rest.ptr[n]) {
        s->fill = span_of(rest.ptr, n);
        s->align = rest.ptr[n];
        rest = span_from(rest, n + 1);
    } else {
        take(&rest, "<>^=", &s->align);
    }
    take(&rest, "+- ", &s->sign);
    s->alt = take(&rest, "#", &c);
    if (take(&rest, "0", &c) && !s->align) {
        s->fill = (struct span){"0", 1};
        s->align = '=';
    }
    s->width = read_number(&rest);
    take(&rest, ",_", &s->group);
    if (take(&rest, ".", &c))
        s->precision = read_number(&rest);
    take(&rest, "bdeEfFgGnosxXc%", &s->type);
    if (rest.len || s->width > WIDTH_MAX)
        return jinja_error(r, "no format '%.*s'", (int)(text.len < 80 ? text.len : 80), text.ptr);
    return 0;
}

/* The value that a field's first word names: by place, by the next place, by keyword. */
static int field_value(struct jinja_run *r, const struct jinja_args *args, struct span name, size_t *automatic, struct jinja_value *out)
{
    int64_t place;
    if (!name.len || isdigit((unsigned char)*name.ptr)) {
        place = (int64_t)(name.len ? 0 : (*automatic)++);
        if (name.len && !jinja_read_int(name, 10, &place))
            return jinja_error(r, "no field '%.*s'", (int)name.len, name.ptr);
        if (place < 0 || (size_t)place >= args->n)
            return jinja_error(r, "Replacement index %" PRId64 " out of range for positional args tuple", place);
        *out = args->at[place];
        return 0;
    }
    for (size_t i = 0; i < args->n_kw; i++)
        if (span_eq(jinja_span(args->kw[i].key.s), name)) {
            *out = args->kw[i].value;
            return 0;
        }
    return jinja_error(r, "no argument '%.*s' to format", (int)name.len, name.ptr);
}

/* .name and [key] after the first word. */
static int field_path(struct jinja_run *r, struct span path, struct jinja_value *v)
{
    while (path.len) {
        bool dot = *path.ptr == '.';
        struct span rest = span_from(path, 1);
        const char *end = dot ? NULL : memchr(rest.ptr, ']', rest.len);
        size_t n = 0;
        struct jinja_value key;
        int64_t index;
        if (!dot && !end)
            return jinja_error(r, "a field's '[' is not closed");
        for (n = 0; n < rest.len && (dot ? rest.ptr[n] != '.' && rest.ptr[n] != '[' : rest.ptr + n != end); n++)
            ;
        TRY(jinja_new_str(r, span_of(rest.ptr, n), &key));
        if (!dot && jinja_read_int(jinja_span(key.s), 10, &index))
            key = jinja_int(index);
        TRY(dot ? jinja_getattr(r, v, key.s, true, v) : jinja_getitem(r, v, &key, v));
        if (v->kind == JV_UNDEFINED)
            return jinja_error_undefined(r, v);
        path = span_from(rest, n + !dot);
    }
    return 0;
}

/* What stands between { and }: path!conversion:spec */
static int put_field(struct jinja_run *r, struct span field, const struct jinja_args *args, size_t *automatic)
{
    struct spec s;
    struct jinja_value v;
    size_t n = 0, name = 0, mark;
    char conversion = 0;
    while (n < field.len && field.ptr[n] != ':' && field.ptr[n] != '!')
        n++;
    while (name < n && field.ptr[name] != '.' && field.ptr[name] != '[')
        name++;
    TRY(field_value(r, args, span_of(field.ptr, name), automatic, &v));
    TRY(field_path(r, span_of(field.ptr + name, n - name), &v));
    if (n + 1 < field.len && field.ptr[n] == '!') {
        conversion = field.ptr[n + 1];
        n += 2;
    }
    if (n < field.len && field.ptr[n] != ':')
        return jinja_error(r, "expected ':' in a field to format");
    TRY(read_spec(r, span_from(field, n + 1), &s));
    if (conversion && !strchr("rsa", conversion))
        return jinja_error(r, "no conversion '%c'", conversion);
    mark = jinja_mark(r);
    if (conversion == 'r' || conversion == 'a') {
        TRY(jinja_put_repr(r, &v));
        TRY(jinja_cut(r, mark, &v));
    } else if (conversion == 's') {
        TRY(jinja_to_str(r, &v, &v));
    }
    return put_value(r, &s, &v);
}

int jinja_format(struct jinja_run *r, struct span fmt, const struct jinja_args *args)
{
    size_t automatic = 0, i = 0;
    TRY(jinja_charge(r, fmt.len / 16));
    while (i < fmt.len) {
        char c = fmt.ptr[i], next = i + 1 < fmt.len ? fmt.ptr[i + 1] : '\0';
        if (c != '{' && c != '}') {
            buf_char(r->out, c);
            i++;
            continue;
        }
        if (next == c) {
            buf_char(r->out, c);
            i += 2;
            continue;
        }
        const char *end = memchr(fmt.ptr + i, '}', fmt.len - i);
        if (c == '}' || !end)
            return jinja_error(r, "a single '%c' in a format", c);
        struct span field = span_of(fmt.ptr + i + 1, (size_t)(end - fmt.ptr) - i - 1);
        if (field.len && memchr(field.ptr, '{', field.len))
            return err_set(NUN_EUNSUP, "a field within a field of a format");
        TRY(put_field(r, field, args, &automatic));
        i = (size_t)(end - fmt.ptr) + 1;
    }
    return buf_error(r->out);
}

/* ---- reading numbers ------------------------------------------------------------------------------------------------------------ */

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10 : 99;
}

/* 0x, 0o, 0b when the base allows it. */
static struct span skip_prefix(struct span s, int64_t *base)
{
    static const struct { char letter; int base; } rows[] = {{'x', 16}, {'o', 8}, {'b', 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && s.len > 2 && *s.ptr == '0'; i++)
        if ((s.ptr[1] | 0x20) == rows[i].letter && (*base == 0 || *base == rows[i].base)) {
            *base = rows[i].base;
            return span_from(s, s.ptr[2] == '_' ? 3 : 2);
        }
    if (*base == 0)
        *base = 10;
    return s;
}

bool jinja_read_int(struct span s, int64_t base, int64_t *out)
{
    char sign = 0;
    int64_t v = 0;
    bool digit = false;
    s = jinja_strip(s, NULL, true, true);
    take(&s, "+-", &sign);
    s = skip_prefix(s, &base);
    for (size_t i = 0; i < s.len; i++) {
        int d = digit_of(s.ptr[i]);
        bool joins = s.ptr[i] == '_' && digit && i + 1 < s.len;
        if (!joins && (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_sub_overflow(v, d, &v)))
            return false;
        digit = !joins;
    }
    if (!digit || (sign != '-' && v == INT64_MIN))
        return false;
    *out = sign == '-' ? v : -v; /* counted below zero, where there is one more */
    return true;
}

bool jinja_read_float(struct span s, double *out)
{
    char text[BODY_BYTES], *end;
    size_t n = 0;
    s = jinja_strip(s, NULL, true, true);
    if (!s.len || s.len >= sizeof text)
        return false;
    bool named = memchr("iInN", s.ptr[s.len > 1 && strchr("+-", *s.ptr)], 4) != NULL;
    for (size_t i = 0; i < s.len; i++) {
        bool joins = s.ptr[i] == '_' && i && i + 1 < s.len && isdigit((unsigned char)s.ptr[i - 1]) &&
                     isdigit((unsigned char)s.ptr[i + 1]);
        if (joins)
            continue;
        if (!s.ptr[i] || (!named && !strchr("0123456789+-.eE", s.ptr[i])) || (named && strchr("()0123456789", s.ptr[i])))
            return false;
        text[n++] = s.ptr[i];
    }
    text[n] = '\0';
    *out = strtod(text, &end);
    return end == text + n;
}
