/* Row-wise kernels, the contract; the slots and their arguments are rows.def. Who calls: the operations
 * of graph/ and the epilogue of matrix products.
 *
 * One float32 profile: every instruction set gives the same bits. A row's result depends on nothing but
 * the row. Sums over a row take sixteen chains, lane j over the elements j, j + 16, ..., and then a
 * fixed tree (vec_scalar.h). Elementary functions are vecmath.h's.
 *
 *   *_map            n elements; the result may lie on an operand
 *   *_rows           [rows, cols], dense
 *   *_stats          stats[rows][2]: what to subtract from a row (0 for rms) and what to multiply it by
 *   norm_dw_cols     dw[cols] += sum over rows, ascending, of dy * normalised x; ld: from row to row
 *   rope_angles      cs: cos[pairs], then sin[pairs], of float32 pos * inv_freq, times mscale
 *   rope_row         [heads, dim]: pairs (i, i + pairs), or (2i, 2i + 1) when interleaved; the rest of
 *                    a head is copied. In place or apart.
 *   cross_entropy_*  label < 0: the row counts nothing (0); a label >= cols gives NaN
 *   sigmoid_loss_*   rows [lo, hi) of the square x; row r has its one pair at column r */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kernels/kernels.h"

#endif
