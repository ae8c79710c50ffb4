/* Parity of preprocessing, family by family: every picture and video of the picture-and-text fixtures,
 * opened as their folders say, against the tensors (pixels, masks, grids, sizes, ids) that the original
 * processors made. Skipped where the fixtures are not. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "media/preprocess.h"

static const char root[] = "../shared/fixtures";
enum { MOST_IMAGES = 16 };

static const char *const folders[] = {
    "llava", "llava-siglip", "vipllava", "llava-next", "llava-onevision", "video-llava", "blip2", "instructblip",
    "idefics2", "idefics3", "smolvlm", "pixtral", "mistral3", "paligemma", "paligemma2", "gemma3", "qwen2-vl",
    "qwen2-5-vl", "qwen3-vl", "mllama", "internvl2", "internvl2-internlm2", "internvl-hf", "nvlm-d", "fuyu",
    "chameleon", "janus", "siglip2",
};

/* Totals, printed at the end. */
static struct { size_t tensors, values, exact, pictures; double worst; } total;

/* ---- one batch: pictures of a case, or the frames of one video ---- */

struct batch {
    struct preprocess_facts f;
    size_t n;
    struct preprocess_plan plans[MOST_IMAGES];
    float *tiles[MOST_IMAGES];
};

static void batch_drop(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        mem_free(b->tiles[i]);
}

static void load_picture(const char *folder, const json_t *name, enum image_alpha alpha, struct image *out)
{
    char path[512];
    const char *text = json_string_value(name);
    assert_non_null(text);
    snprintf(path, sizeof path, "%s/%s/%s%s", root, folder, strchr(text, '/') ? "" : "verify/", text);
    check_ok(image_load(path, &(struct image_options){.alpha = alpha, .apply_orientation = true}, out));
}

static void run_plan(struct batch *b, size_t i, const struct image *images)
{
    size_t floats;
    check_ok(preprocess_floats(&b->f, &b->plans[i], &floats));
    b->tiles[i] = mem_calloc(MEM_TEST, floats, sizeof(float));
    assert_non_null(b->tiles[i]);
    check_ok(preprocess_tiles(&b->f, &b->plans[i], images, b->tiles[i], floats));
}

static void pictures_run(const char *folder, const json_t *names, int together, struct batch *b)
{
    struct image images[MOST_IMAGES];
    b->n = json_array_size(names);
    assert_in_range(b->n, 1, MOST_IMAGES);
    for (size_t i = 0; i < b->n; i++) {
        load_picture(folder, json_array_get(names, i), b->f.alpha, &images[i]);
        check_ok(preprocess_plan(&b->f, &(struct preprocess_input){.width = images[i].width,
                                 .height = images[i].height, .together = together}, &b->plans[i]));
    }
    preprocess_align(&b->f, b->plans, b->n);
    for (size_t i = 0; i < b->n; i++) {
        run_plan(b, i, &images[i]);
        image_free(&images[i]);
    }
    total.pictures += b->n;
}

static void video_run(const char *folder, const json_t *names, struct batch *b)
{
    struct image images[MOST_IMAGES];
    size_t n = json_array_size(names);
    assert_in_range(n, 1, MOST_IMAGES);
    for (size_t i = 0; i < n; i++)
        load_picture(folder, json_array_get(names, i), b->f.alpha, &images[i]);
    b->n = 1;
    check_ok(preprocess_plan(&b->f, &(struct preprocess_input){.width = images[0].width, .height = images[0].height,
                             .frames = (int)n}, &b->plans[0]));
    run_plan(b, 0, images);
    for (size_t i = 0; i < n; i++)
        image_free(&images[i]);
    total.pictures += n;
}

/* ---- comparing ---- */

struct against { const char *folder, *name; const json_t *expected; const struct safetensors *st; };

/* NULL when the case does not have it. */
static const struct st_tensor *tensor_of(const struct against *it, const char *key)
{
    const char *tensor = json_string_value(json_object_get(it->expected, key));
    const struct st_tensor *t = NULL;
    if (tensor)
        check_ok(st_need(it->st, span_str(tensor), NULL, &t));
    total.tensors += t != NULL;
    return t;
}

static void compare_floats(const struct against *it, const char *key, const struct st_tensor *t, const float *found)
{
    size_t n, equal = 0;
    double worst = 0;
    const float *want = t->data;
    check_ok(shape_count(&t->shape, &n));
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)want[i] - found[i]);
        equal += want[i] == found[i];
        worst = off > worst ? off : worst;
        if (!(off <= 1e-6))
            fail_msg("%s: %s: %s: value %zu of %zu: expected %.9g, found %.9g", it->folder, it->name, key, i, n,
                     (double)want[i], (double)found[i]);
    }
    total.values += n;
    total.exact += equal;
    total.worst = worst > total.worst ? worst : total.worst;
}

static bool compare_pixels(const struct against *it, const char *key, const struct batch *b)
{
    const struct st_tensor *t = tensor_of(it, key);
    struct shape shape;
    char want[SHAPE_TEXT], got[SHAPE_TEXT];
    size_t n;
    if (!t)
        return false;
    check_ok(preprocess_reference_shape(&b->f, b->plans, b->n, &shape));
    if (!shape_eq(&shape, &t->shape))
        fail_msg("%s: %s: %s: expected %s, found %s", it->folder, it->name, key, shape_format(&t->shape, want),
                 shape_format(&shape, got));
    check_ok(shape_count(&shape, &n));
    float *found = mem_calloc(MEM_TEST, n, sizeof *found);
    assert_non_null(found);
    check_ok(preprocess_reference(&b->f, b->plans, b->n, (const float *const *)b->tiles, found, n));
    compare_floats(it, key, t, found);
    mem_free(found);
    return true;
}

/* found: as many as the tensor has. */
static void compare_ints(const struct against *it, const char *key, const struct st_tensor *t, const int64_t *found,
                         size_t count)
{
    size_t n;
    check_ok(shape_count(&t->shape, &n));
    if (n != count)
        fail_msg("%s: %s: %s: expected %zu numbers, found %zu", it->folder, it->name, key, n, count);
    for (size_t i = 0; i < n; i++) {
        int64_t want = t->dtype == DT_I32 ? ((const int32_t *)t->data)[i] : ((const int64_t *)t->data)[i];
        if (want != found[i])
            fail_msg("%s: %s: %s[%zu]: expected %lld, found %lld", it->folder, it->name, key, i, (long long)want,
                     (long long)found[i]);
    }
    total.values += n;
    total.exact += n;
}

static void compare_mask(const struct against *it, const struct batch *b)
{
    const struct st_tensor *t = tensor_of(it, "pixel_attention_mask");
    size_t n;
    if (!t)
        return;
    check_ok(shape_count(&t->shape, &n));
    uint8_t *mask = mem_calloc(MEM_TEST, n, 1);
    int64_t *wide = mem_calloc(MEM_TEST, n, sizeof *wide);
    assert_true(mask && wide);
    check_ok(preprocess_reference_mask(&b->f, b->plans, b->n, mask, n));
    for (size_t i = 0; i < n; i++)
        wide[i] = mask[i];
    compare_ints(it, "pixel_attention_mask", t, wide, n);
    mem_free(mask);
    mem_free(wide);
}

/* The small tensors of every family, each if the case has it: what of a plan they hold. */
static void compare_plans(const struct against *it, const struct batch *b, const char *grid_key)
{
    enum { MOST = MOST_IMAGES * 16 };
    int64_t thw[MOST], sizes[MOST], shapes[MOST], ids[MOST], slots[MOST];
    size_t most = (size_t)b->f.max_tiles;
    for (size_t i = 0; i < b->n; i++) {
        const struct preprocess_plan *p = &b->plans[i];
        bool native = p->patch_rows > 0; /* then image_sizes are those of the resized picture */
        thw[3 * i] = p->steps, thw[3 * i + 1] = p->patch_rows, thw[3 * i + 2] = p->patch_columns;
        sizes[2 * i] = native ? p->tile_height : p->height, sizes[2 * i + 1] = native ? p->tile_width : p->width;
        shapes[2 * i] = p->patch_rows, shapes[2 * i + 1] = p->patch_columns;
        ids[i] = p->aspect_id;
        for (size_t s = 0; p->aspect_id && s < most; s++)
            slots[i * most + s] = s < (size_t)p->tiles;
    }
    const struct { const char *key; const int64_t *found; size_t n; } rows[] = {
        {grid_key, thw, 3 * b->n}, {"spatial_shapes", shapes, 2 * b->n}, {"image_sizes", sizes, 2 * b->n},
        {"aspect_ratio_ids", ids, b->n}, {"aspect_ratio_mask", slots, most * b->n},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct st_tensor *t = tensor_of(it, rows[i].key);
        if (t)
            compare_ints(it, rows[i].key, t, rows[i].found, rows[i].n);
    }
}

/* ---- cases ---- */

/* What a case changes: a call's arguments for the picture processor, or InternVL's tiles for frames. */
static void case_changes(const char *folder, const json_t *one, struct preprocess_facts *f)
{
    const json_t *arguments = json_dig(one, "processor_arguments"), *most = json_dig(one, "max_dynamic_patch");
    if (json_dig(arguments, "do_pan_and_scan")) {
        json_t *merged = NULL;
        check_ok(preprocess_json(f, &merged));
        assert_int_equal(json_object_update(merged, (json_t *)arguments), 0);
        check_ok(preprocess_read(merged, folder, f));
        json_decref(merged);
    }
    if (most)
        f->min_tiles = f->max_tiles = (int)json_integer_value(most);
}

static size_t check_pictures(const struct against *it, const json_t *one)
{
    static const char *const keys[] = {"pixel_values", "pixel_values_images", "image_patches"};
    const json_t *names = json_dig(one, "images");
    char path[512];
    struct batch b = {.n = 0};
    size_t compared = 0;
    if (json_array_size(names) == 0)
        return 0;
    snprintf(path, sizeof path, "%s/%s", root, it->folder);
    check_ok(preprocess_open(path, PREPROCESS_PICTURES, &b.f));
    case_changes(it->folder, one, &b.f);
    pictures_run(it->folder, names, json_is_true(json_dig(one, "nested")) ? (int)json_array_size(names) : 1, &b);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        compared += compare_pixels(it, keys[i], &b);
    compare_mask(it, &b);
    compare_plans(it, &b, "image_grid_thw");
    batch_drop(&b);
    return compared;
}

/* pixel_values holds videos too where a family knows no difference. */
static size_t check_videos(const struct against *it, const json_t *one)
{
    const json_t *videos = json_dig(one, "videos");
    char path[512];
    struct batch b = {.n = 0};
    if (json_array_size(videos) == 0)
        return 0;
    assert_int_equal(json_array_size(videos), 1);
    snprintf(path, sizeof path, "%s/%s", root, it->folder);
    check_ok(preprocess_open(path, PREPROCESS_VIDEOS, &b.f));
    video_run(it->folder, json_array_get(videos, 0), &b);
    size_t compared = compare_pixels(it, "pixel_values_videos", &b);
    if (json_array_size(json_dig(one, "images")) == 0)
        compared += compare_pixels(it, "pixel_values", &b);
    compare_plans(it, &b, "video_grid_thw");
    batch_drop(&b);
    return compared;
}

/* Frames of several sizes, each by itself: LLaVA-OneVision stretches every one. */
static size_t check_frames(const struct against *it, const json_t *one)
{
    const json_t *names = json_dig(one, "frames");
    const struct st_tensor *t = tensor_of(it, "pixel_values_videos");
    char path[512];
    struct batch b = {.n = json_array_size(names)};
    if (!t || b.n == 0)
        return 0;
    snprintf(path, sizeof path, "%s/%s", root, it->folder);
    check_ok(preprocess_open(path, PREPROCESS_VIDEOS, &b.f));
    size_t floats = 3 * (size_t)b.f.size.height * (size_t)b.f.size.width;
    assert_true(b.n <= MOST_IMAGES && shape_eq(&t->shape, &(struct shape){5, {1, (int64_t)b.n, 3, b.f.size.height,
                                                                             b.f.size.width}}));
    for (size_t i = 0; i < b.n; i++) {
        struct image img;
        struct st_tensor frame = {.shape = SHAPE1((int64_t)floats), .data = (const float *)t->data + i * floats};
        load_picture(it->folder, json_array_get(names, i), b.f.alpha, &img);
        check_ok(preprocess_plan(&b.f, &(struct preprocess_input){.width = img.width, .height = img.height,
                                 .frames = 1}, &b.plans[i]));
        run_plan(&b, i, &img);
        compare_floats(it, "pixel_values_videos", &frame, b.tiles[i]);
        image_free(&img);
    }
    total.pictures += b.n;
    batch_drop(&b);
    return 1;
}

static bool same_number(const json_t *stored, const json_t *found)
{
    return json_is_number(stored) && json_is_number(found) && json_number_value(stored) == json_number_value(found);
}

/* Lists element by element; a lone number stands for each of a list or an object's. */
static bool same_value(const json_t *stored, const json_t *found)
{
    size_t n = json_array_size(found), same = 0;
    const char *key;
    json_t *value;
    if (json_is_array(found)) {
        for (size_t i = 0; i < n; i++) {
            const json_t *one = json_is_array(stored) ? json_array_get(stored, i) : stored;
            same += same_number(one, json_array_get(found, i)) || json_equal(one, json_array_get(found, i));
        }
        return same == n && (!json_is_array(stored) || json_array_size(stored) == n);
    }
    json_object_foreach((json_t *)found, key, value)
        same += same_number(json_is_object(stored) ? json_object_get(stored, key) : stored, value);
    if (json_is_object(found))
        return same == json_object_size(found) && (!json_is_object(stored) || json_object_size(stored) == same);
    return same_number(stored, found) || json_equal(stored, found);
}

/* Every key of a published config that has a meaning is written back with the same value. */
static size_t check_written(const char *folder, const char *file)
{
    char path[512];
    json_t *stored = NULL, *written = NULL, *value;
    struct preprocess_facts f;
    const char *key;
    size_t keys = 0;
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, file);
    if (!file_exists(path))
        return 0;
    check_ok(json_load_file_limited(path, &stored));
    check_ok(preprocess_read(stored, path, &f));
    check_ok(preprocess_json(&f, &written));
    json_object_foreach(stored, key, value) {
        static const char *const others[] = {"processor_class", "image_processor_type", "feature_extractor_type",
                                             "image_seq_length"};
        const json_t *found = json_object_get(written, key);
        bool skipped = json_is_null(value);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            skipped = skipped || strcmp(key, others[i]) == 0;
        if (skipped)
            continue;
        if (!found || !same_value(value, found))
            fail_msg("%s: %s: not written back", path, key);
        keys++;
    }
    struct preprocess_facts back;
    json_t *again = NULL;
    check_ok(preprocess_read(written, path, &back));
    check_ok(preprocess_json(&back, &again));
    assert_true(json_equal(written, again));
    json_decref(again);
    json_decref(written);
    json_decref(stored);
    return keys;
}

static size_t check_folder(const char *folder)
{
    char path[512];
    json_t *cases = NULL;
    struct safetensors *st = NULL;
    size_t compared = 0;
    snprintf(path, sizeof path, "%s/%s/verify/case.json", root, folder);
    check_ok(json_load_file_limited(path, &cases));
    snprintf(path, sizeof path, "%s/%s/verify/expected.safetensors", root, folder);
    check_ok(st_open(path, &st));
    const json_t *list = json_dig(cases, "cases");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        struct against it = {folder, json_string_value(json_dig(one, "name")), json_dig(one, "expected"), st};
        compared += check_pictures(&it, one);
        compared += check_videos(&it, one);
        compared += check_frames(&it, one);
    }
    st_close(st);
    json_decref(cases);
    return compared;
}

static void test_written(void **state)
{
    (void)state;
    size_t keys = 0;
    if (!file_is_dir(root))
        skip();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        keys += check_written(folders[i], "preprocessor_config.json");
        keys += check_written(folders[i], "video_preprocessor_config.json");
    }
    printf("%zu keys of configs written back\n", keys);
    assert_true(keys > 200);
}

static void test_families(void **state)
{
    (void)state;
    if (!file_is_dir(root))
        skip();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (check_folder(folders[i]) == 0)
            fail_msg("%s: nothing was compared", folders[i]);
    printf("%zu folders, %zu pictures and frames, %zu tensors, %zu values, %zu of them exact, worst difference %.3g\n",
           sizeof folders / sizeof *folders, total.pictures, total.tensors, total.values, total.exact, total.worst);
    assert_true(total.pictures >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families), cmocka_unit_test(test_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
