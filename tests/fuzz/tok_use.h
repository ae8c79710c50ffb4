/* What the fuzz targets of tokenizers do with one that was read: encode and decode, whole and as a stream, and stop when
 * an id has no piece or text is not UTF-8. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_TOK_USE_H
#define TESTS_FUZZ_TOK_USE_H
#include "base/limits.h"
#include "base/utf8.h"
#include "text/tok_raw.h"

static inline void use_decode(const struct tokenizer *t, const struct ids *ids)
{
    struct buf all, streamed;
    struct tok_stream *s = NULL;
    buf_init(&all, MEM_TEST, LIMIT_OF(text_bytes));
    buf_init(&streamed, MEM_TEST, LIMIT_OF(text_bytes));
    if (tokenizer_decode(t, ids->at, ids->n, TOK_SKIP_SPECIAL, &all) == 0 && all.len && !utf8_valid(all.ptr, all.len))
        __builtin_trap();
    if (tok_stream_create(t, 0, &s) == 0) {
        for (size_t i = 0, seen = 0; i < ids->n && tok_stream_push(s, ids->at[i], &streamed) == 0; i++) {
            if (streamed.len > seen && !utf8_valid(streamed.ptr + seen, streamed.len - seen)) /* each part of whole characters */
                __builtin_trap();
            seen = streamed.len;
        }
        (void)tok_stream_end(s, &streamed);
    }
    tok_stream_free(s);
    buf_free(&streamed);
    buf_free(&all);
}

static inline void use_encode(const struct tokenizer *t, struct span text, unsigned flags)
{
    struct ids ids = {0};
    if (tokenizer_encode(t, text, flags, &ids) == 0)
        for (size_t i = 0; i < ids.n; i++)
            if (!tokenizer_token(t, ids.at[i]).ptr)
                __builtin_trap();
    use_decode(t, &ids);
    ids_free(&ids);
}

static inline void use_tokenizer(const struct tokenizer *t, struct span text)
{
    use_encode(t, text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL);
    use_encode(t, text, 0);
}

/* A vocabulary of an older kind, which a reader has filled. */
static inline void use_raw(const struct tok_raw *raw)
{
    struct tokenizer *t = NULL;
    json_t *config = json_object(), *doc = NULL;
    if (tok_raw_document(raw, config, &doc) == 0 && tok_config_merge(doc, config) == 0) {
        if (tok_from_doc(json_incref(doc), &t) == 0)
            use_tokenizer(t, SPAN("a b  ab <s> \xc3\xa9\xe6\x97\xa5\n<0x41>"));
        tokenizer_free(t);
    }
    json_decref(doc);
    json_decref(config);
}

#endif
