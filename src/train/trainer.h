/* The trainer: a recipe's stages, each learning one task, with checkpoints, exact resume and a log. Owns model, optimiser
 * and pool; called through the public door (nunchi/train.h). A task is a row: how its micro-batches become graphs and
 * inputs. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H
#include "base/hash.h"
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

/* What a stage took so far; for telling, it decides nothing. */
struct train_effort { double seconds, flops, rows, tokens, placeholders, side_rows; uint64_t memory; };

struct trainer {
    const struct nun_train_options *options;
    struct recipe *recipe;
    struct model *model;
    struct tokenizer *tokenizer;
    struct optim *optim;
    struct nun_model *prompts;  /* makes prompts of conversations, as serving does; NULL: there are none */
    struct pool *pool;
    struct ckpt_store *store;
    struct batch_source source;
    struct train_position at;
    struct train_effort effort;  /* of the stage */
    uint64_t total_steps;
    uint64_t started_ns, started_step;
    int bad_steps;              /* non-finite, in a row */
    struct buf log;             /* lines of this run, written with each checkpoint */
    struct buf scores;          /* a line of JSON for each stage that is done: scores.h */
    char base[17];              /* digest of the weights that never learn, which no checkpoint has */
    double peak;                /* FLOP/s of this machine in the compute format; 0 unknown */
};

/* A whole run of a recipe that is loaded (and perhaps changed since); options->recipe is not read. */
int train_run(struct recipe *recipe, const struct nun_train_options *options);

/* ---- stages -------------------------------------------------------------------------------- */

struct stage_run;

/* A graph of a stage, for micro-batches of one shape, and what its last filling holds. */
struct train_graph {
    struct train_graph *next;
    struct graph *graph;
    struct plan *plan;
    struct g_tensor *share;     /* F32 [1]: of the loss in this step */
    struct g_tensor *loss;
    double weight;              /* what the loss is a mean over; 0: there is nothing to learn */
    double nominal;             /* that of a full micro-batch */
    int64_t tokens, placeholders, side_rows; /* of all rows: without padding; of pictures; beside */
    int rows;                   /* samples: the next micro-batch begins behind them */
    void *own;                  /* the task's */
};

struct train_score;

/* What a tokenizer that is trained for a task has besides text. */
struct task_text { const struct tok_special *special; size_t n_special; bool add_bos, add_eos; };

/* A task: what a stage learns from, and its loss. */
struct train_task {
    const char *name, *doc;
    /* Check and take the stage's settings. NULL: there is nothing to do. */
    int (*open)(struct stage_run *r);
    /* The micro-batch of samples first, first + 1, ...: its graph (stage_graph finds or makes it), with inputs filled. */
    int (*fill)(struct stage_run *r, uint64_t first, struct train_graph **out);
    /* What the answers of the graph's last run are worth. NULL: the loss says all. */
    void (*count)(const struct train_graph *g, struct train_score *out);
    void (*drop)(void *own);    /* a graph's; NULL is fine */
    void (*close)(struct stage_run *r);
    const struct task_text *text; /* NULL: the conversation's */
    bool wordless;              /* reads no text at all */
    void (*settle)(struct stage_run *r); /* behind a step: what has to stay within bounds. NULL: nothing */
    /* Behind `pictures` of them run to look: what else is to be measured. NULL: nothing. */
    int (*measure)(struct stage_run *r, int pictures, struct train_score *out);
};
extern const struct train_task *const train_tasks[]; /* NULL-terminated */

/* A stage that learns, or is looked at. */
struct stage_run {
    struct trainer *t;
    const struct recipe_stage *s;
    const struct train_task *task;
    struct batch_source source;  /* the trainer's, set as the stage wants it; borrowed */
    bool learn;
    enum scene_split split;
    float told;                  /* share of micro-batches told in words */
    uint64_t end;                /* the sample behind the last one of the step */
    uint64_t samples;            /* that there are, for evaluation; UINT64_MAX: endless */
    uint32_t micro;              /* micro-batches a step */
    struct train_graph *graphs;
    void *own;                   /* the task's */
};

int stage_task(const struct recipe_stage *s, const struct train_task **out);
int stage_open(struct trainer *t, const struct recipe_stage *s, bool learn, enum scene_split split, struct stage_run *out);
void stage_close(struct stage_run *r);
uint64_t stage_steps(const struct recipe_stage *s);
int stage_micro_rows(const struct stage_run *r); /* samples of a micro-batch */
enum gemm_format train_compute(const struct trainer *t);
/* A new graph in front of the others, its share an input, to be built by the task. */
int stage_graph_begin(struct stage_run *r, struct train_graph **out);
/* Behind building: loss is made an output, with its backward when learning, and planned. */
int stage_graph_end(struct stage_run *r, struct train_graph *g, struct g_tensor *loss);
/* g becomes the first; of those behind it few are kept. */
void stage_graph_use(struct stage_run *r, struct train_graph *g);

/* Does it learn in this stage, by its name or its part: tower, connector, cross, llm? */
bool stage_learns(const struct model *m, const struct recipe_stage *s, const struct g_param *p);
/* Which parameters learn, and each at which share of the stage's rate. */
void stage_set_learning(struct trainer *t, const struct recipe_stage *s);
/* What must not change: a digest of all frozen weights. */
void stage_frozen_digest(const struct trainer *t, struct digest *out);

/* ---- tasks --------------------------------------------------------------------------------- */

extern const struct train_task train_task_questions; /* task_questions.c: a world's questions, packed behind each picture */
extern const struct train_task train_task_contrast;  /* task_contrast.c: pictures and their captions, each with its own */
extern const struct train_task train_task_masked;    /* task_masked.c: hidden patches, told from those that are seen */
/* Of a graph of that task. */
struct batch *questions_batch(const struct train_graph *g);
struct g_tensor *questions_logits(const struct train_graph *g);
/* Its micro-batch of one shape, not yet filled: pictures of the sides, or told in words. */
int questions_graph(struct stage_run *r, bool told, int width, int height, struct train_graph **out);

extern const struct train_task train_task_conversations; /* task_conversations.c: of files, packed into rows of tokens */

/* ---- parts of the trainer -------------------------------------------------------------------- */

/* train_parts.c: tokenizer, processor, world and model of a recipe. */
int train_make_parts(struct trainer *t);
/* The folder whose tokenizer, template and processor are those of conversations. */
const char *train_folder(const struct trainer *t);
/* train_state.c */
int train_save(struct trainer *t);
int train_resume(struct trainer *t); /* 1 when there is no checkpoint */
/* publish.c: the finished model as a HF folder. */
int train_publish(struct trainer *t, const char *dir);

/* A share that a task counts besides: sum of count. */
struct train_measure { const char *name; double sum, count; };

/* score.c: share of questions whose every answer token is the arg max, by kind; and the mean loss. */
struct train_score {
    int asked[SCENE_KIND_COUNT], right[SCENE_KIND_COUNT];
    int fine_asked[SCENE_KIND_COUNT], fine_right[SCENE_KIND_COUNT]; /* of these, about what only tiles show */
    double tokens[SCENE_KIND_COUNT], nats[SCENE_KIND_COUNT];        /* of the right answers, and their cross-entropy */
    double fine_tokens[SCENE_KIND_COUNT], fine_nats[SCENE_KIND_COUNT];
    double loss, seconds;        /* seconds of computing */
    int pictures;
    struct train_measure measure[8];
    int measures;
};
void train_measured(struct train_score *sc, const char *name, double sum, double count); /* name: static */
int train_evaluate(struct trainer *t, const struct recipe_stage *s, enum scene_split split, float told, int pictures, struct train_score *out);
/* One line of JSON about the stage that is done (NULL: before any), appended to t->scores; and all of them as scores.json. */
int train_score_stage(struct trainer *t, const struct recipe_stage *s);
int train_write_scores(struct trainer *t, const char *folder);
/* prefill.c: time from a picture's bytes and a question to the first token's logits, of the finished folder. */
int train_measure_reading(struct trainer *t, const char *folder, json_t **out);

#endif
