/* The trainer: a recipe's stages over the scenes world, with checkpoints, exact resume and a log.
 * Owns model, optimiser and pool; called through the public door (nunchi/train.h). */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H
#include "formats/checkpoint.h"
#include "graph/exec.h"
#include "models/model.h"
#include "nunchi/train.h"
#include "train/batch.h"
#include "train/optim.h"
#include "train/recipe.h"

/* Where a run stands: all that decides what comes next. */
struct train_position {
    uint64_t stage, stage_step; /* next step to do */
    uint64_t step, seen;        /* steps and pictures done */
};

/* The graph of one stage, for learning or for looking. */
struct train_graph {
    struct graph *graph;
    struct plan *plan;
    struct batch *batch;
    struct g_tensor *pixels, *ids, *pos, *spans, *image_rows, *pick, *labels; /* inputs */
    struct g_tensor *share;                                                   /* F32 [1]: of the loss in this step */
    struct g_tensor *loss, *logits;
};

struct trainer {
    const struct nun_train_options *options;
    struct recipe *recipe;
    struct model *model;
    struct tokenizer *tokenizer;
    struct optim *optim;
    struct pool *pool;
    struct ckpt_store *store;
    struct batch_source source;
    struct train_position at;
    uint64_t total_steps;
    uint64_t started_ns, started_step;
    int bad_steps;              /* non-finite, in a row */
    struct buf log;             /* lines of this run, written with each checkpoint */
    double peak;                /* FLOP/s of this machine in the compute format; 0 unknown */
};

int train_graph_create(const struct trainer *t, const struct recipe_stage *s, bool learn, struct train_graph *out);
void train_graph_free(struct train_graph *g);

/* state.c */
int train_save(struct trainer *t);
int train_resume(struct trainer *t); /* 1 when there is no checkpoint */
/* publish.c: the finished model as a HF folder. */
int train_publish(struct trainer *t, const char *dir);
/* score.c: share of validation questions whose every answer token is the arg max, by kind. */
struct train_score { int asked[SCENE_KIND_COUNT], right[SCENE_KIND_COUNT]; double loss; };
int train_evaluate(struct trainer *t, const struct recipe_stage *s, int pictures, struct train_score *out);

#endif
