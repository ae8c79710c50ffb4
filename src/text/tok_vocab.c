/* The vocabulary and the added tokens: which piece has which id, and finding added tokens in text
 * (leftmost, then longest). Knows nothing of models. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

/* ---- vocabulary ---- */

static int grow_vocab(struct tokenizer *t, size_t need)
{
    if (need > t->cap_vocab) {
        size_t cap = t->cap_vocab ? t->cap_vocab : 512;
        while (cap < need)
            cap *= 2;
        struct tok_entry *grown = mem_realloc(MEM_TEXT, t->vocab, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        memset(grown + t->cap_vocab, 0, (cap - t->cap_vocab) * sizeof *grown);
        t->vocab = grown;
        t->cap_vocab = cap;
    }
    if (need > t->n_vocab)
        t->n_vocab = need;
    return 0;
}

int tok_vocab_put(struct tokenizer *t, struct span text, int64_t id, const char *path, struct tok_entry **out)
{
    size_t end = t->id_end && t->id_end < LIMIT_OF(vocab) ? t->id_end : LIMIT_OF(vocab);
    if (id < 0 || (size_t)id >= end)
        return err_set(NUN_ELIMIT, "%s: id %lld of \"%.*s\" is outside 0..%zu", path, (long long)id, (int)text.len,
                       text.ptr, end - 1);
    TRY(limit_check(LIMIT_token_bytes, text.len, path));
    TRY(grow_vocab(t, (size_t)id + 1));
    struct tok_entry *e = &t->vocab[id];
    if (e->text.ptr && !span_eq(e->text, text))
        return err_set(NUN_EFORMAT, "%s: id %lld is both \"%.*s\" and \"%.*s\"", path, (long long)id, (int)e->text.len,
                       e->text.ptr, (int)text.len, text.ptr);
    if (!e->text.ptr) {
        TRY(tok_copy(t, text, &e->text));
        int rc = map_put(&t->by_text, e->text, id, NULL); /* a piece that is there twice has its last id */
        if (rc < 0)
            return rc;
    }
    *out = e;
    return 0;
}

static int put_scored(struct tokenizer *t, const json_t *pair, size_t id)
{
    struct span text = tok_json_str(json_array_get(pair, 0));
    const json_t *score = json_array_get(pair, 1);
    char path[64];
    snprintf(path, sizeof path, "model.vocab[%zu]", id);
    if (json_array_size(pair) != 2 || !text.ptr || !json_is_number(score))
        return err_set(NUN_EFORMAT, "%s: expected [piece, score]", path);
    struct tok_entry *e;
    TRY(tok_vocab_put(t, text, (int64_t)id, path, &e));
    e->score = json_number_value(score);
    e->in_model = true;
    return 0;
}

int tok_vocab_parse(struct tokenizer *t, json_t *model, bool scored)
{
    json_t *vocab = json_object_get(model, "vocab");
    if (scored ? !json_is_array(vocab) : !json_is_object(vocab))
        return err_set(NUN_EFORMAT, "model.vocab: expected %s", scored ? "an array of [piece, score]" : "an object");
    size_t n = scored ? json_array_size(vocab) : json_object_size(vocab);
    TRY(limit_check(LIMIT_vocab, n, "model.vocab"));
    TRY(map_reserve(&t->by_text, n));
    for (size_t i = 0; scored && i < n; i++)
        TRY(put_scored(t, json_array_get(vocab, i), i));
    if (scored)
        return 0;
    const char *key;
    json_t *id;
    json_object_foreach(vocab, key, id) {
        struct tok_entry *e;
        if (!json_is_integer(id))
            return err_set(NUN_EFORMAT, "model.vocab.%s: expected an id", key);
        TRY(tok_vocab_put(t, span_str(key), json_integer_value(id), "model.vocab", &e));
        e->in_model = true;
    }
    return 0;
}

int32_t tok_model_id(const struct tokenizer *t, struct span piece)
{
    int64_t id;
    if (!map_get(&t->by_text, piece, &id))
        return -1;
    const struct tok_entry *e = &t->vocab[id];
    uint32_t cp;
    bool control = e->special && piece.len > utf8_decode(piece.ptr, piece.len, &cp); /* one character stays reachable */
    return e->in_model && !control ? (int32_t)id : -1;
}

/* ---- added tokens ---- */

int tok_added_add(struct tokenizer *t, const struct tok_added *a, const char *path)
{
    struct tok_entry *e;
    int32_t known = tokenizer_id_of(t, a->content);
    if (!a->content.len)
        return err_set(NUN_EFORMAT, "%s: an added token without content", path);
    if (known >= 0 && known != a->id)
        return err_set(NUN_EFORMAT, "%s: \"%.*s\" has the id %d here and %d before", path, (int)a->content.len,
                       a->content.ptr, a->id, known);
    TRY(limit_check(LIMIT_added_bytes, a->content.len, path));
    TRY(tok_vocab_put(t, a->content, a->id, path, &e));
    e->special = e->special || a->special;
    if (e->added)
        return 0;
    struct tok_added *grown = mem_realloc(MEM_TEXT, t->added, (t->n_added + 1) * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    t->added = grown;
    grown[t->n_added] = *a;
    grown[t->n_added++].content = e->text;
    e->added = true;
    return 0;
}

int tok_added_parse(struct tokenizer *t, const json_t *list)
{
    if (list && !json_is_null(list) && !json_is_array(list))
        return err_set(NUN_EFORMAT, "added_tokens: expected an array");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        char path[64];
        snprintf(path, sizeof path, "added_tokens[%zu]", i);
        TRY(tok_json_keys(o, path, "id content single_word lstrip rstrip normalized special"));
        struct tok_added a = {.normalized = true};
        size_t id = SIZE_MAX;
        TRY(tok_json_size(o, path, "id", &id));
        TRY(tok_json_span(o, path, "content", &a.content));
        TRY(tok_json_bool(o, path, "single_word", &a.single_word));
        TRY(tok_json_bool(o, path, "lstrip", &a.lstrip));
        TRY(tok_json_bool(o, path, "rstrip", &a.rstrip));
        TRY(tok_json_bool(o, path, "normalized", &a.normalized));
        TRY(tok_json_bool(o, path, "special", &a.special));
        if (id >= LIMIT_OF(vocab))
            return err_set(NUN_EFORMAT, "%s.id: expected 0..%zu", path, LIMIT_OF(vocab) - 1);
        a.id = (int32_t)id;
        TRY(tok_added_add(t, &a, path));
    }
    return 0;
}

/* ---- tries ---- */

int tok_trie_put(struct tok_trie *trie, struct span word, uint32_t value)
{
    uint32_t node = 0;
    bool made;
    trie->first[(unsigned char)word.ptr[0]] = true;
    for (size_t i = 0; i < word.len; i++) {
        struct tok_pair *edge = tok_pairs_put(&trie->next, node, (unsigned char)word.ptr[i], &made);
        if (!edge)
            return NUN_ENOMEM;
        if (made)
            edge->x = ++trie->nodes;
        node = edge->x;
    }
    struct tok_pair *end = tok_pairs_put(&trie->next, node, TRIE_END, &made);
    if (!end)
        return NUN_ENOMEM;
    if (made)
        end->x = value;
    return 0;
}

void tok_trie_free(struct tok_trie *trie)
{
    tok_pairs_free(&trie->next);
}

uint32_t tok_trie_node(const struct tok_trie *trie, struct span start)
{
    uint32_t node = 0;
    for (size_t i = 0; i < start.len; i++) {
        const struct tok_pair *edge = tok_pairs_get(&trie->next, node, (unsigned char)start.ptr[i]);
        if (!edge)
            return TRIE_NOWHERE;
        node = edge->x;
    }
    return node;
}

size_t tok_trie_longest(const struct tok_trie *trie, uint32_t node, struct span text, uint32_t *value, size_t *looked)
{
    size_t len = 0, i = 0;
    *looked = 0;
    if (node == TRIE_NOWHERE || !text.len || (!node && !trie->first[(unsigned char)*text.ptr]))
        return 0;
    for (; i < text.len; i++) {
        const struct tok_pair *edge = tok_pairs_get(&trie->next, node, (unsigned char)text.ptr[i]), *end;
        if (!edge)
            break;
        node = edge->x;
        end = tok_pairs_get(&trie->next, node, TRIE_END);
        if (end) {
            len = i + 1;
            *value = end->x;
        }
    }
    *looked = i;
    return len;
}

int tok_added_seal(struct tokenizer *t)
{
    struct tok_work w;
    TRY(tok_work_begin(&w, t, 0));
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->n_added; i++) {
        const struct tok_added *a = &t->added[i];
        struct span text = a->content;
        if (a->normalized)
            rc = tok_normalize(&t->normalizer, &w, a->content, &text);
        if (rc == 0 && text.len)
            rc = tok_trie_put(a->normalized ? &t->normal : &t->raw, text, (uint32_t)i);
    }
    tok_work_end(&w);
    return rc;
}

int tokenizer_add(struct tokenizer *t, struct span text, int32_t id)
{
    size_t before = t->n_added;
    TRY(tok_added_add(t, &(struct tok_added){.content = text, .id = id, .special = true}, "added token"));
    return t->n_added > before ? tok_trie_put(&t->raw, t->added[before].content, (uint32_t)before) : 0;
}

/* ---- cutting ---- */

/* The character that ends just before byte `at`; its first byte. */
static size_t char_before(struct span s, size_t at, uint32_t *cp)
{
    size_t i = at - 1;
    while (i > 0 && ((unsigned char)s.ptr[i] & 0xc0) == 0x80)
        i--;
    utf8_decode(s.ptr + i, at - i, cp);
    return i;
}

static bool stands_alone(struct span s, size_t from, size_t to)
{
    uint32_t cp = ' ';
    if (from > 0)
        char_before(s, from, &cp);
    if (tok_is_word(cp))
        return false;
    cp = ' ';
    if (to < s.len)
        utf8_decode(s.ptr + to, s.len - to, &cp);
    return !tok_is_word(cp);
}

static size_t strip_left(struct span s, size_t from, size_t floor)
{
    uint32_t cp;
    while (from > floor) {
        size_t i = char_before(s, from, &cp);
        if (!tok_is_space(cp))
            break;
        from = i;
    }
    return from > floor ? from : floor;
}

static size_t strip_right(struct span s, size_t to)
{
    uint32_t cp;
    while (to < s.len) {
        size_t n = utf8_decode(s.ptr + to, s.len - to, &cp);
        if (!n || !tok_is_space(cp))
            break;
        to += n;
    }
    return to;
}

static int push_text(struct tok_work *w, struct tok_piece in, size_t from, size_t to)
{
    if (from >= to)
        return 0;
    return tok_pieces_push(&w->next, (struct tok_piece){span_of(in.text.ptr + from, to - from), -1, in.first && from == 0});
}

int tok_added_cut(const struct tokenizer *t, struct tok_work *w, const struct tok_trie *trie, struct tok_piece in)
{
    struct span s = in.text;
    size_t done = 0;
    tok_earn(w, s.len);
    for (size_t i = 0; trie->next.n && i < s.len;) {
        uint32_t which;
        size_t looked, len = tok_trie_longest(trie, 0, span_from(s, i), &which, &looked);
        TRY(tok_pay(w, looked));
        if (!len) {
            i++;
            continue;
        }
        const struct tok_added *a = &t->added[which];
        size_t from = i, to = i + len;
        i = to; /* a refused match is stepped over whole, as in the reference implementation */
        if (t->vocab[a->id].special && !(w->flags & TOK_PARSE_SPECIAL))
            continue;
        if (from < done || (a->single_word && !stands_alone(s, from, to)))
            continue;
        if (a->lstrip)
            from = strip_left(s, from, done);
        if (a->rstrip)
            to = strip_right(s, to);
        TRY(push_text(w, in, done, from));
        TRY(tok_pieces_push(&w->next, (struct tok_piece){span_of(s.ptr + from, to - from), a->id, in.first && from == 0}));
        done = to;
        i = i > to ? i : to;
    }
    return push_text(w, in, done, s.len);
}

size_t tokenizer_find_special(const struct tokenizer *t, struct span text, size_t *len)
{
    const struct tok_trie *const tries[] = {&t->raw, &t->normal};
    for (size_t i = 0; i < text.len; i++)
        for (int k = 0; k < 2; k++) {
            uint32_t which;
            size_t looked;
            *len = tok_trie_longest(tries[k], 0, span_from(text, i), &which, &looked);
            if (*len && t->vocab[t->added[which].id].special)
                return i;
        }
    return text.len;
}
