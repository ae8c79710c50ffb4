/* Older forms of tokenizers (SentencePiece models, GGUF metadata, vocab files, tiktoken ranks) on their way to a
 * tokenizer.json document, the one form that is parsed, saved and tested. Readers fill a struct tok_raw; tok_raw.c
 * writes the document. Only tok_src_*.c, tok_raw.c, tok_preset.c and tok_source.c include this. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOK_RAW_H
#define TEXT_TOK_RAW_H
#include "text/tok_int.h"

/* SentencePiece's numbers, which GGUF uses too. */
enum tok_kind {
    TOK_KIND_NORMAL = 1, TOK_KIND_UNKNOWN, TOK_KIND_CONTROL, TOK_KIND_USER, TOK_KIND_UNUSED, TOK_KIND_BYTE
};

struct tok_raw_piece { struct span text; double score; enum tok_kind kind; };

/* How a family cuts text before byte-level BPE: known by a name, or by the number of tiktoken ranks. */
struct tok_preset {
    const char *names;  /* blank-separated */
    size_t ranks;       /* 0: not a tiktoken vocabulary */
    unsigned on;        /* enum tok_preset_bits */
    const char *patterns[6];
};
enum tok_preset_bits {
    PRESET_NFC = 1,
    PRESET_WHOLE = 2, /* a whole word wins over merges */
    PRESET_BOS = 4, PRESET_EOS = 8, /* around a text, where the file does not say */
    PRESET_GPT2 = 16, /* ByteLevel's own regex runs last */
};
const struct tok_preset *tok_preset_named(struct span name); /* NULL when unknown */
const struct tok_preset *tok_preset_ranked(size_t ranks);
const struct tok_preset *tok_preset_at(size_t i); /* NULL behind the last */

enum tok_raw_model { TOK_RAW_BPE, TOK_RAW_UNIGRAM, TOK_RAW_WORDPIECE };

struct tok_raw {
    struct arena mem;               /* texts that are not the file's own bytes */
    struct tok_raw_piece *piece;    /* [n], index is id */
    size_t n, cap;
    enum tok_raw_model model;
    const struct tok_preset *preset; /* byte-level; NULL: SentencePiece's blanks as U+2581 */
    json_t *merges;                 /* NULL: by score (see `ranked`) */
    bool ranked;                    /* scores are tiktoken ranks: smaller is earlier */
    struct span charsmap;           /* SentencePiece's compiled normalisation */
    enum tok_prepend prefix;        /* a blank in front of no text, the first piece of text, or each */
    bool collapse_spaces, byte_fallback;
    bool lowercase, keep_accents, keep_han; /* WordPiece */
    int32_t role[TOK_ROLE_COUNT];
    bool add_bos, add_eos;          /* cls and sep for WordPiece */
};

void tok_raw_init(struct tok_raw *r);
void tok_raw_free(struct tok_raw *r);
int tok_raw_push(struct tok_raw *r, struct span text, double score, enum tok_kind kind);
/* The document; and in `config` the roles that it does not have yet. */
int tok_raw_document(const struct tok_raw *r, json_t *config, json_t **doc);

/* Readers of files. `config` is tokenizer_config.json with special_tokens_map.json, {} without them; they may add
 * to it. */
int tok_read_spm(const char *path, json_t *config, json_t **doc);      /* tokenizer.model */
int tok_read_gguf(const char *path, json_t *config, json_t **doc);     /* *.gguf */
int tok_read_vocab_json(const char *path, json_t *config, json_t **doc); /* vocab.json with merges.txt beside it */
int tok_read_vocab_txt(const char *path, json_t *config, json_t **doc); /* BERT's vocab.txt */
int tok_read_tiktoken(const char *path, json_t *config, json_t **doc); /* *.tiktoken */

/* The same from bytes, for tests and fuzzers; `place` stands for the path in errors. */
struct gguf;
int tok_spm_parse(struct span file, const char *place, struct tok_raw *out);
int tok_tiktoken_parse(struct span file, const char *place, struct tok_raw *out);
int tok_gguf_parse(const struct gguf *g, const char *place, struct tok_raw *out);

#endif
