/* The scalar reference of the kernels on feature maps: conv_tmpl.h on lanes of portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/vec_scalar.h"

enum { PIXELS = 1 };
#include "kernels/conv_tmpl.h"

void conv_init_scalar(struct kernels *k)
{
    conv_fill(k);
}
