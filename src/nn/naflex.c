/* Towers over pictures of any shape: each is a sequence of patches of its own grid, padded to a common length, and
 * its positions are a small table resampled to that grid. arXiv:2502.14786. Called through towers.def. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

/* The table resampled to rows x cols, bilinear and antialiased; behind them, as far as `tokens`, its first row again. */
static struct g_tensor *positions_of(struct graph *g, const struct nn_stack *s, int rows, int cols, int tokens)
{
    const struct nn_facts *f = &s->facts;
    int side = (int)lround(sqrt(f->positions));
    union g_attr how = {.interpolate = {.gh = side, .gw = side, .h = rows, .w = cols, .antialias = true}};
    struct g_tensor *table = g_param(g, s->w[NN_pos_w]);
    struct g_tensor *x = g_op(g, OP_interpolate, &how, 1, &table);
    if (rows * cols == tokens)
        return x;
    struct g_tensor *parts[] = {x, g_repeat_rows(g, g_slice(g, x, 0, 0, 1), tokens - rows * cols)};
    return g_concat(g, 0, 2, parts);
}

static int check_grids(const struct nn_pictures *in)
{
    for (int i = 0; i < in->batch; i++) {
        const int *grid = in->grids[i];
        if (grid[0] < 1 || grid[1] < 1 || grid[0] > in->tokens / grid[1])
            return err_set(NUN_EARG, "vision tower: picture %d has %d x %d patches in a sequence of %d", i, grid[0], grid[1], in->tokens);
    }
    return 0;
}

/* Positions of all pictures [B * tokens, hidden]; of neighbours of one grid, once. */
static struct g_tensor *all_positions(struct graph *g, const struct nn_stack *s, const struct nn_pictures *in)
{
    struct g_tensor *all = NULL;
    for (int i = 0, end; i < in->batch; i = end) {
        const int *grid = in->grids[i];
        for (end = i + 1; end < in->batch && in->grids[end][0] == grid[0] && in->grids[end][1] == grid[1];)
            end++;
        struct g_tensor *x = positions_of(g, s, grid[0], grid[1], in->tokens);
        struct g_tensor *parts[] = {all, end - i > 1 ? g_repeat_rows(g, x, end - i) : x};
        all = all ? g_concat(g, 0, 2, parts) : parts[1];
    }
    return all;
}

struct g_tensor *nn_tower_naflex(struct graph *g, const struct nn_stack *s, struct nn_pictures *in)
{
    const struct nn_facts *f = &s->facts;
    if (!in->patches || !in->grids) {
        g->error = g->error ? g->error : err_set(NUN_EARG, "vision tower: expected patches and their grids, found pixels");
        return NULL;
    }
    int rc = check_grids(in);
    g->error = g->error ? g->error : rc;
    struct g_tensor *x = nn_linear(g, s->w[NN_patch_w], s->w[NN_patch_b], in->patches, NULL, ACT_NONE);
    x = g_add(g, x, g->error ? NULL : all_positions(g, s, in));
    struct nn_seq seq = {.batch = in->batch, .tokens = in->tokens, .spans = nn_picture_spans(g, in, in->tokens)};
    nn_show(in, "embeddings", -1, -1, x);
    x = nn_shown_blocks(g, s, in, x, &seq, -1);
    x = nn_norm(g, f, s->w[NN_post_norm_w], s->w[NN_post_norm_b], x);
    nn_show(in, "norm", -1, -1, x);
    return x;
}
