/* Pictures at their own size, a feature a patch or a square of patches, rows ended by a token of text (Pixtral,
 * Mistral 3). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/sight.h"
#include "nn/connector.h"
#include "nn/native.h"

static int merge_of(const struct model *m)
{
    return m->facts.merge ? m->facts.merge : 1;
}

/* The grid of features; 0 where the sides do not fit. */
static void grid_of(const struct model *m, const struct preprocess_plan *p, int *rows, int *cols)
{
    const struct nn_facts *f = &m->vision.facts;
    int unit = f->patch * merge_of(m), most = f->image_size / f->patch;
    bool fits = p->tile_height % unit == 0 && p->tile_width % unit == 0 && p->tile_height / f->patch <= most && p->tile_width / f->patch <= most;
    *rows = fits ? p->tile_height / unit : 0;
    *cols = fits ? p->tile_width / unit : 0;
}

static int rows_features(const struct model *m, const struct preprocess_plan *p)
{
    int rows, cols;
    grid_of(m, p, &rows, &cols);
    return rows * cols;
}

/* x [n * h * w, C] -> [n * features, C]: squares of patches, channel by channel, through one matrix. */
static struct g_tensor *merge(struct graph *g, const struct model *m, struct g_tensor *x, int n, int h, int w)
{
    int step = m->facts.merge;
    int64_t rows = (int64_t)n * h * w / (step * step), C = m->vision.facts.hidden;
    x = g_reshape(g, nn_squares(g, x, n, h, w, step, false), SHAPE3(rows, step * step, C));
    x = g_transpose(g, x, (const int[4]){0, 2, 1});
    return nn_linear(g, m->w[NN_conn_squares_w], NULL, g_reshape(g, x, SHAPE2(rows, C * step * step)), NULL, ACT_NONE);
}

static struct g_tensor *rows_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    const struct nn_stack *v = &m->vision;
    int h = p->tile_height / v->facts.patch, w = p->tile_width / v->facts.patch, last = m->facts.feature_layers[0];
    struct nn_native t = nn_native_begin(g, v, n, h, w);
    struct g_tensor *x = nn_native_patches(g, &t, pixels, 1);
    x = nn_norm(g, &v->facts, v->w[NN_pre_norm_w], NULL, x);
    x = nn_native_blocks(g, &t, x, 0, last < 0 ? v->facts.layers + 1 + last : last);
    x = nn_native_reading(g, &t, x);
    if (m->w[NN_conn_norm_w])
        x = g_rms_norm(g, x, g_param(g, m->w[NN_conn_norm_w]), m->text.facts.norm_eps, 0);
    if (m->w[NN_conn_squares_w])
        x = merge(g, m, x, n, h, w);
    x = nn_linear(g, m->w[NN_conn_1_w], m->w[NN_conn_1_b], x, NULL, (enum act_kind)m->facts.projector_act);
    return nn_linear(g, m->w[NN_conn_2_w], m->w[NN_conn_2_b], x, NULL, ACT_NONE);
}

static int rows_spell(const struct sight_text *t, struct buf *out)
{
    int rows, cols;
    grid_of(t->m, t->plan, &rows, &cols);
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < cols; x++)
            buf_span(out, t->token);
        buf_str(out, y + 1 < rows ? "[IMG_BREAK]" : "[IMG_END]");
    }
    return buf_error(out);
}

const struct sight_row sight_rows_of_patches = {
    "rows_of_patches", "native size, every row of features ended by a token of text", rows_features, rows_build, .spell = rows_spell};
