/* The table of number formats and the scalar conversions of its one-value rows. Small floats share
 * one pair of inline functions, parameterised by their bit widths. Called by every loader and writer;
 * the fast kernels have their own copies and are tested against these. */
/* SPDX-License-Identifier: MIT */
#include "tensor/dtype.h"
#include <math.h>
#include <strings.h>
#include "base/ck.h"
#include "base/err.h"
#include "tensor/enc.h"
#include "tensor/quant.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- small floats ------------------------------------------------------------------------- */

/* A float of `e` exponent and `m` fraction bits, e + m + 1 = 8 or 16, as float32. `ieee`: the top
 * exponent holds infinity and NaN; otherwise only the all-ones pattern is NaN. */
INLINE float small_decode(uint32_t h, int e, int m, bool ieee)
{
    uint32_t sign = h >> (e + m) << 31, body = h & ((1u << (e + m)) - 1);
    uint32_t exponent = body >> m, top = (1u << e) - 1, bias = top >> 1;
    uint32_t normal = (body << (23 - m)) + ((127 - bias) << 23);
    /* body * 2^(1 - bias - m): an exact product that meets no float32 subnormal */
    uint32_t subnormal = dtype_f32_bits((float)(int32_t)body * dtype_bits_f32((128 - bias - (uint32_t)m) << 23));
    uint32_t r = exponent ? normal : subnormal;
    if (ieee && exponent == top)
        r = 0x7f800000u | body << (23 - m) | ((body & ((1u << m) - 1)) ? 0x400000u : 0);
    if (!ieee && body == (1u << (e + m)) - 1)
        r = 0x7fc00000u;
    return dtype_bits_f32(r | sign);
}

/* v / 2^shift to nearest, ties to even; 0 < shift < 32. */
INLINE uint32_t shift_even(uint32_t v, int shift)
{
    uint32_t half = 1u << (shift - 1);
    return (v + half - 1 + (v >> shift & 1)) >> shift;
}

INLINE uint32_t small_encode(float x, int e, int m, bool ieee)
{
    uint32_t bits = dtype_f32_bits(x), sign = bits >> 31 << (e + m), body = bits & 0x7fffffffu;
    uint32_t ones = (1u << (e + m)) - 1, infinity = ones >> m << m;
    uint32_t over = ieee ? infinity : ones;
    int lift = 127 - ((1 << (e - 1)) - 1); /* difference of the biases */
    if (body > 0x7f800000u)
        return sign | (ieee ? infinity | 1u << (m - 1) | (body & 0x7fffffu) >> (23 - m) : ones);
    int exponent = (int)(body >> 23) - lift;
    uint32_t q;
    if (exponent > 0) {
        q = shift_even(body - ((uint32_t)lift << 23), 23 - m);
    } else {
        int shift = 24 - m - exponent;
        q = shift > 25 ? 0 : shift_even((body & 0x7fffffu) | 0x800000u, shift);
    }
    return sign | (q > over ? over : q);
}

#define SMALL(name, type, e, m, ieee)                                          \
    static void decode_##name(const void *src, float *dst, size_t n)           \
    {                                                                          \
        const unsigned char *p = src;                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            type v;                                                            \
            memcpy(&v, p + i * sizeof v, sizeof v);                            \
            dst[i] = small_decode(v, e, m, ieee);                              \
        }                                                                      \
    }                                                                          \
    static void encode_##name(const float *src, void *dst, size_t n)           \
    {                                                                          \
        unsigned char *p = dst;                                                \
        for (size_t i = 0; i < n; i++) {                                       \
            type v = (type)small_encode(src[i], e, m, ieee);                   \
            memcpy(p + i * sizeof v, &v, sizeof v);                            \
        }                                                                      \
    }
SMALL(F16, uint16_t, 5, 10, true)
SMALL(F8_E5M2, uint8_t, 5, 2, true)
SMALL(F8_E4M3, uint8_t, 4, 3, false)

float dtype_f16_to_f32(uint16_t h) { return small_decode(h, 5, 10, true); }
uint16_t dtype_f32_to_f16(float x) { return (uint16_t)small_encode(x, 5, 10, true); }

/* A bare exponent: 2^(b - 127), 255 is NaN. 2^-127 is a subnormal float32. */
static float e8m0_decode(uint8_t b)
{
    return dtype_bits_f32(b == 255 ? 0x7fc00000u : b == 0 ? 0x00400000u : (uint32_t)b << 23);
}

/* The nearest power of two by ratio of the fraction (1.5 goes to the even exponent). */
static uint8_t e8m0_encode(float x)
{
    uint32_t body = dtype_f32_bits(x) & 0x7fffffffu;
    if (body > 0x7f800000u)
        return 255;
    uint32_t q = shift_even(body, 23);
    return (uint8_t)(q > 254 ? 254 : q);
}

/* ---- formats with a C expression each way -------------------------------------------------- */

/* To the nearest integer, clamped to [lo, hi], both exact doubles or rounded outwards. */
INLINE double clamp_even(float x, double lo, double hi)
{
    double r = isnan(x) ? 0.0 : rint((double)x);
    return r < lo ? lo : r > hi ? hi : r;
}

static int64_t to_i64(float x)
{
    double r = clamp_even(x, -0x1p63, 0x1p63);
    return r >= 0x1p63 ? INT64_MAX : (int64_t)r;
}

static uint64_t to_u64(float x)
{
    double r = clamp_even(x, 0.0, 0x1p64);
    return r >= 0x1p64 ? UINT64_MAX : (uint64_t)r;
}

#define PLAIN(name, type, to_float, from_float)                                \
    static void decode_##name(const void *src, float *dst, size_t n)           \
    {                                                                          \
        const unsigned char *p = src;                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            type v;                                                            \
            memcpy(&v, p + i * sizeof v, sizeof v);                            \
            dst[i] = (to_float);                                               \
        }                                                                      \
    }                                                                          \
    static void encode_##name(const float *src, void *dst, size_t n)           \
    {                                                                          \
        unsigned char *p = dst;                                                \
        for (size_t i = 0; i < n; i++) {                                       \
            float x = src[i];                                                  \
            type v = (type)(from_float);                                       \
            memcpy(p + i * sizeof v, &v, sizeof v);                            \
        }                                                                      \
    }
PLAIN(F32, float, v, x)
PLAIN(BF16, uint16_t, dtype_bf16_to_f32(v), dtype_f32_to_bf16(x))
PLAIN(F64, double, (float)v, x)
PLAIN(F8_E8M0, uint8_t, e8m0_decode(v), e8m0_encode(x))
PLAIN(I64, int64_t, (float)v, to_i64(x))
PLAIN(I32, int32_t, (float)v, clamp_even(x, INT32_MIN, INT32_MAX))
PLAIN(I16, int16_t, v, clamp_even(x, INT16_MIN, INT16_MAX))
PLAIN(I8, int8_t, v, clamp_even(x, INT8_MIN, INT8_MAX))
PLAIN(U64, uint64_t, (float)v, to_u64(x))
PLAIN(U32, uint32_t, (float)v, clamp_even(x, 0, UINT32_MAX))
PLAIN(U16, uint16_t, v, clamp_even(x, 0, UINT16_MAX))
PLAIN(U8, uint8_t, v, clamp_even(x, 0, UINT8_MAX))
PLAIN(BOOL, uint8_t, v != 0, x != 0.0f)

/* ---- the table ----------------------------------------------------------------------------- */

const struct dtype_info dtype_table[DT_COUNT] = {
#define DTYPE(name, gguf, block_values, block_bytes, st, doc) \
    {#name, st, gguf, block_values, block_bytes, doc, decode_##name, encode_##name},
#define DTYPE_BLOCK(name, gguf, block_values, block_bytes, st, doc) \
    {#name, st, gguf, block_values, block_bytes, doc, quant_decode_##name, NULL},
#define DTYPE_CODED(name, gguf, block_values, block_bytes, st, doc) \
    {#name, st, gguf, block_values, block_bytes, doc, quant_decode_##name, enc_##name},
#include "tensor/dtype.def"
#undef DTYPE
};

static const struct { const char *name; enum dtype dtype; } aliases[] = {
    {"float32", DT_F32}, {"float", DT_F32}, {"fp32", DT_F32},
    {"float16", DT_F16}, {"half", DT_F16}, {"fp16", DT_F16},
    {"bfloat16", DT_BF16}, {"float64", DT_F64}, {"double", DT_F64},
    {"float8_e4m3fn", DT_F8_E4M3}, {"float8_e5m2", DT_F8_E5M2}, {"float8_e8m0fnu", DT_F8_E8M0},
    {"int64", DT_I64}, {"long", DT_I64}, {"int32", DT_I32}, {"int", DT_I32}, {"int16", DT_I16},
    {"int8", DT_I8}, {"uint64", DT_U64}, {"uint32", DT_U32}, {"uint16", DT_U16}, {"uint8", DT_U8},
    {"bool", DT_BOOL},
};

const char *dtype_name(enum dtype dt)
{
    return (unsigned)dt < DT_COUNT ? dtype_table[dt].name : "?";
}

static bool same_nocase(struct span a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0;
}

static int unknown_name(struct span name)
{
    int shown = name.len > 40 ? 40 : (int)name.len;
    return err_set(NUN_EUNSUP, "dtype: no number format is called \"%.*s\"", shown, name.ptr);
}

int dtype_parse(struct span name, enum dtype *out)
{
    struct span bare = span_starts(name, SPAN("torch.")) ? span_from(name, 6) : name;
    for (int i = 0; i < DT_COUNT; i++)
        if (same_nocase(bare, dtype_table[i].name))
            return *out = (enum dtype)i, 0;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (same_nocase(bare, aliases[i].name))
            return *out = aliases[i].dtype, 0;
    return unknown_name(name);
}

int dtype_parse_st(struct span name, enum dtype *out)
{
    for (int i = 0; i < DT_COUNT; i++)
        if (name.len > 0 && span_is(name, dtype_table[i].st_name))
            return *out = (enum dtype)i, 0;
    return unknown_name(name);
}

int dtype_from_gguf(uint32_t id, enum dtype *out)
{
    for (int i = 0; i < DT_COUNT; i++)
        if (dtype_table[i].gguf_id >= 0 && (uint32_t)dtype_table[i].gguf_id == id)
            return *out = (enum dtype)i, 0;
    return err_set(NUN_EUNSUP, "dtype: no number format has the GGUF type id %u", id);
}

static int check_known(enum dtype dt)
{
    if ((unsigned)dt < DT_COUNT)
        return 0;
    return err_set(NUN_EARG, "dtype: expected 0 to %d, found %d", DT_COUNT - 1, (int)dt);
}

int dtype_bytes(enum dtype dt, size_t count, size_t *bytes)
{
    TRY(check_known(dt));
    const struct dtype_info *d = &dtype_table[dt];
    if (count % d->block_values)
        return err_set(NUN_EFORMAT, "%s: expected a multiple of %zu values, found %zu", d->name, d->block_values,
                       count);
    if (ck_mul(count / d->block_values, d->block_bytes, bytes))
        return err_set(NUN_ELIMIT, "%s: the bytes of %zu values do not fit", d->name, count);
    return 0;
}

static int check_blocks(enum dtype dt, size_t n)
{
    TRY(check_known(dt));
    if (n % dtype_table[dt].block_values == 0)
        return 0;
    return err_set(NUN_EARG, "%s: expected a multiple of %zu values, found %zu", dtype_table[dt].name,
                   dtype_table[dt].block_values, n);
}

int dtype_to_f32(enum dtype dt, const void *src, float *dst, size_t n)
{
    TRY(check_blocks(dt, n));
    dtype_table[dt].decode(src, dst, n);
    return 0;
}

int dtype_from_f32(enum dtype dt, const float *src, void *dst, size_t n)
{
    TRY(check_blocks(dt, n));
    if (!dtype_table[dt].encode)
        return err_set(NUN_EUNSUP, "%s: this format is only read, not written", dtype_table[dt].name);
    dtype_table[dt].encode(src, dst, n);
    return 0;
}
