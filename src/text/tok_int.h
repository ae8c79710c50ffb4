/* Inside of the tokenizer: what its files share. A tokenizer is a vocabulary, added tokens, and five
 * stages; each stage is a flat list of steps, each step a row of a table {type, keys, parse, run}.
 *
 *   text -> added tokens cut out -> normalise -> pre-tokenise -> model -> post-process -> ids
 *   ids -> pieces -> decode -> text
 *
 * Only tok_*.c and tokenizer.c include this. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_TOK_INT_H
#define TEXT_TOK_INT_H
#include <jansson.h>
#include "base/arena.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/utf8.h"
#include "text/tok_chars.h"
#include "text/tok_pairs.h"
#include "text/tok_regex.h"
#include "text/tokenizer.h"

/* ---- vocabulary ---- */
struct tok_entry {
    struct span text;
    double score;  /* unigram only */
    bool in_model; /* the model's own piece, not only an added token */
    bool added;
    bool special;  /* never made from plain text, and left out by TOK_SKIP_SPECIAL */
};

/* ---- text on its way ---- */
struct tok_piece {
    struct span text;
    int32_t id; /* >= 0: already a token; -1: text */
    bool first; /* begins where the whole text begins */
};
struct tok_pieces { struct tok_piece *at; size_t n, cap; };
int tok_pieces_reserve(struct tok_pieces *p, size_t n); /* room for n in all */
int tok_pieces_push(struct tok_pieces *p, struct tok_piece piece);

/* Scratch of one call. Rewritten text lives in `mem` until the call ends. */
/* Set beside the public flags: a decoder keeps broken bytes as they are. */
enum { TOK_RAW_BYTES = 1 << 16 };

struct tok_work {
    const struct tokenizer *t;
    struct arena mem;
    struct tok_pieces now, next;
    struct tok_match *match; /* made on first use */
    struct tok_symbol *symbols;
    uint64_t *heap;
    size_t symbols_cap, heap_cap;
    struct tok_node *nodes;
    size_t nodes_cap;
    struct buf piece, joined; /* a decoder's: one piece's new text, all bytes as text */
    int64_t credit;           /* steps of looking for pieces that are still paid for */
    unsigned flags;
};

/* ---- steps ---- */
enum tok_behavior {
    TOK_ISOLATED, TOK_REMOVED, TOK_MERGED_WITH_PREVIOUS, TOK_MERGED_WITH_NEXT, TOK_CONTIGUOUS
};
enum tok_prepend { TOK_PREPEND_NEVER, TOK_PREPEND_FIRST, TOK_PREPEND_ALWAYS };
#define TOK_NEVER (-1e300) /* the score of a unigram piece that is in the vocabulary and not used */

/* One step; which fields mean something is the row's business. */
struct tok_step {
    const struct tok_row *row;
    struct span a, b;              /* texts: pattern and content, replacement, prefix */
    const struct tok_regex *regex; /* NULL: `a` is a literal */
    const void *data;
    struct ids ids;                /* templates: ids, with TOK_SLOT where the text goes */
    size_t start, stop;
    unsigned on;                   /* switches, bits of the row's own enum */
    int mode;                      /* behaviour, prepend scheme */
};
#define TOK_SLOT (-1)

struct tok_steps { struct tok_step *at; size_t n, cap; };

/* A table row. `keys` lists the allowed JSON keys besides "type", blank-separated. `parse` fills a
 * zeroed step; rows without one have no parameters. A row without `keys` is a sequence: its members go
 * into the list flat. */
struct tok_row {
    const char *type, *keys;
    int (*parse)(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path);
    union {
        int (*normalize)(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out);
        int (*split)(const struct tok_step *s, struct tok_work *w); /* w->now -> w->next */
        int (*post)(const struct tok_step *s, struct ids *out, size_t from);
        int (*decode)(const struct tok_step *s, struct tok_work *w); /* w->now -> w->next */
    } run;
};

/* The tables: one per stage, ended by a NULL type. `members` is the key of a sequence's list. */
struct tok_stage { const char *key, *members; const struct tok_row *rows; };
extern const struct tok_stage tok_normalizers, tok_splitters, tok_posts, tok_decoders;
int tok_steps_parse(struct tokenizer *t, const struct tok_stage *stage, const json_t *o, struct tok_steps *out);
void tok_steps_free(struct tok_steps *s);

/* Copy `in` with every match of a step's pattern replaced by its `b`. */
int tok_replace(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out);
void tok_swap_pieces(struct tok_work *w); /* w->next becomes w->now, and empty */
/* tok_split.c: Metaspace is a pre-tokenizer and a decoder of the same keys */
int tok_metaspace_parse(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path);
/* Going through the matches of a step's pattern, literal or regex; start with a zeroed one. */
struct tok_scan { size_t from, to, next; bool any; };
/* The next match in scan->from, to: 1, 0 at the end, or negative. */
int tok_scan_next(const struct tok_step *s, struct tok_work *w, struct span text, struct tok_scan *scan);

/* ---- models ---- */
struct tok_model {
    const char *type, *keys;
    bool scored;  /* vocab is [[piece, score], ...], not {piece: id} */
    int (*parse)(struct tokenizer *t, const json_t *o, const char *path);
    int (*run)(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out);
    int (*save)(const struct tokenizer *t, json_t *model); /* what parse consumed beside the vocabulary, or NULL */
    void (*free)(struct tokenizer *t);
};
extern const struct tok_model tok_model_bpe, tok_model_unigram, tok_model_wordpiece, tok_model_wordlevel;

/* ---- added tokens ---- */
struct tok_added { struct span content; int32_t id; bool special, lstrip, rstrip, single_word, normalized; };

/* Words by their bytes: edge (node, byte) -> x the next node; edge (node, TRIE_END) -> x the word's value. */
struct tok_trie { struct tok_pairs next; uint32_t nodes; bool first[256]; };
enum { TRIE_END = 256 };
#define TRIE_NOWHERE UINT32_MAX
int tok_trie_put(struct tok_trie *trie, struct span word, uint32_t value);
uint32_t tok_trie_node(const struct tok_trie *trie, struct span start); /* where that start of words leads; 0: the root */
/* The longest word from `node` on at the start of `text`: its length, or 0. `looked`: bytes that were looked at. */
size_t tok_trie_longest(const struct tok_trie *trie, uint32_t node, struct span text, uint32_t *value, size_t *looked);
void tok_trie_free(struct tok_trie *trie);

struct tokenizer {
    struct arena mem;
    struct tok_entry *vocab; /* [n_vocab], holes have text.ptr NULL */
    size_t n_vocab, cap_vocab, id_end; /* id_end: ids must lie below, so that a file cannot ask for gigabytes */
    struct map by_text;
    struct tok_added *added;
    size_t n_added;
    struct tok_trie raw, normal; /* added tokens matched before and after normalisation */
    struct tok_steps normalizer, splitter, post, decoder;
    const struct tok_model *model;
    void *model_data;
    struct tok_regex *regexes; /* list, for freeing */
    int32_t role[TOK_ROLE_COUNT];
    json_t *doc;    /* tokenizer.json without what the tables above hold */
    json_t *config; /* tokenizer_config.json, or NULL */
    bool clean_up;  /* decoded text loses the blanks before punctuation */
};

/* tokenizer.c */
/* Everything before the model: the pieces end up in w->now. */
int tok_split_text(struct tok_work *w, struct span text);
int tok_from_doc(json_t *doc, struct tokenizer **out); /* steals doc, also on failure */
int tok_work_begin(struct tok_work *w, const struct tokenizer *t, unsigned flags);
void tok_work_again(struct tok_work *w); /* as after begin, memory kept */
void tok_work_end(struct tok_work *w);
/* Looking for pieces is paid for from a credit that grows with the text: a vocabulary and a text that would take more
 * than linear time are an error instead of a hang. */
void tok_earn(struct tok_work *w, size_t bytes);
int tok_pay(struct tok_work *w, size_t steps);
/* The model's id of a piece of ordinary text: no control tokens. -1 when there is none. */
int32_t tok_model_id(const struct tokenizer *t, struct span piece);

/* tok_vocab.c */
int tok_vocab_put(struct tokenizer *t, struct span text, int64_t id, const char *path, struct tok_entry **out);
int tok_vocab_parse(struct tokenizer *t, json_t *model, bool scored);
int tok_added_parse(struct tokenizer *t, const json_t *list);
int tok_added_add(struct tokenizer *t, const struct tok_added *a, const char *path);
/* Build the tries; after the normalizer was parsed. */
int tok_added_seal(struct tokenizer *t);
/* Cut the added tokens of one trie out of `in`, appending to w->next. */
int tok_added_cut(const struct tokenizer *t, struct tok_work *w, const struct tok_trie *trie, struct tok_piece in);

/* tok_config.c */
const char *tok_role_key(enum tok_role role); /* "bos_token" and its like */
/* tokenizer_config.json with the roles of special_tokens_map.json where it has none; an empty object without files. */
int tok_config_read(const char *dir, json_t **out);
int tok_config_prefix(json_t *doc, const json_t *config);
int tok_config_merge(json_t *doc, const json_t *config);         /* before tok_from_doc */
int tok_config_apply(struct tokenizer *t, json_t *config);       /* after it */
/* A post-processor that puts tokens around a text; len 0: none. */
struct tok_ends { struct span bos, eos; int32_t bos_id, eos_id; };
int tok_ends_json(const struct tok_ends *e, json_t **out);

/* tok_norm.c */
int tok_normalize(const struct tok_steps *steps, struct tok_work *w, struct span in, struct span *out);

/* tok_charsmap.c: SentencePiece's compiled normalisation */
struct tok_charsmap;
int tok_charsmap_parse(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path);
int tok_charsmap_run(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out);

/* tok_decode.c */
int tok_decode_raw(struct tok_work *w, const int32_t *ids, size_t n, struct buf *out); /* w: begun, with its flags */
void tok_append_lossy(struct buf *out, struct span bytes); /* invalid UTF-8 becomes U+FFFD */

/* tok_clean.c: clean_up_tokenization_spaces on text that comes in parts, each of whole characters */
enum { TOK_CLEAN_RULES = 10 };
struct tok_cleaner { unsigned char held[TOK_CLEAN_RULES]; };
int tok_clean(struct tok_cleaner *c, struct span in, bool last, struct buf *out);

/* tok_bytes.c: the byte-level alphabet, in which every byte is one printable character */
uint32_t tok_byte_char(unsigned char byte);
int tok_char_byte(uint32_t cp); /* -1: not of the alphabet */
/* The ids of <0x00> ... <0xFF>, -1 where the model has none. */
void tok_byte_ids(const struct tokenizer *t, int32_t ids[256]);

/* tok_json.c: reading with the place in every error */
int tok_json_keys(const json_t *o, const char *path, const char *keys);
/* Absent or null leaves *out as it is. */
int tok_json_bool(const json_t *o, const char *path, const char *key, bool *out);
int tok_json_size(const json_t *o, const char *path, const char *key, size_t *out);
int tok_json_span(const json_t *o, const char *path, const char *key, struct span *out); /* borrowed from o */
/* The same, copied into the tokenizer, and required. */
int tok_json_text(struct tokenizer *t, const json_t *o, const char *path, const char *key, struct span *out);
/* {"String": s} or {"Regex": r}: exactly one of them. */
int tok_json_pattern(struct tokenizer *t, const json_t *o, const char *path, struct tok_step *s);
/* One of a NULL-ended list of words. */
int tok_json_word(const json_t *o, const char *path, const char *key, const char *const *words, int *out);
struct span tok_json_str(const json_t *s); /* borrowed; {NULL, 0} when not a string */
int tok_copy(struct tokenizer *t, struct span in, struct span *out);
/* Compile a regex that the tokenizer will own. */
int tok_regex_add(struct tokenizer *t, struct span pattern, const char *path, const struct tok_regex **out);

#define TOK_PATH 512

#endif
