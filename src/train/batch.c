/* Drawing, asking, tokenising and packing, one picture a task. */
/* SPDX-License-Identifier: MIT */
#include "train/batch.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"

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
    return 0;
}

/* One thread's drawing space: questions, bytes of the picture, what the world needs. */
static size_t drawing_bytes(const struct batch_source *s, const struct preprocess_plan *p)
{
    size_t n = SCENE_MAX_QUESTIONS * sizeof(struct scene_qa) + 3 * (size_t)p->width * (size_t)p->height +
               s->world.row->scratch(p->width, p->height);
    return (n + 63) & ~(size_t)63;
}

/* <s> <|user|> and the picture's text as ids, and where the placeholders came to lie. */
static int make_prefix(struct batch *b, const struct batch_source *s, struct span picture)
{
    TRY(ids_push(&b->prefix, s->bos));
    TRY(ids_push(&b->prefix, s->user));
    if (b->shape.told)
        return 0;
    TRY(tokenizer_encode(s->tok, picture, TOK_PARSE_SPECIAL, &b->prefix));
    if (!(b->image_at = arena_array(&b->arena, b->prefix.n, sizeof *b->image_at)))
        return NUN_ENOMEM;
    for (size_t i = 0; i < b->prefix.n; i++)
        if (b->prefix.at[i] == s->image)
            b->image_at[b->image_tokens++] = (int32_t)i;
    return 0;
}

static int reserve(struct batch *b, const struct batch_source *src)
{
    const struct batch_shape *s = &b->shape;
    size_t P = (size_t)s->pictures, T = (size_t)s->tokens, R = (size_t)s->answers, threads = (size_t)b->threads;
    if (!s->told)
        TRY(preprocess_floats(&src->processor, &s->plan, &b->floats));
    b->scratch_bytes = drawing_bytes(src, &s->plan);
    struct { void **at; size_t count, size; } rows[] = {
        {(void **)&b->pixels, P * b->floats + 1, 4}, {(void **)&b->ids, P * T, 4}, {(void **)&b->pos, P * T, 4},
        {(void **)&b->spans, P * T * 4, 4}, {(void **)&b->pick, P * R, 4}, {(void **)&b->labels, P * R, 4},
        {(void **)&b->answer, P * (size_t)s->questions, sizeof *b->answer}, {(void **)&b->answers, P, sizeof(int)},
        {&b->scratch, threads, b->scratch_bytes}, {(void **)&b->tokens, threads, sizeof *b->tokens},
        {(void **)&b->words, threads, sizeof *b->words}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(*rows[i].at = arena_array(&b->arena, rows[i].count, rows[i].size)))
            return NUN_ENOMEM;
    for (int i = 0; i < b->threads; i++)
        buf_init(&b->words[i], MEM_TRAIN, LIMIT_OF(text_bytes));
    return 0;
}

int batch_create(const struct batch_shape *shape, const struct batch_source *s, struct span picture, int threads, struct batch **out)
{
    *out = mem_calloc(MEM_TRAIN, 1, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    (*out)->shape = *shape;
    (*out)->threads = threads;
    arena_init(&(*out)->arena, MEM_TRAIN, 0);
    int rc = make_prefix(*out, s, picture);
    if (rc >= 0 && (size_t)shape->tokens < (*out)->prefix.n + 1)
        rc = err_set(NUN_EFORMAT, "a row of %d tokens cannot hold the %zu of a picture", shape->tokens, (*out)->prefix.n);
    if (rc >= 0)
        rc = reserve(*out, s);
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
    for (int i = 0; b->words && i < b->threads; i++) {
        ids_free(&b->tokens[i]);
        buf_free(&b->words[i]);
    }
    ids_free(&b->prefix);
    arena_free(&b->arena);
    mem_free(b);
}

/* [side, side, 3] bytes -> [3, side, side] normalised, with the processor's arithmetic. */
static void normalise(const struct preprocess_facts *f, const uint8_t *rgb, size_t n, float *out)
{
    float table[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)((double)v * f->rescale_factor) - (float)f->mean[c]) / (float)f->std[c];
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            out[(size_t)c * n + i] = table[c][rgb[3 * i + c]];
}

/* The picture as the tower is given it. Squares that need no resizing, as most do here, take the short way. */
int batch_pixels(const struct batch_source *s, const struct preprocess_plan *p, uint8_t *rgb, float *out, size_t floats)
{
    size_t n = (size_t)p->width * (size_t)p->height;
    if (p->tiles == 1 && p->inside_width == p->width && p->inside_height == p->height && 3 * n == floats) {
        normalise(&s->processor, rgb, n, out);
        return 0;
    }
    struct image img = {.width = p->width, .height = p->height, .channels = 3, .data = rgb};
    return preprocess_tiles(&s->processor, p, &img, out, floats);
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

/* What every question of the picture sees; words: the picture told, or empty. */
static int put_prefix(struct packing *p, struct span words)
{
    struct batch *b = p->b;
    const int32_t *ids = b->prefix.at;
    int n = (int)b->prefix.n;
    if (b->shape.told) {
        p->tokens->n = 0;
        for (int i = 0; i < n; i++)
            TRY(ids_push(p->tokens, ids[i]));
        TRY(tokenizer_encode(p->src->tok, words, 0, p->tokens));
        ids = p->tokens->at;
        n = (int)p->tokens->n;
    }
    if (n >= b->shape.tokens)
        return err_set(NUN_ELIMIT, "a picture in words takes %d tokens, and a row holds %d", n, b->shape.tokens);
    for (int i = 0; i < n; i++)
        put(p, ids[i], p->at, 0, p->at + 1);
    p->prefix = p->at;
    return 0;
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
    *a = (struct batch_answer){p->picture, p->picks, learnt, qa->kind, qa->fine};
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

static int fill_picture(struct batch *b, const struct batch_source *s, uint64_t first, int picture, int thread)
{
    const struct world *w = &s->world;
    const struct preprocess_plan *plan = &b->shape.plan;
    uint8_t *scratch = (uint8_t *)b->scratch + (size_t)thread * b->scratch_bytes;
    struct scene_qa *qa = (struct scene_qa *)(void *)scratch;
    uint8_t *rgb = scratch + SCENE_MAX_QUESTIONS * sizeof *qa;
    uint64_t index = first + (uint64_t)picture;
    struct buf *words = &b->words[thread];
    int n = 0;
    buf_reset(words);
    if (b->shape.told) {
        TRY(w->row->tell(w, first, index, words, qa, b->shape.questions, &n));
        TRY(buf_error(words));
    } else {
        TRY(w->row->draw(w, first, index, rgb, rgb + 3 * (size_t)plan->width * (size_t)plan->height, qa, b->shape.questions, &n));
        TRY(batch_pixels(s, plan, rgb, b->pixels + (size_t)picture * b->floats, b->floats));
    }
    struct packing p = {.b = b, .src = s, .picture = picture, .tokens = &b->tokens[thread]};
    b->answers[picture] = 0;
    TRY(put_prefix(&p, buf_view(words)));
    for (int i = 0; i < n; i++)
        TRY(put_question(&p, &qa[i]));
    __atomic_fetch_add(&b->used_tokens, p.at, __ATOMIC_RELAXED);
    __atomic_fetch_add(&b->learnt, p.picks, __ATOMIC_RELAXED);
    pad(&p);
    return 0;
}

/* The first failure's code and sentence: sentences belong to threads, so it is carried over. */
struct filling { struct batch *b; const struct batch_source *s; uint64_t first; int rc; char why[256]; };

static void fill_thread(void *arg, int ith, int nth)
{
    struct filling *f = arg;
    for (int i = ith; i < f->b->shape.pictures; i += nth) {
        int rc = fill_picture(f->b, f->s, f->first, i, ith);
        int none = 0;
        if (rc < 0 && __atomic_compare_exchange_n(&f->rc, &none, rc, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            snprintf(f->why, sizeof f->why, "%s", nun_error());
    }
}

int batch_fill(struct batch *b, const struct batch_source *s, uint64_t first, struct pool *pool)
{
    struct filling f = {.b = b, .s = s, .first = first};
    b->used_tokens = b->learnt = 0;
    if (pool && pool_threads(pool) <= b->threads)
        pool_run(pool, fill_thread, &f);
    else
        fill_thread(&f, 0, 1);
    return f.rc < 0 ? err_set(f.rc, "%s", f.why) : 0;
}
