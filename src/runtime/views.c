/* Pixels and patches for towers. */
/* SPDX-License-Identifier: MIT */
#include "runtime/views.h"

#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"

static bool by_patches(const struct nun_model *m)
{
    return m->model->vision.facts.tower == NN_TOWER_naflex;
}

int views_size(const struct nun_model *m, const struct preprocess_facts *f, const struct image *img, int *width, int *height)
{
    int patch = m->model->vision.facts.patch;
    TRY(preprocess_size(f, img->width, img->height, width, height));
    if (by_patches(m) && (*width % patch || *height % patch))
        return err_set(NUN_EFORMAT, "preprocessor_config.json: gives %d x %d, no whole patches of %d", *width, *height, patch);
    return 0;
}

/* One picture of width x height as rows of patches, the channels of a pixel side by side. */
static void lay_patches(const float *pixels, int width, int height, int patch, float *rows)
{
    for (int y = 0; y < height; y += patch)
        for (int x = 0; x < width; x += patch)
            for (int i = 0; i < patch * patch; i++)
                for (int c = 0; c < 3; c++)
                    *rows++ = pixels[((size_t)c * (size_t)height + (size_t)(y + i / patch)) * (size_t)width + (size_t)(x + i % patch)];
}

static int need(size_t n, size_t each, struct arena *arena, float **out)
{
    size_t floats;
    if (ck_mul(n, each, &floats) || !(*out = arena_array(arena, floats, sizeof **out)))
        return err_set(NUN_ENOMEM, "pictures: no memory for %zu of %zu numbers", n, each);
    return 0;
}

static int make_pixels(const struct preprocess_facts *f, const struct image *images, struct arena *arena, struct views *v)
{
    size_t each = 3 * (size_t)v->width * (size_t)v->height;
    TRY(need((size_t)v->n, each, arena, &v->pixels));
    for (int i = 0; i < v->n; i++)
        TRY(preprocess_run(f, &images[i], v->pixels + (size_t)i * each, each));
    return 0;
}

static int make_patches(const struct nun_model *m, const struct preprocess_facts *f, const struct image *images, struct arena *arena,
                        struct views *v)
{
    int patch = m->model->vision.facts.patch;
    size_t each = 3 * (size_t)patch * (size_t)patch;
    float *pixels;
    TRY(need((size_t)v->n * (size_t)v->tokens, each, arena, &v->patches));
    TRY(need((size_t)v->tokens, each, arena, &pixels));
    for (int i = 0; i < v->n; i++) {
        TRY(preprocess_run(f, &images[i], pixels, (size_t)v->tokens * each));
        lay_patches(pixels, v->grids[i][1] * patch, v->grids[i][0] * patch, patch, v->patches + (size_t)i * (size_t)v->tokens * each);
    }
    return 0;
}

int views_make(const struct nun_model *m, const struct preprocess_facts *f, const struct image *images, int n, int tokens,
               struct arena *arena, struct views *out)
{
    struct views v = {.n = n, .tokens = tokens};
    int patch = m->model->vision.facts.patch;
    if (!(v.grids = arena_array(arena, (size_t)n, sizeof *v.grids)))
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++) {
        int width, height;
        TRY(views_size(m, f, &images[i], &width, &height));
        if (!by_patches(m) && i && (width != v.width || height != v.height))
            return err_set(NUN_EARG, "pictures: %d x %d beside %d x %d", width, height, v.width, v.height);
        v.width = width;
        v.height = height;
        if (!by_patches(m))
            continue;
        v.grids[i][0] = height / patch;
        v.grids[i][1] = width / patch;
        int rows = v.grids[i][0] * v.grids[i][1];
        if (tokens && rows > tokens)
            return err_set(NUN_EARG, "pictures: %d patches, expected at most %d", rows, tokens);
        v.tokens = rows > v.tokens ? rows : v.tokens;
    }
    TRY(by_patches(m) ? make_patches(m, f, images, arena, &v) : make_pixels(f, images, arena, &v));
    *out = v;
    return 0;
}

void views_inputs(struct graph *g, const struct model *m, const struct views *v, struct nn_pictures *in)
{
    int patch = m->vision.facts.patch;
    *in = (struct nn_pictures){.batch = v->n, .tokens = v->tokens, .grids = v->patches ? v->grids : NULL};
    if (v->patches)
        in->patches = g_input(g, "patches", DT_F32, SHAPE2((int64_t)v->n * v->tokens, 3LL * patch * patch));
    else
        in->pixels = g_input(g, "pixels", DT_F32, SHAPE4(v->n, 3, v->height, v->width));
    if (in->patches)
        in->patches->data = v->patches;
    if (in->pixels)
        in->pixels->data = v->pixels;
}
