/* Grammars over tokens. The texts of all tokens are kept with the model as prefix trees: one for the beginning
 * of an answer, where some tokenizers drop a blank, and one for all that comes after. */
/* SPDX-License-Identifier: MIT */
#include "runtime/constraint.h"

#include "base/err.h"
#include "base/limits.h"

struct constraint {
    const struct nun_model *m;
    struct gram_run *run;
    const char *until;
    struct buf thought;          /* what was said before `until` came; its end is enough */
    bool thinking, begun, may_stop;
    size_t n, words;             /* of the mask */
    uint64_t *mask;              /* [words] */
};

/* ---- the texts of tokens ------------------------------------------------------------------- */

struct texts { struct buf bytes; size_t *ends; struct span *spans; size_t n; };

static void texts_free(struct texts *x)
{
    buf_free(&x->bytes);
    mem_free(x->ends);
    mem_free(x->spans);
}

static int read_texts(const struct tokenizer *t, int32_t behind, size_t n, struct texts *x)
{
    *x = (struct texts){.n = n, .ends = mem_calloc(MEM_RUNTIME, n, sizeof *x->ends), .spans = mem_calloc(MEM_RUNTIME, n, sizeof *x->spans)};
    buf_init(&x->bytes, MEM_RUNTIME, LIMIT_OF(text_bytes));
    if (!x->ends || !x->spans)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        TRY(tokenizer_bytes(t, behind, (int32_t)i, &x->bytes));
        x->ends[i] = x->bytes.len;
    }
    TRY(buf_error(&x->bytes));
    for (size_t i = 0, from = 0; i < n; from = x->ends[i++])
        x->spans[i] = span_of(x->bytes.ptr + from, x->ends[i] - from);
    return 0;
}

static bool same_texts(const struct texts *a, const struct texts *b)
{
    for (size_t i = 0; i < a->n; i++)
        if (!span_eq(a->spans[i], b->spans[i]))
            return false;
    return true;
}

/* The lock is held. */
static int sort_tokens(struct nun_model *m)
{
    size_t n = tokenizer_vocab_size(m->tokenizer), vocab = (size_t)m->model->text.facts.vocab;
    struct texts later, first = {.n = 0};
    n = n < vocab ? n : vocab;
    int rc = read_texts(m->tokenizer, tokenizer_plain_token(m->tokenizer), n, &later);
    if (rc >= 0)
        rc = read_texts(m->tokenizer, -1, n, &first);
    if (rc >= 0 && !same_texts(&first, &later))
        rc = gram_vocab_create(first.spans, n, &m->first_words);
    if (rc >= 0)
        rc = gram_vocab_create(later.spans, n, &m->words);
    texts_free(&later);
    texts_free(&first);
    return rc;
}

/* ---- one answer ---------------------------------------------------------------------------- */

int constraint_create(struct nun_model *m, const struct nun_grammar *g, const char *until, bool may_stop, struct constraint **out)
{
    if (!m->tokenizer)
        return err_set(NUN_EARG, "grammar: the model has no tokenizer");
    if (until && !*until)
        return err_set(NUN_EARG, "thinking_end: it is empty");
    engine_lock(m);
    int rc = m->words ? 0 : sort_tokens(m);
    engine_unlock(m);
    TRY(rc);
    struct constraint *c = mem_calloc(MEM_RUNTIME, 1, sizeof *c);
    if (!c)
        return NUN_ENOMEM;
    *c = (struct constraint){.m = m, .until = until, .thinking = until != NULL, .may_stop = may_stop, .n = (size_t)m->model->text.facts.vocab};
    c->words = c->n / 64 + 1;
    buf_init(&c->thought, MEM_RUNTIME, LIMIT_OF(text_bytes));
    c->mask = mem_calloc(MEM_RUNTIME, c->words, sizeof *c->mask);
    rc = c->mask ? gram_run_create((const struct grammar *)g, false, &c->run) : NUN_ENOMEM;
    if (rc < 0) {
        constraint_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void constraint_free(struct constraint *c)
{
    if (!c)
        return;
    gram_run_free(c->run);
    buf_free(&c->thought);
    mem_free(c->mask);
    mem_free(c);
}

/* Tokens of the beginning have a run of their own, since masks are kept by state. */
static int first_mask(struct constraint *c)
{
    const uint64_t *mask;
    size_t n = tokenizer_vocab_size(c->m->tokenizer);
    struct gram_run *other;
    TRY(gram_run_twin(c->run, &other));
    int rc = gram_run_mask(other, c->m->first_words, &mask);
    n = n < c->n ? n : c->n;
    if (rc >= 0)
        memcpy(c->mask, mask, (n / 64 + 1) * sizeof *mask);
    gram_run_free(other);
    return rc;
}

static int text_mask(struct constraint *c)
{
    const uint64_t *mask;
    size_t n = tokenizer_vocab_size(c->m->tokenizer);
    memset(c->mask, 0, c->words * sizeof *c->mask);
    if (!c->begun && c->m->first_words)
        return first_mask(c);
    TRY(gram_run_mask(c->run, c->m->words, &mask));
    n = n < c->n ? n : c->n;
    memcpy(c->mask, mask, (n / 64 + 1) * sizeof *mask);
    return 0;
}

int constraint_allow(struct constraint *c, const uint64_t **allow)
{
    uint64_t any = 0;
    bool end = !c->thinking && c->may_stop && gram_run_may_end(c->run);
    if (c->thinking)
        memset(c->mask, 0xff, c->words * sizeof *c->mask);
    else
        TRY(text_mask(c));
    for (int i = 0; i < c->m->n_ends; i++) {
        uint64_t bit = 1ull << (c->m->ends[i] % 64), *word = &c->mask[c->m->ends[i] / 64];
        *word = end ? *word | bit : *word & ~bit;
    }
    for (size_t i = 0; i < c->words; i++)
        any |= c->mask[i];
    if (!any)
        return err_set(NUN_EUNSUP, "grammar: no token of this model can go on here");
    *allow = c->mask;
    return 0;
}

/* Special tokens by their names, all others by their text. What stands behind `until` in the same token is
 * blank, or must fit. */
static int think(struct constraint *c, int32_t id)
{
    size_t before = c->thought.len, from = before > strlen(c->until) ? before - strlen(c->until) : 0;
    if (tokenizer_is_special(c->m->tokenizer, id))
        buf_span(&c->thought, tokenizer_token(c->m->tokenizer, id));
    else
        TRY(tokenizer_bytes(c->m->tokenizer, tokenizer_plain_token(c->m->tokenizer), id, &c->thought));
    TRY(buf_error(&c->thought));
    if (c->thought.len == before)
        return 0;
    const char *found = memmem(c->thought.ptr + from, c->thought.len - from, c->until, strlen(c->until));
    if (!found)
        return 0;
    c->thinking = false;
    c->begun = true;
    struct span rest = span_from(buf_view(&c->thought), (size_t)(found - c->thought.ptr) + strlen(c->until));
    if (strspn(rest.len ? rest.ptr : "", " \t\r\n") >= rest.len)
        return 0;
    int fits = gram_run_feed(c->run, rest);
    return fits > 0 ? 0 : fits < 0 ? fits : err_set(NUN_EUNSUP, "grammar: the token that ends the thinking goes on with text that does not fit");
}

int constraint_take(struct constraint *c, int32_t id, bool *done)
{
    struct buf text;
    *done = false;
    if (c->thinking)
        return think(c, id);
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = tokenizer_bytes(c->m->tokenizer, c->begun ? tokenizer_plain_token(c->m->tokenizer) : -1, id, &text);
    c->begun = true;
    if (rc >= 0)
        rc = gram_run_feed(c->run, buf_view(&text));
    buf_free(&text);
    TRY(rc);
    if (!rc)
        return err_set(NUN_EUNSUP, "grammar: token %d does not fit", (int)id);
    *done = gram_run_must_end(c->run);
    return 0;
}
