/* Weights of other folders that a model begins with, tensor by tensor as their names say. Called by the trainer. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_START_H
#define TRAIN_START_H
#include "models/model.h"
#include "train/recipe.h"

/* Every `start` of the recipe in order: over weights of `m` that are float32 and its own. A tensor of another shape is
 * resampled where that has a meaning (patch and position embeddings of towers) and refused otherwise; a start that
 * gives nothing is refused. Towers of ViT and its masked autoencoder are found under their own spelling. */
int start_apply(struct model *m, const struct recipe *r);

#endif
