/* Recipes: one YAML file says a whole training run. Parsed by libcyaml into these structs, checked
 * against ranges, with every default in one place. Knows no graphs. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_RECIPE_H
#define TRAIN_RECIPE_H
#include <stdbool.h>
#include <stdint.h>
#include "data/scenes.h"
#include "train/optim.h"

struct recipe_weight { char *name; float weight; };

struct recipe_stage {
    char *name;
    uint32_t pictures;        /* how many this stage sees */
    uint32_t schedule_pictures; /* the length that the learning rate is planned for; 0: pictures */
    uint32_t batch;           /* pictures a step */
    uint32_t accumulate;      /* micro-batches a step; 0: 1 */
    uint32_t tokens;          /* tokens a picture's row holds */
    uint32_t answers;         /* of which predicted, at most */
    uint32_t questions;       /* a picture, at most */
    uint32_t decoder_layers;  /* 0: all */
    bool recompute;           /* blocks are run again on the way back instead of kept: less memory, a third more work */
    char **learn;             /* prefixes of parameter names */
    uint32_t learn_count;
    float lr, weight_decay, clip, dropout;
    char *optimizer;          /* of matrices: muon, adamw, ...; the rest learns by adamw */
    char *schedule;           /* constant, linear, cosine */
    uint32_t warmup;          /* steps */
    float decay;              /* linear: share of the stage over which the rate falls to zero */
    float floor;              /* share of lr that is left at the end */
    uint32_t max_objects, text_min, text_max;
    float text_spread, augment;
    struct recipe_weight *pictures_mix, *questions_mix;
    uint32_t pictures_mix_count, questions_mix_count;
};

struct recipe {
    char *name, *model;       /* model: path of a config.json, or of a folder to start from */
    char *output;             /* folder of the finished model */
    char *runs;               /* folder of checkpoints and logs */
    uint64_t seed;
    uint32_t vocab;           /* of the tokenizer trained for it */
    uint32_t tower_neurons;   /* that each MLP of the tower keeps in the finished model; 0: all */
    uint32_t save_every, eval_every, eval_pictures;
    char *save_dtype, *compute; /* bf16, f32 */
    struct recipe_stage *stages;
    uint32_t stages_count;
};

int recipe_load(const char *path, struct recipe **out);
void recipe_free(struct recipe *r); /* NULL is fine */
/* The scene settings of a stage. */
int recipe_scene(const struct recipe_stage *s, int side, enum scene_split split, struct scene_config *out);
/* Learning rate of step `at` of `total`, times lr. */
float recipe_rate(const struct recipe_stage *s, uint64_t at, uint64_t total);

#endif
