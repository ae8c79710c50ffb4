/* Datasets of pictures and conversations, in LLaVA's JSON or as messages of OpenAI's kind: a list of samples, in one
 * JSON file or one a line (.jsonl). Reading is strict: what is not understood is refused with its place. Writing makes what
 * reading accepts. Knows no pixels and no tokens; training and evaluation read, the data command writes. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H
#include <stddef.h>
#include "base/buf.h"

/* One question and its answer. The marks "<image>" of the file are taken out of the question; as in
 * LLaVA, the pictures stand before its text. */
struct data_turn {
    const char *question, *answer;
    int images;           /* marks that stood in this question */
    const char *kind;     /* what the question tests; NULL when the file does not say */
    const char *negative; /* how an absent thing was chosen; NULL likewise */
    const char *detail;   /* "fine" or "coarse": of what the answer needs to be seen; NULL likewise */
};

struct data_sample {
    const char *id;
    const char *system;        /* NULL: none */
    const char *const *image;  /* [images] paths relative to the data's folder */
    int images;
    const struct data_turn *turn; /* [turns] */
    int turns;
    size_t line;               /* of the file that it begins in, from 1 */
};

struct dataset;

/* Every sample that is refused is told, and the reading goes on. */
struct dataset_lint { void (*emit)(void *arg, const char *sentence); void *arg; };

/* path: a .json or .jsonl file, or a folder with data.json. image_root: where the pictures' paths begin,
 * NULL for the file's folder. */
int dataset_open(const char *path, const char *image_root, struct dataset **out);
int dataset_open_lint(const char *path, const char *image_root, const struct dataset_lint *lint, struct dataset **out);
/* dataset_open from memory: `lines` says one sample a line; `place` stands for the path. */
int dataset_parse(struct span text, bool lines, const char *place, const char *image_root, struct dataset **out);
/* Tell of every sample that reading refuses, and of every picture that is missing, broken or too large. */
struct nun_dataset_tally;
int dataset_look_over(const char *path, const char *image_root, const struct dataset_lint *to, struct nun_dataset_tally *out);
void dataset_close(struct dataset *d); /* NULL is fine */
const char *dataset_path(const struct dataset *d); /* of its file */
size_t dataset_count(const struct dataset *d);
const struct data_sample *dataset_at(const struct dataset *d, size_t i); /* borrowed until dataset_close */
/* The whole path of the sample's k-th picture into out. */
int dataset_image_path(const struct dataset *d, const struct data_sample *s, int k, char *out, size_t cap);

/* Append one sample as JSON without line breaks; each turn's marks are put before its question. */
void data_sample_write(const struct data_sample *s, struct buf *out);

#endif
