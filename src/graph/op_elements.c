/* Operations on elements: activations, gated units, sums and products with repeated operands, dropout
 * and what their gradients need. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "base/rng.h"
#include "graph/op_shape.h"

/* ---- activations ---- */

int shape_act(struct g_tensor *t)
{
    if ((unsigned)t->attr.act.act >= ACT_COUNT)
        return err_set(NUN_EARG, "%s: no activation has number %d", op_table[t->op].name, (int)t->attr.act.act);
    return op_like(t, 0);
}
void cost_act(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 20, out);
}
void run_act(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    env->kernels->act_map(t->attr.act.act, r.hi - r.lo, g_f32(t->in[0]) + r.lo, g_f32(t) + r.lo);
}
void grad_act(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, g_op(g, OP_act_dx, &t->attr, 2, OP_IN(t->in[0], op_as(g, dt, t))));
}

int shape_act_dx(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    return shape_act(t);
}
void cost_act_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 25, out);
}
void run_act_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    env->kernels->act_dx(t->attr.act.act, r.hi - r.lo, g_f32(t->in[0]) + r.lo, g_f32(t->in[1]) + r.lo,
                         g_f32(t) + r.lo);
}

int shape_glu(struct g_tensor *t)
{
    return shape_act_dx(t);
}
void cost_glu(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 21, out);
}
void run_glu(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    env->kernels->glu_map(t->attr.act.act, r.hi - r.lo, g_f32(t->in[0]) + r.lo, g_f32(t->in[1]) + r.lo,
                          g_f32(t) + r.lo);
}
void grad_glu(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *both = g_op(g, OP_glu_grad, &t->attr, 3, OP_IN(t->in[0], t->in[1], op_as(g, dt, t)));
    op_give(g, t, 0, g_view(g, both, 0, t->shape));
    op_give(g, t, 1, g_view(g, both, (size_t)g_count(t), t->shape));
}

/* [2, ...]: dgate, then dup. */
int shape_glu_grad(struct g_tensor *t)
{
    TRY(op_all_f32(t, 3));
    TRY(op_same(t, 0, 1));
    TRY(op_same(t, 0, 2));
    if (t->in[0]->shape.n >= SHAPE_MAX_DIMS)
        return op_bad(t, 0, "fewer dimensions");
    TRY(shape_act(t));
    for (int i = t->shape.n++; i > 0; i--)
        t->shape.d[i] = t->shape.d[i - 1];
    t->shape.d[0] = 2;
    return 0;
}
void cost_glu_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 14, out);
}
void run_glu_grad(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t->in[0], env);
    float *dgate = g_f32(t), *dup = dgate + g_count(t->in[0]);
    env->kernels->glu_dx(t->attr.act.act, r.hi - r.lo, g_f32(t->in[0]) + r.lo, g_f32(t->in[1]) + r.lo,
                         g_f32(t->in[2]) + r.lo, dgate + r.lo, dup + r.lo);
}

/* ---- sums and products; y repeats over the leading dimensions of x ---- */

/* y is the tail of x's shape, or one number. */
static bool repeats(const struct shape *x, const struct shape *y)
{
    size_t count = 0;
    if (shape_count(y, &count) == 0 && count == 1)
        return true;
    for (int i = 1; i <= y->n; i++)
        if (i > x->n || x->d[x->n - i] != y->d[y->n - i])
            return false;
    return true;
}

int shape_add(struct g_tensor *t)
{
    char text[SHAPE_TEXT];
    TRY(op_all_f32(t, 2));
    if (!repeats(&t->in[0]->shape, &t->in[1]->shape))
        return op_bad(t, 1, shape_format(&t->in[0]->shape, text));
    return op_like(t, 0);
}
void cost_add(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}

typedef void pair_fn(size_t n, const float *x, const float *y, float *z);

/* fn over this thread's values of x, y starting again with every period. */
static void run_repeated(const struct g_tensor *t, const struct g_env *env, pair_fn *fn)
{
    struct op_range r = op_my_values(t, env);
    size_t period = (size_t)g_count(t->in[1]), n;
    for (size_t i = r.lo; i < r.hi; i += n) {
        size_t at = i % period;
        n = r.hi - i < period - at ? r.hi - i : period - at;
        fn(n, g_f32(t->in[0]) + i, g_f32(t->in[1]) + at, g_f32(t) + i);
    }
}
/* x * a + b over this thread's values. */
static void run_affine_values(const struct g_tensor *t, const struct g_env *env, float a, float b)
{
    struct op_range r = op_my_values(t, env);
    env->kernels->affine_map(r.hi - r.lo, g_f32(t->in[0]) + r.lo, a, b, g_f32(t) + r.lo);
}

void run_add(const struct g_tensor *t, const struct g_env *env)
{
    if (g_count(t->in[1]) == 1)
        run_affine_values(t, env, 1.0f, g_f32(t->in[1])[0]);
    else
        run_repeated(t, env, env->kernels->add_map);
}
void grad_add(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, dt);
    op_give_repeated(g, t, 1, op_as(g, dt, t));
}

int shape_mul(struct g_tensor *t)
{
    return shape_add(t);
}
void cost_mul(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
void run_mul(const struct g_tensor *t, const struct g_env *env)
{
    if (g_count(t->in[1]) == 1)
        run_affine_values(t, env, g_f32(t->in[1])[0], 0.0f);
    else
        run_repeated(t, env, env->kernels->mul_map);
}
void grad_mul(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    dt = op_as(g, dt, t);
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_mul(g, dt, t->in[1]));
    if (!g_wants(t->in[1]))
        return;
    if (g_count(t->in[1]) == 1)
        op_give(g, t, 1, g_op(g, OP_dot_all, NULL, 2, OP_IN(dt, t->in[0])));
    else
        op_give_repeated(g, t, 1, g_mul(g, dt, t->in[0]));
}

int shape_clamp(struct g_tensor *t)
{
    if (!(t->attr.clamp.low < t->attr.clamp.high))
        return err_set(NUN_EARG, "clamp: expected a range, found [%g, %g]", (double)t->attr.clamp.low, (double)t->attr.clamp.high);
    return op_like(t, 0);
}
void cost_clamp(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2, out);
}
void run_clamp(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    float low = t->attr.clamp.low, high = t->attr.clamp.high;
    for (size_t i = r.lo; i < r.hi; i++) { /* not a number stays so */
        float x = g_f32(t->in[0])[i];
        g_f32(t)[i] = x > high ? high : x < low ? low : x;
    }
}
void grad_clamp(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, g_op(g, OP_clamp_dx, &t->attr, 2, OP_IN(t->in[0], op_as(g, dt, t))));
}

int shape_clamp_dx(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    return op_like(t, 0);
}
void cost_clamp_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2, out);
}
void run_clamp_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    float low = t->attr.clamp.low, high = t->attr.clamp.high;
    for (size_t i = r.lo; i < r.hi; i++) {
        float x = g_f32(t->in[0])[i];
        g_f32(t)[i] = x >= low && x <= high ? g_f32(t->in[1])[i] : 0;
    }
}

int shape_scale(struct g_tensor *t)
{
    return op_like(t, 0);
}
void cost_scale(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
void run_scale(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    env->kernels->scale_map(r.hi - r.lo, g_f32(t->in[0]) + r.lo, t->attr.scale.factor, g_f32(t) + r.lo);
}
void grad_scale(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, g_scale(g, dt, t->attr.scale.factor));
}

/* ---- x exp(log_scale) + shift ---- */

int shape_affine(struct g_tensor *t)
{
    TRY(op_all_f32(t, t->n_in));
    for (int i = 1; i < t->n_in; i++)
        if (t->in[i] && g_count(t->in[i]) != 1)
            return op_bad(t, i, "one number");
    return op_like(t, 0);
}
void cost_affine(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2, out);
}
void run_affine(const struct g_tensor *t, const struct g_env *env)
{
    float a, b = t->n_in > 2 && t->in[2] ? g_f32(t->in[2])[0] : 0.0f;
    env->kernels->exp_map(1, g_f32(t->in[1]), &a);
    run_affine_values(t, env, a, b);
}
void grad_affine(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    dt = op_as(g, dt, t);
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_affine(g, dt, t->in[1], NULL));
    if (g_wants(t->in[1])) {
        struct g_tensor *scaled = g_affine(g, t->in[0], t->in[1], NULL);
        op_give(g, t, 1, g_op(g, OP_dot_all, NULL, 2, OP_IN(dt, scaled)));
    }
    if (t->n_in > 2)
        op_give_repeated(g, t, 2, dt);
}

/* ---- dropout ---- */

int shape_dropout(struct g_tensor *t)
{
    if (!(t->attr.dropout.p >= 0 && t->attr.dropout.p < 1))
        return err_set(NUN_EARG, "dropout: expected a probability in [0, 1), found %g", (double)t->attr.dropout.p);
    return op_like(t, 0);
}
void cost_dropout(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
void run_dropout(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    const float *x = g_f32(t->in[0]), factor = 1.0f / (1.0f - t->attr.dropout.p);
    float *y = g_f32(t);
    uint32_t threshold = (uint32_t)((double)t->attr.dropout.p * 4294967296.0), bits[4];
    uint64_t stream = t->attr.dropout.stream + env->step * 0x9e3779b97f4a7c15u;
    for (size_t i = r.lo; i < r.hi; i++) { /* shares begin at multiples of four */
        if (i % 4 == 0)
            philox4x32(env->seed, stream, i / 4, bits);
        y[i] = bits[i % 4] < threshold ? 0.0f : x[i] * factor;
    }
}
void grad_dropout(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, g_op(g, OP_dropout, &t->attr, 1, OP_IN(dt)));
}

/* ---- what gradients need ---- */

/* Leading dimensions whose product is the attribute go; the last of them may be cut instead. */
int shape_sum_repeats(struct g_tensor *t)
{
    int64_t n = t->attr.rows.rows;
    TRY(op_like(t, 0));
    struct shape *s = &t->shape;
    while (n > 1 && s->n > 0 && s->d[0] > 0 && n % s->d[0] == 0) {
        n /= s->d[0];
        memmove(s->d, s->d + 1, (size_t)(--s->n) * sizeof s->d[0]);
    }
    if (n > 1 && s->n > 0 && s->d[0] % n == 0) {
        s->d[0] /= n;
        n = 1;
    }
    return n == 1 ? 0 : op_bad(t, 0, "a leading dimension that the repeats divide");
}
void cost_sum_repeats(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, (double)t->attr.rows.rows, out);
}
void run_sum_repeats(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t, env);
    const float *x = g_f32(t->in[0]) + r.lo;
    float *y = g_f32(t) + r.lo;
    memcpy(y, x, (r.hi - r.lo) * sizeof *y);
    for (int64_t i = 1; i < t->attr.rows.rows; i++)
        env->kernels->add_map(r.hi - r.lo, y, x + i * g_count(t), y);
}

enum { DOT_CHUNK = 4096 };

int shape_dot_all(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    t->dt = DT_F32;
    t->shape = SHAPE1(1);
    return 0;
}
static size_t dot_chunks(const struct g_tensor *t)
{
    return ((size_t)g_count(t->in[0]) + DOT_CHUNK - 1) / DOT_CHUNK;
}
void cost_dot_all(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2.0 * (double)g_count(t->in[0]), out);
    out->scratch = dot_chunks(t) * sizeof(float);
}
/* Chunks of fixed length, whoever sums them, then the chunks' sums in order. */
void run_dot_all(const struct g_tensor *t, const struct g_env *env)
{
    float *sums = env->scratch, total = 0.0f;
    size_t n = (size_t)g_count(t->in[0]);
    struct op_range r = op_share(env, (int64_t)dot_chunks(t), 1);
    for (size_t c = r.lo; c < r.hi; c++) {
        size_t at = c * DOT_CHUNK, len = n - at < DOT_CHUNK ? n - at : DOT_CHUNK;
        sums[c] = env->kernels->dot_rows(len, g_f32(t->in[0]) + at, g_f32(t->in[1]) + at);
    }
    par_barrier(&env->par);
    if (env->par.ith)
        return;
    for (size_t c = 0; c < dot_chunks(t); c++)
        total += sums[c];
    g_f32(t)[0] = total;
}

int shape_accumulate(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    if (g_count(t->in[0]) != g_count(t->in[1]))
        return op_same(t, 1, 0);
    return op_into(t);
}
void cost_accumulate(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
void run_accumulate(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_values(t->in[0], env);
    float *acc = g_f32(t->in[1]) + r.lo;
    env->kernels->add_map(r.hi - r.lo, acc, g_f32(t->in[0]) + r.lo, acc);
}
