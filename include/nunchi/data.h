/* Datasets and the world of scenes: make pictures with questions, read them back, tell right from wrong. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_DATA_H
#define NUNCHI_DATA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- datasets: LLaVA's JSON, OpenAI's messages ------------------------------------------------------------------ */

struct nun_dataset;

/* One question and its answer; strings are borrowed until the dataset is closed. */
struct nun_data_turn {
    const char *question, *answer;
    const char *kind, *negative; /* what is tested, and how an absent thing was chosen; NULL: not said */
    const char *detail;          /* "fine" or "coarse": what the answer needs to be seen; NULL: not said */
};

/* path: a .json or .jsonl file, or a folder with data.json. Reading is strict. */
int nun_dataset_open(const char *path, struct nun_dataset **out);
void nun_dataset_close(struct nun_dataset *d);
size_t nun_dataset_count(const struct nun_dataset *d);
int nun_dataset_turns(const struct nun_dataset *d, size_t sample);
int nun_dataset_images(const struct nun_dataset *d, size_t sample);
const char *nun_dataset_id(const struct nun_dataset *d, size_t sample);
void nun_dataset_turn(const struct nun_dataset *d, size_t sample, int turn, struct nun_data_turn *out);
int nun_dataset_image_path(const struct nun_dataset *d, size_t sample, int image, char *out, size_t capacity);

/* Reads all of it, as strictly as training does, and looks at the head of every picture. Each problem is one sentence
 * that begins with the file and the line. */
struct nun_dataset_tally { size_t samples, turns, pictures, problems; };
int nun_dataset_lint(const char *path, void (*emit)(void *arg, const char *sentence), void *arg, struct nun_dataset_tally *out);

/* ---- scenes ------------------------------------------------------------------------------------ */

struct nun_scenes_options {
    const char *world;           /* "scenes"; "scenes-hd": large pictures of 1 to 6 tiles of 448 pixels; NULL: scenes */
    const char *folder;          /* made; must not hold a data.json yet */
    const char *split;           /* "train", "val", "test", "heldout"; NULL: "test" */
    const char *format;          /* "png", "jpg", "webp"; NULL: these in turn */
    uint64_t seed, first;        /* pictures first, first + 1, ... of the split */
    int count;                   /* pictures */
    int questions;               /* of one picture, at most; 0: 8 */
    int side;                    /* pixels; 0: 112; none for scenes-hd */
    int quality;                 /* of JPEG and WebP; 0: their default */
    void (*progress)(void *arg, int done, int count); /* may be NULL */
    void *arg;
};
/* A dataset folder. The same options give the same bytes. */
int nun_scenes_write(const struct nun_scenes_options *options);

/* The kinds of questions, and the ways to choose what is absent; NULL after the last. */
const char *nun_scenes_kind(int i);
const char *nun_scenes_negative(int i);

/* Counts of right answers. */
struct nun_scenes_tally;
int nun_scenes_tally_create(struct nun_scenes_tally **out);
void nun_scenes_tally_free(struct nun_scenes_tally *t);
/* Judge one answer and count it. 1: right, 0: wrong, negative: the turn has no kind that is known. */
int nun_scenes_tally_add(struct nun_scenes_tally *t, const struct nun_data_turn *turn, const char *answer, size_t len);
void nun_scenes_tally_kind(const struct nun_scenes_tally *t, int kind, int *asked, int *right);
/* Existence as POPE counts it, "yes" positive, for one kind of negative. False when there were none. */
struct nun_scenes_pope { int yes, no; double accuracy, precision, recall, f1, yes_ratio; };
bool nun_scenes_tally_pope(const struct nun_scenes_tally *t, int negative, struct nun_scenes_pope *out);

#ifdef __cplusplus
}
#endif
#endif
