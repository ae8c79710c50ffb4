/* The scalar reference of the recurrent kernels: recur_tmpl.h on lanes of portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/vec_scalar.h"
#include "kernels/recur_tmpl.h"

void recur_init_scalar(struct kernels *k)
{
    recur_fill(k);
}
