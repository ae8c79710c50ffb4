/* Qwen's way of seeing: pictures and videos at their own size through a tower of native sizes, a feature for every
 * group of patches, tokens that turn by time, row and column. arXiv:2409.12191; features of inner layers
 * arXiv:2511.21631. */
/* SPDX-License-Identifier: MIT */
#include "models/sight.h"

#include "base/err.h"
#include "nn/native.h"

/* 0 where processor and tower do not agree on patches. */
static int qwen_features(const struct model *m, const struct preprocess_plan *p)
{
    const struct nn_facts *f = &m->vision.facts;
    int steps = (p->frames + f->frames - 1) / f->frames;
    bool fits = p->patch_rows > 0 && p->patch_rows * f->patch == p->tile_height && p->patch_columns * f->patch == p->tile_width &&
                p->patch_rows % f->merge == 0 && p->patch_columns % f->merge == 0 && p->steps == steps;
    return fits ? nn_native_features(f, p->steps, p->patch_rows, p->patch_columns) : 0;
}

static struct g_tensor *out_of(struct graph *g, const struct nn_native *t, struct g_tensor *x)
{
    struct g_param *const *w = t->s->w;
    return nn_native_join(g, t, x, &(struct nn_native_out){w[NN_feature_norm_w], w[NN_feature_norm_b], w[NN_feature_1_w],
                                                            w[NN_feature_1_b], w[NN_feature_2_w], w[NN_feature_2_b]});
}

static struct g_tensor *deep_out_of(struct graph *g, const struct nn_native *t, struct g_tensor *x, int layer)
{
    struct g_param *const *w = t->s->layer[layer];
    return nn_native_join(g, t, x, &(struct nn_native_out){w[NN_deep_norm_w], w[NN_deep_norm_b], w[NN_deep_1_w], w[NN_deep_1_b],
                                                            w[NN_deep_2_w], w[NN_deep_2_b]});
}

static struct g_tensor *qwen_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    const struct nn_facts *f = &m->vision.facts;
    struct nn_native t = nn_native_begin(g, &m->vision, n * p->steps, p->patch_rows, p->patch_columns);
    struct g_tensor *x = nn_native_patches(g, &t, pixels, p->frames), *parts[G_MAX_IN] = {0};
    int done = 0;
    for (int i = 0; i < f->layers; i++) {
        if (!f->layer[i].deep)
            continue;
        x = nn_native_blocks(g, &t, x, done, i + 1);
        parts[1 + f->layer[i].turn] = deep_out_of(g, &t, x, i);
        done = i + 1;
    }
    parts[0] = out_of(g, &t, nn_native_blocks(g, &t, x, done, f->layers));
    return nn_native_reading(g, &t, f->deep ? g_concat(g, 1, 1 + f->deep, parts) : parts[0]);
}

/* ---- places -------------------------------------------------------------------------------- */

/* As the original has it: float32, the product cut. */
static int32_t time_of(const struct nn_facts *f, int step, double seconds)
{
    if (f->places_per_second == 0)
        return step;
    float each = seconds > 0 ? (float)(seconds * f->frames) : 0;
    return (int32_t)((float)step * each * f->places_per_second);
}

static void lay_places(const struct model *m, const struct preprocess_plan *p, double seconds, bool apart, int32_t (*at)[3])
{
    const struct nn_facts *f = &m->vision.facts;
    int down = p->patch_rows / f->merge, across = p->patch_columns / f->merge;
    for (int i = 0; i < p->steps * down * across; i++) {
        at[i][0] = apart ? 0 : time_of(f, i / (down * across), seconds);
        at[i][1] = i / across % down;
        at[i][2] = i % across;
    }
}

static int qwen_places(const struct model *m, const struct preprocess_plan *p, double seconds, int32_t (*at)[3])
{
    lay_places(m, p, seconds, false, at);
    return 0;
}

const struct sight_row sight_qwen = {
    "qwen", "native size, groups of patches, tokens turn by time, row and column", qwen_features, qwen_build, .places = qwen_places};

/* ---- steps apart, each behind its time ----------------------------------------------------- */

#define STEP_BEGIN "<|vision_start|>"
#define STEP_END "<|vision_end|>"

static int qwen3_places(const struct model *m, const struct preprocess_plan *p, double seconds, int32_t (*at)[3])
{
    lay_places(m, p, seconds, true, at);
    return 0;
}

/* The mean time of the first and the last frame of a step, as the original writes it. */
static double step_time(const struct sight_text *t, int step)
{
    int frames = t->m->vision.facts.frames, first = step * frames, last = first + frames - 1;
    double fps = 1 / t->seconds;
    last = last < t->plan->frames ? last : t->plan->frames - 1;
    return (first / fps + last / fps) / 2;
}

static int qwen3_spell(const struct sight_text *t, struct buf *out)
{
    int steps = t->seconds > 0 ? t->plan->steps : 1;
    for (int step = 0; step < steps; step++) {
        if (t->seconds > 0)
            buf_printf(out, "<%.1f seconds>" STEP_BEGIN, step_time(t, step));
        for (int i = 0; i < t->features / steps; i++)
            buf_span(out, t->token);
        if (t->seconds > 0)
            buf_str(out, STEP_END);
    }
    return buf_error(out);
}

const struct sight_row sight_qwen3 = {
    "qwen3", "the same, a video's steps apart, each behind its time", qwen_features, qwen_build,
    .video_mark = STEP_BEGIN "<|video_pad|>" STEP_END, .spell = qwen3_spell, .places = qwen3_places};
