/* Drawing, asking, tokenising and packing, one picture a task. */
/* SPDX-License-Identifier: MIT */
#include "train/batch.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

int batch_source_init(struct batch_source *s, const struct tokenizer *tok)
{
    struct { const char *piece; int32_t *id; } rows[] = {
        {"<s>", &s->bos}, {"</s>", &s->eos}, {"<pad>", &s->pad},
        {"<image>", &s->image}, {"<|user|>", &s->user}, {"<|assistant|>", &s->assistant}};
    s->tok = tok;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *rows[i].id = tokenizer_id_of(tok, span_str(rows[i].piece));
        if (*rows[i].id < 0)
            return err_set(NUN_EFORMAT, "tokenizer: the conversation needs the token %s, there is none", rows[i].piece);
    }
    for (int c = 0; c < 3; c++)
        s->mean[c] = s->std[c] = 0.5f;
    return 0;
}

/* Bytes of one thread's drawing space: questions, pixels, artefacts. */
static size_t drawing_bytes(int side)
{
    size_t n = SCENE_MAX_QUESTIONS * sizeof(struct scene_qa) + 3 * (size_t)side * (size_t)side + scene_scratch_bytes(side);
    return (n + 63) & ~(size_t)63;
}

static int reserve(struct batch *b)
{
    const struct batch_shape *s = &b->shape;
    size_t P = (size_t)s->pictures, T = (size_t)s->tokens, R = (size_t)s->answers, side = (size_t)s->side;
    struct { void **at; size_t count, size; } rows[] = {
        {(void **)&b->pixels, P * 3 * side * side, 4}, {(void **)&b->ids, P * T, 4}, {(void **)&b->pos, P * T, 4},
        {(void **)&b->spans, P * T * 4, 4}, {(void **)&b->image_rows, P * (size_t)s->image_tokens, 4},
        {(void **)&b->pick, P * R, 4}, {(void **)&b->labels, P * R, 4},
        {(void **)&b->answer, P * (size_t)s->questions, sizeof *b->answer}, {(void **)&b->answers, P, sizeof(int)},
        {&b->scratch, (size_t)b->threads, drawing_bytes(s->side)}, {(void **)&b->tokens, (size_t)b->threads, sizeof *b->tokens}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(*rows[i].at = arena_array(&b->arena, rows[i].count, rows[i].size)))
            return NUN_ENOMEM;
    return 0;
}

int batch_create(const struct batch_shape *shape, int threads, struct batch **out)
{
    *out = mem_calloc(MEM_TRAIN, 1, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    (*out)->shape = *shape;
    (*out)->threads = threads;
    arena_init(&(*out)->arena, MEM_TRAIN, 0);
    int rc = reserve(*out);
    if (rc < 0) {
        batch_free(*out);
        *out = NULL;
    }
    return rc;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (int i = 0; b->tokens && i < b->threads; i++)
        ids_free(&b->tokens[i]);
    arena_free(&b->arena);
    mem_free(b);
}

/* [side, side, 3] bytes -> [3, side, side] normalised, with the processor's arithmetic. */
static void normalise(const struct batch_source *src, const uint8_t *rgb, int side, float *out)
{
    float table[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)((double)v * (1.0 / 255.0)) - src->mean[c]) / src->std[c];
    size_t n = (size_t)side * (size_t)side;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            out[(size_t)c * n + i] = table[c][rgb[3 * i + c]];
}

struct packing {
    struct batch *b;
    const struct batch_source *src;
    int picture, at, prefix, picks; /* next free token, length of the prefix, picked rows */
    struct ids *tokens;
};

static void put(struct packing *p, int32_t id, int pos, int from, int to)
{
    struct batch *b = p->b;
    size_t row = (size_t)p->picture * (size_t)b->shape.tokens + (size_t)p->at;
    b->ids[row] = id;
    b->pos[row] = pos;
    int32_t *span = b->spans + 4 * row;
    span[0] = 0;
    span[1] = from > 0 ? p->prefix : to;
    span[2] = from;
    span[3] = from > 0 ? to : 0;
    p->at++;
}

static void put_prefix(struct packing *p)
{
    const struct batch_source *s = p->src;
    int n = p->b->shape.image_tokens;
    put(p, s->bos, 0, 0, 1);
    put(p, s->user, 1, 0, 2);
    for (int i = 0; i < n; i++) {
        p->b->image_rows[(size_t)p->picture * (size_t)n + (size_t)i] = p->picture * p->b->shape.tokens + p->at;
        put(p, s->image, p->at, 0, p->at + 1);
    }
    p->prefix = p->at;
}

/* One question behind the prefix. 1 when it does not fit, and then nothing was put. */
static int put_question(struct packing *p, const struct scene_qa *qa)
{
    struct batch *b = p->b;
    p->tokens->n = 0;
    TRY(tokenizer_encode(p->src->tok, span_str(qa->question), 0, p->tokens));
    int question = (int)p->tokens->n;
    TRY(ids_push(p->tokens, p->src->assistant));
    TRY(tokenizer_encode(p->src->tok, span_str(qa->answer), 0, p->tokens));
    TRY(ids_push(p->tokens, p->src->eos));
    int n = (int)p->tokens->n, learnt = n - question - 1;
    if (p->at + n > b->shape.tokens || p->picks + learnt > b->shape.answers)
        return 1;
    int start = p->at;
    size_t picks = (size_t)p->picture * (size_t)b->shape.answers;
    struct batch_answer *a = &b->answer[p->picture * b->shape.questions + b->answers[p->picture]++];
    *a = (struct batch_answer){p->picture, p->picks, learnt, qa->kind};
    for (int i = 0; i < n; i++) {
        if (i >= question && i + 1 < n) {
            b->pick[picks + (size_t)p->picks] = p->picture * b->shape.tokens + p->at;
            b->labels[picks + (size_t)p->picks++] = p->tokens->at[i + 1];
        }
        put(p, p->tokens->at[i], p->prefix + i, start, p->at + 1);
    }
    return 0;
}

static void pad(struct packing *p)
{
    struct batch *b = p->b;
    while (p->at < b->shape.tokens) {
        size_t row = (size_t)p->picture * (size_t)b->shape.tokens + (size_t)p->at++;
        b->ids[row] = p->src->pad;
        b->pos[row] = 0;
        memset(b->spans + 4 * row, 0, 4 * sizeof(int32_t));
    }
    size_t base = (size_t)p->picture * (size_t)b->shape.answers;
    for (int i = p->picks; i < b->shape.answers; i++)
        b->pick[base + (size_t)i] = b->labels[base + (size_t)i] = -1;
}

static int fill_picture(struct batch *b, const struct batch_source *s, int picture, uint64_t index, int thread)
{
    int side = b->shape.side;
    size_t pixels = 3 * (size_t)side * (size_t)side;
    uint8_t *scratch = (uint8_t *)b->scratch + (size_t)thread * drawing_bytes(side);
    struct scene_qa *qa = (struct scene_qa *)(void *)scratch;
    uint8_t *rgb = scratch + SCENE_MAX_QUESTIONS * sizeof *qa;
    struct scene scene;
    scene_make(&s->scene, s->seed, index, &scene);
    TRY(scene_draw(&scene, rgb, rgb + pixels));
    normalise(s, rgb, side, b->pixels + (size_t)picture * pixels);
    int n = scene_questions(&s->scene, &scene, qa, b->shape.questions);
    struct packing p = {.b = b, .src = s, .picture = picture, .tokens = &b->tokens[thread]};
    b->answers[picture] = 0;
    put_prefix(&p);
    for (int i = 0; i < n; i++)
        TRY(put_question(&p, &qa[i]));
    __atomic_fetch_add(&b->used_tokens, p.at, __ATOMIC_RELAXED);
    pad(&p);
    return 0;
}

/* The first failure's code and sentence: sentences belong to threads, so it is carried over. */
struct filling { struct batch *b; const struct batch_source *s; uint64_t first; int rc; char why[256]; };

static void fill_thread(void *arg, int ith, int nth)
{
    struct filling *f = arg;
    for (int i = ith; i < f->b->shape.pictures; i += nth) {
        int rc = fill_picture(f->b, f->s, i, f->first + (uint64_t)i, ith);
        int none = 0;
        if (rc < 0 && __atomic_compare_exchange_n(&f->rc, &none, rc, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            snprintf(f->why, sizeof f->why, "%s", nun_error());
    }
}

int batch_fill(struct batch *b, const struct batch_source *s, uint64_t first, struct pool *pool)
{
    struct filling f = {.b = b, .s = s, .first = first};
    b->used_tokens = 0;
    if (pool && pool_threads(pool) <= b->threads)
        pool_run(pool, fill_thread, &f);
    else
        fill_thread(&f, 0, 1);
    return f.rc < 0 ? err_set(f.rc, "%s", f.why) : 0;
}
