/* The recurrent kernels with AVX-512: recur_tmpl.h on the lanes of vec_avx512.h. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx512.h"
#include "kernels/recur_tmpl.h"

void recur_init_avx512(struct kernels *k)
{
    recur_fill(k);
}
