/* Drawing for the tasks of towers. */
/* SPDX-License-Identifier: MIT */
#include "train/drawn.h"

#include <math.h>
#include <stdio.h>

#include "base/err.h"
#include "models/sight.h"

static int reserve(struct drawn *d)
{
    size_t n = (size_t)d->n;
    d->floats = 3 * (size_t)d->side * (size_t)d->side;
    struct { void **at; size_t count, size; } rows[] = {
        {(void **)&d->pixels, n, d->floats * sizeof *d->pixels}, {(void **)&d->number, n, sizeof *d->number},
        {(void **)&d->qa, n, sizeof *d->qa}, {(void **)&d->due, n, sizeof *d->due}, {(void **)&d->asked, n, sizeof *d->asked}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(*rows[i].at = arena_array(&d->arena, rows[i].count, rows[i].size)))
            return NUN_ENOMEM;
    return 0;
}

int drawn_create(const struct stage_run *r, int n, struct drawn **out)
{
    struct drawn *d = *out = mem_calloc(MEM_TRAIN, 1, sizeof *d);
    if (!d)
        return NUN_ENOMEM;
    *d = (struct drawn){.n = n, .threads = pool_threads(r->t->pool), .side = model_image_size(r->t->model)};
    d->square = sight_square_plan(r->t->model);
    arena_init(&d->arena, MEM_TRAIN, 0);
    int rc = reserve(d);
    if (rc < 0) {
        drawn_free(d);
        *out = NULL;
    }
    return rc;
}

void drawn_free(struct drawn *d)
{
    if (!d)
        return;
    mem_free(d->scratch);
    arena_free(&d->arena);
    mem_free(d);
}

void drawn_ask(struct drawn *d, uint64_t first)
{
    for (int i = 0; i < d->n; i++) {
        d->number[i] = first + (uint64_t)i;
        d->due[i] = true;
    }
}

/* How a picture of these sides becomes the tower's square. */
static int plan_of(const struct drawn *d, const struct batch_source *s, int width, int height, struct preprocess_plan *out)
{
    *out = d->square;
    if (!s->square)
        TRY(preprocess_plan(&s->processor, &(struct preprocess_input){.width = width, .height = height}, out));
    if (out->width != width || out->height != height)
        return err_set(NUN_EUNSUP, "world %s: a picture of %d x %d for a tower of %d x %d: expected a processor in the recipe", s->world.row->name,
                       width, height, d->side, d->side);
    if (out->tiles != 1 || out->tile_width != d->side || out->tile_height != d->side)
        return err_set(NUN_EUNSUP, "processor: the tower sees one square of %d pixels, it gives %d tiles of %d x %d", d->side, out->tiles,
                       out->tile_width, out->tile_height);
    return 0;
}

/* Room for the largest picture that is due. */
static int make_room(struct drawn *d, const struct batch_source *s)
{
    size_t most = 0;
    for (int i = 0; i < d->n; i++) {
        int width = 0, height = 0;
        if (!d->due[i])
            continue;
        s->world.row->sides(&s->world, d->number[i], &width, &height);
        size_t bytes = 3 * (size_t)width * (size_t)height + s->world.row->scratch(width, height) + 63;
        most = bytes > most ? bytes : most;
    }
    most &= ~(size_t)63;
    if (most <= d->scratch_bytes)
        return 0;
    mem_free(d->scratch);
    d->scratch = mem_calloc(MEM_TRAIN, (size_t)d->threads, most);
    d->scratch_bytes = d->scratch ? most : 0;
    return d->scratch ? 0 : NUN_ENOMEM;
}

static int draw_one(struct drawn *d, const struct batch_source *s, int i, int thread)
{
    uint8_t *rgb = d->scratch + (size_t)thread * d->scratch_bytes;
    struct preprocess_plan plan;
    int width = 0, height = 0, n = 0;
    s->world.row->sides(&s->world, d->number[i], &width, &height);
    TRY(plan_of(d, s, width, height, &plan));
    TRY(s->world.row->draw(&s->world, d->number[i], d->number[i], rgb, rgb + 3 * (size_t)width * (size_t)height, &d->qa[i], 1, &n));
    d->asked[i] = n > 0;
    return batch_pixels(s, &plan, rgb, d->pixels + (size_t)i * d->floats, d->floats);
}

/* The first failure's code and sentence: sentences belong to threads, so it is carried over. */
struct drawing { struct drawn *d; const struct batch_source *s; int rc; char why[256]; };

static void draw_thread(void *arg, int ith, int nth)
{
    struct drawing *w = arg;
    for (int i = ith; i < w->d->n; i += nth) {
        int rc = w->d->due[i] ? draw_one(w->d, w->s, i, ith) : 0, none = 0;
        if (rc < 0 && __atomic_compare_exchange_n(&w->rc, &none, rc, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            snprintf(w->why, sizeof w->why, "%s", nun_error());
    }
}

int drawn_fill(struct drawn *d, const struct batch_source *s, struct pool *pool)
{
    struct drawing w = {.d = d, .s = s};
    TRY(make_room(d, s));
    pool_run(pool, draw_thread, &w);
    return w.rc < 0 ? err_set(w.rc, "%s", w.why) : 0;
}

void drawn_bytes(const struct drawn *d, const struct batch_source *s, const float *pixels, uint8_t *rgb)
{
    const struct preprocess_facts *f = &s->processor;
    size_t n = (size_t)d->side * (size_t)d->side;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            double v = ((double)pixels[(size_t)c * n + i] * f->std[c] + f->mean[c]) / f->rescale_factor;
            rgb[3 * i + (size_t)c] = (uint8_t)lround(fmin(fmax(v, 0), 255));
        }
}
