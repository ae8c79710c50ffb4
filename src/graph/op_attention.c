/* Attention as operations: over tensors, its gradient, over the pages of sequences, and over rows kept beside them. Shapes and the
 * threads' shares are here; the arithmetic is kernels/attention.h's. Called through op_table. */
/* SPDX-License-Identifier: MIT */
#include "kernels/attention.h"

#include <string.h>

#include "base/err.h"
#include "graph/kv.h"
#include "graph/op.h"

_Static_assert((int)KV_PAGE == (int)ATTN_PAGE && (int)G_MAX_SPANS == (int)ATTN_SPANS, "one page size, one count of spans");

/* B sequences, Tq queries and Tk keys each, H heads over Hkv, width D. */
struct sizes { int64_t B, Tq, Tk; int H, Hkv, D, S; };

static struct sizes sizes_of(const struct g_tensor *t)
{
    const int64_t *q = t->in[0]->shape.d, *k = t->in[1]->shape.d, *s = t->in[3]->shape.d;
    return (struct sizes){q[0], q[1], k[1], (int)q[2], (int)k[2], (int)q[3], (int)s[2] / 2};
}

static int misfit(const char *op, const struct g_tensor *a, const struct g_tensor *b)
{
    char x[SHAPE_TEXT], y[SHAPE_TEXT];
    return err_set(NUN_EARG, "%s: %s %s does not fit %s %s", op, shape_format(&a->shape, x), dtype_name(a->dt),
                   shape_format(&b->shape, y), dtype_name(b->dt));
}

/* What is added to scores, [W,H,Tq,Tk]: sequence b has that of b % W. NULL: nothing. */
static const struct g_tensor *bias_of(const struct g_tensor *t)
{
    int at = t->op == OP_attention ? 4 : 5;
    return at < t->n_in ? t->in[at] : NULL;
}

/* A score more of each head, [H], that no value answers. NULL: none. */
static const struct g_tensor *sinks_of(const struct g_tensor *t)
{
    int at = t->op == OP_attention ? 5 : t->op == OP_attention_cached ? 4 : 6;
    return at < t->n_in ? t->in[at] : NULL;
}

static int check_sinks(const char *op, const struct g_tensor *t, int64_t heads)
{
    const struct g_tensor *s = sinks_of(t);
    return !s || (s->dt == DT_F32 && g_count(s) == heads) ? 0 : misfit(op, t->in[0], s);
}

static int check_bias(const char *op, const struct g_tensor *t)
{
    const struct g_tensor *bias = bias_of(t);
    struct sizes s = sizes_of(t);
    if (!bias)
        return 0;
    const int64_t *d = bias->shape.d;
    if (bias->dt != DT_F32 || bias->shape.n != 4 || d[0] < 1 || s.B % d[0] || d[1] != s.H || d[2] != s.Tq || d[3] != s.Tk)
        return misfit(op, t->in[0], bias);
    return t->attr.attention.softcap == 0 ? 0 : err_set(NUN_EARG, "%s: a bias beside a soft cap", op);
}

static int check_inputs(const char *op, const struct g_tensor *t)
{
    const struct g_tensor *q = t->in[0], *k = t->in[1], *v = t->in[2], *spans = t->in[3];
    if (q->shape.n != 4 || k->shape.n != 4 || spans->shape.n != 3 || q->dt != DT_F32 || k->dt != DT_F32)
        return misfit(op, q, k);
    if (!shape_eq(&k->shape, &v->shape) || v->dt != DT_F32)
        return misfit(op, k, v);
    struct sizes s = sizes_of(t);
    if (k->shape.d[0] != s.B || k->shape.d[3] != s.D || s.Hkv < 1 || s.H % s.Hkv || s.D < 1)
        return misfit(op, q, k);
    if (spans->dt != DT_I32 || spans->shape.d[0] != s.B || spans->shape.d[1] != s.Tq || s.S < 1 || s.S > ATTN_SPANS ||
        spans->shape.d[2] % 2)
        return misfit(op, q, spans);
    TRY(check_sinks(op, t, s.H));
    return check_bias(op, t);
}

int shape_attention(struct g_tensor *t)
{
    TRY(check_inputs("attention", t));
    t->dt = DT_F32;
    t->shape = t->in[0]->shape;
    return 0;
}

/* Spans are data: every query is counted with every key, an upper bound. */
static void cost_pairs(const struct g_tensor *t, double products, struct g_cost *out)
{
    struct sizes s = sizes_of(t);
    out->flops = 2 * products * (double)s.B * (double)s.Tq * (double)s.Tk * s.H * s.D;
    out->bytes = 4.0 * (double)(2 * g_count(t->in[0]) + g_count(t->in[1]) + g_count(t->in[2]));
}

void cost_attention(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_pairs(t, 2, out);
    out->scratch = attn_scratch_bytes((int)g_last(t)) * (size_t)g->threads;
}

/* Sequence b, kv head h of a node's tensors. */
static struct attn job_of(const struct g_tensor *t, int64_t b, int h)
{
    struct sizes s = sizes_of(t);
    int group = s.H / s.Hkv;
    ptrdiff_t stride = (ptrdiff_t)s.Hkv * s.D, at = b * s.Tk * stride + (ptrdiff_t)h * s.D;
    const struct g_tensor *bias = bias_of(t);
    return (struct attn){
        .queries = (int)s.Tq, .heads = group, .D = s.D, .q_stride = (ptrdiff_t)s.H * s.D,
        .q = g_f32(t->in[0]) + (b * s.Tq * s.H + (int64_t)h * group) * s.D,
        .bias = bias ? g_f32(bias) + (b % bias->shape.d[0] * s.H + (int64_t)h * group) * s.Tq * s.Tk : NULL,
        .bias_query = (ptrdiff_t)s.Tk, .bias_head = (ptrdiff_t)(s.Tq * s.Tk),
        .spans = g_i32(t->in[3]) + b * s.Tq * 2 * s.S, .span_stride = 2 * s.S, .n_spans = s.S, .keys = (int32_t)s.Tk,
        .k = {.data = g_f32(t->in[1]) + at, .stride = stride}, .v = {.data = g_f32(t->in[2]) + at, .stride = stride},
        .scale = t->attr.attention.scale, .softcap = t->attr.attention.softcap,
        .sinks = sinks_of(t) ? g_f32(sinks_of(t)) + (int64_t)h * group : NULL};
}

enum { PART = 32 }; /* rows of a share when the heads alone do not make enough */

/* The c-th part of a job, a whole number of queries; false when there is no such part. */
static bool job_part(struct attn *a, int c, int parts)
{
    int from = (int)((int64_t)a->queries * c / parts), to = (int)((int64_t)a->queries * (c + 1) / parts);
    a->q += from * a->q_stride;
    a->out += from * a->q_stride;
    a->spans += from * a->span_stride;
    a->bias += a->bias ? from * a->bias_query : 0;
    a->queries = to - from;
    return from < to;
}

/* In how many parts to cut each of n jobs. Parts go round the threads, so that causal ones balance. */
static int parts_of(int64_t n, int64_t rows, int nth)
{
    return n >= 8 * nth || nth == 1 ? 1 : (int)((rows + PART - 1) / PART);
}

void run_attention(const struct g_tensor *t, const struct g_env *env)
{
    struct sizes s = sizes_of(t);
    char *scratch = (char *)env->scratch + attn_scratch_bytes(s.D) * (size_t)env->par.ith;
    int64_t n = s.B * s.Hkv;
    int group = s.H / s.Hkv, parts = parts_of(n, s.Tq * group, env->par.nth);
    for (int64_t i = env->par.ith; i < n * parts; i += env->par.nth) {
        int64_t b = i / parts / s.Hkv;
        int h = (int)(i / parts % s.Hkv);
        struct attn a = job_of(t, b, h);
        a.out = g_f32(t) + (a.q - g_f32(t->in[0]));
        if (job_part(&a, (int)(i % parts), parts))
            env->kernels->attention(&a, scratch);
    }
}

void grad_attention(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *q = t->in[0], *k = t->in[1], *v = t->in[2];
    struct g_tensor *bias = t->n_in > 4 ? t->in[4] : NULL;
    struct g_tensor *sinks = t->n_in > 5 ? t->in[5] : NULL;
    struct g_tensor *in[] = {q, k, v, t->in[3], dt, bias, sinks};
    struct g_tensor *all = g_op(g, OP_attention_grad, &t->attr, 7, in);
    if (!all)
        return;
    size_t nq = (size_t)g_count(q), nk = (size_t)g_count(k);
    if (g_wants(q))
        g_grad_add(g, q, g_view(g, all, 0, q->shape));
    if (g_wants(k))
        g_grad_add(g, k, g_view(g, all, nq, k->shape));
    if (g_wants(v))
        g_grad_add(g, v, g_view(g, all, nq + nk, v->shape));
    size_t nb = bias ? (size_t)g_count(bias) : 0;
    if (g_wants(bias))
        g_grad_add(g, bias, g_view(g, all, nq + 2 * nk, bias->shape));
    if (g_wants(sinks))
        g_grad_add(g, sinks, g_view(g, all, nq + 2 * nk + nb, sinks->shape));
}

int shape_attention_grad(struct g_tensor *t)
{
    TRY(check_inputs("attention_grad", t));
    if (g_count(t->in[4]) != g_count(t->in[0]) || t->in[4]->dt != DT_F32)
        return misfit("attention_grad", t->in[0], t->in[4]);
    t->dt = DT_F32;
    const struct g_tensor *bias = bias_of(t);
    const struct g_tensor *sinks = sinks_of(t);
    t->shape = SHAPE1(g_count(t->in[0]) + g_count(t->in[1]) + g_count(t->in[2]) + (bias ? g_count(bias) : 0) +
                      (sinks ? g_count(sinks) : 0));
    return 0;
}

void cost_attention_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_pairs(t, 5, out);
    out->bytes *= 2;
    out->scratch = attn_grad_scratch_bytes((int)g_last(t->in[0])) * (size_t)g->threads;
}

/* Sequence b, kv head h. */
static struct attn_grad grad_job(const struct g_tensor *t, int64_t b, int h)
{
    float *dk = g_f32(t) + g_count(t->in[0]), *dv = dk + g_count(t->in[1]), *dbias = dv + g_count(t->in[2]);
    struct attn_grad g = {.a = job_of(t, b, h)};
    ptrdiff_t at_q = g.a.q - g_f32(t->in[0]), at_k = g.a.k.data - g_f32(t->in[1]);
    g.dout = g_f32(t->in[4]) + at_q;
    g.dq = g_f32(t) + at_q;
    g.dk = dk + at_k;
    g.dv = dv + at_k;
    g.dbias = g.a.bias ? dbias + (g.a.bias - g_f32(bias_of(t))) : NULL;
    float *dsinks = dbias + (bias_of(t) ? g_count(bias_of(t)) : 0);
    g.dsinks = g.a.sinks ? dsinks + (g.a.sinks - g_f32(sinks_of(t))) : NULL;
    return g;
}

/* Sequences that share a bias, or sinks, are one thread's, in order: their gradients add up. */
void run_attention_grad(const struct g_tensor *t, const struct g_env *env)
{
    struct sizes s = sizes_of(t);
    char *scratch = (char *)env->scratch + attn_grad_scratch_bytes(s.D) * (size_t)env->par.ith;
    int64_t apart = sinks_of(t) ? 1 : bias_of(t) ? bias_of(t)->shape.d[0] : s.B, group = s.H / s.Hkv;
    for (int64_t i = env->par.ith; i < apart * s.Hkv; i += env->par.nth)
        for (int64_t b = i / s.Hkv; b < s.B; b += apart) {
            struct attn_grad g = grad_job(t, b, (int)(i % s.Hkv));
            if (g.dbias && b < bias_of(t)->shape.d[0])
                memset(g.dbias, 0, (size_t)(group * s.Tq * s.Tk) * sizeof(float));
            if (g.dsinks && b == 0)
                memset(g.dsinks, 0, (size_t)group * sizeof(float));
            env->kernels->attention_grad(&g, scratch);
        }
}

/* ---- windows ---- */

int shape_window_spans(struct g_tensor *t)
{
    const struct g_tensor *s = t->in[0];
    if (s->dt != DT_I32 || s->shape.n != 3 || s->shape.d[2] % 2 || t->attr.window.keys < 1)
        return misfit("window_spans", s, s);
    t->dt = DT_I32;
    t->shape = s->shape;
    return 0;
}

void cost_window_spans(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    out->flops = (double)g_count(t);
    out->bytes = 8.0 * (double)g_count(t);
}

void run_window_spans(const struct g_tensor *t, const struct g_env *env)
{
    size_t lo, hi, width = (size_t)g_last(t), tokens = (size_t)t->shape.d[1];
    par_share(&env->par, (size_t)g_rows(t), 16, &lo, &hi);
    for (size_t i = lo; i < hi; i++) {
        int32_t first = (int32_t)(i % tokens) + 1 - t->attr.window.keys;
        for (size_t k = i * width; k < (i + 1) * width; k += 2) {
            int32_t from = g_i32(t->in[0])[k];
            bool run = k >= i * width + 4; /* tokens that see each other */
            g_i32(t)[k] = run || from > first ? from : first;
            g_i32(t)[k + 1] = g_i32(t->in[0])[k + 1];
        }
    }
}

/* ---- cached ---- */

int shape_attention_cached(struct g_tensor *t)
{
    const struct g_tensor *q = t->in[0], *k = t->in[1], *v = t->in[2];
    if (q->shape.n != 3 || k->shape.n != 3 || q->dt != DT_F32 || k->dt != DT_F32)
        return misfit("attention_cached", q, k);
    if (v && (!shape_eq(&k->shape, &v->shape) || v->dt != DT_F32))
        return misfit("attention_cached", k, v);
    if (t->n_in < 4 || !t->in[3])
        return err_set(NUN_EARG, "attention_cached: the state is absent");
    if (k->shape.d[0] != q->shape.d[0] || k->shape.d[2] != q->shape.d[2] || k->shape.d[1] < 1 ||
        q->shape.d[1] % k->shape.d[1] || q->shape.d[2] < 1)
        return misfit("attention_cached", q, k);
    t->dt = DT_F32;
    t->shape = q->shape;
    return check_sinks("attention_cached", t, q->shape.d[1]);
}

/* Of one thread: the kernel's, then queries and results that are turned. */
static size_t paged_scratch(const struct g_tensor *t, int64_t Hkv)
{
    int64_t D = g_last(t->in[0]), group = t->in[0]->shape.d[1] / Hkv;
    return attn_scratch_bytes((int)D) + (2 * (size_t)(group > PART ? group : PART) * (size_t)D * sizeof(float) + 63) / 64 * 64;
}

/* The length of the sequences is not known to the graph: counted as one page. */
void cost_attention_cached(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    const struct g_tensor *q = t->in[0], *k = t->in[1];
    out->flops = 4.0 * (double)g_count(q) * KV_PAGE;
    out->bytes = 4.0 * (double)(2 * g_count(q) + 4 * g_count(k));
    out->scratch = paged_scratch(t, k->shape.d[1]) * (size_t)g->threads;
}

/* One head of one row, which goes to `pages`, those of the layer. */
static void append_head(const struct g_tensor *k, const struct g_tensor *v, const struct kv_step *step, void *const *pages,
                        size_t i, size_t h)
{
    size_t Hkv = (size_t)k->shape.d[1], D = (size_t)k->shape.d[2], k_bytes = attn_row_bytes(step->k, (int)D);
    int32_t position = step->rows[i].position;
    char *page = pages[position / KV_PAGE];
    size_t from = (i * Hkv + h) * D, to = h * KV_PAGE + (size_t)(position % KV_PAGE);
    kv_pack(step->k, g_f32(k) + from, (int)D, page + to * k_bytes);
    if (v)
        kv_pack(step->v, g_f32(v) + from, (int)D, page + Hkv * KV_PAGE * k_bytes + to * attn_row_bytes(step->v, (int)D));
}

static void append_rows(const struct g_tensor *t, const struct kv_step *step, const struct par *par)
{
    size_t Hkv = (size_t)t->in[1]->shape.d[1], lo, hi;
    par_share(par, (size_t)step->n_rows * Hkv, 1, &lo, &hi);
    for (size_t i = lo; i < hi; i++) {
        const struct kv_row *r = &step->rows[i / Hkv];
        if (r->position >= 0)
            append_head(t->in[1], t->in[2], step, r->pages + (ptrdiff_t)t->attr.cached.layer * r->page_stride, i / Hkv, i % Hkv);
    }
}

/* Rows [i, result) belong to one sequence, or are all padding. At most `most` of them. */
static int run_end(const struct kv_step *step, int i, int most)
{
    const struct kv_row *first = &step->rows[i];
    int end = i + 1;
    while (end < step->n_rows && end - i < most && (step->rows[end].position < 0) == (first->position < 0) &&
           (first->position < 0 || step->rows[end].pages == first->pages))
        end++;
    return end;
}

/* Rows that lie `stride` apart, turned on their way to or from rows without gaps. */
static void turn_rows(const struct attn *a, const float *x, ptrdiff_t x_stride, float *y, ptrdiff_t y_stride, bool turn)
{
    for (int i = 0; i < a->queries; i++, x += x_stride, y += y_stride) {
        memcpy(y, x, (size_t)a->heads * (size_t)a->D * sizeof *x);
        for (int h = 0; turn && h < a->heads; h++)
            kv_turn(y + h * a->D, a->D);
    }
}

/* The same where keys or values are turned on their pages: products of turned keys and turned queries are those of both. */
static void attend_turned(const struct attn *a, const struct kernels *kernels, void *scratch)
{
    struct attn b = *a;
    ptrdiff_t width = (ptrdiff_t)a->heads * a->D;
    float *q = (float *)((char *)scratch + attn_scratch_bytes(a->D));
    b.q = q;
    b.out = q + a->queries * width;
    b.q_stride = width;
    turn_rows(a, a->q, a->q_stride, q, width, kv_turns(a->k.dt));
    kernels->attention(&b, scratch);
    turn_rows(a, b.out, width, a->out, a->q_stride, kv_turns(a->v.dt));
}

/* The part of a step that one thread computes: heads [from, to) of the group of kv head h, rows [i, end). */
struct piece { int i, end, h, from, to; };

/* q, out and shape of the attention of a piece; over keys of the layer's `pages`, a table of `stride`. */
static struct attn paged_job(const struct g_tensor *t, const struct kv_step *step, const struct piece *p, void *const *pages,
                             int stride, int Hkv, bool values)
{
    const struct g_tensor *q = t->in[0];
    int H = (int)q->shape.d[1], D = (int)q->shape.d[2], group = H / Hkv;
    ptrdiff_t at = ((ptrdiff_t)p->i * H + (ptrdiff_t)p->h * group + p->from) * D, row_bytes = (ptrdiff_t)attn_row_bytes(step->k, D);
    struct attn a = {
        .queries = p->end - p->i, .heads = p->to - p->from, .D = D, .q = g_f32(q) + at, .out = g_f32(t) + at,
        .q_stride = (ptrdiff_t)H * D, .keys = stride * KV_PAGE,
        .k = {.pages = pages, .offset = p->h * KV_PAGE * row_bytes, .stride = D, .dt = step->k}};
    a.v = a.k;
    if (values) {
        a.v.offset = Hkv * KV_PAGE * row_bytes + p->h * KV_PAGE * (ptrdiff_t)attn_row_bytes(step->v, D);
        a.v.dt = step->v;
    }
    return a;
}

static void zero_piece(const struct g_tensor *t, const struct piece *p, int Hkv)
{
    int H = (int)t->shape.d[1], D = (int)t->shape.d[2], group = H / Hkv;
    float *at = g_f32(t) + ((ptrdiff_t)p->i * H + (ptrdiff_t)p->h * group + p->from) * D;
    for (int row = p->i; row < p->end; row++, at += (ptrdiff_t)H * D)
        memset(at, 0, (size_t)(p->to - p->from) * (size_t)D * sizeof(float));
}

static void run_job(const struct g_tensor *t, const struct g_env *env, const struct attn *a, int Hkv)
{
    void *scratch = (char *)env->scratch + paged_scratch(t, Hkv) * (size_t)env->par.ith;
    if (kv_turns(a->k.dt) || kv_turns(a->v.dt))
        attend_turned(a, env->kernels, scratch);
    else
        env->kernels->attention(a, scratch);
}

static void attend(const struct g_tensor *t, const struct g_env *env, const struct kv_step *step, const struct piece *p)
{
    const struct kv_row *r = &step->rows[p->i];
    int Hkv = (int)t->in[1]->shape.d[1];
    if (r->position < 0) {
        zero_piece(t, p, Hkv);
        return;
    }
    int32_t spans[PART][6];
    for (int row = p->i; row < p->end; row++) {
        const int32_t *span = step->rows[row].span;
        int32_t first = t->attr.cached.window ? step->rows[row].position + 1 - t->attr.cached.window : 0;
        for (int s = 0; s < 4; s++)
            spans[row - p->i][s] = s % 2 || span[s] > first ? span[s] : first;
        memcpy(&spans[row - p->i][4], step->rows[row].run, sizeof step->rows[row].run);
    }
    struct attn a = paged_job(t, step, p, r->pages + (ptrdiff_t)t->attr.cached.layer * r->page_stride, r->page_stride, Hkv,
                              t->in[2] != NULL);
    a.spans = spans[0];
    a.span_stride = 6;
    a.n_spans = 3;
    a.scale = t->attr.cached.scale;
    a.softcap = t->attr.cached.softcap;
    a.sinks = sinks_of(t) ? g_f32(sinks_of(t)) + p->h * (t->in[0]->shape.d[1] / Hkv) + p->from : NULL;
    run_job(t, env, &a, Hkv);
}

typedef void piece_fn(const struct g_tensor *t, const struct g_env *env, const struct kv_step *step, const struct piece *p);
/* Where the run of rows ends that are computed with row i. */
typedef int end_fn(const struct kv_step *step, int i, int most);

/* The step's rows, run by run and kv head by kv head, dealt to the team. */
static void deal(const struct g_tensor *t, const struct g_env *env, const struct kv_step *step, int Hkv, end_fn *ends, piece_fn *run)
{
    int group = (int)t->in[0]->shape.d[1] / Hkv, most = PART / group > 0 ? PART / group : 1, item = 0;
    /* few rows over few kv heads: the team shares the heads of a group */
    int parts = step->n_rows * Hkv >= 2 * env->par.nth ? 1 : group < env->par.nth ? group : env->par.nth;
    for (int i = 0, end; i < step->n_rows; i = end) {
        end = ends(step, i, most);
        for (int k = 0; k < Hkv * parts; k++)
            if (item++ % env->par.nth == env->par.ith)
                run(t, env, step, &(struct piece){i, end, k / parts, group * (k % parts) / parts, group * (k % parts + 1) / parts});
    }
}

void run_attention_cached(const struct g_tensor *t, const struct g_env *env)
{
    const struct kv_step *step = t->in[3]->data;
    append_rows(t, step, &env->par);
    par_barrier(&env->par);
    deal(t, env, step, (int)t->in[1]->shape.d[1], run_end, attend);
}

/* ---- kept beside the sequence ---- */

int shape_keep_rows(struct g_tensor *t)
{
    const struct g_tensor *k = t->in[0], *v = t->in[1];
    if (k->shape.n != 3 || k->dt != DT_F32 || v->dt != DT_F32 || !shape_eq(&k->shape, &v->shape))
        return misfit("keep_rows", k, v);
    t->dt = DT_F32;
    t->shape = SHAPE1(1);
    return 0;
}

void cost_keep_rows(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){.bytes = 16.0 * (double)g_count(t->in[0])};
}

void run_keep_rows(const struct g_tensor *t, const struct g_env *env)
{
    const struct kv_step *step = t->in[2]->data;
    size_t Hkv = (size_t)t->in[0]->shape.d[1], lo, hi;
    par_share(&env->par, (size_t)step->n_rows * Hkv, 1, &lo, &hi);
    for (size_t i = lo; i < hi; i++) {
        const struct kv_row *r = &step->rows[i / Hkv];
        if (r->position >= 0)
            append_head(t->in[0], t->in[1], step, r->kept + (ptrdiff_t)t->attr.kept.layer * r->kept_stride, i / Hkv, i % Hkv);
    }
    if (env->par.ith == 0)
        g_f32(t)[0] = (float)step->n_rows;
}

int shape_attention_kept(struct g_tensor *t)
{
    const struct g_tensor *q = t->in[0];
    int heads = t->attr.kept.kv_heads;
    if (q->shape.n != 3 || q->dt != DT_F32 || heads < 1 || q->shape.d[1] % heads || q->shape.d[2] < 1)
        return misfit("attention_kept", q, t->in[1]);
    t->dt = DT_F32;
    t->shape = q->shape;
    return 0;
}

/* As of attention_cached: the number of rows is not known to the graph. */
void cost_attention_kept(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    const struct g_tensor *q = t->in[0];
    out->flops = 4.0 * (double)g_count(q) * KV_PAGE;
    out->bytes = 16.0 * (double)g_count(q);
    out->scratch = paged_scratch(t, t->attr.kept.kv_heads) * (size_t)g->threads;
}

static bool sees_nothing(const struct kv_row *r)
{
    return r->position < 0 || !r->kept || r->sees[0] >= r->sees[1];
}

/* Rows that look at the same store, or that all see nothing. */
static int kept_end(const struct kv_step *step, int i, int most)
{
    const struct kv_row *first = &step->rows[i];
    bool blind = sees_nothing(first);
    int end = i + 1;
    while (end < step->n_rows && end - i < most && sees_nothing(&step->rows[end]) == blind &&
           (blind || step->rows[end].kept == first->kept))
        end++;
    return end;
}

static void look(const struct g_tensor *t, const struct g_env *env, const struct kv_step *step, const struct piece *p)
{
    const struct kv_row *r = &step->rows[p->i];
    int Hkv = t->attr.kept.kv_heads;
    int32_t spans[PART][2];
    if (sees_nothing(r)) {
        zero_piece(t, p, Hkv);
        return;
    }
    for (int row = p->i; row < p->end; row++)
        memcpy(spans[row - p->i], step->rows[row].sees, sizeof spans[0]);
    struct attn a = paged_job(t, step, p, r->kept + (ptrdiff_t)t->attr.kept.layer * r->kept_stride, r->kept_stride, Hkv, true);
    a.spans = spans[0];
    a.span_stride = 2;
    a.n_spans = 1;
    a.scale = t->attr.kept.scale;
    a.softcap = t->attr.kept.softcap;
    run_job(t, env, &a, Hkv);
}

void run_attention_kept(const struct g_tensor *t, const struct g_env *env)
{
    deal(t, env, t->in[1]->data, t->attr.kept.kv_heads, kept_end, look);
}
