/* The row-wise kernels with AVX-512: rows_tmpl.h on the lanes of vec_avx512.h. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx512.h"
#include "kernels/rows_tmpl.h"

void rows_init_avx512(struct kernels *k)
{
    rows_fill(k);
}
