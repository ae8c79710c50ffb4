/* The scalar reference of attention: attention.h's definition row by row, in the order it is written,
 * sixteen keys at a time, computing scores again for each pass. Slow; the engine uses it only where the
 * mask leaves nothing else. */
/* SPDX-License-Identifier: MIT */
#include "kernels/attention.h"
#include <stdbool.h>
#include <string.h>
#include "kernels/kernels.h"
#include "kernels/vec_scalar.h"
#include "kernels/vecmath.h"

/* One row and the next few keys that it attends to. */
struct row {
    const struct attn *a;
    const int32_t *spans;
    ptrdiff_t bias;          /* where the row's begins */
    float *q, *acc, *kv;     /* [D] scaled query, a result; an unpacked key or value */
    float max, sink, inv, delta; /* sink: exp(sink - max), or 0; inv: 1 / z */
    int span, n;             /* n: keys in hand */
    int32_t next, pos[VEC];
    float s[VEC], p[VEC], dp[VEC];
};

static void row_rewind(struct row *r)
{
    r->span = -1;
    r->next = 0;
}

/* The position after r->next that the row attends to, or -1. */
static int32_t row_step(struct row *r)
{
    const struct attn *a = r->a;
    while (r->span < 0 || r->next >= r->spans[2 * r->span + 1] || r->next >= a->keys) {
        if (++r->span >= a->n_spans)
            return -1;
        r->next = r->spans[2 * r->span] > 0 ? r->spans[2 * r->span] : 0;
    }
    return r->next++;
}

/* [D] key, or value, at pos */
static const float *row_of(struct row *r, const struct attn_kv *x, int32_t pos)
{
    if (x->dt == DT_F32)
        return attn_kv_row(x, pos);
    dtype_table[x->dt].decode(attn_kv_packed(x, r->a->D, pos), r->kv, (size_t)attn_row_width(x->dt, r->a->D));
    return r->kv;
}

static float dot(const float *x, const float *y, int D)
{
    float s = 0;
    for (int d = 0; d < D; d++)
        s = fmaf(x[d], y[d], s);
    return s;
}

/* The next up to sixteen keys with their scores; false when there are none. */
static bool row_scores(struct row *r)
{
    const struct attn *a = r->a;
    int32_t j;
    for (r->n = 0; r->n < VEC && r->span < a->n_spans && (j = row_step(r)) >= 0; r->n++) {
        r->pos[r->n] = j;
        r->s[r->n] = dot(r->q, row_of(r, &a->k, j), a->D);
        r->s[r->n] = a->bias ? r->s[r->n] + a->bias[r->bias + j] : r->s[r->n];
    }
    if (a->softcap != 0)
        v_store(r->s, r->n, v_mul(v_set(a->softcap), v_tanh(v_mul(v_load(r->s, r->n), v_set(1.0f / a->softcap)))));
    return r->n > 0;
}

static bool row_exp(struct row *r)
{
    bool any = row_scores(r);
    v_store(r->p, r->n, v_exp(v_sub(v_load(r->s, r->n), v_set(r->max))));
    return any;
}

/* max and 1 / z of the row; false when it attends to nothing. */
static bool row_start(struct row *r, const struct attn *a, int query, int head)
{
    const float *q = a->q + query * a->q_stride + (ptrdiff_t)head * a->D;
    r->a = a;
    r->spans = a->spans + query * a->span_stride;
    r->bias = query * a->bias_query + head * a->bias_head;
    for (int d = 0; d < a->D; d++) {
        r->q[d] = q[d] * a->scale;
        r->acc[d] = 0;
    }
    r->max = a->sinks ? a->sinks[head] : -INFINITY;
    row_rewind(r);
    bool any = false;
    for (; row_scores(r); any = true)
        for (int j = 0; j < r->n; j++)
            r->max = r->s[j] > r->max ? r->s[j] : r->max;
    r->sink = 0;
    if (a->sinks)
        v_store(&r->sink, 1, v_exp(v_sub(v_load(&a->sinks[head], 1), v_set(r->max))));
    float z = r->sink;
    row_rewind(r);
    while (row_exp(r))
        for (int j = 0; j < r->n; j++)
            z += r->p[j];
    r->inv = any ? 1.0f / z : 0;
    row_rewind(r);
    return any;
}

/* acc += w_j x_j */
static void row_mix(struct row *r, const float *w, const struct attn_kv *x)
{
    for (int j = 0; j < r->n; j++) {
        const float *v = row_of(r, x, r->pos[j]);
        for (int d = 0; d < r->a->D; d++)
            r->acc[d] = fmaf(w[j], v[d], r->acc[d]);
    }
}

static void attention_scalar(const struct attn *a, void *scratch)
{
    struct row r = {.q = scratch, .acc = (float *)scratch + a->D, .kv = (float *)scratch + 2 * a->D};
    for (int i = 0; i < a->queries; i++)
        for (int h = 0; h < a->heads; h++) {
            bool any = row_start(&r, a, i, h);
            while (row_exp(&r))
                row_mix(&r, r.p, &a->v);
            float *out = a->out + i * a->q_stride + (ptrdiff_t)h * a->D;
            for (int d = 0; d < a->D; d++)
                out[d] = any ? r.acc[d] * r.inv : 0;
        }
}

/* P and dP of the next keys. */
static bool row_dp(struct row *r, const float *dout)
{
    bool any = row_exp(r);
    for (int j = 0; j < r->n; j++) {
        r->p[j] *= r->inv;
        r->dp[j] = dot(dout, row_of(r, &r->a->v, r->pos[j]), r->a->D);
    }
    return any;
}

static bool row_ds(struct row *r, const float *dout)
{
    bool any = row_dp(r, dout);
    float cap = r->a->softcap;
    for (int j = 0; j < r->n; j++) {
        r->dp[j] = r->p[j] * (r->dp[j] - r->delta);
        float t = cap != 0 ? r->s[j] * (1.0f / cap) : 0;
        r->dp[j] = cap != 0 ? r->dp[j] * fmaf(-t, t, 1.0f) : r->dp[j];
    }
    return any;
}

/* rows[j] += w_j x */
static void row_spread(const struct row *r, const float *w, const float *x, float *rows, ptrdiff_t stride)
{
    for (int j = 0; j < r->n; j++)
        for (int d = 0; d < r->a->D; d++)
            rows[r->pos[j] * stride + d] = fmaf(w[j], x[d], rows[r->pos[j] * stride + d]);
}

static void row_grad(const struct attn_grad *g, struct row *r, ptrdiff_t at, int head)
{
    const struct attn *a = &g->a;
    r->delta = 0;
    while (row_dp(r, g->dout + at))
        for (int j = 0; j < r->n; j++)
            r->delta = fmaf(r->p[j], r->dp[j], r->delta);
    if (g->dsinks)
        g->dsinks[head] -= r->sink * r->inv * r->delta;
    row_rewind(r);
    while (row_ds(r, g->dout + at)) {
        for (int j = 0; j < r->n && g->dbias; j++)
            g->dbias[r->bias + r->pos[j]] += r->dp[j];
        row_mix(r, r->dp, &a->k);
        row_spread(r, r->dp, r->q, g->dk, a->k.stride);
        row_spread(r, r->p, g->dout + at, g->dv, a->v.stride);
    }
    for (int d = 0; d < a->D; d++)
        g->dq[at + d] = r->acc[d] * a->scale;
}

static void rows_clear(float *x, int32_t rows, ptrdiff_t stride, int D)
{
    for (int32_t j = 0; j < rows; j++)
        memset(x + j * stride, 0, (size_t)D * sizeof(float));
}

static void rows_positive_zeros(float *x, int32_t rows, ptrdiff_t stride, int D)
{
    for (int32_t j = 0; j < rows; j++)
        for (int d = 0; d < D; d++)
            x[j * stride + d] += 0.0f;
}

static void attention_grad_scalar(const struct attn_grad *g, void *scratch)
{
    const struct attn *a = &g->a;
    struct row r = {.q = scratch, .acc = (float *)scratch + a->D, .kv = (float *)scratch + 2 * a->D};
    rows_clear(g->dk, a->keys, a->k.stride, a->D);
    rows_clear(g->dv, a->keys, a->v.stride, a->D);
    for (int i = 0; i < a->queries; i++)
        for (int h = 0; h < a->heads; h++) {
            row_start(&r, a, i, h);
            row_grad(g, &r, i * a->q_stride + (ptrdiff_t)h * a->D, h);
        }
    rows_positive_zeros(g->dk, a->keys, a->k.stride, a->D);
    rows_positive_zeros(g->dv, a->keys, a->v.stride, a->D);
}

void attention_init_scalar(struct kernels *k)
{
    k->attention = attention_scalar;
    k->attention_grad = attention_grad_scalar;
}
