/* The canonical JSON writer: insertion order, shortest reals that read back the same, UTF-8 kept. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"

#define REAL_TEXT 40

void json_write_string(struct span text, struct buf *out)
{
    static const char short_escape[] = "btnvfr"; /* 0x08..0x0d; \v has none in JSON */
    size_t plain = 0;
    buf_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, text.ptr + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            buf_printf(out, "\\%c", short_escape[c - 8]);
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_append(out, text.ptr + plain, text.len - plain);
    buf_char(out, '"');
}

void json_write_real(double x, struct buf *out)
{
    char text[REAL_TEXT];
    if (!isfinite(x)) {
        buf_str(out, isnan(x) ? "NaN" : x < 0 ? "-Infinity" : "Infinity");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    for (char *p = text; *p; p++) /* a locale may have its own decimal point */
        if (*p == ',')
            *p = '.';
    buf_str(out, text);
    if (!strpbrk(text, ".e"))
        buf_str(out, ".0");
}

static void indent(enum json_style style, int depth, struct buf *out)
{
    if (style == JSON_PRETTY)
        buf_printf(out, "\n%*s", 2 * depth, "");
}

static void separate(enum json_style style, bool first, int depth, struct buf *out)
{
    if (!first)
        buf_str(out, style == JSON_LINE ? ", " : ",");
    indent(style, depth, out);
}

static int write_value(const json_t *v, enum json_style style, int depth, struct buf *out);

static int write_array(const json_t *v, enum json_style style, int depth, struct buf *out)
{
    size_t i, n = json_array_size(v);
    buf_char(out, '[');
    for (i = 0; i < n; i++) {
        separate(style, i == 0, depth + 1, out);
        TRY(write_value(json_array_get(v, i), style, depth + 1, out));
    }
    if (n)
        indent(style, depth, out);
    buf_char(out, ']');
    return 0;
}

static int write_object(json_t *v, enum json_style style, int depth, struct buf *out)
{
    bool first = true;
    buf_char(out, '{');
    for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it)) {
        separate(style, first, depth + 1, out);
        first = false;
        json_write_string(span_str(json_object_iter_key(it)), out);
        buf_str(out, style == JSON_TIGHT ? ":" : ": ");
        TRY(write_value(json_object_iter_value(it), style, depth + 1, out));
    }
    if (!first)
        indent(style, depth, out);
    buf_char(out, '}');
    return 0;
}

/* Recursion is bounded by the depth check. */
static int write_value(const json_t *v, enum json_style style, int depth, struct buf *out)
{
    TRY(limit_check(LIMIT_json_depth, (size_t)depth, "nesting of a JSON value to write"));
    switch (json_typeof(v)) {
    case JSON_OBJECT: return write_object((json_t *)v, style, depth, out);
    case JSON_ARRAY: return write_array(v, style, depth, out);
    case JSON_STRING: json_write_string(span_of(json_string_value(v), json_string_length(v)), out); break;
    case JSON_INTEGER: buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: json_write_real(json_real_value(v), out); break;
    case JSON_TRUE: buf_str(out, "true"); break;
    case JSON_FALSE: buf_str(out, "false"); break;
    case JSON_NULL: buf_str(out, "null"); break;
    }
    return 0;
}

int json_write(const json_t *value, enum json_style style, struct buf *out)
{
    if (!value)
        return err_set(NUN_EARG, "json_write: no value (out of memory while building it?)");
    TRY(write_value(value, style, 0, out));
    if (style == JSON_PRETTY)
        buf_char(out, '\n');
    return buf_error(out);
}

int json_write_file(const char *path, const json_t *value)
{
    struct buf text;
    buf_init(&text, MEM_FORMAT, LIMIT_OF(json_bytes));
    int rc = json_write(value, JSON_PRETTY, &text);
    if (rc == 0)
        rc = file_write_durable(path, text.ptr, text.len);
    else
        err_at(rc, "%s", path);
    buf_free(&text);
    return rc;
}
