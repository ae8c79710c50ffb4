/* Pictures that a world draws for one micro-batch, as the tower is given them, each with one question about it. Knows
 * pixels and words; no tokens and no graphs. The tasks that learn a tower alone call it. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_DRAWN_H
#define TRAIN_DRAWN_H
#include "train/trainer.h"

struct drawn {
    int n, threads, side;
    struct preprocess_plan square; /* of a picture that needs no processor */
    size_t floats;               /* of a picture */
    float *pixels;               /* [n, 3, side, side] */
    uint64_t *number;            /* [n] which picture of the world */
    struct scene_qa *qa;         /* [n] */
    bool *due, *asked;           /* [n] the next call draws it; the world had a question */
    uint8_t *scratch;            /* a thread's drawing space, `threads` of them; as large as a picture needed so far */
    size_t scratch_bytes;
    struct arena arena;
};

int drawn_create(const struct stage_run *r, int n, struct drawn **out);
void drawn_free(struct drawn *d); /* NULL is fine */
/* Pictures first, first + 1, ..., all of them due. */
void drawn_ask(struct drawn *d, uint64_t first);
/* Draw what is due, on the pool; the same whatever its threads. */
int drawn_fill(struct drawn *d, const struct batch_source *s, struct pool *pool);
/* A picture as bytes again, rgb [side, side, 3]. */
void drawn_bytes(const struct drawn *d, const struct batch_source *s, const float *pixels, uint8_t *rgb);

#endif
