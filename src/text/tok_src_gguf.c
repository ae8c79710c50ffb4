/* The tokenizer inside a GGUF file: tokenizer.ggml.* keys. */
/* SPDX-License-Identifier: MIT */
#include "formats/gguf.h"
#include "text/tok_raw.h"

#define KEY(name) "tokenizer.ggml." name

static const struct { const char *key; enum tok_role role; } role_keys[] = {
    {KEY("bos_token_id"), TOK_BOS}, {KEY("eos_token_id"), TOK_EOS}, {KEY("unknown_token_id"), TOK_UNK},
    {KEY("padding_token_id"), TOK_PAD}, {KEY("seperator_token_id"), TOK_SEP}, {KEY("cls_token_id"), TOK_CLS},
    {KEY("mask_token_id"), TOK_MASK},
};

/* What each kind of model means, what it adds and which ids have a role when the file does not say. */
static const struct kind {
    const char *name;
    enum tok_raw_model model;
    bool byte_level, fallback, collapse, bos, eos;
    int32_t role[TOK_ROLE_COUNT]; /* bos eos pad unk sep cls mask */
} kinds[] = {
    {"gpt2", TOK_RAW_BPE, true, false, false, false, false, {-1, -1, -1, -1, -1, -1, -1}},
    {"llama", TOK_RAW_BPE, false, true, false, true, false, {1, 2, -1, 0, -1, -1, -1}},
    {"t5", TOK_RAW_UNIGRAM, false, false, true, false, true, {-1, 1, 0, 2, -1, -1, -1}},
    {"bert", TOK_RAW_WORDPIECE, false, false, false, true, true, {101, -1, 0, 100, 102, -1, 103}},
};

/* GGUF writes BERT's words with U+2581 in front and the pieces inside of words bare. */
static int word_piece_text(struct tok_raw *r, struct span in, struct span *out)
{
    if (span_starts(in, SPAN("[")) && span_ends(in, SPAN("]"))) {
        *out = in;
        return 0;
    }
    if (span_starts(in, SPAN("\xe2\x96\x81"))) {
        *out = span_from(in, 3);
        return 0;
    }
    char *p = arena_alloc(&r->mem, in.len + 3);
    if (!p)
        return NUN_ENOMEM;
    p[0] = p[1] = '#';
    memcpy(p + 2, in.ptr, in.len);
    *out = span_of(p, in.len + 2);
    return 0;
}

static int read_pieces(const struct gguf *g, const char *path, struct tok_raw *r)
{
    const struct gguf_value *tokens = NULL, *scores = NULL, *types = NULL;
    TRY(gguf_get_array(g, KEY("tokens"), GGUF_STRING, &tokens));
    TRY(gguf_get_array(g, KEY("scores"), GGUF_F32, &scores));
    TRY(gguf_get_array(g, KEY("token_type"), GGUF_I32, &types));
    if (!tokens)
        return err_set(NUN_EFORMAT, "%s: no " KEY("tokens"), path);
    if ((scores && scores->count != tokens->count) || (types && types->count != tokens->count))
        return err_set(NUN_EFORMAT, "%s: %zu tokens, %zu scores, %zu types", path, tokens->count,
                       scores ? scores->count : 0,
                       types ? types->count : 0);
    struct span text;
    for (size_t i = 0, at = 0; gguf_next_string(tokens, &at, &text); i++) {
        int64_t kind = types ? gguf_item_int(types, i) : TOK_KIND_NORMAL;
        if (kind < TOK_KIND_NORMAL || kind > TOK_KIND_BYTE)
            return err_set(NUN_EFORMAT, "%s: token %zu has the unknown type %lld", path, i, (long long)kind);
        if (r->model == TOK_RAW_WORDPIECE)
            TRY(word_piece_text(r, text, &text));
        TRY(tok_raw_push(r, text, scores ? gguf_item_double(scores, i) : 0, (enum tok_kind)kind));
    }
    return 0;
}

static int read_merges(const struct gguf *g, struct tok_raw *r, const char *path)
{
    const struct gguf_value *merges = NULL;
    struct span text;
    TRY(gguf_get_array(g, KEY("merges"), GGUF_STRING, &merges));
    if (!merges)
        return 0; /* worked out from the scores */
    r->merges = json_array();
    for (size_t at = 0; r->merges && gguf_next_string(merges, &at, &text);)
        if (json_array_append_new(r->merges, json_stringn(text.ptr, text.len)))
            return err_set(NUN_EFORMAT, "%s: " KEY("merges") ": item %zu is not UTF-8", path,
                           json_array_size(r->merges));
    return r->merges ? 0 : NUN_ENOMEM;
}

static int read_roles(const struct gguf *g, const struct kind *kind, const char *path, struct tok_raw *r)
{
    for (size_t i = 0; i < sizeof role_keys / sizeof *role_keys; i++) {
        enum tok_role role = role_keys[i].role;
        int64_t id = -1;
        TRY(gguf_get_int(g, role_keys[i].key, 0, UINT32_MAX, &id));
        if (id >= 0 && id != UINT32_MAX && (size_t)id >= r->n) /* all bits set says "none" */
            return err_set(NUN_EFORMAT, "%s: %s is %lld, there are %zu tokens", path, role_keys[i].key, (long long)id,
                           r->n);
        if (id < 0 && (size_t)kind->role[role] < r->n)
            id = kind->role[role];
        r->role[role] = id == UINT32_MAX ? -1 : (int32_t)id;
    }
    if (r->role[TOK_CLS] < 0) /* newer files call them bos and eos */
        r->role[TOK_CLS] = r->role[TOK_BOS];
    if (r->role[TOK_SEP] < 0)
        r->role[TOK_SEP] = r->role[TOK_EOS];
    return 0;
}

static int read_normalizer(const struct gguf *g, const struct kind *kind, const char *path, struct tok_raw *r)
{
    const struct gguf_value *map = gguf_value_find(g, KEY("precompiled_charsmap"));
    bool prefix = true, accents = false;
    r->byte_fallback = kind->fallback;
    r->collapse_spaces = kind->collapse;
    r->lowercase = true;
    if (map && (!map->is_array || (map->type != GGUF_U8 && map->type != GGUF_I8)))
        return err_set(NUN_EFORMAT, "%s: " KEY("precompiled_charsmap") ": expected an array of bytes", path);
    if (map)
        r->charsmap = span_of(map->data, map->bytes);
    TRY(gguf_get_bool(g, KEY("add_space_prefix"), &prefix));
    TRY(gguf_get_bool(g, KEY("remove_extra_whitespaces"), &r->collapse_spaces));
    TRY(gguf_get_bool(g, KEY("normalizer.lowercase"), &r->lowercase));
    accents = r->lowercase;
    TRY(gguf_get_bool(g, KEY("normalizer.strip_accents"), &accents));
    r->keep_accents = !accents;
    r->prefix = prefix && !kind->byte_level ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    return 0;
}

static int read_ends(const struct gguf *g, const struct kind *kind, struct tok_raw *r)
{
    r->add_bos = kind->bos || (r->preset && (r->preset->on & PRESET_BOS));
    r->add_eos = kind->eos || (r->preset && (r->preset->on & PRESET_EOS));
    TRY(gguf_get_bool(g, KEY("add_bos_token"), &r->add_bos));
    if (kind->model == TOK_RAW_WORDPIECE) /* theirs is the separator */
        return gguf_get_bool(g, KEY("add_sep_token"), &r->add_eos);
    return gguf_get_bool(g, KEY("add_eos_token"), &r->add_eos);
}

int tok_gguf_parse(const struct gguf *g, const char *path, struct tok_raw *r)
{
    struct span model = {0}, pre = SPAN("default");
    const struct kind *kind = NULL;
    TRY(gguf_get_string(g, KEY("model"), &model));
    TRY(gguf_get_string(g, KEY("pre"), &pre));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (span_is(model, kinds[i].name))
            kind = &kinds[i];
    if (!kind)
        return err_set(NUN_EUNSUP, "%s: " KEY("model") " is \"%.*s\", which is not known", path, (int)model.len,
                       model.ptr ? model.ptr : "");
    r->model = kind->model;
    r->preset = kind->byte_level ? tok_preset_named(pre) : NULL;
    if (kind->byte_level && !r->preset)
        return err_set(NUN_EUNSUP, "%s: " KEY("pre") " is \"%.*s\", which is not known", path, (int)pre.len, pre.ptr);
    TRY(read_pieces(g, path, r));
    TRY(read_merges(g, r, path));
    if (kind->byte_level && !r->merges)
        return err_set(NUN_EFORMAT, "%s: no " KEY("merges"), path);
    TRY(read_roles(g, kind, path, r));
    TRY(read_normalizer(g, kind, path, r));
    TRY(read_ends(g, kind, r));
    return 0;
}

int tok_read_gguf(const char *path, json_t *config, json_t **doc)
{
    struct gguf *g;
    struct tok_raw raw;
    TRY(gguf_open(path, &g));
    tok_raw_init(&raw);
    int rc = tok_gguf_parse(g, path, &raw);
    if (rc == 0)
        rc = tok_raw_document(&raw, config, doc);
    tok_raw_free(&raw);
    gguf_close(g);
    return rc;
}
