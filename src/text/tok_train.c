/* Training byte-level BPE: split texts into words, count adjacent pairs, merge the most frequent one, repeat. Ties go
 * to the smaller ids, so the result depends on the texts alone. Called by recipes that make a tokenizer. */
/* SPDX-License-Identifier: MIT */
#include "formats/json.h"
#include "text/tok_int.h"

struct word { int32_t *at; uint32_t n; uint32_t seen; uint64_t count; }; /* seen: last merge that visited it */
struct pair { int32_t a, b; int64_t count; uint32_t *words; uint32_t n, cap; }; /* words that hold, or held, it */
struct candidate { int64_t count; uint32_t pair; };

struct trainer {
    const struct tokenizer *base; /* bytes and special tokens, no merges */
    struct arena mem;
    struct map known; /* word text -> index, later token text -> id */
    struct word *words;
    size_t n_words, cap_words;
    struct tok_pairs index; /* (a, b) -> pair */
    struct pair *pairs;
    size_t n_pairs, cap_pairs;
    struct candidate *heap;
    size_t n_heap, cap_heap;
    struct span *token; /* [n_tokens] */
    size_t n_tokens;
    int32_t (*merges)[2];
    size_t n_merges;
};

#define GROW(t, array, n, cap) grow((void **)&(t)->array, (t)->n, &(t)->cap, sizeof *(t)->array)

/* Room for one more element. */
static int grow(void **array, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? 2 * *cap : 256, bytes;
    if (n < *cap)
        return 0;
    if (ck_mul(more, size, &bytes))
        return err_set(NUN_ELIMIT, "tokenizer training: %zu items do not fit", more);
    void *grown = mem_realloc(MEM_TEXT, *array, bytes);
    if (!grown)
        return NUN_ENOMEM;
    *array = grown;
    *cap = more;
    return 0;
}

/* ---- words ---- */

static int add_word(struct trainer *tr, struct span text)
{
    int64_t at;
    if (map_get(&tr->known, text, &at)) {
        tr->words[at].count++;
        return 0;
    }
    char *copy = arena_strndup(&tr->mem, text.ptr, text.len);
    struct word w = {.at = arena_array(&tr->mem, text.len, sizeof *w.at), .count = 1};
    if (!copy || !w.at)
        return NUN_ENOMEM;
    for (size_t i = 0, len; i < text.len; i += len) {
        uint32_t cp = 0;
        len = utf8_decode(text.ptr + i, text.len - i, &cp);
        w.at[w.n++] = tokenizer_id_of(tr->base, span_of(text.ptr + i, len));
    }
    TRY(GROW(tr, words, n_words, cap_words));
    tr->words[tr->n_words] = w;
    return map_put(&tr->known, span_of(copy, text.len), (int64_t)tr->n_words++, NULL);
}

static int count_words(struct trainer *tr, struct span text)
{
    struct tok_work w;
    TRY(limit_check(LIMIT_text_bytes, text.len, "text to train on"));
    if (text.len && !utf8_valid(text.ptr, text.len))
        return err_set(NUN_EARG, "text to train on: expected UTF-8");
    TRY(tok_work_begin(&w, tr->base, 0));
    int rc = tok_split_text(&w, text);
    for (size_t i = 0; rc == 0 && i < w.now.n; i++)
        rc = add_word(tr, w.now.at[i].text);
    tok_work_end(&w);
    return rc;
}

/* ---- the queue: most frequent first, then smaller ids ---- */

static bool before(const struct trainer *tr, struct candidate x, struct candidate y)
{
    const struct pair *p = &tr->pairs[x.pair], *q = &tr->pairs[y.pair];
    if (x.count != y.count)
        return x.count > y.count;
    return p->a != q->a ? p->a < q->a : p->b < q->b;
}

static int queue(struct trainer *tr, uint32_t pair)
{
    struct candidate c = {tr->pairs[pair].count, pair};
    if (c.count <= 0)
        return 0;
    TRY(GROW(tr, heap, n_heap, cap_heap));
    size_t i = tr->n_heap++;
    for (; i > 0 && before(tr, c, tr->heap[(i - 1) / 2]); i = (i - 1) / 2)
        tr->heap[i] = tr->heap[(i - 1) / 2];
    tr->heap[i] = c;
    return 0;
}

static struct candidate dequeue(struct trainer *tr)
{
    struct candidate top = tr->heap[0], c = tr->heap[--tr->n_heap];
    size_t i = 0;
    for (size_t kid; (kid = 2 * i + 1) < tr->n_heap; i = kid) {
        if (kid + 1 < tr->n_heap && before(tr, tr->heap[kid + 1], tr->heap[kid]))
            kid++;
        if (!before(tr, tr->heap[kid], c))
            break;
        tr->heap[i] = tr->heap[kid];
    }
    tr->heap[i] = c;
    return top;
}

/* ---- pairs ---- */

/* Count a pair of word `w` by `delta`, remembering where it appears. */
static int count_pair(struct trainer *tr, int32_t a, int32_t b, uint32_t w, int64_t delta)
{
    bool made;
    struct tok_pair *slot = tok_pairs_put(&tr->index, (uint32_t)a, (uint32_t)b, &made);
    if (!slot)
        return NUN_ENOMEM;
    if (made) {
        TRY(GROW(tr, pairs, n_pairs, cap_pairs));
        slot->x = (uint32_t)tr->n_pairs;
        tr->pairs[tr->n_pairs++] = (struct pair){.a = a, .b = b};
    }
    struct pair *p = &tr->pairs[slot->x];
    p->count += delta;
    if (delta < 0 || (p->n && p->words[p->n - 1] == w))
        return 0;
    size_t cap = p->cap;
    TRY(grow((void **)&p->words, p->n, &cap, sizeof *p->words));
    p->cap = (uint32_t)cap;
    p->words[p->n++] = w;
    return 0;
}

static int count_pairs(struct trainer *tr)
{
    for (uint32_t i = 0; i < tr->n_words; i++)
        for (uint32_t k = 0; k + 1 < tr->words[i].n; k++)
            TRY(count_pair(tr, tr->words[i].at[k], tr->words[i].at[k + 1], i, (int64_t)tr->words[i].count));
    for (uint32_t i = 0; i < tr->n_pairs; i++)
        TRY(queue(tr, i));
    return 0;
}

/* Merge a, b into id throughout one word, moving the counts of the neighbours' pairs. */
static int merge_word(struct trainer *tr, uint32_t at, int32_t a, int32_t b, int32_t id)
{
    struct word *w = &tr->words[at];
    int64_t count = (int64_t)w->count;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->at[i] != a || i + 1 == w->n || w->at[i + 1] != b) {
            w->at[n++] = w->at[i];
            continue;
        }
        if (n > 0) {
            TRY(count_pair(tr, w->at[n - 1], a, at, -count));
            TRY(count_pair(tr, w->at[n - 1], id, at, count));
        }
        i++;
        if (i + 1 < w->n) {
            TRY(count_pair(tr, b, w->at[i + 1], at, -count));
            TRY(count_pair(tr, id, w->at[i + 1], at, count));
        }
        w->at[n++] = id;
    }
    w->n = n;
    return 0;
}

/* The token that a and b become: a new one, or one spelled the same. */
static int joined(struct trainer *tr, int32_t a, int32_t b, int32_t *out)
{
    struct span l = tr->token[a], r = tr->token[b];
    char *p = arena_alloc(&tr->mem, l.len + r.len + 1);
    int64_t id;
    if (!p)
        return NUN_ENOMEM;
    memcpy(p, l.ptr, l.len);
    memcpy(p + l.len, r.ptr, r.len);
    struct span text = span_of(p, l.len + r.len);
    if (!map_get(&tr->known, text, &id)) {
        id = (int64_t)tr->n_tokens;
        tr->token[tr->n_tokens++] = text;
        TRY(map_put(&tr->known, text, id, NULL));
    }
    *out = (int32_t)id;
    return 0;
}

static int merge_pair(struct trainer *tr, uint32_t index)
{
    struct pair p = tr->pairs[index];
    int32_t id;
    TRY(joined(tr, p.a, p.b, &id));
    tr->merges[tr->n_merges][0] = p.a;
    tr->merges[tr->n_merges++][1] = p.b;
    tr->pairs[index] = (struct pair){.a = p.a, .b = p.b};
    uint32_t first = (uint32_t)tr->n_pairs;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < p.n; i++) {
        struct word *w = &tr->words[p.words[i]];
        if (w->seen != tr->n_merges)
            rc = merge_word(tr, p.words[i], p.a, p.b, id);
        w->seen = (uint32_t)tr->n_merges;
    }
    mem_free(p.words);
    tr->pairs[index].count = 0;
    for (uint32_t i = first; rc == 0 && i < tr->n_pairs; i++)
        rc = queue(tr, i);
    return rc;
}

static int merge_until(struct trainer *tr, size_t vocab_size, uint64_t min_count)
{
    while (tr->n_heap && tr->n_tokens < vocab_size && tr->n_merges < vocab_size) {
        struct candidate top = dequeue(tr);
        if (top.count != tr->pairs[top.pair].count) {
            TRY(queue(tr, top.pair)); /* it fell since it was queued */
            continue;
        }
        if ((uint64_t)top.count < min_count)
            break;
        TRY(merge_pair(tr, top.pair));
    }
    return 0;
}

/* ---- documents ---- */

static json_t *splitter_json(const char *pattern)
{
    if (!pattern)
        return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1);
    return json_pack("{s:s,s:[{s:s,s:{s:s},s:s,s:b},{s:s,s:b,s:b,s:b}]}", "type", "Sequence", "pretokenizers", "type", "Split",
                     "pattern", "Regex", pattern, "behavior", "Isolated", "invert", 0, "type", "ByteLevel",
                     "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 0);
}

static json_t *added_json(const struct tok_train *how)
{
    json_t *list = json_array();
    for (size_t i = 0; i < how->n_special; i++)
        json_array_append_new(list, json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", (int)i, "content", how->special[i].content,
                                              "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    return list;
}

/* <s> text </s>, as far as asked for. */
static json_t *post_json(const struct tok_train *how)
{
    const struct { bool on; enum tok_role role; } ends[2] = {{how->add_bos, TOK_BOS}, {how->add_eos, TOK_EOS}};
    json_t *form = json_pack("[{s:{s:s,s:i}}]", "Sequence", "id", "A", "type_id", 0), *special = json_object();
    bool any = false;
    for (size_t e = 0; e < 2; e++)
        for (size_t i = 0; ends[e].on && i < how->n_special; i++) {
            const char *name = how->special[i].content;
            if (how->special[i].role != ends[e].role)
                continue;
            json_t *item = json_pack("{s:{s:s,s:i}}", "SpecialToken", "id", name, "type_id", 0);
            json_array_insert_new(form, e ? json_array_size(form) : 0, item);
            json_object_set_new(special, name, json_pack("{s:s,s:[i],s:[s]}", "id", name, "ids", (int)i, "tokens", name));
            any = true;
        }
    json_t *pair = json_deep_copy(form), *second = json_pack("{s:{s:s,s:i}}", "Sequence", "id", "B", "type_id", 1);
    json_array_append_new(pair, second);
    json_t *post = json_pack("{s:s,s:o,s:o,s:o}", "type", "TemplateProcessing", "single", form, "pair", pair, "special_tokens", special);
    if (any)
        return post;
    json_decref(post);
    return json_null();
}

/* A tokenizer.json with this vocabulary and these merges. */
static json_t *document(const struct tok_train *how, json_t *vocab, json_t *merges)
{
    json_t *model = json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                              "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", 0, "vocab", vocab, "merges", merges);
    return json_pack("{s:s,s:n,s:n,s:o,s:n,s:o,s:o,s:{s:s,s:b,s:b,s:b},s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added_json(how), "normalizer", "pre_tokenizer", splitter_json(how->pattern),
                     "post_processor", post_json(how), "decoder", "type", "ByteLevel", "add_prefix_space", 1,
                     "trim_offsets", 1, "use_regex", 1, "model", model);
}

/* Special tokens, then the byte alphabet in the order of its characters. */
static int base_vocab(const struct tok_train *how, json_t *vocab)
{
    json_int_t id = 0;
    for (size_t i = 0; i < how->n_special; i++) {
        if (json_object_get(vocab, how->special[i].content))
            return err_set(NUN_EARG, "special token \"%s\": named twice", how->special[i].content);
        json_object_set_new(vocab, how->special[i].content, json_integer(id++));
    }
    for (uint32_t c = 0; c < 0x180; c++) {
        char text[8];
        if (tok_char_byte(c) < 0)
            continue;
        size_t len = utf8_encode(c, text);
        if (json_object_getn(vocab, text, len))
            return err_set(NUN_EARG, "special token \"%.*s\": is a byte of the alphabet", (int)len, text);
        if (json_object_setn_new(vocab, text, len, json_integer(id++)))
            return NUN_ENOMEM;
    }
    return 0;
}

static int make(json_t *doc, const struct tok_train *how, struct tokenizer **out)
{
    if (!doc)
        return err_set(NUN_ENOMEM, "tokenizer training: out of memory, or a pattern that is not UTF-8");
    TRY(tok_from_doc(doc, out));
    for (size_t i = 0; i < how->n_special; i++)
        if (how->special[i].role != TOK_NO_ROLE)
            (*out)->role[how->special[i].role] = (int32_t)i;
    return 0;
}

static int result(const struct trainer *tr, const struct tok_train *how, json_t *vocab, struct tokenizer **out)
{
    json_t *merges = json_array();
    for (size_t i = tr->base->n_vocab; i < tr->n_tokens; i++)
        json_object_setn_new(vocab, tr->token[i].ptr, tr->token[i].len, json_integer((json_int_t)i));
    for (size_t i = 0; i < tr->n_merges; i++) {
        struct span l = tr->token[tr->merges[i][0]], r = tr->token[tr->merges[i][1]];
        json_array_append_new(merges, json_pack("[s%s%]", l.ptr, l.len, r.ptr, r.len));
    }
    if (json_array_size(merges) != tr->n_merges || json_object_size(vocab) != tr->n_tokens) {
        json_decref(merges);
        return err_set(NUN_ENOMEM, "tokenizer training: out of memory");
    }
    return make(document(how, json_incref(vocab), merges), how, out);
}

static int train(struct trainer *tr, const struct span *texts, size_t n, const struct tok_train *how)
{
    for (size_t i = 0; i < n; i++)
        TRY(count_words(tr, texts[i]));
    map_free(&tr->known);
    map_init(&tr->known, MEM_TEXT);
    tr->n_tokens = tr->base->n_vocab;
    tr->token = mem_calloc(MEM_TEXT, how->vocab_size, sizeof *tr->token);
    tr->merges = mem_calloc(MEM_TEXT, how->vocab_size, sizeof *tr->merges);
    if (!tr->token || !tr->merges)
        return NUN_ENOMEM;
    for (size_t i = 0; i < tr->n_tokens; i++) {
        tr->token[i] = tr->base->vocab[i].text;
        TRY(map_put(&tr->known, tr->token[i], (int64_t)i, NULL));
    }
    TRY(count_pairs(tr));
    return merge_until(tr, how->vocab_size, how->min_count ? how->min_count : 2);
}

static void trainer_free(struct trainer *tr)
{
    for (size_t i = 0; i < tr->n_pairs; i++)
        mem_free(tr->pairs[i].words);
    mem_free(tr->pairs);
    mem_free(tr->words);
    mem_free(tr->heap);
    mem_free(tr->token);
    mem_free(tr->merges);
    tok_pairs_free(&tr->index);
    map_free(&tr->known);
    arena_free(&tr->mem);
}

int tokenizer_train_bpe(const struct span *texts, size_t n, const struct tok_train *how, struct tokenizer **out)
{
    struct trainer tr = {0};
    struct tokenizer *base = NULL;
    TRY(limit_check(LIMIT_vocab, how->vocab_size, "vocabulary to train"));
    if (how->vocab_size < 256 || how->vocab_size - 256 < how->n_special)
        return err_set(NUN_EARG, "vocabulary to train: expected at least %zu, found %zu", 256 + how->n_special, how->vocab_size);
    unsigned mark = json_mark();
    json_t *vocab = json_object();
    int rc = vocab ? base_vocab(how, vocab) : NUN_ENOMEM;
    arena_init(&tr.mem, MEM_TEXT, 0);
    map_init(&tr.known, MEM_TEXT);
    if (rc == 0)
        rc = make(document(how, json_copy(vocab), json_array()), how, &base);
    tr.base = base;
    if (rc == 0)
        rc = train(&tr, texts, n, how);
    if (rc == 0)
        rc = result(&tr, how, vocab, out);
    if (rc == 0 && (rc = json_check(mark)) < 0)
        tokenizer_free(*out);
    trainer_free(&tr);
    tokenizer_free(base);
    json_decref(vocab);
    return rc;
}
