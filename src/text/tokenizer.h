/* Tokenizers: text to ids and back. A tokenizer is immutable once made, and may be used by any
 * number of threads. What a file says that we cannot do exactly is refused with its JSON path.
 * Knows nothing of models or templates; the runtime, data, training and tools call it. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H
#include <stdbool.h>
#include "base/buf.h"
#include "text/ids.h"

struct tokenizer;

enum tok_flags {
    TOK_ADD_SPECIAL = 1,   /* encode: run the post-processor (<s> ... </s>) */
    TOK_PARSE_SPECIAL = 2, /* encode: special strings in the text become special ids; without it they never do */
    TOK_SKIP_SPECIAL = 4,  /* decode: leave special tokens out */
    TOK_GOES_ON = 8,       /* encode: the text continues another, so nothing is put before its first word */
};

/* The parts that tokenizer_config.json names; -1 where a tokenizer has none. */
enum tok_role { TOK_NO_ROLE = -1, TOK_BOS, TOK_EOS, TOK_PAD, TOK_UNK, TOK_SEP, TOK_CLS, TOK_MASK, TOK_ROLE_COUNT };

/* A folder, or one file of a kind that the table of sources knows (tokenizer.json, ...). */
int tokenizer_load(const char *path, struct tokenizer **out);
/* The bytes of a tokenizer.json alone, without the facts of the files beside it. */
int tokenizer_from_json(struct span json, struct tokenizer **out);
/* One special string more, while nothing else uses the tokenizer yet; its id is another's nowhere. */
int tokenizer_add(struct tokenizer *t, struct span text, int32_t id);
void tokenizer_free(struct tokenizer *t); /* NULL is fine */

/* Append the ids of UTF-8 `text` to `out`. On failure `out` keeps what it held before. */
int tokenizer_encode(const struct tokenizer *t, struct span text, unsigned flags, struct ids *out);
/* Append the text of ids[0..n) to `out`, always valid UTF-8. Ids that the tokenizer does not have (a
 * model may pad its embedding) give no text. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags, struct buf *out);

/* Append the bytes that one id adds to a text behind the token `behind` (-1: where a text begins): parts of a
 * character too, nothing for special tokens and ids without a piece. */
int tokenizer_bytes(const struct tokenizer *t, int32_t behind, int32_t id, struct buf *out);
/* A token of plain text, for tokenizer_bytes; -1 when there is none. */
int32_t tokenizer_plain_token(const struct tokenizer *t);
/* The piece as the file spells it ("Ġthe"); {NULL, 0} for an id without one. Borrowed. */
struct span tokenizer_token(const struct tokenizer *t, int32_t id);
/* The id of a piece or an added token, -1 when there is none. */
int32_t tokenizer_id_of(const struct tokenizer *t, struct span piece);
/* One past the greatest id. */
size_t tokenizer_vocab_size(const struct tokenizer *t);
int32_t tokenizer_role(const struct tokenizer *t, enum tok_role role);
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
/* Where the first string that TOK_PARSE_SPECIAL would look for begins, and its length; text.len: none. Strings that
 * become special by normalisation only are not seen. */
size_t tokenizer_find_special(const struct tokenizer *t, struct span text, size_t *len);
/* Does TOK_ADD_SPECIAL put the bos id in front? A template that writes it too would double it. */
bool tokenizer_adds_bos(const struct tokenizer *t);

/* Text as it streams out of a model: never half a character. All pieces together are what
 * tokenizer_decode gives for all ids (where bytes are broken the number of U+FFFD may differ). One stream belongs to one thread; the tokenizer must outlive it. */
struct tok_stream;
int tok_stream_create(const struct tokenizer *t, unsigned flags, struct tok_stream **out);
/* Before the first push: the text goes on behind this id, so that its first word keeps the blank before it. */
int tok_stream_after(struct tok_stream *s, int32_t id);
int tok_stream_push(struct tok_stream *s, int32_t id, struct buf *out);
/* What is left of an unfinished character comes out as U+FFFD; the stream may then be used anew. */
int tok_stream_end(struct tok_stream *s, struct buf *out);
void tok_stream_free(struct tok_stream *s); /* NULL is fine */

/* Write tokenizer.json, tokenizer_config.json and special_tokens_map.json into the folder. */
int tokenizer_save(const struct tokenizer *t, const char *dir);

struct tok_special { const char *content; enum tok_role role; };
struct tok_train {
    size_t vocab_size;                 /* 256 bytes, the special tokens and the merges together */
    const struct tok_special *special; /* take ids 0, 1, ... in this order */
    size_t n_special;
    const char *pattern;               /* pre-tokenisation regex; NULL is GPT-2's */
    uint64_t min_count;                /* a pair seen less often is not merged; 0 is 2 */
    bool add_bos, add_eos;             /* TOK_ADD_SPECIAL puts them around a text */
};
/* Train byte-level BPE: the most frequent pair first, ties to the smaller ids. The vocabulary stays
 * smaller than asked when no pair is left. Deterministic. */
int tokenizer_train_bpe(const struct span *texts, size_t n, const struct tok_train *how, struct tokenizer **out);

#endif
