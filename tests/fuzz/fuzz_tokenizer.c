/* Fuzz target: a tokenizer.json, and behind a byte 0x1e a text for it. Decoding must give valid UTF-8, whole and as a
 * stream, and encoding only ids that exist. */
/* SPDX-License-Identifier: MIT */
#include "tok_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0x1e, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    struct span text = end ? span_of(end + 1, size - n - 1) : SPAN("a b");
    struct tokenizer *t = NULL;
    if (tokenizer_from_json(span_of(data, n), &t) != 0)
        return 0;
    use_tokenizer(t, text);
    tokenizer_free(t);
    return 0;
}
