/* The kernels on feature maps with AVX-512: conv_tmpl.h on the lanes of vec_avx512.h. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx512.h"

enum { PIXELS = 8 };
#include "kernels/conv_tmpl.h"

void conv_init_avx512(struct kernels *k)
{
    conv_fill(k);
}
