/* How fast pictures are encoded: random pixels through the model's own processor, tower and connector. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/seam.h"
#include "media/image_write.h"
#include "models/sight.h"
#include "nunchi/tools.h"
#include "runtime/picture.h"

enum { REPEAT_MAX = 1000 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Smooth enough to be small as a file, and different for every seed. */
static int draw(int width, int height, int seed, struct buf *file)
{
    struct image img;
    struct rng r = rng_at((uint64_t)seed, 1);
    TRY(image_alloc("picture", width, height, 3, &img));
    unsigned step = 1 + rng_below(&r, 200);
    for (size_t i = 0; i < image_bytes(&img); i++)
        img.data[i] = (uint8_t)((i / 64 * step) >> 3);
    int rc = image_encode(&img, "png", 0, file);
    image_free(&img);
    return rc;
}

static int encode_once(struct nun_model *m, int width, int height, int seed, struct nun_picture_speed *out, double *seconds)
{
    struct buf file;
    struct picture *p = NULL;
    const char *place = "picture";
    buf_init(&file, MEM_RUNTIME, LIMIT_OF(image_file_bytes));
    int rc = draw(width, height, seed, &file);
    struct span bytes = buf_view(&file);
    if (rc >= 0)
        rc = picture_make(m, &(struct picture_source){&bytes, &place, 1, 0, 1, {0}}, &p);
    buf_free(&file);
    TRY(rc);
    engine_lock(m);
    uint64_t start = seam_now_ns();
    rc = engine_encode(m, &p, 1);
    *seconds = (double)(seam_now_ns() - start) / 1e9;
    if (rc >= 0)
        *out = (struct nun_picture_speed){.tiles = p->plan.tiles, .tile_width = p->plan.tile_width, .tile_height = p->plan.tile_height,
                                          .features = p->n_features, .flops = m->image_plans->plan->flops};
    picture_drop(p);
    engine_unlock(m);
    return rc;
}

int nun_bench_picture(struct nun_model *m, int width, int height, int repeat, struct nun_picture_speed *out)
{
    const struct sight_row *row;
    double seconds[REPEAT_MAX], first;
    TRY(sight_of(m->model, m->model->folder ? m->model->folder : "model", &row));
    if (repeat < 1 || repeat > REPEAT_MAX || width < 1 || height < 1)
        return err_set(NUN_EARG, "bench: %d pictures of %d x %d", repeat, width, height);
    TRY(encode_once(m, width, height, -1, out, &first)); /* plans, warms up */
    for (int i = 0; i < repeat; i++)
        TRY(encode_once(m, width, height, i, out, &seconds[i]));
    qsort(seconds, (size_t)repeat, sizeof *seconds, by_size);
    out->seconds = seconds[repeat / 2];
    return 0;
}
