/* Fuzz target: a Jinja template, then after a 0x1e byte its context as JSON. What is read renders within its bounds
 * or fails with a sentence, the same way twice, and leaves nothing in the output when it fails. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTPUT_BYTES = 1 << 20 };

static int render(const struct jinja *t, const json_t *context, struct buf *out)
{
    err_clear();
    buf_init(out, MEM_TEST, OUTPUT_BYTES);
    int rc = jinja_render(t, context, out);
    if (rc < 0 && (out->len || buf_error(out) || !*nun_error()))
        __builtin_trap();
    return rc;
}

static void twice(const struct jinja *t, const json_t *context)
{
    struct buf a, b;
    int first = render(t, context, &a), second = render(t, context, &b);
    if (first != second || !span_eq(buf_view(&a), buf_view(&b)))
        __builtin_trap();
    buf_free(&a);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0x1e, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    struct jinja *t = NULL;
    json_t *context = NULL;
    if (jinja_parse(span_of(data, n), "fuzz", &t) != 0)
        return 0;
    if (end && json_parse_span(span_of(end + 1, size - n - 1), "context", &context) != 0)
        context = NULL;
    if (!json_is_object(context)) {
        json_decref(context);
        context = json_object();
    }
    if (context)
        twice(t, context);
    json_decref(context);
    jinja_free(t);
    return 0;
}
