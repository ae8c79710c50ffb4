/* A row for each family of image and video processors: its keys, its strategy, its defaults, and what
 * its keys have to satisfy together. Read by preprocess_config.c; knows no pixels. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "media/preprocess_kind.h"

static const char *const name_ends[] = {
    "ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor",
};
static const char video_end[] = "VideoProcessor";

/* ---- what keys mean together ---- */

/* ConvNeXt's crop becomes a resize and a centre crop like the others'. */
static int settle_crop_pct(const char *place, struct preprocess_facts *f)
{
    (void)place;
    enum { EXACT_FROM = 384 }; /* larger inputs are warped to the exact square */
    if (!f->do_resize)
        return 0;
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

/* Tiles are squares of `size`, and pinpoints whole tiles. */
static int settle_anyres(const char *place, struct preprocess_facts *f)
{
    int side = f->size.shortest_edge ? f->size.shortest_edge : f->size.height;
    if (!f->size.shortest_edge && f->size.width != side)
        return err_set(NUN_EUNSUP, "%s: size: expected a square, found %d x %d", place, f->size.width, f->size.height);
    if (f->do_center_crop && (f->crop.width != side || f->crop.height != side))
        return err_set(NUN_EUNSUP, "%s: crop_size: expected size's %d x %d, found %d x %d", place, side, side,
                       f->crop.width, f->crop.height);
    for (int i = 0; i < f->pinpoint_count; i++)
        if (f->pinpoints[i][0] % side || f->pinpoints[i][1] % side)
            return err_set(NUN_EUNSUP, "%s: image_grid_pinpoints[%d]: expected multiples of %d, found %d x %d", place,
                           i, side, f->pinpoints[i][0], f->pinpoints[i][1]);
    if (f->pinpoint_count < 1)
        return err_set(NUN_EFORMAT, "%s: image_grid_pinpoints: expected at least one size, found none", place);
    return 0;
}

static int settle_dynamic(const char *place, struct preprocess_facts *f)
{
    if (f->min_tiles > f->max_tiles)
        return err_set(NUN_EFORMAT, "%s: min_patches: expected at most max_patches %d, found %d", place, f->max_tiles,
                       f->min_tiles);
    return 0;
}

static int settle_mllama(const char *place, struct preprocess_facts *f)
{
    if (f->size.height != f->size.width)
        return err_set(NUN_EUNSUP, "%s: size: expected a square, found %d x %d", place, f->size.width, f->size.height);
    if (!f->do_pad)
        return err_set(NUN_EUNSUP, "%s: do_pad: expected true for the Mllama processor, found false", place);
    return 0;
}

static int settle_idefics2(const char *place, struct preprocess_facts *f)
{
    if (f->size.shortest_edge > f->size.longest_edge)
        return err_set(NUN_EFORMAT, "%s: size: expected shortest_edge up to longest_edge %d, found %d", place,
                       f->size.longest_edge, f->size.shortest_edge);
    return 0;
}

static int settle_pixels(const char *place, struct preprocess_facts *f)
{
    if (f->min_pixels > f->max_pixels)
        return err_set(NUN_EFORMAT, "%s: min_pixels: expected at most max_pixels %lld, found %lld", place,
                       (long long)f->max_pixels, (long long)f->min_pixels);
    return 0;
}

/* The padding is a byte's value, laid down before rescaling. */
static int settle_fuyu(const char *place, struct preprocess_facts *f)
{
    if (f->size.height % f->patch || f->size.width % f->patch)
        return err_set(NUN_EUNSUP, "%s: size: expected multiples of the patch %d, found %d x %d", place, f->patch,
                       f->size.width, f->size.height);
    if (!f->do_pad)
        return err_set(NUN_EUNSUP, "%s: do_pad: expected true for the Fuyu processor, found false", place);
    for (int c = 0; c < 3; c++)
        f->background[c] = (uint8_t)f->padding_value;
    return 0;
}

static int settle_janus(const char *place, struct preprocess_facts *f)
{
    if (f->size.height != f->size.width)
        return err_set(NUN_EUNSUP, "%s: size: expected a square, found %d x %d", place, f->size.width, f->size.height);
    if (!f->do_pad)
        return err_set(NUN_EUNSUP, "%s: do_pad: expected true for the Janus processor, found false", place);
    return 0;
}

/* The original does all of this whatever its file says. */
static int settle_hd(const char *place, struct preprocess_facts *f)
{
    if (f->size.height != f->size.width)
        return err_set(NUN_EUNSUP, "%s: size: expected a square, found %d x %d", place, f->size.width, f->size.height);
    if (!f->do_rescale || !f->do_normalize || f->resample != RESIZE_BILINEAR)
        return err_set(NUN_EUNSUP, "%s: expected bilinear resizing, do_rescale and do_normalize for the Phi3V processor, found %s",
                       place, f->resample != RESIZE_BILINEAR ? "another filter" : "false");
    return 0;
}

/* ---- the rows ---- */

#define USUAL .do_resize = true, .do_rescale = true, .rescale_factor = 1 / 255.0, .do_normalize = true
#define RGB .do_convert_rgb = true
#define ON_WHITE .alpha = IMAGE_ALPHA_WHITE
#define CLIP_COLOURS .mean = {0.48145466, 0.4578275, 0.40821073}, .std = {0.26862954, 0.26130258, 0.27577711}
#define HALF_COLOURS .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}
#define NO_COLOURS .mean = {1, 1, 1}, .std = {1, 1, 1}
#define EDGE(n) .size = {.shortest_edge = n}
#define LONGEST(n) .size = {.longest_edge = n}
#define SIDES(n) .size = {.height = n, .width = n}
#define CROP(n) .do_center_crop = true, .crop = {.height = n, .width = n}
#define TILE(n) .tile_size = {.longest_edge = n}
#define BILINEAR .resample = RESIZE_BILINEAR
#define BICUBIC .resample = RESIZE_BICUBIC
#define LANCZOS .resample = RESIZE_LANCZOS
#define PAD .do_pad = true
#define PATCHES(n) .patch = n, .merge = 2, .temporal_patch = 2
#define PIXELS(from, to) .min_pixels = from, .max_pixels = to
#define LIKE_CLIP {USUAL, RGB, CLIP_COLOURS, EDGE(224), CROP(224), BICUBIC}
#define NEXT_POINTS .pinpoint_count = 5, .pinpoints = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}}
#define SIX(h) {h, 384}, {h, 768}, {h, 1152}, {h, 1536}, {h, 1920}, {h, 2304}
#define ONEVISION_POINTS .pinpoint_count = 36, \
    .pinpoints = {SIX(384), SIX(768), SIX(1152), SIX(1536), SIX(1920), SIX(2304)}
#define QWEN2_VIDEO {USUAL, RGB, CLIP_COLOURS, BICUBIC, PATCHES(14), PIXELS(128 * 28 * 28, 28 * 28 * 768), \
    .sampling = {.min_frames = 4, .max_frames = 768}}
#define QWEN3_VIDEO {USUAL, RGB, HALF_COLOURS, BICUBIC, PATCHES(16), PIXELS(128 * 32 * 32, 32 * 32 * 768), \
    .sampling = {.sample = true, .fps = 2, .min_frames = 4, .max_frames = 768}}

enum {
    VIDEO = USES_SAMPLING,
    NATIVE = USES_PATCH | USES_PIXELS,
    IDEFICS3 = USES_PAD | USES_SPLITTING | USES_TILE,
};

static const struct preprocess_kind kinds[] = {
    {"CLIP", USES_CROP, SIZE_EDGE_OR_BOTH, false, &preprocess_fixed, LIKE_CLIP, NULL},
    {"Llava", USES_CROP | USES_PAD, SIZE_EDGE_OR_BOTH, false, &preprocess_fixed, LIKE_CLIP, NULL},
    {"VideoLlava", USES_CROP, SIZE_EDGE_OR_BOTH, false, &preprocess_fixed, LIKE_CLIP, NULL},
    {"VideoLlava", USES_CROP | VIDEO, SIZE_EDGE_OR_BOTH, true, &preprocess_fixed, LIKE_CLIP, NULL},
    {"Bit", USES_CROP, SIZE_EDGE_OR_BOTH, false, &preprocess_fixed, LIKE_CLIP, NULL},
    {"Siglip", 0, SIZE_BOTH, false, &preprocess_fixed, {USUAL, HALF_COLOURS, SIDES(224), BICUBIC}, NULL},
    {"Siglip2", USES_PATCH | USES_SEQUENCE, SIZE_BOTH, false, &preprocess_naflex,
     {USUAL, HALF_COLOURS, BILINEAR, .patch = 16, .max_patches = 256}, NULL},
    {"Blip", 0, SIZE_BOTH, false, &preprocess_fixed, {USUAL, RGB, CLIP_COLOURS, SIDES(384), BICUBIC}, NULL},
    {"ViT", 0, SIZE_BOTH, false, &preprocess_fixed, {USUAL, HALF_COLOURS, SIDES(224), BILINEAR}, NULL},
    {"DeiT", USES_CROP, SIZE_BOTH, false, &preprocess_fixed, {USUAL, HALF_COLOURS, SIDES(256), CROP(224), BICUBIC},
     NULL},
    {"ConvNext", USES_CROP_PCT, SIZE_EDGE, false, &preprocess_fixed,
     {USUAL, HALF_COLOURS, EDGE(384), BILINEAR, .crop_pct = 224 / 256.0}, settle_crop_pct},
    {"EfficientNet", USES_CROP | USES_TOP, SIZE_BOTH, false, &preprocess_fixed,
     {USUAL, HALF_COLOURS, SIDES(346), .crop = {.height = 289, .width = 289},
      .resample = RESIZE_NEAREST, .divide_again = true}, NULL},
    {"Chameleon", USES_CROP, SIZE_EDGE_OR_BOTH, false, &preprocess_fixed,
     {.do_resize = true, .do_rescale = true, .rescale_factor = 0.0078, .do_normalize = true, RGB,
      .alpha = IMAGE_ALPHA_WHITE_CUT, NO_COLOURS, EDGE(512), CROP(512), LANCZOS}, NULL},
    {"LlavaNext", USES_CROP | USES_PAD | USES_PINPOINTS, SIZE_EDGE_OR_BOTH, false, &preprocess_anyres,
     {USUAL, RGB, CLIP_COLOURS, EDGE(336), CROP(336), BICUBIC, PAD, NEXT_POINTS}, settle_anyres},
    {"LlavaNextVideo", USES_CROP | VIDEO, SIZE_EDGE_OR_BOTH, true, &preprocess_fixed, LIKE_CLIP, NULL},
    {"LlavaOnevision", USES_PAD | USES_PINPOINTS, SIZE_EDGE_OR_BOTH, false, &preprocess_anyres,
     {USUAL, RGB, CLIP_COLOURS, SIDES(384), BICUBIC, PAD, ONEVISION_POINTS, .max_features = 9}, settle_anyres},
    {"LlavaOnevision", VIDEO, SIZE_BOTH, true, &preprocess_fixed, {USUAL, RGB, CLIP_COLOURS, SIDES(384), BICUBIC},
     NULL},
    {"GotOcr2", USES_DYNAMIC, SIZE_BOTH, false, &preprocess_dynamic,
     {USUAL, RGB, CLIP_COLOURS, SIDES(384), BICUBIC, .min_tiles = 1, .max_tiles = 12, .thumbnail = true},
     settle_dynamic},
    {"InternVL", VIDEO, SIZE_BOTH, true, &preprocess_fixed, {USUAL, RGB, CLIP_COLOURS, SIDES(384), BICUBIC}, NULL},
    {"Mllama", USES_PAD | USES_MAX_TILES, SIZE_BOTH, false, &preprocess_mllama,
     {USUAL, RGB, ON_WHITE, HALF_COLOURS, SIDES(224), BILINEAR, PAD, .max_tiles = 4}, settle_mllama},
    {"Idefics2", USES_PAD | USES_SPLITTING, SIZE_CLAMPED, false, &preprocess_idefics2,
     {USUAL, RGB, HALF_COLOURS, .size = {.shortest_edge = 378, .longest_edge = 980}, BILINEAR, PAD},
     settle_idefics2},
    {"Idefics3", IDEFICS3, SIZE_LONGEST, false, &preprocess_idefics3,
     {USUAL, RGB, ON_WHITE, HALF_COLOURS, LONGEST(4 * 364), TILE(364), LANCZOS, PAD, .split = true}, NULL},
    {"SmolVLM", IDEFICS3 | USES_VIDEO_SAMPLING, SIZE_LONGEST, false, &preprocess_idefics3,
     {USUAL, RGB, ON_WHITE, HALF_COLOURS, LONGEST(4 * 364), TILE(364), LANCZOS, PAD, .split = true}, NULL},
    {"SmolVLM", USES_PAD | USES_TILE | VIDEO | USES_VIDEO_SAMPLING, SIZE_LONGEST, true, &preprocess_idefics3,
     {USUAL, RGB, ON_WHITE, HALF_COLOURS, LONGEST(4 * 364), TILE(364), LANCZOS, PAD}, NULL},
    {"Pixtral", USES_PATCH, SIZE_LONGEST, false, &preprocess_pixtral,
     {USUAL, RGB, ON_WHITE, CLIP_COLOURS, LONGEST(1024), BICUBIC, .patch = 16, .merge = 1}, NULL},
    {"Qwen2VL", NATIVE, SIZE_BOTH, false, &preprocess_qwen,
     {USUAL, RGB, CLIP_COLOURS, BICUBIC, PATCHES(14), PIXELS(56 * 56, 28 * 28 * 1280)}, settle_pixels},
    {"Qwen2_5_VL", NATIVE, SIZE_BOTH, false, &preprocess_qwen,
     {USUAL, RGB, CLIP_COLOURS, BICUBIC, PATCHES(14), PIXELS(56 * 56, 28 * 28 * 1280)}, settle_pixels},
    {"Qwen2VL", NATIVE | VIDEO, SIZE_BOTH, true, &preprocess_qwen, QWEN2_VIDEO, settle_pixels},
    {"Qwen3VL", NATIVE | VIDEO, SIZE_BOTH, true, &preprocess_qwen3_video, QWEN3_VIDEO, settle_pixels},
    {"Gemma3", USES_PAN, SIZE_BOTH, false, &preprocess_pan,
     {USUAL, HALF_COLOURS, SIDES(224), BILINEAR, .pan_min_side = 256, .max_tiles = 4, .pan_min_ratio = 1.2}, NULL},
    {"Fuyu", USES_PAD | USES_PAD_VALUE | USES_PATCH, SIZE_BOTH, false, &preprocess_fuyu,
     {USUAL, HALF_COLOURS, .size = {.height = 1080, .width = 1920}, BILINEAR, PAD, .patch = 30, .merge = 1,
      .padding_value = 1}, settle_fuyu},
    {"Phi3V", USES_CROPS, SIZE_BOTH, false, &preprocess_hd,
     {USUAL, RGB, CLIP_COLOURS, SIDES(336), BILINEAR, .max_tiles = 1, .tile_tokens = 144, .background = {255, 255, 255}}, settle_hd},
    {"Janus", USES_PAD | USES_BACKGROUND, SIZE_BOTH, false, &preprocess_janus,
     {USUAL, CLIP_COLOURS, SIDES(384), BICUBIC, PAD, .min_side = 14, .background = {127, 127, 127}}, settle_janus},
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

static bool name_matches(const char *name, const struct preprocess_kind *kind)
{
    size_t n = strlen(kind->stem);
    if (strncmp(name, kind->stem, n) != 0)
        return false;
    if (kind->video)
        return strcmp(name + n, video_end) == 0;
    for (size_t i = 0; i < sizeof name_ends / sizeof *name_ends; i++)
        if (strcmp(name + n, name_ends[i]) == 0)
            return true;
    return false;
}

int preprocess_find_kind(const char *place, const char *name, const struct preprocess_kind **out)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (name_matches(name, &kinds[i])) {
            *out = &kinds[i];
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: image_processor_type: expected a known one such as CLIPImageProcessor, found %s",
                   place, name);
}

const struct preprocess_kind *preprocess_video_kind(const struct preprocess_kind *pictures)
{
    const struct preprocess_kind *found = NULL;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        bool same = strcmp(kinds[i].stem, pictures->stem) == 0;
        bool alike = kinds[i].strategy == pictures->strategy && kinds[i].strategy != &preprocess_fixed;
        if (kinds[i].video && (same || (alike && !found)))
            found = &kinds[i];
    }
    return found;
}

const char *preprocess_kind_name(const struct preprocess_kind *kind, char *out, size_t cap)
{
    snprintf(out, cap, "%s%s", kind->stem, kind->video ? video_end : name_ends[0]);
    return out;
}
