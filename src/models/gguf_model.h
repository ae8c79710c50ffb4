/* GGUF as the second door to models: a file opened as if it were a Hugging Face folder, and either one
 * written as the other. The loader and the tools call it; it knows no graphs. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_GGUF_MODEL_H
#define MODELS_GGUF_MODEL_H
#include "base/pool.h"
#include "formats/json.h"
#include "formats/safetensors.h"

/* *config is the caller's; the tensors carry the folder's names and layout, most of them in the map. facts_only:
 * matrices whose rows would have to be moved are left in the file's order, and so in the map. */
int gguf_model_open(const char *path, bool facts_only, json_t **config, struct safetensors **weights);
/* The tower of a second file becomes part of a model that was opened from a first: *config and *weights are then those of
 * both, or untouched. */
int gguf_sight_add(const char *text_path, const char *path, json_t **config, struct safetensors **weights);
/* Are there towers that go with this decoder? */
bool gguf_sight_exists(const char *decoder);
/* What a preprocessor_config.json would say of pictures, or of videos; the caller's. */
int gguf_sight_processor(const char *path, bool video, json_t **out);
/* The same of two files in memory, both read here. */
int gguf_sight_open_bytes(struct span text, struct span tower, json_t **config, struct safetensors **weights);
int gguf_sight_processor_bytes(struct span tower, bool video, json_t **out);
int gguf_model_open_bytes(struct span file, const char *place, json_t **config, struct safetensors **weights);

/* What a tensor of the file should be stored as: the caller's choice by name and shape (GGUF's). */
struct gguf_model_plan {
    const char *name;                        /* general.name; NULL: none */
    enum dtype (*choose)(void *arg, const struct st_item *tensor); /* tensor->dtype: the source's */
    void *arg;
    int (*tokenizer)(void *arg, void *meta); /* struct gguf_meta *: adds what else belongs into the file; may be NULL */
    void *tokenizer_arg;
    int file_type;                           /* general.file_type */
    struct pool *pool;                       /* NULL: one thread */
    void (*progress)(void *arg, size_t done, size_t of, const char *name);
    void *progress_arg;
};
/* Write config and weights (of a folder, or of gguf_model_open) as one GGUF file. */
int gguf_model_write(const char *path, const json_t *config, const char *place, const struct safetensors *weights,
                     const struct gguf_model_plan *plan);

/* ---- mixtures: gguf_mix.c ---------------------------------------------------------------------- */

/* One of the names that users know ("Q4_K_M"), or a plain format. */
struct gguf_mix;
int gguf_mix_find(const char *name, const struct gguf_mix **out); /* NUN_EARG naming what there is */
int gguf_mix_file_type(const struct gguf_mix *mix);
enum dtype gguf_mix_base(const struct gguf_mix *mix);
const char *gguf_mix_name(size_t i, const char **doc); /* NULL behind the last */
struct gguf_mixing { const struct gguf_mix *mix; int layers; bool tied; };
/* For gguf_model_plan.choose; arg: struct gguf_mixing. A row that the format's blocks do not divide gets
 * the nearest format whose blocks do. */
enum dtype gguf_mix_choose(void *arg, const struct st_item *tensor);

#endif
