/* Batches of a world's questions: pictures drawn on the fly, questions packed behind each picture so that none sees
 * another. Row layout of one picture, T tokens:
 *
 *   <s> <|user|> [what stands for the picture, or its words] | q1 <|assistant|> a1 </s> | q2 <|assistant|> a2 </s> | padding
 *
 * Every question sees the prefix and itself (two key spans), with positions that go on from the prefix,
 * so a packed question gets exactly what it would get alone. Knows tokens and worlds; no graphs. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H
#include "base/arena.h"
#include "base/pool.h"
#include "media/preprocess.h"
#include "text/tokenizer.h"
#include "train/world.h"

struct batch_shape {
    int pictures, tokens, answers, questions;
    bool told;                   /* pictures are told in words and not shown */
    struct preprocess_plan plan; /* of every picture that is shown */
};

/* A question's place among the picked rows, for scoring. */
struct batch_answer { int picture, first, count; enum scene_kind kind; bool fine; };

struct batch {
    struct batch_shape shape;
    size_t floats;       /* of a picture's tiles */
    float *pixels;       /* [P, tiles, 3, tile_height, tile_width] */
    int32_t *ids, *pos;  /* [P * T] */
    int32_t *spans;      /* [P, T, 4] */
    int32_t *pick;       /* [P * answers] rows whose next token is learnt; -1: none */
    int32_t *labels;     /* [P * answers] the token after that row; -1: none */
    struct batch_answer *answer; /* [P * questions] */
    int *answers;        /* [P] how many of them */
    struct ids prefix;   /* of every picture that is shown: <s> <|user|> and what stands for it */
    int32_t *image_at;   /* [image_tokens] where in it the placeholders are */
    int image_tokens;
    struct arena arena;
    void *scratch;       /* a thread's drawing space, `threads` of them */
    size_t scratch_bytes;
    struct ids *tokens;  /* one a thread */
    struct buf *words;   /* one a thread */
    int threads;
    int64_t used_tokens, learnt; /* of the last fill: tokens without padding, and labels */
};

struct batch_source {
    const struct tokenizer *tok;
    struct world world;
    struct preprocess_facts processor;
    bool square;                 /* pictures are the tower's one square: it only normalises them */
    int32_t bos, eos, pad, image, user, assistant;
};

/* Special tokens of the conversation, looked up by their pieces. */
int batch_source_init(struct batch_source *s, const struct tokenizer *tok);
/* picture: the text that stands for a picture of the plan, with the placeholder where features go; empty when told. */
int batch_create(const struct batch_shape *shape, const struct batch_source *s, struct span picture, int threads, struct batch **out);
void batch_free(struct batch *b);
/* Fill with the pictures first, first + 1, ... of the source's split. The same whatever the pool. */
int batch_fill(struct batch *b, const struct batch_source *s, uint64_t first, struct pool *pool);
/* A picture of the plan's sides as the tower is given it. */
int batch_pixels(const struct batch_source *s, const struct preprocess_plan *p, uint8_t *rgb, float *out, size_t floats);

#endif
