/* Masked autoencoders: the tower sees some patches, a small stack behind it tells the pixels of the others.
 * arXiv:2111.06377. For reference numbers now, for training by whoever draws the noise. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/model.h"

int model_patches(const struct model *m)
{
    return m->vision.facts.positions - (m->vision.w[NN_class_w] != NULL);
}

int model_kept(const struct model *m)
{
    return (int)((double)model_patches(m) * (1 - m->facts.mask_ratio));
}

/* Each patch's place in the order of noise; equals by index. */
static int place_of(const float *noise, int n, int at)
{
    int place = 0;
    for (int i = 0; i < n; i++)
        place += noise[i] < noise[at] || (noise[i] == noise[at] && i < at);
    return place;
}

int model_mask(const struct model *m, const float *noise, int batch, int32_t *keep, int32_t *back, float *hidden,
               int32_t *restore)
{
    int T = model_patches(m), K = model_kept(m);
    if (K < 1 || K >= T)
        return err_set(NUN_EARG, "mask_ratio %g leaves %d of %d patches to be seen", m->facts.mask_ratio, K, T);
    for (int b = 0; b < batch; b++) {
        *back++ = b * (1 + K);
        for (int i = 0; i < T; i++) {
            int place = place_of(noise + (size_t)b * (size_t)T, T, i);
            bool seen = place < K;
            if (seen)
                keep[b * K + place] = b * T + i;
            *back++ = seen ? b * (1 + K) + 1 + place : batch * (1 + K);
            hidden[b * T + i] = !seen;
            if (restore)
                restore[b * T + i] = place;
        }
    }
    return 0;
}

/* Patches of pixels with the channels of each pixel side by side: [B*T, P*P*C]; each normalised where the facts say so. */
static struct g_tensor *targets(struct graph *g, const struct model *m, struct g_tensor *pixels)
{
    static const double eps = 1e-6;
    const struct nn_facts *f = &m->vision.facts;
    int D = f->channels * f->patch * f->patch;
    struct g_tensor *x = g_unfold(g, pixels, f->patch);
    int64_t rows = x ? x->shape.d[0] : 0;
    x = g_transpose(g, g_reshape(g, x, SHAPE3(rows, f->channels, D / f->channels)), (const int[4]){0, 2, 1, 3});
    x = g_reshape(g, x, SHAPE2(rows, D));
    if (!m->facts.norm_pixels)
        return x;
    /* the variance is that of a sample, D - 1 in its divisor: a factor of the weights and of epsilon */
    float *ones;
    double share = (D - 1) / (double)D;
    struct g_tensor *weight = nn_const(g, SHAPE1(D), &ones);
    for (int i = 0; weight && i < D; i++)
        ones[i] = (float)sqrt(share);
    return g_layer_norm(g, x, weight, NULL, (float)(eps * share));
}

/* The small stack: what was seen in its places, the mask token in all others. */
static struct g_tensor *tell(struct graph *g, const struct nn_stack *s, struct g_tensor *states, const struct model_masks *masks,
                             int batch, int T)
{
    const struct nn_facts *f = &s->facts;
    struct g_tensor *x = nn_linear(g, s->w[NN_enter_w], s->w[NN_enter_b], states, NULL, ACT_NONE);
    struct g_tensor *parts[] = {x, g_reshape(g, g_param(g, s->w[NN_mask_token_w]), SHAPE2(1, f->hidden))};
    x = g_gather_rows(g, g_concat(g, 0, 2, parts), masks->back);
    x = g_add(g, g_reshape(g, x, SHAPE3(batch, 1 + T, f->hidden)),
              g_reshape(g, g_param(g, s->w[NN_pos_w]), SHAPE2(1 + T, f->hidden)));
    struct nn_seq seq = nn_seq_full(g, batch, 1 + T);
    x = nn_blocks(g, s, g_reshape(g, x, SHAPE2((int64_t)batch * (1 + T), f->hidden)), &seq, 0, f->layers);
    x = nn_norm(g, f, s->w[NN_post_norm_w], s->w[NN_post_norm_b], x);
    x = nn_linear(g, s->w[NN_pixels_w], s->w[NN_pixels_b], x, NULL, ACT_NONE);
    if (!x)
        return NULL;
    int64_t D = g_last(x);
    x = g_slice(g, g_reshape(g, x, SHAPE3(batch, 1 + T, D)), 1, 1, 1 + T);
    return g_reshape(g, x, SHAPE2((int64_t)batch * T, D));
}

int model_masked(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct model_masks *masks,
                 struct model_masked *out)
{
    const struct nn_stack *v = &m->vision;
    int gh = 0, gw = 0, K = masks->kept, batch = pixels ? (int)pixels->shape.d[0] : 0;
    struct g_tensor *x = g_gather_rows(g, nn_patch_rows(g, v, pixels, &gh, &gw), masks->keep);
    x = nn_first_rows(g, v, x, batch, K);
    struct nn_seq seq = nn_seq_full(g, batch, 1 + K);
    x = nn_blocks(g, v, x, &seq, 0, v->facts.layers);
    out->states = nn_norm(g, &v->facts, v->w[NN_post_norm_w], v->w[NN_post_norm_b], x);
    out->told = tell(g, &m->more[0], out->states, masks, batch, gh * gw);
    out->loss = g_square_loss(g, out->told, targets(g, m, pixels), masks->hidden);
    return graph_error(g);
}
