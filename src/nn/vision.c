/* Vision towers: patches in, pooled state out. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

struct nn_seq nn_seq_full(struct graph *g, int batch, int tokens)
{
    struct nn_seq seq = {.batch = batch, .tokens = tokens};
    seq.spans = g_const(g, DT_I32, SHAPE3(batch, tokens, 2), NULL, false);
    int32_t *span = arena_array(&g->arena, (size_t)batch * (size_t)tokens * 2, sizeof *span);
    if (!span || !seq.spans) {
        g->error = g->error ? g->error : NUN_ENOMEM;
        return seq;
    }
    for (int i = 0; i < batch * tokens; i++) {
        span[2 * i] = 0;
        span[2 * i + 1] = tokens;
    }
    seq.spans->data = span;
    return seq;
}

/* ---- patches ------------------------------------------------------------------------------- */

/* The table of learned positions as rows [positions, hidden], whatever its shape on disk. */
static struct g_tensor *position_table(struct graph *g, const struct nn_stack *s)
{
    return g_reshape(g, g_param(g, s->w[NN_pos_w]), SHAPE2(s->facts.positions, s->facts.hidden));
}

/* Those of a grid of patches [gh * gw, hidden]. */
static struct g_tensor *grid_positions(struct graph *g, const struct nn_stack *s, int gh, int gw)
{
    const struct nn_facts *f = &s->facts;
    int first = s->w[NN_class_w] != NULL, n = f->positions - first, side = (int)lround(sqrt(n));
    if (!f->stretch && n != gh * gw) {
        g->error = g->error ? g->error : err_set(NUN_EARG, "vision tower: %d x %d patches, but %d positions", gh, gw, n);
        return NULL;
    }
    struct g_tensor *table = position_table(g, s);
    table = first ? g_slice(g, table, 0, 1, f->positions) : table;
    return f->stretch ? g_interpolate(g, table, side, side, gh, gw, true) : table;
}

struct g_tensor *nn_patch_rows(struct graph *g, const struct nn_stack *s, struct g_tensor *pixels, int *gh, int *gw)
{
    const struct nn_facts *f = &s->facts;
    if (!pixels)
        return NULL;
    const int64_t *d = pixels->shape.d;
    int64_t batch = d[0];
    *gh = (int)(d[2] / f->patch);
    *gw = (int)(d[3] / f->patch);
    if (d[2] % f->patch)
        pixels = g_slice(g, pixels, 2, 0, (int64_t)*gh * f->patch);
    if (d[3] % f->patch)
        pixels = g_slice(g, pixels, 3, 0, (int64_t)*gw * f->patch);
    struct g_tensor *x = nn_linear(g, s->w[NN_patch_w], s->w[NN_patch_b], g_unfold(g, pixels, f->patch), NULL, ACT_NONE);
    if (!s->w[NN_pos_w])
        return x;
    int64_t n = (int64_t)*gh * *gw;
    x = g_add(g, g_reshape(g, x, SHAPE3(batch, n, f->hidden)), grid_positions(g, s, *gh, *gw));
    return g_reshape(g, x, SHAPE2(batch * n, f->hidden));
}

struct g_tensor *nn_first_rows(struct graph *g, const struct nn_stack *s, struct g_tensor *x, int batch, int n)
{
    const struct nn_facts *f = &s->facts;
    if (s->w[NN_class_w]) {
        struct g_tensor *first = g_reshape(g, g_param(g, s->w[NN_class_w]), SHAPE2(1, f->hidden));
        first = g_add(g, first, g_slice(g, position_table(g, s), 0, 0, 1));
        struct g_tensor *parts[] = {g_reshape(g, g_repeat_rows(g, first, batch), SHAPE3(batch, 1, f->hidden)),
                                    g_reshape(g, x, SHAPE3(batch, n, f->hidden))};
        x = g_reshape(g, g_concat(g, 1, 2, parts), SHAPE2((int64_t)batch * (n + 1), f->hidden));
    }
    return s->w[NN_pre_norm_w] ? nn_norm(g, f, s->w[NN_pre_norm_w], s->w[NN_pre_norm_b], x) : x;
}

struct g_tensor *nn_patches(struct graph *g, const struct nn_stack *s, struct g_tensor *pixels, int *tokens)
{
    int gh = 0, gw = 0, batch = pixels ? (int)pixels->shape.d[0] : 0;
    struct g_tensor *x = nn_patch_rows(g, s, pixels, &gh, &gw);
    *tokens = gh * gw + (s->w[NN_class_w] != NULL);
    return nn_first_rows(g, s, x, batch, gh * gw);
}

/* ---- towers -------------------------------------------------------------------------------- */

#define TOWER(name, doc) {#name, nn_tower_##name, doc},
const struct nn_tower nn_towers[NN_TOWERS] = {
#include "nn/towers.def"
};
#undef TOWER

void nn_show(const struct nn_pictures *in, const char *part, int stage, int layer, struct g_tensor *x)
{
    if (in->see && x)
        in->see(in->see_arg, part, stage, layer, x);
}

struct g_tensor *nn_shown_blocks(struct graph *g, const struct nn_stack *s, const struct nn_pictures *in, struct g_tensor *x,
                                 const struct nn_seq *seq, int stage)
{
    if (!in->see)
        return nn_blocks(g, s, x, seq, 0, s->facts.layers);
    for (int i = 0; i < s->facts.layers; i++) {
        x = nn_blocks(g, s, x, seq, i, i + 1);
        nn_show(in, "block", stage, i, x);
    }
    return x;
}

struct g_tensor *nn_tower_patches(struct graph *g, const struct nn_stack *s, struct nn_pictures *in)
{
    struct g_tensor *x = nn_patches(g, s, in->pixels, &in->tokens);
    struct nn_seq seq = nn_seq_full(g, in->batch, in->tokens);
    nn_show(in, "embeddings", -1, -1, x);
    x = nn_shown_blocks(g, s, in, x, &seq, -1);
    x = nn_norm(g, &s->facts, s->w[NN_post_norm_w], s->w[NN_post_norm_b], x);
    nn_show(in, "norm", -1, -1, x);
    return x;
}

struct g_tensor *nn_picture_spans(struct graph *g, const struct nn_pictures *in, int queries)
{
    struct nn_seq seq = nn_seq_full(g, in->batch, queries);
    for (int i = 0; !g->error && i < in->batch * queries; i++) {
        const int *grid = in->grids ? in->grids[i / queries] : NULL;
        g_i32(seq.spans)[2 * i + 1] = grid ? grid[0] * grid[1] : in->tokens;
    }
    return seq.spans;
}

struct g_tensor *nn_pool(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct nn_pictures *in)
{
    const struct nn_facts *f = &s->facts;
    int H = f->hidden, D = f->head_dim, batch = in->batch, tokens = in->tokens;
    struct g_tensor *probe = g_reshape(g, g_param(g, s->w[NN_pool_probe]), SHAPE2(1, H));
    struct g_tensor *q = nn_linear(g, s->w[NN_pool_in_w], s->w[NN_pool_in_b], probe, NULL, ACT_NONE);
    q = g_repeat_rows(g, g_slice(g, q, 1, 0, H), batch);
    struct g_tensor *kv = nn_linear(g, s->w[NN_pool_in_w], s->w[NN_pool_in_b], x, NULL, ACT_NONE);
    struct g_tensor *k = g_slice(g, kv, 1, H, 2 * H), *v = g_slice(g, kv, 1, 2 * H, 3 * H);
    struct g_tensor *spans = nn_picture_spans(g, in, 1);
    struct g_tensor *y = g_attention(g, g_reshape(g, q, SHAPE4(batch, 1, f->heads, D)),
                                     g_reshape(g, k, SHAPE4(batch, tokens, f->heads, D)),
                                     g_reshape(g, v, SHAPE4(batch, tokens, f->heads, D)), spans,
                                     1.0f / sqrtf((float)D), 0);
    y = nn_linear(g, s->w[NN_pool_out_w], s->w[NN_pool_out_b], g_reshape(g, y, SHAPE2(batch, H)), NULL, ACT_NONE);
    struct g_tensor *h = nn_norm(g, f, s->w[NN_pool_norm_w], s->w[NN_pool_norm_b], y);
    h = nn_linear(g, s->w[NN_pool_up_w], s->w[NN_pool_up_b], h, NULL, (enum act_kind)f->act);
    return nn_linear(g, s->w[NN_pool_down_w], s->w[NN_pool_down_b], h, y, ACT_NONE);
}
