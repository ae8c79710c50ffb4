/* The rows, and the loop over parameters. A parameter is updated by one thread, in one order. */
/* SPDX-License-Identifier: MIT */
#include "train/optim.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/pool.h"
#include "train/muon.h"

/* arXiv:1711.05101: decoupled decay first, then the bias-corrected step. */
static void update_adamw(const struct g_param *p, float *w, const float *g, float *const *state,
                         const struct optim_settings *s, int64_t t, void *scratch)
{
    size_t n;
    if (shape_count(&p->shape, &n) < 0)
        return;
    float *m = state[0], *v = state[1];
    double c1 = 1.0 - pow(s->beta1, (double)t), c2 = sqrt(1.0 - pow(s->beta2, (double)t));
    float step = (float)(s->lr / c1), root = (float)c2, keep = 1.0f - s->lr * s->weight_decay;
    for (size_t i = 0; i < n; i++) {
        m[i] = s->beta1 * m[i] + (1.0f - s->beta1) * g[i];
        v[i] = s->beta2 * v[i] + (1.0f - s->beta2) * g[i] * g[i];
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) / root + s->eps);
    }
}

static void update_sgd(const struct g_param *p, float *w, const float *g, float *const *state,
                       const struct optim_settings *s, int64_t t, void *scratch)
{
    size_t n;
    if (shape_count(&p->shape, &n) < 0)
        return;
    float *b = state[0];
    for (size_t i = 0; i < n; i++) {
        float d = g[i] + s->weight_decay * w[i];
        b[i] = t == 1 ? d : s->momentum * b[i] + d;
        w[i] -= s->lr * (s->nesterov ? d + s->momentum * b[i] : b[i]);
    }
}

/* arXiv:2302.06675, algorithm 2. */
static void update_lion(const struct g_param *p, float *w, const float *g, float *const *state,
                        const struct optim_settings *s, int64_t t, void *scratch)
{
    size_t n;
    if (shape_count(&p->shape, &n) < 0)
        return;
    float *m = state[0];
    for (size_t i = 0; i < n; i++) {
        float c = s->beta1 * m[i] + (1.0f - s->beta1) * g[i];
        w[i] = w[i] * (1.0f - s->lr * s->weight_decay) - s->lr * (float)((c > 0) - (c < 0));
        m[i] = s->beta2 * m[i] + (1.0f - s->beta2) * g[i];
    }
}

const struct optim_row optim_rows[OPTIM_KINDS] = {
    [OPTIM_ADAMW] = {"adamw", 2, {"exp_avg", "exp_avg_sq"}, NULL, update_adamw, "Adam with decoupled weight decay"},
    [OPTIM_MUON] = {"muon", 1, {"momentum"}, muon_scratch, muon_update, "momentum, orthogonalised by Newton-Schulz; matrices"},
    [OPTIM_SGD] = {"sgd", 1, {"momentum"}, NULL, update_sgd, "stochastic gradient descent with momentum"},
    [OPTIM_LION] = {"lion", 1, {"momentum"}, NULL, update_lion, "sign of an interpolated momentum"},
};

static int parts_of(const struct g_param *p)
{
    return p->stacked ? (int)p->shape.d[0] : 1;
}

/* Matrix `part` of a stack as a parameter: [N, K] of [E, N, K]. */
static int part_param(struct optim *o, struct optim_slot *s, const struct g_param *p, int part)
{
    struct g_param *one = arena_alloc(&o->arena, sizeof *one);
    if (!one || !(one->name = arena_printf(&o->arena, "%s[%d]", p->name, part)))
        return NUN_ENOMEM;
    one->shape = SHAPE2(p->shape.d[1], p->shape.d[2]);
    s->from = (size_t)part * (size_t)(p->shape.d[1] * p->shape.d[2]);
    s->param = one;
    return 0;
}

static int slot_make(struct optim *o, struct optim_slot *s, struct g_param *whole, int part, enum optim_kind kind)
{
    const struct optim_row *row = &optim_rows[kind];
    s->param = s->whole = whole;
    if (whole->stacked)
        TRY(part_param(o, s, whole, part));
    const struct g_param *p = s->param;
    s->kind = kind;
    s->rate = 1;
    s->decays = p->shape.n >= 2;
    TRY(shape_count(&p->shape, &s->count));
    for (int k = 0; k < row->n_states; k++)
        if (!(s->state[k] = arena_array(&o->arena, s->count, sizeof(float))))
            return NUN_ENOMEM;
    size_t scratch = row->scratch ? row->scratch(p) : 0;
    if (scratch > o->scratch_bytes)
        o->scratch_bytes = scratch;
    return 0;
}

static int fill(struct optim *o, struct g_param *const *params, int n,
                enum optim_kind (*kind_of)(const struct g_param *p, void *arg), void *arg)
{
    arena_init(&o->arena, MEM_TRAIN, 0);
    size_t slots = 0;
    for (int i = 0; i < n; i++)
        slots += (size_t)parts_of(params[i]);
    o->slots = arena_array(&o->arena, slots, sizeof *o->slots);
    o->scratch = arena_array(&o->arena, (size_t)o->threads, sizeof *o->scratch);
    if (!o->slots || !o->scratch)
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++)
        for (int part = 0; part < parts_of(params[i]); part++)
            TRY(slot_make(o, &o->slots[o->n++], params[i], part, kind_of(params[i], arg)));
    for (int i = 0; i < o->threads; i++)
        if (!(o->scratch[i] = arena_alloc(&o->arena, o->scratch_bytes + 64)))
            return NUN_ENOMEM;
    return 0;
}

int optim_create(struct g_param *const *params, int n, int threads,
                 enum optim_kind (*kind_of)(const struct g_param *p, void *arg), void *arg, struct optim **out)
{
    *out = mem_calloc(MEM_TRAIN, 1, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    (*out)->threads = threads;
    int rc = fill(*out, params, n, kind_of, arg);
    if (rc < 0) {
        optim_free(*out);
        *out = NULL;
    }
    return rc;
}

void optim_free(struct optim *o)
{
    if (!o)
        return;
    arena_free(&o->arena);
    mem_free(o);
}

/* 16 lanes, so that the order is fixed and the loop vectorises. */
static double square_sum(const float *g, size_t n)
{
    double lane[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lane[j] += (double)g[i + j] * g[i + j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)g[i] * g[i];
    double s = 0;
    for (int j = 0; j < 16; j++)
        s += lane[j];
    return s;
}

double optim_grad_norm(const struct optim *o)
{
    double s = 0;
    for (int i = 0; i < o->n; i++)
        if (o->slots[i].whole->trainable)
            s += square_sum(o->slots[i].whole->grad + o->slots[i].from, o->slots[i].count);
    return sqrt(s);
}

void optim_zero_grad(struct optim *o)
{
    for (int i = 0; i < o->n; i++)
        if (o->slots[i].whole->trainable)
            memset(o->slots[i].whole->grad + o->slots[i].from, 0, o->slots[i].count * sizeof(float));
}

struct stepping { struct optim *o; const struct optim_settings *settings; float factor; };

static bool all_zero(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

static void update_slot(struct optim_slot *s, const struct optim_settings *all, float factor, void *scratch)
{
    struct optim_settings own = all[s->kind];
    own.lr *= s->rate;
    if (!s->decays)
        own.weight_decay = 0;
    float *g = s->whole->grad + s->from, *w = (float *)(uintptr_t)s->whole->data + s->from;
    if (s->whole->stacked && all_zero(g, s->count))
        return;
    if (factor != 1.0f)
        for (size_t i = 0; i < s->count; i++)
            g[i] *= factor;
    s->updates++;
    optim_rows[s->kind].update(s->param, w, g, s->state, &own, s->updates, scratch);
}

/* Slots go to the thread with the least work so far: fixed by sizes alone. */
static void step_thread(void *arg, int ith, int nth)
{
    const struct stepping *st = arg;
    double load[64] = {0};
    for (int i = 0; i < st->o->n; i++) {
        struct optim_slot *s = &st->o->slots[i];
        if (!s->whole->trainable)
            continue;
        int to = 0;
        for (int k = 1; k < nth && k < 64; k++)
            if (load[k] < load[to])
                to = k;
        load[to] += (double)s->count * (s->kind == OPTIM_MUON ? 1000 : 10);
        if (to == ith)
            update_slot(s, st->settings, st->factor, st->o->scratch[ith]);
    }
}

void optim_step(struct optim *o, const struct optim_settings settings[OPTIM_KINDS], float factor, struct pool *pool)
{
    struct stepping st = {o, settings, factor};
    if (pool && pool_threads(pool) > 1 && pool_threads(pool) <= o->threads)
        pool_run(pool, step_thread, &st);
    else
        step_thread(&st, 0, 1);
}
