/* WordPiece (longest piece first, word by word) and WordLevel (whole words). */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

struct words {
    struct tok_trie trie; /* WordPiece only */
    uint32_t inner;       /* node of the prefix that pieces inside a word have */
    size_t max_chars;
    int32_t unk;
};

static int parse_words(struct tokenizer *t, const json_t *o, const char *path)
{
    struct words *m = mem_calloc(MEM_TEXT, 1, sizeof *m);
    struct span unk = {0};
    if (!m)
        return NUN_ENOMEM;
    t->model_data = m;
    m->max_chars = 100;
    TRY(tok_json_span(o, path, "unk_token", &unk));
    TRY(tok_json_size(o, path, "max_input_chars_per_word", &m->max_chars));
    m->unk = unk.ptr ? tokenizer_id_of(t, unk) : -1;
    if (unk.ptr && m->unk < 0)
        return err_set(NUN_EFORMAT, "%s.unk_token: \"%.*s\" is not in the vocabulary", path, (int)unk.len, unk.ptr);
    return 0;
}

static int parse_wordpiece(struct tokenizer *t, const json_t *o, const char *path)
{
    struct span prefix = {0};
    TRY(parse_words(t, o, path));
    struct words *m = t->model_data;
    for (size_t i = 0; i < t->n_vocab; i++)
        if (t->vocab[i].text.len && tok_model_id(t, t->vocab[i].text) == (int32_t)i)
            TRY(tok_trie_put(&m->trie, t->vocab[i].text, (uint32_t)i));
    TRY(tok_json_span(o, path, "continuing_subword_prefix", &prefix));
    m->inner = tok_trie_node(&m->trie, prefix);
    return 0;
}

static void free_words(struct tokenizer *t)
{
    struct words *m = t->model_data;
    if (m)
        tok_trie_free(&m->trie);
    mem_free(m);
}

static int push_unk(const struct words *m, struct span text, struct ids *out)
{
    if (m->unk >= 0)
        return ids_push(out, m->unk);
    return err_set(NUN_EFORMAT, "\"%.*s\" is not in the vocabulary and there is no unk_token", (int)text.len, text.ptr);
}

static size_t count_chars(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static int run_wordpiece(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out)
{
    const struct words *m = t->model_data;
    size_t before = out->n;
    if (count_chars(text) > m->max_chars)
        return push_unk(m, text, out);
    tok_earn(w, text.len);
    for (size_t at = 0, len, looked; at < text.len; at += len) {
        uint32_t id;
        len = tok_trie_longest(&m->trie, at ? m->inner : 0, span_from(text, at), &id, &looked);
        TRY(tok_pay(w, looked));
        if (!len) { /* one gap makes the whole word unknown */
            out->n = before;
            return push_unk(m, text, out);
        }
        TRY(ids_push(out, (int32_t)id));
    }
    return 0;
}

static int run_wordlevel(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out)
{
    int32_t id = tok_model_id(t, text);
    return id >= 0 ? ids_push(out, id) : push_unk(t->model_data, text, out);
}

const struct tok_model tok_model_wordpiece = {
    "WordPiece", "unk_token continuing_subword_prefix max_input_chars_per_word vocab", false, parse_wordpiece, run_wordpiece, NULL, free_words,
};
const struct tok_model tok_model_wordlevel = {
    "WordLevel", "unk_token vocab", false, parse_words, run_wordlevel, NULL, free_words,
};
