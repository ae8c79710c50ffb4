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

/* [1 + s * s, width] -> [s * s, width]: a tower without a first token beside the patches */
static bool fit_patches_alone(const struct fit *f)
{
    const struct shape *a = f->from, *b = f->to;
    if (a->n != 2 || b->n != 2 || a->d[1] != b->d[1] || a->d[0] != b->d[0] + 1)
        return false;
    memcpy(f->y, f->x + a->d[1], (size_t)(b->d[0] * b->d[1]) * sizeof *f->y);
    return true;
}

/* Tensors that mean the same at another size, by how their names end. */
static const struct { const char *ending; bool (*fit)(const struct fit *f); } fits[] = {
    {"patch_embedding.weight", fit_patch},
    {"position_embedding.weight", fit_places},
    {"position_embedding.weight", fit_patches_alone},
};

/* Without the ones in front, which say nothing. */
static void squeeze(struct shape *s, int dims)
{
    while (s->n > dims && s->d[0] == 1) {
        for (int i = 1; i < s->n; i++)
            s->d[i - 1] = s->d[i];
        s->n--;
    }
}

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
    squeeze(&shape, k->shape.n);
    float *x = mem_calloc(MEM_TRAIN, n + wanted + 1, sizeof *x);
    if (!x)
        return NUN_ENOMEM;
    struct fit f = {&shape, &k->shape, x, x + n};
    struct shape whole;
    int rc = model_gather(from, name, false, &whole, x);
    if (rc >= 0)
        rc = fit_tensor(k, &f, folder);
    for (int i = 0; rc >= 0 && i < m->n_pieces; i++)
        if (!strcmp(m->pieces[i].name, k->name))
            rc = model_piece_take(&m->pieces[i], DT_F32, f.y, (float *)(uintptr_t)m->pieces[i].p->data);
    mem_free(x);
    return rc;
}

/* How ViT and its masked autoencoder spell what towers of CLIP and SigLIP have. */
static const struct { const char *ours, *theirs; } spellings[] = {
    {"embeddings.class_embedding", "embeddings.cls_token"},
    {"embeddings.patch_embedding.", "embeddings.patch_embeddings.projection."},
    {"embeddings.position_embedding.weight", "embeddings.position_embeddings"},
    {"encoder.layers.", "encoder.layer."},
    {".layer_norm1.", ".layernorm_before."}, {".layer_norm2.", ".layernorm_after."},
    {".self_attn.q_proj.", ".attention.attention.query."}, {".self_attn.k_proj.", ".attention.attention.key."},
    {".self_attn.v_proj.", ".attention.attention.value."}, {".self_attn.out_proj.", ".attention.output.dense."},
    {".mlp.fc1.", ".intermediate.dense."}, {".mlp.fc2.", ".output.dense."},
    {"post_layernorm.", "layernorm."},
};

/* `rest` of a name of ours as they spell it, behind `theirs`. */
static int respell(const char *theirs, const char *rest, struct buf *out)
{
    size_t n = strlen(theirs);
    buf_str(out, theirs);
    buf_str(out, rest);
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0] && buf_error(out) >= 0; i++) {
        const char *at = strstr(buf_cstr(out) + n, spellings[i].ours);
        char tail[512];
        if (!at || (size_t)snprintf(tail, sizeof tail, "%s", at + strlen(spellings[i].ours)) >= sizeof tail)
            continue;
        out->len = (size_t)(at - buf_cstr(out));
        buf_str(out, spellings[i].theirs);
        buf_str(out, tail);
    }
    return buf_error(out);
}

/* The name in the folder of what is theirs + rest here, or false: it has none. */
static bool find_theirs(const struct model *from, const char *theirs, const char *rest, struct buf *name)
{
    struct shape shape;
    buf_reset(name);
    buf_str(name, theirs);
    buf_str(name, rest);
    if (buf_error(name) >= 0 && model_gather(from, buf_cstr(name), false, &shape, NULL) >= 0)
        return true;
    buf_reset(name);
    return respell(theirs, rest, name) >= 0 && model_gather(from, buf_cstr(name), false, &shape, NULL) >= 0;
}

static int apply_one(struct model *m, const struct recipe_start *s, const struct model *from, struct map *done)
{
    const char *ours = s->ours ? s->ours : "", *theirs = s->theirs ? s->theirs : "";
    struct buf name;
    int taken = 0, rc = 0;
    buf_init(&name, MEM_TRAIN, 4096);
    for (int i = 0; rc >= 0 && i < m->n_pieces; i++) {
        const struct model_piece *k = &m->pieces[i];
        int64_t at;
        if (!span_starts(span_str(k->name), span_str(ours)) || map_get(done, span_str(k->name), &at))
            continue;
        if (!find_theirs(from, theirs, k->name + strlen(ours), &name))
            continue; /* the folder lacks it: random, as the recipe's config alone would have it */
        rc = take(m, k, from, buf_cstr(&name), s->from);
        if (rc >= 0)
            rc = map_put(done, span_str(k->name), 1, NULL);
        taken++;
    }
    buf_free(&name);
    TRY(rc);
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
