/* Conversations of data on disk, as sequences to learn from. talk.c: one of them as ids, pictures and places, made by the code
 * that serves it, and which of its tokens are the assistant's. talk_data.c: the data of a stage, in the order in which it is
 * seen. talk_graph.c: several of them behind each other in one row of tokens, none of which sees another. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_TALK_H
#define TRAIN_TALK_H
#include "data/dataset.h"
#include "runtime/timeline.h"
#include "train/trainer.h"

/* ---- talk.c ---------------------------------------------------------------------------------- */

struct talk {
    struct nun_timeline *line; /* nothing of it is computed; NULL: too long even with one question */
    bool *learnt;              /* [tokens] it is the assistant's */
    int tokens, labels;        /* labels: learnt ones */
    char cut[160];             /* what was left out, and why; empty: nothing */
};

/* The sample as a conversation of at most `most` tokens: behind more, whole questions are left out, the last ones first. */
int talk_make(struct nun_model *m, const struct dataset *d, const struct data_sample *s, int most, struct talk *out);
void talk_free(struct talk *t);

/* ---- talk_data.c ------------------------------------------------------------------------------- */

struct talk_set;

/* shuffled: by seed, every pass over a file in another order, files by their weights. Else file by file, once. */
int talk_set_open(const struct recipe_data *data, uint32_t n, bool shuffled, uint64_t seed, struct talk_set **out);
void talk_set_close(struct talk_set *s); /* NULL is fine */
uint64_t talk_set_count(const struct talk_set *s); /* samples in all files */
/* The sample that is seen as number `at`. Not for several threads at once. */
void talk_set_at(struct talk_set *s, uint64_t at, const struct dataset **d, const struct data_sample **out);
/* Before a run begins: all data of all stages is read, every picture's file looked at, and epochs are counted out as
 * samples. Every problem is told with file and line; one is enough to end the run. */
int talk_check(struct trainer *t);

/* ---- talk_graph.c ------------------------------------------------------------------------------ */

/* Pictures of one plan, which are encoded together; words: of the prompt that each of them reads. */
struct talk_group { struct preprocess_plan key; int words, count, rows; size_t floats; };
/* tokens, labels: of the row, rounded up; rows: of features, in and beside the sequence. */
struct talk_shape { int tokens, labels, groups, pictures, inside, beside, rows; struct talk_group *group; };

/* The row of the first n of these conversations: its graph, found or made, with the inputs filled. */
int talk_graph(struct stage_run *r, const struct talk *talk, int n, struct train_graph **out);

#endif
