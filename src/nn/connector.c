/* The rows of connectors.def. */
/* SPDX-License-Identifier: MIT */
#include "nn/connector.h"

#include "nn/perceiver.h"
#include "nn/qformer.h"

#define CONNECTOR(name, squares, queries, matrices, doc) {#name, nn_connect_##name, squares, queries, matrices, doc},
const struct nn_connector_kind nn_connectors[NN_CONNECTORS] = {
#include "nn/connectors.def"
};
#undef CONNECTOR

struct g_tensor *nn_squares(struct graph *g, struct g_tensor *x, int tiles, int h, int w, int step, bool turned)
{
    int down = h / step, across = w / step, n = 0;
    int32_t *rows = arena_array(&g->arena, (size_t)tiles * (size_t)h * (size_t)w, sizeof *rows);
    for (int t = 0; rows && t < tiles; t++)
        for (int i = 0; i < down * across; i++)
            for (int k = 0; k < step * step; k++) {
                int y = turned ? i % down : i / across, c = turned ? i / down : i % across;
                rows[n++] = (t * h + y * step + k / step) * w + c * step + k % step;
            }
    return rows ? g_gather_rows(g, x, g_const(g, DT_I32, SHAPE1(n), rows, true)) : NULL;
}

static struct g_tensor *first(struct graph *g, const struct nn_connector *c, struct g_tensor *x, enum act_kind act)
{
    return nn_linear(g, c->w1, c->b1, x, NULL, act);
}

static struct g_tensor *second(struct graph *g, const struct nn_connector *c, struct g_tensor *x)
{
    return nn_linear(g, c->w2, c->b2, x, NULL, ACT_NONE);
}

/* x [tiles * side * side, width] -> [tiles * squares, step * step, width] */
static struct g_tensor *apart(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    int64_t each = (int64_t)c->step * c->step, squares = (int64_t)tiles * side * side / each;
    return x ? g_reshape(g, nn_squares(g, x, tiles, side, side, c->step, false), SHAPE3(squares, each, g_last(x))) : NULL;
}

struct g_tensor *nn_connect_linear(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    return first(g, c, x, ACT_NONE);
}

struct g_tensor *nn_connect_mlp(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    return second(g, c, first(g, c, x, ACT_GELU));
}

struct g_tensor *nn_connect_pixel_shuffle(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    x = apart(g, c, x, tiles, side);
    x = x ? g_reshape(g, x, SHAPE2(x->shape.d[0], x->shape.d[1] * x->shape.d[2])) : NULL;
    return second(g, c, first(g, c, x, ACT_GELU));
}

struct g_tensor *nn_connect_average_pool(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    x = apart(g, c, x, tiles, side);
    return first(g, c, x ? g_mean_pool(g, x) : NULL, ACT_NONE);
}

struct g_tensor *nn_connect_perceiver(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    return nn_resample(g, c->stack, first(g, c, x, ACT_NONE), tiles, side * side);
}

struct g_tensor *nn_connect_qformer(struct graph *g, const struct nn_connector *c, struct g_tensor *x, int tiles, int side)
{
    struct nn_qformer in = {.context = first(g, c, x, ACT_NONE), .batch = tiles, .tokens = side * side};
    const struct shape *s = &c->queries->shape;
    in.n_queries = (int)s->d[1];
    in.queries = g_reshape(g, g_param(g, c->queries), SHAPE2(s->d[1], s->d[2]));
    return second(g, c, nn_qformer(g, c->stack, &in));
}
