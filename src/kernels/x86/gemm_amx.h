/* The strip that gemm_amx.c's tile kernel reads: rows of bf16 at a constant stride, elements padded
 * with zeros to whole tile steps of 32. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_X86_GEMM_AMX_H
#define KERNELS_X86_GEMM_AMX_H
#include <stdbool.h>
#include <stddef.h>
#include "kernels/gemm_micro.h"

enum { AMX_KC = 512, AMX_STRIP_STRIDE = AMX_KC * 2 + 64, AMX_STEP_K = 32, AMX_STRIP_ROWS = 32 };

/* With AVX-512 BF16. */
void gemm_amx_pack_a(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip);
void gemm_amx_pack_b(const struct gemm_pack *p);

/* gemm_amx.c compiled against amx_emulation.h, for tests; packs in plain C. */
extern const struct gemm_micro gemm_amx_emulated;
extern _Atomic unsigned amx_faults;

#endif
