/* Unigram: the cut of a piece with the greatest sum of scores, found by dynamic programming over its bytes. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

struct unigram {
    struct tok_trie trie;
    double unk_score;
    int32_t unk, byte[256];
    bool byte_fallback;
};

/* The best way to reach a byte. */
struct tok_node { double score; uint32_t from; int32_t id; }; /* from == NOWHERE: not reached */
#define NOWHERE UINT32_MAX

static const double unk_penalty = 10;

/* "<0x41>" is what a byte is called, not text. */
static bool is_byte(const struct unigram *u, int32_t id, struct span text)
{
    bool found = false;
    for (int i = 0; u->byte_fallback && text.len == 6 && i < 256; i++)
        found = found || u->byte[i] == id;
    return found;
}

static int fill_trie(struct tokenizer *t, struct unigram *u)
{
    double least = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        const struct tok_entry *e = &t->vocab[i];
        if (!e->in_model || !e->text.len || e->score <= TOK_NEVER)
            continue;
        if (i == 0 || e->score < least)
            least = e->score;
        if (tok_model_id(t, e->text) == (int32_t)i && !is_byte(u, (int32_t)i, e->text))
            TRY(tok_trie_put(&u->trie, e->text, (uint32_t)i));
    }
    u->unk_score = least - unk_penalty;
    return 0;
}

static int parse_unigram(struct tokenizer *t, const json_t *o, const char *path)
{
    struct unigram *u = mem_calloc(MEM_TEXT, 1, sizeof *u);
    if (!u)
        return NUN_ENOMEM;
    t->model_data = u;
    size_t unk = SIZE_MAX;
    TRY(tok_json_size(o, path, "unk_id", &unk));
    if (unk != SIZE_MAX && (unk >= t->n_vocab || !t->vocab[unk].in_model))
        return err_set(NUN_EFORMAT, "%s.unk_id: %zu is not in the vocabulary", path, unk);
    u->unk = unk == SIZE_MAX ? -1 : (int32_t)unk;
    t->role[TOK_UNK] = u->unk;
    TRY(tok_json_bool(o, path, "byte_fallback", &u->byte_fallback));
    tok_byte_ids(t, u->byte);
    return fill_trie(t, u);
}

static void free_unigram(struct tokenizer *t)
{
    struct unigram *u = t->model_data;
    if (u)
        tok_trie_free(&u->trie);
    mem_free(u);
}

static int reserve(struct tok_work *w, size_t n)
{
    if (n <= w->nodes_cap)
        return 0;
    struct tok_node *grown = mem_realloc(MEM_TEXT, w->nodes, n * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    w->nodes = grown;
    w->nodes_cap = n;
    return 0;
}

static void reach(struct tok_node *n, double score, size_t from, int32_t id)
{
    if (n->from == NOWHERE || score > n->score)
        *n = (struct tok_node){score, (uint32_t)from, id};
}

/* Fill nodes[0..text.len]: all pieces from every character on, an unknown character where none is one long. */
static int search(struct tok_work *w, const struct unigram *u, struct span text)
{
    const struct tokenizer *t = w->t;
    struct tok_node *nodes = w->nodes;
    tok_earn(w, text.len);
    nodes[0] = (struct tok_node){0, 0, 0};
    for (size_t i = 1; i <= text.len; i++)
        nodes[i].from = NOWHERE;
    for (size_t at = 0, len; at < text.len; at += len) {
        uint32_t cp, node = 0;
        bool single = false;
        len = tok_char_at(text, at, &cp);
        size_t i = at;
        for (; i < text.len; i++) {
            const struct tok_pair *edge = tok_pairs_get(&u->trie.next, node, (unsigned char)text.ptr[i]), *end;
            if (!edge)
                break;
            node = edge->x;
            end = tok_pairs_get(&u->trie.next, node, TRIE_END);
            if (!end)
                continue;
            reach(&nodes[i + 1], nodes[at].score + t->vocab[end->x].score, at, (int32_t)end->x);
            single = single || i + 1 == at + len;
        }
        if (!single)
            reach(&nodes[at + len], nodes[at].score + u->unk_score, at, u->unk);
        TRY(tok_pay(w, i - at));
    }
    return 0;
}

static int push_unknown(const struct unigram *u, struct span text, struct ids *out)
{
    bool bytes = u->byte_fallback;
    for (size_t i = 0; bytes && i < text.len; i++)
        bytes = u->byte[(unsigned char)text.ptr[i]] >= 0;
    for (size_t i = 0; bytes && i < text.len; i++)
        TRY(ids_push(out, u->byte[(unsigned char)text.ptr[i]]));
    if (bytes)
        return 0;
    return u->unk >= 0 ? ids_push(out, u->unk) : err_set(NUN_EFORMAT, "unigram: \"%.*s\" is not in the vocabulary and there is no unk_id",
                                                         (int)text.len, text.ptr);
}

static int run_unigram(const struct tokenizer *t, struct tok_work *w, struct span text, struct ids *out)
{
    const struct unigram *u = t->model_data;
    TRY(reserve(w, text.len + 1));
    TRY(search(w, u, text));
    for (size_t at = text.len; at > 0;) { /* turn the links round: nodes[a].from becomes where the piece ends */
        size_t from = w->nodes[at].from;
        w->nodes[from].score = (double)at;
        at = from;
    }
    for (size_t at = 0; at < text.len;) {
        size_t end = (size_t)w->nodes[at].score;
        int32_t id = w->nodes[end].id;
        for (size_t next; id == u->unk && end < text.len && w->nodes[next = (size_t)w->nodes[end].score].id == u->unk;)
            end = next; /* neighbouring unknown characters are one */
        TRY(id == u->unk ? push_unknown(u, span_of(text.ptr + at, end - at), out) : ids_push(out, id));
        at = end;
    }
    return 0;
}

const struct tok_model tok_model_unigram = {
    "Unigram", "unk_id byte_fallback vocab", true, parse_unigram, run_unigram, NULL, free_unigram,
};
