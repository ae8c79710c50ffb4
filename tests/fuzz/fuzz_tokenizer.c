/* Fuzz target: a tokenizer.json, then after a 0x1e byte a text for it. What loads must encode to ids of its own
 * vocabulary, and decode to UTF-8, all at once and as a stream. */
/* SPDX-License-Identifier: MIT */
#include "base/limits.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct tokenizer *t, const struct ids *ids)
{
    struct buf all, streamed;
    struct tok_stream *s = NULL;
    buf_init(&all, MEM_TEST, LIMIT_OF(text_bytes));
    buf_init(&streamed, MEM_TEST, LIMIT_OF(text_bytes));
    if (tokenizer_decode(t, ids->at, ids->n, TOK_SKIP_SPECIAL, &all) == 0 && all.len && !utf8_valid(all.ptr, all.len))
        __builtin_trap();
    if (tok_stream_create(t, 0, &s) == 0) {
        for (size_t i = 0; i < ids->n && tok_stream_push(s, ids->at[i], &streamed) == 0; i++)
            if (streamed.len && !utf8_valid(streamed.ptr, streamed.len))
                __builtin_trap();
        (void)tok_stream_end(s, &streamed);
    }
    tok_stream_free(s);
    buf_free(&streamed);
    buf_free(&all);
}

static void encode(const struct tokenizer *t, struct span text, unsigned flags)
{
    struct ids ids = {0};
    if (tokenizer_encode(t, text, flags, &ids) == 0)
        for (size_t i = 0; i < ids.n; i++)
            if (!tokenizer_token(t, ids.at[i]).ptr)
                __builtin_trap();
    decode(t, &ids);
    ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0x1e, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    struct span text = end ? span_of(end + 1, size - n - 1) : SPAN("a b");
    struct tokenizer *t = NULL;
    if (tokenizer_from_json(span_of(data, n), &t) != 0)
        return 0;
    encode(t, text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL);
    encode(t, text, 0);
    tokenizer_free(t);
    return 0;
}
