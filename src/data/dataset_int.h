/* Between the files that read datasets: a format reads one JSON object into a sample. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_DATASET_INT_H
#define DATA_DATASET_INT_H
#include <jansson.h>

#include "base/arena.h"
#include "data/dataset.h"

#define IMAGE_MARK "<image>"

/* Where an error is: the file, the line that the sample begins in, the sample's number. */
struct reader {
    struct dataset *d;
    struct arena *arena;
    const char *path;
    size_t at, line;
    const struct dataset_lint *lint; /* NULL: the first error ends the reading */
};

/* A row of formats: the key that tells it, and what reads a sample's id, pictures and turns. */
struct dataset_format {
    const char *key;
    int (*read)(struct reader *r, const json_t *obj, struct data_sample *s);
};
int data_read_llava(struct reader *r, const json_t *obj, struct data_sample *s);
int data_read_messages(struct reader *r, const json_t *obj, struct data_sample *s);

/* NUN_EFORMAT with the sample's place: what was expected at `key`, and the type that was found. */
int data_refuse(const struct reader *r, const char *key, const char *expected, const json_t *found);
/* The same with words of one's own. */
int data_bad(const struct reader *r, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int data_check_keys(const struct reader *r, const json_t *obj, const char *const *known);
int data_copy_string(struct reader *r, const char *key, const json_t *value, const char **out);
/* A picture's path may not leave the data's folder. */
int data_image_path(struct reader *r, const json_t *value, const char **out);
int data_read_id(struct reader *r, const json_t *value, const char **out);

#endif
