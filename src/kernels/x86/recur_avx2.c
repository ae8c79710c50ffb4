/* The recurrent kernels with AVX2: recur_tmpl.h on the lanes of vec_avx2.h. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx2.h"
#include "kernels/recur_tmpl.h"

void recur_init_avx2(struct kernels *k)
{
    recur_fill(k);
}
