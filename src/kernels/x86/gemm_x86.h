/* What the vector files of the matrix products share; needs nothing beyond C. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_X86_GEMM_X86_H
#define KERNELS_X86_GEMM_X86_H
#include <string.h>
#include "kernels/gemm_micro.h"

/* Run a tile whose kernel reads and writes whole panels only: a last panel that sticks out goes
 * through copies padded with zeros, so nothing beyond [m,n] is touched. */
static inline void gemm_whole_panels(const struct gemm_tile *t, void (*kernel)(const struct gemm_tile *))
{
    enum { MAX = 64 * GEMM_PANEL }; /* most panels times rows of any tile here */
    if (t->n == t->panels * GEMM_PANEL) {
        kernel(t);
        return;
    }
    _Alignas(64) float out[MAX], residual[MAX], bias[8 * GEMM_PANEL] = {0};
    struct gemm_tile w = *t;
    ptrdiff_t ld = t->panels * GEMM_PANEL;
    size_t row = (size_t)t->n * sizeof(float);
    memset(out, 0, sizeof(out));
    memset(residual, 0, sizeof(residual));
    for (int r = 0; r < t->m; r++) {
        if (t->in)
            memcpy(out + r * ld, t->in + r * t->ld_in, row);
        if (t->residual)
            memcpy(residual + r * ld, t->residual + r * t->ld_residual, row);
    }
    if (t->bias)
        memcpy(bias, t->bias, row);
    w.in = t->in ? out : NULL;
    w.out = out;
    w.bias = t->bias ? bias : NULL;
    w.residual = t->residual ? residual : NULL;
    w.ld_in = w.ld_out = w.ld_residual = ld;
    w.n = (int)ld;
    kernel(&w);
    for (int r = 0; r < t->m; r++)
        memcpy(t->out + r * t->ld_out, out + r * ld, row);
}

#endif
