/* Frequencies of rotary positions, a function a kind. Formulas as in the papers of kinds.def; the arithmetic of the
 * plain kinds is float32 as the originals have it. Knows facts only; blocks and the runtime ask it. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "nn/nn.h"

struct made { const struct nn_rope *r; int dims; int64_t length; float *freq; };

static float pair_wave(const struct made *m, float theta, int i)
{
    return powf(theta, (float)(2 * i) / (float)m->dims);
}

static void nn_rope_none(const struct made *m)
{
    for (int i = 0; i < m->dims / 2; i++)
        m->freq[i] = 0;
}

static void nn_rope_default(const struct made *m)
{
    for (int i = 0; i < m->dims / 2; i++)
        m->freq[i] = 1.0f / pair_wave(m, m->r->theta, i);
}

static void nn_rope_linear(const struct made *m)
{
    nn_rope_default(m);
    for (int i = 0; i < m->dims / 2; i++)
        m->freq[i] /= m->r->factor;
}

static void nn_rope_dynamic(const struct made *m)
{
    double old = m->r->original_positions, length = m->length > m->r->original_positions ? (double)m->length : old;
    double grown = (double)m->r->factor * length / old - ((double)m->r->factor - 1);
    float theta = (float)((double)m->r->theta * pow(grown, (double)m->dims / (m->dims - 2)));
    for (int i = 0; i < m->dims / 2; i++)
        m->freq[i] = 1.0f / pair_wave(m, theta, i);
}

/* The pair that turns `turns` times over the original length. */
static double yarn_pair(const struct made *m, float turns)
{
    return m->dims * log(m->r->original_positions / ((double)turns * 2 * M_PI)) / (2 * log((double)m->r->theta));
}

static void nn_rope_yarn(const struct made *m)
{
    double low = yarn_pair(m, m->r->beta_fast), high = yarn_pair(m, m->r->beta_slow);
    if (m->r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, m->dims - 1);
    if (low == high)
        high += 0.001;
    for (int i = 0; i < m->dims / 2; i++) {
        float wave = pair_wave(m, m->r->theta, i);
        float stretch = fminf(fmaxf((float)((i - low) / (high - low)), 0), 1);
        m->freq[i] = stretch / (m->r->factor * wave) + (1 - stretch) / wave;
    }
}

static void nn_rope_longrope(const struct made *m)
{
    const float *by = m->length > m->r->original_positions ? m->r->long_factor : m->r->short_factor;
    for (int i = 0; i < m->dims / 2; i++)
        m->freq[i] = 1.0f / (by[i] * pair_wave(m, m->r->theta, i));
}

static void nn_rope_llama3(const struct made *m)
{
    const struct nn_rope *r = m->r;
    float old = (float)r->original_positions, low = old / r->low_freq_factor, high = old / r->high_freq_factor;
    nn_rope_default(m);
    for (int i = 0; i < m->dims / 2; i++) {
        float freq = m->freq[i], wavelength = 6.283185307179586f / freq;
        float smooth = (old / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
        if (wavelength > low)
            m->freq[i] = freq / r->factor;
        else if (wavelength >= high)
            m->freq[i] = (1.0f - smooth) * freq / r->factor + smooth * freq;
    }
}

#define MIXER(name, doc)
#define CHANNEL(name, doc)
#define ROPE(name, by_length, doc) {#name, by_length, doc},
const struct nn_rope_info nn_ropes[NN_ROPE_KINDS] = {
#include "nn/kinds.def"
};
#undef ROPE
#define ROPE(name, by_length, doc) nn_rope_##name,
static void (*const makers[])(const struct made *m) = {
#include "nn/kinds.def"
};
#undef MIXER
#undef CHANNEL
#undef ROPE

int nn_rope_dims(const struct nn_facts *f, const struct nn_rope *r)
{
    return r->dims ? r->dims : f->head_dim;
}

void nn_rope_frequencies(const struct nn_facts *f, const struct nn_rope *r, int64_t length, float *inv_freq)
{
    makers[r->kind](&(struct made){r, nn_rope_dims(f, r), length, inv_freq});
}

bool nn_rope_by_length(const struct nn_facts *f)
{
    return nn_ropes[f->rope[0].kind].by_length;
}

bool nn_rope_by_row(const struct nn_facts *f)
{
    return nn_rope_by_length(f) || f->rope[0].sections[0];
}

/* Which of the three turns pair i. */
static int direction_of(const struct nn_rope *r, int i)
{
    if (r->woven)
        return i < 3 * r->sections[i % 3] ? i % 3 : 0;
    return i < r->sections[0] ? 0 : i < r->sections[0] + r->sections[1] ? 1 : 2;
}

void nn_rope_angles(const struct nn_facts *f, const struct nn_rope *r, const float *inv_freq, const int32_t at[3], float *angles)
{
    for (int i = 0; i < nn_rope_dims(f, r) / 2; i++)
        angles[i] = inv_freq[i] * (float)at[r->sections[0] ? direction_of(r, i) : 0];
}

int64_t nn_rope_regime(const struct nn_facts *f, int64_t length)
{
    const struct nn_rope *r = &f->rope[0];
    if (!nn_rope_by_length(f) || length <= r->original_positions)
        return 0;
    return r->kind == NN_ROPE_longrope ? 1 : length;
}

int nn_reach(const struct nn_facts *f)
{
    const struct nn_rope *r = &f->rope[0];
    return r->kind == NN_ROPE_dynamic ? (int)((float)f->positions * r->factor) : f->positions;
}
