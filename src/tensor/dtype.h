/* Number formats: one row each in dtype.def, with exact conversion from and to float32. Block formats
 * (values per block > 1) are rows like any other. Every room above base uses this table; it knows
 * nothing of files or kernels. */
/* SPDX-License-Identifier: MIT */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/span.h"

enum dtype {
#define DTYPE(name, gguf, block_values, block_bytes, st, doc) DT_##name,
#include "tensor/dtype.def"
#undef DTYPE
    DT_COUNT
};

/* n values, a whole number of blocks. src and dst need no alignment on the packed side. */
typedef void dtype_decode_fn(const void *src, float *dst, size_t n);
typedef void dtype_encode_fn(const float *src, void *dst, size_t n);

struct dtype_info {
    const char *name;         /* "BF16" */
    const char *st_name;      /* in safetensors headers; "" when that format has no such type */
    int gguf_id;              /* in GGUF tensor tables; -1 when that format has no such type */
    size_t block_values, block_bytes;
    const char *doc;
    dtype_decode_fn *decode;
    dtype_encode_fn *encode;  /* NULL when only reading is supported */
};

extern const struct dtype_info dtype_table[DT_COUNT];

const char *dtype_name(enum dtype dt); /* "?" when out of range */
/* A name in any case: the table's ("bf16"), or PyTorch's ("bfloat16", "torch.bfloat16"). */
int dtype_parse(struct span name, enum dtype *out);
/* The name as safetensors spells it, case and all. */
int dtype_parse_st(struct span name, enum dtype *out);
int dtype_from_gguf(uint32_t id, enum dtype *out);

/* Bytes of `count` values. NUN_EFORMAT when they do not fill whole blocks, NUN_ELIMIT on overflow. */
int dtype_bytes(enum dtype dt, size_t count, size_t *bytes);

/* Exact: every value of a 1-value format up to 32 bits but I32 and U32 has one float32; the rest are
 * rounded to nearest, ties to even. NUN_EARG when n is not a whole number of blocks. */
int dtype_to_f32(enum dtype dt, const void *src, float *dst, size_t n);
/* To nearest, ties to even. Too large: F16, BF16 and F8_E5M2 give infinity, F8_E4M3 gives NaN, as
 * PyTorch does; integers saturate, NaN becomes 0; F8_E8M0 saturates at 2^-127 and 2^127.
 * NUN_EUNSUP for a format that is only read. */
int dtype_from_f32(enum dtype dt, const float *src, void *dst, size_t n);

static inline uint32_t dtype_f32_bits(float x)
{
    uint32_t u;
    __builtin_memcpy(&u, &x, 4);
    return u;
}

static inline float dtype_bits_f32(uint32_t u)
{
    float x;
    __builtin_memcpy(&x, &u, 4);
    return x;
}

static inline float dtype_bf16_to_f32(uint16_t h) { return dtype_bits_f32((uint32_t)h << 16); }

static inline uint16_t dtype_f32_to_bf16(float x)
{
    uint32_t u = dtype_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40); /* a NaN stays one, made quiet */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

float dtype_f16_to_f32(uint16_t h);
uint16_t dtype_f32_to_f16(float x);

#endif
