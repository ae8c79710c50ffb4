/* The row-wise kernels with AVX2: rows_tmpl.h on the lanes of vec_avx2.h. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx2.h"
#include "kernels/rows_tmpl.h"

void rows_init_avx2(struct kernels *k)
{
    rows_fill(k);
}
