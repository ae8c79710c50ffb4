/* Taking over weights of other folders. A tower for larger pictures than its folder's begins as the same tower on the
 * picture made smaller: patches k times as large weigh every pixel 1/k^2, positions lie between the old ones. */
/* SPDX-License-Identifier: MIT */
#include "train/start.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "models/loader.h"

/* What one tensor of the folder becomes. */
struct fit { const struct shape *from, *to; const float *x; float *y; };

/* [O, C, p, p] -> [O, C, k p, k p] */
static bool fit_patch(const struct fit *f)
{
    const struct shape *a = f->from, *b = f->to;
    bool grows = a->n == 4 && b->n == 4 && a->d[0] == b->d[0] && a->d[1] == b->d[1] && a->d[2] == a->d[3] && b->d[2] == b->d[3] &&
                 b->d[2] > a->d[2] && b->d[2] % a->d[2] == 0;
    if (!grows)
        return false;
    int64_t p = a->d[2], k = b->d[2] / p, side = k * p;
    for (int64_t i = 0; i < b->d[0] * b->d[1]; i++)
        for (int64_t y = 0; y < side; y++)
            for (int64_t x = 0; x < side; x++)
                f->y[(i * side + y) * side + x] = f->x[(i * p + y / k) * p + x / k] / (float)(k * k);
    return true;
}

/* [s * s, width] -> [t * t, width], bilinear between the centres of patches */
static bool fit_places(const struct fit *f)
{
    const struct shape *a = f->from, *b = f->to;
    if (a->n != 2 || b->n != 2 || a->d[1] != b->d[1])
        return false;
    int64_t s = lround(sqrt((double)a->d[0])), t = lround(sqrt((double)b->d[0])), width = a->d[1];
    if (s * s != a->d[0] || t * t != b->d[0])
        return false;
    for (int64_t i = 0; i < t * t; i++) {
        double at[2] = {((double)(i / t) + 0.5) * (double)s / (double)t - 0.5, ((double)(i % t) + 0.5) * (double)s / (double)t - 0.5};
        int64_t lo[2], hi[2];
        double w[2];
        for (int d = 0; d < 2; d++) {
            double x = fmin(fmax(at[d], 0), (double)(s - 1));
            lo[d] = (int64_t)x;
            hi[d] = lo[d] + 1 < s ? lo[d] + 1 : lo[d];
            w[d] = x - (double)lo[d];
        }
        for (int64_t c = 0; c < width; c++) {
            double top = f->x[(lo[0] * s + lo[1]) * width + c] * (1 - w[1]) + f->x[(lo[0] * s + hi[1]) * width + c] * w[1];
            double low = f->x[(hi[0] * s + lo[1]) * width + c] * (1 - w[1]) + f->x[(hi[0] * s + hi[1]) * width + c] * w[1];
            f->y[i * width + c] = (float)(top * (1 - w[0]) + low * w[0]);
        }
    }
    return true;
}

/* Tensors that mean the same at another size, by how their names end. */
static const struct { const char *ending; bool (*fit)(const struct fit *f); } fits[] = {
    {"patch_embedding.weight", fit_patch},
    {"position_embedding.weight", fit_places},
};

static int fit_tensor(const struct model_piece *k, const struct fit *f, const char *folder)
{
    char found[SHAPE_TEXT], expected[SHAPE_TEXT];
    if (shape_eq(f->from, f->to)) {
        size_t n;
        TRY(shape_count(f->to, &n));
        memcpy(f->y, f->x, n * sizeof *f->y);
        return 0;
    }
    for (size_t i = 0; i < sizeof fits / sizeof fits[0]; i++)
        if (span_ends(span_str(k->name), span_str(fits[i].ending)) && fits[i].fit(f))
            return 0;
    return err_set(NUN_EFORMAT, "%s: %s: expected %s, found %s", folder, k->name, shape_format(f->to, expected), shape_format(f->from, found));
}

/* The tensor `name` of `from` as k's, whose whole several weights may share. */
static int take(struct model *m, const struct model_piece *k, const struct model *from, const char *name, const char *folder)
{
    struct shape shape;
    size_t n, wanted;
    TRY(model_gather(from, name, false, &shape, NULL));
    TRY(shape_count(&shape, &n));
    TRY(shape_count(&k->shape, &wanted));
    float *x = mem_calloc(MEM_TRAIN, n + wanted + 1, sizeof *x);
    if (!x)
        return NUN_ENOMEM;
    struct fit f = {&shape, &k->shape, x, x + n};
    int rc = model_gather(from, name, false, &shape, x);
    if (rc >= 0)
        rc = fit_tensor(k, &f, folder);
    for (int i = 0; rc >= 0 && i < m->n_pieces; i++)
        if (!strcmp(m->pieces[i].name, k->name))
            rc = model_piece_take(&m->pieces[i], DT_F32, f.y, (float *)(uintptr_t)m->pieces[i].p->data);
    mem_free(x);
    return rc;
}

static int apply_one(struct model *m, const struct recipe_start *s, const struct model *from, struct map *done)
{
    const char *ours = s->ours ? s->ours : "", *theirs = s->theirs ? s->theirs : "";
    char name[512];
    int taken = 0;
    for (int i = 0; i < m->n_pieces; i++) {
        const struct model_piece *k = &m->pieces[i];
        struct shape shape;
        int64_t at;
        if (!span_starts(span_str(k->name), span_str(ours)) || map_get(done, span_str(k->name), &at))
            continue;
        if ((size_t)snprintf(name, sizeof name, "%s%s", theirs, k->name + strlen(ours)) >= sizeof name ||
            model_gather(from, name, false, &shape, NULL) < 0)
            continue; /* the folder lacks it: random, as the recipe's config alone would have it */
        TRY(take(m, k, from, name, s->from));
        TRY(map_put(done, span_str(k->name), 1, NULL));
        taken++;
    }
    log_info("start: %d tensors of %s", taken, s->from);
    return taken ? 0 : err_set(NUN_EFORMAT, "start: %s gives no tensor: none of \"%s...\" there is one of \"%s...\" here", s->from, theirs, ours);
}

int start_apply(struct model *m, const struct recipe *r)
{
    int rc = 0;
    for (uint32_t i = 0; rc >= 0 && i < r->start_count; i++) {
        struct model *from;
        struct map done;
        TRY(model_load(r->start[i].from, &from));
        map_init(&done, MEM_TRAIN);
        rc = apply_one(m, &r->start[i], from, &done);
        map_free(&done);
        model_free(from);
    }
    return rc;
}
