/* Right or wrong in the world of scenes: one rule a kind, and the tally that reports and POPE's
 * figures are made of. Evaluation and reward functions call it; it knows no models. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_SCORE_H
#define DATA_SCENES_SCORE_H
#include "base/span.h"
#include "data/scenes.h"

/* Row of the names, or -1. */
int scene_kind_of(struct span name);
int scene_negative_of(struct span name);

/* Exact match after normalising: outer space, one final full stop and (but for printed text) letter
 * case don't matter, runs of space are one. Yes-or-no answers are judged by their first word, counts may be
 * words up to nine, JSON is compared as parsed: order of keys and space don't matter. */
bool scene_answer_right(enum scene_kind kind, struct span expected, struct span given);

/* A zeroed tally is empty. Existence questions are also counted by what POPE asks for. */
struct scene_tally {
    int asked[SCENE_KIND_COUNT], right[SCENE_KIND_COUNT];
    int yes_right, yes_wrong;                                   /* something that is there */
    int no_right[SCENE_NEG_COUNT], no_wrong[SCENE_NEG_COUNT];   /* by the kind of negative */
};
bool scene_tally_add(struct scene_tally *t, enum scene_kind kind, enum scene_negative negative, struct span expected,
                     struct span given);
/* Add b to a. */
void scene_tally_merge(struct scene_tally *a, const struct scene_tally *b);
/* 0..1; kind -1: all together; NaN when none was asked. */
double scene_tally_share(const struct scene_tally *t, int kind);

/* POPE's figures for one kind of negative, "yes" positive; each kind is weighed against all of the positives
 * scaled to equal number. */
struct scene_pope { double accuracy, precision, recall, f1, yes_ratio; };
void scene_tally_pope(const struct scene_tally *t, enum scene_negative negative, struct scene_pope *out);

#endif
