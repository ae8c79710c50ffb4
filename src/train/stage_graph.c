/* The graph of a training or validation step. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/sight.h"
#include "train/trainer.h"

static void inputs(struct train_graph *t, const struct batch_shape *s)
{
    struct graph *g = t->graph;
    int P = s->pictures, T = s->tokens;
    t->pixels = g_input(g, "pixels", DT_F32, SHAPE4(P, 3, s->side, s->side));
    t->ids = g_input(g, "ids", DT_I32, SHAPE1(P * T));
    t->pos = g_input(g, "pos", DT_I32, SHAPE1(P * T));
    t->spans = g_input(g, "spans", DT_I32, SHAPE3(P, T, 4));
    t->image_rows = g_input(g, "image_rows", DT_I32, SHAPE1(P * s->image_tokens));
    t->pick = g_input(g, "pick", DT_I32, SHAPE1(P * s->answers));
    t->labels = g_input(g, "labels", DT_I32, SHAPE1(P * s->answers));
    t->share = g_input(g, "share", DT_F32, SHAPE1(1));
}

static void bind(struct train_graph *t)
{
    struct { struct g_tensor *to; void *from; } rows[] = {
        {t->pixels, t->batch->pixels}, {t->ids, t->batch->ids}, {t->pos, t->batch->pos}, {t->spans, t->batch->spans},
        {t->image_rows, t->batch->image_rows}, {t->pick, t->batch->pick}, {t->labels, t->batch->labels}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        rows[i].to->data = rows[i].from;
}

enum { BEFORE_PICTURE = 2 }; /* tokens of a row in front of its picture: batch.h */

static struct g_tensor *ints(struct graph *g, struct shape shape, int32_t **out)
{
    struct g_tensor *t = g_const(g, DT_I32, shape, NULL, false);
    *out = t ? arena_array(&g->arena, (size_t)g_count(t), sizeof **out) : NULL;
    if (!*out) {
        g->error = g->error ? g->error : NUN_ENOMEM;
        return NULL;
    }
    t->data = *out;
    return t;
}

/* Rows [from, to) of each of n pictures, of x [n * all, width]. */
static struct g_tensor *rows_of(struct graph *g, struct g_tensor *x, int n, int64_t from, int64_t to)
{
    if (!x || from >= to)
        return NULL;
    int64_t all = x->shape.d[0] / n, width = g_last(x);
    x = from == 0 && to == all ? x : g_slice(g, g_reshape(g, x, SHAPE3(n, all, width)), 1, from, to);
    return g_reshape(g, x, SHAPE2(n * (to - from), width));
}

/* A picture's rows beside its sequence, which tokens from the placeholder on see. false: the family has none. */
static bool beside(struct graph *g, const struct model *m, const struct batch_shape *s, struct g_tensor *features, int in_sequence,
                   struct nn_sight *out)
{
    struct preprocess_plan square = sight_square_plan(m);
    struct sight_side side = sight_side_of(m, &square);
    int32_t *spans, *lit;
    *out = (struct nn_sight){.rows = rows_of(g, features, s->pictures, in_sequence, in_sequence + side.rows), .n = side.rows};
    if (!out->rows)
        return false;
    out->spans = ints(g, SHAPE3(s->pictures, s->tokens, 2), &spans);
    out->lit = ints(g, SHAPE1((int64_t)s->pictures * s->tokens), &lit);
    for (int i = 0; out->spans && out->lit && i < s->pictures * s->tokens; i++) {
        bool sees = i % s->tokens >= BEFORE_PICTURE;
        spans[2 * i] = 0;
        spans[2 * i + 1] = sees ? side.shown : m->text.facts.blind_sees ? side.rows : 0;
        lit[i] = sees ? i : -1;
    }
    return true;
}

static int build(struct train_graph *t, const struct trainer *tr, const struct recipe_stage *s, bool learn)
{
    const struct batch_shape *shape = &t->batch->shape;
    struct graph *g = t->graph;
    g->training = learn;
    inputs(t, shape);
    struct g_tensor *features = model_images(g, tr->model, t->pixels, NULL, shape->pictures);
    struct nn_sight sight;
    int in_sequence = model_features(tr->model, NULL);
    bool looks = beside(g, tr->model, shape, features, in_sequence, &sight);
    struct model_text in = {
        .seq = {.batch = shape->pictures, .tokens = shape->tokens, .pos = t->pos, .spans = t->spans, .recompute = s->recompute && learn,
                .sight = looks ? &sight : NULL},
        .ids = t->ids, .images = rows_of(g, features, shape->pictures, 0, in_sequence), .image_rows = t->image_rows, .pick = t->pick, .layers = (int)s->decoder_layers};
    TRY(nn_routes_for(g, &tr->model->text.facts, &in.seq.routes));
    t->logits = model_logits(g, tr->model, &in);
    t->loss = g_cross_entropy(g, t->logits, t->labels);
    t->loss = g_output(learn ? nn_balance(g, &tr->model->text.facts, t->loss, in.seq.routes) : t->loss);
    if (!learn)
        g_output(t->logits);
    TRY(graph_error(g));
    if (learn)
        TRY(graph_backward(g, t->loss, t->share));
    TRY(plan_create(g, &t->plan));
    bind(t);
    return 0;
}

/* Placeholders of a picture; 0 where the tower does not take one square. */
static int picture_tokens(const struct model *m)
{
    if (!m->family->sight)
        return 0;
    struct preprocess_plan square = sight_square_plan(m);
    bool taken = model_features(m, NULL) + sight_side_of(m, &square).rows > 0;
    return taken ? sight_tokens_of(m, &square) : 0;
}

int train_graph_create(const struct trainer *tr, const struct recipe_stage *s, bool learn, struct train_graph *out)
{
    memset(out, 0, sizeof *out);
    uint32_t micro = s->accumulate > 1 ? s->accumulate : 1;
    struct batch_shape shape = {
        .pictures = (int)(s->batch / micro), .tokens = (int)s->tokens, .answers = (int)s->answers,
        .questions = s->questions ? (int)s->questions : 1,
        .image_tokens = picture_tokens(tr->model), .side = model_image_size(tr->model)};
    if (tr->model->family->sight && shape.image_tokens < 1)
        return err_set(NUN_EUNSUP, "stage %s: %s sees pictures of any size; training draws them for towers of one square", s->name,
                       tr->model->family->architecture);
    if (s->batch % micro || shape.questions > SCENE_MAX_QUESTIONS)
        return err_set(NUN_EFORMAT, "stage %s: batch %u is not a multiple of accumulate %u, or questions %d over %d", s->name,
                       s->batch, micro, shape.questions, SCENE_MAX_QUESTIONS);
    if (shape.tokens < shape.image_tokens + 3)
        return err_set(NUN_EFORMAT, "stage %s: tokens %d cannot hold the %d of a picture", s->name, shape.tokens, shape.image_tokens);
    enum gemm_format compute = tr->recipe->compute && !strcmp(tr->recipe->compute, "f32") ? GEMM_F32 : GEMM_BF16;
    int threads = pool_threads(tr->pool);
    int rc = batch_create(&shape, threads, &out->batch);
    if (rc >= 0)
        rc = graph_create(compute, threads, &out->graph);
    if (rc >= 0)
        rc = build(out, tr, s, learn);
    if (rc < 0)
        train_graph_free(out);
    return rc;
}

void train_graph_free(struct train_graph *g)
{
    plan_free(g->plan);
    graph_free(g->graph);
    batch_free(g->batch);
    memset(g, 0, sizeof *g);
}
