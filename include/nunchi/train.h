/* Training from a recipe. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_TRAIN_H
#define NUNCHI_TRAIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

struct nun_train_progress {
    const char *stage;
    uint64_t step, steps;          /* done, in all stages */
    double loss, rate, grad_norm;  /* of this step */
    double tokens_per_s, flops_per_s, seconds_left;
    double mfu;                    /* share of the measured peak; 0 when unknown */
    bool skipped;                  /* not applied: a number was not finite */
    const char *score;             /* after an evaluation, one line; else NULL */
};

struct nun_train_options {
    const char *recipe;            /* path of the YAML file */
    const char *output;            /* NULL: as the recipe says */
    int threads;                   /* 0: all CPUs */
    bool resume;                   /* go on from the newest good checkpoint */
    uint64_t stop_after;           /* stop after that many steps of this call, saved; 0: run to the end */
    /* Called after every step; return non-zero to stop (the state is saved). May be NULL. */
    int (*progress)(void *arg, const struct nun_train_progress *p);
    void *arg;
};

/* Run a recipe. Writes checkpoints, log.jsonl and report.html (curves) under its `runs`, the finished model into its
 * `output`. NUN_ESTOP when stopped early. */
int nun_train(const struct nun_train_options *options);
/* Where a recipe puts things: copies of the paths, NUN_ELIMIT when one does not fit `cap` bytes. */
int nun_recipe_paths(const char *recipe, char *output, char *runs, size_t cap);
/* The world whose questions its finished model answers, as a task of nun_eval; empty where no stage learns from any.
 * NUN_ELIMIT when the name does not fit `cap` bytes. */
int nun_recipe_world(const char *recipe, char *world, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
