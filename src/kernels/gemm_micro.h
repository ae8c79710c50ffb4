/* What an instruction set brings to a matrix product: how it packs A and B and one tile kernel. The
 * blocking, the threads and the epilogue's order are gemm.c's, the same for all. Private to kernels/. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_GEMM_MICRO_H
#define KERNELS_GEMM_MICRO_H
#include "kernels/gemm.h"

enum {
    GEMM_PANEL = 16,                /* columns of a panel */
    GEMM_MAX_ROWS = 32,             /* most rows of a strip, over all variants */
    GEMM_BLOCK_PANELS = 32,         /* columns of a block of B, in panels */
    GEMM_PACK_STEPS = 4,            /* of k into a panel before the next panel's turn: 1 is a third slower */
    GEMM_STRIP_BYTES = 40 << 10,    /* packed A strip of one thread, over all variants */
};

/* One tile: C rows [0,m) by `panels` panels, K steps [0,k). */
struct gemm_tile {
    int m, n;                       /* rows; columns, n <= 16 * panels, n > 16 * (panels - 1) */
    int panels;
    int k;                          /* elements of the chain in this call */
    bool k_major;                   /* how the strip lies, see pack_a */
    const void *a;                  /* packed strip */
    const void *b;                  /* first panel, at this call's first k */
    size_t panel_bytes;             /* from panel to panel */
    const void *next;               /* where the next tile's panels begin: to prefetch, never read */
    const float *in;                /* [m,n] where the chain goes on from, or NULL: zero */
    ptrdiff_t ld_in;
    float *out;                     /* [m,n] */
    ptrdiff_t ld_out;
    const float *bias;              /* [n] or NULL; added after the chain, then residual */
    const float *residual;          /* [m,n] row stride ld_residual, or NULL */
    ptrdiff_t ld_residual;
};

/* Panels [lo, hi) of B; see gemm_pack_b. */
struct gemm_pack {
    int K, N;
    const void *src;
    bool src_bf16, transposed;
    ptrdiff_t ld;
    void *panels;
    size_t lo, hi;
};

struct gemm_micro {
    const char *name;               /* for bench and tests */
    int rows;                       /* most rows of a strip */
    int kc;                         /* most k of a strip: even, and a multiple of 32 for tiles */
    /* Rows [0,m) of A, k elements each, into the strip in the compute format, zero padded to whole
     * steps. k_major tells the tile which of the two layouts the variant chose for `transposed`. */
    void (*pack_a)(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip);
    /* Most panels one tile call takes for m rows, when `left` are left. */
    int (*tile_panels)(int m, bool k_major, int left);
    void (*tile)(const struct gemm_tile *t);
    void (*pack_b)(const struct gemm_pack *p);
};

/* gemm_run with a variant of the caller's choice: for tests and bench. */
void gemm_run_with(const struct gemm_micro *micro, const struct gemm *g, const struct par *par);

/* The meaning of bf16 products on tiles (docs/numerics.md), in scalar code: what tests compare with. */
extern const struct gemm_micro gemm_ref_bf16_tiles;

#endif
