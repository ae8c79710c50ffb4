/* How far from the reference implementation: runs the cases that lie in a model folder's verify/. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_VERIFY_H
#define NUNCHI_VERIFY_H
#include <stdbool.h>
#include <stddef.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

/* One comparison: an output, or an inner module. */
struct nun_verify_item {
    const char *name;      /* "logits", or a module's path */
    bool module;           /* shown, never needed to pass */
    double max_abs;        /* greatest |got - expected| */
    double excess;         /* greatest |got - expected| / allowed; above 1 fails */
    double row_cosine;     /* least cosine of a row with the reference's */
    bool ok;
};

/* One case under one arithmetic. Valid during the callback. */
struct nun_verify_case {
    const char *name;
    const char *path;      /* "f32", "bf16", "train" */
    const struct nun_verify_item *items; /* in the order of the graph */
    size_t n_items;
    int greedy_same, greedy_total; /* ids that agree; total 0: not asked for */
    int arg_max_wrong;     /* fast path: rows with a clear winner that differ */
    double max_abs;        /* worst of the outputs */
    bool ok;
    const char *error;     /* could not run: the sentence; else NULL */
};

struct nun_verify_options {
    int threads;           /* 0: all CPUs */
    const char *cases;     /* folder whose verify/ is used; NULL: the model's own */
    const char *dump;      /* safetensors file to write; NULL: none */
    bool modules;          /* compare inner modules too */
    bool no_train;         /* leave verify/train.json aside */
    void (*report)(void *arg, const struct nun_verify_case *c); /* once per case and path; may be NULL */
    void *arg;
};

struct nun_verify_summary { int cases, failed, could_not_run; double worst_f32; };

/* 0: all within tolerance; 1: not; negative: could not run. `out` may be NULL. */
int nun_verify(const char *folder, const struct nun_verify_options *options, struct nun_verify_summary *out);

#ifdef __cplusplus
}
#endif
#endif
