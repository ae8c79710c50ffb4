/* The tile instructions in plain C, under the names that gemm_amx.c uses, so that the very source that
 * runs on AMX is tested on machines without it. Follows Intel's documented operation, and counts what
 * the hardware would fault on. One header, one includer: the state is per thread and per file. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_X86_AMX_EMULATION_H
#define KERNELS_X86_AMX_EMULATION_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "kernels/gemm_bf16.h"

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

struct amx_tile { int rows, row_bytes; unsigned char bytes[AMX_ROWS][AMX_ROW_BYTES]; };
static _Thread_local struct amx_tile amx_tiles[AMX_TILES];
extern _Atomic unsigned amx_faults; /* tests assert that it stays 0 */

static void amx_check(bool fine)
{
    amx_faults += !fine;
}

/* The 64-byte memory format: palette, start row, 14 reserved, 16 row sizes (16 bits), 16 row counts. */
static void tile_config(const void *config)
{
    const unsigned char *c = config;
    amx_check(c[0] == 1 && c[1] == 0);
    for (int t = 0; t < AMX_TILES; t++) {
        struct amx_tile *tile = &amx_tiles[t];
        memset(tile, 0, sizeof(*tile));
        tile->row_bytes = c[16 + t * 2] | c[17 + t * 2] << 8;
        tile->rows = c[48 + t];
        amx_check(tile->rows <= AMX_ROWS && tile->row_bytes <= AMX_ROW_BYTES && !tile->rows == !tile->row_bytes);
    }
}

static void tile_release(void)
{
    memset(amx_tiles, 0, sizeof(amx_tiles));
}

static void tile_zero(int t)
{
    amx_check(amx_tiles[t].rows > 0);
    memset(amx_tiles[t].bytes, 0, sizeof(amx_tiles[t].bytes));
}

static void tile_load(int t, const void *from, ptrdiff_t stride)
{
    struct amx_tile *tile = &amx_tiles[t];
    amx_check(tile->rows > 0);
    memset(tile->bytes, 0, sizeof(tile->bytes));
    for (int r = 0; r < tile->rows; r++)
        memcpy(tile->bytes[r], (const char *)from + r * stride, (size_t)tile->row_bytes);
}

static void tile_store(int t, void *to, ptrdiff_t stride)
{
    const struct amx_tile *tile = &amx_tiles[t];
    amx_check(tile->rows > 0);
    for (int r = 0; r < tile->rows; r++)
        memcpy((char *)to + r * stride, tile->bytes[r], (size_t)tile->row_bytes);
}

static float amx_bf16(const struct amx_tile *tile, int row, int at)
{
    uint16_t h;
    memcpy(&h, tile->bytes[row] + at * 2, 2);
    return bf16_widen(h);
}

/* c += a b: even and odd products in two chains from zero, their sum added to c. */
static void tile_dot_bf16(int tc, int ta, int tb)
{
    struct amx_tile *c = &amx_tiles[tc];
    const struct amx_tile *a = &amx_tiles[ta], *b = &amx_tiles[tb];
    amx_check(c->rows == a->rows && c->row_bytes == b->row_bytes && a->row_bytes / 4 == b->rows);
    for (int m = 0; m < c->rows; m++)
        for (int n = 0; n < c->row_bytes / 4; n++) {
            float even = 0, odd = 0, x;
            for (int k = 0; k < b->rows; k++) {
                even = bf16_fma(amx_bf16(a, m, 2 * k), amx_bf16(b, k, 2 * n), even);
                odd = bf16_fma(amx_bf16(a, m, 2 * k + 1), amx_bf16(b, k, 2 * n + 1), odd);
            }
            memcpy(&x, c->bytes[m] + n * 4, 4);
            x = bf16_flush(bf16_flush(x) + bf16_flush(even + odd));
            memcpy(c->bytes[m] + n * 4, &x, 4);
        }
}

#endif
