/* Fuzz target: JSON. What parses must be written, parsed and written again to the same bytes. */
/* SPDX-License-Identifier: MIT */
#include "base/limits.h"
#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int write_text(const json_t *v, struct buf *out)
{
    buf_init(out, MEM_TEST, LIMIT_OF(json_bytes));
    return json_write(v, JSON_TIGHT, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *a = NULL, *b = NULL;
    struct buf first, second;
    if (json_parse_span(span_of(data, size), "input", &a) != 0)
        return 0;
    int rc = write_text(a, &first);
    json_decref(a);
    if (rc == 0) {
        if (json_parse_span(buf_view(&first), "output", &b) != 0 || write_text(b, &second) != 0)
            __builtin_trap();
        if (!span_eq(buf_view(&first), buf_view(&second)))
            __builtin_trap();
        buf_free(&second);
    }
    buf_free(&first);
    json_decref(b);
    return 0;
}
