/* Recipes: one YAML file says a whole training run. Parsed by libcyaml into these structs, checked
 * against ranges, with every default in one place. Knows no graphs. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_RECIPE_H
#define TRAIN_RECIPE_H
#include <stdbool.h>
#include <stdint.h>
#include "train/optim.h"

struct recipe_weight { char *name; float weight; };
/* Parameters whose names begin with `name`, or that are of that part (stage.c), learn at a rate of their own; 0: not at all. */
struct recipe_part { char *name; float lr; };
/* Weights to begin with: the tensors of a model folder whose names begin with `theirs`, as those that begin with `ours`. */
struct recipe_start { char *from, *ours, *theirs; };

/* A data set on disk (data/dataset.h). pictures: the folder where its pictures' paths begin, NULL: its own. */
struct recipe_data { char *file, *pictures; float weight; };

struct recipe_stage {
    char *name;
    char *task;               /* a row of train_tasks; NULL: questions */
    uint32_t pictures;        /* how many this stage sees */
    uint32_t samples;         /* the same number where samples are no pictures, */
    float epochs;             /* or how often each sample of data on disk is seen */
    uint32_t schedule_pictures; /* the length that the learning rate is planned for; 0: pictures */
    uint32_t batch;           /* pictures a step */
    uint32_t accumulate;      /* micro-batches a step; 0: 1 */
    uint32_t tokens;          /* tokens a picture's row holds, with the picture's own; or, with 0, */
    uint32_t room;            /* tokens behind the picture */
    uint32_t told_tokens;     /* that a picture told in words may take */
    float told;               /* share of micro-batches whose pictures are told in words and not shown */
    uint32_t answers;         /* of which predicted, at most */
    uint32_t questions;       /* a picture, at most */
    uint32_t decoder_layers;  /* 0: all */
    bool recompute;           /* blocks are run again on the way back instead of kept: less memory, a third more work */
    char **learn;             /* prefixes of parameter names */
    uint32_t learn_count;
    struct recipe_part *parts; /* the first that fits a name holds */
    uint32_t parts_count;
    float lr, weight_decay, clip, dropout;
    char *optimizer;          /* of matrices: muon, adamw, ...; the rest learns by adamw */
    char *schedule;           /* constant, linear, cosine */
    uint32_t warmup;          /* steps */
    float decay;              /* linear: share of the stage over which the rate falls to zero */
    float floor;              /* share of lr that is left at the end */
    uint32_t most_tiles;      /* of a picture of scenes-hd; 0: as the world has it */
    uint32_t max_objects, text_min, text_max;
    float text_spread, augment;
    struct recipe_data *data, *eval_data; /* of tasks that learn from files; weights: shares of what is seen, 0: its size */
    uint32_t data_count, eval_data_count;
    struct recipe_weight *pictures_mix, *questions_mix;
    uint32_t pictures_mix_count, questions_mix_count;
};

struct recipe {
    char *name, *model;       /* model: path of a config.json, whose weights begin random, or of a folder to go on from */
    struct recipe_start *start; /* over the random ones, in order */
    uint32_t start_count;
    char *tokenizer;          /* folder; NULL: the model's folder, or one trained on the world's text */
    char *processor;          /* preprocessor_config.json; NULL: the model's folder, or one square */
    char *world;              /* a row of worlds; NULL: scenes */
    char *output;             /* folder of the finished model */
    char *runs;               /* folder of checkpoints and logs */
    uint64_t seed;
    uint32_t vocab;           /* of the tokenizer trained for it */
    uint32_t tower_neurons;   /* that each MLP of the tower keeps in the finished model; 0: all */
    uint32_t save_every, eval_every, eval_pictures;
    uint32_t test_pictures;   /* of the test split, for scores.json before training and behind every stage; 0: none */
    char *save_dtype, *compute; /* bf16, f32 */
    struct recipe_stage *stages;
    uint32_t stages_count;
};

int recipe_load(const char *path, struct recipe **out);
void recipe_free(struct recipe *r); /* NULL is fine */
bool recipe_draws(const struct recipe *r); /* some stage's pictures are a world's */
/* A digest of all that the recipe says, in hexadecimal; of equal recipes the same, however they are spelled. */
int recipe_hash(const struct recipe *r, char out[65]);
/* Weights of a mix by name into out[count]; left alone when the recipe names none. */
int recipe_mix(const struct recipe_weight *rows, uint32_t n, const char *const *names, int count, float *out, const char *stage);
/* Learning rate of step `at` of `total`, times lr. */
float recipe_rate(const struct recipe_stage *s, uint64_t at, uint64_t total);

#endif
