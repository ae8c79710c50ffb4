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

struct g_tensor *nn_patches(struct graph *g, const struct nn_stack *s, struct g_tensor *pixels, int *tokens)
{
    const struct nn_facts *f = &s->facts;
    if (!pixels)
        return NULL;
    int batch = (int)pixels->shape.d[0], gh = (int)pixels->shape.d[2] / f->patch, gw = (int)pixels->shape.d[3] / f->patch;
    int n = gh * gw;
    struct g_tensor *x = g_unfold(g, pixels, f->patch);
    x = nn_linear(g, s->w[NN_patch_w], s->w[NN_patch_b], x, NULL, ACT_NONE);
    if (s->w[NN_class_w]) {
        struct g_tensor *cls = g_reshape(g, g_param(g, s->w[NN_class_w]), SHAPE2(1, f->hidden));
        struct g_tensor *parts[] = {g_reshape(g, g_repeat_rows(g, cls, batch), SHAPE3(batch, 1, f->hidden)),
                                    g_reshape(g, x, SHAPE3(batch, n, f->hidden))};
        x = g_concat(g, 1, 2, parts);
        n++;
    }
    *tokens = n;
    x = g_reshape(g, x, SHAPE3(batch, n, f->hidden));
    if (f->positions != n) {
        g->error = g->error ? g->error
                            : err_set(NUN_EARG, "vision tower: %d patches and tokens, but %d positions", n, f->positions);
        return NULL;
    }
    x = g_add(g, x, g_param(g, s->w[NN_pos_w]));
    x = g_reshape(g, x, SHAPE2(batch * n, f->hidden));
    if (s->w[NN_pre_norm_w])
        x = nn_norm(g, f, s->w[NN_pre_norm_w], s->w[NN_pre_norm_b], x);
    return x;
}

struct g_tensor *nn_pool(struct graph *g, const struct nn_stack *s, struct g_tensor *x, int batch, int tokens)
{
    const struct nn_facts *f = &s->facts;
    int H = f->hidden, D = f->head_dim;
    struct g_tensor *probe = g_reshape(g, g_param(g, s->w[NN_pool_probe]), SHAPE2(1, H));
    struct g_tensor *q = nn_linear(g, s->w[NN_pool_in_w], s->w[NN_pool_in_b], probe, NULL, ACT_NONE);
    q = g_repeat_rows(g, g_slice(g, q, 1, 0, H), batch);
    struct g_tensor *kv = nn_linear(g, s->w[NN_pool_in_w], s->w[NN_pool_in_b], x, NULL, ACT_NONE);
    struct g_tensor *k = g_slice(g, kv, 1, H, 2 * H), *v = g_slice(g, kv, 1, 2 * H, 3 * H);
    struct nn_seq seq = nn_seq_full(g, batch, 1);
    if (!seq.spans || g->error)
        return NULL;
    for (int i = 0; i < batch; i++)
        g_i32(seq.spans)[2 * i + 1] = tokens;
    struct g_tensor *y = g_attention(g, g_reshape(g, q, SHAPE4(batch, 1, f->heads, D)),
                                     g_reshape(g, k, SHAPE4(batch, tokens, f->heads, D)),
                                     g_reshape(g, v, SHAPE4(batch, tokens, f->heads, D)), seq.spans,
                                     1.0f / sqrtf((float)D), 0);
    y = nn_linear(g, s->w[NN_pool_out_w], s->w[NN_pool_out_b], g_reshape(g, y, SHAPE2(batch, H)), NULL, ACT_NONE);
    struct g_tensor *h = nn_norm(g, f, s->w[NN_pool_norm_w], s->w[NN_pool_norm_b], y);
    h = nn_linear(g, s->w[NN_pool_up_w], s->w[NN_pool_up_b], h, NULL, (enum act_kind)f->act);
    return nn_linear(g, s->w[NN_pool_down_w], s->w[NN_pool_down_b], h, y, ACT_NONE);
}
