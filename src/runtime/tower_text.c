/* Texts beside pictures: their vectors, and labels made of them. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "runtime/tower_int.h"
#include "text/ids.h"

#define PUBLIC __attribute__((visibility("default")))

enum { LENGTH_STEP = 16 };
static const char DEFAULT_FORM[] = "a photo of a {}";

struct text_plan {
    struct text_plan *next;
    int tokens;
    struct graph *graph;
    struct plan *plan;
    int32_t *ids, *pos, *spans, *pool; /* [tokens], [tokens], [tokens, 2], [1] */
    struct g_tensor *vector;     /* [1, width] */
};

/* ---- one graph ----------------------------------------------------------------------------- */

static void plan_drop(struct text_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    mem_free(p);
}

void tower_texts_free(struct nun_tower *t)
{
    while (t->texts) {
        struct text_plan *next = t->texts->next;
        plan_drop(t->texts);
        t->texts = next;
    }
}

static struct g_tensor *ints(struct graph *g, struct shape shape, int32_t **data)
{
    size_t n = 0;
    struct g_tensor *t = g_input(g, NULL, DT_I32, shape);
    *data = t && shape_count(&shape, &n) >= 0 ? arena_array(&g->arena, n, sizeof **data) : NULL;
    if (t)
        t->data = *data;
    return t;
}

static int plan_build(const struct nun_tower *t, struct text_plan *p)
{
    struct model_pooled out;
    TRY(graph_create(t->m->compute, t->m->threads, &p->graph));
    struct g_tensor *ids = ints(p->graph, SHAPE1(p->tokens), &p->ids), *pool = ints(p->graph, SHAPE1(1), &p->pool);
    struct nn_seq seq = {.batch = 1, .tokens = p->tokens, .pos = ints(p->graph, SHAPE1(p->tokens), &p->pos),
                         .spans = ints(p->graph, SHAPE3(1, p->tokens, 2), &p->spans)};
    if (!p->ids || !p->pos || !p->spans || !p->pool)
        return NUN_ENOMEM;
    for (int i = 0; i < p->tokens; i++) {
        p->pos[i] = i;
        p->spans[2 * i + 1] = t->m->model->text.facts.causal ? i + 1 : p->tokens;
    }
    TRY(model_text_encoder(p->graph, t->m->model, ids, &seq, pool, &out));
    p->vector = g_output(out.embeds);
    return plan_create(p->graph, &p->plan);
}

static int plan_for(struct nun_tower *t, int tokens, struct text_plan **out)
{
    for (struct text_plan *p = t->texts; p; p = p->next)
        if (p->tokens == tokens) {
            *out = p;
            return 0;
        }
    struct text_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->tokens = tokens;
    int rc = plan_build(t, p);
    if (rc < 0) {
        plan_drop(p);
        return rc;
    }
    p->next = t->texts;
    t->texts = *out = p;
    return 0;
}

/* ---- texts --------------------------------------------------------------------------------- */

/* What fills a text up to the length that a model which sees all of it was trained with. */
static int padding_of(const struct nun_tower *t, int32_t *out)
{
    int64_t id = tokenizer_role(t->m->tokenizer, TOK_PAD);
    if (id < 0) {
        id = 1;
        TRY(json_get_int(t->m->model->config, "config.json", "text_config.pad_token_id", 0, INT32_MAX, &id));
    }
    *out = (int32_t)id;
    return 0;
}

static int check_ids(const struct nun_tower *t, const struct ids *ids)
{
    const struct nn_facts *f = &t->m->model->text.facts;
    if (!ids->n)
        return err_set(NUN_EARG, "tower: the text is empty");
    if ((int64_t)ids->n > f->positions)
        return err_set(NUN_ECONTEXT, "tower: a text of %zu tokens, at most %d are read", ids->n, f->positions);
    for (size_t i = 0; i < ids->n; i++)
        if (ids->at[i] < 0 || ids->at[i] >= f->vocab)
            return err_set(NUN_EFORMAT, "tower: token %d, the model has %d", ids->at[i], f->vocab);
    return 0;
}

/* A causal text may be followed by anything: its length is rounded up. Others are padded to the model's own. */
static int run(struct nun_tower *t, const struct ids *ids, float *out)
{
    const struct nn_facts *f = &t->m->model->text.facts;
    struct text_plan *p;
    int32_t fill = 0;
    int n = (int)ids->n, tokens = f->positions;
    if (f->causal && n < tokens - tokens % LENGTH_STEP)
        tokens = (n + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;
    if (!f->causal)
        TRY(padding_of(t, &fill));
    TRY(plan_for(t, tokens, &p));
    for (int i = 0; i < tokens; i++)
        p->ids[i] = i < n ? ids->at[i] : fill;
    TRY(model_pool_rows(t->m->model, p->ids, 1, f->causal ? n : tokens, p->pool));
    TRY(exec_run(p->plan, &(struct exec){.pool = t->m->pool}));
    memcpy(out, g_f32(p->vector), (size_t)t->width * sizeof *out);
    for (int i = 0; i < t->width; i++)
        if (!isfinite(out[i]))
            return err_set(NUN_ENUMERIC, "tower: a state that is no number");
    return 0;
}

static int check_reads(const struct nun_tower *t)
{
    if (!t->reads)
        return err_set(NUN_EUNSUP, "tower: %s reads no texts", t->m->model->family->architecture);
    return t->m->tokenizer ? 0 : err_set(NUN_EUNSUP, "tower: there is no tokenizer in the model's folder");
}

PUBLIC int nun_tower_embed_text(struct nun_tower *t, const char *text, size_t len, bool normalize, float *vector, size_t *tokens)
{
    struct ids ids = {0};
    TRY(check_reads(t));
    int rc = tokenizer_encode(t->m->tokenizer, span_of(text, len), TOK_ADD_SPECIAL, &ids);
    if (rc >= 0)
        rc = check_ids(t, &ids);
    if (rc >= 0)
        rc = run(t, &ids, vector);
    if (rc >= 0 && normalize)
        tower_normalize(vector, t->width);
    if (rc >= 0 && tokens)
        *tokens = ids.n;
    ids_free(&ids);
    return rc;
}

/* ---- labels -------------------------------------------------------------------------------- */

static int make_label(struct nun_tower *t, const char *label, const char *form, float *vector)
{
    const char *place = strstr(form, "{}");
    struct buf text;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    buf_append(&text, form, (size_t)(place - form));
    buf_str(&text, label);
    buf_str(&text, place + 2);
    int rc = buf_error(&text);
    if (rc >= 0)
        rc = nun_tower_embed_text(t, text.ptr, text.len, true, vector, NULL);
    buf_free(&text);
    return rc < 0 ? err_at(rc, "label \"%s\"", label) : 0;
}

static int make_labels(struct nun_tower *t, const char *const *labels, size_t n, const char *form, struct tower_labels *out)
{
    out->n = (int)n;
    out->names = arena_array(&out->arena, n, sizeof *out->names);
    out->vectors = arena_array(&out->arena, n, (size_t)t->width * sizeof *out->vectors);
    if (!out->names || !out->vectors)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!(out->names[i] = arena_strdup(&out->arena, labels[i])))
            return NUN_ENOMEM;
        TRY(make_label(t, labels[i], form, out->vectors + i * (size_t)t->width));
    }
    return 0;
}

PUBLIC int nun_tower_set_labels(struct nun_tower *t, const char *const *labels, size_t n, const char *form)
{
    struct tower_labels made = {0};
    form = form ? form : DEFAULT_FORM;
    TRY(check_reads(t));
    if (!n || n > LIMIT_OF(vocab))
        return err_set(NUN_EARG, "labels: expected 1 to %zu, found %zu", LIMIT_OF(vocab), n);
    if (!strstr(form, "{}"))
        return err_set(NUN_EARG, "labels: expected {} in the text around them, found \"%s\"", form);
    arena_init(&made.arena, MEM_RUNTIME, 0);
    int rc = make_labels(t, labels, n, form, &made);
    if (rc < 0) {
        arena_free(&made.arena);
        return rc;
    }
    arena_free(&t->labels.arena);
    t->labels = made;
    return 0;
}

static double number_of(const struct g_param *p)
{
    float x = 0;
    if (p)
        dtype_to_f32(p->dt, p->data, &x, 1);
    return x;
}

void tower_scores(const struct nun_tower *t, float *vector, float *out)
{
    const struct model *m = t->m->model;
    double scale = exp(number_of(m->w[NN_logit_scale])), shift = number_of(m->w[NN_logit_bias]);
    tower_normalize(vector, t->width);
    for (int i = 0; i < t->labels.n; i++) {
        const float *label = t->labels.vectors + (size_t)i * (size_t)t->width;
        double dot = 0;
        for (int k = 0; k < t->width; k++)
            dot += (double)vector[k] * label[k];
        out[i] = (float)(dot * scale + shift);
    }
}
