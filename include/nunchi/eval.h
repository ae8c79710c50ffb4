/* Evaluation: ask a model many questions with known answers, and say how sure the result is. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_EVAL_H
#define NUNCHI_EVAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

struct nun_eval_options {
    const char *task;      /* "scenes", "scenes-hd", "perplexity" */
    const char *data;      /* a dataset; NULL: one is made for the time of the call in `scratch` */
    const char *scratch;   /* an existing folder for that */
    const char *split;     /* NULL: "test" */
    uint64_t seed;         /* of the pictures made */
    int count, questions;  /* most pictures, and questions of each; 0: 2000 and 8 */
    int quality;           /* pictures are shown as JPEG of that quality; 0: as they are */
    double rescale;        /* and at that scale; 0: as they are */
    int batch;             /* answers in the making at once; 0: 32 */
    int max_tokens;        /* of an answer; 0: 256 */
    const char *text;      /* perplexity: the text's file */
    int window;            /* perplexity: positions in sight at once; 0: 512, or what the context holds */
    const char *report;    /* HTML file to write; NULL: none */
    /* Non-zero stops. May be NULL. */
    int (*progress)(void *arg, const char *what, size_t done, size_t of, double right);
    void *arg;
};

/* A proportion with its 95 % Wilson interval; NaN when nothing was asked. */
struct nun_eval_share { int asked, right; double share, low, high; };
struct nun_eval_kind { const char *name; struct nun_eval_share share; };
struct nun_eval_pope { const char *name; int yes, no; double accuracy, precision, recall, f1, yes_ratio; };

/* Of a text, token by token: the mean of -log p, its exponential, and that one's standard error. */
struct nun_eval_text { size_t tokens, window; double surprise, perplexity, error; };

enum { NUN_EVAL_KINDS = 16, NUN_EVAL_NEGATIVES = 4 };
struct nun_eval_result {
    size_t pictures, questions;
    struct nun_eval_share all;
    struct nun_eval_share parsed;  /* answers asked for as JSON that are JSON */
    struct nun_eval_kind kind[NUN_EVAL_KINDS]; /* of questions; then fine and coarse, where the data says */
    struct nun_eval_pope pope[NUN_EVAL_NEGATIVES];
    int n_kinds, n_pope;
    struct nun_eval_text text;     /* perplexity */
    size_t generated_tokens, prompt_tokens, cached_tokens;
    double seconds;                /* of asking and answering */
};

struct nun_model;
/* NUN_ESTOP when the callback stopped it. */
int nun_eval(struct nun_model *m, const struct nun_eval_options *options, struct nun_eval_result *out);

/* The tasks there are, with a line on each; NULL after the last. */
const char *nun_eval_task(int i, const char **doc);

struct nun_eval_share nun_eval_wilson(int right, int asked);

#ifdef __cplusplus
}
#endif
#endif
