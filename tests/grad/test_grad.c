/* Every operation with a gradient rule against finite differences: each case builds a small graph from
 * leaves, the driver closes it with a product with random weights, differentiates it, and compares with
 * fourth-order central differences summed in doubles. The same runs prove that one thread, three threads,
 * and the scalar kernels give equal bits. A row of ops.def that no case reaches fails the test. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "graph/experts.h"
#include "graph/maps.h"
#include "graph/op.h"
#include "nunchi/error.h"

enum { MAX_LEAVES = 6, THREADS = 3 };

struct leaf { struct g_param param; size_t n; float *data, *grad, *want; };

struct ctx {
    struct graph *g;
    struct leaf leaf[MAX_LEAVES];
    int n_leaves;
    struct rng rng;
    int variant;
};

/* ---- leaves ---- */

/* Away from zero, where some slopes jump. */
static float leaf_value(struct rng *r)
{
    float x = 0.2f + 0.8f * rng_float(r);
    return rng_u32(r) & 1 ? -x : x;
}

/* A trainable weight. */
static struct g_tensor *weight(struct ctx *c, struct shape shape)
{
    struct leaf *l = &c->leaf[c->n_leaves++];
    assert_true(c->n_leaves <= MAX_LEAVES);
    assert_int_equal(shape_count(&shape, &l->n), 0);
    l->data = mem_calloc(MEM_TEST, l->n, sizeof(float));
    l->grad = mem_calloc(MEM_TEST, l->n, sizeof(float));
    l->want = mem_calloc(MEM_TEST, l->n, sizeof(float));
    for (size_t i = 0; i < l->n; i++)
        l->data[i] = leaf_value(&c->rng);
    l->param = (struct g_param){.name = "leaf", .dt = DT_F32, .shape = shape, .data = l->data, .trainable = true,
                                .grad = l->grad};
    return g_param(c->g, &l->param);
}
/* An intermediate value that wants a gradient. */
static struct g_tensor *value(struct ctx *c, struct shape shape)
{
    return g_scale(c->g, weight(c, shape), 1.0f);
}
static struct g_tensor *numbers(struct ctx *c, struct shape shape)
{
    float x[256];
    size_t n = 0;
    assert_true(shape_count(&shape, &n) == 0 && n <= 256);
    for (size_t i = 0; i < n; i++)
        x[i] = leaf_value(&c->rng);
    return g_const(c->g, DT_F32, shape, x, true);
}
#define INTS(c, shape, ...) g_const((c)->g, DT_I32, shape, (const int32_t[]){__VA_ARGS__}, true)

/* ---- cases: the result to differentiate ---- */

static struct g_tensor *case_linear(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(5, 7)), *w = weight(c, SHAPE2(6, 7));
    if (c->variant == 0)
        return g_linear(c->g, x, w, NULL, NULL, ACT_NONE);
    return g_linear(c->g, x, w, weight(c, SHAPE1(6)), value(c, SHAPE2(5, 6)), c->variant == 1 ? ACT_NONE : ACT_GELU);
}
static struct g_tensor *case_matmul(struct ctx *c)
{
    bool bt = c->variant & 1, at = c->variant & 2;
    struct g_tensor *a = value(c, at ? SHAPE3(2, 5, 3) : SHAPE3(2, 3, 5));
    return g_matmul(c->g, a, value(c, bt ? SHAPE3(2, 4, 5) : SHAPE3(2, 5, 4)), at, bt);
}
static struct g_tensor *case_embedding(struct ctx *c)
{
    return g_embedding(c->g, weight(c, SHAPE2(6, 20)), INTS(c, SHAPE1(5), 2, 0, 2, 5, 2));
}
static struct g_tensor *case_gather_rows(struct ctx *c)
{
    return g_gather_rows(c->g, value(c, SHAPE2(4, 19)), INTS(c, SHAPE1(5), 3, -1, 0, 3, 3));
}
static struct g_tensor *case_scatter_rows(struct ctx *c)
{
    return g_scatter_rows(c->g, value(c, SHAPE2(5, 18)), INTS(c, SHAPE1(3), 4, -1, 1), value(c, SHAPE2(3, 18)));
}
static struct g_tensor *case_concat(struct ctx *c)
{
    struct g_tensor *in[3];
    for (int i = 0; i < 3; i++)
        in[i] = value(c, c->variant == 0 ? SHAPE3(1 + i, 2, 3) : c->variant == 1 ? SHAPE3(2, 1 + i, 3) : SHAPE3(2, 3, 1 + i));
    return g_concat(c->g, c->variant, 3, in);
}
static struct g_tensor *case_slice(struct ctx *c)
{
    return g_slice(c->g, value(c, SHAPE3(4, 5, 6)), c->variant, 1, 3 + c->variant);
}
static struct g_tensor *case_transpose(struct ctx *c)
{
    static const int perms[][4] = {{0, 2, 1, 3}, {3, 1, 0, 2}, {1, 0, 3, 2}};
    return g_transpose(c->g, value(c, SHAPE4(2, 3, 4, 2)), perms[c->variant]);
}
static struct g_tensor *case_reshape(struct ctx *c)
{
    return g_scale(c->g, g_reshape(c->g, value(c, SHAPE2(6, 4)), SHAPE3(2, 3, 4)), 2.0f);
}
static struct g_tensor *case_repeat_rows(struct ctx *c)
{
    return g_repeat_rows(c->g, value(c, SHAPE2(c->variant ? 1 : 3, 5)), 4);
}
static struct g_tensor *case_rms_norm(struct ctx *c)
{
    return g_rms_norm(c->g, value(c, SHAPE2(4, 19)), weight(c, SHAPE1(19)), 1e-5f, c->variant ? 1.0f : 0.0f);
}
static struct g_tensor *case_layer_norm(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(4, 19)), *w = weight(c, SHAPE1(19));
    return g_layer_norm(c->g, x, w, c->variant ? NULL : weight(c, SHAPE1(19)), 1e-5f);
}
static struct g_tensor *case_l2_norm(struct ctx *c)
{
    return g_l2_norm(c->g, value(c, SHAPE2(3, 18)), c->variant ? 100.0f : 1e-6f);
}
static struct g_tensor *case_rope(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE3(3, 2, 10)), *pos = INTS(c, SHAPE1(3), 0, 7, 1000), *freq = numbers(c, SHAPE1(4));
    return g_rope(c->g, x, pos, freq, 8, c->variant, 1.25f);
}
static struct g_tensor *case_attention(struct ctx *c)
{
    struct g_tensor *q = value(c, SHAPE4(1, 3, 4, 6)), *k = value(c, SHAPE4(1, 5, 2, 6)), *v = value(c, SHAPE4(1, 5, 2, 6));
    struct g_tensor *spans = INTS(c, SHAPE3(1, 3, 4), 0, 2, 3, 5, 0, 5, 0, 0, 1, 1, 0, 0);
    return g_attention(c->g, q, k, v, spans, 0.4f, c->variant ? 2.0f : 0.0f);
}
/* Four sequences over two biases, in one of which a row sees nothing. */
static struct g_tensor *case_near(struct ctx *c)
{
    struct g_tensor *q = value(c, SHAPE4(4, 2, 4, 5)), *k = value(c, SHAPE4(4, 3, 2, 5)), *v = value(c, SHAPE4(4, 3, 2, 5));
    struct g_tensor *spans = INTS(c, SHAPE3(4, 2, 2), 0, 3, 1, 3, 0, 3, 0, 0, 0, 2, 0, 3, 2, 3, 0, 3);
    return g_attention_near(c->g, q, k, v, spans, c->variant ? NULL : value(c, SHAPE4(2, 4, 2, 3)), 0.4f);
}
/* Two sequences with sinks, in one of which a row sees nothing. */
static struct g_tensor *case_sunk(struct ctx *c)
{
    struct g_tensor *q = value(c, SHAPE4(2, 2, 4, 5)), *k = value(c, SHAPE4(2, 3, 2, 5)), *v = value(c, SHAPE4(2, 3, 2, 5));
    struct g_tensor *spans = INTS(c, SHAPE3(2, 2, 2), 0, 3, 1, 3, 0, 0, 0, 2);
    return g_attention_sunk(c->g, q, k, v, spans, value(c, SHAPE1(4)), 0.4f);
}
/* With a window, and scores that fall with distance: positions as one more dimension of the keys. */
static struct g_tensor *case_sloped(struct ctx *c)
{
    struct g_tensor *q = value(c, SHAPE4(1, 3, 2, 6)), *k = value(c, SHAPE3(3, 2, 5)), *v = value(c, SHAPE4(1, 3, 2, 6));
    struct g_tensor *at = g_reshape(c->g, g_positions(c->g, INTS(c, SHAPE1(3), 0, 1, 2), 2, NULL), SHAPE3(3, 2, 1));
    k = g_reshape(c->g, g_concat(c->g, 2, 2, (struct g_tensor *[]){k, at}), SHAPE4(1, 3, 2, 6));
    struct g_tensor *spans = g_window_spans(c->g, INTS(c, SHAPE3(1, 3, 2), 0, 1, 0, 2, 0, 3), 2);
    return g_attention(c->g, q, k, v, spans, 0.4f, 0);
}
/* Two sequences of three and four tokens, the second with one of its own inside. */
static struct g_tensor *where(struct ctx *c)
{
    return INTS(c, SHAPE1(7), 0, 1, 2, 0, 1, 0, 1);
}
static struct g_tensor *case_conv1d(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(7, 18)), *w = weight(c, c->variant ? SHAPE3(18, 1, 4) : SHAPE2(18, 2));
    return g_conv1d(c->g, x, w, c->variant ? weight(c, SHAPE1(18)) : NULL, where(c), -1);
}
static struct g_tensor *case_selective_scan(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(7, 19)), *dt = g_act(c->g, value(c, SHAPE2(7, 19)), ACT_SOFTPLUS);
    struct g_tensor *A = weight(c, SHAPE2(19, 3)), *B = value(c, SHAPE2(7, 3)), *C = value(c, SHAPE2(7, 3));
    struct g_tensor *in[] = {x, dt, A, B, C, weight(c, SHAPE1(19))};
    return g_selective_scan(c->g, in, where(c), -1);
}
/* Two groups of two heads; step sizes at both ends of what is allowed, and between. */
static struct g_tensor *case_ssd_scan(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(7, 12)), *dt = g_act(c->g, value(c, SHAPE2(7, 4)), ACT_SOFTPLUS);
    struct g_tensor *B = value(c, SHAPE2(7, 6)), *C = value(c, SHAPE2(7, 6));
    struct g_tensor *in[] = {x, dt, weight(c, SHAPE1(4)), B, C, weight(c, SHAPE1(4))};
    return g_ssd_scan(c->g, in, 2, c->variant ? 2.0f : 0.0f, c->variant ? 3.0f : INFINITY, where(c), -1);
}
static struct g_tensor *case_delta_scan(struct ctx *c)
{
    struct g_tensor *q = value(c, SHAPE2(7, 6)), *k = value(c, SHAPE2(7, 6)), *v = value(c, SHAPE2(7, 12));
    struct g_tensor *dt = g_act(c->g, value(c, SHAPE2(7, 4)), ACT_SOFTPLUS), *beta = g_act(c->g, value(c, SHAPE2(7, 4)), ACT_SIGMOID);
    struct g_tensor *in[] = {q, k, v, dt, weight(c, SHAPE1(4)), beta};
    return g_delta_scan(c->g, in, 2, where(c), -1);
}
static struct g_tensor *case_rg_lru(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(7, 18)), *gx = value(c, SHAPE2(7, 18)), *ga = value(c, SHAPE2(7, 18));
    return g_rg_lru(c->g, x, gx, ga, weight(c, SHAPE1(18)), where(c), -1);
}
static struct g_tensor *case_token_shift(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(7, 18)), *mix[] = {weight(c, SHAPE1(18)), weight(c, SHAPE3(1, 1, 18))};
    return g_token_shift(c->g, x, 2, mix, where(c), -1);
}
static struct g_tensor *case_wkv(struct ctx *c)
{
    struct g_tensor *k = value(c, SHAPE2(7, 18)), *v = value(c, SHAPE2(7, 18)), *decay = weight(c, SHAPE1(18));
    return g_wkv(c->g, k, v, decay, weight(c, SHAPE1(18)), where(c), -1);
}
/* Dense with stride and uneven padding, pointwise, grouped, depthwise; the last two variants with all that may follow. */
static struct g_tensor *case_conv2d(struct ctx *c)
{
    static const struct { int O, k, groups, side; struct conv2d_how how; } forms[] = {
        {3, 3, 1, 2, {2, 1, 2, 1, ACT_NONE}}, {5, 1, 1, 3, {1, 0, 0, 1, ACT_NONE}}, {4, 2, 2, 2, {1, 0, 0, 2, ACT_NONE}},
        {4, 3, 4, 2, {2, 1, 1, 4, ACT_NONE}}, {3, 2, 1, 2, {1, 0, 0, 1, ACT_SILU}}, {4, 3, 4, 3, {1, 1, 1, 4, ACT_GELU}}};
    int O = forms[c->variant].O, k = forms[c->variant].k, side = forms[c->variant].side;
    struct g_tensor *x = value(c, SHAPE4(2, 3, 3, 4)), *w = weight(c, SHAPE4(O, k, k, 4 / forms[c->variant].groups));
    if (c->variant < 4)
        return g_conv2d(c->g, &forms[c->variant].how, x, w, NULL, NULL, NULL);
    struct g_tensor *bias = weight(c, SHAPE1(O)), *scale = value(c, SHAPE1(O));
    return g_conv2d(c->g, &forms[c->variant].how, x, w, bias, scale, value(c, SHAPE4(2, side, side, O)));
}
/* Values further apart than the steps of the differences: who is greatest does not change. */
static struct g_tensor *case_max_pool(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE4(1, 5, 4, 3));
    for (int i = 0; i < 60; i++)
        c->leaf[0].data[i] = (float)(i * 37 % 60) - 30.0f;
    return c->variant ? g_max_pool(c->g, x, 2, 2, 0) : g_max_pool(c->g, x, 3, 2, 1);
}
static struct g_tensor *case_scale_maps(struct ctx *c)
{
    return g_scale_maps(c->g, value(c, SHAPE4(2, 2, 3, 5)), value(c, SHAPE2(2, 5)));
}
static struct g_tensor *case_stats_scale(struct ctx *c)
{
    static const float var[3] = {0.5f, 2.0f, 0.01f};
    return g_stats_scale(c->g, weight(c, SHAPE1(3)), g_const(c->g, DT_F32, SHAPE1(3), var, true), 1e-3f);
}
static struct g_tensor *case_stats_shift(struct ctx *c)
{
    return g_stats_shift(c->g, weight(c, SHAPE1(7)), numbers(c, SHAPE1(7)), value(c, SHAPE1(7)));
}
static struct g_tensor *case_act(struct ctx *c)
{
    return g_act(c->g, value(c, SHAPE2(3, 7)), (enum act_kind)(c->variant + 1));
}
static struct g_tensor *case_glu(struct ctx *c)
{
    return g_glu(c->g, value(c, SHAPE2(3, 7)), value(c, SHAPE2(3, 7)), (enum act_kind)c->variant);
}
/* The second operand: alike, repeated value, repeated weight, repeated 2-d weight, one number. */
static struct g_tensor *operand(struct ctx *c)
{
    return c->variant == 0   ? value(c, SHAPE3(2, 3, 5))
           : c->variant == 1 ? value(c, SHAPE2(3, 5))
           : c->variant == 2 ? weight(c, SHAPE1(5))
           : c->variant == 3 ? weight(c, SHAPE2(3, 5))
                             : weight(c, SHAPE1(1));
}
static struct g_tensor *case_add(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE3(2, 3, 5));
    return g_add(c->g, x, operand(c));
}
static struct g_tensor *case_mul(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE3(2, 3, 5));
    return g_mul(c->g, x, operand(c));
}
static struct g_tensor *case_clamp(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(4, 20)); /* 0.2 to 1, and a tenth of it: differences stay on their side of the limit */
    return g_clamp(c->g, g_concat(c->g, 0, 2, (struct g_tensor *[]){x, g_scale(c->g, x, 0.1f)}), c->variant ? -INFINITY : -0.12f, 0.12f);
}

static struct g_tensor *case_scale(struct ctx *c)
{
    return g_scale(c->g, value(c, SHAPE2(4, 20)), -1.5f);
}
static struct g_tensor *case_affine(struct ctx *c)
{
    struct g_tensor *x = value(c, SHAPE2(3, 4)), *s = weight(c, SHAPE1(1));
    return g_affine(c->g, x, s, c->variant ? NULL : weight(c, SHAPE1(1)));
}
static struct g_tensor *case_dropout(struct ctx *c)
{
    return g_dropout(c->g, value(c, SHAPE2(5, 30)), 0.4f);
}
static struct g_tensor *case_softmax(struct ctx *c)
{
    return g_softmax(c->g, value(c, SHAPE2(3, 19)));
}
static struct g_tensor *case_unfold(struct ctx *c)
{
    return g_unfold(c->g, value(c, SHAPE4(2, 3, 4, 6)), 2);
}
static struct g_tensor *case_interpolate(struct ctx *c)
{
    int up = c->variant & 1;
    struct g_tensor *table = value(c, SHAPE2(12, 5));
    union g_attr a = {.interpolate = {.gh = 3, .gw = 4, .h = up ? 5 : 2, .w = up ? 6 : 3, .bicubic = c->variant & 2,
                                      .antialias = c->variant & 4, .align_corners = c->variant & 8}};
    return g_op(c->g, OP_interpolate, &a, 1, (struct g_tensor *[]){table});
}
static struct g_tensor *case_mean_pool(struct ctx *c)
{
    return g_mean_pool(c->g, value(c, SHAPE3(2, 4, 5)));
}
static struct g_tensor *case_cross_entropy(struct ctx *c)
{
    return g_cross_entropy(c->g, value(c, SHAPE2(5, 19)), INTS(c, SHAPE1(5), 3, -1, 18, 0, -100));
}
static struct g_tensor *case_square_loss(struct ctx *c)
{
    static const float weights[] = {0, 1, 0.5f, 0};
    struct g_tensor *w = g_const(c->g, DT_F32, SHAPE1(4), weights, true), *x = value(c, SHAPE2(4, 7));
    return g_square_loss(c->g, x, c->variant ? value(c, SHAPE2(4, 7)) : numbers(c, SHAPE2(4, 7)), w);
}
static struct g_tensor *case_sigmoid_loss(struct ctx *c)
{
    return g_sigmoid_loss(c->g, value(c, SHAPE2(5, 5)));
}
/* Fixed scores: the choice must not change under differences. Four experts, the third of them idle. */
static struct expert_rows some_rows(struct ctx *c)
{
    struct g_tensor *scores = g_const(c->g, DT_F32, SHAPE2(3, 4), (const float[]){.9f, .1f, 0, .5f, .1f, .2f, 0, .8f, .7f, .6f, 0, .1f}, true);
    return g_expert_order(c->g, g_route(c->g, scores, NULL, &(struct route){.top_k = 2}), 4);
}
/* Of the second row one expert alone is near. */
static struct g_tensor *case_route_sparse(struct ctx *c)
{
    static const float base[] = {3, 2.95f, 1, 2.9f, 5, 1, 2, 1};
    struct g_tensor *s = g_add(c->g, g_scale(c->g, value(c, SHAPE2(2, 4)), 0.01f), g_const(c->g, DT_F32, SHAPE2(2, 4), base, true));
    return g_route_sparse(c->g, s, INTS(c, SHAPE2(2, 2), 0, 1, 0, 2), 0.04f);
}
static struct g_tensor *case_route_weights(struct ctx *c)
{
    struct g_tensor *ids = INTS(c, SHAPE2(3, 2), 4, 0, 1, 3, 2, 1);
    return g_route_weights(c->g, g_act(c->g, value(c, SHAPE2(3, 5)), ACT_SIGMOID), ids, c->variant, 2.5f);
}
static struct g_tensor *case_expert_linear(struct ctx *c)
{
    struct expert_rows r = some_rows(c);
    struct g_tensor *x = g_gather_rows(c->g, value(c, SHAPE2(3, 7)), r.tokens), *w = weight(c, SHAPE3(4, 5, 7));
    return g_expert_linear(c->g, x, w, r.starts, c->variant ? weight(c, SHAPE2(4, 5)) : NULL);
}
static struct g_tensor *case_expert_mix(struct ctx *c)
{
    return g_expert_mix(c->g, value(c, SHAPE2(6, 9)), value(c, SHAPE2(3, 2)), some_rows(c).places);
}
static struct g_tensor *case_balance_loss(struct ctx *c)
{
    return g_balance_loss(c->g, g_softmax(c->g, value(c, SHAPE2(3, 5))), INTS(c, SHAPE2(3, 2), 4, 0, 1, 4, 4, 1));
}
static struct g_tensor *case_group_linear(struct ctx *c)
{
    return g_group_linear(c->g, value(c, SHAPE3(4, 3, 6)), weight(c, c->variant ? SHAPE3(3, 6, 5) : SHAPE3(3, 5, 6)), c->variant);
}

static const struct { enum g_op op; int variants; struct g_tensor *(*build)(struct ctx *c); } cases[] = {
    {OP_linear, 3, case_linear},
    {OP_matmul, 4, case_matmul},
    {OP_embedding, 1, case_embedding},
    {OP_gather_rows, 1, case_gather_rows},
    {OP_scatter_rows, 1, case_scatter_rows},
    {OP_concat, 3, case_concat},
    {OP_slice, 3, case_slice},
    {OP_transpose, 3, case_transpose},
    {OP_reshape, 1, case_reshape},
    {OP_repeat_rows, 2, case_repeat_rows},
    {OP_rms_norm, 2, case_rms_norm},
    {OP_layer_norm, 2, case_layer_norm},
    {OP_l2_norm, 2, case_l2_norm},
    {OP_rope, 2, case_rope},
    {OP_attention, 2, case_attention},
    {OP_attention, 1, case_sloped},
    {OP_attention, 2, case_near},
    {OP_attention, 1, case_sunk},
    {OP_conv1d, 2, case_conv1d},
    {OP_selective_scan, 1, case_selective_scan},
    {OP_ssd_scan, 2, case_ssd_scan},
    {OP_delta_scan, 1, case_delta_scan},
    {OP_rg_lru, 1, case_rg_lru},
    {OP_token_shift, 1, case_token_shift},
    {OP_wkv, 1, case_wkv},
    {OP_act, ACT_COUNT - 1, case_act},
    {OP_glu, ACT_COUNT, case_glu},
    {OP_add, 5, case_add},
    {OP_mul, 5, case_mul},
    {OP_clamp, 2, case_clamp},
    {OP_scale, 1, case_scale},
    {OP_affine, 2, case_affine},
    {OP_dropout, 1, case_dropout},
    {OP_softmax, 1, case_softmax},
    {OP_unfold, 1, case_unfold},
    {OP_interpolate, 16, case_interpolate},
    {OP_mean_pool, 1, case_mean_pool},
    {OP_conv2d, 6, case_conv2d},
    {OP_max_pool, 2, case_max_pool},
    {OP_scale_maps, 1, case_scale_maps},
    {OP_stats_scale, 1, case_stats_scale},
    {OP_stats_shift, 1, case_stats_shift},
    {OP_cross_entropy, 1, case_cross_entropy},
    {OP_sigmoid_loss, 1, case_sigmoid_loss},
    {OP_square_loss, 2, case_square_loss},
    {OP_route_weights, 2, case_route_weights},
    {OP_route_sparse, 1, case_route_sparse},
    {OP_expert_linear, 2, case_expert_linear},
    {OP_expert_mix, 1, case_expert_mix},
    {OP_balance_loss, 1, case_balance_loss},
    {OP_group_linear, 2, case_group_linear},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- driver ---- */

static bool ran[OP_COUNT][OP_COUNT]; /* [operation of the case][operation that its graph ran] */

/* Operations that exist for rules alone, and the case whose rule must use them. */
static const struct { enum g_op own, by; } for_rules[] = {
    {OP_sum_rows_into, OP_layer_norm}, {OP_sum_rows_into, OP_linear}, {OP_scatter_add, OP_gather_rows},
    {OP_zero_rows, OP_scatter_rows},   {OP_sum_repeats, OP_add},      {OP_sum_repeats, OP_repeat_rows},
    {OP_dot_all, OP_affine},           {OP_dot_all, OP_mul},          {OP_accumulate, OP_add},
    {OP_expert_linear_dx, OP_expert_linear}, {OP_expert_linear_dw, OP_expert_linear}, {OP_expert_sum_into, OP_expert_linear},
    {OP_expert_mix_grad, OP_expert_mix}, {OP_route_weights_dx, OP_route_weights}, {OP_balance_loss_dx, OP_balance_loss},
    {OP_group_linear_dw, OP_group_linear},
};

struct run {
    struct ctx c;
    const char *name;
    struct g_tensor *y;
    size_t n;
    float *dy;        /* the random weights of the loss */
    float *y_want;
    struct plan *plan;
    struct pool *pool;
};

static void run_build(struct run *r, int which, int variant, struct pool *pool)
{
    *r = (struct run){.pool = pool, .name = op_table[cases[which].op].name};
    r->c.variant = variant;
    r->c.rng = rng_at(20240, (uint64_t)which * 100 + (uint64_t)variant);
    assert_int_equal(graph_create(GEMM_F32, THREADS, &r->c.g), 0);
    struct graph *g = r->c.g;
    g->training = true;
    r->y = g_output(cases[which].build(&r->c));
    if (!r->y)
        fail_msg("%s: %s", r->name, nun_error());
    r->n = (size_t)g_count(r->y);
    r->dy = mem_calloc(MEM_TEST, r->n, sizeof(float));
    r->y_want = mem_calloc(MEM_TEST, r->n, sizeof(float));
    for (size_t i = 0; i < r->n; i++)
        r->dy[i] = leaf_value(&r->c.rng);
    struct g_tensor *weights = g_const(g, DT_F32, SHAPE2((int64_t)r->n, 1), r->dy, false);
    struct g_tensor *loss = g_matmul(g, g_reshape(g, r->y, SHAPE2(1, (int64_t)r->n)), weights, false, false);
    if (graph_backward(g, loss, NULL) < 0 || plan_create(g, &r->plan) < 0)
        fail_msg("%s: %s", r->name, nun_error());
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->kind == G_OP || g->nodes[i]->op == OP_reshape)
            ran[cases[which].op][g->nodes[i]->op] = true;
}
static void run_free(struct run *r)
{
    plan_free(r->plan);
    graph_free(r->c.g);
    mem_free(r->dy);
    mem_free(r->y_want);
    for (int i = 0; i < r->c.n_leaves; i++) {
        mem_free(r->c.leaf[i].data);
        mem_free(r->c.leaf[i].grad);
        mem_free(r->c.leaf[i].want);
    }
}

/* The loss, summed in doubles. */
static double run_once(struct run *r, struct pool *pool)
{
    struct exec e = {.pool = pool, .seed = 3, .step = 5};
    double sum = 0;
    if (exec_run(r->plan, &e) < 0)
        fail_msg("%s: %s", r->name, nun_error());
    for (size_t i = 0; i < r->n; i++)
        sum += (double)r->dy[i] * (double)g_f32(r->y)[i];
    return sum;
}
static void zero_grads(struct run *r)
{
    for (int i = 0; i < r->c.n_leaves; i++)
        memset(r->c.leaf[i].grad, 0, r->c.leaf[i].n * sizeof(float));
}

/* The result and the gradients of one thread, kept, equal those of others. */
static void check_equal_bits(struct run *r, int variant)
{
    zero_grads(r);
    run_once(r, NULL);
    memcpy(r->y_want, r->y->data, r->n * sizeof(float));
    for (int i = 0; i < r->c.n_leaves; i++)
        memcpy(r->c.leaf[i].want, r->c.leaf[i].grad, r->c.leaf[i].n * sizeof(float));
    for (int scalar = 0; scalar < 2; scalar++) {
        zero_grads(r);
        cpu_set_mask(scalar ? CPU_scalar : cpu_features());
        run_once(r, scalar ? NULL : r->pool);
        cpu_set_mask(cpu_features());
        bool same = memcmp(r->y_want, r->y->data, r->n * sizeof(float)) == 0;
        for (int i = 0; i < r->c.n_leaves; i++)
            same &= memcmp(r->c.leaf[i].want, r->c.leaf[i].grad, r->c.leaf[i].n * sizeof(float)) == 0;
        if (!same)
            fail_msg("%s variant %d: %s", r->name, variant, scalar ? "scalar kernels show" : "threads show");
    }
}

static double difference(struct run *r, float *x)
{
    const float h = 0x1p-5f, at = *x;
    double f[4];
    for (int i = 0; i < 4; i++) {
        *x = at + h * (float[]){1, -1, 2, -2}[i];
        f[i] = run_once(r, NULL);
    }
    *x = at;
    return (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * (double)h);
}

/* Rounding of the loss is about 1e-7 of its largest terms, divided by the step. */
static void check_leaf(struct run *r, int variant, int leaf)
{
    struct leaf *l = &r->c.leaf[leaf];
    double scale = 0.05;
    for (size_t i = 0; i < l->n; i++)
        scale = fmax(scale, fabs((double)l->want[i]));
    for (size_t i = 0; i < l->n; i++) {
        double numeric = difference(r, &l->data[i]), off = fabs(numeric - (double)l->want[i]);
        if (!(off <= 5e-4 * scale))
            fail_msg("%s variant %d: leaf %d [%zu]: rule says %g, differences say %g", r->name, variant, leaf, i,
                     (double)l->want[i], numeric);
    }
}

static void check_costs(const struct run *r)
{
    for (int s = 0; s < r->plan->n_steps; s++) {
        struct g_cost cost = {.flops = -1, .bytes = -1};
        op_table[r->plan->steps[s]->op].cost(r->c.g, r->plan->steps[s], &cost);
        if (!(cost.flops >= 0 && cost.bytes > 0 && cost.flops < 1e9 && cost.bytes < 1e9 && cost.scratch < 1 << 28))
            fail_msg("%s: cost of %s", r->name, op_table[r->plan->steps[s]->op].name);
    }
}

static void test_gradients(void **state)
{
    struct pool *pool;
    assert_int_equal(pool_create(THREADS, &pool), 0);
    for (int which = 0; which < CASES; which++)
        for (int v = 0; v < cases[which].variants; v++) {
            struct run r;
            run_build(&r, which, v, pool);
            check_costs(&r);
            check_equal_bits(&r, v);
            for (int i = 0; i < r.c.n_leaves; i++)
                check_leaf(&r, v, i);
            run_free(&r);
        }
    pool_free(pool);
}

/* No rule and no part in one; tests/unit runs them. */
static bool forward_only(enum g_op op)
{
    static const enum g_op list[] = {OP_attention_cached, OP_keep_rows, OP_attention_kept};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i] == op)
            return true;
    return false;
}

/* After the cases: rows and rules are paired, and every row was reached but the forward-only ones. */
static void test_table(void **state)
{
    bool has_case[OP_COUNT] = {false};
    for (int i = 0; i < CASES; i++)
        has_case[cases[i].op] = true;
    for (int op = 0; op < OP_COUNT; op++) {
        const struct op_info *row = &op_table[op];
        bool no_grad = row->flags & OPF_NO_GRAD;
        if (no_grad == (row->grad != NULL))
            fail_msg("%s: its flag and its rule disagree", row->name);
        if (!no_grad && !has_case[op])
            fail_msg("%s has a gradient rule and no case", row->name);
        bool reached = forward_only((enum g_op)op);
        for (int by = 0; by < OP_COUNT; by++)
            reached |= ran[by][op];
        if (!reached)
            fail_msg("%s: no case runs it", row->name);
    }
    for (size_t i = 0; i < sizeof for_rules / sizeof for_rules[0]; i++)
        if (!ran[for_rules[i].by][for_rules[i].own])
            fail_msg("the rule of %s does not use %s", op_table[for_rules[i].by].name, op_table[for_rules[i].own].name);
}

/* Accumulators go on from what they hold: a second run adds as much again. */
static void check_accumulates(int which)
{
    struct run r;
    run_build(&r, which, 0, NULL);
    zero_grads(&r);
    run_once(&r, NULL);
    for (int i = 0; i < r.c.n_leaves; i++)
        memcpy(r.c.leaf[i].want, r.c.leaf[i].grad, r.c.leaf[i].n * sizeof(float));
    run_once(&r, NULL);
    for (int i = 0; i < r.c.n_leaves; i++)
        for (size_t k = 0; k < r.c.leaf[i].n; k++) {
            double once = (double)r.c.leaf[i].want[k], twice = (double)r.c.leaf[i].grad[k];
            if (fabs(twice - 2 * once) > 1e-5 * (fabs(once) + 1))
                fail_msg("%s: a second run adds %g to %g", r.name, twice - once, once);
        }
    run_free(&r);
}
static void test_accumulation(void **state)
{
    for (int which = 0; which < CASES; which++)
        check_accumulates(which);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_accumulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
