/* The Q-Former: learned queries that see each other, and in every few layers a picture's states; text may stand behind
 * them and be seen too. arXiv:2301.12597, arXiv:2305.06500. */
/* SPDX-License-Identifier: MIT */
#ifndef NN_QFORMER_H
#define NN_QFORMER_H
#include "nn/nn.h"

/* context F32 [batch * tokens, width], queries F32 [queries, hidden], words I32 [batch * n_words] (NULL: none)
 * -> [batch * queries, hidden]. */
struct nn_qformer { struct g_tensor *context, *queries, *words; int batch, tokens, n_queries, n_words; };
struct g_tensor *nn_qformer(struct graph *g, const struct nn_stack *s, const struct nn_qformer *in);

#endif
