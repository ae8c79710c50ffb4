/* Weights of experts as SparseMixer gives them when it answers (Phi-3.5-MoE; arXiv:2409.12136): the k-th choice is weighed by a softmax
 * over itself and those of the experts not chosen before it that are nearly as good. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "graph/experts.h"
#include "graph/op_shape.h"

struct g_tensor *g_route_sparse(struct graph *g, struct g_tensor *scores, struct g_tensor *ids, float jitter)
{
    union g_attr a = {.scale = {jitter}};
    return g_op(g, OP_route_sparse, &a, 2, OP_IN(scores, ids));
}

int shape_route_sparse(struct g_tensor *t)
{
    if (t->in[0]->shape.n != 2 || t->in[0]->dt != DT_F32)
        return op_bad(t, 0, "F32 scores [T, E]");
    if (t->in[1]->shape.n != 2 || t->in[1]->dt != DT_I32 || t->in[1]->shape.d[0] != t->in[0]->shape.d[0])
        return op_bad(t, 1, "I32 ids [T, K]");
    t->dt = DT_F32;
    t->shape = t->in[1]->shape;
    return 0;
}
void cost_route_sparse(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 8.0 * (double)g_last(t->in[0]), out);
}

/* Is expert e in the softmax of choice k? ids: the row's choices. */
static bool competes(const float *s, const int32_t *ids, size_t k, size_t e, float jitter)
{
    float best = s[ids[k]], by = fabsf(s[e]) > best ? fabsf(s[e]) : best;
    for (size_t j = 0; j < k; j++)
        if ((size_t)ids[j] == e)
            return false;
    return !((best - s[e]) / by > 2 * jitter);
}

/* exp(s[e] - best) where e competes, else 0; the sum of all in *sum. */
static void shares(const struct g_env *env, const float *s, const int32_t *ids, size_t E, size_t k, float jitter, float *sum,
                   float *out)
{
    *sum = 0;
    for (size_t e = 0; e < E; e++)
        out[e] = s[e] - s[ids[k]];
    env->kernels->exp_map(E, out, out);
    for (size_t e = 0; e < E; e++) {
        out[e] = competes(s, ids, k, e, jitter) ? out[e] : 0;
        *sum += out[e];
    }
}

static bool all_experts(const int32_t *ids, size_t K, size_t E)
{
    bool good = true;
    for (size_t k = 0; k < K; k++)
        good = good && ids[k] >= 0 && (size_t)ids[k] < E;
    return good;
}

enum { MOST = 1024 }; /* experts at a time on the stack */

void run_route_sparse(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t K = (size_t)g_last(t), E = (size_t)g_last(t->in[0]);
    float part[MOST], sum;
    for (size_t row = r.lo; row < r.hi; row++) {
        const int32_t *ids = g_i32(t->in[1]) + row * K;
        bool good = E <= MOST && all_experts(ids, K, E);
        for (size_t k = 0; k < K; k++) {
            if (good)
                shares(env, g_f32(t->in[0]) + row * E, ids, E, k, t->attr.scale.factor, &sum, part);
            g_f32(t)[row * K + k] = good ? 1 / sum : __builtin_nanf("");
        }
    }
}
void grad_route_sparse(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_route_sparse_dx, &t->attr, 3, OP_IN(t->in[0], t->in[1], op_as(g, dt, t))));
}

int shape_route_sparse_dx(struct g_tensor *t)
{
    TRY(shape_route_sparse(t));
    if (t->in[2]->dt != DT_F32 || !shape_eq(&t->in[2]->shape, &t->in[1]->shape))
        return op_bad(t, 2, "F32, a value a slot");
    return op_like(t, 0);
}
void cost_route_sparse_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 10, out);
}
/* w = 1 / sum: the chosen one's share; dw_k / ds_e = w ([e is chosen] - p_e). Who competes is taken as fixed. */
void run_route_sparse_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t K = (size_t)g_last(t->in[1]), E = (size_t)g_last(t);
    float part[MOST], sum;
    for (size_t row = r.lo; row < r.hi; row++) {
        const int32_t *ids = g_i32(t->in[1]) + row * K;
        float *ds = g_f32(t) + row * E;
        memset(ds, 0, E * sizeof *ds);
        if (E > MOST || !all_experts(ids, K, E))
            op_fill_nan(ds, E);
        for (size_t k = 0; k < K && E <= MOST && all_experts(ids, K, E); k++) {
            shares(env, g_f32(t->in[0]) + row * E, ids, E, k, t->attr.scale.factor, &sum, part);
            float dw = g_f32(t->in[2])[row * K + k] / sum;
            for (size_t e = 0; e < E; e++)
                ds[e] -= dw * (part[e] / sum);
            ds[ids[k]] += dw;
        }
    }
}
