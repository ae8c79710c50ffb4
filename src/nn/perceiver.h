/* A resampler: learned queries look at states and become as many states, whatever their number. arXiv:2204.14198,
 * arXiv:2405.02246. */
/* SPDX-License-Identifier: MIT */
#ifndef NN_PERCEIVER_H
#define NN_PERCEIVER_H
#include "nn/nn.h"

/* context [batch * tokens, hidden] -> [batch * latents, hidden]. */
struct g_tensor *nn_resample(struct graph *g, const struct nn_stack *s, struct g_tensor *context, int batch, int tokens);

#endif
