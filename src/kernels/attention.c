/* Attention's scratch, the same for every instruction set. */
/* SPDX-License-Identifier: MIT */
#include "kernels/attention_tile.h"

static size_t floats64(size_t n)
{
    return (n * sizeof(float) + 63) & ~(size_t)63;
}

static size_t width(int D)
{
    return ((size_t)D + 15) & ~(size_t)15;
}

/* [mask | scores | queries, results by dimension | unpacked rows] */
size_t attn_scratch_bytes(int D)
{
    return floats64(ATTN_SLOTS * 2) + floats64(ATTN_SLOTS * ATTN_LANES) + 2 * floats64(width(D) * ATTN_LANES) +
           floats64(ATTN_MIX * (size_t)attn_row_width(DT_Q8_0, D));
}

/* [as above | gradients of scores, slopes of the soft cap | dout by dimension | queries, dout by lane] */
size_t attn_grad_scratch_bytes(int D)
{
    return attn_scratch_bytes(D) + 2 * floats64(ATTN_SLOTS * ATTN_LANES) + 3 * floats64(width(D) * ATTN_LANES);
}
