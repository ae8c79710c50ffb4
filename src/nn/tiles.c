/* A tower that sees the tiles of a picture together (Llama 3.2 Vision; arXiv:2407.21783). Every picture has as many
 * tiles as the tower takes, the last ones padding, and each tile a few rows of padding behind its patches. Padding is
 * computed as well, because real patches attend to it; it attends to real patches alone.
 *
 * Rows of a picture: its tiles one after the other, real ones first, each its class token and its patches; then the
 * padding rows of all tiles. Attention does not care about the order, and so one span says who sees whom. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "nn/nn.h"

enum { ROWS_OF = 8 };                        /* a tile's rows are padded to a multiple */
static const float OUTER_EPS = 1e-5f;        /* of the norms around the blocks, whatever the config says */

/* H wide, M tiles of N rows and `pad` rows behind; `tiles` of the M are real. */
struct layout { int H, M, N, pad, tiles, batch; };

static struct layout layout_of(const struct nn_facts *f, const struct nn_pictures *in)
{
    return (struct layout){f->hidden, f->tiles.most, f->positions, (ROWS_OF - f->positions % ROWS_OF) % ROWS_OF, in->tiles, in->batch};
}

static int all_rows(const struct layout *l)
{
    return l->M * (l->N + l->pad);
}

/* x [.., n, H] with `more` rows of zeros behind n, by pictures. */
static struct g_tensor *padded(struct graph *g, const struct layout *l, struct g_tensor *x, int n, int more)
{
    float *zeros;
    if (!more)
        return x;
    struct g_tensor *parts[] = {g_reshape(g, x, SHAPE3(l->batch, n, l->H)), nn_const(g, SHAPE3(l->batch, more, l->H), &zeros)};
    return g_reshape(g, g_concat(g, 1, 2, parts), SHAPE2((int64_t)l->batch * (n + more), l->H));
}

/* The grid's row of a table, [.., H]. */
static struct g_tensor *of_grid(struct graph *g, const struct layout *l, struct g_param *table, int ratio)
{
    float *id; /* the same 32 bits */
    struct g_tensor *ids = nn_const(g, SHAPE1(1), &id), *row;
    if (!ids)
        return NULL;
    ids->dt = DT_I32;
    memcpy(id, &ratio, sizeof ratio);
    row = g_embedding(g, g_param(g, table), ids);
    return row ? g_reshape(g, row, SHAPE2(g_count(row) / l->H, l->H)) : NULL;
}

/* Vectors of tiles [M, H] for n rows of each tile, then for `behind` rows of each: [M * (n + behind), H]. */
static struct g_tensor *by_tile(struct graph *g, const struct layout *l, struct g_tensor *x, int n, int behind)
{
    float *values;
    struct g_tensor *tile = nn_const(g, SHAPE1((int64_t)l->M * (n + behind)), &values);
    if (!tile)
        return NULL;
    tile->dt = DT_I32;
    int32_t *at = tile->data;
    for (int i = 0; i < l->M * (n + behind); i++)
        at[i] = i < l->M * n ? i / n : (i - l->M * n) / behind;
    return g_gather_rows(g, x, tile);
}

/* x [batch * n, H] + y [n, H] */
static struct g_tensor *add_to_each(struct graph *g, const struct layout *l, struct g_tensor *x, struct g_tensor *y)
{
    if (!x || !y)
        return NULL;
    struct shape flat = x->shape;
    x = g_add(g, g_reshape(g, x, SHAPE3(l->batch, flat.d[0] / l->batch, l->H)), y);
    return g_reshape(g, x, flat);
}

/* Positions [M * N, H]: (1 - tanh gate) of those on a tile, tanh gate of those on the grid. */
static struct g_tensor *positions(struct graph *g, const struct nn_stack *s, const struct layout *l, int ratio)
{
    struct g_tensor *tile = g_reshape(g, g_param(g, s->w[NN_pos_w]), SHAPE2(l->N, l->H));
    tile = g_add(g, tile, g_scale(g, nn_gate(g, tile, s->w[NN_pos_gate_w]), -1));
    struct g_tensor *grid = nn_gate(g, of_grid(g, l, s->w[NN_tile_pos_w], ratio), s->w[NN_pos_gate_w]);
    return g_add(g, grid, g_repeat_rows(g, tile, l->M));
}

/* A class token in front of the n patches of each tile. */
static struct g_tensor *with_class(struct graph *g, const struct nn_stack *s, const struct layout *l, struct g_tensor *x, int n)
{
    int64_t tiles = (int64_t)l->batch * l->M;
    struct g_tensor *one = g_repeat_rows(g, g_reshape(g, g_param(g, s->w[NN_class_w]), SHAPE2(1, l->H)), tiles);
    struct g_tensor *parts[] = {g_reshape(g, one, SHAPE3(tiles, 1, l->H)), g_reshape(g, x, SHAPE3(tiles, n, l->H))};
    return g_reshape(g, g_concat(g, 1, 2, parts), SHAPE2(tiles * (n + 1), l->H));
}

/* pixels to rows before the first block. */
static struct g_tensor *enter(struct graph *g, const struct nn_stack *s, const struct layout *l, const struct nn_pictures *in)
{
    int n = l->N - 1;
    struct g_tensor *x = nn_linear(g, s->w[NN_patch_w], s->w[NN_patch_b], g_unfold(g, in->pixels, s->facts.patch), NULL, ACT_NONE);
    x = padded(g, l, x, l->tiles * n, (l->M - l->tiles) * n); /* a picture of zeros gives zeros: there is no bias */
    struct g_tensor *which = nn_gate(g, of_grid(g, l, s->w[NN_tile_pre_w], in->ratio), s->w[NN_tile_pre_gate_w]);
    x = add_to_each(g, l, x, by_tile(g, l, which, n, 0));
    x = add_to_each(g, l, with_class(g, s, l, x, n), positions(g, s, l, in->ratio));
    x = g_layer_norm(g, x, g_param(g, s->w[NN_pre_norm_w]), g_param(g, s->w[NN_pre_norm_b]), OUTER_EPS);
    return padded(g, l, x, l->M * l->N, l->M * l->pad);
}

/* Real rows see all, padding sees the real ones. */
static struct nn_seq sequence(struct graph *g, const struct layout *l)
{
    int all = all_rows(l), real = l->tiles * l->N;
    struct nn_seq seq = nn_seq_full(g, l->batch, all);
    for (int i = 0; !g->error && i < l->batch * all; i++)
        if (i % all >= real)
            g_i32(seq.spans)[2 * i + 1] = real;
    return seq;
}

/* The rows of tiles, [batch * M * N, H]. */
static struct g_tensor *without_padding(struct graph *g, const struct layout *l, struct g_tensor *x)
{
    x = g_slice(g, g_reshape(g, x, SHAPE3(l->batch, all_rows(l), l->H)), 1, 0, (int64_t)l->M * l->N);
    return g_reshape(g, x, SHAPE2((int64_t)l->batch * l->M * l->N, l->H));
}

/* The last states, then the early ones woven channel by channel: [rows, H * (1 + picks)]. */
static struct g_tensor *joined(struct graph *g, const struct nn_facts *f, const struct layout *l, struct g_tensor *last,
                               struct g_tensor *const *early)
{
    int64_t rows = (int64_t)l->batch * l->M * l->N;
    struct g_tensor *parts[8], *woven;
    int n = f->tiles.picks;
    for (int i = 0; i < n; i++)
        parts[i] = g_reshape(g, without_padding(g, l, early[i]), SHAPE3(rows, l->H, 1));
    last = without_padding(g, l, last);
    if (!n)
        return last;
    woven = n == 1 ? parts[0] : g_concat(g, 2, n, parts);
    struct g_tensor *both[] = {last, g_reshape(g, woven, SHAPE2(rows, (int64_t)n * l->H))};
    return g_concat(g, 1, 2, both);
}

struct g_tensor *nn_tower_tiles(struct graph *g, const struct nn_stack *s, struct nn_pictures *in)
{
    const struct nn_facts *f = &s->facts;
    struct layout l = layout_of(f, in);
    struct nn_seq seq = sequence(g, &l);
    struct g_tensor *early[8] = {0}, *x;
    in->tokens = l.M * l.N;
    if (in->tiles < 1 || in->tiles > l.M || in->ratio < 1 || in->ratio > f->tiles.ratios) {
        g->error = g->error ? g->error : err_set(NUN_EARG, "vision tower: grid %d of %d tiles, there are %d of at most %d", in->ratio,
                                                 in->tiles, f->tiles.ratios, l.M);
        return NULL;
    }
    x = enter(g, s, &l, in);
    for (int i = 0; i < f->tiles.local; i++) {
        x = nn_blocks(g, s, x, &seq, i, i + 1);
        for (int k = 0; k < f->tiles.picks; k++)
            early[k] = f->tiles.pick[k] == i ? x : early[k];
    }
    x = g_layer_norm(g, x, g_param(g, s->w[NN_post_norm_w]), g_param(g, s->w[NN_post_norm_b]), OUTER_EPS);
    struct g_tensor *which = nn_gate(g, of_grid(g, &l, s->w[NN_tile_post_w], in->ratio), s->w[NN_tile_post_gate_w]);
    x = add_to_each(g, &l, x, by_tile(g, &l, which, l.N, l.pad));
    return joined(g, f, &l, nn_blocks(g, s, x, &seq, f->tiles.local, f->layers), early);
}
