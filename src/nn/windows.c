/* Attention in windows on a grid, moved by half a window in every other layer, and towers of stages between which
 * four neighbours become one. arXiv:2103.14030. Called through kinds.def and towers.def.
 *
 * A moved grid wraps around, and what meets at the seam must not see each other. The tokens of a window are put in the
 * order of the four parts that the seams would cut it in, so that what a token sees is one or two ranges of keys. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

/* ---- windows ------------------------------------------------------------------------------- */

struct windows {
    int batch, rows, cols;             /* tokens of a picture */
    int side, shift, down, across;     /* windows of a picture: down * across */
    int first[5];                      /* where the parts of a window begin; [4]: its tokens */
};

static int windows_of(const struct nn_env *e, int layer, struct windows *w)
{
    const struct nn_seq *seq = e->seq;
    int side = e->f->window_side, cols = seq->cols, rows = cols ? seq->tokens / cols : 0, least = rows < cols ? rows : cols;
    if (least < side)
        return err_set(NUN_EUNSUP, "vision tower: windows of %d x %d on a grid of %d x %d patches", side, side, rows, cols);
    int shift = e->f->layer[layer].shifts && least > side ? side / 2 : 0, cut = side - shift;
    *w = (struct windows){.batch = seq->batch, .rows = rows, .cols = cols, .side = side, .shift = shift,
                          .down = (rows + side - 1) / side, .across = (cols + side - 1) / side};
    w->first[1] = cut * cut;
    w->first[2] = cut * side;
    w->first[3] = w->first[2] + shift * cut;
    w->first[4] = side * side;
    return 0;
}

/* Row and column in its window of the token at `slot`. */
static void place_of(const struct windows *w, int slot, int *row, int *col)
{
    int part = 3, cut = w->side - w->shift;
    while (slot < w->first[part])
        part--;
    int width = part % 2 ? w->shift : cut, at = slot - w->first[part];
    *row = (part / 2 ? cut : 0) + at / width;
    *col = (part % 2 ? cut : 0) + at % width;
}

/* in [B * windows * slots]: the token at each slot, -1 where the grid ends before its windows; out [B * tokens]: the way back. */
static void lay_tokens(const struct windows *w, int32_t *in, int32_t *out)
{
    int slots = w->first[4], tokens = w->rows * w->cols, n = w->batch * w->down * w->across * slots;
    for (int i = 0; i < n; i++) {
        int row, col, window = i / slots % (w->down * w->across), b = i / slots / (w->down * w->across);
        place_of(w, i % slots, &row, &col);
        row = (window / w->across * w->side + row + w->shift) % (w->down * w->side);
        col = (window % w->across * w->side + col + w->shift) % (w->across * w->side);
        in[i] = row < w->rows && col < w->cols ? b * tokens + row * w->cols + col : -1;
        if (in[i] >= 0)
            out[in[i]] = i;
    }
}

/* spans [B * windows, slots, 4]: all of the window, or the parts on the same side of the seams. */
static void lay_spans(const struct windows *w, int32_t *spans)
{
    int slots = w->first[4], each = w->down * w->across;
    for (int i = 0; i < w->batch * each * slots; i++, spans += 4) {
        int window = i / slots % each, slot = i % slots, part = 3;
        bool below = w->shift && window / w->across == w->down - 1, right = w->shift && window % w->across == w->across - 1;
        while (slot < w->first[part])
            part--;
        int top = below ? part / 2 * 2 : 0, bottom = below ? top + 2 : 4; /* parts [top, bottom) */
        spans[0] = w->first[right ? top + part % 2 : top];
        spans[1] = w->first[right ? top + part % 2 + 1 : bottom];
        spans[2] = right && !below ? w->first[2 + part % 2] : 0;
        spans[3] = right && !below ? w->first[3 + part % 2] : 0;
    }
}

/* Which row of the table of places stands for key j as query i sees it. */
static void lay_places(const struct windows *w, int32_t *place)
{
    int slots = w->first[4], span = 2 * w->side - 1;
    for (int i = 0; i < slots * slots; i++) {
        int row, col, key_row, key_col;
        place_of(w, i / slots, &row, &col);
        place_of(w, i % slots, &key_row, &key_col);
        place[i] = (row - key_row + w->side - 1) * span + col - key_col + w->side - 1;
    }
}

/* near_w [places, heads] -> [1, heads, slots, slots] */
static struct g_tensor *bias_of(struct graph *g, const struct windows *w, struct g_param *near_w, int heads)
{
    int32_t *place;
    int slots = w->first[4];
    struct g_tensor *at = nn_ints(g, SHAPE1((int64_t)slots * slots), &place);
    if (!at)
        return NULL;
    lay_places(w, place);
    struct g_tensor *x = g_transpose(g, g_gather_rows(g, g_param(g, near_w), at), (const int[4]){1, 0, 2, 3});
    return g_reshape(g, x, SHAPE4(1, heads, slots, slots));
}

struct nn_keep nn_keep_windows(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){0};
}

struct g_tensor *nn_mix_windows(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    struct windows win;
    int32_t *in, *out, *spans;
    int rc = windows_of(e, layer, &win);
    if (rc < 0) {
        g->error = g->error ? g->error : rc;
        return NULL;
    }
    int64_t n = (int64_t)win.batch * win.down * win.across, slots = win.first[4];
    struct g_tensor *at = nn_ints(g, SHAPE1(n * slots), &in), *back = nn_ints(g, SHAPE1((int64_t)win.batch * e->seq->tokens), &out);
    struct g_tensor *sees = nn_ints(g, SHAPE3(n, slots, 4), &spans);
    if (!at || !back || !sees)
        return NULL;
    lay_tokens(&win, in, out);
    lay_spans(&win, spans);
    x = g_gather_rows(g, x, at);
    struct g_tensor *q = nn_linear(g, w[NN_attn_q_w], w[NN_attn_q_b], x, NULL, ACT_NONE);
    struct g_tensor *k = nn_linear(g, w[NN_attn_k_w], w[NN_attn_k_b], x, NULL, ACT_NONE);
    struct g_tensor *v = nn_linear(g, w[NN_attn_v_w], w[NN_attn_v_b], x, NULL, ACT_NONE);
    struct shape heads = SHAPE4(n, slots, f->heads, f->head_dim);
    struct g_tensor *y = g_attention_near(g, g_reshape(g, q, heads), g_reshape(g, k, heads), g_reshape(g, v, heads), sees,
                                          bias_of(g, &win, w[NN_near_w], f->heads), 1.0f / sqrtf((float)f->head_dim));
    y = g_gather_rows(g, g_reshape(g, y, SHAPE2(n * slots, f->hidden)), back);
    return nn_join(g, f, w[NN_attn_o_w], w[NN_attn_o_b], y, residual);
}

/* ---- stages -------------------------------------------------------------------------------- */

static const float PLAIN_EPS = 1e-5f; /* of norms that the config does not reach */

/* Four neighbours side by side, upper left, lower left, upper right, lower right; zeros beyond the grid. */
static struct g_tensor *merge(struct graph *g, const struct nn_stack *s, struct g_tensor *x, int batch, int *rows, int *cols)
{
    int32_t *at;
    int h = (*rows + 1) / 2, w = (*cols + 1) / 2, H = s->facts.hidden;
    struct g_tensor *from = nn_ints(g, SHAPE1(4LL * batch * h * w), &at);
    for (int i = 0; from && i < 4 * batch * h * w; i++) {
        int row = i / 4 / w % h * 2 + i % 2, col = i / 4 % w * 2 + i / 2 % 2, b = i / 4 / w / h;
        at[i] = row < *rows && col < *cols ? (b * *rows + row) * *cols + col : -1;
    }
    x = g_reshape(g, g_gather_rows(g, x, from), SHAPE2((int64_t)batch * h * w, 4LL * H));
    x = g_layer_norm(g, x, g_param(g, s->w[NN_merge_norm_w]), g_param(g, s->w[NN_merge_norm_b]), PLAIN_EPS);
    *rows = h;
    *cols = w;
    return nn_linear(g, s->w[NN_merge_w], NULL, x, NULL, ACT_NONE);
}

/* Zeros on the right (axis 3) or below (axis 2), up to whole patches. */
static struct g_tensor *padded(struct graph *g, struct g_tensor *pixels, int axis, int patch)
{
    float *zeros;
    if (!pixels || pixels->shape.d[axis] % patch == 0)
        return pixels;
    struct shape rest = pixels->shape;
    rest.d[axis] = patch - rest.d[axis] % patch;
    struct g_tensor *parts[] = {pixels, nn_const(g, rest, &zeros)};
    return g_concat(g, axis, 2, parts);
}

/* x [B * rows * cols, hidden] plus the learned positions of the whole grid. */
static struct g_tensor *with_positions(struct graph *g, const struct nn_stack *s, struct g_tensor *x, int64_t batch, int rows, int cols)
{
    const struct nn_facts *f = &s->facts;
    if (rows * cols != f->positions)
        g->error = g->error ? g->error : err_set(NUN_EARG, "vision tower: %d x %d patches, but %d positions", rows, cols, f->positions);
    struct g_tensor *table = g_reshape(g, g_param(g, s->w[NN_pos_w]), SHAPE2(f->positions, f->hidden));
    x = g_add(g, g_reshape(g, x, SHAPE3(batch, f->positions, f->hidden)), table);
    return g_reshape(g, x, SHAPE2(batch * f->positions, f->hidden));
}

struct g_tensor *nn_tower_windows(struct graph *g, const struct nn_stack *s, struct nn_pictures *in)
{
    const struct nn_facts *f = &s->facts;
    int rows = 0, cols = 0;
    struct g_tensor *pixels = padded(g, padded(g, in->pixels, 2, f->patch), 3, f->patch);
    struct nn_stack plain = *s;
    plain.w[NN_pos_w] = NULL; /* they come behind the norm */
    struct g_tensor *x = nn_patch_rows(g, &plain, pixels, &rows, &cols);
    nn_show(in, "patches", -1, -1, x);
    x = g_layer_norm(g, x, g_param(g, s->w[NN_embed_norm_w]), g_param(g, s->w[NN_embed_norm_b]), PLAIN_EPS);
    x = s->w[NN_pos_w] ? with_positions(g, s, x, in->batch, rows, cols) : x;
    nn_show(in, "embeddings", -1, -1, x);
    for (int i = 0; i < f->stages && !g->error; i++) {
        struct nn_seq seq = {.batch = in->batch, .tokens = rows * cols, .cols = cols};
        x = nn_shown_blocks(g, &s->stage[i], in, x, &seq, i);
        if (s->stage[i].facts.merges)
            x = merge(g, &s->stage[i], x, in->batch, &rows, &cols);
        nn_show(in, "merge", i, -1, x);
    }
    in->tokens = rows * cols;
    x = nn_norm(g, f, s->w[NN_post_norm_w], s->w[NN_post_norm_b], x);
    nn_show(in, "norm", -1, -1, x);
    return x;
}
