/* From the facts of an older tokenizer file to a tokenizer.json document: stages, merges worked out from scores, added
 * tokens. Knows nothing of file formats. */
/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include "formats/json.h"
#include "text/tok_raw.h"

#define MARK "\xe2\x96\x81" /* U+2581, SentencePiece's blank */

void tok_raw_init(struct tok_raw *r)
{
    *r = (struct tok_raw){.prefix = TOK_PREPEND_ALWAYS};
    arena_init(&r->mem, MEM_TEXT, 0);
    for (int i = 0; i < TOK_ROLE_COUNT; i++)
        r->role[i] = -1;
}

void tok_raw_free(struct tok_raw *r)
{
    mem_free(r->piece);
    json_decref(r->merges);
    arena_free(&r->mem);
}

int tok_raw_push(struct tok_raw *r, struct span text, double score, enum tok_kind kind)
{
    TRY(limit_check(LIMIT_vocab, r->n + 1, "vocabulary"));
    TRY(limit_check(LIMIT_token_bytes, text.len, "piece of a vocabulary"));
    if (text.len && !utf8_valid(text.ptr, text.len))
        return err_set(NUN_EFORMAT, "piece %zu: expected UTF-8", r->n);
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 1024;
        struct tok_raw_piece *grown = mem_realloc(MEM_TEXT, r->piece, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        r->piece = grown;
        r->cap = cap;
    }
    r->piece[r->n++] = (struct tok_raw_piece){text, score, kind};
    return 0;
}

/* ---- merges from scores: every way to put a piece together from two others, best piece first ---- */

struct split { double key; uint32_t left_len, right_len, order; int32_t left, right; };

/* The best piece first. Where one piece has several splits, the order is that of the ecosystem's converter; here
 * it does not matter, since they have one rank. */
static int by_key(const void *x, const void *y)
{
    const struct split *a = x, *b = y;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->left_len != b->left_len)
        return a->left_len > b->left_len ? -1 : 1;
    if (a->right_len != b->right_len)
        return a->right_len > b->right_len ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

struct splits { struct split *at; size_t n, cap; };

static int add_split(struct splits *s, struct split item)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 4096;
        struct split *grown = mem_realloc(MEM_TEXT, s->at, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        s->at = grown;
        s->cap = cap;
    }
    item.order = (uint32_t)s->n;
    s->at[s->n++] = item;
    return 0;
}

static int add_splits(const struct tok_raw *r, const struct map *ids, size_t piece, struct splits *out)
{
    struct span text = r->piece[piece].text;
    uint32_t total = 0, left = 0, cp;
    for (size_t i = 0; i < text.len; total++)
        i += tok_char_at(text, i, &cp);
    for (size_t i = tok_char_at(text, 0, &cp); i < text.len; i += tok_char_at(text, i, &cp)) {
        int64_t l, t;
        left++;
        if (!map_get(ids, span_of(text.ptr, i), &l) || !map_get(ids, span_from(text, i), &t))
            continue;
        double key = r->ranked ? r->piece[piece].score : -r->piece[piece].score;
        TRY(add_split(out, (struct split){key, left, total - left, 0, (int32_t)l, (int32_t)t}));
    }
    return 0;
}

static int collect_splits(const struct tok_raw *r, struct splits *out)
{
    struct map ids;
    int rc = 0;
    map_init(&ids, MEM_TEXT);
    for (size_t i = 0; rc >= 0 && i < r->n; i++)
        if (r->piece[i].kind == TOK_KIND_NORMAL && r->piece[i].text.len)
            rc = map_put(&ids, r->piece[i].text, (int64_t)i, NULL);
    for (size_t i = 0; rc >= 0 && i < r->n; i++)
        if (r->piece[i].kind == TOK_KIND_NORMAL && r->piece[i].text.len)
            rc = add_splits(r, &ids, i, out);
    map_free(&ids);
    return rc < 0 ? rc : 0;
}

/* [left, right, rank]: SentencePiece and tiktoken look at the whole piece alone, so all of its splits have one
 * rank, and equal ranks go to the leftmost place. */
static int append_splits(const struct tok_raw *r, const struct splits *s, json_t *list)
{
    int rank = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct span l = r->piece[s->at[i].left].text, t = r->piece[s->at[i].right].text;
        rank += i && s->at[i].key != s->at[i - 1].key;
        if (json_array_append_new(list, json_pack("[s%s%i]", l.ptr, l.len, t.ptr, t.len, rank)))
            return NUN_ENOMEM;
    }
    return 0;
}

static json_t *merges_json(const struct tok_raw *r)
{
    struct splits s = {0};
    if (r->merges)
        return json_incref(r->merges);
    json_t *list = json_array();
    int rc = list ? collect_splits(r, &s) : NUN_ENOMEM;
    if (rc == 0 && s.n)
        qsort(s.at, s.n, sizeof *s.at, by_key);
    if (rc == 0)
        rc = append_splits(r, &s, list);
    mem_free(s.at);
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

/* ---- parts of the document: each returns a new value, or NULL when memory ran out ---- */

static json_t *object_vocab(const struct tok_raw *r)
{
    json_t *vocab = json_object();
    for (size_t i = 0; vocab && i < r->n; i++) {
        struct span text = r->piece[i].text;
        if (!text.len || json_object_getn(vocab, text.ptr, text.len))
            continue; /* an id may have no text; a text that is there twice has its first id */
        if (json_object_setn_new(vocab, text.ptr, text.len, json_integer((json_int_t)i))) {
            json_decref(vocab);
            return NULL;
        }
    }
    return vocab;
}

static json_t *scored_vocab(const struct tok_raw *r)
{
    json_t *vocab = json_array();
    for (size_t i = 0; vocab && i < r->n; i++) {
        const struct tok_raw_piece *p = &r->piece[i];
        double score = p->kind == TOK_KIND_UNUSED ? TOK_NEVER : p->score;
        if (json_array_append_new(vocab, json_pack("[s%f]", p->text.ptr, p->text.len, score))) {
            json_decref(vocab);
            return NULL;
        }
    }
    return vocab;
}

static json_t *role_text(const struct tok_raw *r, enum tok_role role)
{
    int32_t id = r->role[role];
    return id >= 0 && (size_t)id < r->n ? json_stringn(r->piece[id].text.ptr, r->piece[id].text.len) : json_null();
}

static json_t *model_json(const struct tok_raw *r)
{
    switch (r->model) {
    case TOK_RAW_UNIGRAM:
        return json_pack("{s:s,s:o,s:b,s:o}", "type", "Unigram", "unk_id",
                         r->role[TOK_UNK] >= 0 ? json_integer(r->role[TOK_UNK]) : json_null(), "byte_fallback",
                         (int)r->byte_fallback, "vocab", scored_vocab(r));
    case TOK_RAW_WORDPIECE:
        return json_pack("{s:s,s:o,s:s,s:i,s:o}", "type", "WordPiece", "unk_token", role_text(r, TOK_UNK),
                         "continuing_subword_prefix", "##", "max_input_chars_per_word", 100, "vocab", object_vocab(r));
    default:
        return json_pack("{s:s,s:n,s:o,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                         r->preset ? json_null() : role_text(r, TOK_UNK), "continuing_subword_prefix",
                         "end_of_word_suffix", "fuse_unk", !r->preset, "byte_fallback", (int)r->byte_fallback,
                         "ignore_merges", r->preset && (r->preset->on & PRESET_WHOLE), "vocab", object_vocab(r),
                         "merges", merges_json(r));
    }
}

static json_t *added_json(const struct tok_raw *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->n; i++) {
        const struct tok_raw_piece *p = &r->piece[i];
        bool special = p->kind == TOK_KIND_CONTROL || p->kind == TOK_KIND_UNKNOWN;
        if ((!special && p->kind != TOK_KIND_USER) || !p->text.len)
            continue;
        if (json_array_append_new(list, json_pack("{s:i,s:s%,s:b,s:b}", "id", (int)i, "content", p->text.ptr,
                                                  p->text.len,
                                                  "normalized", 0, "special", (int)special))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *charsmap_json(const struct tok_raw *r)
{
    size_t cap = sodium_base64_ENCODED_LEN(r->charsmap.len, sodium_base64_VARIANT_ORIGINAL);
    char *text = mem_alloc(MEM_TEXT, cap);
    if (!text)
        return NULL;
    sodium_bin2base64(text, cap, (const unsigned char *)r->charsmap.ptr, r->charsmap.len,
                      sodium_base64_VARIANT_ORIGINAL);
    json_t *step = json_pack("{s:s,s:s,s:b}", "type", "Precompiled", "precompiled_charsmap", text, "graphemes", 0);
    mem_free(text);
    return step;
}

static json_t *sequence(const char *members, json_t *list)
{
    return json_pack("{s:s,s:o}", "type", "Sequence", members, list);
}

static json_t *replace_json(const char *kind, const char *from, const char *to)
{
    return json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", kind, from, "content", to);
}

/* SentencePiece: compiled normalisation, blanks collapsed, one in front, all of them written as the mark. */
static json_t *sentencepiece_normalizer(const struct tok_raw *r)
{
    json_t *list = json_array();
    int bad = !list;
    if (r->charsmap.len)
        bad |= json_array_append_new(list, charsmap_json(r));
    if (r->collapse_spaces) {
        bad |= json_array_append_new(list, replace_json("Regex", " {2,}", " "));
        bad |= json_array_append_new(list, replace_json("Regex", "\\A ", ""));
    }
    if (r->prefix == TOK_PREPEND_ALWAYS)
        bad |= json_array_append_new(list, json_pack("{s:s,s:s}", "type", "Prepend", "prepend", MARK));
    bad |= json_array_append_new(list, replace_json("String", " ", MARK));
    if (r->collapse_spaces) /* marks of the text itself too */
        bad |= json_array_append_new(list, replace_json("Regex", "(?<!" MARK ")" MARK "++\\z", ""));
    if (!bad)
        return sequence("normalizers", list);
    json_decref(list);
    return NULL;
}

static json_t *normalizer_json(const struct tok_raw *r)
{
    if (r->model == TOK_RAW_WORDPIECE)
        return json_pack("{s:s,s:b,s:b,s:b,s:b}", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars",
                         !r->keep_han,
                         "strip_accents", !r->keep_accents, "lowercase", (int)r->lowercase);
    if (!r->preset)
        return sentencepiece_normalizer(r);
    return r->preset->on & PRESET_NFC ? json_pack("{s:s}", "type", "NFC") : json_null();
}

static json_t *byte_level_splitter(const struct tok_raw *r)
{
    const struct tok_preset *preset = r->preset;
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; i < sizeof preset->patterns / sizeof *preset->patterns && preset->patterns[i]; i++)
        bad |= json_array_append_new(list, json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex",
                                                     preset->patterns[i],
                                                     "behavior", "Isolated", "invert", 0));
    bad |= json_array_append_new(list, json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space",
                                                 r->prefix == TOK_PREPEND_ALWAYS,
                                                 "trim_offsets", 1, "use_regex", (preset->on & PRESET_GPT2) != 0));
    if (!bad)
        return sequence("pretokenizers", list);
    json_decref(list);
    return NULL;
}

/* May a text be cut before each mark? Not when a piece reaches over one. */
static bool pieces_are_words(const struct tok_raw *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct span text = r->piece[i].text;
        if (text.len > 1 && memmem(text.ptr + 1, text.len - 1, MARK, sizeof MARK - 1))
            return false;
    }
    return true;
}

static json_t *sentencepiece_splitter(const struct tok_raw *r)
{
    bool words = r->model == TOK_RAW_UNIGRAM && pieces_are_words(r);
    if (r->prefix == TOK_PREPEND_FIRST)
        return json_pack("{s:s,s:s,s:s,s:b}", "type", "Metaspace", "replacement", MARK, "prepend_scheme", "first",
                         "split", (int)words);
    if (!words)
        return json_null();
    return json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "String", MARK, "behavior",
                     "MergedWithNext", "invert", 0);
}

static json_t *splitter_json(const struct tok_raw *r)
{
    if (r->preset)
        return byte_level_splitter(r);
    return r->model == TOK_RAW_WORDPIECE ? json_pack("{s:s}", "type", "BertPreTokenizer") : sentencepiece_splitter(r);
}

static json_t *decoder_json(const struct tok_raw *r)
{
    if (r->preset)
        return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1,
                         "use_regex", 1);
    if (r->model == TOK_RAW_WORDPIECE)
        return json_pack("{s:s,s:s,s:b}", "type", "WordPiece", "prefix", "##", "cleanup", 1);
    return json_pack("{s:s,s:[{s:s,s:{s:s},s:s},{s:s},{s:s},{s:s,s:s,s:i,s:i}]}", "type", "Sequence", "decoders",
                     "type", "Replace", "pattern", "String", MARK, "content", " ", "type", "ByteFallback", "type",
                     "Fuse", "type", "Strip", "content", " ", "start",
                     r->collapse_spaces ? INT32_MAX : r->prefix != TOK_PREPEND_NEVER, "stop", 0);
}

static int end_of(const struct tok_raw *r, enum tok_role role, struct span *text, int32_t *id)
{
    *id = r->role[role];
    if (*id < 0 || (size_t)*id >= r->n)
        return err_set(NUN_EFORMAT, "tokenizer: \"%s\" is to be added and not there", tok_role_key(role));
    *text = r->piece[*id].text;
    return 0;
}

static int post_json(const struct tok_raw *r, json_t **out)
{
    bool words = r->model == TOK_RAW_WORDPIECE;
    struct tok_ends ends = {0};
    if (r->add_bos)
        TRY(end_of(r, words ? TOK_CLS : TOK_BOS, &ends.bos, &ends.bos_id));
    if (r->add_eos)
        TRY(end_of(r, words ? TOK_SEP : TOK_EOS, &ends.eos, &ends.eos_id));
    if (r->add_bos || r->add_eos)
        return tok_ends_json(&ends, out);
    *out = json_null();
    return 0;
}

static int config_roles(const struct tok_raw *r, json_t *config)
{
    for (int i = 0; i < TOK_ROLE_COUNT; i++) {
        const char *key = tok_role_key((enum tok_role)i);
        const json_t *there = json_object_get(config, key);
        if ((!there || json_is_null(there)) && r->role[i] >= 0 && (size_t)r->role[i] < r->n &&
            json_object_set_new(config, key, role_text(r, (enum tok_role)i)))
            return NUN_ENOMEM;
    }
    return 0;
}

int tok_raw_document(const struct tok_raw *r, json_t *config, json_t **doc)
{
    unsigned mark = json_mark();
    json_t *post = NULL;
    TRY(config_roles(r, config));
    TRY(post_json(r, &post));
    *doc = json_pack("{s:s,s:n,s:n,s:o,s:o,s:o,s:o,s:o,s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added_json(r), "normalizer", normalizer_json(r), "pre_tokenizer",
                     splitter_json(r), "post_processor", post, "decoder", decoder_json(r), "model", model_json(r));
    if (*doc && json_check(mark) == 0)
        return 0;
    json_decref(*doc);
    return err_set(NUN_ENOMEM, "tokenizer: out of memory while converting");
}
