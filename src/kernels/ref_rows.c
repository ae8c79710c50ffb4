/* The scalar reference of the row-wise kernels: rows_tmpl.h on lanes of portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/vec_scalar.h"
#include "kernels/rows_tmpl.h"

void rows_init_scalar(struct kernels *k)
{
    rows_fill(k);
}
