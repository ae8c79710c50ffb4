/* Writing tokenizer.ggml.* keys. The kind of model is known by its parts; how text is cut before byte-level
 * BPE has only names in GGUF, found by comparing the cuts with those of the presets. */
/* SPDX-License-Identifier: MIT */
#include "formats/json.h"
#include "text/tok_raw.h"
#include "text/tok_to_gguf.h"

#define KEY(name) "tokenizer.ggml." name
enum { CUTS = 8 };

/* ---- what kind ----------------------------------------------------------------------------------- */

/* Is there a step of this type in a normalizer, a pre-tokenizer or a decoder, alone or in a sequence? */
static const json_t *step(const json_t *stage, const char *members, const char *type)
{
    const json_t *list = json_object_get(stage, members), *one;
    size_t i;
    const char *own = json_string_value(json_object_get(stage, "type"));
    if (own && !strcmp(own, type))
        return stage;
    json_array_foreach(list, i, one) {
        const char *name = json_string_value(json_object_get(one, "type"));
        if (name && !strcmp(name, type))
            return one;
    }
    return NULL;
}

static bool is_byte_level(const struct tokenizer *t)
{
    return step(json_object_get(t->doc, "pre_tokenizer"), "pretokenizers", "ByteLevel") ||
           step(json_object_get(t->doc, "decoder"), "decoders", "ByteLevel");
}

static const char *kind_of(const struct tokenizer *t)
{
    static const struct { const char *type, *name; } rows[] = {{"Unigram", "t5"}, {"WordPiece", "bert"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(t->model->type, rows[i].type))
            return rows[i].name;
    if (strcmp(t->model->type, "BPE") != 0)
        return NULL;
    return is_byte_level(t) ? "gpt2" : "llama";
}

/* ---- cuts ---------------------------------------------------------------------------------------- */

struct cuts { const char *at[CUTS]; int n; bool own_regex; };

static int add_cut(const json_t *s, struct cuts *c)
{
    const char *type = json_string_value(json_object_get(s, "type")), *regex;
    if (!type || c->n == CUTS)
        return 1;
    if (!strcmp(type, "ByteLevel")) {
        c->own_regex = !json_is_false(json_object_get(s, "use_regex"));
        return 0;
    }
    if (!strcmp(type, "Digits")) {
        c->at[c->n++] = json_is_true(json_object_get(s, "individual_digits")) ? "\\p{N}" : "\\p{N}+";
        return 0;
    }
    regex = json_string_value(json_object_get(json_object_get(s, "pattern"), "Regex"));
    if (strcmp(type, "Split") != 0 || !regex)
        return 1;
    c->at[c->n++] = regex;
    return 0;
}

/* 1: there is a step that no preset has. */
static int read_cuts(const json_t *stage, struct cuts *c)
{
    const json_t *list = json_object_get(stage, "pretokenizers"), *one;
    size_t i;
    if (!list)
        return stage ? add_cut(stage, c) : 1;
    json_array_foreach(list, i, one)
        if (add_cut(one, c))
            return 1;
    return 0;
}

static bool same_cuts(const struct cuts *c, const struct tok_preset *p)
{
    int n = 0, most = (int)(sizeof p->patterns / sizeof p->patterns[0]);
    while (n < most && p->patterns[n])
        n++;
    if (n != c->n || c->own_regex != ((p->on & PRESET_GPT2) != 0))
        return false;
    for (int i = 0; i < n; i++)
        if (strcmp(c->at[i], p->patterns[i]) != 0)
            return false;
    return true;
}

/* The first name of the preset with the same cuts, one that treats whole words alike before others. */
static int preset_name(const struct tokenizer *t, struct span *out)
{
    struct cuts c = {0};
    bool whole = json_is_true(json_object_get(json_object_get(t->doc, "model"), "ignore_merges"));
    const struct tok_preset *best = NULL, *p;
    int odd = read_cuts(json_object_get(t->doc, "pre_tokenizer"), &c);
    for (size_t i = 0; !odd && (p = tok_preset_at(i)); i++)
        if (same_cuts(&c, p) && (!best || (((p->on & PRESET_WHOLE) != 0) == whole && ((best->on & PRESET_WHOLE) != 0) != whole)))
            best = p;
    if (!best)
        return err_set(NUN_EUNSUP, "tokenizer: GGUF has no name for this way to cut text (pre_tokenizer)");
    *out = span_of(best->names, strcspn(best->names, " "));
    return 0;
}

/* ---- pieces -------------------------------------------------------------------------------------- */

static enum tok_kind kind_of_piece(const struct tokenizer *t, size_t id)
{
    const struct tok_entry *e = &t->vocab[id];
    if (id >= t->n_vocab || !e->text.ptr)
        return TOK_KIND_UNUSED;
    if ((int64_t)id == t->role[TOK_UNK])
        return TOK_KIND_UNKNOWN;
    if (e->added)
        return e->special ? TOK_KIND_CONTROL : TOK_KIND_USER;
    bool byte = json_is_true(json_object_get(json_object_get(t->doc, "model"), "byte_fallback")) && e->text.len == 6 &&
                span_starts(e->text, SPAN("<0x"));
    return byte ? TOK_KIND_BYTE : TOK_KIND_NORMAL;
}

static void put_tokens(const struct tokenizer *t, size_t vocab, struct gguf_meta *meta)
{
    char name[32];
    gguf_set_array(meta, KEY("tokens"), GGUF_STRING, vocab);
    for (size_t i = 0; i < vocab; i++) {
        bool there = i < t->n_vocab && t->vocab[i].text.ptr;
        int n = snprintf(name, sizeof name, "[PAD%zu]", i);
        gguf_item_set_string(meta, there ? t->vocab[i].text : span_of(name, (size_t)n));
    }
    gguf_set_array(meta, KEY("token_type"), GGUF_I32, vocab);
    for (size_t i = 0; i < vocab; i++)
        gguf_item_set_int(meta, GGUF_I32, kind_of_piece(t, i));
}

/* "left right", or [left, right, ...]: both spellings of tokenizer.json. */
static bool merge_parts(const json_t *m, struct span *l, struct span *r)
{
    if (json_is_array(m)) {
        *l = tok_json_str(json_array_get(m, 0));
        *r = tok_json_str(json_array_get(m, 1));
        return l->ptr && r->ptr;
    }
    struct span s = tok_json_str(m);
    const char *blank = s.ptr ? memchr(s.ptr, ' ', s.len) : NULL;
    if (!blank)
        return false;
    *l = span_of(s.ptr, (size_t)(blank - s.ptr));
    *r = span_of(blank + 1, s.len - l->len - 1);
    return true;
}

static int put_merges(const json_t *merges, struct gguf_meta *meta)
{
    struct buf text;
    struct span l, r;
    size_t i;
    const json_t *one;
    buf_init(&text, MEM_TEXT, LIMIT_OF(token_bytes) * 2);
    gguf_set_array(meta, KEY("merges"), GGUF_STRING, json_array_size(merges));
    json_array_foreach(merges, i, one) {
        if (!merge_parts(one, &l, &r))
            break;
        buf_reset(&text);
        buf_span(&text, l);
        buf_char(&text, ' ');
        buf_span(&text, r);
        gguf_item_set_string(meta, buf_view(&text));
    }
    int rc = buf_error(&text);
    buf_free(&text);
    if (rc == 0 && i < json_array_size(merges))
        rc = err_set(NUN_EFORMAT, "tokenizer: merge %zu is not two pieces", i);
    return rc;
}

/* SentencePiece's scores order the merges: a piece is worth its first merge's place. */
static int put_ranks(const struct tokenizer *t, const json_t *merges, size_t vocab, struct gguf_meta *meta)
{
    char joined[1024];
    struct span l, r;
    size_t i;
    const json_t *one;
    float *score = mem_calloc(MEM_TEXT, vocab, sizeof *score);
    if (!score)
        return NUN_ENOMEM;
    json_array_foreach(merges, i, one) {
        if (!merge_parts(one, &l, &r) || l.len + r.len > sizeof joined)
            continue;
        memcpy(joined, l.ptr, l.len);
        memcpy(joined + l.len, r.ptr, r.len);
        int32_t id = tokenizer_id_of(t, span_of(joined, l.len + r.len));
        if (id >= 0 && (size_t)id < vocab && score[id] == 0)
            score[id] = -(float)(i + 1);
    }
    gguf_set_array(meta, KEY("scores"), GGUF_F32, vocab);
    for (i = 0; i < vocab; i++)
        gguf_item_set_float(meta, score[i] == 0 && kind_of_piece(t, i) == TOK_KIND_NORMAL ? -1e6 : (double)score[i]);
    mem_free(score);
    return 0;
}

static void put_scores(const struct tokenizer *t, size_t vocab, struct gguf_meta *meta)
{
    gguf_set_array(meta, KEY("scores"), GGUF_F32, vocab);
    for (size_t i = 0; i < vocab; i++)
        gguf_item_set_float(meta, i < t->n_vocab ? t->vocab[i].score : 0);
}

/* ---- switches ------------------------------------------------------------------------------------ */

/* What encoding shows, whatever the document says it with. */
static int put_switches(const struct tokenizer *t, const char *kind, struct gguf_meta *meta)
{
    static const struct { enum tok_role role; const char *key; } roles[] = {
        {TOK_BOS, KEY("bos_token_id")}, {TOK_EOS, KEY("eos_token_id")}, {TOK_UNK, KEY("unknown_token_id")},
        {TOK_PAD, KEY("padding_token_id")}, {TOK_SEP, KEY("seperator_token_id")}, {TOK_CLS, KEY("cls_token_id")},
        {TOK_MASK, KEY("mask_token_id")}};
    struct ids bare = {0}, full = {0};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (t->role[roles[i].role] >= 0)
            gguf_set_int(meta, roles[i].key, t->role[roles[i].role]);
    int rc = tokenizer_encode(t, SPAN("a"), 0, &bare);
    if (rc >= 0)
        rc = tokenizer_encode(t, SPAN("a"), TOK_ADD_SPECIAL, &full);
    if (rc >= 0 && bare.n) {
        bool before = full.n && full.at[0] != bare.at[0];
        gguf_set_bool(meta, KEY("add_bos_token"), before);
        gguf_set_bool(meta, KEY("add_eos_token"), full.n > bare.n + before);
        if (strcmp(kind, "gpt2") != 0)
            gguf_set_bool(meta, KEY("add_space_prefix"), span_starts(tokenizer_token(t, bare.at[0]), SPAN("\xe2\x96\x81")));
    }
    ids_free(&bare);
    ids_free(&full);
    return rc < 0 ? rc : 0;
}

static int put_model(const struct tokenizer *t, const char *kind, size_t vocab, struct gguf_meta *meta)
{
    struct span pre;
    json_t *model = json_object();
    int rc = !model ? NUN_ENOMEM : t->model->save ? t->model->save(t, model) : 0;
    const json_t *merges = json_object_get(model, "merges");
    if (rc == 0 && !strcmp(kind, "gpt2")) {
        rc = preset_name(t, &pre);
        if (rc == 0) {
            gguf_set_string(meta, KEY("pre"), pre);
            rc = put_merges(merges, meta);
        }
    } else if (rc == 0 && !strcmp(kind, "llama")) {
        gguf_set_string(meta, KEY("pre"), SPAN("default"));
        rc = put_ranks(t, merges, vocab, meta);
    } else if (rc == 0 && !strcmp(kind, "t5")) {
        put_scores(t, vocab, meta);
    }
    json_decref(model);
    return rc;
}

int tok_gguf_meta(const struct tokenizer *t, size_t vocab, struct gguf_meta *meta)
{
    const char *kind = kind_of(t);
    if (!kind || !strcmp(kind, "bert")) /* its pieces are spelled another way there, and no decoder uses it */
        return err_set(NUN_EUNSUP, "tokenizer: a %s model is not written as GGUF", t->model->type);
    if (vocab < t->n_vocab)
        return err_set(NUN_EUNSUP, "tokenizer: %zu tokens, but the embedding has %zu rows", t->n_vocab, vocab);
    gguf_set_string(meta, KEY("model"), span_str(kind));
    put_tokens(t, vocab, meta);
    TRY(put_model(t, kind, vocab, meta));
    return put_switches(t, kind, meta);
}
