/* What sequences keep of pictures for layers that look at them: keys and values in pages of their own, computed once a
 * picture from its features, shared by forks. Tokens see the picture before them, together with those that stand right
 * before it (or all before it, where the way of seeing says so), and tokens of a picture what sight_row.looks says, so rows are
 * kept in the order of the pictures and what a token sees is one range:
 *
 *   rows shown of picture 0 | of picture 1 | ... | padding of picture 0 | of picture 1 | ...
 *
 * Padding is kept only where somebody sees it: in Llama 3.2 Vision as transformers computes it, tokens before the first
 * picture see all rows of all pictures. Then whatever was computed hangs on the pictures that come later, and another
 * picture means computing anew (look_follow). */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "runtime/timeline.h"

/* The graph that keeps `rows` rows at a time. */
struct look_plan {
    struct look_plan *next;
    int rows;
    struct graph *graph;
    struct plan *plan;
    struct kv_row *kv;           /* [rows] */
    struct kv_step step;
    float *features;             /* [rows, hidden] */
};

/* ---- which rows ---------------------------------------------------------------------------- */

static bool looks(const struct nun_timeline *t)
{
    return page_block_bytes(&t->m->sides) > 0;
}

/* Its tokens before the first picture see all of them. */
static bool blind(const struct nun_timeline *t)
{
    return looks(t) && t->m->model->text.facts.blind_sees && (!t->n_placed || t->placed[0].at > 0);
}

/* Rows shown of the first n pictures; with padding, all of theirs. */
static int32_t rows_of(const struct nun_timeline *t, size_t n, bool padding)
{
    int32_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += padding ? t->placed[i].picture->side.rows : t->placed[i].picture->side.shown;
    return rows;
}

/* Inside a picture: what the placeholder at `at` sees, or the next one behind it. */
static bool look_inside(const struct nun_timeline *t, const struct placed *p, int64_t at, int32_t sees[2])
{
    const struct sight_row *row = t->m->model->family->sight;
    int i = 0;
    if (!row->looks || at >= p->end)
        return false;
    for (int64_t k = p->at; k < at; k++)
        i += t->ids.at[k] == p->picture->token;
    struct sight_range r = row->looks(t->m->model, &p->picture->plan, i);
    sees[0] = p->row + r.from;
    sees[1] = p->row + r.to;
    return true;
}

bool look_row(const struct nun_timeline *t, int64_t at, struct kv_row *row)
{
    const struct placed *p = timeline_picture_before(t, at);
    row->kept = t->side.pages;
    row->kept_stride = t->side.stride;
    if (p && look_inside(t, p, at, row->sees))
        return true;
    row->sees[0] = p ? p->group : 0;
    row->sees[1] = p ? p->row + p->picture->side.shown : blind(t) ? rows_of(t, t->n_placed, true) : 0;
    return p != NULL;
}

int32_t look_rows(const struct nun_timeline *t)
{
    return looks(t) ? rows_of(t, t->n_placed, blind(t)) : 0;
}

/* Pictures whose rows have to be there for positions up to `to`. */
static size_t wanted(const struct nun_timeline *t, int64_t to)
{
    size_t n = 0;
    while (n < t->n_placed && (blind(t) || t->placed[n].at < to))
        n++;
    return n;
}

/* ---- keeping ------------------------------------------------------------------------------- */

static void plan_drop(struct look_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    mem_free(p);
}

void engine_look_plans_free(struct nun_model *m)
{
    while (m->look_plans) {
        struct look_plan *p = m->look_plans;
        m->look_plans = p->next;
        plan_drop(p);
    }
}

static int plan_fill(const struct nun_model *m, struct look_plan *p)
{
    int64_t hidden = m->model->text.facts.hidden;
    TRY(graph_create(m->compute, m->threads, &p->graph));
    struct graph *g = p->graph;
    p->kv = arena_array(&g->arena, (size_t)p->rows, sizeof *p->kv);
    p->features = arena_array(&g->arena, (size_t)p->rows * (size_t)hidden, sizeof *p->features);
    if (!p->kv || !p->features)
        return NUN_ENOMEM;
    struct g_tensor *rows = g_input(g, "features", DT_F32, SHAPE2(p->rows, hidden)), *kv = g_input(g, "kv", DT_I32, SHAPE1(1));
    p->step = (struct kv_step){p->kv, p->rows, m->cache_k, m->cache_v};
    nn_keep_pictures(g, &m->model->text, rows, kv);
    TRY(graph_error(g));
    rows->data = p->features;
    kv->data = &p->step;
    return plan_create(g, &p->plan);
}

static int plan_get(struct nun_model *m, int rows, struct look_plan **out)
{
    int bucket = 1;
    while (bucket < rows)
        bucket *= 2;
    for (*out = m->look_plans; *out; *out = (*out)->next)
        if ((*out)->rows == bucket)
            return 0;
    struct look_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->rows = bucket;
    int rc = plan_fill(m, p);
    if (rc < 0) {
        plan_drop(p);
        return rc;
    }
    p->next = m->look_plans;
    m->look_plans = *out = p;
    return 0;
}

/* features [n, hidden] into rows [to, to + n). */
static int keep(struct nun_timeline *t, const float *features, int n, int32_t to)
{
    struct nun_model *m = t->m;
    size_t hidden = (size_t)m->model->text.facts.hidden;
    for (int done = 0, some; done < n; done += some) {
        struct look_plan *p;
        some = n - done < m->chunk ? n - done : m->chunk;
        TRY(plan_get(m, some, &p));
        memcpy(p->features, features + (size_t)done * hidden, (size_t)some * hidden * sizeof *features);
        for (int i = 0; i < p->rows; i++)
            p->kv[i] = (struct kv_row){.kept = t->side.pages, .kept_stride = t->side.stride, .position = i < some ? to + done + i : -1};
        TRY(exec_run(p->plan, &(struct exec){.pool = m->pool}));
    }
    return 0;
}

/* Pictures [looked, n) of the timeline, all encoded. */
static int keep_pictures(struct nun_timeline *t, size_t n)
{
    size_t hidden = (size_t)t->m->model->text.facts.hidden;
    bool padding = blind(t);
    int32_t shown = rows_of(t, n, false), behind = shown + rows_of(t, t->looked, true) - rows_of(t, t->looked, false);
    TRY(page_table_reserve(&t->side, &t->m->sides, t->looked ? t->placed[t->looked].row : 0, padding ? rows_of(t, n, true) : shown));
    for (size_t i = t->looked; i < n; i++) {
        const struct picture *p = t->placed[i].picture;
        const float *rows = p->features + (size_t)p->n_features * hidden;
        int rest = p->side.rows - p->side.shown;
        TRY(keep(t, rows, p->side.shown, t->placed[i].row));
        if (padding)
            TRY(keep(t, rows + (size_t)p->side.shown * hidden, rest, behind));
        behind += rest;
    }
    t->looked = n;
    return 0;
}

bool timeline_unseen(const struct nun_timeline *t, int64_t to)
{
    size_t n = wanted(t, to);
    bool any = looks(t) && t->looked < n;
    for (size_t i = 0; i < n; i++)
        any = any || !t->placed[i].picture->features;
    return any;
}

int timeline_see(struct nun_timeline *t, int64_t to)
{
    struct picture *waiting[ENGINE_PICTURES];
    size_t all = wanted(t, to);
    int n = 0;
    for (size_t i = 0; i < all; i++) {
        if (!t->placed[i].picture->features)
            waiting[n++] = t->placed[i].picture;
        if (n == ENGINE_PICTURES) {
            TRY(engine_encode(t->m, waiting, n));
            n = 0;
        }
    }
    TRY(engine_encode(t->m, waiting, n));
    return looks(t) && t->looked < all ? keep_pictures(t, all) : 0;
}

/* ---- going back, sharing ------------------------------------------------------------------- */

static void forget(struct nun_timeline *t)
{
    page_table_cut(&t->side, &t->m->sides, 0);
    t->looked = 0;
}

void look_follow(struct nun_timeline *t)
{
    if (!blind(t) || t->looked == t->n_placed)
        return;
    forget(t);
    if (t->computed)
        timeline_uncompute(t, 0);
}

void look_cut(struct nun_timeline *t)
{
    if (!looks(t) || t->looked <= t->n_placed)
        return;
    if (blind(t)) { /* the padding lay behind what is gone */
        forget(t);
        timeline_uncompute(t, 0);
        return;
    }
    t->looked = t->n_placed;
    page_table_cut(&t->side, &t->m->sides, rows_of(t, t->looked, false));
}

int look_share(struct nun_timeline *to, const struct nun_timeline *from, size_t n)
{
    if (!looks(from))
        return 0;
    n = blind(from) ? from->looked : n < from->looked ? n : from->looked;
    TRY(page_table_share(&to->side, &from->side, &from->m->sides, rows_of(from, n, blind(from))));
    to->looked = n;
    return 0;
}

bool look_apart(const struct nun_timeline *t, const struct nun_timeline *past)
{
    if (!blind(t) && !blind(past))
        return false;
    bool same = t->n_placed == past->n_placed && past->looked == past->n_placed;
    for (size_t i = 0; i < t->n_placed && same; i++)
        same = !memcmp(&t->placed[i].picture->identity, &past->placed[i].picture->identity, sizeof(struct digest));
    return !same;
}
