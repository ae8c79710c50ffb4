/* Between tower.c, which sees, and tower_text.c, which reads. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_TOWER_INT_H
#define RUNTIME_TOWER_INT_H
#include "nunchi/vision.h"
#include "runtime/engine.h"
#include "runtime/views.h"

struct tower_plan;
struct text_plan;

/* What the classes are, where texts say it. */
struct tower_labels {
    struct arena arena;
    int n;
    char **names;                /* [n] */
    float *vectors;              /* [n, width], of length 1 */
};

struct nun_tower {
    struct nun_model *m;
    int width;
    bool reads, independent;
    struct tower_labels labels;  /* n 0: the model's own classes */
    struct tower_plan *plans;    /* the newest first */
    struct text_plan *texts;
};

int tower_width(const struct model *m);
void tower_normalize(float *x, int n);
void tower_texts_free(struct nun_tower *t);
/* Probabilities of the labels for a picture's vector: what the pair's own scores say. */
void tower_scores(const struct nun_tower *t, float *vector, float *out);

#endif
