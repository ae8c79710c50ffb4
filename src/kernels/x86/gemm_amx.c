/* Matrix products in bf16 on AMX tiles. Up to 32 rows by 32 columns in four accumulators, or up to 16
 * rows by 64 columns. Compiled twice: with the intrinsics, and with AMX_EMULATED against their plain-C
 * twin, on which it is tested everywhere. Tile numbers must be constants, hence the macros. */
/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>
#include "kernels/kernels.h"
#include "kernels/x86/gemm_amx.h"
#include "kernels/x86/gemm_x86.h"

#ifdef AMX_EMULATED
#include "kernels/x86/amx_emulation.h"
#else
#include <immintrin.h>
#define tile_config(c) _tile_loadconfig(c)
#define tile_release() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, p, stride) _tile_loadd(t, p, stride)
#define tile_store(t, p, stride) _tile_stored(t, p, stride)
#define tile_dot_bf16(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

/* Tiles 0-3 accumulate, 4 and 5 hold A (or 4 A, 5 B), 6 and 7 hold B. */
enum { STEP_BYTES = 1024, ROW = 64 };

struct config { uint8_t palette, start_row, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; };

/* acc: rows of the four accumulators, in twos; b: the tile of A's second rows, or of B. */
static void configure(int upper, int lower, int fifth)
{
    const int rows[8] = {upper, upper, lower, lower, upper, fifth, 16, 16};
    struct config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        c.rows[t] = (uint8_t)rows[t];
        c.row_bytes[t] = ROW;
    }
    tile_config(&c);
}

/* The last panel step may have fewer than 16 pairs: padded with zeros in `pad`. */
static const char *panel_step(const char *panel, int step, int steps, int pairs, char *pad)
{
    int whole = AMX_STEP_K / 2, tail = pairs - step * whole;
    const char *at = panel + (size_t)step * STEP_BYTES;
    if (step + 1 < steps || tail == whole)
        return at;
    memset(pad, 0, STEP_BYTES);
    memcpy(pad, at, (size_t)tail * ROW);
    return pad;
}

#define START(c, row, panel)                                                                            \
    do {                                                                                                \
        if (t->in)                                                                                      \
            tile_load(c, t->in + (row) * t->ld_in + (panel) * GEMM_PANEL, t->ld_in * (ptrdiff_t)sizeof(float)); \
        else                                                                                            \
            tile_zero(c);                                                                               \
    } while (0)
#define FINISH(c, row, panel) \
    tile_store(c, out + (row) * ld + (panel) * GEMM_PANEL, ld * (ptrdiff_t)sizeof(float))

/* 17 to 32 rows by one or two panels. */
static void tall(const struct gemm_tile *t, float *out, ptrdiff_t ld)
{
    int pairs = (t->k + 1) / 2, steps = (t->k + AMX_STEP_K - 1) / AMX_STEP_K;
    const char *a = t->a, *b = t->b;
    _Alignas(64) char pad[2][STEP_BYTES];
    bool two = t->panels > 1;
    configure(16, t->m - 16, t->m - 16);
    START(0, 0, 0);
    START(2, 16, 0);
    if (two) {
        START(1, 0, 1);
        START(3, 16, 1);
    }
    for (int s = 0; s < steps; s++) {
        tile_load(4, a + s * ROW, AMX_STRIP_STRIDE);
        tile_load(5, a + 16 * AMX_STRIP_STRIDE + s * ROW, AMX_STRIP_STRIDE);
        tile_load(6, panel_step(b, s, steps, pairs, pad[0]), ROW);
        tile_dot_bf16(0, 4, 6);
        tile_dot_bf16(2, 5, 6);
        if (!two)
            continue;
        tile_load(7, panel_step(b + t->panel_bytes, s, steps, pairs, pad[1]), ROW);
        tile_dot_bf16(1, 4, 7);
        tile_dot_bf16(3, 5, 7);
    }
    FINISH(0, 0, 0);
    FINISH(2, 16, 0);
    if (two) {
        FINISH(1, 0, 1);
        FINISH(3, 16, 1);
    }
    tile_release();
}

/* Up to 16 rows by one, two or four panels: three tiles of B in turn. */
static void flat(const struct gemm_tile *t, float *out, ptrdiff_t ld)
{
    int pairs = (t->k + 1) / 2, steps = (t->k + AMX_STEP_K - 1) / AMX_STEP_K;
    const char *b = t->b;
    _Alignas(64) char pad[4][STEP_BYTES];
    configure(t->m, t->m, 16);
    START(0, 0, 0);
    if (t->panels > 1)
        START(1, 0, 1);
    if (t->panels > 2) {
        START(2, 0, 2);
        START(3, 0, 3);
    }
    for (int s = 0; s < steps; s++) {
        tile_load(4, (const char *)t->a + s * ROW, AMX_STRIP_STRIDE);
        tile_load(5, panel_step(b, s, steps, pairs, pad[0]), ROW);
        tile_dot_bf16(0, 4, 5);
        if (t->panels < 2)
            continue;
        tile_load(6, panel_step(b + t->panel_bytes, s, steps, pairs, pad[1]), ROW);
        tile_dot_bf16(1, 4, 6);
        if (t->panels < 4)
            continue;
        tile_load(7, panel_step(b + 2 * t->panel_bytes, s, steps, pairs, pad[2]), ROW);
        tile_dot_bf16(2, 4, 7);
        tile_load(5, panel_step(b + 3 * t->panel_bytes, s, steps, pairs, pad[3]), ROW);
        tile_dot_bf16(3, 4, 5);
    }
    FINISH(0, 0, 0);
    if (t->panels > 1)
        FINISH(1, 0, 1);
    if (t->panels > 2) {
        FINISH(2, 0, 2);
        FINISH(3, 0, 3);
    }
    tile_release();
}

/* Whole panels. bias and residual are added on the way from a buffer: residual may be `out`. */
static void whole(const struct gemm_tile *t)
{
    _Alignas(64) float buffer[64 * GEMM_PANEL];
    bool finish = t->bias || t->residual;
    float *out = finish ? buffer : t->out;
    ptrdiff_t ld = finish ? t->n : t->ld_out;
    (t->m > 16 ? tall : flat)(t, out, ld);
    if (!finish)
        return;
    for (int r = 0; r < t->m; r++)
        for (int n = 0; n < t->n; n++) {
            float x = out[r * ld + n];
            x = t->bias ? x + t->bias[n] : x;
            x = t->residual ? x + t->residual[r * t->ld_residual + n] : x;
            t->out[r * t->ld_out + n] = x;
        }
}

static void tile(const struct gemm_tile *t)
{
    gemm_whole_panels(t, whole);
}

static int tile_panels(int m, bool k_major, int left)
{
    int most = m > 16 ? 2 : 4;
    return left >= most ? most : left >= 2 ? 2 : 1;
}

#ifdef AMX_EMULATED
_Atomic unsigned amx_faults;

static void pack_a(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    int padded = (k + AMX_STEP_K - 1) / AMX_STEP_K * AMX_STEP_K;
    for (int r = 0; r < m; r++) {
        uint16_t *row = (uint16_t *)((char *)strip + r * AMX_STRIP_STRIDE);
        for (int i = 0; i < padded; i++)
            row[i] = i < k ? bf16_round(transposed ? A[i * lda + r] : A[r * lda + i]) : 0;
    }
}

const struct gemm_micro gemm_amx_emulated = {
    .name = "gemm_bf16_amx_emulated", .rows = AMX_STRIP_ROWS, .kc = AMX_KC, .pack_a = pack_a,
    .tile_panels = tile_panels, .tile = tile};
#else
static const struct gemm_micro micro_bf16 = {
    .name = "gemm_bf16_amx", .rows = AMX_STRIP_ROWS, .kc = AMX_KC, .pack_a = gemm_amx_pack_a,
    .tile_panels = tile_panels, .tile = tile, .pack_b = gemm_amx_pack_b};

void gemm_init_amx(struct kernels *k)
{
    k->gemm[GEMM_BF16] = &micro_bf16;
}
#endif
