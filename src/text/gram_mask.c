/* Which tokens may follow: the vocabulary as a prefix tree in depth-first order, walked together with the
 * machine, so that a common beginning is read once and a dead one skips all that begins with it. The mask
 * of a state is kept beside the state. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_run.h"

struct trie_node {
    uint32_t end;            /* first node behind this one's children */
    int32_t token;           /* that ends here; -1 none */
    uint32_t depth;
    uint8_t byte;
};

struct gram_vocab {
    struct trie_node *nodes;
    int32_t *same;           /* [tokens]: the next token of the same text, -1 */
    uint32_t n_nodes, max_depth;
    size_t tokens;
};

/* ---- the tree ------------------------------------------------------------------------------ */

struct word { struct span text; int32_t id; };

static int by_text(const void *x, const void *y)
{
    const struct word *a = x, *b = y;
    size_t n = a->text.len < b->text.len ? a->text.len : b->text.len;
    int c = n ? memcmp(a->text.ptr, b->text.ptr, n) : 0;
    if (c)
        return c;
    return a->text.len != b->text.len ? (a->text.len > b->text.len) - (a->text.len < b->text.len) : (a->id > b->id) - (a->id < b->id);
}

static size_t common(struct span a, struct span b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n])
        n++;
    return n;
}

/* `open` [max_depth]: the nodes on the way to the present word. */
static void plant(struct gram_vocab *v, const struct word *words, size_t n, uint32_t *open)
{
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        size_t keep = i ? common(words[i - 1].text, words[i].text) : 0;
        if (i && keep == words[i].text.len && keep == words[i - 1].text.len) {
            v->same[words[i - 1].id] = words[i].id;
            continue;
        }
        while (depth > keep)
            v->nodes[open[--depth]].end = v->n_nodes;
        for (; depth < words[i].text.len; depth++) {
            open[depth] = v->n_nodes;
            v->nodes[v->n_nodes++] = (struct trie_node){0, -1, (uint32_t)depth, (uint8_t)words[i].text.ptr[depth]};
        }
        v->nodes[v->n_nodes - 1].token = words[i].id;
    }
    while (depth)
        v->nodes[open[--depth]].end = v->n_nodes;
}

static int collect(struct gram_vocab *v, const struct span *text, size_t n, struct word *words, size_t *n_words, size_t *bytes)
{
    for (size_t i = 0; i < n; i++) {
        v->same[i] = -1;
        if (!text[i].len)
            continue;
        TRY(limit_check(LIMIT_token_bytes, text[i].len, "vocabulary"));
        if (text[i].len > v->max_depth)
            v->max_depth = (uint32_t)text[i].len;
        *bytes += text[i].len;
        words[(*n_words)++] = (struct word){text[i], (int32_t)i};
    }
    qsort(words, *n_words, sizeof *words, by_text);
    return limit_check(LIMIT_text_bytes, *bytes, "vocabulary");
}

static int make(struct gram_vocab *v, const struct span *text, size_t n)
{
    size_t n_words = 0, bytes = 0;
    struct word *words = mem_calloc(MEM_TEXT, n, sizeof *words);
    uint32_t *open = NULL;
    v->same = mem_calloc(MEM_TEXT, n, sizeof *v->same);
    int rc = words && v->same ? collect(v, text, n, words, &n_words, &bytes) : NUN_ENOMEM;
    if (rc >= 0) {
        open = mem_calloc(MEM_TEXT, v->max_depth, sizeof *open);
        v->nodes = mem_calloc(MEM_TEXT, bytes, sizeof *v->nodes);
        rc = open && v->nodes ? 0 : NUN_ENOMEM;
    }
    if (rc >= 0) {
        plant(v, words, n_words, open);
        void *less = mem_realloc(MEM_TEXT, v->nodes, v->n_nodes * sizeof *v->nodes);
        v->nodes = less ? less : v->nodes;
    }
    mem_free(words);
    mem_free(open);
    return rc;
}

int gram_vocab_create(const struct span *text, size_t n, struct gram_vocab **out)
{
    TRY(limit_check(LIMIT_vocab, n, "vocabulary"));
    struct gram_vocab *v = mem_calloc(MEM_TEXT, 1, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    v->tokens = n;
    int rc = make(v, text, n);
    if (rc < 0) {
        gram_vocab_free(v);
        return rc;
    }
    *out = v;
    return 0;
}

void gram_vocab_free(struct gram_vocab *v)
{
    if (!v)
        return;
    mem_free(v->nodes);
    mem_free(v->same);
    mem_free(v);
}

/* ---- masks --------------------------------------------------------------------------------- */

static int walk(struct gram_run *r, const struct gram_vocab *v, uint32_t *state, uint64_t *mask)
{
    state[0] = r->now;
    for (uint32_t i = 0; i < v->n_nodes;) {
        const struct trie_node *x = &v->nodes[i];
        TRY(gram_step(r, state[x->depth], x->byte, &state[x->depth + 1]));
        if (state[x->depth + 1] == STATE_DEAD) {
            i = x->end;
            continue;
        }
        for (int32_t t = x->token; t >= 0; t = v->same[t])
            mask[t / 64] |= 1ull << (t % 64);
        i++;
    }
    return 0;
}

static void drop_masks(struct gram_run *r, size_t words)
{
    for (uint32_t i = 0; i < r->notes.n; i++) {
        struct state_note *s = GRAM_AT(r->notes, struct state_note) + i;
        if (s->mask)
            r->note_bytes -= words * sizeof *s->mask;
        mem_free(s->mask);
        s->mask = NULL;
    }
    r->masks = 0;
}

static int fresh_mask(struct gram_run *r, const struct gram_vocab *v, uint32_t *state, uint64_t **out)
{
    size_t words = v->tokens / 64 + 1;
    *out = mem_calloc(MEM_TEXT, words, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    r->steps = 0;
    int rc = walk(r, v, state, *out);
    if (rc == NUN_ELIMIT) { /* perhaps only because of what is remembered: once more with nothing of it */
        rc = gram_tidy(r, true);
        memset(*out, 0, words * sizeof **out);
        r->steps = 0;
        if (rc >= 0)
            rc = walk(r, v, state, *out);
    }
    if (rc < 0) {
        mem_free(*out);
        return rc;
    }
    r->note_bytes += words * sizeof **out;
    r->masks++;
    return 0;
}

int gram_run_mask(struct gram_run *r, const struct gram_vocab *v, const uint64_t **mask)
{
    uint64_t *fresh;
    *mask = GRAM_AT(r->notes, struct state_note)[r->now].mask;
    if (*mask)
        return 0;
    if (r->masks >= LIMIT_OF(grammar_masks))
        drop_masks(r, v->tokens / 64 + 1);
    TRY(gram_tidy(r, false));
    uint32_t *state = mem_alloc(MEM_TEXT, (v->max_depth + 1) * sizeof *state);
    if (!state)
        return NUN_ENOMEM;
    int rc = fresh_mask(r, v, state, &fresh);
    mem_free(state);
    TRY(rc);
    GRAM_AT(r->notes, struct state_note)[r->now].mask = fresh;
    *mask = fresh;
    return 0;
}
