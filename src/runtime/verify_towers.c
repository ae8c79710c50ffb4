/* Towers and contrastive pairs. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "runtime/verify_int.h"
#include "runtime/views.h"

int verify_text_spans(const struct model *m, const json_t *mask, int rows, int length, int32_t *spans)
{
    for (int r = 0; r < rows; r++) {
        const json_t *row = json_is_array(json_array_get(mask, 0)) ? json_array_get(mask, (size_t)r) : mask;
        int valid = mask ? 0 : length;
        while (valid < length && mask && json_integer_value(json_array_get(row, (size_t)valid)))
            valid++;
        for (int i = 0; i < length; i++, spans += 2) {
            int end = m->text.facts.causal ? i + 1 : length;
            spans[0] = 0;
            spans[1] = end < valid ? end : valid;
        }
    }
    return 0;
}

/* ---- one graph ----------------------------------------------------------------------------- */

struct towers {
    struct graph *g;
    struct plan *plan;
    struct model_pooled image, text;
    struct g_tensor *image_unit, *text_unit, *scores;
};

static struct g_tensor *filled(struct graph *g, enum dtype dt, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, NULL, dt, shape);
    if (t)
        t->data = data;
    return t;
}

static int build_image(struct verify_case *c, struct arena *arena, struct towers *t)
{
    struct views views;
    struct nn_pictures in;
    TRY(verify_views(c, arena, &views));
    views_inputs(t->g, c->m->model, &views, &in);
    TRY(model_view(t->g, c->m->model, &in, &t->image));
    struct g_tensor *made[] = {t->image.hidden, t->image.pooled, t->image.logits};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        if (made[i])
            g_output(made[i]);
    return 0;
}

static int build_text(struct verify_case *c, struct arena *arena, struct towers *t)
{
    const struct model *m = c->m->model;
    int32_t *ids;
    int rows, length;
    TRY(verify_ids(json_object_get(c->json, "input_ids"), c->r.name, arena, &ids, &rows, &length));
    size_t n = (size_t)rows * (size_t)length;
    int32_t *pos = arena_array(arena, n, 4), *spans = arena_array(arena, 2 * n, 4), *pool = arena_array(arena, (size_t)rows, 4);
    if (!pos || !spans || !pool)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        pos[i] = (int32_t)(i % (size_t)length);
    TRY(model_pool_rows(m, ids, rows, length, pool));
    TRY(verify_text_spans(m, json_object_get(c->json, "attention_mask"), rows, length, spans));
    struct nn_seq seq = {.batch = rows, .tokens = length};
    seq.pos = filled(t->g, DT_I32, SHAPE1((int64_t)n), pos);
    seq.spans = filled(t->g, DT_I32, SHAPE3(rows, length, 2), spans);
    struct g_tensor *in = filled(t->g, DT_I32, SHAPE1((int64_t)n), ids), *at = filled(t->g, DT_I32, SHAPE1(rows), pool);
    TRY(model_text_encoder(t->g, m, in, &seq, at, &t->text));
    g_output(t->text.hidden);
    g_output(t->text.pooled);
    return 0;
}

static int run(struct verify_case *c, struct towers *t)
{
    TRY(graph_error(t->g));
    TRY(plan_create(t->g, &t->plan));
    return exec_run(t->plan, &(struct exec){.pool = c->m->pool});
}

static int check(struct verify_case *c, const char *name, const struct g_tensor *x)
{
    return x ? verify_check(c, name, g_f32(x), (size_t)g_count(x)) : 0;
}

static int both(struct verify_case *c, struct arena *arena, struct towers *t)
{
    TRY(build_image(c, arena, t));
    TRY(build_text(c, arena, t));
    t->scores = g_output(model_contrast(t->g, c->m->model, t->image.embeds, t->text.embeds));
    t->image_unit = g_output(g_l2_norm(t->g, t->image.embeds, 0));
    t->text_unit = g_output(g_l2_norm(t->g, t->text.embeds, 0));
    TRY(run(c, t));
    TRY(check(c, "vision_last_hidden_state", t->image.hidden));
    TRY(check(c, "vision_pooler_output", t->image.pooled));
    TRY(check(c, "image_embeds", t->image_unit));
    TRY(check(c, "text_last_hidden_state", t->text.hidden));
    TRY(check(c, "text_pooler_output", t->text.pooled));
    TRY(check(c, "text_embeds", t->text_unit));
    return check(c, "logits_per_image", t->scores);
}

static int one(struct verify_case *c, struct arena *arena, struct towers *t)
{
    TRY(build_image(c, arena, t));
    if (t->image.embeds)
        g_output(t->image.embeds);
    TRY(run(c, t));
    TRY(check(c, "last_hidden_state", t->image.hidden));
    TRY(check(c, "pooler_output", t->image.pooled));
    TRY(check(c, "class_logits", t->image.logits));
    return check(c, "image_embeds", t->image.embeds);
}

static int with_graph(struct verify_case *c, struct arena *arena,
                      int (*fn)(struct verify_case *c, struct arena *arena, struct towers *t))
{
    struct towers t = {0};
    TRY(graph_create(c->m->compute, c->m->threads, &t.g));
    int rc = fn(c, arena, &t);
    plan_free(t.plan);
    graph_free(t.g);
    return rc;
}

int verify_contrastive(struct verify_case *c, struct arena *arena)
{
    return with_graph(c, arena, both);
}

int verify_vision(struct verify_case *c, struct arena *arena)
{
    return c->m->model->facts.mask_ratio > 0 ? verify_masked(c, arena) : with_graph(c, arena, one);
}
