/* Quantised folders: config.json's quantization_config says how linear weights lie in the file as several
 * tensors each; they are decoded to float32 when they are asked for. Sits over a safetensors folder and
 * answers like it; with no quantization_config it only passes on. Knows no families and no roles. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_QUANT_FOLDER_H
#define MODELS_QUANT_FOLDER_H
#include "base/arena.h"
#include "formats/json.h"
#include "formats/safetensors.h"

struct quant_folder;

/* Reads quantization_config of `config`; methods and settings that no row knows are NUN_EUNSUP naming the
 * key. Lives in the arena, as decoded values do; quant_folder_close frees the rest. */
int quant_folder_open(const json_t *config, const char *place, const struct safetensors *st, struct arena *arena,
                      struct quant_folder **out);
void quant_folder_close(struct quant_folder *q); /* NULL is fine */

/* As st_find != NULL and st_need, but weights that are stored quantised are there too, as F32. */
bool quant_folder_has(const struct quant_folder *q, struct span name);
int quant_folder_need(struct quant_folder *q, struct span name, const struct shape *shape, const struct st_tensor **out);
/* Is this tensor of the file a part of a weight that was asked for? Then it is none too many. */
bool quant_folder_part(const struct quant_folder *q, const char *name);

#endif
