/* WordPiece (longest piece first, word by word) and WordLevel (whole words). */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

struct words {
    struct span prefix; /* of pieces inside a word */
    size_t max_chars, longest; /* longest: bytes of the longest piece */
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
    TRY(tok_json_span(o, path, "continuing_subword_prefix", &m->prefix));
    TRY(tok_copy(t, m->prefix, &m->prefix));
    TRY(tok_json_size(o, path, "max_input_chars_per_word", &m->max_chars));
    m->unk = unk.ptr ? tokenizer_id_of(t, unk) : -1;
    if (unk.ptr && m->unk < 0)
        return err_set(NUN_EFORMAT, "%s.unk_token: \"%.*s\" is not in the vocabulary", path, (int)unk.len, unk.ptr);
    for (size_t i = 0; i < t->n_vocab; i++)
        if (t->vocab[i].in_model && t->vocab[i].text.len > m->longest)
            m->longest = t->vocab[i].text.len;
    return 0;
}

static void free_words(struct tokenizer *t)
{
    mem_free(t->model_data);
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

/* The longest piece at `at`: its id and end, or -1. `room` holds the prefix and the longest piece. */
static int32_t longest_piece(const struct tokenizer *t, const struct words *m, struct span text, size_t at, char *room, size_t *end)
{
    size_t pre = at ? m->prefix.len : 0, len = text.len - at < m->longest ? text.len - at : m->longest;
    memcpy(room, m->prefix.ptr, pre);
    memcpy(room + pre, text.ptr + at, len);
    for (; len > 0; len--) {
        bool cut = at + len < text.len && ((unsigned char)text.ptr[at + len] & 0xc0) == 0x80;
        int32_t id = cut ? -1 : tok_model_id(t, span_of(room, pre + len));
        if (id < 0)
            continue;
        *end = at + len;
        return id;
    }
    return -1;
}

static int run_wordpiece(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out)
{
    const struct words *m = t->model_data;
    size_t before = out->n;
    if (count_chars(text) > m->max_chars)
        return push_unk(m, text, out);
    char *room = arena_alloc(&w->mem, m->prefix.len + m->longest + 1);
    if (!room)
        return NUN_ENOMEM;
    for (size_t at = 0; at < text.len;) {
        int32_t id = longest_piece(t, m, text, at, room, &at);
        if (id < 0) { /* one gap makes the whole word unknown */
            out->n = before;
            return push_unk(m, text, out);
        }
        TRY(ids_push(out, id));
    }
    return 0;
}

static int run_wordlevel(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out)
{
    int32_t id = tok_model_id(t, text);
    return id >= 0 ? ids_push(out, id) : push_unk(t->model_data, text, out);
}

const struct tok_model tok_model_wordpiece = {
    "WordPiece", "unk_token continuing_subword_prefix max_input_chars_per_word vocab", false, parse_words, run_wordpiece, NULL, free_words,
};
const struct tok_model tok_model_wordlevel = {
    "WordLevel", "unk_token vocab", false, parse_words, run_wordlevel, NULL, free_words,
};
