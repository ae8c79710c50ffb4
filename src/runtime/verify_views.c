/* A case's pictures for towers: of any size, with what the case changes in the processor. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "runtime/verify_int.h"
#include "runtime/views.h"

/* The model's processor; with some of its keys replaced, where the case says so. */
static int case_processor(struct verify_case *c, struct preprocess_facts *out)
{
    const json_t *replaced = json_object_get(c->json, "processor_arguments");
    char path[4096];
    json_t *config;
    if (!c->m->has_preprocess)
        return err_set(NUN_EUNSUP, "%s: there is no preprocessor_config.json", c->v->folder);
    *out = c->m->preprocess;
    if (!replaced)
        return 0;
    TRY(path_join(path, sizeof path, c->v->folder, "preprocessor_config.json"));
    TRY(json_load_file_limited(path, &config));
    int rc = json_object_update_existing(config, (json_t *)(uintptr_t)replaced) ? NUN_ENOMEM : 0;
    if (rc >= 0)
        rc = preprocess_read(config, path, out);
    json_decref(config);
    return rc;
}

static int load_images(struct verify_case *c, const struct preprocess_facts *f, const json_t *list, struct image *images)
{
    const struct image_options how = {.alpha = f->alpha, .apply_orientation = true};
    const json_t *name;
    size_t i;
    json_array_foreach(list, i, name) {
        char path[4096];
        TRY(verify_picture_path(c->v, json_string_value(name), path, sizeof path));
        TRY(image_load(path, &how, &images[i]));
    }
    return 0;
}

/* Where pictures have grids: their sizes, and which rows are patches. */
static int check_grids(struct verify_case *c, struct arena *arena, const struct views *v)
{
    size_t n = (size_t)v->n, tokens = (size_t)v->tokens;
    float *sizes = arena_array(arena, 2 * n, sizeof *sizes), *mask = arena_array(arena, n * tokens, sizeof *mask);
    if (!sizes || !mask)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        sizes[2 * i] = (float)v->grids[i][0];
        sizes[2 * i + 1] = (float)v->grids[i][1];
        for (size_t k = 0; k < tokens; k++)
            mask[i * tokens + k] = k < (size_t)v->grids[i][0] * (size_t)v->grids[i][1];
    }
    TRY(verify_check(c, "spatial_shapes", sizes, 2 * n));
    return verify_check(c, "pixel_attention_mask", mask, n * tokens);
}

int verify_views(struct verify_case *c, struct arena *arena, struct views *out)
{
    const json_t *list = json_object_get(c->json, "images");
    struct preprocess_facts facts;
    size_t n = json_array_size(list);
    struct image *images = arena_array(arena, n + 1, sizeof *images);
    if (!n)
        return err_set(NUN_EFORMAT, "%s: no pictures", c->r.name);
    if (!images)
        return NUN_ENOMEM;
    TRY(case_processor(c, &facts));
    int rc = load_images(c, &facts, list, images);
    if (rc >= 0)
        rc = views_make(c->m, &facts, images, (int)n, facts.max_patches, arena, out);
    for (size_t i = 0; i < n; i++)
        image_free(&images[i]);
    TRY(rc);
    if (!out->patches)
        return verify_check(c, "pixel_values", out->pixels, n * 3 * (size_t)out->width * (size_t)out->height);
    size_t patch = (size_t)c->m->model->vision.facts.patch;
    TRY(verify_check(c, "pixel_values", out->patches, n * (size_t)out->tokens * 3 * patch * patch));
    return check_grids(c, arena, out);
}
