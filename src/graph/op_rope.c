/* Positions as numbers: rotary embedding, where the angles of a row are made once and turn all of its heads and the
 * gradient is the rotation back; and positions themselves, for scores that fall with distance. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_shape.h"

int shape_rope(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0];
    int rotary = t->attr.rope.rotary_dims;
    TRY(op_ids(t, 1));
    if (x->shape.n < 3 || rotary < 0 || rotary % 2 || rotary > g_last(x))
        return op_bad(t, 0, "[T, H, D] with an even number of rotated dimensions, up to D");
    if (g_count(t->in[1]) * g_last(x) * x->shape.d[x->shape.n - 2] != g_count(x))
        return op_bad(t, 1, "a position a row");
    int64_t freqs = g_count(t->in[2]);
    if (t->in[2]->dt != DT_F32 || (freqs != rotary / 2 && freqs != g_count(t->in[1]) * (rotary / 2)))
        return op_bad(t, 2, "F32, a frequency a rotated pair, for all rows or for each");
    return op_like(t, 0);
}
void cost_rope(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 3, out);
    out->scratch = (size_t)g->threads * (size_t)(t->attr.rope.rotary_dims + 16) * sizeof(float);
}
void run_rope(const struct g_tensor *t, const struct g_env *env)
{
    int rotary = t->attr.rope.rotary_dims, dim = (int)g_last(t), heads = (int)t->shape.d[t->shape.n - 2];
    size_t row = (size_t)dim * (size_t)heads;
    float *cs = (float *)env->scratch + (size_t)env->par.ith * (size_t)(rotary + 16);
    struct op_range r = op_share(env, g_count(t->in[1]), 1);
    size_t step = g_count(t->in[2]) > rotary / 2 ? (size_t)rotary / 2 : 0;
    for (size_t i = r.lo; i < r.hi; i++) {
        env->kernels->rope_angles(rotary / 2, g_i32(t->in[1])[i], g_f32(t->in[2]) + i * step,
                                  t->attr.rope.mscale, t->attr.rope.inverse, cs);
        env->kernels->rope_row(heads, dim, rotary / 2, t->attr.rope.interleaved, cs, g_f32(t->in[0]) + i * row,
                               g_f32(t) + i * row);
    }
}
void grad_rope(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    union g_attr a = t->attr;
    a.rope.inverse = !a.rope.inverse;
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_rope, &a, 3, OP_IN(op_as(g, dt, t), t->in[1], t->in[2])));
}

int shape_positions(struct g_tensor *t)
{
    const struct g_tensor *slopes = t->n_in > 1 ? t->in[1] : NULL;
    if (t->in[0]->dt != DT_I32 || t->attr.rows.rows < 1)
        return op_bad(t, 0, "I32 positions, and a number of times");
    if (slopes && (slopes->dt != DT_F32 || g_count(slopes) != t->attr.rows.rows))
        return op_bad(t, 1, "F32, a slope for each time");
    t->dt = DT_F32;
    t->shape = SHAPE2(g_count(t->in[0]), t->attr.rows.rows);
    return 0;
}
void cost_positions(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
static float rounded(float x) { return dtype_bf16_to_f32(dtype_f32_to_bf16(x)); }
void run_positions(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *slopes = t->n_in > 1 ? t->in[1] : NULL;
    struct op_range r = op_my_rows(t, env);
    size_t n = (size_t)g_last(t);
    for (size_t i = r.lo * n; i < r.hi * n; i++) {
        float at = (float)g_i32(t->in[0])[i / n];
        g_f32(t)[i] = slopes ? rounded(rounded(g_f32(slopes)[i % n]) * rounded(at)) : at;
    }
}
