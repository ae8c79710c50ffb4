/* Matrix products, the contract.
 *
 *   C[M,N] = epilogue( init + A[M,K] B[K,N] )
 *
 * Every element of C is one chain over k, ascending, whatever M, the blocking, the thread count:
 *   GEMM_F32:   c = fmaf(a[k], b[k], c)                       one profile for scalar, AVX2, AVX-512
 *   GEMM_BF16:  a and b rounded to bf16, products of pairs (2k, 2k+1) accumulated in float32; K is
 *               padded with zeros to an even number            one profile for scalar, AVX2, AVX-512 with and
 *                                                              without BF16; AMX has its own (docs/numerics.md)
 * so that a row's result depends on that row and B alone, and accumulating two half batches equals
 * one whole batch bit for bit (bf16 weight gradients: halves of an even number of rows, of a
 * multiple of 32 on AMX).
 *
 * B is packed beforehand in panels of 16 columns, zero padded:
 *   F32:  [ceil(N/16)][K][16]          BF16: [ceil(N/16)][ceil(K/2)][16][2]   (also the tile layout of AMX)
 * Whoever calls: the linear and matmul operations of graph/, and the trainer's Muon. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kernels/par.h"

enum gemm_format { GEMM_F32, GEMM_BF16, GEMM_FORMAT_COUNT };

/* Applied to an element after its chain: x + bias[n], then act, then + residual[m,n]. */
enum act_kind { ACT_NONE, ACT_RELU, ACT_RELU2, ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_QUICK_GELU, ACT_TANH, ACT_SIGMOID, ACT_SOFTPLUS,
                ACT_BEND /* e^x - 1 - x below 0, else 0 */, ACT_COUNT };

struct gemm_b {             /* packed B */
    enum gemm_format format;
    int K, N;
    const void *panels;     /* gemm_b_bytes(format, K, N), 64-byte aligned */
};

size_t gemm_b_bytes(enum gemm_format format, int K, int N);
/* Pack from float32 (src_bf16 == false) or bfloat16 bits. `transposed`: src is [N,K] with row stride
 * ld (a weight as stored on disk); otherwise [K,N]. Each thread packs its share of panels. */
void gemm_pack_b(enum gemm_format format, int K, int N, const void *src, bool src_bf16, ptrdiff_t ld,
                 bool transposed, void *panels, const struct par *par);

struct gemm {
    int M, N, K;             /* M may be 0; N and K are at least 1 */
    const float *A;          /* [M,K] row stride lda; or, with a_transposed, [K,M] row stride lda */
    ptrdiff_t lda;
    bool a_transposed;
    struct gemm_b B;         /* B.K == K, B.N == N */
    float *C;                /* [M,N] row stride ldc */
    ptrdiff_t ldc;
    bool accumulate;         /* start the chain from C instead of 0 */
    const float *bias;       /* [N] or NULL */
    enum act_kind act;
    const float *residual;   /* [M,N] row stride ldc, or NULL; may alias C */
    void *scratch;           /* gemm_scratch_bytes(), 64-byte aligned, shared by the team */
};

/* Scratch for one call with up to nth threads (A panels in the compute format). */
size_t gemm_scratch_bytes(enum gemm_format format, int M, int N, int K, int nth);
/* All threads of the team call it with the same arguments, B packed before (a barrier lies between).
 * No barrier inside or after: the caller (executor) has one after each operation. */
void gemm_run(const struct gemm *g, const struct par *par);

#endif
