/* Batches of scenes: pictures drawn on the fly, questions packed behind each picture so that none sees
 * another. Row layout of one picture, T tokens:
 *
 *   <s> <|user|> [picture tokens] | q1 <|assistant|> a1 </s> | q2 <|assistant|> a2 </s> | padding
 *
 * Every question sees the prefix and itself (two key spans), with positions that go on from the prefix,
 * so a packed question gets exactly what it would get alone. Knows tokens and scenes; no graphs. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H
#include "base/arena.h"
#include "base/pool.h"
#include "data/scenes.h"
#include "text/tokenizer.h"

struct batch_shape { int pictures, tokens, answers, questions, image_tokens, side; };

/* A question's place among the picked rows, for scoring. */
struct batch_answer { int picture, first, count; enum scene_kind kind; };

struct batch {
    struct batch_shape shape;
    float *pixels;       /* [P, 3, side, side] */
    int32_t *ids, *pos;  /* [P * T] */
    int32_t *spans;      /* [P, T, 4] */
    int32_t *image_rows; /* [P * image_tokens] */
    int32_t *pick;       /* [P * answers] rows whose next token is learnt; -1: none */
    int32_t *labels;     /* [P * answers] the token after that row; -1: none */
    struct batch_answer *answer; /* [P * questions] */
    int *answers;        /* [P] how many of them */
    struct arena arena;
    void *scratch;       /* a thread's drawing space, `threads` of them */
    struct ids *tokens;  /* one a thread */
    int threads;
    int64_t used_tokens; /* of the last fill, without padding */
};

struct batch_source {
    const struct tokenizer *tok;
    struct scene_config scene;
    uint64_t seed;
    int32_t bos, eos, pad, image, user, assistant;
    float mean[3], std[3];
};

/* Special tokens of the conversation, looked up by their pieces. */
int batch_source_init(struct batch_source *s, const struct tokenizer *tok);
int batch_create(const struct batch_shape *shape, int threads, struct batch **out);
void batch_free(struct batch *b);
/* Fill with the pictures first, first + 1, ... of the source's split. The same whatever the pool. */
int batch_fill(struct batch *b, const struct batch_source *s, uint64_t first, struct pool *pool);

#endif
