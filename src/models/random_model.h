/* Models of random weights on disk, for benchmarks and comparisons: written in a stream, so that their size
 * is the disk's affair. The door nun_init_model calls it. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_RANDOM_MODEL_H
#define MODELS_RANDOM_MODEL_H
#include "base/pool.h"
#include "formats/json.h"
#include "tensor/dtype.h"

/* config.json and model.safetensors of `config` into `folder`. A value depends on seed, tensor and place alone. */
int random_model_write(json_t *config, uint64_t seed, enum dtype dt, const char *folder, struct pool *pool);

/* Named shapes: row i as (name, doc), NULL behind the last; and the config of one, the caller's. */
const char *random_model_shape(size_t i, const char **doc);
int random_model_config(const char *name, json_t **out);

#endif
