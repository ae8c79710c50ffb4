/* How a key or value becomes bytes on a page: a pure function of its own numbers. Called by attention_cached. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "graph/kv.h"
#include "kernels/attention.h"

/* Sums and differences of x[n], n a power of two, in place. */
static void hadamard(float *x, int n)
{
    float scale = 1.0f / sqrtf((float)n);
    for (int half = 1; half < n; half *= 2)
        for (int i = 0; i < n; i++)
            if (!(i & half)) {
                float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
    for (int i = 0; i < n; i++)
        x[i] *= scale;
}

bool kv_turns(enum dtype dt)
{
    return dt == DT_Q4_0;
}

void kv_turn(float *x, int D)
{
    for (int n = ATTN_BLOCK; D > 0; x += n, D -= n) {
        while (n > D)
            n /= 2;
        hadamard(x, n);
    }
}

static bool all_finite(const float *x, int n)
{
    float zero = 0;
    for (int i = 0; i < n; i++)
        zero += x[i] * 0;
    return zero == 0;
}

void kv_pack(enum dtype dt, const float *x, int D, void *to)
{
    const struct dtype_info *info = &dtype_table[dt];
    char *at = to;
    if (dt == DT_F32) {
        memcpy(to, x, (size_t)D * sizeof *x);
        return;
    }
    if (!all_finite(x, D)) {
        memset(to, 0xff, attn_row_bytes(dt, D));
        return;
    }
    for (int left = D; left > 0; left -= ATTN_BLOCK, x += ATTN_BLOCK, at += attn_row_bytes(dt, ATTN_BLOCK)) {
        float block[ATTN_BLOCK] = {0};
        int n = left < ATTN_BLOCK ? left : ATTN_BLOCK;
        memcpy(block, x, (size_t)n * sizeof *x);
        if (kv_turns(dt))
            kv_turn(block, n);
        info->encode(block, at, (size_t)attn_row_width(dt, n));
    }
}
