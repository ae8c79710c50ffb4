/* The blocks of convolutional encoders: what units each has, and how they are joined. See conv.h. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "nn/conv.h"
#include "graph/maps.h"

/* ---- units --------------------------------------------------------------------------------- */

int nn_unit_dim(const struct nn_unit *u, char letter)
{
    return letter == 'O' ? u->out : letter == 'I' ? u->in / u->groups : u->kernel;
}

static struct g_tensor *param(struct graph *g, struct g_param *p)
{
    return p ? g_param(g, p) : NULL;
}

/* What the sums are multiplied by and what is added to them; NULL: nothing. */
struct folded { struct g_tensor *scale, *shift; };

static bool learns(const struct nn_unit *u)
{
    const struct g_param *p[] = {u->b, u->norm_w, u->norm_b, u->gain_w};
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++)
        if (p[i] && p[i]->trainable)
            return true;
    return false;
}

/* Batch norm, bias and gain as values of the graph, through which gradients go. */
static struct folded fold(struct graph *g, const struct nn_unit *u)
{
    struct folded f = {param(g, u->gain_w), param(g, u->b)};
    if (u->norm == NN_UNIT_BATCH) {
        f.scale = g_stats_scale(g, g_param(g, u->norm_w), g_param(g, u->norm_var), u->eps);
        struct g_tensor *shift = g_stats_shift(g, g_param(g, u->norm_b), g_param(g, u->norm_mean), f.scale);
        f.shift = f.shift ? g_add(g, shift, g_mul(g, f.shift, f.scale)) : shift;
    } else if (f.scale && f.shift) {
        f.shift = g_mul(g, f.shift, f.scale);
    }
    return f;
}

static const float *values(const struct g_param *p) { return p ? p->data : NULL; }

/* The same numbers once and for all: a hundred steps less in a run, each of which all threads await. */
static struct folded fold_now(struct graph *g, const struct nn_unit *u)
{
    const float *b = values(u->b), *w = values(u->norm_w), *beta = values(u->norm_b), *mean = values(u->norm_mean),
                *var = values(u->norm_var), *gain = values(u->gain_w);
    bool batch = u->norm == NN_UNIT_BATCH;
    float *scale = NULL, *shift = NULL;
    struct folded f = {0};
    if (batch || gain)
        f.scale = nn_const(g, SHAPE1(u->out), &scale);
    if (batch || b)
        f.shift = nn_const(g, SHAPE1(u->out), &shift);
    if (graph_error(g))
        return f;
    for (int i = 0; i < u->out; i++) {
        if (scale)
            scale[i] = batch ? w[i] * (1.0f / sqrtf(var[i] + u->eps)) : gain[i];
        float sum = b ? (scale ? b[i] * scale[i] : b[i]) : 0;
        if (shift)
            shift[i] = !batch ? sum : b ? beta[i] - mean[i] * scale[i] + sum : beta[i] - mean[i] * scale[i];
    }
    return f;
}

/* act(norm(conv(x)) + residual), whichever of them there are; residual may be NULL. */
static struct g_tensor *unit(struct graph *g, const struct nn_unit *u, struct g_tensor *x, struct g_tensor *residual)
{
    /* A trained activation needs its input kept: apart, it is not recomputed. */
    bool layer_after = u->norm == NN_UNIT_LAYER_AFTER, apart = layer_after || g->training;
    struct conv2d_how how = {u->stride, u->before, u->after, u->groups, apart ? ACT_NONE : (enum act_kind)u->act};
    struct folded f = learns(u) ? fold(g, u) : fold_now(g, u);
    if (u->norm == NN_UNIT_LAYER_BEFORE)
        x = g_layer_norm(g, x, g_param(g, u->norm_w), g_param(g, u->norm_b), u->eps);
    x = g_conv2d(g, &how, x, g_param(g, u->w), f.shift, f.scale, residual);
    if (layer_after)
        x = g_layer_norm(g, x, g_param(g, u->norm_w), g_param(g, u->norm_b), u->eps);
    return apart && u->act != ACT_NONE ? g_act(g, x, (enum act_kind)u->act) : x;
}

/* A unit of block b that keeps the size of the maps. */
static struct nn_unit unit_of(const struct nn_block *b, int in, int out, int kernel)
{
    return (struct nn_unit){.in = in, .out = out, .kernel = kernel, .stride = 1, .groups = 1, .before = (kernel - 1) / 2,
                            .after = kernel / 2, .act = b->act, .norm = b->norm, .eps = b->eps, .bias = b->bias};
}

/* The one that steps, with the block's own padding. */
static struct nn_unit step_of(const struct nn_block *b, int in, int out, int kernel)
{
    struct nn_unit u = unit_of(b, in, out, kernel);
    u.stride = b->stride;
    u.before = b->before;
    u.after = b->after;
    return u;
}

/* A 1x1 convolution that steps. */
static struct nn_unit point_of(const struct nn_block *b, int in, int out, int stride)
{
    struct nn_unit u = unit_of(b, in, out, 1);
    u.stride = stride;
    return u;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static void plan_conv(struct nn_block *b)
{
    b->unit[NN_UNIT_first] = step_of(b, b->in, b->out, b->kernel);
}
static struct g_tensor *build_conv(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    return unit(g, &b->unit[NN_UNIT_first], x, NULL);
}

static void plan_max_pool(struct nn_block *b)
{
    b->out = b->in;
}
static struct g_tensor *build_max_pool(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    return g_max_pool(g, x, b->kernel, b->stride, b->before);
}

/* Where the input does not fit the result, a 1x1 convolution takes it there. */
static void plan_shortcut(struct nn_block *b)
{
    if (b->in == b->out && b->stride == 1)
        return;
    b->unit[NN_UNIT_shortcut] = point_of(b, b->in, b->out, b->stride);
    b->unit[NN_UNIT_shortcut].act = ACT_NONE;
}
static struct g_tensor *shortcut(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    const struct nn_unit *u = &b->unit[NN_UNIT_shortcut];
    return u->out ? unit(g, u, x, NULL) : x;
}

static void plan_basic(struct nn_block *b)
{
    b->unit[NN_UNIT_first] = step_of(b, b->in, b->out, b->kernel);
    b->unit[NN_UNIT_second] = unit_of(b, b->out, b->out, b->kernel);
    plan_shortcut(b);
}
static struct g_tensor *build_basic(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    struct g_tensor *y = unit(g, &b->unit[NN_UNIT_first], x, NULL);
    return unit(g, &b->unit[NN_UNIT_second], y, shortcut(g, b, x));
}

static void plan_bottleneck(struct nn_block *b)
{
    b->unit[NN_UNIT_first] = point_of(b, b->in, b->inner, b->early ? b->stride : 1);
    b->unit[NN_UNIT_second] = b->early ? unit_of(b, b->inner, b->inner, b->kernel) : step_of(b, b->inner, b->inner, b->kernel);
    b->unit[NN_UNIT_third] = point_of(b, b->inner, b->out, 1);
    plan_shortcut(b);
}
static struct g_tensor *build_bottleneck(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    struct g_tensor *y = unit(g, &b->unit[NN_UNIT_first], x, NULL);
    y = unit(g, &b->unit[NN_UNIT_second], y, NULL);
    return unit(g, &b->unit[NN_UNIT_third], y, shortcut(g, b, x));
}

static void plan_convnext(struct nn_block *b)
{
    struct nn_unit *u = b->unit;
    u[NN_UNIT_first] = unit_of(b, b->in, b->in, b->kernel);
    u[NN_UNIT_first].groups = b->in;
    u[NN_UNIT_first].act = ACT_NONE;
    u[NN_UNIT_second] = unit_of(b, b->in, b->inner, 1);
    u[NN_UNIT_third] = unit_of(b, b->inner, b->out, 1);
    u[NN_UNIT_third].act = ACT_NONE;
    u[NN_UNIT_third].gain = b->gain;
    for (int i = NN_UNIT_second; i <= NN_UNIT_third; i++) {
        u[i].norm = NN_UNIT_PLAIN;
        u[i].flat = true;
    }
}
static struct g_tensor *build_convnext(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    struct g_tensor *y = unit(g, &b->unit[NN_UNIT_first], x, NULL);
    return unit(g, &b->unit[NN_UNIT_third], unit(g, &b->unit[NN_UNIT_second], y, NULL), x);
}

static void plan_mbconv(struct nn_block *b)
{
    struct nn_unit *u = b->unit;
    if (b->inner != b->in)
        u[NN_UNIT_first] = unit_of(b, b->in, b->inner, 1);
    u[NN_UNIT_second] = step_of(b, b->inner, b->inner, b->kernel);
    u[NN_UNIT_second].groups = b->inner;
    if (b->squeeze) {
        u[NN_UNIT_squeeze] = unit_of(b, b->inner, b->squeeze, 1);
        u[NN_UNIT_excite] = unit_of(b, b->squeeze, b->inner, 1);
        u[NN_UNIT_excite].act = ACT_SIGMOID;
        u[NN_UNIT_squeeze].norm = u[NN_UNIT_excite].norm = NN_UNIT_PLAIN;
        u[NN_UNIT_squeeze].bias = u[NN_UNIT_excite].bias = true;
    }
    u[NN_UNIT_third] = unit_of(b, b->inner, b->out, 1);
    u[NN_UNIT_third].act = ACT_NONE;
}

static struct g_tensor *mean_of(struct graph *g, struct g_tensor *maps)
{
    return maps ? g_mean_pool(g, g_reshape(g, maps, SHAPE3(maps->shape.d[0], maps->shape.d[1] * maps->shape.d[2], g_last(maps)))) : NULL;
}

/* x times a factor a channel that its own means decide. */
static struct g_tensor *excite(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    struct g_tensor *s = mean_of(g, x);
    if (!s)
        return NULL;
    int64_t B = s->shape.d[0], C = s->shape.d[1];
    s = unit(g, &b->unit[NN_UNIT_squeeze], g_reshape(g, s, SHAPE4(B, 1, 1, C)), NULL);
    s = unit(g, &b->unit[NN_UNIT_excite], s, NULL);
    return g_scale_maps(g, x, g_reshape(g, s, SHAPE2(B, C)));
}
static struct g_tensor *build_mbconv(struct graph *g, const struct nn_block *b, struct g_tensor *x)
{
    struct g_tensor *y = b->unit[NN_UNIT_first].out ? unit(g, &b->unit[NN_UNIT_first], x, NULL) : x;
    y = unit(g, &b->unit[NN_UNIT_second], y, NULL);
    if (b->squeeze)
        y = excite(g, b, y);
    return unit(g, &b->unit[NN_UNIT_third], y, b->skip ? x : NULL);
}

/* ---- the table ----------------------------------------------------------------------------- */

const struct nn_block_info nn_blocks_info[NN_BLOCK_KINDS] = {
#define BLOCK(name, doc) {#name, doc},
#include "nn/conv_blocks.def"
#undef BLOCK
};

static const struct {
    void (*plan)(struct nn_block *b);
    struct g_tensor *(*build)(struct graph *g, const struct nn_block *b, struct g_tensor *x);
} kinds[NN_BLOCK_KINDS] = {
#define BLOCK(name, doc) {plan_##name, build_##name},
#include "nn/conv_blocks.def"
#undef BLOCK
};

void nn_block_plan(struct nn_block *b)
{
    kinds[b->kind].plan(b);
}

/* ---- the encoder --------------------------------------------------------------------------- */

struct g_tensor *nn_conv_maps(struct graph *g, struct g_tensor *pixels)
{
    return g_transpose(g, pixels, (const int[4]){0, 2, 3, 1});
}

struct g_tensor *nn_conv_blocks(struct graph *g, const struct nn_conv *c, struct g_tensor *maps, int from, int to)
{
    for (int i = from; i < to; i++)
        maps = kinds[c->block[i].kind].build(g, &c->block[i], maps);
    return maps;
}

struct g_tensor *nn_conv_rows(struct graph *g, const struct nn_conv *c, struct g_tensor *pixels)
{
    struct g_tensor *maps = nn_conv_blocks(g, c, nn_conv_maps(g, pixels), 0, c->n_blocks);
    return maps ? g_reshape(g, maps, SHAPE2(g_rows(maps), g_last(maps))) : NULL;
}

struct g_tensor *nn_conv_pool(struct graph *g, const struct nn_conv *c, struct g_tensor *maps)
{
    struct g_tensor *x = mean_of(g, maps);
    return c->pool_norm_w ? g_layer_norm(g, x, g_param(g, c->pool_norm_w), param(g, c->pool_norm_b), c->pool_eps) : x;
}
