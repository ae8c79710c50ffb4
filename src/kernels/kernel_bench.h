/* Times the matrix products at the shapes of training and serving, as shares of the machine's
 * measured peak. Caller: `nunchi bench --kernels`, which prints. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_KERNEL_BENCH_H
#define KERNELS_KERNEL_BENCH_H
#include "kernels/peak.h"

struct kernel_bench_row {
    const char *kernel;   /* the variant that ran: "gemm_bf16_avx512bf16" */
    const char *role;     /* "forward", "weight gradient", "decode", "pack weight", ... */
    int M, N, K, threads;
    double seconds;
    double rate;          /* FLOP/s, or B/s read for decoding and packing */
    const char *unit;     /* of rate */
    double share;         /* of the peak of that unit at that thread count */
};
typedef void kernel_bench_fn(void *arg, const struct kernel_bench_row *row);

/* Measures `peaks`, then calls emit once a row. */
int kernels_bench(struct pool *pool, struct peaks *peaks, kernel_bench_fn *emit, void *arg);

#endif
