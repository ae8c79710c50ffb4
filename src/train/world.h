/* Worlds as rows: what draws pictures and asks about them while training goes on. A picture is a function of (world, seed,
 * split, number). Knows pixels and words; no tokens and no graphs. The batches (batch.c) and the trainer call it. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_WORLD_H
#define TRAIN_WORLD_H
#include "data/hd.h"
#include "data/scenes.h"
#include "train/recipe.h"

struct world_row;

/* A world as one stage wants it. */
struct world {
    const struct world_row *row;
    uint64_t seed;
    struct scene_config scene;
    struct hd_config hd;
    struct scene_fonts *fonts; /* owned */
};

struct world_row {
    const char *name, *doc;
    /* Load what it draws with; side: of the model's square, in pixels. */
    int (*open)(struct world *w, int side);
    void (*close)(struct world *w);
    /* Take the settings of a stage. */
    int (*set)(struct world *w, const struct recipe_stage *s, enum scene_split split);
    /* Sides of the pictures first, first + 1, ... of one micro-batch. */
    void (*sides)(const struct world *w, uint64_t first, int *width, int *height);
    /* Bytes of scratch that drawing a picture of these sides takes. */
    size_t (*scratch)(int width, int height);
    /* Picture `index` into rgb [height, width, 3], and up to `max` questions about it into qa. first: of its micro-batch. */
    int (*draw)(const struct world *w, uint64_t first, uint64_t index, uint8_t *rgb, void *scratch, struct scene_qa *qa, int max, int *n);
    /* The same picture in words, appended. NULL: the world has none for its pictures. */
    int (*tell)(const struct world *w, uint64_t first, uint64_t index, struct buf *words, struct scene_qa *qa, int max, int *n);
    /* Append text of n pictures, to train a tokenizer on. */
    int (*corpus)(const struct world *w, int n, struct buf *out);
    const char *pattern;       /* that the tokenizer cuts it with first */
};

extern const struct world_row *const world_rows[]; /* NULL-terminated */

/* name NULL: scenes. Set for training as by default. */
int world_open(const char *name, uint64_t seed, int side, struct world *out);
void world_close(struct world *w);

#endif
