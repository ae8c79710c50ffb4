/* verify/case.json: every case in float32 and in the fast arithmetic. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "media/image.h"
#include "runtime/timeline.h"
#include "runtime/verify_int.h"

int verify_path(const struct verify *v, const char *name, char *out, size_t cap)
{
    char dir[4096];
    TRY(path_join(dir, sizeof dir, v->cases, "verify"));
    return path_join(out, cap, dir, name);
}

/* ---- what is shared ------------------------------------------------------------------------ */

int verify_values(const struct st_tensor *t, struct arena *arena, const float **out)
{
    size_t n;
    TRY(shape_count(&t->shape, &n));
    float *copy = arena_array(arena, n ? n : 1, sizeof *copy);
    if (!copy)
        return NUN_ENOMEM;
    TRY(dtype_to_f32(t->dtype, t->data, copy, n));
    *out = copy;
    return 0;
}

int verify_ids(const json_t *list, const char *place, struct arena *arena, int32_t **ids, int *rows, int *length)
{
    const json_t *first = json_array_get(list, 0), *id;
    bool nested = json_is_array(first);
    *rows = nested ? (int)json_array_size(list) : 1;
    *length = (int)json_array_size(nested ? first : list);
    if (!*length || !(*ids = arena_array(arena, (size_t)*rows * (size_t)*length, sizeof **ids)))
        return *length ? NUN_ENOMEM : err_set(NUN_EFORMAT, "%s: input_ids: expected a list of ids", place);
    for (int r = 0; r < *rows; r++) {
        const json_t *row = nested ? json_array_get(list, (size_t)r) : list;
        size_t i;
        if ((int)json_array_size(row) != *length)
            return err_set(NUN_EFORMAT, "%s: input_ids: row %d has %zu ids, the first has %d", place, r, json_array_size(row), *length);
        json_array_foreach(row, i, id)
            (*ids)[(size_t)r * (size_t)*length + i] = (int32_t)json_integer_value(id);
    }
    return 0;
}

/* One picture as the tower's square. */
static int square_pixels(struct verify_case *c, const char *name, float *out, size_t floats)
{
    const struct preprocess_facts *f = &c->m->preprocess;
    struct image_options o = {.alpha = f->alpha};
    char path[4096];
    struct buf file;
    struct image img = {0};
    TRY(verify_picture_path(c->v, name, path, sizeof path));
    buf_init(&file, MEM_RUNTIME, LIMIT_OF(image_file_bytes));
    int rc = file_read(path, &file);
    if (rc >= 0)
        rc = image_decode(buf_view(&file), &o, &img);
    if (rc >= 0)
        rc = preprocess_run(f, &img, out, floats);
    image_free(&img);
    buf_free(&file);
    return rc < 0 ? err_at(rc, "%s", path) : 0;
}

int verify_pictures(struct verify_case *c, struct arena *arena, struct verify_pixels *out)
{
    const json_t *list = json_object_get(c->json, "images"), *name;
    int side = model_image_size(c->m->model);
    size_t i, floats = 3 * (size_t)side * (size_t)side;
    *out = (struct verify_pixels){.n = (int)json_array_size(list), .side = side};
    if (!out->n)
        return 0;
    if (!c->m->has_preprocess)
        return err_set(NUN_EUNSUP, "%s: the model's folder has no preprocessor_config.json", c->r.name);
    if (!(out->at = arena_array(arena, (size_t)out->n * floats, sizeof *out->at)))
        return NUN_ENOMEM;
    json_array_foreach(list, i, name)
        TRY(square_pixels(c, json_string_value(name), out->at + i * floats, floats));
    return verify_check(c, "pixel_values", out->at, (size_t)out->n * floats);
}

/* ---- one case ------------------------------------------------------------------------------ */

typedef int runner_fn(struct verify_case *c, struct arena *arena);
static runner_fn *const runners[] = {
    [FAMILY_DECODER] = verify_decoder, [FAMILY_CONTRASTIVE] = verify_contrastive, [FAMILY_VISION] = verify_vision,
    [FAMILY_ENCODER] = verify_encoder, [FAMILY_BYTES] = verify_bytes, [FAMILY_CONV] = verify_conv};

/* Every output that the case names must have been compared. */
static int check_complete(const struct verify_case *c)
{
    const json_t *expected = json_object_get(c->json, "expected"), *key;
    const char *name;
    json_object_foreach((json_t *)(uintptr_t)expected, name, key) {
        bool seen = !strcmp(name, "modules");
        for (size_t i = 0; i < c->r.n_items; i++)
            seen = seen || (!c->items[i].module && !strcmp(c->items[i].name, name));
        if (!seen)
            return err_set(NUN_EUNSUP, "output %s is expected, and nothing computes it", name);
    }
    return 0;
}

static int run_case(struct verify *v, struct nun_model *m, const json_t *json, bool fast)
{
    struct verify_case *c = mem_calloc(MEM_RUNTIME, 1, sizeof *c);
    struct arena arena;
    const char *name = "?";
    if (!c)
        return NUN_ENOMEM;
    json_get_string(json, "case.json", "name", &name);
    *c = (struct verify_case){.v = v, .m = m, .json = json, .fast = fast};
    c->r = (struct nun_verify_case){.name = name, .path = fast ? "bf16" : "f32", .items = c->items, .ok = true};
    arena_init(&arena, MEM_RUNTIME, 0);
    struct preprocess_facts usual = m->preprocess;
    int rc = verify_processor(m, json);
    if (rc >= 0)
        rc = verify_modules(c, &arena);
    if (rc >= 0)
        rc = (verify_names_weight(json) ? verify_weight : runners[m->model->family->kind])(c, &arena);
    if (rc >= 0)
        rc = check_complete(c);
    verify_finish(c, rc);
    m->preprocess = usual;
    arena_free(&arena);
    mem_free(c);
    return 0;
}

static int run_all(struct verify *v, bool fast)
{
    struct nun_model_options o = {.threads = v->o->threads, .compute = fast ? NUN_BF16 : NUN_F32};
    const json_t *cases = json_object_get(v->json, "cases"), *one;
    struct nun_model *m;
    size_t i;
    TRY(verify_open(v, &o, &m));
    int rc = 0;
    json_array_foreach(cases, i, one)
        if (rc >= 0 && json_object_get(one, "expected")) /* others belong to the training half */
            rc = run_case(v, m, one, fast);
    nun_model_close(m);
    return rc;
}

static int read_tolerance(struct verify *v, const char *place)
{
    v->atol = v->rtol = 1e-4;
    TRY(json_get_double(v->json, place, "tolerance.atol", 0, 1, &v->atol));
    TRY(json_get_double(v->json, place, "tolerance.rtol", 0, 1, &v->rtol));
    return 0;
}

int verify_forward(struct verify *v)
{
    char path[4096];
    TRY(verify_path(v, "expected.safetensors", path, sizeof path));
    TRY(st_open(path, &v->expected));
    TRY(verify_path(v, "case.json", path, sizeof path));
    TRY(json_load_file_limited(path, &v->json));
    TRY(read_tolerance(v, path));
    TRY(run_all(v, false));
    return run_all(v, true);
}
