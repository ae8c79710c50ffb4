/* Transformer blocks and what lies around them, built from facts and present weights. Knows the rows of
 * kinds.def by their functions only; families and files not at all. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

const struct nn_role_info nn_roles[NN_ROLES] = {
#define ROLE(name, scope, shape, doc) {#name, #scope[0], shape, doc},
#include "nn/roles.def"
#undef ROLE
};

#define ROPE(name, by_length, doc)
#define CHANNEL(name, doc)
#define MIXER(name, doc) {#name, nn_mix_##name, nn_keep_##name, doc},
const struct nn_kind nn_mixers[NN_MIXERS] = {
#include "nn/kinds.def"
};
#undef MIXER
#undef CHANNEL
#define MIXER(name, doc)
#define CHANNEL(name, doc) {#name, nn_channel_##name, NULL, doc},
const struct nn_kind nn_channels[NN_CHANNELS] = {
#include "nn/kinds.def"
};
#undef MIXER
#undef CHANNEL
#undef ROPE

int nn_dim(const struct nn_facts *f, char letter)
{
    switch (letter) {
#define DIM(name, value, doc) case name: return value;
#include "nn/dims.def"
#undef DIM
    default: return 0;
    }
}

struct nn_keep nn_keep(const struct nn_facts *f, int layer)
{
    int mixer = f->layer[layer].mixer;
    return mixer == NN_NONE ? (struct nn_keep){0} : nn_mixers[mixer].keep(f, layer);
}

size_t nn_state_floats(const struct nn_facts *f, int layers)
{
    size_t n = 0;
    for (int i = 0; i < layers; i++)
        n += nn_keep(f, i).fixed;
    return n;
}

/* ---- small pieces -------------------------------------------------------------------------- */

struct g_tensor *nn_const(struct graph *g, struct shape shape, float **data)
{
    size_t n;
    struct g_tensor *t = g_const(g, DT_F32, shape, NULL, false);
    *data = t && shape_count(&shape, &n) >= 0 ? arena_array(&g->arena, n + 1, sizeof **data) : NULL;
    if (!*data) {
        g->error = g->error ? g->error : NUN_ENOMEM;
        return NULL;
    }
    t->data = *data;
    return t;
}

struct g_tensor *nn_ints(struct graph *g, struct shape shape, int32_t **data)
{
    float *memory; /* of the same size */
    struct g_tensor *t = nn_const(g, shape, &memory);
    *data = (int32_t *)memory;
    if (t)
        t->dt = DT_I32;
    return t;
}

struct g_tensor *nn_linear(struct graph *g, struct g_param *w, struct g_param *b, struct g_tensor *x,
                           struct g_tensor *residual, enum act_kind act)
{
    /* A trained activation needs its input kept: apart, it is not recomputed. */
    bool apart = g->training && act != ACT_NONE;
    struct g_tensor *bias = b ? g_param(g, b) : NULL;
    struct g_tensor *y = g_linear(g, x, g_param(g, w), bias, residual, apart ? ACT_NONE : act);
    return apart ? g_act(g, y, act) : y;
}

struct g_tensor *nn_join(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x,
                         struct g_tensor *residual)
{
    if (!g->training || f->dropout <= 0)
        return nn_linear(g, w, b, x, residual, ACT_NONE);
    struct g_tensor *y = g_dropout(g, nn_linear(g, w, b, x, NULL, ACT_NONE), f->dropout);
    return residual ? g_add(g, y, residual) : y;
}

/* A layer norm whose weights are w + offset (Nemotron): rms_norm has the offset itself. */
static struct g_tensor *shifted(struct graph *g, struct g_tensor *w, float offset)
{
    float *values;
    if (!w || offset == 0)
        return w;
    struct g_tensor *by = nn_const(g, w->shape, &values);
    for (int64_t i = 0; by && i < g_count(w); i++)
        values[i] = offset;
    return g_add(g, w, by);
}

struct g_tensor *nn_norm(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x)
{
    if (f->norm == NN_RMS)
        return g_rms_norm(g, x, g_param(g, w), f->norm_eps, f->norm_offset);
    struct g_tensor *weight = shifted(g, g_param(g, w), f->norm_offset);
    return g_layer_norm(g, x, weight, b ? g_param(g, b) : NULL, f->norm_eps);
}

/* A norm without weights, where the stack has such. */
static struct g_tensor *bare_norm(struct graph *g, const struct nn_facts *f, struct g_tensor *x)
{
    float *ones;
    struct g_tensor *one = nn_const(g, SHAPE1(f->hidden), &ones);
    for (int i = 0; one && i < f->hidden; i++)
        ones[i] = 1;
    return f->norm == NN_RMS ? g_rms_norm(g, x, one, f->norm_eps, 0) : g_layer_norm(g, x, one, NULL, f->norm_eps);
}

struct g_tensor *nn_gate(struct graph *g, struct g_tensor *x, struct g_param *w)
{
    return w ? g_mul(g, x, g_act(g, g_param(g, w), ACT_TANH)) : x;
}

static struct g_tensor *norm_if(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b,
                                struct g_tensor *x)
{
    return w ? nn_norm(g, f, w, b, x) : x;
}

static struct g_tensor *main_norm(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b,
                                  struct g_tensor *x)
{
    return f->bare_norms ? bare_norm(g, f, x) : norm_if(g, f, w, b, x);
}

struct g_tensor *nn_scale(struct graph *g, struct g_tensor *x, float s)
{
    return s == 0 || s == 1 ? x : g_scale(g, x, s);
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* Roles of what comes after a part: its norm, a factor of each channel, and a gate. */
struct after { enum nn_role norm_w, norm_b, scale, gate; };

/* residual + gate * scale * norm(part(x)), of tokens that lit does not leave out: one fused step where there is none of
 * these. */
static struct g_tensor *part(struct graph *g, struct nn_env *e, nn_build_fn *build, const struct after *after,
                             struct g_tensor *x, struct g_tensor *residual, struct g_tensor *lit, int layer)
{
    const struct nn_facts *f = e->f;
    struct g_param *const *w = e->s->layer[layer];
    bool plain = !w[after->norm_w] && !w[after->scale] && !w[after->gate] && !lit &&
                 (f->residual_scale == 0 || f->residual_scale == 1);
    if (plain)
        return build(g, e, w, x, residual, layer);
    struct g_tensor *y = norm_if(g, f, w[after->norm_w], w[after->norm_b], build(g, e, w, x, NULL, layer));
    if (w[after->scale])
        y = g_mul(g, y, g_param(g, w[after->scale]));
    y = nn_gate(g, y, w[after->gate]);
    y = lit ? g_gather_rows(g, y, lit) : y;
    return g_add(g, nn_scale(g, y, f->residual_scale), residual);
}

static struct g_tensor *block(struct graph *g, struct nn_env *e, struct g_tensor *x, int layer)
{
    static const struct after after1 = {NN_post1_w, NN_post1_b, NN_scale1_w, NN_gate1_w},
                              after2 = {NN_post2_w, NN_post2_b, NN_scale2_w, NN_gate2_w};
    const struct nn_facts *f = e->f;
    const struct nn_layer *l = &f->layer[layer];
    struct g_param *const *w = e->s->layer[layer];
    bool late = f->wiring == NN_POST_ADD, looks = nn_looks(f, layer);
    struct g_tensor *in = x, *h = x;
    if (looks && !e->seq->sight)
        return x;
    if (l->mixer != NN_NONE) {
        h = late ? x : main_norm(g, f, w[NN_norm1_w], w[NN_norm1_b], x);
        x = part(g, e, nn_mixers[l->mixer].build, &after1, h, x, NULL, layer);
        x = late ? nn_norm(g, f, w[NN_norm1_w], w[NN_norm1_b], x) : x;
    }
    if (l->channel == NN_NONE)
        return x;
    if (f->wiring == NN_PARALLEL)
        h = w[NN_norm2_w] ? nn_norm(g, f, w[NN_norm2_w], w[NN_norm2_b], in) : h;
    else
        h = late ? x : main_norm(g, f, w[NN_norm2_w], w[NN_norm2_b], x);
    x = part(g, e, nn_channels[l->channel].build, &after2, h, x, looks ? e->seq->sight->lit : NULL, layer);
    return late ? nn_norm(g, f, w[NN_norm2_w], w[NN_norm2_b], x) : x;
}

/* x [rows, I] * s[1] */
static struct g_tensor *times(struct graph *g, struct g_tensor *x, struct g_tensor *s)
{
    return x && s ? g_reshape(g, g_mul(g, g_reshape(g, x, SHAPE2(g_count(x), 1)), g_reshape(g, s, SHAPE1(1))), x->shape) : NULL;
}

/* xIELU (arXiv:2411.13010): p x^2 + beta x above zero, n (e^x - 1 - x) + beta x below; p = softplus(its weight), n =
 * beta + softplus(its weight). */
static struct g_tensor *xielu(struct graph *g, struct g_param *const *w, struct g_tensor *x)
{
    struct g_tensor *beta = g_reshape(g, g_param(g, w[NN_xielu_beta]), SHAPE1(1));
    struct g_tensor *p = g_act(g, g_param(g, w[NN_xielu_p]), ACT_SOFTPLUS);
    struct g_tensor *n = g_add(g, g_act(g, g_param(g, w[NN_xielu_n]), ACT_SOFTPLUS), beta);
    struct g_tensor *bent = g_add(g, times(g, g_act(g, x, ACT_RELU2), p), times(g, g_act(g, x, ACT_BEND), n));
    return g_add(g, bent, times(g, x, beta));
}

struct g_tensor *nn_channel_mlp(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    struct g_tensor *h;
    if (f->gated)
        h = g_glu(g, nn_scale(g, nn_linear(g, w[NN_gate_w], w[NN_gate_b], x, NULL, ACT_NONE), f->mlp_gate),
                  nn_linear(g, w[NN_up_w], w[NN_up_b], x, NULL, ACT_NONE), (enum act_kind)f->act);
    else if (w[NN_xielu_p])
        h = xielu(g, w, nn_linear(g, w[NN_up_w], w[NN_up_b], x, NULL, ACT_NONE));
    else
        h = nn_linear(g, w[NN_up_w], w[NN_up_b], x, NULL, (enum act_kind)f->act);
    return nn_join(g, f, w[NN_down_w], w[NN_down_b], nn_scale(g, h, f->mlp_out), residual);
}

/* The frequencies of the stack's ropes: given a row, or made for sequences of seq->tokens. */
static void rope_tables(struct graph *g, struct nn_env *e)
{
    const struct nn_facts *f = e->f;
    for (int i = 0; i < NN_ROPES; i++) {
        float *values;
        if (f->rope[i].kind == NN_ROPE_none)
            continue;
        if (e->seq->freq && i == 0) {
            e->freq[i] = e->seq->freq;
            continue;
        }
        e->freq[i] = nn_const(g, SHAPE1(nn_rope_dims(f, &f->rope[i]) / 2), &values);
        if (e->freq[i])
            nn_rope_frequencies(f, &f->rope[i], e->seq->tokens, values);
    }
}

struct g_tensor *nn_blocks(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct nn_seq *seq,
                           int from, int to)
{
    struct nn_env e = {.s = s, .f = &s->facts, .seq = seq, .input = x};
    rope_tables(g, &e);
    for (int i = from; i < to && !g->error; i++) {
        if (seq->recompute)
            g_segment_begin(g);
        x = block(g, &e, x, i);
        if (seq->recompute)
            g_segment_end(g);
        if (g->watch)
            g->watch(g->watch_arg, s, i, x);
    }
    return x;
}

/* ---- around them --------------------------------------------------------------------------- */

/* I32 zeros, one an id */
static struct g_tensor *first_type(struct graph *g, const struct g_tensor *ids)
{
    float *zeros; /* all bits zero are the integer zero too */
    struct g_tensor *t = ids ? nn_const(g, ids->shape, &zeros) : NULL;
    if (t)
        t->dt = DT_I32;
    return t;
}

struct g_tensor *nn_embed(struct graph *g, const struct nn_stack *s, struct g_tensor *ids)
{
    return nn_scale(g, g_embedding(g, g_param(g, s->w[NN_embed_w]), ids), s->facts.embed_scale);
}

struct g_tensor *nn_stand(struct graph *g, const struct nn_stack *s, struct g_tensor *x, struct g_tensor *ids, const struct nn_seq *seq)
{
    if (s->w[NN_pos_w])
        x = g_add(g, x, g_embedding(g, g_param(g, s->w[NN_pos_w]), seq->pos));
    if (s->w[NN_type_w])
        x = g_add(g, x, g_embedding(g, g_param(g, s->w[NN_type_w]), seq->types ? seq->types : first_type(g, ids)));
    return norm_if(g, &s->facts, s->w[NN_embed_norm_w], s->w[NN_embed_norm_b], x);
}

struct g_tensor *nn_tokens(struct graph *g, const struct nn_stack *s, struct g_tensor *ids, const struct nn_seq *seq)
{
    return nn_stand(g, s, nn_embed(g, s, ids), ids, seq);
}

struct g_tensor *nn_logits(struct graph *g, const struct nn_stack *s, struct g_tensor *x)
{
    const struct nn_facts *f = &s->facts;
    x = main_norm(g, f, s->w[NN_final_norm_w], s->w[NN_final_norm_b], x);
    x = nn_scale(g, nn_linear(g, s->w[NN_lm_head_w], s->w[NN_lm_head_b], x, NULL, ACT_NONE), f->logit_scale);
    if (f->logit_softcap == 0)
        return x;
    return g_scale(g, g_act(g, g_scale(g, x, 1.0f / f->logit_softcap), ACT_TANH), f->logit_softcap);
}
