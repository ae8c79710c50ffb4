/* The kernels on feature maps with AVX2: conv_tmpl.h on the lanes of vec_avx2.h. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx2.h"

enum { PIXELS = 4 };
#include "kernels/conv_tmpl.h"

void conv_init_avx2(struct kernels *k)
{
    conv_fill(k);
}
