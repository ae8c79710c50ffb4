/* The tokenizer: made from a tokenizer.json document, then text in and ids out. What the stages and models do is in
 * the tok_*.c files; where files lie is in tok_source.c. */
/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "formats/json.h"
#include "text/tok_int.h"

/* ---- making ---- */

static int new_tokenizer(struct tokenizer **out)
{
    struct tokenizer *t = mem_calloc(MEM_TEXT, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    arena_init(&t->mem, MEM_TEXT, 0);
    map_init(&t->by_text, MEM_TEXT);
    for (int i = 0; i < TOK_ROLE_COUNT; i++)
        t->role[i] = -1;
    *out = t;
    return 0;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    if (t->model)
        t->model->free(t);
    tok_steps_free(&t->normalizer);
    tok_steps_free(&t->splitter);
    tok_steps_free(&t->post);
    tok_steps_free(&t->decoder);
    tok_regex_free(t->regexes);
    tok_trie_free(&t->raw);
    tok_trie_free(&t->normal);
    map_free(&t->by_text);
    mem_free(t->vocab);
    mem_free(t->added);
    arena_free(&t->mem);
    json_decref(t->doc);
    json_decref(t->config);
    mem_free(t);
}

int tok_regex_add(struct tokenizer *t, struct span pattern, const char *path, const struct tok_regex **out)
{
    struct tok_regex *r;
    int rc = tok_regex_compile(pattern, &r);
    if (rc < 0)
        return err_at(rc, "%s", path);
    tok_regex_link(r, t->regexes);
    t->regexes = r;
    *out = r;
    return 0;
}

static const struct tok_model *const models[] = {
    &tok_model_bpe, &tok_model_unigram, &tok_model_wordpiece, &tok_model_wordlevel, NULL,
};

/* Old files leave the type out: the vocabulary's form and the keys beside it tell. */
static struct span model_type(const json_t *o)
{
    struct span type = tok_json_str(json_object_get(o, "type"));
    if (type.ptr)
        return type;
    if (json_object_get(o, "merges"))
        return SPAN("BPE");
    if (json_is_array(json_object_get(o, "vocab")))
        return SPAN("Unigram");
    return json_object_get(o, "continuing_subword_prefix") ? SPAN("WordPiece") : SPAN("WordLevel");
}

static int parse_model(struct tokenizer *t, json_t *o, const json_t *added)
{
    char keys[256];
    if (!json_is_object(o))
        return err_set(NUN_EFORMAT, "model: expected an object");
    struct span type = model_type(o);
    const struct tok_model *m = NULL;
    for (size_t i = 0; models[i]; i++)
        if (span_is(type, models[i]->type))
            m = models[i];
    if (!m)
        return err_set(NUN_EUNSUP, "model.type: unknown model \"%.*s\"", (int)type.len, type.ptr);
    snprintf(keys, sizeof keys, "type %s", m->keys);
    TRY(tok_json_keys(o, "model", keys));
    const json_t *vocab = json_object_get(o, "vocab");
    t->id_end = 65536 + 4 * (json_object_size(vocab) + json_array_size(vocab) + json_array_size(added));
    TRY(tok_vocab_parse(t, o, m->scored));
    TRY(tok_added_parse(t, added)); /* before the merges: they must know what is special */
    t->model = m;
    return m->parse(t, o, "model");
}

/* "truncation" and "padding" are settings of a call that some files keep; they are saved again, never applied. */
static int parse_top(struct tokenizer *t, json_t *doc)
{
    TRY(tok_json_keys(doc, "tokenizer.json",
                      "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model"));
    struct span version = SPAN("1.0");
    TRY(tok_json_span(doc, "tokenizer.json", "version", &version));
    if (!span_is(version, "1.0"))
        return err_set(NUN_EUNSUP, "version: expected 1.0, found %.*s", (int)version.len, version.ptr);
    TRY(parse_model(t, json_object_get(doc, "model"), json_object_get(doc, "added_tokens")));
    TRY(tok_steps_parse(t, &tok_normalizers, json_object_get(doc, "normalizer"), &t->normalizer));
    TRY(tok_steps_parse(t, &tok_splitters, json_object_get(doc, "pre_tokenizer"), &t->splitter));
    TRY(tok_steps_parse(t, &tok_posts, json_object_get(doc, "post_processor"), &t->post));
    TRY(tok_steps_parse(t, &tok_decoders, json_object_get(doc, "decoder"), &t->decoder));
    return tok_added_seal(t);
}

int tok_from_doc(json_t *doc, struct tokenizer **out)
{
    struct tokenizer *t = NULL;
    int rc = new_tokenizer(&t);
    if (rc < 0) {
        json_decref(doc);
        return rc;
    }
    t->doc = doc;
    rc = parse_top(t, doc);
    if (rc < 0) {
        tokenizer_free(t);
        return rc;
    }
    json_t *model = json_object_get(doc, "model"); /* the tables hold these now */
    json_object_del(model, "vocab");
    json_object_del(model, "merges");
    json_object_del(doc, "added_tokens");
    struct span unk = tok_json_str(json_object_get(model, "unk_token"));
    if (unk.ptr)
        t->role[TOK_UNK] = tokenizer_id_of(t, unk);
    *out = t;
    return 0;
}

int tokenizer_from_json(struct span text, struct tokenizer **out)
{
    json_t *doc;
    TRY(json_parse_span(text, "tokenizer.json", &doc));
    return tok_from_doc(doc, out);
}

/* ---- asking ---- */

struct span tokenizer_token(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->n_vocab ? t->vocab[id].text : (struct span){0};
}

int32_t tokenizer_id_of(const struct tokenizer *t, struct span piece)
{
    int64_t id;
    return map_get(&t->by_text, piece, &id) ? (int32_t)id : -1;
}

size_t tokenizer_vocab_size(const struct tokenizer *t)
{
    return t->n_vocab;
}

int32_t tokenizer_role(const struct tokenizer *t, enum tok_role role)
{
    return role >= 0 && role < TOK_ROLE_COUNT ? t->role[role] : -1;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->n_vocab && t->vocab[id].special;
}

bool tokenizer_adds_bos(const struct tokenizer *t)
{
    for (size_t i = t->post.n; i-- > 0;) /* the last template is the outermost */
        if (t->post.at[i].ids.n)
            return t->role[TOK_BOS] >= 0 && t->post.at[i].ids.at[0] == t->role[TOK_BOS];
    return false;
}

/* ---- encoding ---- */

int tok_work_begin(struct tok_work *w, const struct tokenizer *t, unsigned flags)
{
    *w = (struct tok_work){.t = t, .flags = flags, .credit = (int64_t)LIMIT_OF(piece_steps)};
    arena_init(&w->mem, MEM_TEXT, 0);
    buf_init(&w->piece, MEM_TEXT, LIMIT_OF(text_bytes));
    buf_init(&w->joined, MEM_TEXT, LIMIT_OF(text_bytes));
    return 0;
}

void tok_work_again(struct tok_work *w)
{
    arena_reset(&w->mem);
    w->now.n = w->next.n = 0;
    w->credit = (int64_t)LIMIT_OF(piece_steps);
}

enum { STEPS_PAID = 32 }; /* by a byte of text: more than the pieces of real vocabularies have */

void tok_earn(struct tok_work *w, size_t bytes)
{
    w->credit += (int64_t)(STEPS_PAID * bytes);
}

int tok_pay(struct tok_work *w, size_t steps)
{
    w->credit -= (int64_t)steps;
    return w->credit >= 0 ? 0 : err_set(NUN_ELIMIT, "text to tokenise: looking for its pieces takes more than linear time");
}

void tok_work_end(struct tok_work *w)
{
    arena_free(&w->mem);
    mem_free(w->now.at);
    mem_free(w->next.at);
    mem_free(w->symbols);
    mem_free(w->heap);
    mem_free(w->nodes);
    tok_match_free(w->match);
    buf_free(&w->piece);
    buf_free(&w->joined);
}

/* Does the text still begin where it began when it is normalised? Not when its first character goes. */
static int check_first(struct tok_work *w, struct tok_piece *p)
{
    uint32_t cp;
    struct span head;
    if (!p->first || !p->text.len || !w->t->normalizer.n)
        return 0;
    TRY(tok_normalize(&w->t->normalizer, w, span_of(p->text.ptr, tok_char_at(p->text, 0, &cp)), &head));
    p->first = head.len > 0;
    return 0;
}

/* Text to pieces: added tokens out, the rest normalised, and added tokens out of that. */
static int cut_added(struct tok_work *w, struct span text)
{
    const struct tokenizer *t = w->t;
    TRY(tok_added_cut(t, w, &t->raw, (struct tok_piece){text, -1, !(w->flags & TOK_GOES_ON)}));
    tok_swap_pieces(w);
    for (size_t i = 0; i < w->now.n; i++) {
        struct tok_piece p = w->now.at[i];
        if (p.id >= 0) {
            TRY(tok_pieces_push(&w->next, p));
            continue;
        }
        TRY(check_first(w, &p));
        TRY(tok_normalize(&t->normalizer, w, p.text, &p.text));
        TRY(tok_added_cut(t, w, &t->normal, p));
    }
    tok_swap_pieces(w);
    return 0;
}

int tok_split_text(struct tok_work *w, struct span text)
{
    TRY(cut_added(w, text));
    for (size_t i = 0; i < w->t->splitter.n; i++) {
        TRY(w->t->splitter.at[i].row->run.split(&w->t->splitter.at[i], w));
        tok_swap_pieces(w);
    }
    return 0;
}

/* Pieces seen before in this call: their ids lie in the output already, so a hit is a copy. */
struct seen { uint64_t hash; struct span text; size_t from, count; };
enum { SEEN_MAX = 1 << 15, SEEN_LEN_MAX = 128 };

static int run_model(struct tok_work *w, struct seen *cache, size_t mask, struct ids *out)
{
    for (size_t i = 0; i < w->now.n; i++) {
        struct tok_piece p = w->now.at[i];
        if (p.id >= 0 || !p.text.len) {
            TRY(p.id >= 0 ? ids_push(out, p.id) : 0);
            continue;
        }
        struct seen *s = NULL;
        uint64_t hash = 0;
        if (mask && p.text.len <= SEEN_LEN_MAX) {
            hash = hash64(p.text.ptr, p.text.len, 0);
            s = &cache[hash & mask];
            if (s->hash == hash && span_eq(s->text, p.text)) {
                TRY(ids_repeat(out, s->from, s->count));
                continue;
            }
        }
        size_t from = out->n;
        TRY(w->t->model->run(w->t, w, p.text, out));
        if (s)
            *s = (struct seen){hash, p.text, from, out->n - from};
    }
    return 0;
}

static int encode(struct tok_work *w, struct span text, unsigned flags, struct ids *out)
{
    size_t from = out->n, slots = 64;
    TRY(tok_split_text(w, text));
    while (slots < w->now.n && slots < SEEN_MAX)
        slots *= 2;
    struct seen *cache = w->now.n > 16 ? arena_array(&w->mem, slots, sizeof *cache) : NULL;
    TRY(run_model(w, cache, cache ? slots - 1 : 0, out));
    for (size_t i = 0; (flags & TOK_ADD_SPECIAL) && i < w->t->post.n; i++)
        TRY(w->t->post.at[i].row->run.post(&w->t->post.at[i], out, from));
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, struct span text, unsigned flags, struct ids *out)
{
    TRY(limit_check(LIMIT_text_bytes, text.len, "text to tokenise"));
    if (text.len && !utf8_valid(text.ptr, text.len))
        return err_set(NUN_EARG, "text to tokenise: expected UTF-8");
    struct tok_work w;
    size_t before = out->n;
    TRY(tok_work_begin(&w, t, flags));
    int rc = encode(&w, text, flags, out);
    tok_work_end(&w);
    if (rc < 0)
        out->n = before;
    return rc;
}
