/* Reading and writing preprocessor_config.json: a row for each key, and a list of keys that change
 * nothing. Any other key is refused, and so is one of a step that the processor does not have. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "media/preprocess_kind.h"

/* ---- one key: how it is read into the facts and written back ---- */

struct key_row {
    const char *key;
    int (*read)(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f);
    json_t *(*write)(const struct key_row *row, const struct preprocess_facts *f);
    size_t offset;
    double lo, hi;
    int uses; /* only for kinds with one of these steps; 0: for all */
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

/* Three numbers, one a channel, or one for all. */
static int read_channels(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    const json_t *list = NULL;
    if (json_is_number(json_object_get(obj, row->key))) {
        double *v = MEMBER(double, f, row);
        TRY(json_get_double(obj, place, row->key, row->lo, row->hi, v));
        v[1] = v[2] = v[0];
        return 0;
    }
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

/* ---- sizes ---- */

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
    static const struct { const char *key; size_t offset; } sides[] = {
        {"height", offsetof(struct preprocess_sides, height)},
        {"width", offsetof(struct preprocess_sides, width)},
        {"shortest_edge", offsetof(struct preprocess_sides, shortest_edge)},
        {"longest_edge", offsetof(struct preprocess_sides, longest_edge)},
    };
    enum { COUNT = sizeof sides / sizeof *sides };
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)size, key, value) {
        bool known = json_is_null(value);
        for (int i = 0; i < COUNT; i++)
            known = known || strcmp(key, sides[i].key) == 0;
        if (!known)
            return err_set(NUN_EUNSUP, "%s: %s.%s: expected height and width, shortest_edge or longest_edge", place,
                           row->key, key);
    }
    for (int i = 0; i < COUNT; i++)
        TRY(read_side(row, size, place, sides[i].key, (int *)((char *)out + sides[i].offset)));
    return 0;
}

/* Which sides may stand together, by the form; one row each. */
static const struct form_row {
    const char *expected;
    bool both, shortest, longest, clamped; /* allowed: height and width; one edge alone; both edges */
} forms[] = {
    [SIZE_EDGE_OR_BOTH] = {"either height and width, or shortest_edge", true, true, false, false},
    [SIZE_BOTH] = {"height and width", true, false, false, false},
    [SIZE_EDGE] = {"shortest_edge", false, true, false, false},
    [SIZE_LONGEST] = {"longest_edge, or height and width", true, false, true, false},
    [SIZE_CLAMPED] = {"shortest_edge and longest_edge", false, false, false, true},
};

static int check_form(const struct key_row *row, const char *place, enum preprocess_size_form form,
                      const struct preprocess_sides *s)
{
    const struct form_row *allowed = &forms[form];
    bool none = !s->height && !s->width, edges = s->shortest_edge || s->longest_edge;
    bool ok = s->height && s->width ? allowed->both && !edges
              : !none               ? false
              : s->shortest_edge && s->longest_edge ? allowed->clamped
              : s->shortest_edge                    ? allowed->shortest
                                                    : s->longest_edge && allowed->longest;
    if (!ok)
        return err_set(NUN_EFORMAT, "%s: %s: expected %s", place, row->key, allowed->expected);
    return 0;
}

/* {"height", "width"}, edges, or a lone number. */
static int read_sides(const struct key_row *row, const json_t *obj, const char *place, enum preprocess_size_form form,
                      struct preprocess_sides *out)
{
    const json_t *value = json_object_get(obj, row->key);
    if (!value || json_is_null(value))
        return 0;
    struct preprocess_sides sides = {0};
    if (json_is_object(value)) {
        TRY(read_side_object(row, value, place, &sides));
    } else {
        int *lone = form == SIZE_BOTH      ? &sides.height
                    : form == SIZE_LONGEST ? &sides.longest_edge
                                           : &sides.shortest_edge;
        TRY(read_side(row, obj, place, row->key, lone));
        sides.width = sides.height;
    }
    TRY(check_form(row, place, form, &sides));
    *out = sides;
    return 0;
}

static const double MOST_PIXELS = 1e12;

/* Where `size` counts pixels: {"shortest_edge": least, "longest_edge": most}, or by their older names. */
static int read_pixels(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    const json_t *size = NULL;
    int rc = json_get_object(obj, place, row->key, &size);
    if (rc != 0)
        return rc;
    static const char *const names[2][2] = {{"shortest_edge", "longest_edge"}, {"min_pixels", "max_pixels"}};
    const char *const *name = names[json_object_get(size, names[1][0]) != NULL];
    int64_t limits[2] = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)size, key, value)
        if (strcmp(key, name[0]) != 0 && strcmp(key, name[1]) != 0 && !json_is_null(value))
            return err_set(NUN_EUNSUP, "%s: %s.%s: expected %s and %s, in pixels", place, row->key, key, name[0],
                           name[1]);
    for (int i = 0; i < 2; i++) {
        rc = json_get_int(size, place, name[i], 1, (int64_t)MOST_PIXELS, &limits[i]);
        if (rc < 0)
            return err_at(rc, "%s", row->key);
        if (rc > 0)
            return err_set(NUN_EFORMAT, "%s: %s: expected %s and %s, in pixels", place, row->key, name[0], name[1]);
    }
    f->min_pixels = limits[0];
    f->max_pixels = limits[1];
    return 0;
}

static int read_size(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    if (f->kind->uses & USES_SEQUENCE)
        return json_dig(obj, row->key) ? err_set(NUN_EUNSUP, "%s: size: expected none beside max_num_patches", place)
                                       : 0;
    if (f->kind->uses & USES_PIXELS)
        return read_pixels(row, obj, place, f);
    return read_sides(row, obj, place, f->kind->size_form, &f->size);
}

static int read_crop(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    return read_sides(row, obj, place, SIZE_BOTH, &f->crop);
}

static int read_tile(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    TRY(read_sides(row, obj, place, SIZE_LONGEST, &f->tile_size));
    if (!f->tile_size.longest_edge)
        return err_set(NUN_EUNSUP, "%s: %s: expected longest_edge, found height and width", place, row->key);
    return 0;
}

static json_t *sides_json(const struct preprocess_sides *s)
{
    if (s->shortest_edge && s->longest_edge)
        return json_pack("{sisi}", "shortest_edge", s->shortest_edge, "longest_edge", s->longest_edge);
    if (s->shortest_edge)
        return json_pack("{si}", "shortest_edge", s->shortest_edge);
    if (s->longest_edge)
        return json_pack("{si}", "longest_edge", s->longest_edge);
    return json_pack("{sisi}", "height", s->height, "width", s->width);
}

static json_t *write_sides(const struct key_row *row, const struct preprocess_facts *f)
{
    const struct preprocess_sides *s = CONST_MEMBER(struct preprocess_sides, f, row);
    if (s == &f->size && f->kind->uses & USES_SEQUENCE)
        return json_null();
    if (s == &f->size && f->kind->uses & USES_PIXELS)
        return json_pack("{sIsI}", "shortest_edge", (json_int_t)f->min_pixels, "longest_edge",
                         (json_int_t)f->max_pixels);
    if (s == &f->size && f->kind->uses & USES_CROP_PCT && f->do_resize) /* what settle() made of it, undone */
        return json_pack("{si}", "shortest_edge", f->do_center_crop ? f->crop.height : f->size.height);
    return sides_json(s);
}

/* ---- keys of a few families ---- */

static int read_int64(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    return json_get_int(obj, place, row->key, (int64_t)row->lo, (int64_t)row->hi, MEMBER(int64_t, f, row));
}

static json_t *write_int64(const struct key_row *row, const struct preprocess_facts *f)
{
    return json_integer(*CONST_MEMBER(int64_t, f, row));
}

/* A number, or an object of two equal ones. */
static int read_patch(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    if (!json_is_object(json_object_get(obj, row->key)))
        return read_int(row, obj, place, f);
    struct preprocess_sides sides = {0};
    TRY(read_sides(row, obj, place, SIZE_BOTH, &sides));
    if (sides.height != sides.width || sides.height > row->hi)
        return err_set(NUN_EUNSUP, "%s: %s: expected a square of at most %g, found %d x %d", place, row->key, row->hi,
                       sides.width, sides.height);
    f->patch = sides.height;
    return 0;
}

static json_t *write_patch(const struct key_row *row, const struct preprocess_facts *f)
{
    if (f->kind->uses & (USES_PIXELS | USES_SEQUENCE))
        return write_int(row, f);
    return json_pack("{sisi}", "height", f->patch, "width", f->patch);
}

static int read_pinpoint(const char *place, const json_t *pair, int i, int out[2])
{
    for (size_t side = 0; side < 2; side++) {
        const json_t *item = json_array_get(pair, side);
        json_int_t value = json_integer_value(item);
        if (json_array_size(pair) != 2 || value < 1 || value > (json_int_t)LIMIT_OF(image_side))
            return err_set(NUN_EFORMAT, "%s: image_grid_pinpoints[%d]: expected height and width from 1 to %zu, "
                           "found %lld", place, i, LIMIT_OF(image_side), (long long)value);
        out[side] = (int)value;
    }
    return 0;
}

static int read_pinpoints(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    const json_t *list = NULL;
    int rc = json_get_array(obj, place, row->key, &list);
    if (rc != 0)
        return rc;
    if (json_array_size(list) > PREPROCESS_PINPOINTS)
        return err_set(NUN_ELIMIT, "%s: %s: expected at most %d sizes, found %zu", place, row->key,
                       PREPROCESS_PINPOINTS, json_array_size(list));
    f->pinpoint_count = (int)json_array_size(list);
    for (int i = 0; i < f->pinpoint_count; i++)
        TRY(read_pinpoint(place, json_array_get(list, (size_t)i), i, f->pinpoints[i]));
    return 0;
}

static json_t *write_pinpoints(const struct key_row *row, const struct preprocess_facts *f)
{
    (void)row;
    json_t *list = json_array();
    for (int i = 0; list && i < f->pinpoint_count; i++)
        if (json_array_append_new(list, json_pack("[ii]", f->pinpoints[i][0], f->pinpoints[i][1])) < 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

/* Three bytes, or one for all. */
static int read_background(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    const json_t *value = json_object_get(obj, row->key);
    if (!value || json_is_null(value))
        return 0;
    for (size_t c = 0; c < 3; c++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, c) : value;
        json_int_t v = json_integer_value(item);
        if (!json_is_integer(item) || v < 0 || v > 255 || (json_is_array(value) && json_array_size(value) != 3))
            return err_set(NUN_EFORMAT, "%s: %s: expected 3 numbers from 0 to 255", place, row->key);
        f->background[c] = (uint8_t)v;
    }
    return 0;
}

static json_t *write_background(const struct key_row *row, const struct preprocess_facts *f)
{
    (void)row;
    return json_pack("[iii]", f->background[0], f->background[1], f->background[2]);
}

/* {"fps", "max_frames", "video_size"}: what SmolVLM does to videos, beside its keys for pictures. */
static int read_video_sampling(const struct key_row *row, const json_t *obj, const char *place,
                               struct preprocess_facts *f)
{
    static const struct key_row size = {.key = "video_size"};
    const json_t *sampling = NULL;
    int rc = json_get_object(obj, place, row->key, &sampling);
    if (rc != 0)
        return rc;
    int64_t frames = 0;
    TRY(json_get_double(sampling, place, "fps", 0.001, 1000, &f->sampling.fps));
    TRY(json_get_int(sampling, place, "max_frames", 1, (int64_t)LIMIT_OF(media_frames), &frames));
    TRY(read_sides(&size, sampling, place, SIZE_LONGEST, &f->video_size));
    f->sampling.frames = (int)frames;
    if (f->kind->video && (f->video_size.longest_edge || f->video_size.height))
        f->size = f->video_size;
    return 0;
}

static json_t *write_video_sampling(const struct key_row *row, const struct preprocess_facts *f)
{
    (void)row;
    if (!f->sampling.frames || !f->sampling.fps)
        return json_null();
    return json_pack("{sfsiso}", "fps", f->sampling.fps, "max_frames", f->sampling.frames, "video_size",
                     sides_json(&f->video_size));
}

/* ---- keys that must have one value ---- */

/* The tensor is always channels first. */
static int read_layout(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    (void)f;
    const char *layout = "channels_first";
    TRY(json_get_string(obj, place, row->key, &layout));
    if (strcmp(layout, "channels_first") != 0 && strcmp(layout, "ChannelDimension.FIRST") != 0)
        return err_set(NUN_EUNSUP, "%s: %s: expected channels_first, found %s", place, row->key, layout);
    return 0;
}

static int read_constant(const struct key_row *row, const json_t *obj, const char *place, struct preprocess_facts *f)
{
    (void)f;
    const char *mode = "constant";
    TRY(json_get_string(obj, place, row->key, &mode));
    if (strcmp(mode, "constant") != 0)
        return err_set(NUN_EUNSUP, "%s: %s: expected constant, found %s", place, row->key, mode);
    return 0;
}

static json_t *write_constant(const struct key_row *row, const struct preprocess_facts *f)
{
    (void)row, (void)f;
    return json_string("constant");
}

/* ---- the table ---- */

#define AT(member) offsetof(struct preprocess_facts, member)
#define BOOL(key, member, uses) {key, read_bool, write_bool, AT(member), 0, 0, uses}
#define INT(key, member, lo, hi, uses) {key, read_int, write_int, AT(member), lo, hi, uses}
#define REAL(key, member, lo, hi, uses) {key, read_double, write_double, AT(member), lo, hi, uses}
enum { MOST_TILES = 256, MOST_PATCH = 4096, MOST_SIDE = 32768, MOST_FRAMES = 1 << 24 };
static const struct key_row keys[] = {
    BOOL("do_convert_rgb", do_convert_rgb, 0),
    BOOL("do_pad", do_pad, USES_PAD),
    BOOL("do_resize", do_resize, 0),
    {"size", read_size, write_sides, AT(size), 0, 0, 0},
    INT("resample", resample, 0, RESIZE_FILTER_COUNT - 1, 0),
    REAL("crop_pct", crop_pct, 0.01, 1, USES_CROP_PCT),
    BOOL("do_center_crop", do_center_crop, USES_CROP),
    {"crop_size", read_crop, write_sides, AT(crop), 0, 0, USES_CROP},
    BOOL("do_rescale", do_rescale, 0),
    REAL("rescale_factor", rescale_factor, -1e6, 1e6, 0),
    BOOL("rescale_offset", rescale_offset, USES_TOP),
    BOOL("do_normalize", do_normalize, 0),
    BOOL("include_top", divide_again, USES_TOP),
    {"image_mean", read_channels, write_channels, AT(mean), -1e6, 1e6, 0},
    {"image_std", read_channels, write_channels, AT(std), 1e-6, 1e6, 0},
    {"data_format", read_layout, NULL, 0, 0, 0, 0},
    {"image_grid_pinpoints", read_pinpoints, write_pinpoints, 0, 0, 0, USES_PINPOINTS},
    BOOL("do_image_splitting", split, USES_SPLITTING),
    {"max_image_size", read_tile, write_sides, AT(tile_size), 0, 0, USES_TILE},
    INT("max_image_tiles", max_tiles, 1, MOST_TILES, USES_MAX_TILES),
    BOOL("crop_to_patches", split, USES_DYNAMIC),
    INT("min_patches", min_tiles, 1, MOST_TILES, USES_DYNAMIC),
    INT("max_patches", max_tiles, 1, MOST_TILES, USES_DYNAMIC),
    BOOL("use_thumbnail", thumbnail, USES_DYNAMIC),
    BOOL("do_pan_and_scan", split, USES_PAN),
    INT("pan_and_scan_min_crop_size", pan_min_side, 1, MOST_SIDE, USES_PAN),
    INT("pan_and_scan_max_num_crops", max_tiles, 1, MOST_TILES, USES_PAN),
    REAL("pan_and_scan_min_ratio_to_activate", pan_min_ratio, 1e-3, 1e6, USES_PAN),
    {"patch_size", read_patch, write_patch, AT(patch), 1, MOST_PATCH, USES_PATCH},
    INT("max_num_patches", max_patches, 1, 1 << 20, USES_SEQUENCE),
    INT("num_crops", max_tiles, 1, MOST_TILES, USES_CROPS),
    INT("num_img_tokens", tile_tokens, 1, 1 << 20, USES_CROPS),
    INT("merge_size", merge, 1, 64, USES_PIXELS),
    INT("temporal_patch_size", temporal_patch, 1, 64, USES_PIXELS),
    {"min_pixels", read_int64, write_int64, AT(min_pixels), 1, MOST_PIXELS, USES_PIXELS},
    {"max_pixels", read_int64, write_int64, AT(max_pixels), 1, MOST_PIXELS, USES_PIXELS},
    REAL("padding_value", padding_value, 0, 255, USES_PAD_VALUE),
    {"padding_mode", read_constant, write_constant, 0, 0, 0, USES_PAD_VALUE},
    {"background_color", read_background, write_background, 0, 0, 0, USES_BACKGROUND},
    INT("min_size", min_side, 1, MOST_SIDE, USES_BACKGROUND),
    BOOL("do_sample_frames", sampling.sample, USES_SAMPLING),
    REAL("fps", sampling.fps, 1e-3, 1000, USES_SAMPLING),
    INT("num_frames", sampling.frames, 1, MOST_FRAMES, USES_SAMPLING),
    INT("min_frames", sampling.min_frames, 1, MOST_FRAMES, USES_SAMPLING),
    INT("max_frames", sampling.max_frames, 1, MOST_FRAMES, USES_SAMPLING),
    {"video_sampling", read_video_sampling, write_video_sampling, 0, 0, 0, USES_VIDEO_SAMPLING},
};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

/* Keys that no pixel depends on. */
static const char *const harmless[] = {
    "image_processor_type", "feature_extractor_type", "video_processor_type", "processor_class", "auto_map",
    "_valid_processor_keys", "model_input_names", "image_seq_length", "num_additional_image_tokens", "return_tensors",
    "input_data_format", "default_to_square", "disable_grouping", "device", "transformers_version",
    "return_row_col_info", "return_metadata", "video_metadata", "aspect_ratio_setting",
};

static bool key_is_harmless(const char *key)
{
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcmp(harmless[i], key) == 0)
            return true;
    return false;
}

static const struct key_row *find_key(const char *key)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].key, key) == 0)
            return &keys[i];
    return NULL;
}

static bool kind_has(int uses, const struct key_row *row)
{
    return row->uses == 0 || uses & row->uses;
}

/* ---- the whole config ---- */

/* null and false switch a step off that is not there; crop_size does nothing without do_center_crop. */
static int check_key(const char *key, const json_t *value, const char *place, const struct preprocess_kind *kind,
                     int uses)
{
    const struct key_row *row = find_key(key);
    if (json_is_null(value) || (!row && key_is_harmless(key)))
        return 0;
    if (!row)
        return err_set(NUN_EUNSUP, "%s: %s: expected only keys that are understood; this one may change the pixels",
                       place, key);
    if (kind_has(uses, row) || (row->read == read_bool && json_is_false(value)) || row->read == read_crop)
        return 0;
    return err_set(NUN_EUNSUP, "%s: %s: expected false for the %s processor, found %s", place, key, kind->stem,
                   json_is_true(value) ? "true" : "a value");
}

static int check_keys(const json_t *obj, const char *place, const struct preprocess_kind *kind, int uses)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value)
        TRY(check_key(key, value, place, kind, uses));
    return 0;
}

/* What the keys mean together. */
static int settle(const char *place, struct preprocess_facts *f)
{
    if (f->kind->strategy->must_resize && !f->do_resize)
        return err_set(NUN_EUNSUP, "%s: do_resize: expected true for the %s processor, found false", place,
                       f->kind->stem);
    return f->kind->settle ? f->kind->settle(place, f) : 0;
}

int preprocess_default(const char *processor, struct preprocess_facts *out)
{
    const struct preprocess_kind *kind;
    TRY(preprocess_find_kind("preprocess", processor, &kind));
    *out = kind->defaults;
    out->kind = kind;
    return settle("preprocess", out);
}

int preprocess_read_as(const json_t *obj, const char *place, const struct preprocess_kind *kind, int uses,
                       struct preprocess_facts *out)
{
    struct preprocess_facts f = kind->defaults;
    f.kind = kind;
    TRY(check_keys(obj, place, kind, kind->uses | uses));
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (kind_has(kind->uses, &keys[i]))
            TRY(keys[i].read(&keys[i], obj, place, &f));
    TRY(settle(place, &f));
    *out = f;
    return 0;
}

int preprocess_read(const json_t *obj, const char *place, struct preprocess_facts *out)
{
    static const char *const names[] = {"feature_extractor_type", "video_processor_type", "image_processor_type"};
    const json_t *nested = NULL;
    TRY(json_get_object(obj, place, "image_processor", &nested));
    if (nested)
        obj = nested;
    const char *name = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        TRY(json_get_string(obj, place, names[i], &name));
    if (!name)
        return json_missing(place, "image_processor_type");
    const struct preprocess_kind *kind;
    TRY(preprocess_find_kind(place, name, &kind));
    return preprocess_read_as(obj, place, kind, 0, out);
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

/* A number of frames or a rate that is not set is not written. */
static bool key_is_written(const struct key_row *row, const struct preprocess_facts *f)
{
    if (!row->write || !kind_has(f->kind->uses, row))
        return false;
    if (row->uses != USES_SAMPLING && row->uses != USES_PAN)
        return true;
    return row->read == read_int ? *CONST_MEMBER(int, f, row) != 0
           : row->read == read_double ? *CONST_MEMBER(double, f, row) != 0 : true;
}

int preprocess_json(const struct preprocess_facts *facts, json_t **out)
{
    json_t *obj = json_object();
    char name[64];
    const char *type = facts->kind->video ? "video_processor_type" : "image_processor_type";
    bool failed = !obj ||
                  json_object_set_new(obj, type, json_string(preprocess_kind_name(facts->kind, name, sizeof name))) < 0;
    for (size_t i = 0; i < KEY_COUNT && !failed; i++)
        if (key_is_written(&keys[i], facts))
            failed = json_object_set_new(obj, keys[i].key, keys[i].write(&keys[i], facts)) < 0;
    if (failed) {
        json_decref(obj);
        return err_set(NUN_ENOMEM, "preprocess: out of memory for the config");
    }
    *out = obj;
    return 0;
}
