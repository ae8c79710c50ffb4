/* Register-only loops that show what the arithmetic units can do; one function an instruction set,
 * each with its own target, since the loops are all there is. Called by peak.c through the table. */
/* SPDX-License-Identifier: MIT */
#include <immintrin.h>
#include <stdint.h>
#include "kernels/kernels.h"

#define CHAINS(n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#define KEEP(x) __asm__ volatile("" : : "x"(x))

static __attribute__((target("avx2,fma"))) double f32_avx2(long rounds)
{
    __m256 x[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.5f);
    CHAINS(12) x[i] = _mm256_set1_ps((float)i);
    for (long r = 0; r < rounds; r++)
        CHAINS(12) x[i] = _mm256_fmadd_ps(x[i], a, b);
    CHAINS(12) KEEP(x[i]);
    return (double)rounds * 12 * 16;
}

static __attribute__((target("avx512f"))) double f32_avx512(long rounds)
{
    __m512 x[16], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.5f);
    CHAINS(16) x[i] = _mm512_set1_ps((float)i);
    for (long r = 0; r < rounds; r++)
        CHAINS(16) x[i] = _mm512_fmadd_ps(x[i], a, b);
    CHAINS(16) KEEP(_mm512_castps512_ps128(x[i]));
    return (double)rounds * 16 * 32;
}

static __attribute__((target("avx512f,avx512bf16"))) double bf16_avx512(long rounds)
{
    __m512 x[16];
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3c00), b = (__m512bh)_mm512_set1_epi16(0x3f80);
    CHAINS(16) x[i] = _mm512_set1_ps((float)i);
    for (long r = 0; r < rounds; r++)
        CHAINS(16) x[i] = _mm512_dpbf16_ps(x[i], a, b);
    CHAINS(16) KEEP(_mm512_castps512_ps128(x[i]));
    return (double)rounds * 16 * 64;
}

static __attribute__((target("avx512f,avx512vnni"))) double int8_avx512(long rounds)
{
    __m512i x[16], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1);
    CHAINS(16) x[i] = _mm512_set1_epi32(i);
    for (long r = 0; r < rounds; r++)
        CHAINS(16) x[i] = _mm512_dpbusd_epi32(x[i], a, b);
    CHAINS(16) KEEP(_mm512_castsi512_si128(x[i]));
    return (double)rounds * 16 * 128;
}

struct tile_config { uint8_t palette, start_row, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; };

static __attribute__((target("amx-tile"))) void tiles_begin(void)
{
    static const unsigned char zeros[1024];
    struct tile_config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        c.rows[t] = 16;
        c.row_bytes[t] = 64;
    }
    _tile_loadconfig(&c);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, zeros, 64);
    _tile_loadd(5, zeros, 64);
    _tile_loadd(6, zeros, 64);
    _tile_loadd(7, zeros, 64);
}

static __attribute__((target("amx-tile,amx-bf16"))) double tile_bf16(long rounds)
{
    tiles_begin();
    for (long r = 0; r < rounds; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return (double)rounds * 4 * 16 * 16 * 64;
}

static __attribute__((target("amx-tile,amx-int8"))) double tile_int8(long rounds)
{
    tiles_begin();
    for (long r = 0; r < rounds; r++) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    return (double)rounds * 4 * 16 * 16 * 128;
}

void peak_init_avx2(struct kernels *k)
{
    k->peak_f32 = f32_avx2;
}
void peak_init_avx512(struct kernels *k)
{
    k->peak_f32 = f32_avx512;
}
void peak_init_avx512bf16(struct kernels *k)
{
    k->peak_bf16 = bf16_avx512;
}
void peak_init_avx512vnni(struct kernels *k)
{
    k->peak_int8 = int8_avx512;
}
void peak_init_amxbf16(struct kernels *k)
{
    k->peak_tile_bf16 = tile_bf16;
}
void peak_init_amxint8(struct kernels *k)
{
    k->peak_tile_int8 = tile_int8;
}
