/* Answers: a timeline, a sampler, a stream of text and stop strings, advanced one step at a time. One
 * step of a batch lays the next rows of all its generations into one replay, then lets each of them draw. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/seam.h"
#include "runtime/constraint.h"
#include "runtime/sampler.h"
#include "runtime/stopper.h"
#include "runtime/timeline.h"

enum { BATCH_MAX = 512, ERROR_BYTES = 512 };

struct nun_generation {
    struct nun_timeline *t;
    struct nun_generate_options o;
    struct sampler sampler;
    struct stopper stopper;
    struct tok_stream *stream;   /* NULL without a tokenizer */
    struct constraint *constraint; /* NULL: anything may be said */
    struct buf text;
    struct nun_alternative *top; /* [logprobs] */
    struct sample_candidate *work; /* [vocab], with logprobs */
    struct nun_result r;
    char error[ERROR_BYTES];
    bool cancelled;
};

const char *nun_finish_name(enum nun_finish f)
{
    static const char *const names[] = {"none", "stop", "length", "context", "cancel", "error"};
    return (size_t)f < sizeof names / sizeof names[0] ? names[f] : "?";
}

/* ---- one generation ------------------------------------------------------------------------ */

static int check_options(const struct nun_generate_options *o)
{
    if (o->max_tokens < 0)
        return err_set(NUN_EARG, "max_tokens: expected 0 or more, found %d", o->max_tokens);
    if (o->logprobs < 0 || o->logprobs > 1000)
        return err_set(NUN_EARG, "logprobs: expected 0 to 1000, found %d", o->logprobs);
    if (o->min_tokens < 0 || o->max_length < 0)
        return err_set(NUN_EARG, "min_tokens and max_length: expected 0 or more, found %d and %d", o->min_tokens, o->max_length);
    for (size_t i = 0; i < o->n_stop; i++)
        if (!o->stop[i] || !o->stop[i][0])
            return err_set(NUN_EARG, "stop string %zu: it is empty", i);
    return 0;
}

/* The ids whose text has one of the strings that end a run for dry. */
static int find_breakers(struct nun_generation *g)
{
    static const char *const usual[] = {"\n", ":", "\"", "*"};
    const struct nun_sampling *s = &g->o.sampling;
    const char *const *list = s->dry_breakers ? s->dry_breakers : usual;
    size_t n = s->dry_breakers ? s->n_dry_breakers : sizeof usual / sizeof usual[0];
    struct buf text;
    int rc = 0;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    for (int32_t id = 0; id < g->sampler.vocab && g->sampler.breaker && g->t->m->tokenizer && rc >= 0; id++) {
        buf_reset(&text);
        rc = tokenizer_decode(g->t->m->tokenizer, &id, 1, 0, &text);
        for (size_t i = 0; i < n && rc >= 0; i++)
            g->sampler.breaker[id] |= strstr(buf_cstr(&text), list[i]) != NULL;
    }
    buf_free(&text);
    return rc;
}

static int prepare(struct nun_generation *g)
{
    const struct nun_model *m = g->t->m;
    int vocab = m->model->text.facts.vocab;
    TRY(check_options(&g->o));
    TRY(sampler_init(&g->sampler, &g->o.sampling, vocab));
    TRY(find_breakers(g));
    TRY(timeline_need_logits(g->t));
    if (m->tokenizer)
        TRY(tok_stream_create(m->tokenizer, TOK_SKIP_SPECIAL, &g->stream));
    if (g->stream && !g->o.grammar) /* what a grammar describes is a text of its own */
        TRY(tok_stream_after(g->stream, g->t->ids.at[g->t->ids.n - 1]));
    if (g->o.grammar)
        TRY(constraint_create(g->t->m, g->o.grammar, g->o.thinking_end, !g->o.ignore_eos, &g->constraint));
    g->stopper = (struct stopper){g->o.stop, g->o.n_stop, 0};
    if (g->o.logprobs) {
        g->top = mem_calloc(MEM_RUNTIME, (size_t)g->o.logprobs, sizeof *g->top);
        g->work = mem_calloc(MEM_RUNTIME, (size_t)vocab, sizeof *g->work);
        if (!g->top || !g->work)
            return NUN_ENOMEM;
    }
    g->r.prompt_tokens = g->t->ids.n;
    g->r.cached_tokens = (size_t)g->t->computed;
    if (g->t->computed == (int64_t)g->t->ids.n && !g->t->has_logits) { /* after a rewind: the last one again */
        engine_lock(m);
        timeline_uncompute(g->t, g->t->computed - 1);
        engine_unlock(m);
        g->r.cached_tokens = (size_t)g->t->computed;
    }
    return 0;
}

int nun_generation_start(struct nun_timeline *t, const struct nun_generate_options *options, struct nun_generation **out)
{
    static const struct nun_generate_options defaults;
    if (!t->ids.n)
        return err_set(NUN_EARG, "generate: the timeline is empty");
    struct nun_generation *g = mem_calloc(MEM_RUNTIME, 1, sizeof *g);
    if (!g)
        return NUN_ENOMEM;
    g->t = t;
    g->o = options ? *options : defaults;
    g->r.error = "";
    buf_init(&g->text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = prepare(g);
    if (rc < 0) {
        nun_generation_free(g);
        return rc;
    }
    *out = g;
    return 0;
}

void nun_generation_free(struct nun_generation *g)
{
    if (!g)
        return;
    sampler_free(&g->sampler);
    constraint_free(g->constraint);
    tok_stream_free(g->stream);
    buf_free(&g->text);
    mem_free(g->top);
    mem_free(g->work);
    mem_free(g);
}

void nun_generation_result(const struct nun_generation *g, struct nun_result *out)
{
    *out = g->r;
    out->text = buf_cstr(&g->text);
    out->text_len = g->text.len;
    out->error = g->error;
}

void nun_generation_cancel(struct nun_generation *g)
{
    __atomic_store_n(&g->cancelled, true, __ATOMIC_RELAXED);
}

/* ---- what a drawn token does --------------------------------------------------------------- */

/* Let out what is certain; with `all`, everything. */
static int emit(struct nun_generation *g, bool all)
{
    size_t until;
    const char *stop = stopper_look(&g->stopper, &g->text, &until);
    size_t from = g->stopper.emitted, to = all || stop ? g->text.len : until;
    g->stopper.emitted = to;
    if (to > from && g->o.piece && g->o.piece(g->o.arg, g->text.ptr + from, to - from))
        g->r.finish = NUN_FINISH_CANCEL;
    if (stop) {
        g->r.finish = NUN_FINISH_STOP;
        g->r.stop = stop;
    }
    return 0;
}

static int tell_token(struct nun_generation *g, int32_t id)
{
    int vocab = g->sampler.vocab, n = g->o.logprobs < vocab ? g->o.logprobs : vocab;
    if (!g->o.token)
        return 0;
    struct nun_token token = {.id = id, .index = g->r.generated_tokens, .top = g->top, .n_top = (size_t)n};
    token.logprob = sample_logprob(g->t->logits, vocab, id);
    if (n)
        sample_top(g->t->logits, vocab, g->work, g->top, n);
    return g->o.token(g->o.arg, &token);
}

static int take(struct nun_generation *g, int32_t id)
{
    bool ends = !g->o.ignore_eos && nun_token_ends(g->t->m, id), complete = false;
    if (tell_token(g, id))
        g->r.finish = NUN_FINISH_CANCEL;
    TRY(timeline_push(g->t, id));
    g->r.generated_tokens++;
    if (g->stream && !ends)
        TRY(tok_stream_push(g->stream, id, &g->text));
    TRY(buf_error(&g->text));
    if (g->constraint && !ends)
        TRY(constraint_take(g->constraint, id, &complete));
    if (ends || complete)
        g->r.finish = NUN_FINISH_STOP;
    else if (g->r.finish == NUN_FINISH_NONE)
        TRY(emit(g, false));
    if (g->r.finish == NUN_FINISH_NONE && g->o.max_tokens && g->r.generated_tokens >= (size_t)g->o.max_tokens)
        g->r.finish = NUN_FINISH_LENGTH;
    if (g->r.finish == NUN_FINISH_NONE && g->o.max_length && g->t->ids.n >= (size_t)g->o.max_length)
        g->r.finish = NUN_FINISH_LENGTH;
    return 0;
}

static int draw(struct nun_generation *g)
{
    struct nun_timeline *t = g->t;
    TRY(timeline_check_logits(t->logits, g->sampler.vocab));
    if (t->ids.n >= (size_t)t->m->context) {
        g->r.finish = NUN_FINISH_CONTEXT;
        return 0;
    }
    if (g->constraint)
        TRY(constraint_allow(g->constraint, &g->sampler.allow));
    g->sampler.banned = t->m->ends;
    g->sampler.n_banned = g->r.generated_tokens < (size_t)g->o.min_tokens ? (size_t)t->m->n_ends : 0;
    struct sample_past past = {t->ids.at, t->ids.n, g->r.generated_tokens, t->m->model->facts.image_token};
    return take(g, sampler_draw(&g->sampler, t->logits, &past, g->r.generated_tokens));
}

static void fail(struct nun_generation *g, int code)
{
    g->r.finish = NUN_FINISH_ERROR;
    g->r.code = code;
    struct span s = span_str(nun_error());
    size_t n = s.len < sizeof g->error - 1 ? s.len : sizeof g->error - 1;
    memcpy(g->error, s.ptr, n);
    g->error[n] = '\0';
}

/* What is held back comes out, unless a stop string took it. */
static int flush(struct nun_generation *g)
{
    enum nun_finish f = g->r.finish;
    if (f == NUN_FINISH_NONE || f == NUN_FINISH_ERROR || f == NUN_FINISH_CANCEL || g->r.stop)
        return 0;
    if (g->stream)
        TRY(tok_stream_end(g->stream, &g->text));
    TRY(buf_error(&g->text));
    return emit(g, true);
}

static void after_step(struct nun_generation *g)
{
    int rc = 0;
    if (g->t->computed == (int64_t)g->t->ids.n)
        rc = draw(g);
    if (rc >= 0)
        rc = flush(g);
    if (rc < 0)
        fail(g, rc);
}

/* ---- steps --------------------------------------------------------------------------------- */

struct batch_plan {
    struct engine_span spans[BATCH_MAX];
    struct nun_generation *who[BATCH_MAX];
    bool decode[BATCH_MAX];      /* one row behind tokens of its own */
    int n, rows;
};

static bool active(const struct nun_generation *g)
{
    return g->r.finish == NUN_FINISH_NONE;
}

/* Only its last token is to be computed. */
static bool under_way(const struct nun_generation *g)
{
    return g->r.generated_tokens && g->t->computed + 1 >= (int64_t)g->t->ids.n;
}

static void plan_rows(struct batch_plan *b, struct nun_generation *g, int64_t most)
{
    struct nun_timeline *t = g->t;
    int64_t end = (int64_t)t->ids.n, to = timeline_chunk_end(t, t->computed, most);
    if (b->n == BATCH_MAX || to <= t->computed)
        return;
    b->decode[b->n] = under_way(g);
    b->who[b->n] = g;
    b->spans[b->n++] = (struct engine_span){t, t->computed, to, to == end ? t->logits : NULL, NULL};
    b->rows += (int)(to - t->computed);
}

/* Answers under way first, one row each; what is left of the rows goes to prompts, in order. */
static void plan_step(struct batch_plan *b, const struct nun_model *m, struct nun_generation *const *g, size_t n)
{
    b->n = b->rows = 0;
    for (size_t i = 0; i < n && b->rows < m->chunk; i++)
        if (active(g[i]) && under_way(g[i]))
            plan_rows(b, g[i], 1);
    for (size_t i = 0; i < n && b->rows < m->chunk; i++)
        if (active(g[i]) && !under_way(g[i]))
            plan_rows(b, g[i], m->chunk - b->rows);
}

static int encode_pictures(const struct batch_plan *b)
{
    for (int i = 0; i < b->n; i++) {
        uint64_t start = seam_now_ns();
        if (!timeline_unseen(b->spans[i].t, b->spans[i].to))
            continue;
        TRY(timeline_see(b->spans[i].t, b->spans[i].to));
        b->who[i]->r.image_s += (double)(seam_now_ns() - start) / 1e9;
    }
    return 0;
}

static void note_time(const struct batch_plan *b, double seconds)
{
    for (int i = 0; i < b->n; i++) {
        struct nun_result *r = &b->who[i]->r;
        if (b->decode[i]) {
            r->decode_s += seconds;
            r->decode_steps++;
        } else {
            r->prefill_s += seconds;
        }
    }
}

static int run_step(struct nun_model *m, struct batch_plan *b)
{
    engine_lock(m);
    int rc = encode_pictures(b);
    uint64_t start = seam_now_ns();
    if (rc >= 0)
        rc = engine_run(m, b->spans, b->n);
    engine_unlock(m);
    TRY(rc);
    note_time(b, (double)(seam_now_ns() - start) / 1e9);
    return 0;
}

/* Those that are cancelled, or have their logits already, need no rows. */
static void settle(struct nun_generation *const *g, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (active(g[i]) && __atomic_load_n(&g[i]->cancelled, __ATOMIC_RELAXED))
            g[i]->r.finish = NUN_FINISH_CANCEL;
        if (active(g[i])) {
            engine_lock(g[i]->t->m);
            timeline_follow_length(g[i]->t);
            engine_unlock(g[i]->t->m);
        }
        if (active(g[i]) && g[i]->t->has_logits && g[i]->t->computed == (int64_t)g[i]->t->ids.n)
            after_step(g[i]);
    }
}

int nun_batch_step(struct nun_model *m, struct nun_generation *const *g, size_t n)
{
    struct batch_plan b;
    int left = 0;
    for (size_t i = 0; i < n; i++)
        if (g[i]->t->m != m)
            return err_set(NUN_EARG, "batch: generation %zu belongs to another model", i);
    settle(g, n);
    plan_step(&b, m, g, n);
    if (b.n) {
        int rc = run_step(m, &b);
        if (rc < 0 && b.n > 1) { /* find out whose fault it is: alone, each stands or falls for itself */
            for (int i = 0; i < b.n; i++)
                if (nun_batch_step(m, &b.who[i], 1) < 0)
                    return rc;
        } else if (rc < 0) {
            fail(b.who[0], rc);
        }
        for (int i = 0; rc >= 0 && i < b.n; i++)
            after_step(b.who[i]);
    }
    for (size_t i = 0; i < n; i++)
        left += active(g[i]);
    return left;
}

/* ---- at once ------------------------------------------------------------------------------- */

static int to_the_end(struct nun_generation *g)
{
    int left = 1;
    while (left > 0)
        left = nun_batch_step(g->t->m, &g, 1);
    if (left < 0)
        return left;
    return g->r.finish == NUN_FINISH_ERROR ? err_set(g->r.code, "%s", g->error) : 0;
}

int nun_generate(struct nun_timeline *t, const struct nun_generate_options *options, struct nun_result *result)
{
    struct nun_generation *g;
    TRY(nun_generation_start(t, options, &g));
    int rc = to_the_end(g);
    buf_reset(&t->text);
    buf_span(&t->text, buf_view(&g->text));
    if (rc >= 0)
        rc = buf_error(&t->text);
    if (result) {
        nun_generation_result(g, result);
        result->text = buf_cstr(&t->text);
        result->error = rc < 0 ? nun_error() : "";
    }
    nun_generation_free(g);
    return rc;
}
