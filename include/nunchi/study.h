/* Studies: a set of trainings of ordinary recipes, and one report over their numbers. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_STUDY_H
#define NUNCHI_STUDY_H
#include <stdbool.h>
#include <stddef.h>
#include "nunchi/train.h"
#ifdef __cplusplus
extern "C" {
#endif

struct nun_study_progress {
    const char *run;                        /* "hybrid-s2" */
    size_t at, runs;                        /* which run of how many, from 1 */
    bool kept;                              /* it was finished before: nothing to do */
    double seconds_left;                    /* of all runs; negative while unknown */
    const struct nun_train_progress *train; /* NULL when a run begins or is kept */
};

struct nun_study_options {
    const char *study;                      /* path of the YAML file */
    const char *output;                     /* NULL: as the study says */
    const char *const *only;                /* [n_only] shared runs and variants to make; none: all */
    size_t n_only;
    bool quick;                             /* with the changes under `quick` */
    int threads;                            /* 0: all CPUs */
    /* Non-zero stops, saved. May be NULL. */
    int (*progress)(void *arg, const struct nun_study_progress *p);
    void *arg;
};

struct nun_study_result {
    size_t runs, made, kept, missing;       /* missing: not asked for, and not there from before */
    char report[4096], summary[4096];       /* paths of report.html and summary.json; summary.md is beside them */
};

/* Make the runs that are not there yet, one after the other, and write the report. Stopped or killed, the next
 * call goes on. NUN_ESTOP when the callback stopped it. */
int nun_study(const struct nun_study_options *options, struct nun_study_result *out);

#ifdef __cplusplus
}
#endif
#endif
