/* The task "questions": pictures of a world and questions about them, many behind each picture, cross-entropy on the
 * answers. Some micro-batches may be told in words instead, so that a decoder keeps what it could do without eyes. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/rng.h"
#include "models/sight.h"
#include "train/trainer.h"

struct questions {
    struct batch *batch;
    struct g_tensor *pixels, *ids, *pos, *spans, *image_rows, *pick, *labels; /* inputs */
    struct g_tensor *logits;
};

struct batch *questions_batch(const struct train_graph *g)
{
    return ((const struct questions *)g->own)->batch;
}

struct g_tensor *questions_logits(const struct train_graph *g)
{
    return ((const struct questions *)g->own)->logits;
}

/* ---- the graph ----------------------------------------------------------------------------- */

static void inputs(struct graph *g, struct questions *q)
{
    const struct batch *b = q->batch;
    const struct preprocess_plan *plan = &b->shape.plan;
    int P = b->shape.pictures, T = b->shape.tokens;
    q->pixels = b->shape.told ? NULL : g_input(g, "pixels", DT_F32, SHAPE4(P * plan->tiles, 3, plan->tile_height, plan->tile_width));
    q->ids = g_input(g, "ids", DT_I32, SHAPE1(P * T));
    q->pos = g_input(g, "pos", DT_I32, SHAPE1(P * T));
    q->spans = g_input(g, "spans", DT_I32, SHAPE3(P, T, 4));
    q->pick = g_input(g, "pick", DT_I32, SHAPE1(P * b->shape.answers));
    q->labels = g_input(g, "labels", DT_I32, SHAPE1(P * b->shape.answers));
}

static void bind(struct questions *q)
{
    struct { struct g_tensor *to; void *from; } rows[] = {
        {q->pixels, q->batch->pixels}, {q->ids, q->batch->ids}, {q->pos, q->batch->pos}, {q->spans, q->batch->spans},
        {q->pick, q->batch->pick}, {q->labels, q->batch->labels}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].to)
            rows[i].to->data = rows[i].from;
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

/* Where the features of the pictures go: rows of the placeholders. */
static struct g_tensor *placeholder_rows(struct graph *g, const struct batch *b)
{
    int32_t *rows;
    int n = b->image_tokens;
    struct g_tensor *t = nn_ints(g, SHAPE1((int64_t)b->shape.pictures * n), &rows);
    for (int i = 0; t && i < b->shape.pictures * n; i++)
        rows[i] = i / n * b->shape.tokens + b->image_at[i % n];
    return t;
}

/* A picture's rows beside its sequence, and what its tokens see of them: as when it is served. false: the family has none. */
static bool beside(struct graph *g, const struct model *m, const struct batch *b, struct g_tensor *features, int in_sequence,
                   struct nn_sight *out)
{
    int P = b->shape.pictures, T = b->shape.tokens;
    struct sight_side side = b->shape.told ? (struct sight_side){0} : sight_side_of(m, &b->shape.plan);
    struct sight_place picture = {&b->shape.plan, b->image_at};
    int32_t *spans, *lit;
    *out = (struct nn_sight){.rows = rows_of(g, features, P, in_sequence, in_sequence + side.rows), .n = side.rows};
    if (!out->rows)
        return false;
    out->spans = nn_ints(g, SHAPE3(P, T, 2), &spans);
    out->lit = nn_ints(g, SHAPE1((int64_t)P * T), &lit);
    for (int p = 0; out->spans && out->lit && p < P; p++) {
        int first = p * T;
        sight_spans(m, &picture, 1, T, first, (int32_t(*)[2])(void *)(spans + 2 * first), lit + first);
    }
    return true;
}

static struct g_tensor *loss_of(struct stage_run *r, struct train_graph *t, struct questions *q)
{
    struct graph *g = t->graph;
    const struct model *m = r->t->model;
    const struct batch *b = q->batch;
    int P = b->shape.pictures, in_sequence = b->shape.told ? 0 : m->family->sight->features(m, &b->shape.plan);
    struct g_tensor *features = q->pixels ? model_images(g, m, q->pixels, &b->shape.plan, P) : NULL;
    struct nn_sight sight;
    bool looks = beside(g, m, b, features, in_sequence, &sight);
    struct model_text in = {
        .seq = {.batch = P, .tokens = b->shape.tokens, .pos = q->pos, .spans = q->spans, .recompute = r->s->recompute && r->learn,
                .sight = looks ? &sight : NULL},
        .ids = q->ids, .images = rows_of(g, features, P, 0, in_sequence), .pick = q->pick, .layers = (int)r->s->decoder_layers};
    in.image_rows = in.images ? placeholder_rows(g, b) : NULL;
    t->side_rows = looks ? (int64_t)P * sight.n : 0;
    if (nn_routes_for(g, &m->text.facts, &in.seq.routes) < 0)
        return NULL;
    q->logits = model_logits(g, m, &in);
    struct g_tensor *loss = g_cross_entropy(g, q->logits, q->labels);
    if (!r->learn)
        g_output(q->logits);
    return r->learn ? nn_balance(g, &m->text.facts, loss, in.seq.routes) : loss;
}

/* ---- shapes -------------------------------------------------------------------------------- */

/* The text that stands for a picture of the plan. */
static int spell(const struct stage_run *r, const struct preprocess_plan *plan, struct buf *out)
{
    const struct model *m = r->t->model;
    const struct sight_row *row = m->family->sight;
    struct span token = tokenizer_token(r->source.tok, r->source.image);
    struct sight_text t = {.m = m, .plan = plan, .token = token, .features = row->features(m, plan), .count = 1};
    if (row->spell)
        return row->spell(&t, out);
    for (int i = 0; i < sight_tokens_of(m, plan); i++)
        buf_span(out, token);
    return buf_error(out);
}

static int plan_picture(const struct stage_run *r, int width, int height, struct preprocess_plan *out)
{
    const struct model *m = r->t->model;
    if (m->family->sight->build_told)
        return err_set(NUN_EUNSUP, "stage %s: features of %s depend on the question, and a world asks many of a picture: task conversations",
                       r->s->name, m->family->architecture);
    if (r->source.square)
        *out = sight_square_plan(m);
    else
        TRY(preprocess_plan(&r->source.processor, &(struct preprocess_input){.width = width, .height = height}, out));
    if (m->family->sight->features(m, out) + sight_side_of(m, out).rows < 1)
        return err_set(NUN_EUNSUP, "stage %s: %s does not see pictures of %d x %d pixels as its processor cuts them", r->s->name,
                       m->family->architecture, width, height);
    return 0;
}

/* Tokens of a row whose picture takes `prefix` of them. */
static int row_tokens(const struct recipe_stage *s, size_t prefix)
{
    return s->room ? (int)((prefix + s->room + 7) & ~(size_t)7) : (int)s->tokens;
}

static int make_batch(struct stage_run *r, const struct batch_shape *like, struct batch **out)
{
    struct batch_shape shape = *like;
    struct buf text;
    struct ids ids = {0};
    buf_init(&text, MEM_TRAIN, LIMIT_OF(text_bytes));
    int rc = shape.told ? 0 : spell(r, &shape.plan, &text);
    if (rc >= 0)
        rc = tokenizer_encode(r->source.tok, buf_view(&text), TOK_PARSE_SPECIAL, &ids);
    shape.tokens = row_tokens(r->s, shape.told ? r->s->told_tokens : ids.n + 2);
    if (rc >= 0)
        rc = batch_create(&shape, &r->source, buf_view(&text), pool_threads(r->t->pool), out);
    int wanted = shape.told ? 0 : sight_tokens_of(r->t->model, &shape.plan);
    if (rc >= 0 && (*out)->image_tokens != wanted)
        rc = err_set(NUN_EFORMAT, "a picture is to have %d placeholders, and its text is tokenised to %d", wanted, (*out)->image_tokens);
    ids_free(&ids);
    buf_free(&text);
    return rc < 0 ? err_at(rc, "stage %s", r->s->name) : 0;
}

static int make_graph(struct stage_run *r, const struct batch_shape *shape, struct train_graph **out)
{
    struct questions *q = mem_calloc(MEM_TRAIN, 1, sizeof *q);
    if (!q)
        return NUN_ENOMEM;
    int rc = stage_graph_begin(r, out);
    if (rc < 0) {
        mem_free(q);
        return rc;
    }
    (*out)->own = q;
    TRY(make_batch(r, shape, &q->batch));
    (*out)->rows = shape->pictures;
    (*out)->nominal = (double)shape->pictures * shape->answers;
    (*out)->placeholders = (int64_t)shape->pictures * q->batch->image_tokens;
    inputs((*out)->graph, q);
    TRY(graph_error((*out)->graph));
    TRY(stage_graph_end(r, *out, loss_of(r, *out, q)));
    bind(q);
    return 0;
}

int questions_graph(struct stage_run *r, bool told, int width, int height, struct train_graph **out)
{
    struct batch_shape shape = {.pictures = stage_micro_rows(r), .answers = (int)r->s->answers,
                                .questions = r->s->questions ? (int)r->s->questions : 1, .told = told};
    if (!told)
        TRY(plan_picture(r, width, height, &shape.plan));
    for (*out = r->graphs; *out; *out = (*out)->next) {
        const struct batch_shape *have = &questions_batch(*out)->shape;
        if (have->told == told && !memcmp(&have->plan, &shape.plan, sizeof shape.plan))
            return 0;
    }
    return make_graph(r, &shape, out);
}

/* ---- the row ------------------------------------------------------------------------------- */

static int open_stage(struct stage_run *r)
{
    const struct recipe_stage *s = r->s;
    TRY(batch_source_init(&r->source, r->t->tokenizer));
    if (!s->answers || s->questions > SCENE_MAX_QUESTIONS || (!s->tokens && !s->room) || (s->tokens && s->answers > s->tokens))
        return err_set(NUN_EFORMAT, "stage %s: answers %u (1..tokens), questions %u (at most %d), tokens %u or room %u (one of them)", s->name,
                       s->answers, s->questions, SCENE_MAX_QUESTIONS, s->tokens, s->room);
    if (r->told > 0 && (!r->source.world.row->tell || (s->room && !s->told_tokens)))
        return err_set(NUN_EFORMAT, "stage %s: told %g needs told_tokens and a world that tells its pictures, which %s %s", s->name,
                       (double)r->told, r->source.world.row->name, r->source.world.row->tell ? "does" : "does not");
    if (r->told < 1 && !r->t->model->family->sight)
        return err_set(NUN_EFORMAT, "stage %s: %s sees nothing: its pictures must all be told (told: 1)", s->name,
                       r->t->model->family->architecture);
    return r->source.world.row->set(&r->source.world, s, r->split);
}

/* Is the micro-batch told? Drawn for each by its number. */
static bool is_told(const struct stage_run *r, uint64_t first)
{
    enum { TOLD_STREAM = 77 };
    struct rng draw = rng_at(r->source.world.seed, TOLD_STREAM);
    draw.index = first;
    return r->told >= 1 || (r->told > 0 && rng_float(&draw) < r->told);
}

static int fill(struct stage_run *r, uint64_t first, struct train_graph **out)
{
    int width = 0, height = 0;
    bool told = is_told(r, first);
    if (!told)
        r->source.world.row->sides(&r->source.world, first, &width, &height);
    TRY(questions_graph(r, told, width, height, out));
    struct batch *b = questions_batch(*out);
    TRY(batch_fill(b, &r->source, first, r->t->pool));
    (*out)->weight = (double)b->learnt;
    (*out)->tokens = b->used_tokens;
    return 0;
}

/* A token of an answer behind those before it: is it the likeliest, and what does it cost? */
static bool likeliest(const float *x, int n, int label, double *nats)
{
    int best = 0;
    double sum = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    for (int i = 0; i < n; i++)
        sum += exp((double)(x[i] - x[best]));
    *nats += log(sum) + (double)x[best] - (double)x[label];
    return best == label;
}

/* Teacher-forced, so that an answer counts as right exactly when greedy decoding would give it. */
static void count(const struct train_graph *g, struct train_score *out)
{
    const struct batch *b = questions_batch(g);
    const struct g_tensor *logits = questions_logits(g);
    int V = (int)g_last(logits), R = b->shape.answers;
    for (int p = 0; p < b->shape.pictures; p++)
        for (int q = 0; q < b->answers[p]; q++) {
            const struct batch_answer *a = &b->answer[p * b->shape.questions + q];
            bool right = true;
            double nats = 0;
            for (int i = 0; i < a->count; i++) {
                size_t row = (size_t)p * (size_t)R + (size_t)(a->first + i);
                right = likeliest(g_f32(logits) + row * (size_t)V, V, b->labels[row], &nats) && right;
            }
            out->asked[a->kind]++;
            out->right[a->kind] += right;
            out->fine_asked[a->kind] += a->fine;
            out->fine_right[a->kind] += a->fine && right;
            out->tokens[a->kind] += a->count;
            out->nats[a->kind] += nats;
            out->fine_tokens[a->kind] += a->fine ? a->count : 0;
            out->fine_nats[a->kind] += a->fine ? nats : 0;
        }
}

static void drop(void *own)
{
    struct questions *q = own;
    if (q)
        batch_free(q->batch);
    mem_free(q);
}

const struct train_task train_task_questions = {
    "questions", "a world's pictures, shown or told, and questions about them: cross-entropy on the answers", open_stage, fill, count, drop,
    NULL};
