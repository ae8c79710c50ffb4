/* A tokenizer as GGUF metadata: tokenizer.ggml.* keys, the other way of tok_src_gguf.c. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOK_TO_GGUF_H
#define TEXT_TOK_TO_GGUF_H
#include "formats/gguf_write.h"
#include "text/tokenizer.h"

/* `vocab`: rows of the embedding; ids without a token get a name that is never matched. What GGUF has no
 * word for (a pre-tokenizer without a name) is refused. */
int tok_gguf_meta(const struct tokenizer *t, size_t vocab, struct gguf_meta *meta);

#endif
