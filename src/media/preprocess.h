/* From a picture (or the frames of a video) to the tensor a vision tower was trained on, driven by
 * preprocessor_config.json: choose a size or a grid of tiles -> pad -> resize -> cut -> rescale ->
 * normalise, in the order and precision of the reference image processors. Knows no model: what a
 * family does is a row of preprocess_kinds.c. Called by the model loader (facts), the runtime (plans,
 * pixels) and the media budget. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_PREPROCESS_H
#define MEDIA_PREPROCESS_H
#include <jansson.h>
#include "media/image.h"
#include "media/resize.h"
#include "tensor/shape.h"

/* ---- facts: what a config says ---------------------------------------------------------------- */

/* Either exactly height x width, or the shorter side to shortest_edge, or the longer one to
 * longest_edge (both: clamped between them), keeping the aspect. 0: unset. */
struct preprocess_sides { int height, width, shortest_edge, longest_edge; };

/* Which frames of a video are taken; read here, obeyed by whoever decodes the video. 0: unset. */
struct preprocess_sampling { bool sample; double fps; int frames, min_frames, max_frames; };

struct preprocess_kind; /* a row of preprocess_kinds.c: one family of image processors */

enum { PREPROCESS_PINPOINTS = 128 };

struct preprocess_facts {
    const struct preprocess_kind *kind;
    bool do_convert_rgb;    /* read and written; pictures are RGB here in any case */
    enum image_alpha alpha; /* how pictures for this family have to be decoded: image_options.alpha */
    bool do_pad;            /* Llava: to a square of the mean colour before resizing; others: see the row */
    bool do_resize, do_center_crop, do_rescale, do_normalize;
    struct preprocess_sides size;
    struct preprocess_sides crop; /* height and width only */
    int resample;                 /* enum resize_filter */
    double rescale_factor;
    double crop_pct;              /* ConvNeXt: resize to size / crop_pct, then crop to size; 0: unset */
    double mean[3], std[3];       /* used as float32 */
    bool rescale_offset;          /* EfficientNet: 1 is taken away after rescaling */
    bool divide_again;            /* EfficientNet's include_top: what is normalised is divided by std once more */
    enum resize_order order;      /* not in any file: which Pillow to agree with */

    /* grids of tiles */
    bool split;               /* do_image_splitting, crop_to_patches, do_pan_and_scan */
    struct preprocess_sides tile_size; /* max_image_size, where it is not `size` */
    int min_tiles, max_tiles; /* of the grid, without the thumbnail */
    bool thumbnail;           /* the whole picture after a grid of more than one tile */
    int pan_min_side;         /* Gemma 3: no crop is smaller than this */
    double pan_min_ratio;     /* Gemma 3: longer over shorter side from which crops are made */
    int pinpoint_count;
    int pinpoints[PREPROCESS_PINPOINTS][2]; /* height, width */
    int max_features;         /* LLaVA-OneVision's anyres_max_N: features are shrunk to N tiles' worth; 0: never */

    /* native sizes */
    int patch, merge, temporal_patch; /* merge: patches of a token along a side; 0: unset */
    int64_t min_pixels, max_pixels;
    int max_patches;                  /* SigLIP 2 */
    double padding_value;             /* Fuyu: a byte's value */
    uint8_t background[3];            /* colour of the padding, where it is bytes (Janus, Fuyu) */
    int min_side;                     /* Janus: no side is resized below it */

    struct preprocess_sampling sampling;
    struct preprocess_sides video_size; /* SmolVLM: `size` of its videos, among the keys for pictures */

    /* What a whole tile becomes in the prompt; 0: not known (then no budget in tokens can be kept). Read
     * from processor_config.json by preprocess_open, or set by the caller from the model's config. */
    int tile_tokens;
};

/* The defaults of a processor by its name ("CLIPImageProcessor", with or without "Fast"). */
int preprocess_default(const char *processor, struct preprocess_facts *out);

/* From the text of a config, or its parsed object; `place` begins the error sentence. A key that is
 * not understood and could change the arithmetic is refused by its name. A processor_config.json
 * with an "image_processor" object inside is taken too. */
int preprocess_parse(struct span json, const char *place, struct preprocess_facts *out);
int preprocess_read(const json_t *obj, const char *place, struct preprocess_facts *out);
int preprocess_load(const char *path, struct preprocess_facts *out);

/* All that a model's folder says: preprocessor_config.json (for videos video_preprocessor_config.json
 * where there is one), then processor_config.json, then config.json for what only it knows (InternVL's
 * and NVLM's dynamic tiles, with or without a preprocessor_config.json). NUN_EUNSUP when no file
 * says how. */
enum preprocess_what { PREPROCESS_PICTURES, PREPROCESS_VIDEOS };
int preprocess_open(const char *folder, enum preprocess_what what, struct preprocess_facts *out);

/* The config as JSON; reads back to the same facts. The caller's (json_decref). */
int preprocess_json(const struct preprocess_facts *facts, json_t **out);

/* ---- plans: what happens to one picture or video, before a pixel is touched ------------------------- */

enum preprocess_detail { PREPROCESS_DETAIL_AUTO, PREPROCESS_DETAIL_LOW, PREPROCESS_DETAIL_HIGH };

/* The media budget of one picture or video. A family keeps it by its own rule (fewer tiles, a smaller
 * longest edge, smaller max_pixels); where it has none, the plan is refused with both numbers.
 * Zeroed: no budget. */
struct preprocess_budget {
    int max_tokens;     /* in the prompt, as preprocess_tokens counts; needs facts.tile_tokens in tiled families */
    int max_tiles;      /* the overview among them */
    int64_t max_pixels; /* that the tower sees, all tiles and frames together */
    enum preprocess_detail detail; /* low: one tile, or 512 x 512 pixels in native families; high: as auto */
};

struct preprocess_input {
    int width, height; /* upright */
    int frames;        /* of a video; 0: a picture */
    int together;      /* pictures given in one prompt (LLaVA-OneVision tiles only a lone one); 0: one */
    struct preprocess_budget budget;
};

struct preprocess_plan {
    int width, height;            /* of the original */
    int frames;                   /* 1 for a picture */
    int together;                 /* pictures of the prompt */
    int video;                    /* 0 or 1: all are ints without gaps, so that plans can be compared as bytes */
    int squared;                  /* the original is first padded to a square of the mean colour */
    int tiles;                    /* that the tower sees: frames * (columns * rows + (overview >= 0)) */
    int columns, rows;            /* of the grid, without the overview; 1 x 1: not cut */
    int overview;                 /* index among a frame's tiles: 0, or the last; -1: none */
    int tile_width, tile_height;  /* of every tile as the tower sees it (native families: the padded picture) */
    int canvas_width, canvas_height; /* the grid's; tile_width x tile_height where there is none */
    /* Where on the canvas the resized picture comes to lie; the rest is padding. With a centre crop it may reach
     * beyond the canvas. */
    int inside_x, inside_y, inside_width, inside_height;
    int first_width, first_height;   /* Idefics3: after the first of its two resizes; else as inside */
    int patch_columns, patch_rows;   /* native families: of the picture; 0 where the processor knows no patches */
    int steps;                    /* video: frames as the tower sees them (Qwen: pairs), an odd end repeated */
    int aspect_id;                /* mllama: 1.. ; 0 elsewhere */
    int quarter[4][2];            /* Idefics2: width, height of what is picture in each of four tiles */
};

int preprocess_plan(const struct preprocess_facts *f, const struct preprocess_input *in, struct preprocess_plan *out);

/* What pictures of one prompt do to each other: Idefics2 pads all to the largest, which its tower can tell.
 * A no-op elsewhere. */
void preprocess_align(const struct preprocess_facts *f, struct preprocess_plan *plans, size_t n);

/* Tokens in the prompt, with the separators that count as the picture's (LLaVA-NeXT's newlines,
 * Pixtral's breaks and ends, Fuyu's newlines; not: tile tags in text). 0: not known (facts.tile_tokens). */
int64_t preprocess_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p);

/* LLaVA-NeXT and LLaVA-OneVision: what of the grid's features, [rows * side, columns * side], is left when
 * the padding is cut off: a rectangle. `side`: features along a tile's side. */
struct preprocess_rect { int x, y, width, height; };
struct preprocess_rect preprocess_unpadded(const struct preprocess_plan *p, int side);

/* What of tile `tile` is picture and not padding, from its top left corner (Idefics2; else all of it). */
void preprocess_inside(const struct preprocess_facts *f, const struct preprocess_plan *p, int tile, int *width,
                       int *height);

/* ---- pixels -------------------------------------------------------------------------------------------- */

/* Floats of a plan's tiles; refused when they exceed the limits. */
int preprocess_floats(const struct preprocess_facts *f, const struct preprocess_plan *p, size_t *out);

/* images: p->frames RGB pictures of p->width x p->height. out: [tiles, 3, tile_height, tile_width];
 * `capacity` counts its floats. */
int preprocess_tiles(const struct preprocess_facts *f, const struct preprocess_plan *p, const struct image *images,
                     float *out, size_t capacity);

/* The same for one frame: out: [tiles / frames, 3, tile_height, tile_width]. */
int preprocess_frame(const struct preprocess_facts *f, const struct preprocess_plan *p, const struct image *img,
                     float *out, size_t capacity);

/* ---- the reference's layouts: the same numbers as its own processor hands them on ---------------------- */

/* Of `n` pictures (or one video) preprocessed together: padded to the largest, flattened to patches in
 * merge order (Qwen), rows of patches (Fuyu). tiles[i]: what preprocess_tiles gave for plans[i]. */
int preprocess_reference_shape(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n,
                               struct shape *out);
int preprocess_reference(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n,
                         const float *const *tiles, float *out, size_t capacity);

/* pixel_attention_mask (Idefics): [all tiles, H, W] of the largest, 1 where there is picture; SigLIP 2: [pictures,
 * max_patches]. */
int preprocess_reference_mask(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n,
                              uint8_t *out, size_t capacity);

/* ---- families of one tile, in one call ------------------------------------------------------------------- */

/* The output's sides for a picture of width x height. */
int preprocess_size(const struct preprocess_facts *facts, int width, int height, int *out_width, int *out_height);

/* img: RGB. out: [3, H, W] with H and W of preprocess_size(); `capacity` counts its floats. */
int preprocess_run(const struct preprocess_facts *facts, const struct image *img, float *out, size_t capacity);

#endif
