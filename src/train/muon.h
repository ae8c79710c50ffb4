/* Muon (Jordan et al., 2024): momentum whose matrix is orthogonalised by five Newton-Schulz steps with
 * bfloat16 products. Called through the table of optimisers. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_MUON_H
#define TRAIN_MUON_H
#include "train/optim.h"

size_t muon_scratch(const struct g_param *p);
void muon_update(const struct g_param *p, float *w, const float *g, float *const *state, const struct optim_settings *s,
                 int64_t t, void *scratch);

#endif
