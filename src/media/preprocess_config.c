/* Reading and writing preprocessor_config.json: a row for each family of image processors with its
 * defaults, a row for each key, and a list of keys that change nothing. Any other key is refused. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "media/preprocess.h"

/* ---- processors ---- */

enum { USES_CROP = 1, USES_PAD = 2, USES_CROP_PCT = 4 };

struct preprocess_kind {
    const char *stem;  /* the name is this, then one of name_ends */
    int uses;          /* which optional steps it has: the others must be off */
    bool square;       /* a lone number as size means both sides, else the shorter one */
    struct preprocess_facts defaults;
};

static const char *const name_ends[] = {
    "ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor",
};

#define USUAL .do_resize = true, .do_rescale = true, .rescale_factor = 1 / 255.0, .do_normalize = true
#define RGB .do_convert_rgb = true
#define CLIP_COLOURS .mean = {0.48145466, 0.4578275, 0.40821073}, .std = {0.26862954, 0.26130258, 0.27577711}
#define HALF_COLOURS .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}
#define EDGE(n) .size = {.shortest_edge = n}
#define SIDES(n) .size = {.height = n, .width = n}
#define CROP(n) .do_center_crop = true, .crop = {.height = n, .width = n}
#define BILINEAR .resample = RESIZE_BILINEAR
#define BICUBIC .resample = RESIZE_BICUBIC
#define LIKE_CLIP {USUAL, RGB, CLIP_COLOURS, EDGE(224), CROP(224), BICUBIC}

static const struct preprocess_kind kinds[] = {
    {"CLIP", USES_CROP, false, LIKE_CLIP},
    {"Llava", USES_CROP | USES_PAD, false, LIKE_CLIP},
    {"VideoLlava", USES_CROP, false, LIKE_CLIP},
    {"Bit", USES_CROP, false, LIKE_CLIP},
    {"Siglip", 0, true, {USUAL, HALF_COLOURS, SIDES(224), BICUBIC}},
    {"Blip", 0, true, {USUAL, RGB, CLIP_COLOURS, SIDES(384), BICUBIC}},
    {"ViT", 0, true, {USUAL, HALF_COLOURS, SIDES(224), BILINEAR}},
    {"DeiT", USES_CROP, true, {USUAL, HALF_COLOURS, SIDES(256), CROP(224), BICUBIC}},
    {"ConvNext", USES_CROP_PCT, false, {USUAL, HALF_COLOURS, EDGE(384), BILINEAR, .crop_pct = 224 / 256.0}},
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

static bool name_matches(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0)
        return false;
    for (size_t i = 0; i < sizeof name_ends / sizeof *name_ends; i++)
        if (strcmp(name + n, name_ends[i]) == 0)
            return true;
    return false;
}

static int find_kind(const char *place, const char *name, const struct preprocess_kind **out)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (name_matches(name, kinds[i].stem)) {
            *out = &kinds[i];
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: image_processor_type: expected a known one such as CLIPImageProcessor, found %s",
                   place, name);
}

/* ---- one key: how it is read into the facts and written back ---- */

struct key_row {
    const char *key;
    int (*read)(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f);
    json_t *(*write)(const struct key_row *row, const struct preprocess_facts *f);
    size_t offset;
    double lo, hi;
    int uses; /* written only for kinds with this step; 0: for all */
};

#define MEMBER(type, f, row) ((type *)((char *)(f) + (row)->offset))
#define CONST_MEMBER(type, f, row) ((const type *)((const char *)(f) + (row)->offset))

/* Python's None is false. */
static int read_bool(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    if (json_is_null(json_object_get(obj, row->key)))
        *MEMBER(bool, f, row) = false;
    return json_get_bool(obj, place, row->key, MEMBER(bool, f, row));
}

static json_t *write_bool(const struct key_row *row, const struct preprocess_facts *f)
{
    return json_boolean(*CONST_MEMBER(bool, f, row));
}

static int read_double(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    return json_get_double(obj, place, row->key, row->lo, row->hi, MEMBER(double, f, row));
}

static json_t *write_double(const struct key_row *row, const struct preprocess_facts *f)
{
    return json_real(*CONST_MEMBER(double, f, row));
}

static int read_int(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    int64_t value = *MEMBER(int, f, row);
    TRY(json_get_int(obj, place, row->key, (int64_t)row->lo, (int64_t)row->hi, &value));
    *MEMBER(int, f, row) = (int)value;
    return 0;
}

static json_t *write_int(const struct key_row *row, const struct preprocess_facts *f)
{
    return json_integer(*CONST_MEMBER(int, f, row));
}

/* Three numbers, one a channel. */
static int read_channels(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    const json_t *list = NULL;
    int rc = json_get_array(obj, place, row->key, &list);
    if (rc != 0)
        return rc;
    if (json_array_size(list) != 3)
        return err_set(NUN_EFORMAT, "%s: %s: expected 3 numbers, found %zu", place, row->key, json_array_size(list));
    for (size_t c = 0; c < 3; c++) {
        const json_t *item = json_array_get(list, c);
        double value = json_number_value(item);
        if (!json_is_number(item) || !(value >= row->lo && value <= row->hi))
            return err_set(NUN_EFORMAT, "%s: %s[%zu]: expected a number from %g to %g, found %g", place, row->key, c,
                           row->lo, row->hi, value);
        MEMBER(double, f, row)[c] = value;
    }
    return 0;
}

static json_t *write_channels(const struct key_row *row, const struct preprocess_facts *f)
{
    const double *v = CONST_MEMBER(double, f, row);
    return json_pack("[fff]", v[0], v[1], v[2]);
}

static int read_side(const struct key_row *row, const json_t *obj, const char *place, const char *key, int *out)
{
    int64_t value = 0;
    int rc = json_get_int(obj, place, key, 1, (int64_t)LIMIT_OF(image_side), &value);
    if (rc < 0)
        return err_at(rc, "%s", row->key);
    *out = (int)value; /* 0 when absent */
    return 0;
}

static int read_side_object(const struct key_row *row, const json_t *size, const char *place,
                            struct preprocess_sides *out)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)size, key, value)
        if (strcmp(key, "height") != 0 && strcmp(key, "width") != 0 && strcmp(key, "shortest_edge") != 0 &&
            !json_is_null(value))
            return err_set(NUN_EUNSUP, "%s: %s.%s: expected height and width, or shortest_edge", place, row->key, key);
    TRY(read_side(row, size, place, "height", &out->height));
    TRY(read_side(row, size, place, "width", &out->width));
    TRY(read_side(row, size, place, "shortest_edge", &out->shortest_edge));
    bool exact = out->height > 0 && out->width > 0, any = out->height > 0 || out->width > 0;
    if (out->shortest_edge ? any : !exact)
        return err_set(NUN_EFORMAT, "%s: %s: expected either height and width, or shortest_edge", place, row->key);
    return 0;
}

/* {"height", "width"}, {"shortest_edge"}, or a lone number. `square`: what the number means. */
static int read_sides(const struct key_row *row, const json_t *obj, const char *place, bool square,
                      struct preprocess_sides *out)
{
    const json_t *value = json_object_get(obj, row->key);
    if (!value || json_is_null(value))
        return 0;
    struct preprocess_sides sides = {0};
    if (json_is_object(value)) {
        TRY(read_side_object(row, value, place, &sides));
    } else {
        TRY(read_side(row, obj, place, row->key, square ? &sides.height : &sides.shortest_edge));
        sides.width = sides.height;
    }
    *out = sides;
    return 0;
}

static int read_size(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    TRY(read_sides(row, obj, place, f->kind->square, &f->size));
    bool wants_edge = f->kind->uses & USES_CROP_PCT;
    if (f->size.shortest_edge ? f->kind->square : wants_edge)
        return err_set(NUN_EFORMAT, "%s: size: expected %s for the %s processor", place,
                       wants_edge ? "shortest_edge" : "height and width", f->kind->stem);
    return 0;
}

static int read_crop(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    TRY(read_sides(row, obj, place, true, &f->crop));
    if (f->crop.shortest_edge)
        return err_set(NUN_EFORMAT, "%s: crop_size: expected height and width, found shortest_edge", place);
    return 0;
}

static json_t *write_sides(const struct key_row *row, const struct preprocess_facts *f)
{
    const struct preprocess_sides *s = CONST_MEMBER(struct preprocess_sides, f, row);
    if (s == &f->size && f->kind->uses & USES_CROP_PCT && f->do_resize) /* what settle() made of it, undone */
        return json_pack("{si}", "shortest_edge", f->do_center_crop ? f->crop.height : f->size.height);
    if (s->shortest_edge)
        return json_pack("{si}", "shortest_edge", s->shortest_edge);
    return json_pack("{sisi}", "height", s->height, "width", s->width);
}

/* The tensor is always channels first. */
static int read_layout(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    (void)f;
    const char *layout = "channels_first";
    TRY(json_get_string(obj, place, row->key, &layout));
    if (strcmp(layout, "channels_first") != 0)
        return err_set(NUN_EUNSUP, "%s: %s: expected channels_first, found %s", place, row->key, layout);
    return 0;
}

#define AT(member) offsetof(struct preprocess_facts, member)
static const struct key_row keys[] = {
    {"do_convert_rgb", read_bool, write_bool, AT(do_convert_rgb), 0, 0, 0},
    {"do_pad", read_bool, write_bool, AT(do_pad), 0, 0, USES_PAD},
    {"do_resize", read_bool, write_bool, AT(do_resize), 0, 0, 0},
    {"size", read_size, write_sides, AT(size), 0, 0, 0},
    {"resample", read_int, write_int, AT(resample), 0, RESIZE_FILTER_COUNT - 1, 0},
    {"crop_pct", read_double, write_double, AT(crop_pct), 0.01, 1, USES_CROP_PCT},
    {"do_center_crop", read_bool, write_bool, AT(do_center_crop), 0, 0, USES_CROP},
    {"crop_size", read_crop, write_sides, AT(crop), 0, 0, USES_CROP},
    {"do_rescale", read_bool, write_bool, AT(do_rescale), 0, 0, 0},
    {"rescale_factor", read_double, write_double, AT(rescale_factor), -1e6, 1e6, 0},
    {"do_normalize", read_bool, write_bool, AT(do_normalize), 0, 0, 0},
    {"image_mean", read_channels, write_channels, AT(mean), -1e6, 1e6, 0},
    {"image_std", read_channels, write_channels, AT(std), 1e-6, 1e6, 0},
    {"data_format", read_layout, NULL, 0, 0, 0, 0},
};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

/* Keys that no pixel depends on. */
static const char *const harmless[] = {
    "image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "_valid_processor_keys",
    "model_input_names", "image_seq_length", "num_additional_image_tokens", "return_tensors", "input_data_format",
    "default_to_square", "disable_grouping", "device", "transformers_version",
};

/* ---- the whole config ---- */

/* null is no value, and so harmless under any key. */
static bool key_is_known(const char *key, const json_t *value)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].key, key) == 0)
            return true;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcmp(harmless[i], key) == 0)
            return true;
    return json_is_null(value);
}

static int check_keys(const json_t *obj, const char *place)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value)
        if (!key_is_known(key, value))
            return err_set(NUN_EUNSUP, "%s: %s: expected only keys that are understood; this one may change the pixels",
                           place, key);
    return 0;
}

static int refuse_step(const struct preprocess_facts *f, const char *place, const char *key)
{
    return err_set(NUN_EUNSUP, "%s: %s: expected false for the %s processor, found true", place, key, f->kind->stem);
}

/* What the keys mean together. ConvNeXt's crop becomes a resize and a centre crop like the others'. */
static int settle(const char *place, struct preprocess_facts *f)
{
    if (f->do_pad && !(f->kind->uses & USES_PAD))
        return refuse_step(f, place, "do_pad");
    if (f->do_center_crop && !(f->kind->uses & USES_CROP))
        return refuse_step(f, place, "do_center_crop");
    if (!(f->kind->uses & USES_CROP_PCT) || !f->do_resize)
        return 0;
    enum { EXACT_FROM = 384 }; /* larger inputs are warped to the exact square */
    int edge = f->size.shortest_edge;
    f->do_center_crop = edge < EXACT_FROM;
    if (f->do_center_crop) {
        f->crop = (struct preprocess_sides){.height = edge, .width = edge};
        f->size.shortest_edge = (int)(edge / f->crop_pct);
    } else {
        f->size = (struct preprocess_sides){.height = edge, .width = edge};
    }
    return 0;
}

int preprocess_default(const char *processor, struct preprocess_facts *out)
{
    const struct preprocess_kind *kind;
    TRY(find_kind("preprocess", processor, &kind));
    *out = kind->defaults;
    out->kind = kind;
    return settle("preprocess", out);
}

int preprocess_read(const json_t *obj, const char *place, struct preprocess_facts *out)
{
    const json_t *nested = NULL;
    TRY(json_get_object(obj, place, "image_processor", &nested));
    if (nested)
        obj = nested;
    const char *name = NULL;
    TRY(json_get_string(obj, place, "feature_extractor_type", &name));
    TRY(json_get_string(obj, place, "image_processor_type", &name));
    if (!name)
        return json_missing(place, "image_processor_type");
    const struct preprocess_kind *kind;
    TRY(find_kind(place, name, &kind));
    struct preprocess_facts f = kind->defaults;
    f.kind = kind;
    TRY(check_keys(obj, place));
    for (size_t i = 0; i < KEY_COUNT; i++)
        TRY(keys[i].read(&keys[i], obj, place, &f));
    TRY(settle(place, &f));
    *out = f;
    return 0;
}

int preprocess_parse(struct span json, const char *place, struct preprocess_facts *out)
{
    json_t *obj = NULL;
    TRY(json_parse_span(json, place, &obj));
    int rc = preprocess_read(obj, place, out);
    json_decref(obj);
    return rc;
}

int preprocess_load(const char *path, struct preprocess_facts *out)
{
    json_t *obj = NULL;
    TRY(json_load_file_limited(path, &obj));
    int rc = preprocess_read(obj, path, out);
    json_decref(obj);
    return rc;
}

int preprocess_json(const struct preprocess_facts *facts, json_t **out)
{
    json_t *obj = json_object();
    char name[64];
    snprintf(name, sizeof name, "%s%s", facts->kind->stem, name_ends[0]);
    bool failed = !obj || json_object_set_new(obj, "image_processor_type", json_string(name)) < 0;
    for (size_t i = 0; i < KEY_COUNT && !failed; i++)
        if (keys[i].write && (keys[i].uses == 0 || facts->kind->uses & keys[i].uses))
            failed = json_object_set_new(obj, keys[i].key, keys[i].write(&keys[i], facts)) < 0;
    if (failed) {
        json_decref(obj);
        return err_set(NUN_ENOMEM, "preprocess: out of memory for the config");
    }
    *out = obj;
    return 0;
}
