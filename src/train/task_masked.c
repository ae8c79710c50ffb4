/* The task "masked": pictures most of whose patches are hidden, which the model tells from the others; square error of the
 * hidden patches alone (arXiv:2111.06377). Which are hidden is a function of the seed and the picture's number. Looking
 * at it leaves a sheet for people: original, what was seen, what was told. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/rng.h"
#include "media/image_write.h"
#include "train/drawn.h"

enum { MASK_STREAM = 78, SHEET_ROWS = 6, SHEET_GAP = 4, SHEET_CELL = 112, HIDDEN_GREY = 96 };

struct masking {
    struct drawn *drawn;
    struct model_masks masks;
    struct model_masked out;
    struct g_tensor *pixels;
    int32_t *keep, *back;
    float *hidden, *noise; /* noise [B * T] */
    struct arena arena;
};

/* ---- the graph ----------------------------------------------------------------------------- */

static int build(struct stage_run *r, struct train_graph *t, struct masking *k)
{
    const struct model *m = r->t->model;
    struct graph *g = t->graph;
    int64_t B = stage_micro_rows(r), T = model_patches(m), K = model_kept(m);
    int side = model_image_size(m);
    TRY(drawn_create(r, (int)B, &k->drawn));
    if (!(k->noise = arena_array(&k->arena, (size_t)(B * T), sizeof *k->noise)))
        return NUN_ENOMEM;
    k->pixels = g_input(g, "pixels", DT_F32, SHAPE4(B, 3, side, side));
    k->masks = (struct model_masks){.kept = (int)K, .keep = nn_ints(g, SHAPE1(B * K), &k->keep),
                                    .back = nn_ints(g, SHAPE1(B * (1 + T)), &k->back), .hidden = nn_const(g, SHAPE1(B * T), &k->hidden)};
    TRY(graph_error(g));
    memset(k->keep, 0, (size_t)(B * K) * sizeof *k->keep);
    memset(k->back, 0, (size_t)(B * (1 + T)) * sizeof *k->back);
    memset(k->hidden, 0, (size_t)(B * T) * sizeof *k->hidden);
    TRY(model_masked(g, m, k->pixels, &k->masks, &k->out));
    if (!r->learn)
        g_output(k->out.told);
    TRY(stage_graph_end(r, t, k->out.loss));
    k->pixels->data = k->drawn->pixels;
    t->rows = (int)B;
    t->weight = t->nominal = (double)B;
    t->tokens = B * (1 + K);
    return 0;
}

static int make(struct stage_run *r, struct train_graph **out)
{
    struct masking *k = mem_calloc(MEM_TRAIN, 1, sizeof *k);
    if (!k)
        return NUN_ENOMEM;
    arena_init(&k->arena, MEM_TRAIN, 0);
    int rc = stage_graph_begin(r, out);
    if (rc < 0) {
        mem_free(k);
        return rc;
    }
    (*out)->own = k;
    return build(r, *out, k);
}

static void draw_noise(const struct stage_run *r, uint64_t first, const struct masking *k)
{
    int T = model_patches(r->t->model);
    for (int b = 0; b < k->drawn->n; b++) {
        struct rng draw = rng_at(r->t->recipe->seed, (uint64_t)MASK_STREAM << 56 | (first + (uint64_t)b));
        for (int i = 0; i < T; i++)
            k->noise[b * T + i] = rng_float(&draw);
    }
}

static int fill(struct stage_run *r, uint64_t first, struct train_graph **out)
{
    *out = r->graphs;
    if (!*out)
        TRY(make(r, out));
    struct masking *k = (*out)->own;
    drawn_ask(k->drawn, first);
    TRY(drawn_fill(k->drawn, &r->source, r->t->pool));
    draw_noise(r, first, k);
    return model_mask(r->t->model, k->noise, k->drawn->n, k->keep, k->back, k->hidden, NULL);
}

/* ---- the sheet ----------------------------------------------------------------------------- */

/* Where value i of a patch, pixel by pixel, lies in the picture [3, side, side]. */
static size_t place_of(int side, int patch, int at, int i)
{
    int across = side / patch, pixel = i / 3;
    int y = at / across * patch + pixel / patch, x = at % across * patch + pixel % patch;
    return ((size_t)(i % 3) * (size_t)side + (size_t)y) * (size_t)side + (size_t)x;
}

/* Mean and deviation of a patch, by which it was normalised. */
static void patch_scale(const float *picture, int side, int patch, int at, double *mean, double *deviation)
{
    int n = 3 * patch * patch;
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++)
        sum += (double)picture[place_of(side, patch, at, i)];
    *mean = sum / n;
    for (int i = 0; i < n; i++) {
        double d = (double)picture[place_of(side, patch, at, i)] - *mean;
        square += d * d;
    }
    *deviation = sqrt(square / (n - 1) + 1e-6);
}

/* The picture with its hidden patches as they were told, into out [3, side, side]. */
static void put_told(const struct stage_run *r, const struct masking *k, int b, float *out)
{
    const struct model *m = r->t->model;
    int side = model_image_size(m), patch = m->vision.facts.patch, T = model_patches(m), n = 3 * patch * patch;
    const float *picture = k->drawn->pixels + (size_t)b * k->drawn->floats;
    memcpy(out, picture, k->drawn->floats * sizeof *out);
    for (int t = 0; t < T; t++) {
        double mean = 0, deviation = 1;
        const float *told = g_f32(k->out.told) + ((size_t)b * (size_t)T + (size_t)t) * (size_t)n;
        if (!(k->hidden[b * T + t] > 0))
            continue;
        if (m->facts.norm_pixels)
            patch_scale(picture, side, patch, t, &mean, &deviation);
        for (int i = 0; i < n; i++)
            out[place_of(side, patch, t, i)] = (float)((double)told[i] * deviation + mean);
    }
}

static void hide(const struct stage_run *r, const struct masking *k, int b, uint8_t *rgb)
{
    const struct model *m = r->t->model;
    int side = model_image_size(m), patch = m->vision.facts.patch, T = model_patches(m);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            if (k->hidden[b * T + y / patch * (side / patch) + x / patch] > 0)
                memset(rgb + 3 * ((size_t)y * (size_t)side + (size_t)x), HIDDEN_GREY, 3);
}

/* rgb [side, side, 3], `times` as large, as cell (row, column). */
static void put_cell(const struct image *sheet, const uint8_t *rgb, int side, int times, int row, int column)
{
    int cell = side * times + SHEET_GAP;
    for (int y = 0; y < side * times; y++)
        for (int x = 0; x < side * times; x++)
            memcpy(image_at(sheet, SHEET_GAP + column * cell + x, SHEET_GAP + row * cell + y),
                   rgb + 3 * ((size_t)(y / times) * (size_t)side + (size_t)(x / times)), 3);
}

static void put_row(const struct stage_run *r, const struct masking *k, int b, const struct image *sheet, float *pixels, uint8_t *rgb)
{
    int side = model_image_size(r->t->model), times = side < SHEET_CELL ? (SHEET_CELL + side - 1) / side : 1;
    drawn_bytes(k->drawn, &r->source, k->drawn->pixels + (size_t)b * k->drawn->floats, rgb);
    put_cell(sheet, rgb, side, times, b, 0);
    hide(r, k, b, rgb);
    put_cell(sheet, rgb, side, times, b, 1);
    put_told(r, k, b, pixels);
    drawn_bytes(k->drawn, &r->source, pixels, rgb);
    put_cell(sheet, rgb, side, times, b, 2);
}

static int write_sheet(const struct stage_run *r, const struct masking *k, const char *path)
{
    int side = model_image_size(r->t->model), times = side < SHEET_CELL ? (SHEET_CELL + side - 1) / side : 1;
    int rows = k->drawn->n < SHEET_ROWS ? k->drawn->n : SHEET_ROWS, cell = side * times + SHEET_GAP;
    struct image sheet;
    float *pixels = mem_calloc(MEM_TRAIN, 2 * k->drawn->floats, sizeof *pixels); /* and the bytes behind them */
    if (!pixels)
        return NUN_ENOMEM;
    int rc = image_alloc("the sheet", 3 * cell + SHEET_GAP, rows * cell + SHEET_GAP, 3, &sheet);
    if (rc >= 0) {
        memset(sheet.data, 255, image_bytes(&sheet));
        for (int b = 0; b < rows; b++)
            put_row(r, k, b, &sheet, pixels, (uint8_t *)(pixels + k->drawn->floats));
        rc = image_save(&sheet, path, 0);
        image_free(&sheet);
    }
    mem_free(pixels);
    return rc;
}

/* The pictures of the last micro-batch, the same at every evaluation. */
static int measure(struct stage_run *r, int pictures, struct train_score *out)
{
    char name[48], path[4096];
    if (r->split != SCENE_VAL || !r->graphs)
        return 0;
    snprintf(name, sizeof name, "masked-%08llu.png", (unsigned long long)r->t->at.step);
    TRY(file_mkdirs(r->t->recipe->runs));
    TRY(path_join(path, sizeof path, r->t->recipe->runs, name));
    return write_sheet(r, r->graphs->own, path);
}

/* ---- the row ------------------------------------------------------------------------------- */

static int open_stage(struct stage_run *r)
{
    const struct model *m = r->t->model;
    if (!m->more[0].w[NN_mask_token_w] || m->vision.facts.channels != 3)
        return err_set(NUN_EUNSUP, "stage %s: masked learns ViTMAEForPreTraining, found %s", r->s->name, m->family->architecture);
    return r->source.world.row->set(&r->source.world, r->s, r->split);
}

static void drop(void *own)
{
    struct masking *k = own;
    if (!k)
        return;
    drawn_free(k->drawn);
    arena_free(&k->arena);
    mem_free(k);
}

const struct train_task train_task_masked = {
    .name = "masked", .doc = "a world's pictures, most patches hidden and told from the others: a masked autoencoder", .open = open_stage,
    .fill = fill, .drop = drop, .wordless = true, .measure = measure};
