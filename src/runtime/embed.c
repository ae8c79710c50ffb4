/* Texts as vectors: the model's states at every token, pooled to one. A graph is made once for each length up to
 * a multiple of LENGTH_STEP; what lies behind the text is masked out, so that a vector depends on its text alone. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "runtime/embed.h"
#include "runtime/engine.h"
#include "text/ids.h"

#define PUBLIC __attribute__((visibility("default")))

enum { LENGTH_STEP = 16 };

struct embed_plan {
    struct embed_plan *next;
    int tokens;
    struct graph *graph;
    struct plan *plan;
    int32_t *ids, *pos, *spans;  /* [tokens], [tokens], [tokens, 2] */
    struct g_tensor *hidden;     /* [tokens, width] */
};

struct nun_embedder {
    struct nun_model *m;
    struct arena arena;
    struct embed_facts f;
    bool truncate;
    int most;                    /* tokens of a text */
    struct embed_plan *plans;
};

/* ---- pooling ----------------------------------------------------------------------------------------------- */

static void pool_weighted(const float *states, int tokens, int width, float *out, double (*weight)(int i), double divisor)
{
    for (int h = 0; h < width; h++) {
        double sum = 0;
        for (int i = 0; i < tokens; i++)
            sum += weight(i) * (double)states[(size_t)i * (size_t)width + (size_t)h];
        out[h] = (float)(sum / divisor);
    }
}

static double one(int i) { return 1; }
static double place(int i) { return i + 1; }

static void pool_mean(const float *states, int tokens, int width, float *out)
{
    pool_weighted(states, tokens, width, out, one, tokens);
}

static void pool_mean_sqrt(const float *states, int tokens, int width, float *out)
{
    pool_weighted(states, tokens, width, out, one, sqrt(tokens));
}

/* later tokens of a causal model have seen more: weights 1, 2, 3, ... */
static void pool_weightedmean(const float *states, int tokens, int width, float *out)
{
    pool_weighted(states, tokens, width, out, place, (double)tokens * (tokens + 1) / 2);
}

static void pool_cls(const float *states, int tokens, int width, float *out)
{
    memcpy(out, states, (size_t)width * sizeof *out);
}

static void pool_last(const float *states, int tokens, int width, float *out)
{
    memcpy(out, states + (size_t)(tokens - 1) * (size_t)width, (size_t)width * sizeof *out);
}

static void pool_max(const float *states, int tokens, int width, float *out)
{
    pool_cls(states, tokens, width, out);
    for (int i = 1; i < tokens; i++)
        for (int h = 0; h < width; h++)
            out[h] = fmaxf(out[h], states[(size_t)i * (size_t)width + (size_t)h]);
}

const struct embed_pooling embed_poolings[] = {
    {"mean", "pooling_mode_mean_tokens", pool_mean},
    {"cls", "pooling_mode_cls_token", pool_cls},
    {"last", "pooling_mode_lasttoken", pool_last},
    {"max", "pooling_mode_max_tokens", pool_max},
    {"mean_sqrt_len", "pooling_mode_mean_sqrt_len_tokens", pool_mean_sqrt},
    {"weightedmean", "pooling_mode_weightedmean_tokens", pool_weightedmean},
    {NULL, NULL, NULL},
};

int embed_find_pooling(const char *name, const struct embed_pooling **out)
{
    for (const struct embed_pooling *p = embed_poolings; p->name; p++)
        if (!strcmp(p->name, name)) {
            *out = p;
            return 0;
        }
    return err_set(NUN_EARG, "pooling: expected mean, cls, last, max, mean_sqrt_len or weightedmean, found \"%s\"", name);
}

/* ---- one graph --------------------------------------------------------------------------------------------- */

static void plan_drop(struct embed_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    mem_free(p);
}

static struct g_tensor *ints(struct graph *g, const char *name, struct shape shape, int32_t **data)
{
    size_t n = 0;
    struct g_tensor *t = g_input(g, name, DT_I32, shape);
    *data = t && shape_count(&shape, &n) >= 0 ? arena_array(&g->arena, n, sizeof **data) : NULL;
    if (t)
        t->data = *data;
    return t;
}

static int plan_build(struct nun_embedder *e, struct embed_plan *p)
{
    struct model_states out;
    TRY(graph_create(e->m->compute, e->m->threads, &p->graph));
    struct g_tensor *ids = ints(p->graph, "ids", SHAPE1(p->tokens), &p->ids);
    struct nn_seq seq = {.batch = 1, .tokens = p->tokens, .pos = ints(p->graph, "positions", SHAPE1(p->tokens), &p->pos),
                         .spans = ints(p->graph, "spans", SHAPE3(1, p->tokens, 2), &p->spans)};
    if (!p->ids || !p->pos || !p->spans)
        return NUN_ENOMEM;
    TRY(model_encode(p->graph, e->m->model, ids, &seq, &out));
    p->hidden = g_output(out.hidden);
    return plan_create(p->graph, &p->plan);
}

static int plan_for(struct nun_embedder *e, int tokens, struct embed_plan **out)
{
    int most = e->most - e->most % LENGTH_STEP, size = tokens > most ? e->most : (tokens + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;
    for (struct embed_plan *p = e->plans; p; p = p->next)
        if (p->tokens == size) {
            *out = p;
            return 0;
        }
    struct embed_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->tokens = size;
    int rc = plan_build(e, p);
    if (rc < 0) {
        plan_drop(p);
        return rc;
    }
    p->next = e->plans;
    e->plans = *out = p;
    return 0;
}

static int states_of(struct nun_embedder *e, const int32_t *ids, int n, const float **out)
{
    struct embed_plan *p;
    bool causal = e->m->model->text.facts.causal;
    TRY(plan_for(e, n, &p));
    memset(p->ids, 0, (size_t)p->tokens * sizeof *p->ids);
    memset(p->pos, 0, (size_t)p->tokens * sizeof *p->pos);
    memcpy(p->ids, ids, (size_t)n * sizeof *ids);
    model_positions(e->m->model, ids, n, p->pos);
    for (int i = 0; i < p->tokens; i++)
        p->spans[2 * i + 1] = causal && i < n ? i + 1 : n;
    TRY(exec_run(p->plan, &(struct exec){.pool = e->m->pool}));
    *out = g_f32(p->hidden);
    return 0;
}

/* ---- texts ------------------------------------------------------------------------------------------------- */

static int to_ids(struct nun_embedder *e, const char *text, size_t len, struct ids *out)
{
    struct buf whole;
    buf_init(&whole, MEM_RUNTIME, LIMIT_OF(text_bytes));
    buf_str(&whole, e->f.prompt);
    buf_append(&whole, text, len);
    int rc = buf_error(&whole);
    if (rc >= 0)
        rc = tokenizer_encode(e->m->tokenizer, buf_view(&whole), TOK_ADD_SPECIAL, out);
    buf_free(&whole);
    TRY(rc);
    if (!out->n)
        return err_set(NUN_EARG, "embed: the text is empty");
    if ((int64_t)out->n <= e->most)
        return 0;
    if (!e->truncate)
        return err_set(NUN_ECONTEXT, "embed: a text of %zu tokens, at most %d are read", out->n, e->most);
    out->at[e->most - 1] = out->at[out->n - 1]; /* the closing token stays */
    out->n = (size_t)e->most;
    return 0;
}

static int to_vector(struct nun_embedder *e, const struct ids *ids, float *out)
{
    int width = nun_embedder_width(e);
    const float *states;
    double square = 0;
    for (size_t i = 0; i < ids->n; i++)
        if (ids->at[i] < 0 || ids->at[i] >= e->m->model->text.facts.vocab)
            return err_set(NUN_EFORMAT, "embed: token %d, the model has %d", ids->at[i], e->m->model->text.facts.vocab);
    TRY(states_of(e, ids->at, (int)ids->n, &states));
    e->f.pooling->fn(states, (int)ids->n, width, out);
    for (int h = 0; h < width; h++)
        square += (double)out[h] * out[h];
    if (!isfinite(square))
        return err_set(NUN_ENUMERIC, "embed: a state that is no number");
    double length = fmax(sqrt(square), 1e-12);
    for (int h = 0; h < width && e->f.normalize; h++)
        out[h] = (float)(out[h] / length);
    return 0;
}

PUBLIC int nun_embed(struct nun_embedder *e, const char *text, size_t len, float *out, size_t *tokens)
{
    struct ids ids = {0};
    int rc = to_ids(e, text, len, &ids);
    if (rc >= 0)
        rc = to_vector(e, &ids, out);
    if (rc >= 0 && tokens)
        *tokens = ids.n;
    ids_free(&ids);
    return rc;
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

static int settle(struct nun_embedder *e, const struct nun_embed_options *o)
{
    const struct nn_facts *f = &e->m->model->text.facts;
    enum family_kind kind = e->m->model->family->kind;
    if (kind != FAMILY_ENCODER && kind != FAMILY_DECODER)
        return err_set(NUN_EUNSUP, "embed: %s is no model of texts", e->m->model->family->architecture);
    if (!e->m->tokenizer)
        return err_set(NUN_EUNSUP, "%s: there is no tokenizer in this folder", e->f.transformer);
    if (o->pooling)
        TRY(embed_find_pooling(o->pooling, &e->f.pooling));
    if (!e->f.pooling)
        TRY(embed_find_pooling(kind == FAMILY_ENCODER ? "mean" : "last", &e->f.pooling));
    if (e->f.width && e->f.width != f->hidden)
        return err_set(NUN_EFORMAT, "%s: word_embedding_dimension %d, but the model's states have %d", e->f.transformer, e->f.width,
                       f->hidden);
    if (o->normalize)
        e->f.normalize = o->normalize > 0;
    int can = model_most_tokens(e->m->model);
    e->truncate = o->truncate;
    e->most = e->f.most ? e->f.most : e->m->context;
    e->most = can && e->most > can ? can : e->most;
    return 0;
}

PUBLIC int nun_embedder_open(const char *folder, const struct nun_embed_options *options, struct nun_embedder **out)
{
    static const struct nun_embed_options defaults;
    const struct nun_embed_options *o = options ? options : &defaults;
    if (!folder || !out)
        return err_set(NUN_EARG, "nun_embedder_open: no folder, or nowhere to put the model");
    struct nun_embedder *e = mem_calloc(MEM_RUNTIME, 1, sizeof *e);
    if (!e)
        return NUN_ENOMEM;
    arena_init(&e->arena, MEM_RUNTIME, 0);
    int rc = embed_read(folder, o->prompt, &e->arena, &e->f);
    if (rc >= 0)
        rc = nun_model_open(e->f.transformer, &o->model, &e->m);
    if (rc >= 0)
        rc = settle(e, o);
    if (rc < 0) {
        nun_embedder_close(e);
        return rc;
    }
    *out = e;
    return 0;
}

PUBLIC void nun_embedder_close(struct nun_embedder *e)
{
    if (!e)
        return;
    while (e->plans) {
        struct embed_plan *next = e->plans->next;
        plan_drop(e->plans);
        e->plans = next;
    }
    nun_model_close(e->m);
    arena_free(&e->arena);
    mem_free(e);
}

PUBLIC int nun_embedder_width(const struct nun_embedder *e)
{
    return e->m->model->text.facts.hidden;
}
