/* Inside the evaluation room: what a task hands to the report. */
/* SPDX-License-Identifier: MIT */
#ifndef EVAL_TASK_H
#define EVAL_TASK_H
#include "base/arena.h"
#include "base/buf.h"
#include "nunchi/eval.h"
#include "nunchi/nunchi.h"

/* An answer that the report shows, with its picture. Strings live in the samples' arena. */
struct eval_sample {
    const char *id, *kind, *question, *expected, *given, *media; /* media: "image/png" */
    const void *picture;
    size_t picture_bytes;
    bool right;
    size_t order;   /* of asking, so that a report does not depend on timing */
};

/* For every kind the first few right and the first few wrong ones are kept. */
enum { EVAL_KEEP_RIGHT = 2, EVAL_KEEP_WRONG = 6 };
struct eval_samples {
    struct arena arena;
    struct eval_sample at[NUN_EVAL_KINDS * (EVAL_KEEP_RIGHT + EVAL_KEEP_WRONG)];
    int n, right[NUN_EVAL_KINDS], wrong[NUN_EVAL_KINDS];
};

/* task_scenes.c */
int eval_scenes(struct nun_model *m, const struct nun_eval_options *o, struct eval_samples *samples,
                struct nun_eval_result *out);
/* task_perplexity.c */
int eval_perplexity(struct nun_model *m, const struct nun_eval_options *o, struct eval_samples *samples,
                    struct nun_eval_result *out);
/* report.c: one HTML file that needs nothing beside it. */
int eval_report(const struct nun_eval_options *o, const struct nun_model_info *model, const struct nun_eval_result *r,
                const struct eval_samples *samples);

#endif
