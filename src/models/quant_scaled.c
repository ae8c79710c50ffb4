/* Values with scales beside them: 8-bit floats and integers by tensor, row or block, and bitsandbytes' maps. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/quant_int.h"

/* ---- weight F8 or I8 [out, in] times a grid of scales ---------------------------------------------------- */

static int plain_size(struct quant_job *j)
{
    const struct st_tensor *w;
    TRY(quant_part(j, "weight", DT_COUNT, NULL, &w));
    if (w->shape.n != 2 || (w->dtype != DT_F8_E4M3 && w->dtype != DT_F8_E5M2 && w->dtype != DT_I8))
        return quant_refuse(j, "weight", "not a matrix of 8-bit floats or integers");
    j->shape = w->shape;
    return 0;
}

static int64_t parts_of(int64_t n, int block)
{
    return block ? (n + block - 1) / block : 1;
}

/* Scales as a grid: one value, one a row, or one a block of the settings. */
static int read_grid(const struct quant_job *j, const char *tail, int block[2], const float **out)
{
    const struct st_tensor *t;
    int64_t rows = j->shape.d[0], columns = j->shape.d[1];
    TRY(quant_part(j, tail, DT_COUNT, NULL, &t));
    int64_t n = t->shape.n, d0 = n ? t->shape.d[0] : 1, d1 = n > 1 ? t->shape.d[1] : 1;
    bool by_block = n == 2 && d0 == parts_of(rows, j->s->block[0]) && d1 == parts_of(columns, j->s->block[1]);
    memcpy(block, j->s->block, sizeof j->s->block);
    if (!by_block && n <= 2 && d1 == 1 && (d0 == 1 || d0 == rows)) {
        block[0] = d0 == 1 ? 0 : 1;
        block[1] = 0;
    } else if (!by_block) {
        return quant_refuse(j, tail, "neither one value, one for each row, nor one for each block");
    }
    return quant_floats(j, tail, NULL, out);
}

static int scaled_decode(struct quant_job *j, const char *tail)
{
    int64_t rows = j->shape.d[0], columns = j->shape.d[1];
    const struct st_tensor *w, *z = NULL;
    const float *grid, *zeros = NULL;
    int block[2] = {0, 0};
    TRY(quant_part(j, "weight", DT_COUNT, NULL, &w));
    TRY(read_grid(j, tail, block, &grid));
    if (quant_has_part(j, "weight_zero_point")) {
        TRY(quant_part(j, tail, DT_COUNT, NULL, &z));
        TRY(quant_floats(j, "weight_zero_point", &z->shape, &zeros));
    }
    int64_t across = parts_of(columns, block[1]);
    TRY(dtype_to_f32(w->dtype, w->data, j->out, (size_t)(rows * columns)));
    for (int64_t o = 0; o < rows; o++)
        for (int64_t i = 0; i < columns; i++) {
            int64_t at = (block[0] ? o / block[0] : 0) * across + (block[1] ? i / block[1] : 0);
            float *v = &j->out[o * columns + i];
            *v = (zeros ? *v - zeros[at] : *v) * grid[at];
        }
    return 0;
}

static int scale_decode(struct quant_job *j)
{
    return scaled_decode(j, "weight_scale");
}

static int scale_inv_decode(struct quant_job *j)
{
    return scaled_decode(j, "weight_scale_inv"); /* a multiplier, whatever its name says */
}

/* Scales of activations are of a kernel that rounds those too; here they stay float32. */
static const char *const scale_parts[] = {"weight", "weight_scale", "weight_zero_point", "input_scale", NULL};
static const char *const scale_inv_parts[] = {"weight", "weight_scale_inv", "input_scale", "activation_scale", NULL};
const struct quant_form quant_scale = {"weight_scale", scale_parts, false, plain_size, scale_decode};
const struct quant_form quant_scale_inv = {"weight_scale_inv", scale_inv_parts, false, plain_size, scale_inv_decode};

/* ---- bitsandbytes, 8 bit: rows of int8 with their greatest magnitude -------------------------------------- */

static int int8_decode(struct quant_job *j)
{
    int64_t rows = j->shape.d[0], columns = j->shape.d[1];
    const struct st_tensor *w, *format;
    const float *most;
    TRY(quant_part(j, "weight", DT_I8, &j->shape, &w));
    TRY(quant_floats(j, "SCB", &SHAPE1(rows), &most));
    if (quant_has_part(j, "weight_format")) {
        TRY(quant_part(j, "weight_format", DT_U8, NULL, &format));
        if (format->bytes != 1 || *(const uint8_t *)format->data)
            return quant_refuse(j, "weight_format", "not 0, plain rows");
    }
    const int8_t *q = w->data;
    for (int64_t o = 0; o < rows; o++)
        for (int64_t i = 0; i < columns; i++)
            j->out[o * columns + i] = (float)q[o * columns + i] * most[o] / 127.0f;
    return 0;
}

static const char *const int8_parts[] = {"weight", "SCB", "weight_format", NULL};
const struct quant_form quant_bnb_int8 = {"SCB", int8_parts, false, plain_size, int8_decode};

/* ---- bitsandbytes, 4 bit: a flat run of nibbles, high one first, through a map; blocks cross row ends ----- */

/* weight.quant_state.bitsandbytes__*: a JSON text in bytes. */
struct quant_state {
    int shape[8], dims;
    int blocksize, nested_blocksize;
    float nested_offset;
    const char *type, *dtype, *nested_dtype;
};

#define STATE_INT(key, member, lo, hi) {key, JSON_KIND_INT, offsetof(struct quant_state, member), false, lo, hi, 0, NULL, NULL, 0, 0}
#define STATE_TEXT(key, member) {key, JSON_KIND_STRING, offsetof(struct quant_state, member), false, 0, 0, 0, NULL, NULL, 0, 0}
static const struct json_field state_fields[] = {
    {"shape", JSON_KIND_INTS, offsetof(struct quant_state, shape), true, 1, 1 << 30, 0, NULL, NULL,
     offsetof(struct quant_state, dims), 8},
    STATE_INT("blocksize", blocksize, 1, 1 << 20), STATE_INT("nested_blocksize", nested_blocksize, 0, 1 << 20),
    {"nested_offset", JSON_KIND_FLOAT, offsetof(struct quant_state, nested_offset), false, 0, 0, 0, NULL, NULL, 0, 0},
    STATE_TEXT("quant_type", type), STATE_TEXT("dtype", dtype), STATE_TEXT("nested_dtype", nested_dtype),
};

static int read_state(const struct quant_job *j, const char *tail, struct quant_state *s)
{
    const struct st_tensor *t;
    const struct json_unknown strict = {.strict = true};
    json_t *root;
    TRY(quant_part(j, tail, DT_U8, NULL, &t));
    TRY(json_parse_span(span_of(t->data, t->bytes), t->name, &root));
    int rc = json_read(root, t->name, "", state_fields, sizeof state_fields / sizeof state_fields[0], s, &strict);
    s->type = s->dtype = s->nested_dtype = NULL; /* strings of the tree */
    json_decref(root);
    if (rc >= 0 && (!s->blocksize || !s->dims))
        rc = quant_refuse(j, tail, "no blocksize or no shape");
    return rc;
}

static int four_size(struct quant_job *j, const char *tail)
{
    struct quant_state s = {0};
    const struct st_tensor *w;
    size_t n = 0;
    TRY(read_state(j, tail, &s));
    j->shape = (struct shape){.n = s.dims};
    for (int i = 0; i < s.dims; i++)
        j->shape.d[i] = s.shape[i];
    TRY(shape_count(&j->shape, &n));
    TRY(quant_part(j, "weight", DT_COUNT, NULL, &w));
    return w->bytes == n / 2 + n % 2 ? 0 : quant_refuse(j, "weight", "not two values a byte of the stored shape");
}

/* Scales of blocks: float32, or bytes of their own map, times greater blocks' scales, plus an offset. */
static int block_scales(const struct quant_job *j, const struct quant_state *s, int64_t blocks, const float **out)
{
    const struct st_tensor *t;
    const float *map, *most;
    TRY(quant_part(j, "weight.absmax", DT_COUNT, &SHAPE1(blocks), &t));
    if (t->dtype != DT_U8)
        return quant_floats(j, "weight.absmax", &SHAPE1(blocks), out);
    if (!s->nested_blocksize)
        return quant_refuse(j, "weight.absmax", "quantised, but the state has no nested_blocksize");
    TRY(quant_floats(j, "weight.nested_quant_map", &SHAPE1(256), &map));
    TRY(quant_floats(j, "weight.nested_absmax", &SHAPE1(parts_of(blocks, s->nested_blocksize)), &most));
    float *v = arena_array(j->scratch, (size_t)blocks, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    for (int64_t i = 0; i < blocks; i++)
        v[i] = map[((const uint8_t *)t->data)[i]] * most[i / s->nested_blocksize] + s->nested_offset;
    *out = v;
    return 0;
}

static int four_decode(struct quant_job *j, const char *tail)
{
    struct quant_state s = {0};
    const struct st_tensor *w;
    const float *map, *scales;
    size_t n = 0;
    TRY(read_state(j, tail, &s));
    TRY(shape_count(&j->shape, &n));
    TRY(quant_part(j, "weight", DT_COUNT, NULL, &w));
    TRY(quant_floats(j, "weight.quant_map", &SHAPE1(16), &map));
    TRY(block_scales(j, &s, parts_of((int64_t)n, s.blocksize), &scales));
    const uint8_t *pair = w->data;
    for (size_t i = 0; i < n; i++)
        j->out[i] = map[pair[i / 2] >> 4 * (i % 2 == 0) & 15] * scales[i / (size_t)s.blocksize];
    return 0;
}

#define FOUR_BIT(type)                                                                                             \
    static int type##_size(struct quant_job *j) { return four_size(j, "weight.quant_state.bitsandbytes__" #type); }     \
    static int type##_decode(struct quant_job *j) { return four_decode(j, "weight.quant_state.bitsandbytes__" #type); } \
    static const char *const type##_parts[] = {                                                                    \
        "weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map",          \
        "weight.quant_state.bitsandbytes__" #type, NULL};                                                          \
    const struct quant_form quant_bnb_##type = {"weight.quant_state.bitsandbytes__" #type, type##_parts, false,    \
                                                type##_size, type##_decode};
FOUR_BIT(nf4)
FOUR_BIT(fp4)
