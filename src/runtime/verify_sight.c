/* What pictures and videos of a case become before the first layer: pixels, sizes, grids and positions, compared with
 * what the reference's processor hands on. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "models/sight.h"
#include "runtime/timeline.h"
#include "runtime/verify_int.h"

/* ---- the case's files ---------------------------------------------------------------------- */

int verify_picture_path(const struct verify *v, const char *name, char *out, size_t cap)
{
    name = name ? name : "";
    return strchr(name, '/') ? path_join(out, cap, v->cases, name) : verify_path(v, name, out, cap);
}

/* names: one file, or those of a video's frames. */
static int make(struct verify_case *c, const json_t *names, double fps, int together, struct arena *arena, struct picture **out)
{
    bool video = json_is_array(names);
    size_t n = video ? json_array_size(names) : 1;
    const char **paths = arena_array(arena, n, sizeof *paths);
    for (size_t i = 0; i < n; i++) {
        char *path = arena_array(arena, 4096, 1);
        if (!paths || !path)
            return NUN_ENOMEM;
        TRY(verify_picture_path(c->v, json_string_value(video ? json_array_get(names, i) : names), path, 4096));
        paths[i] = path;
    }
    return picture_from_files(c->m, paths, (int)n, video ? 1 / fps : 0, together, NULL, out);
}

static double case_fps(const struct verify_case *c)
{
    const json_t *fps = json_object_get(c->json, "video_fps");
    fps = json_is_array(fps) ? json_array_get(fps, 0) : fps;
    return json_number_value(fps) > 0 ? json_number_value(fps) : 1;
}

/* Pictures and videos in the order of their placeholders. */
static int make_all(struct verify_case *c, const int32_t *ids, int n, struct arena *arena, struct verify_sight *s)
{
    const json_t *images = json_object_get(c->json, "images"), *videos = json_object_get(c->json, "videos");
    const json_t *frames = json_object_get(c->json, "frames"); /* of the only video */
    const struct family_facts *f = &c->m->model->facts;
    size_t total = json_array_size(images) + json_array_size(videos) + (frames != NULL), image = 0, video = 0, left = 0;
    bool nested = json_is_true(json_object_get(c->json, "nested"));
    if (!(s->at = arena_array(arena, total + 1, sizeof(struct picture *))))
        return NUN_ENOMEM;
    for (int i = 0; i < n && s->n < (int)total; i++) {
        bool is_video = f->video_token > 0 && ids[i] == f->video_token;
        if (!is_video && (ids[i] != f->image_token || f->image_token < 0))
            continue;
        if (left) {
            left--;
            continue;
        }
        is_video = is_video || image >= json_array_size(images);
        const json_t *names = !is_video ? json_array_get(images, image++) : frames ? frames : json_array_get(videos, video++);
        TRY(make(c, names, case_fps(c), nested ? (int)total : 1, arena, &s->at[s->n]));
        left = (size_t)s->at[s->n++]->n_tokens - 1;
    }
    return 0;
}

/* ---- outputs ------------------------------------------------------------------------------- */

struct output_row {
    const char *name;
    bool video;
    int (*write)(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count);
};

static int write_pixels(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    const struct preprocess_facts *f = p[0]->seconds > 0 ? &c->m->video_preprocess : &c->m->preprocess;
    struct preprocess_plan *plans = arena_array(arena, (size_t)n, sizeof *plans);
    const float **tiles = arena_array(arena, (size_t)n, sizeof *tiles);
    struct shape shape;
    if (!plans || !tiles)
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++) {
        plans[i] = p[i]->plan;
        tiles[i] = p[i]->pixels;
    }
    TRY(preprocess_reference_shape(f, plans, (size_t)n, &shape));
    TRY(shape_count(&shape, count));
    if (!(*out = arena_array(arena, *count, sizeof **out)))
        return NUN_ENOMEM;
    return preprocess_reference(f, plans, (size_t)n, tiles, *out, *count);
}

static int write_mask(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    struct preprocess_plan *plans = arena_array(arena, (size_t)n, sizeof *plans);
    struct shape shape;
    if (!plans)
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++)
        plans[i] = p[i]->plan;
    TRY(preprocess_reference_shape(&c->m->preprocess, plans, (size_t)n, &shape));
    TRY(shape_count(&shape, count));
    *count /= 3; /* one for all colours */
    uint8_t *mask = arena_array(arena, *count, 1);
    if (!(*out = arena_array(arena, *count, sizeof **out)) || !mask)
        return NUN_ENOMEM;
    TRY(preprocess_reference_mask(&c->m->preprocess, plans, (size_t)n, mask, *count));
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = mask[i];
    return 0;
}

static int write_words(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    *count = p[0]->words.n;
    if (!(*out = arena_array(arena, *count, sizeof **out)))
        return NUN_ENOMEM;
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = (float)p[0]->words.at[i];
    return 0;
}
/* No prompt is padded here. */
static int write_words_mask(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    TRY(write_words(c, p, n, arena, out, count));
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = 1;
    return 0;
}

/* `each` numbers a picture. */
static int write_numbers(struct picture *const *p, int n, int each, void (*fill)(const struct preprocess_plan *p, float *to),
                         struct arena *arena, float **out, size_t *count)
{
    *count = (size_t)n * (size_t)each;
    if (!(*out = arena_array(arena, *count, sizeof **out)))
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++)
        fill(&p[i]->plan, *out + i * each);
    return 0;
}

static void fill_size(const struct preprocess_plan *p, float *to)
{
    to[0] = (float)p->height;
    to[1] = (float)p->width;
}
static void fill_canvas(const struct preprocess_plan *p, float *to)
{
    to[0] = (float)p->canvas_height;
    to[1] = (float)p->canvas_width;
}
/* Of the originals, where features depend on them; else of what is cut into what the tower sees. */
static int write_sizes(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    return write_numbers(p, n, 2, c->m->model->family->sight->by_size ? fill_size : fill_canvas, arena, out, count);
}

static void fill_grid(const struct preprocess_plan *p, float *to)
{
    to[0] = (float)(p->steps ? p->steps : 1);
    to[1] = (float)p->patch_rows;
    to[2] = (float)p->patch_columns;
}
static int write_grids(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    return write_numbers(p, n, 3, fill_grid, arena, out, count);
}

/* Pictures of each prompt's part: each alone, or all together. */
static int write_counts(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    bool together = p[0]->plan.together > 1;
    *count = together ? 1 : (size_t)n;
    if (!(*out = arena_array(arena, *count, sizeof **out)))
        return NUN_ENOMEM;
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = together ? (float)n : 1;
    return 0;
}

/* The number of the grid of tiles, and which tiles are not padding. */
static void fill_ratio(const struct preprocess_plan *p, float *to)
{
    to[0] = (float)p->aspect_id;
}
static int write_ratios(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    return write_numbers(p, n, 1, fill_ratio, arena, out, count);
}
static int write_tiles(struct verify_case *c, struct picture *const *p, int n, struct arena *arena, float **out, size_t *count)
{
    int most = c->m->preprocess.max_tiles;
    *count = (size_t)n * (size_t)most;
    if (!(*out = arena_array(arena, *count, sizeof **out)))
        return NUN_ENOMEM;
    for (int i = 0; i < n * most; i++)
        (*out)[i] = i % most < p[i / most]->plan.tiles;
    return 0;
}

static const struct output_row outputs[] = {
    {"aspect_ratio_ids", false, write_ratios},
    {"aspect_ratio_mask", false, write_tiles},
    {"batch_num_images", false, write_counts},
    {"pixel_values", false, write_pixels},
    {"pixel_values_images", false, write_pixels},
    {"pixel_values_videos", true, write_pixels},
    {"image_patches", false, write_pixels},
    {"pixel_attention_mask", false, write_mask},
    {"qformer_input_ids", false, write_words},
    {"qformer_attention_mask", false, write_words_mask},
    {"image_sizes", false, write_sizes},
    {"image_grid_thw", false, write_grids},
    {"video_grid_thw", true, write_grids},
};

static int check_outputs(struct verify_case *c, const struct verify_sight *s, struct arena *arena)
{
    struct picture **some = arena_array(arena, (size_t)s->n + 1, sizeof(struct picture *));
    if (!some)
        return NUN_ENOMEM;
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        int n = 0;
        size_t count = 0;
        float *values;
        for (int k = 0; k < s->n; k++)
            if ((s->at[k]->token == c->m->model->facts.video_token && s->at[k]->seconds > 0) == outputs[i].video)
                some[n++] = s->at[k];
        if (!n || !json_object_get(json_object_get(c->json, "expected"), outputs[i].name))
            continue;
        TRY(outputs[i].write(c, some, n, arena, &values, &count));
        TRY(verify_check(c, outputs[i].name, values, count));
    }
    return 0;
}

static int tell_all(struct verify_case *c, const struct verify_sight *s)
{
    const json_t *prompt = json_object_get(c->json, "prompt");
    for (int i = 0; i < s->n && json_is_string(prompt); i++)
        TRY(picture_tell(c->m, s->at[i], span_of(json_string_value(prompt), json_string_length(prompt))));
    return 0;
}

int verify_see(struct verify_case *c, const int32_t *ids, int n, struct arena *arena, struct verify_sight *out)
{
    *out = (struct verify_sight){0};
    int rc = make_all(c, ids, n, arena, out);
    if (rc >= 0)
        rc = tell_all(c, out);
    if (rc >= 0)
        rc = check_outputs(c, out, arena);
    while (rc < 0 && out->n)
        picture_drop(out->at[--out->n]);
    return rc;
}

/* Token types: where pictures are, or, where a prompt sees itself, what came after it. */
static int check_types(struct verify_case *c, const struct nun_timeline *t, struct arena *arena)
{
    size_t n = t->ids.n;
    float *types = arena_array(arena, n, sizeof *types), *labels = arena_array(arena, n, sizeof *labels);
    float *at = arena_array(arena, n, sizeof *at);
    bool prefix = t->m->model->family->sight->prefix;
    if (!types || !labels || !at)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        at[i] = (float)t->place[i].feature;
        types[i] = prefix ? t->place[i].last == 0 : t->place[i].feature >= 0;
        labels[i] = types[i] != 0 ? (float)t->ids.at[i] : -100;
    }
    TRY(verify_check(c, "image_patches_indices", at, n)); /* of one picture */
    TRY(verify_check(c, "token_type_ids", types, n));
    return verify_check(c, "labels", labels, n);
}

/* The output "cross_attention_mask" [positions, pictures, tiles]: what tokens see of pictures beside them. Those before
 * the first picture count as blind, whatever the arithmetic makes of them. */
static int verify_masks(struct verify_case *c, const struct nun_timeline *t, struct arena *arena)
{
    size_t most = (size_t)c->m->preprocess.max_tiles, count = t->ids.n * t->n_placed * most;
    float *mask = arena_array(arena, count + 1, sizeof *mask), *at = mask;
    if (!mask)
        return NUN_ENOMEM;
    for (size_t i = 0; i < t->ids.n; i++) {
        struct kv_row row;
        bool lit = look_row(t, (int64_t)i, &row);
        for (size_t k = 0; k < t->n_placed; k++)
            for (size_t tile = 0; tile < most; tile++) {
                const struct picture *p = t->placed[k].picture;
                int each = p->side.shown / p->plan.tiles, first = t->placed[k].row + (int)tile * each;
                *at++ = lit && (int)tile < p->plan.tiles && first >= row.sees[0] && first + each <= row.sees[1];
            }
    }
    return verify_check(c, "cross_attention_mask", mask, count);
}

int verify_places(struct verify_case *c, const struct nun_timeline *t, struct arena *arena)
{
    size_t n = t->ids.n;
    if (t->n_placed && t->placed[0].picture->side.rows)
        TRY(verify_masks(c, t, arena));
    float *values = arena_array(arena, 3 * n, sizeof *values);
    if (!values)
        return NUN_ENOMEM;
    if (!t->place)
        return 0;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < 3; d++)
            values[d * n + i] = (float)t->place[i].at[d];
    TRY(check_types(c, t, arena));
    if (!t->m->model->family->sight->places)
        return 0;
    float delta = (float)(t->next_at - (int64_t)n); /* what text after them is ahead by */
    TRY(verify_check(c, "rope_deltas", &delta, 1));
    return verify_check(c, "position_ids", values, 3 * n);
}

int verify_prefix(const struct verify_case *c, int n)
{
    const char *key = json_string_value(json_object_get(json_object_get(c->json, "expected"), "token_type_ids"));
    const struct st_tensor *t = key && c->m->model->family->sight && c->m->model->family->sight->prefix ? st_find(c->v->expected, span_str(key)) : NULL;
    int prefix = 0;
    if (!t || t->dtype != DT_I64 || t->bytes != (size_t)n * sizeof(int64_t))
        return n;
    while (prefix < n && !((const int64_t *)t->data)[prefix])
        prefix++;
    return prefix;
}

int verify_processor(struct nun_model *m, const json_t *one)
{
    const json_t *arguments = json_object_get(one, "processor_arguments"), *tiles = json_object_get(one, "max_dynamic_patch");
    json_t *config = NULL;
    if (json_is_integer(tiles))
        m->preprocess.max_tiles = (int)json_integer_value(tiles);
    if (!json_is_object(arguments) || json_object_get(arguments, "suffix"))
        return 0;
    TRY(preprocess_json(&m->preprocess, &config));
    int rc = json_object_update(config, (json_t *)(uintptr_t)arguments) ? err_nomem(0) : 0;
    if (rc >= 0)
        rc = preprocess_read(config, "processor_arguments", &m->preprocess);
    json_decref(config);
    return rc;
}
