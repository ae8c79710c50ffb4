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

void engine_plans_free(struct nun_model *m)
{
    while (m->plans) {
        struct engine_plan *p = m->plans;
        m->plans = p->next;
        plan_drop(p);
    }
    engine_image_plans_free(m);
    engine_look_plans_free(m);
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
    size_t rows = (size_t)p->rows, width = (size_t)model_feature_width(m->model);
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
        p->features = arena_array(&g->arena, rows * width, sizeof *p->features);
        if (!p->image_rows || !p->features)
            return NUN_ENOMEM;
        in.image_rows = input(g, "image_rows", DT_I32, SHAPE1(p->rows), p->image_rows);
        in.images = input(g, "images", DT_F32, SHAPE2(p->rows, (int64_t)width), p->features);
    }
    if (p->looks) {
        if (!(p->lit = arena_array(&g->arena, rows, sizeof *p->lit)))
            return NUN_ENOMEM;
        p->sight.lit = input(g, "lit", DT_I32, SHAPE1(p->rows), p->lit);
        in.seq.sight = &p->sight;
    }
    if (nn_rope_by_row(&m->model->text.facts)) {
        int pairs = rotated_pairs(m);
        p->inv_freq = arena_array(&g->arena, (size_t)pairs, sizeof *p->inv_freq);
        if (!(p->freq = arena_array(&g->arena, rows * (size_t)pairs, sizeof *p->freq)) || !p->inv_freq)
            return NUN_ENOMEM;
        in.seq.freq = input(g, "freq", DT_F32, SHAPE2(p->rows, pairs), p->freq);
    }
    p->step = (struct kv_step){p->kv, p->rows, m->cache_k, m->cache_v};
    p->logits = g_output(model_logits(g, m->model, &in));
    TRY(graph_error(g));
    return plan_create(g, &p->plan);
}

/* What the rows of some spans need. */
struct demand { int rows, picks; bool images, looks; };

static int plan_get(struct nun_model *m, const struct demand *d, struct engine_plan **out)
{
    for (struct engine_plan *p = m->plans; p; p = p->next)
        if (p->rows == d->rows && p->picks == d->picks && p->images == d->images && p->looks == d->looks) {
            *out = p;
            return 0;
        }
    struct engine_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->rows = d->rows;
    p->picks = d->picks;
    p->images = d->images;
    p->looks = d->looks;
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

static struct demand demand_of(const struct nun_model *m, const struct engine_span *spans, int n)
{
    struct demand d = {0};
    for (int i = 0; i < n; i++) {
        const struct engine_span *s = &spans[i];
        d.rows += (int)(s->to - s->from);
        d.looks = d.looks || (s->t->n_placed && page_block_bytes(&m->sides));
        d.picks += s->all ? (int)(s->to - s->from) : s->last != NULL;
        for (int64_t at = s->from; at < s->to && !d.images; at++)
            d.images = timeline_placed(s->t, at) != NULL;
    }
    d.rows = bucket_of(d.rows);
    d.picks = d.picks <= 1 ? 1 : d.picks <= FEW_PICKS && d.rows > FEW_PICKS ? FEW_PICKS : d.rows;
    return d;
}

/* Keys [0, at], or all before a run of tokens that see each other, and the run. */
static void lay_span(const struct nun_timeline *t, int64_t at, struct kv_row *row)
{
    const struct token_place *p = t->place ? &t->place[at] : NULL;
    bool run = p && p->last > p->first;
    row->span[1] = run ? p->first : (int32_t)at + 1;
    row->run[0] = run ? p->first : 0;
    row->run[1] = run ? p->last : 0;
}

static void lay_row(const struct nun_model *m, struct engine_plan *p, int row, const struct engine_span *s, int64_t at)
{
    const struct nun_timeline *t = s->t;
    p->ids[row] = model_is_behind(m->model, t->ids.at[at]) ? 0 : t->ids.at[at];
    p->pos[row] = (int32_t)at;
    p->kv[row] = (struct kv_row){.pages = t->table.pages, .page_stride = t->table.stride, .position = (int32_t)at,
                                 .state = t->state.live ? t->state.live->data : NULL};
    lay_span(t, at, &p->kv[row]);
    if (p->looks)
        p->lit[row] = look_row(t, at, &p->kv[row]) ? row : -1;
    if (!p->images)
        return;
    const struct placed *here = timeline_placed(t, at);
    size_t width = (size_t)model_feature_width(m->model);
    p->image_rows[row] = here ? row : -1;
    if (here)
        memcpy(p->features + (size_t)row * width, here->picture->features + (size_t)t->place[at].feature * width,
               width * sizeof(float));
}

static void lay_padding(struct engine_plan *p, int row, int pick)
{
    for (; row < p->rows; row++) {
        p->ids[row] = p->pos[row] = 0;
        p->kv[row] = (struct kv_row){.position = -1};
        if (p->images)
            p->image_rows[row] = -1;
        if (p->looks)
            p->lit[row] = -1;
    }
    for (; pick < p->picks; pick++)
        p->pick[pick] = -1;
}

/* The frequencies of one sequence's rows from `row` on; with sections its angles, and then the positions are in them. */
static void lay_frequencies(const struct nun_model *m, struct engine_plan *p, int row, const struct engine_span *s)
{
    const struct nn_facts *f = &m->model->text.facts;
    const struct nn_rope *r = &f->rope[0];
    if (!p->freq)
        return;
    size_t pairs = (size_t)rotated_pairs(m);
    nn_rope_frequencies(f, r, (int64_t)s->t->ids.n, p->inv_freq);
    for (int64_t at = s->from; at < s->to; at++, row++) {
        float *out = p->freq + (size_t)row * pairs;
        if (r->sections[0]) {
            nn_rope_angles(f, r, p->inv_freq, s->t->place[at].at, out);
            p->pos[row] = 1;
        } else {
            memcpy(out, p->inv_freq, pairs * sizeof *out);
        }
    }
}

static void lay_out(const struct nun_model *m, struct engine_plan *p, const struct engine_span *spans, int n)
{
    int row = 0, pick = 0;
    for (int i = 0; i < n; i++) {
        int first = row;
        for (int64_t at = spans[i].from; at < spans[i].to; at++, row++) {
            lay_row(m, p, row, &spans[i], at);
            if (spans[i].all || (spans[i].last && at + 1 == spans[i].to))
                p->pick[pick++] = row;
        }
        lay_frequencies(m, p, first, &spans[i]);
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
    struct demand d = demand_of(m, spans, n);
    struct engine_plan *p;
    for (int i = 0; i < n; i++) {
        TRY(page_table_reserve(&spans[i].t->table, &m->pages, spans[i].from, spans[i].to));
        TRY(state_own(&spans[i].t->state, &m->states));
    }
    TRY(plan_get(m, &d, &p));
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
