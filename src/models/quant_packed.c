/* Integers packed into words: GPTQ, AWQ, compressed-tensors' pack-quantized, and MXFP4's pairs of nibbles.
 * Each reader proves its tensors' shapes against each other, then fills rows of float32. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/quant_int.h"

enum { WORD = 32 };

static uint32_t word_at(const struct st_tensor *t, int64_t i)
{
    uint32_t w;
    memcpy(&w, (const char *)t->data + 4 * i, 4);
    return w;
}

/* Value k of a stream of b-bit values, lowest bits first; word i of the stream is word i * stride of t from `at`. */
static int stream_value(const struct st_tensor *t, int64_t at, int64_t stride, int64_t k, int bits)
{
    int64_t bit = k * bits;
    int shift = (int)(bit % WORD);
    uint32_t v = word_at(t, at + bit / WORD * stride) >> shift;
    if (shift + bits > WORD)
        v |= word_at(t, at + (bit / WORD + 1) * stride) << (WORD - shift);
    return (int)(v & ((1u << bits) - 1));
}

/* Groups along the inputs, and the group of each: in order, or as `tail` (optional, I32 [columns]) says. */
static int read_groups(const struct quant_job *j, const char *tail, int64_t *groups, const int32_t **of)
{
    int64_t columns = j->shape.d[1], size = j->s->group ? j->s->group : columns;
    *groups = (columns + size - 1) / size;
    if (quant_has_part(j, tail)) {
        TRY(quant_ints(j, tail, columns, of));
        for (int64_t i = 0; i < columns; i++)
            if ((*of)[i] < 0 || (*of)[i] >= *groups)
                return quant_refuse(j, tail, "a group outside the scales");
        return 0;
    }
    int32_t *plain = arena_array(j->scratch, (size_t)columns, sizeof *plain);
    if (!plain)
        return NUN_ENOMEM;
    for (int64_t i = 0; i < columns; i++)
        plain[i] = (int32_t)(i / size);
    *of = plain;
    return 0;
}

/* ---- GPTQ: qweight [in * bits / 32, out] packs inputs, qzeros [groups, out * bits / 32] outputs ------------- */

static int gptq_size(struct quant_job *j)
{
    const struct st_tensor *q;
    TRY(quant_part(j, "qweight", DT_I32, NULL, &q));
    int64_t words = q->shape.d[0];
    if (q->shape.n != 2 || words % j->s->bits || q->shape.d[1] * j->s->bits % WORD)
        return quant_refuse(j, "qweight", "not whole words of packed values");
    j->shape = SHAPE2(q->shape.d[1], words / j->s->bits * WORD);
    return 0;
}

static int gptq_decode(struct quant_job *j)
{
    int64_t rows = j->shape.d[0], columns = j->shape.d[1], groups = 0;
    int bits = j->s->bits, most = (1 << bits) - 1;
    const struct st_tensor *q, *z;
    const float *scales;
    const int32_t *of;
    TRY(read_groups(j, "g_idx", &groups, &of));
    TRY(quant_part(j, "qweight", DT_I32, NULL, &q));
    TRY(quant_part(j, "qzeros", DT_I32, &SHAPE2(groups, rows * bits / WORD), &z));
    TRY(quant_floats(j, "scales", &SHAPE2(groups, rows), &scales));
    int16_t *zeros = arena_array(j->scratch, (size_t)(groups * rows), sizeof *zeros); /* [groups, out] */
    if (!zeros)
        return NUN_ENOMEM;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t o = 0; o < rows; o++)
            zeros[g * rows + o] = (int16_t)((stream_value(z, g * (rows * bits / WORD), 1, o, bits) + j->s->zero_shift) & most);
    for (int64_t i = 0; i < columns; i++) {
        const float *scale = scales + of[i] * rows;
        const int16_t *zero = zeros + of[i] * rows;
        for (int64_t o = 0; o < rows; o++)
            j->out[o * columns + i] = (float)(stream_value(q, o, rows, i, bits) - zero[o]) * scale[o];
    }
    return 0;
}

static const char *const gptq_parts[] = {"qweight", "qzeros", "scales", "g_idx", NULL};
const struct quant_form quant_gptq = {"qweight", gptq_parts, false, gptq_size, gptq_decode};

/* ---- AWQ (gemm): qweight [in, out / 8], qzeros [groups, out / 8]; eight outputs a word, interleaved ------- */

/* nibble i holds output order[i] of its eight */
static const int awq_order[8] = {0, 2, 4, 6, 1, 3, 5, 7};

static int awq_size(struct quant_job *j)
{
    const struct st_tensor *q;
    TRY(quant_part(j, "qweight", DT_I32, NULL, &q));
    if (q->shape.n != 2)
        return quant_refuse(j, "qweight", "not a matrix");
    j->shape = SHAPE2(q->shape.d[1] * 8, q->shape.d[0]);
    return 0;
}

static int awq_decode(struct quant_job *j)
{
    int64_t rows = j->shape.d[0], columns = j->shape.d[1], words = rows / 8, groups = 0;
    const struct st_tensor *q, *z;
    const float *scales;
    const int32_t *of;
    TRY(read_groups(j, "g_idx", &groups, &of));
    TRY(quant_part(j, "qweight", DT_I32, &SHAPE2(columns, words), &q));
    TRY(quant_part(j, "qzeros", DT_I32, &SHAPE2(groups, words), &z));
    TRY(quant_floats(j, "scales", &SHAPE2(groups, rows), &scales));
    for (int64_t i = 0; i < columns; i++)
        for (int64_t w = 0; w < words; w++) {
            uint32_t values = word_at(q, i * words + w), zeros = word_at(z, of[i] * words + w);
            for (int n = 0; n < 8; n++) {
                int64_t o = 8 * w + awq_order[n];
                int d = (int)(values >> 4 * n & 15) - (int)(zeros >> 4 * n & 15);
                j->out[o * columns + i] = (float)d * scales[of[i] * rows + o];
            }
        }
    return 0;
}

static const char *const awq_parts[] = {"qweight", "qzeros", "scales", NULL};
const struct quant_form quant_awq = {"qweight", awq_parts, false, awq_size, awq_decode};

/* ---- compressed-tensors, pack-quantized: weight_packed [out, in / per word], values + 2^(bits-1) ---------- */

static int pack_size(struct quant_job *j)
{
    const struct st_tensor *shape, *packed;
    int64_t d[2], per_word = WORD / j->s->bits;
    TRY(quant_part(j, "weight_shape", DT_I64, &SHAPE1(2), &shape));
    memcpy(d, shape->data, sizeof d);
    TRY(quant_part(j, "weight_packed", DT_I32, NULL, &packed));
    if (packed->shape.n != 2 || d[0] != packed->shape.d[0] || d[1] < 1 || (d[1] - 1) / per_word + 1 != packed->shape.d[1])
        return quant_refuse(j, "weight_shape", "does not fit weight_packed");
    j->shape = SHAPE2(d[0], d[1]);
    return 0;
}

/* Zero points as they are stored, [out, groups]: symmetric ones are 2^(bits-1). Packed along the outputs. */
static int pack_zeros(struct quant_job *j, int64_t groups, int16_t *zeros)
{
    int64_t rows = j->shape.d[0];
    int bits = j->s->bits, per_word = WORD / bits;
    const struct st_tensor *z = NULL;
    if (quant_has_part(j, "weight_zero_point"))
        TRY(quant_part(j, "weight_zero_point", DT_I32, &SHAPE2((rows + per_word - 1) / per_word, groups), &z));
    for (int64_t o = 0; o < rows; o++)
        for (int64_t g = 0; g < groups; g++)
            zeros[o * groups + g] = (int16_t)(z ? word_at(z, o / per_word * groups + g) >> o % per_word * bits & ((1u << bits) - 1)
                                                : 1u << (bits - 1));
    return 0;
}

static int pack_decode(struct quant_job *j)
{
    int64_t rows = j->shape.d[0], columns = j->shape.d[1], groups = 0;
    int bits = j->s->bits, per_word = WORD / bits;
    const struct st_tensor *q;
    const float *scales;
    const int32_t *of;
    TRY(read_groups(j, "weight_g_idx", &groups, &of));
    TRY(quant_part(j, "weight_packed", DT_I32, NULL, &q));
    TRY(quant_floats(j, "weight_scale", &SHAPE2(rows, groups), &scales));
    int16_t *zeros = arena_array(j->scratch, (size_t)(groups * rows), sizeof *zeros);
    if (!zeros)
        return NUN_ENOMEM;
    TRY(pack_zeros(j, groups, zeros));
    for (int64_t o = 0; o < rows; o++)
        for (int64_t i = 0; i < columns; i++) {
            int64_t at = o * groups + of[i];
            int v = (int)(word_at(q, o * q->shape.d[1] + i / per_word) >> i % per_word * bits & ((1u << bits) - 1));
            j->out[o * columns + i] = (float)(v - zeros[at]) * scales[at];
        }
    return 0;
}

static const char *const pack_parts[] = {"weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx", NULL};
const struct quant_form quant_ct_pack = {"weight_packed", pack_parts, false, pack_size, pack_decode};

/* ---- MXFP4 experts: blocks U8 [experts, out, in / 32, 16], scales U8 [experts, out, in / 32] ------------------ */

static int mxfp4_size(struct quant_job *j)
{
    const struct st_tensor *b;
    TRY(quant_part(j, "_blocks", DT_U8, NULL, &b));
    if (b->shape.n != 4 || b->shape.d[3] != 16)
        return quant_refuse(j, "_blocks", "not [experts, out, in / 32, 16]");
    j->shape = SHAPE3(b->shape.d[0], b->shape.d[2] * 32, b->shape.d[1]); /* [experts, in, out] */
    return 0;
}

static int mxfp4_decode(struct quant_job *j)
{
    static const float table[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    int64_t experts = j->shape.d[0], in = j->shape.d[1], out = j->shape.d[2], blocks = in / 32;
    const struct st_tensor *b, *s;
    TRY(quant_part(j, "_blocks", DT_U8, NULL, &b));
    TRY(quant_part(j, "_scales", DT_U8, &SHAPE3(experts, out, blocks), &s));
    for (int64_t e = 0; e < experts; e++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t k = 0; k < blocks; k++) {
                int64_t at = (e * out + o) * blocks + k;
                const uint8_t *pair = (const uint8_t *)b->data + 16 * at;
                float scale;
                TRY(dtype_to_f32(DT_F8_E8M0, (const uint8_t *)s->data + at, &scale, 1));
                for (int i = 0; i < 32; i++) {
                    int nibble = pair[i / 2] >> 4 * (i % 2) & 15;
                    float v = table[nibble & 7] * scale;
                    j->out[(e * in + 32 * k + i) * out + o] = nibble & 8 ? -v : v;
                }
            }
    return 0;
}

static const char *const mxfp4_parts[] = {"_blocks", "_scales", NULL};
const struct quant_form quant_mxfp4 = {"_blocks", mxfp4_parts, true, mxfp4_size, mxfp4_decode};
