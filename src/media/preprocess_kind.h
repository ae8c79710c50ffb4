/* What the parts of preprocessing share: rows of processors, rows of strategies, and what a budget
 * leaves. Not for other rooms, which see preprocess.h alone. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_PREPROCESS_KIND_H
#define MEDIA_PREPROCESS_KIND_H
#include "media/preprocess.h"

/* Steps and keys that only some processors have; without its bit a key is refused. */
enum {
    USES_CROP = 1 << 0,        /* do_center_crop, crop_size */
    USES_PAD = 1 << 1,         /* do_pad, whatever it means there */
    USES_CROP_PCT = 1 << 2,
    USES_PINPOINTS = 1 << 3,   /* image_grid_pinpoints */
    USES_SPLITTING = 1 << 4,   /* do_image_splitting */
    USES_TILE = 1 << 5,        /* max_image_size */
    USES_MAX_TILES = 1 << 6,   /* max_image_tiles */
    USES_DYNAMIC = 1 << 7,     /* crop_to_patches, min_patches, max_patches */
    USES_PAN = 1 << 8,         /* pan and scan */
    USES_PATCH = 1 << 9,       /* patch_size */
    USES_PIXELS = 1 << 10,     /* min_pixels, max_pixels and size as pixels; merge and temporal patches */
    USES_PAD_VALUE = 1 << 11,  /* padding_value, padding_mode */
    USES_BACKGROUND = 1 << 12, /* background_color, min_size */
    USES_SAMPLING = 1 << 13,   /* frames of a video */
    USES_TOP = 1 << 20,        /* rescale_offset, include_top */
    USES_VIDEO_SAMPLING = 1 << 14, /* the same as an object among the keys for pictures (SmolVLM) */
    USES_SEQUENCE = 1 << 15,   /* max_num_patches, which there is instead of a size */
    USES_CROPS = 1 << 16,      /* num_crops, num_img_tokens */
};

/* What `size` may be. */
enum preprocess_size_form {
    SIZE_EDGE_OR_BOTH, /* a lone number is the shorter side */
    SIZE_BOTH,         /* height and width; a lone number is both */
    SIZE_EDGE,         /* the shorter side only */
    SIZE_LONGEST,      /* longest_edge, or height and width */
    SIZE_CLAMPED,      /* shortest_edge and longest_edge */
};

/* What a budget leaves for one frame, at least 1 each. */
struct preprocess_room { int64_t tiles, pixels; };

/* The shapes that reference processors give, rows of preprocess_layout.c. */
enum preprocess_layout {
    LAYOUT_FLAT,    /* [all tiles, 3, H, W], smaller ones padded below and to the right with zero */
    LAYOUT_PADDED,  /* [pictures, most tiles, 3, H, W], absent tiles zero */
    LAYOUT_LIST,    /* [1, all tiles, 3, H, W] */
    LAYOUT_SLOTS,   /* [1, pictures, max_tiles, 3, H, W], absent tiles zero */
    LAYOUT_CROPS,   /* [pictures, max_tiles + the overview, 3, H, W], absent tiles zero */
    LAYOUT_MERGED,  /* [patches, 3 * temporal * patch * patch], merge x merge patches together */
    LAYOUT_PATCHES, /* [1, patches, patch * patch * 3] */
    LAYOUT_SEQUENCES, /* [pictures, max_patches, patch * patch * 3], absent patches zero */
};

/* How a family comes from a picture to its tiles. */
struct preprocess_strategy {
    /* Sizes and grid into *out, which holds the input and is otherwise zero but for columns = rows = 1 and
     * overview = -1. The rest of the plan follows from them. */
    int (*plan)(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out);
    int64_t (*tokens)(const struct preprocess_facts *f, const struct preprocess_plan *p);
    /* Tiles cut from the original and resized one by one; NULL: cut from the resized canvas. */
    struct preprocess_rect (*piece)(const struct preprocess_plan *p, int tile);
    int (*piece_size)(const struct preprocess_facts *f, const struct preprocess_rect *piece, int *width, int *height);
    bool overview_of_canvas; /* it is made from the resized picture, not from the original */
    /* It is made of the grid's numbers, [columns * rows, 3, H, W], as floats. */
    void (*overview)(const struct preprocess_plan *p, const float *grid, float *out);
    bool turns_tall;         /* tall pictures are resized lying on their side */
    bool pads_with_zero;     /* after normalising; else with bytes before */
    bool nearest_for_one_band; /* grey and palettes are resized as palettes: without a filter */
    bool must_resize;        /* do_resize may not be false */
    enum preprocess_layout layout, video_layout;
};

extern const struct preprocess_strategy preprocess_fixed, preprocess_anyres, preprocess_dynamic, preprocess_mllama,
    preprocess_idefics2, preprocess_idefics3, preprocess_pixtral, preprocess_qwen, preprocess_qwen3_video,
    preprocess_pan, preprocess_fuyu, preprocess_janus, preprocess_naflex, preprocess_hd;

struct preprocess_kind {
    const char *stem;  /* the name is this, then one of the usual ends */
    int uses;          /* which optional steps and keys it has: the others must be off */
    enum preprocess_size_form size_form;
    bool video;        /* the name ends in VideoProcessor */
    const struct preprocess_strategy *strategy;
    struct preprocess_facts defaults;
    int (*settle)(const char *place, struct preprocess_facts *f); /* what the keys mean together; may be NULL */
};

/* The row of a processor's name. */
int preprocess_find_kind(const char *place, const char *name, const struct preprocess_kind **out);
/* The row for videos of the same family; NULL: none. */
const struct preprocess_kind *preprocess_video_kind(const struct preprocess_kind *pictures);
/* The name as newer files have it; returns out. */
const char *preprocess_kind_name(const struct preprocess_kind *kind, char *out, size_t cap);

/* The config read as if it named `kind`; keys of the steps `uses` are known too, and left aside. */
int preprocess_read_as(const json_t *obj, const char *place, const struct preprocess_kind *kind, int uses,
                       struct preprocess_facts *out);

/* ---- shared by strategies ---- */

/* The whole picture stretched to width x height. */
void plan_whole(struct preprocess_plan *out, int width, int height);
/* A side that was computed: at least 1 and within the limit. */
int plan_side(int64_t side, const char *what, int *out);

#endif
