/* Running rows: the spans of several sequences are laid into the smallest bucket of rows that holds them,
 * whose graph was planned once and is replayed. A row's result depends on its own sequence alone, so
 * neither the bucket nor the neighbours show. Rows that nobody uses have position -1. */
/* SPDX-License-Identifier: MIT */
#include "runtime/engine.h"

#include <string.h>

#include "base/err.h"
#include "runtime/timeline.h"

static const int row_buckets[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
enum { FEW_PICKS = 16 };

static int bucket_of(int rows)
{
    size_t i = 0;
    while (row_buckets[i] < rows && i + 1 < sizeof row_buckets / sizeof row_buckets[0])
        i++;
    return row_buckets[i];
}

/* ---- plans --------------------------------------------------------------------------------- */

static void plan_drop(struct engine_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    mem_free(p);
}

static void image_plan_drop(struct image_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    mem_free(p);
}

void engine_plans_free(struct nun_model *m)
{
    while (m->plans) {
        struct engine_plan *p = m->plans;
        m->plans = p->next;
        plan_drop(p);
    }
    while (m->image_plans) {
        struct image_plan *p = m->image_plans;
        m->image_plans = p->next;
        image_plan_drop(p);
    }
}

static struct g_tensor *input(struct graph *g, const char *name, enum dtype dt, struct shape shape, void *data)
{
    struct g_tensor *t = g_input(g, name, dt, shape);
    if (t)
        t->data = data;
    return t;
}

static int rotated_pairs(const struct nun_model *m)
{
    const struct nn_facts *f = &m->model->text.facts;
    return nn_rope_dims(f, &f->rope[0]) / 2;
}

static int plan_fill(const struct nun_model *m, struct engine_plan *p)
{
    TRY(graph_create(m->compute, m->threads, &p->graph));
    struct graph *g = p->graph;
    size_t rows = (size_t)p->rows, hidden = (size_t)m->model->text.facts.hidden;
    p->kv = arena_array(&g->arena, rows, sizeof *p->kv);
    p->ids = arena_array(&g->arena, rows, sizeof *p->ids);
    p->pos = arena_array(&g->arena, rows, sizeof *p->pos);
    p->pick = arena_array(&g->arena, (size_t)p->picks, sizeof *p->pick);
    if (!p->kv || !p->ids || !p->pos || !p->pick)
        return NUN_ENOMEM;
    struct model_text in = {.seq = {.batch = 1, .tokens = p->rows}};
    in.ids = input(g, "ids", DT_I32, SHAPE1(p->rows), p->ids);
    in.seq.pos = input(g, "pos", DT_I32, SHAPE1(p->rows), p->pos);
    in.seq.kv = input(g, "kv", DT_I32, SHAPE1(1), &p->step);
    in.pick = input(g, "pick", DT_I32, SHAPE1(p->picks), p->pick);
    if (p->images) {
        p->image_rows = arena_array(&g->arena, rows, sizeof *p->image_rows);
        p->features = arena_array(&g->arena, rows * hidden, sizeof *p->features);
        if (!p->image_rows || !p->features)
            return NUN_ENOMEM;
        in.image_rows = input(g, "image_rows", DT_I32, SHAPE1(p->rows), p->image_rows);
        in.images = input(g, "images", DT_F32, SHAPE2(p->rows, (int64_t)hidden), p->features);
    }
    if (nn_rope_by_length(&m->model->text.facts)) {
        int pairs = rotated_pairs(m);
        if (!(p->freq = arena_array(&g->arena, rows * (size_t)pairs, sizeof *p->freq)))
            return NUN_ENOMEM;
        in.seq.freq = input(g, "freq", DT_F32, SHAPE2(p->rows, pairs), p->freq);
    }
    p->step = (struct kv_step){p->kv, p->rows};
    p->logits = g_output(model_logits(g, m->model, &in));
    TRY(graph_error(g));
    return plan_create(g, &p->plan);
}

static int plan_get(struct nun_model *m, int rows, int picks, bool images, struct engine_plan **out)
{
    for (struct engine_plan *p = m->plans; p; p = p->next)
        if (p->rows == rows && p->picks == picks && p->images == images) {
            *out = p;
            return 0;
        }
    struct engine_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->rows = rows;
    p->picks = picks;
    p->images = images;
    int rc = plan_fill(m, p);
    if (rc < 0) {
        plan_drop(p);
        return rc;
    }
    p->next = m->plans;
    m->plans = *out = p;
    return 0;
}

/* ---- rows ---------------------------------------------------------------------------------- */

struct demand { int rows, picks; bool images; };

static struct demand demand_of(const struct engine_span *spans, int n)
{
    struct demand d = {0};
    for (int i = 0; i < n; i++) {
        const struct engine_span *s = &spans[i];
        d.rows += (int)(s->to - s->from);
        d.picks += s->all ? (int)(s->to - s->from) : s->last != NULL;
        for (int64_t at = s->from; at < s->to && !d.images; at++)
            d.images = timeline_placed(s->t, at) != NULL;
    }
    d.rows = bucket_of(d.rows);
    d.picks = d.picks <= 1 ? 1 : d.picks <= FEW_PICKS && d.rows > FEW_PICKS ? FEW_PICKS : d.rows;
    return d;
}

static void lay_row(const struct nun_model *m, struct engine_plan *p, int row, const struct engine_span *s, int64_t at)
{
    const struct nun_timeline *t = s->t;
    p->ids[row] = t->ids.at[at];
    p->pos[row] = (int32_t)at;
    p->kv[row] = (struct kv_row){.pages = t->table.pages, .page_stride = t->table.stride, .position = (int32_t)at,
                                 .state = t->state.live ? t->state.live->data : NULL, .span = {0, (int32_t)at + 1, 0, 0}};
    if (!p->images)
        return;
    const struct placed *here = timeline_placed(t, at);
    size_t hidden = (size_t)m->model->text.facts.hidden;
    p->image_rows[row] = here ? row : -1;
    if (here)
        memcpy(p->features + (size_t)row * hidden, here->picture->features + (size_t)(at - here->at) * hidden,
               hidden * sizeof(float));
}

static void lay_padding(struct engine_plan *p, int row, int pick)
{
    for (; row < p->rows; row++) {
        p->ids[row] = p->pos[row] = 0;
        p->kv[row] = (struct kv_row){.position = -1};
        if (p->images)
            p->image_rows[row] = -1;
    }
    for (; pick < p->picks; pick++)
        p->pick[pick] = -1;
}

/* The frequencies of one sequence's rows [row, end). */
static void lay_frequencies(const struct nun_model *m, struct engine_plan *p, int row, int end, const struct nun_timeline *t)
{
    const struct nn_facts *f = &m->model->text.facts;
    if (!p->freq)
        return;
    size_t pairs = (size_t)rotated_pairs(m);
    float *first = p->freq + (size_t)row * pairs;
    nn_rope_frequencies(f, &f->rope[0], (int64_t)t->ids.n, first);
    for (int i = row + 1; i < end; i++)
        memcpy(p->freq + (size_t)i * pairs, first, pairs * sizeof *first);
}

static void lay_out(const struct nun_model *m, struct engine_plan *p, const struct engine_span *spans, int n)
{
    int row = 0, pick = 0;
    for (int i = 0; i < n; i++) {
        lay_frequencies(m, p, row, row + (int)(spans[i].to - spans[i].from), spans[i].t);
        for (int64_t at = spans[i].from; at < spans[i].to; at++, row++) {
            lay_row(m, p, row, &spans[i], at);
            if (spans[i].all || (spans[i].last && at + 1 == spans[i].to))
                p->pick[pick++] = row;
        }
    }
    lay_padding(p, row, pick);
}

static void take_logits(const struct nun_model *m, const struct engine_plan *p, const struct engine_span *spans, int n)
{
    size_t vocab = (size_t)m->model->text.facts.vocab;
    const float *at = g_f32(p->logits);
    for (int i = 0; i < n; i++) {
        size_t count = (size_t)(spans[i].to - spans[i].from);
        if (spans[i].all) {
            memcpy(spans[i].all, at, count * vocab * sizeof *at);
            at += count * vocab;
            if (spans[i].last)
                memcpy(spans[i].last, at - vocab, vocab * sizeof *at);
        } else if (spans[i].last) {
            memcpy(spans[i].last, at, vocab * sizeof *at);
            at += vocab;
        }
    }
}

int engine_run(struct nun_model *m, const struct engine_span *spans, int n)
{
    struct demand d = demand_of(spans, n);
    struct engine_plan *p;
    for (int i = 0; i < n; i++) {
        TRY(page_table_reserve(&spans[i].t->table, &m->pages, spans[i].from, spans[i].to));
        TRY(state_own(&spans[i].t->state, &m->states));
    }
    TRY(plan_get(m, d.rows, d.picks, d.images, &p));
    lay_out(m, p, spans, n);
    TRY(exec_run(p->plan, &(struct exec){.pool = m->pool}));
    take_logits(m, p, spans, n);
    for (int i = 0; i < n; i++) {
        if (spans[i].to - spans[i].from > 1) /* of a prompt; an answer's next token is not worth a mark */
            state_mark(&spans[i].t->state, &m->states, spans[i].to);
        spans[i].t->computed = spans[i].to;
        spans[i].t->has_logits = spans[i].last != NULL && spans[i].last == spans[i].t->logits;
    }
    return 0;
}

/* ---- pictures ------------------------------------------------------------------------------ */

static int image_plan_fill(const struct nun_model *m, struct image_plan *p)
{
    int side = model_image_size(m->model), channels = 3;
    TRY(graph_create(m->compute, m->threads, &p->graph));
    size_t floats = (size_t)p->pictures * (size_t)channels * (size_t)side * (size_t)side;
    if (!(p->pixels = arena_array(&p->graph->arena, floats, sizeof *p->pixels)))
        return NUN_ENOMEM;
    struct g_tensor *pixels = input(p->graph, "pixels", DT_F32, SHAPE4(p->pictures, channels, side, side), p->pixels);
    p->features = g_output(model_images(p->graph, m->model, pixels));
    TRY(graph_error(p->graph));
    return plan_create(p->graph, &p->plan);
}

static int image_plan_get(struct nun_model *m, int pictures, struct image_plan **out)
{
    for (struct image_plan *p = m->image_plans; p; p = p->next)
        if (p->pictures == pictures) {
            *out = p;
            return 0;
        }
    struct image_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->pictures = pictures;
    int rc = image_plan_fill(m, p);
    if (rc < 0) {
        image_plan_drop(p);
        return rc;
    }
    p->next = m->image_plans;
    m->image_plans = *out = p;
    return 0;
}

/* At most ENGINE_PICTURES, all still to be encoded. */
static int encode_batch(struct nun_model *m, struct picture *const *pictures, int n)
{
    struct image_plan *p;
    int side = model_image_size(m->model);
    size_t pixels = 3 * (size_t)side * (size_t)side;
    size_t features = (size_t)model_image_tokens(m->model) * (size_t)m->model->text.facts.hidden;
    TRY(image_plan_get(m, bucket_of(n), &p));
    for (int i = 0; i < p->pictures; i++)
        memcpy(p->pixels + (size_t)i * pixels, pictures[i < n ? i : n - 1]->pixels, pixels * sizeof(float));
    TRY(exec_run(p->plan, &(struct exec){.pool = m->pool}));
    for (int i = 0; i < n; i++) {
        float *copy = mem_alloc(MEM_RUNTIME, features * sizeof *copy);
        if (!copy)
            return NUN_ENOMEM;
        memcpy(copy, g_f32(p->features) + (size_t)i * features, features * sizeof *copy);
        pictures[i]->features = copy;
        mem_free(pictures[i]->pixels);
        pictures[i]->pixels = NULL;
    }
    return 0;
}

int engine_encode(struct nun_model *m, struct picture *const *pictures, int n)
{
    struct picture *batch[ENGINE_PICTURES];
    int waiting = 0;
    for (int i = 0; i < n; i++) {
        bool twice = false; /* the same picture in two sequences */
        for (int k = 0; k < waiting; k++)
            twice = twice || batch[k] == pictures[i];
        if (!pictures[i]->features && !twice)
            batch[waiting++] = pictures[i];
        if (waiting == ENGINE_PICTURES) {
            TRY(encode_batch(m, batch, waiting));
            waiting = 0;
        }
    }
    return waiting ? encode_batch(m, batch, waiting) : 0;
}

void picture_drop(struct picture *p)
{
    if (!p || --p->refs > 0)
        return;
    mem_free(p->pixels);
    mem_free(p->features);
    mem_free(p);
}
