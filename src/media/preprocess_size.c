/* Choosing a size, family by family: fixed sizes, the native ones of Qwen, Pixtral and Fuyu, the
 * clamped and tiled ones of Idefics, Janus' square. Sums are done in double, in the order of the
 * reference, for a last bit can move a whole patch. Knows no pixels; called by preprocess_plan. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "base/err.h"
#include "base/limits.h"
#include "media/preprocess_kind.h"

int plan_side(int64_t side, const char *what, int *out)
{
    if (side < 1)
        return err_set(NUN_EFORMAT, "preprocess: expected a %s of at least 1 pixel, found %lld", what, (long long)side);
    TRY(limit_check(LIMIT_image_side, (size_t)side, what));
    *out = (int)side;
    return 0;
}

void plan_whole(struct preprocess_plan *out, int width, int height)
{
    out->tile_width = out->inside_width = width;
    out->tile_height = out->inside_height = height;
}

static int64_t tokens_by_tile(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    return (int64_t)p->tiles * f->tile_tokens;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

/* ---- fixed: [pad to a square,] resize [, crop the centre] ---- */

/* The longer side is the exact product over the shorter one, cut to an integer. */
static int fixed_resized(const struct preprocess_facts *f, int width, int height, int *out_width, int *out_height)
{
    int64_t w = f->size.width, h = f->size.height;
    if (f->size.shortest_edge) {
        int64_t edge = f->size.shortest_edge;
        int shorter = width < height ? width : height, longer = width < height ? height : width;
        int64_t stretched = (int64_t)((double)(edge * longer) / shorter);
        w = width <= height ? edge : stretched;
        h = width <= height ? stretched : edge;
    }
    TRY(plan_side(w, "resized width", out_width));
    return plan_side(h, "resized height", out_height);
}

static int fixed_plan(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out)
{
    (void)room;
    int width = out->width, height = out->height;
    out->squared = f->do_pad && width != height;
    if (out->squared)
        width = height = max_int(width, height);
    if (f->do_resize)
        TRY(fixed_resized(f, width, height, &width, &height));
    plan_whole(out, width, height);
    if (!f->do_center_crop)
        return 0;
    out->tile_width = f->crop.width;
    out->tile_height = f->crop.height;
    out->inside_x = -((width - f->crop.width) >> 1); /* rounded down, also below 0 */
    out->inside_y = -((height - f->crop.height) >> 1);
    return 0;
}

/* ---- Janus: the longer side to size, then a square ---- */

static int janus_plan(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out)
{
    (void)room;
    int side = f->size.height, longer = max_int(out->width, out->height);
    int width = max_int((int)((double)out->width / longer * side), f->min_side);
    int height = max_int((int)((double)out->height / longer * side), f->min_side);
    int square = max_int(width, height);
    plan_whole(out, width, height);
    out->tile_width = out->tile_height = square;
    out->inside_x = (square - width) / 2;
    out->inside_y = (square - height) / 2;
    return 0;
}

/* ---- Qwen: multiples of a factor, within limits of pixels ---- */

/* `counted` frames stand behind the limits, out->frames of them behind the sums. */
static int smart_resize(const struct preprocess_facts *f, const struct preprocess_room *room, int64_t counted,
                        int64_t frames, struct preprocess_plan *out)
{
    enum { STEEPEST = 200 };
    double w = out->width, h = out->height, factor = f->patch * f->merge, steep = fmax(w, h) / fmin(w, h);
    if (steep > STEEPEST)
        return err_set(NUN_EUNSUP, "preprocess: expected an aspect ratio of at most %d, found %.17g (%d x %d)",
                       STEEPEST, steep, out->width, out->height);
    int64_t most = room->pixels < f->max_pixels / counted ? room->pixels * counted : f->max_pixels;
    int64_t least = f->min_pixels < most ? f->min_pixels : most;
    double wide = nearbyint(w / factor) * factor, high = nearbyint(h / factor) * factor; /* half to even */
    if ((double)counted * high * wide > (double)most) {
        double beta = sqrt((double)frames * h * w / (double)most);
        high = fmax(factor, floor(h / beta / factor) * factor);
        wide = fmax(factor, floor(w / beta / factor) * factor);
    } else if ((double)counted * high * wide < (double)least) {
        double beta = sqrt((double)least / ((double)frames * h * w));
        high = ceil(h * beta / factor) * factor;
        wide = ceil(w * beta / factor) * factor;
    }
    int width, height;
    TRY(plan_side((int64_t)wide, "resized width", &width));
    TRY(plan_side((int64_t)high, "resized height", &height));
    plan_whole(out, width, height);
    out->patch_columns = width / f->patch;
    out->patch_rows = height / f->patch;
    return 0;
}

static int qwen_plan(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out)
{
    return smart_resize(f, room, 1, 1, out);
}

/* Qwen 3's limits count all frames of a video, rounded to whole pairs (half to even); what is smaller
 * than a token is first grown to one. */
static int qwen3_video_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                            struct preprocess_plan *out)
{
    int pair = f->temporal_patch, factor = f->patch * f->merge, width = out->width, height = out->height;
    if (out->frames < pair)
        return err_set(NUN_EUNSUP, "preprocess: expected a video of at least %d frames, found %d", pair, out->frames);
    if (width < factor || height < factor) {
        double scale = fmax((double)factor / height, (double)factor / width);
        TRY(plan_side((int64_t)(width * scale), "width of a frame", &out->width));
        TRY(plan_side((int64_t)(height * scale), "height of a frame", &out->height));
    }
    int64_t counted = (int64_t)nearbyint((double)out->frames / pair) * pair;
    int rc = smart_resize(f, room, counted, out->frames, out);
    out->width = width;
    out->height = height;
    return rc;
}

static int64_t qwen_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    return (int64_t)p->steps * p->patch_columns * p->patch_rows / (f->merge * f->merge);
}

/* ---- Pixtral: shrunk by floor to the longest edge, then up to whole patches ---- */

static int pixtral_sides(const struct preprocess_facts *f, double edge, struct preprocess_plan *out)
{
    bool square = f->size.longest_edge > 0;
    double across = square ? edge : edge * f->size.width / f->size.height, down = edge;
    double ratio = fmax(out->height / down, out->width / across);
    int64_t width = out->width, height = out->height, patch = (int64_t)f->patch * f->merge;
    if (ratio > 1) {
        height = (int64_t)floor(out->height / ratio);
        width = (int64_t)floor(out->width / ratio);
    }
    if (width < 1 || height < 1)
        return err_set(NUN_EUNSUP, "preprocess: %d x %d shrunk to a longest edge of %g leaves nothing", out->width,
                       out->height, edge);
    int w, h;
    TRY(plan_side(((width - 1) / patch + 1) * patch, "resized width", &w));
    TRY(plan_side(((height - 1) / patch + 1) * patch, "resized height", &h));
    plan_whole(out, w, h);
    return 0;
}

/* A longest edge with which `area` pixels would be about `most`, and less than `edge` in any case. */
static int smaller_edge(int edge, int64_t area, int64_t most)
{
    int guess = (int)(edge * sqrt((double)most / (double)area));
    return guess < edge - 1 ? guess : edge - 1;
}

static int64_t tile_area(const struct preprocess_plan *p)
{
    return (int64_t)p->tile_width * p->tile_height;
}

static int pixtral_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                        struct preprocess_plan *out)
{
    int unit = f->patch * f->merge, edge = f->size.longest_edge ? f->size.longest_edge : f->size.height;
    int longer = max_int(out->width, out->height), shorter = out->width + out->height - longer;
    int least = max_int(unit, (longer + shorter - 1) / shorter); /* a pixel of the shorter side is left */
    TRY(pixtral_sides(f, edge, out));
    if (f->size.longest_edge && edge > longer)
        edge = longer;
    while (tile_area(out) > room->pixels && edge > least) {
        edge = max_int(least, smaller_edge(edge, tile_area(out), room->pixels));
        TRY(pixtral_sides(f, edge, out));
    }
    out->patch_columns = out->tile_width / f->patch;
    out->patch_rows = out->tile_height / f->patch;
    return 0;
}

/* A break after each row, of which the last is an end. */
static int64_t rows_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    return (int64_t)p->frames * (p->patch_rows / f->merge) * (p->patch_columns / f->merge + 1);
}

/* ---- Fuyu: shrunk only, padded to whole patches ---- */

static bool fuyu_leaves(const struct preprocess_plan *p, int most_width, int most_height)
{
    double scale = fmin((double)most_height / p->height, (double)most_width / p->width);
    return scale * p->width >= 1 && scale * p->height >= 1;
}

static int fuyu_sides(const struct preprocess_facts *f, int most_width, int most_height, struct preprocess_plan *out)
{
    int64_t width = out->width, height = out->height;
    if (width > most_width || height > most_height) {
        double scale = fmin((double)most_height / (double)height, (double)most_width / (double)width);
        width = (int64_t)((double)width * scale);
        height = (int64_t)((double)height * scale);
    }
    if (width < 1 || height < 1)
        return err_set(NUN_EUNSUP, "preprocess: %d x %d shrunk into %d x %d leaves nothing", out->width, out->height,
                       most_width, most_height);
    plan_whole(out, (int)width, (int)height);
    out->tile_width = (int)((width + f->patch - 1) / f->patch * f->patch);
    out->tile_height = (int)((height + f->patch - 1) / f->patch * f->patch);
    return 0;
}

static int fuyu_plan(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out)
{
    int width = f->size.width, height = f->size.height;
    TRY(fuyu_sides(f, width, height, out));
    while (tile_area(out) > room->pixels && tile_area(out) > (int64_t)f->patch * f->patch) {
        double shrink = sqrt((double)room->pixels / (double)tile_area(out)); /* below 1: a patch less at least */
        width = max_int(f->patch, (int)(out->tile_width * shrink) / f->patch * f->patch);
        height = max_int(f->patch, (int)(out->tile_height * shrink) / f->patch * f->patch);
        if (!fuyu_leaves(out, width, height))
            break;
        TRY(fuyu_sides(f, width, height, out));
    }
    out->patch_columns = out->tile_width / f->patch;
    out->patch_rows = out->tile_height / f->patch;
    return 0;
}

/* ---- Idefics2: both sides clamped, native aspect; or four quarters and the whole ---- */

static int clamped_size(const struct preprocess_facts *f, int longest, int width, int height, int *out_width,
                        int *out_height)
{
    double aspect = (double)width / height;
    int shortest = f->size.shortest_edge < longest ? f->size.shortest_edge : longest;
    int64_t w = width, h = height;
    if (w >= h && w > longest) {
        w = longest;
        h = (int64_t)((double)w / aspect);
    } else if (h > w && h > longest) {
        h = longest;
        w = (int64_t)((double)h * aspect);
    }
    TRY(plan_side(h > shortest ? h : shortest, "resized height", out_height));
    return plan_side(w > shortest ? w : shortest, "resized width", out_width);
}

static int quarter_size(const struct preprocess_facts *f, const struct preprocess_rect *piece, int *width, int *height)
{
    return clamped_size(f, f->size.longest_edge, piece->width, piece->height, width, height);
}

static struct preprocess_rect quarter_piece(const struct preprocess_plan *p, int tile)
{
    int x = tile % 2 ? p->width / 2 : 0, y = tile / 2 ? p->height / 2 : 0;
    return (struct preprocess_rect){x, y, tile % 2 ? p->width - x : p->width / 2,
                                    tile / 2 ? p->height - y : p->height / 2};
}

/* Every tile gets the sides of the largest; preprocess_inside() tells what of it is picture. */
static int quarters_plan(const struct preprocess_facts *f, struct preprocess_plan *out)
{
    out->columns = out->rows = 2;
    out->overview = 4;
    for (int i = 0; i < 4; i++) {
        struct preprocess_rect piece = quarter_piece(out, i);
        int width, height;
        TRY(quarter_size(f, &piece, &width, &height));
        out->quarter[i][0] = width;
        out->quarter[i][1] = height;
        out->tile_width = max_int(out->tile_width, width);
        out->tile_height = max_int(out->tile_height, height);
    }
    return 0;
}

static int idefics2_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                         struct preprocess_plan *out)
{
    int edge = f->size.longest_edge, width, height;
    TRY(clamped_size(f, edge, out->width, out->height, &width, &height));
    bool split = f->split && !out->video && room->tiles >= 5 && out->width > 1 && out->height > 1;
    while (!split && (int64_t)width * height > room->pixels && edge > f->size.shortest_edge) {
        edge = max_int(f->size.shortest_edge, smaller_edge(edge, (int64_t)width * height, room->pixels));
        TRY(clamped_size(f, edge, out->width, out->height, &width, &height));
    }
    plan_whole(out, width, height);
    return split ? quarters_plan(f, out) : 0;
}

/* ---- Idefics3, SmolVLM: the longest edge, then whole tiles, the whole picture last ---- */

enum { LARGEST_SIDE = 4096 };

/* Sides follow the longer one; the other is made even. */
static int longest_size(int longest, int width, int height, int *out_width, int *out_height)
{
    double aspect = (double)width / height;
    int64_t w = longest, h = longest;
    if (width >= height) {
        h = (int64_t)((double)w / aspect);
        h += h % 2;
    } else {
        w = (int64_t)((double)h * aspect);
        w += w % 2;
    }
    w = w > 1 ? w : 1;
    h = h > 1 ? h : 1;
    aspect = (double)w / (double)h;
    if (w >= h && w > LARGEST_SIDE) {
        w = LARGEST_SIDE;
        h = (int64_t)((double)w / aspect);
    } else if (h > w && h > LARGEST_SIDE) {
        h = LARGEST_SIDE;
        w = (int64_t)((double)h * aspect);
    }
    TRY(plan_side(h > 1 ? h : 1, "resized height", out_height));
    return plan_side(w > 1 ? w : 1, "resized width", out_width);
}

static int64_t whole_tiles(int64_t side, int tile)
{
    return (int64_t)ceil((double)side / tile) * tile;
}

static int tiled_size(int tile, int width, int height, int *out_width, int *out_height)
{
    double aspect = (double)width / height;
    int64_t w, h;
    if (width >= height) {
        w = whole_tiles(width, tile);
        h = whole_tiles((int64_t)((double)w / aspect), tile);
    } else {
        h = whole_tiles(height, tile);
        w = whole_tiles((int64_t)((double)h * aspect), tile);
    }
    TRY(plan_side(w, "resized width", out_width));
    return plan_side(h, "resized height", out_height);
}

static int idefics3_first(const struct preprocess_facts *f, int longest, struct preprocess_plan *out)
{
    if (!f->size.longest_edge) {
        out->first_width = f->size.width;
        out->first_height = f->size.height;
        return 0;
    }
    return longest_size(longest, out->width, out->height, &out->first_width, &out->first_height);
}

/* A budget lowers the longest edge tile by tile; with room for one tile the picture is not cut. */
static int idefics3_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                         struct preprocess_plan *out)
{
    int tile = f->tile_size.longest_edge, longest = f->size.longest_edge, width = tile, height = tile;
    bool split = f->split && !out->video && room->tiles > 1;
    TRY(idefics3_first(f, longest, out));
    if (split)
        TRY(tiled_size(tile, out->first_width, out->first_height, &width, &height));
    while (split && (int64_t)(width / tile) * (height / tile) + 1 > room->tiles && longest > tile) {
        longest = longest - tile > tile ? longest - tile : tile;
        TRY(idefics3_first(f, longest, out));
        TRY(tiled_size(tile, out->first_width, out->first_height, &width, &height));
    }
    plan_whole(out, width, height);
    out->tile_width = out->tile_height = tile;
    out->canvas_width = width;
    out->canvas_height = height;
    out->columns = width / tile;
    out->rows = height / tile;
    if (out->columns * out->rows > 1)
        out->overview = out->columns * out->rows;
    return 0;
}

/* ---- rows ---- */

const struct preprocess_strategy preprocess_fixed = {
    fixed_plan, tokens_by_tile, NULL, NULL, .layout = LAYOUT_FLAT, .video_layout = LAYOUT_PADDED,
};

const struct preprocess_strategy preprocess_janus = {
    janus_plan, tokens_by_tile, NULL, NULL, .must_resize = true, .layout = LAYOUT_FLAT,
};

const struct preprocess_strategy preprocess_qwen = {
    qwen_plan, qwen_tokens, NULL, NULL, .must_resize = true, .layout = LAYOUT_MERGED, .video_layout = LAYOUT_MERGED,
};

const struct preprocess_strategy preprocess_qwen3_video = {
    qwen3_video_plan, qwen_tokens, NULL, NULL, .must_resize = true, .layout = LAYOUT_MERGED,
    .video_layout = LAYOUT_MERGED,
};

const struct preprocess_strategy preprocess_pixtral = {
    pixtral_plan, rows_tokens, NULL, NULL, .must_resize = true, .layout = LAYOUT_FLAT,
};

const struct preprocess_strategy preprocess_fuyu = {
    fuyu_plan, rows_tokens, NULL, NULL, .must_resize = true, .layout = LAYOUT_PATCHES,
};

const struct preprocess_strategy preprocess_idefics2 = {
    idefics2_plan, tokens_by_tile, quarter_piece, quarter_size, .pads_with_zero = true, .must_resize = true,
    .layout = LAYOUT_LIST, .video_layout = LAYOUT_LIST,
};

const struct preprocess_strategy preprocess_idefics3 = {
    idefics3_plan, tokens_by_tile, NULL, NULL, .overview_of_canvas = true, .nearest_for_one_band = true,
    .must_resize = true, .layout = LAYOUT_LIST, .video_layout = LAYOUT_LIST,
};
