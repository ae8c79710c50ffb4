/* Choosing a grid of tiles, family by family: AnyRes (LLaVA-NeXT, LLaVA-OneVision), nearest ratio
 * (InternVL, NVLM-D), mllama's canvases, Gemma 3's pan and scan, Phi-3.5's HD transform. Sums are done in double, in the
 * order of the reference, for ties decide. Knows no pixels; called by preprocess_plan. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "base/err.h"
#include "media/preprocess_kind.h"

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void plan_grid(struct preprocess_plan *out, int columns, int rows, int tile_width, int tile_height)
{
    out->columns = columns;
    out->rows = rows;
    out->tile_width = tile_width;
    out->tile_height = tile_height;
    out->canvas_width = columns * tile_width;
    out->canvas_height = rows * tile_height;
    out->inside_width = out->canvas_width;
    out->inside_height = out->canvas_height;
}

static int64_t tokens_by_tile(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    return (int64_t)p->tiles * f->tile_tokens;
}

/* ---- AnyRes: the listed size that keeps most pixels, then wastes least; the whole picture first ---- */

/* The index of the best pinpoint with a grid of at most `most` tiles, or -1. */
static int best_pinpoint(const struct preprocess_facts *f, int width, int height, int side, int64_t most)
{
    int best = -1;
    int64_t best_kept = 0, best_wasted = INT64_MAX;
    for (int i = 0; i < f->pinpoint_count; i++) {
        int h = f->pinpoints[i][0], w = f->pinpoints[i][1];
        if ((int64_t)(h / side) * (w / side) > most)
            continue;
        double scale = fmin((double)w / width, (double)h / height);
        int64_t shrunk = (int64_t)(width * scale) * (int64_t)(height * scale);
        int64_t kept = min64(shrunk, (int64_t)width * height), wasted = (int64_t)w * h - kept;
        if (kept > best_kept || (kept == best_kept && wasted < best_wasted)) {
            best = i;
            best_kept = kept;
            best_wasted = wasted;
        }
    }
    return best;
}

/* The whole picture within the canvas, in its middle. */
static void fit_in_canvas(struct preprocess_plan *p)
{
    double across = (double)p->canvas_width / p->width, down = (double)p->canvas_height / p->height;
    if (across < down)
        p->inside_height = (int)fmin(ceil(p->height * across), p->canvas_height);
    else
        p->inside_width = (int)fmin(ceil(p->width * down), p->canvas_width);
    p->inside_x = (p->canvas_width - p->inside_width) / 2;
    p->inside_y = (p->canvas_height - p->inside_height) / 2;
}

/* LLaVA-OneVision squares what it does not tile, except frames. */
static int anyres_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                       struct preprocess_plan *out)
{
    bool onevision = f->kind->defaults.max_features > 0;
    int side = f->size.shortest_edge ? f->size.shortest_edge : f->size.height, best = -1;
    bool alone = !onevision || out->together <= 1;
    if (!out->video && alone && room->tiles >= 2)
        best = best_pinpoint(f, out->width, out->height, side, room->tiles - 1);
    if (best < 0) {
        plan_whole(out, side, side);
        out->squared = onevision && !out->video && out->width != out->height;
        return 0;
    }
    plan_grid(out, f->pinpoints[best][1] / side, f->pinpoints[best][0] / side, side, side);
    out->overview = 0;
    fit_in_canvas(out);
    return 0;
}

struct preprocess_rect preprocess_unpadded(const struct preprocess_plan *p, int side)
{
    int width = p->columns * side, height = p->rows * side;
    double ratio = (double)p->width / p->height;
    if (ratio > (double)width / height) {
        int kept = (int)(round(p->height * ((double)width / p->width) * 1e7) / 1e7), cut = (height - kept) / 2;
        return (struct preprocess_rect){0, cut, width, height - 2 * cut};
    }
    int kept = (int)(round(p->width * ((double)height / p->height) * 1e7) / 1e7), cut = (width - kept) / 2;
    return (struct preprocess_rect){cut, 0, width - 2 * cut, height};
}

/* A newline after each row of what is left of the grid, or after a lone tile. */
static int64_t anyres_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    bool onevision = f->kind->defaults.max_features > 0;
    int side = (int)(sqrt(f->tile_tokens) + 0.5);
    if (p->video && onevision)
        return (int64_t)p->frames * ((side + 1) / 2) * ((side + 1) / 2) + 1;
    if (p->video)
        return (int64_t)p->frames * f->tile_tokens;
    if (p->overview < 0)
        return f->tile_tokens + 1;
    struct preprocess_rect left = preprocess_unpadded(p, side);
    double most = (double)f->max_features * side * side, over = 0;
    if (f->max_features)
        over = sqrt((double)left.width * left.height / most);
    if (over > 1.1) {
        left.width = (int)floor(left.width / over);
        left.height = (int)floor(left.height / over);
    }
    return f->tile_tokens + (int64_t)left.height * (left.width + 1);
}

/* ---- nearest ratio: the picture is stretched to the grid; the thumbnail comes last ---- */

/* Ties go to the later grid where the picture has more than half of its pixels. */
static void nearest_grid(const struct preprocess_facts *f, const struct preprocess_plan *p, int from, int to,
                         int *columns, int *rows)
{
    double ratio = (double)p->width / p->height, best = INFINITY;
    double area = (double)p->width * p->height, tile = (double)f->size.width * f->size.height;
    *columns = *rows = 1;
    for (int n = from; n <= to; n++)
        for (int w = 1; w <= n; w++) {
            if (n % w)
                continue;
            double off = fabs(ratio - (double)w / (n / w));
            if (off < best || (off == best && area > 0.5 * tile * n)) {
                best = off;
                *columns = w;
                *rows = n / w;
            }
        }
}

static int dynamic_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                        struct preprocess_plan *out)
{
    if (out->video || !f->split) {
        plan_whole(out, f->size.width, f->size.height);
        return 0;
    }
    int64_t most = room->tiles >= 2 + f->thumbnail ? room->tiles - f->thumbnail : 1;
    int to = (int)min64(f->max_tiles, most), from = f->min_tiles < to ? f->min_tiles : to;
    int columns, rows;
    nearest_grid(f, out, from, to, &columns, &rows);
    plan_grid(out, columns, rows, f->size.width, f->size.height);
    if (f->thumbnail && columns * rows > 1)
        out->overview = columns * rows;
    return 0;
}

/* ---- mllama: a canvas of whole tiles that the picture fits without distortion, padded ---- */

struct canvas_choice { int columns, rows, id; double scale; };

/* Growing by little beats shrinking by little; of equal scales the smaller canvas is taken. */
static bool canvas_better(const struct canvas_choice *a, const struct canvas_choice *b)
{
    if (!b->id)
        return true;
    if ((a->scale >= 1) != (b->scale >= 1))
        return a->scale >= 1;
    if (a->scale != b->scale)
        return a->scale >= 1 ? a->scale < b->scale : a->scale > b->scale;
    return a->columns * a->rows < b->columns * b->rows;
}

static struct canvas_choice mllama_canvas(const struct preprocess_facts *f, const struct preprocess_plan *p,
                                          int64_t most)
{
    struct canvas_choice best = {0};
    int side = f->size.height, id = 0;
    for (int rows = 1; rows <= f->max_tiles; rows++)
        for (int columns = 1; columns * rows <= f->max_tiles; columns++) {
            double down = (double)(rows * side) / p->height, across = (double)(columns * side) / p->width;
            struct canvas_choice one = {columns, rows, ++id, across > down ? down : across};
            if (columns * rows <= most && canvas_better(&one, &best))
                best = one;
        }
    return best;
}

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static int mllama_plan(const struct preprocess_facts *f, const struct preprocess_room *room,
                       struct preprocess_plan *out)
{
    struct canvas_choice canvas = mllama_canvas(f, out, room->tiles);
    int side = f->size.height;
    plan_grid(out, canvas.columns, canvas.rows, side, side);
    out->aspect_id = canvas.id;
    int width = clamp(out->width, side, out->canvas_width), height = clamp(out->height, side, out->canvas_height);
    double across = (double)width / out->width, down = (double)height / out->height;
    if (across < down) {
        out->inside_width = width;
        out->inside_height = clamp((int)floor(out->height * across), 1, height);
    } else {
        out->inside_height = height;
        out->inside_width = clamp((int)floor(out->width * down), 1, width);
    }
    return 0;
}

/* ---- pan and scan: the whole picture, then crops along its longer side ---- */

/* Crops along a side `ratio` times as long as the other; 0 or 1: none. */
static int pan_count(const struct preprocess_facts *f, int longer, int shorter, int64_t most)
{
    double ratio = (double)longer / shorter;
    if (ratio < f->pan_min_ratio)
        return 0;
    int64_t n = min64((int64_t)floor((double)longer / f->pan_min_side), (int64_t)floor(ratio + 0.5));
    n = min64(n < 2 ? 2 : n, f->max_tiles);
    int64_t length = (longer + n - 1) / n;
    if (min64(length, shorter) < f->pan_min_side)
        return 0;
    return (int)min64(n, most);
}

static int pan_plan(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out)
{
    plan_whole(out, f->size.width, f->size.height);
    if (!f->split || out->video)
        return 0;
    bool wide = out->width >= out->height;
    int longer = wide ? out->width : out->height, shorter = wide ? out->height : out->width;
    int n = pan_count(f, longer, shorter, room->tiles - 1);
    if (n < 1)
        return 0;
    int length = (longer + n - 1) / n;
    if (length * (n - 1) >= longer)
        return err_set(NUN_EUNSUP, "pan and scan: expected %d crops of %d pixels to end within %d", n, length, longer);
    plan_grid(out, wide ? n : 1, wide ? 1 : n, f->size.width, f->size.height);
    out->overview = 0;
    return 0;
}

/* The last crop is what is left. */
static struct preprocess_rect pan_piece(const struct preprocess_plan *p, int tile)
{
    int width = (p->width + p->columns - 1) / p->columns, height = (p->height + p->rows - 1) / p->rows;
    int x = tile % p->columns * width, y = tile / p->columns * height;
    return (struct preprocess_rect){x, y, clamp(width, 1, p->width - x), clamp(height, 1, p->height - y)};
}

static int pan_piece_size(const struct preprocess_facts *f, const struct preprocess_rect *piece, int *width,
                          int *height)
{
    (void)piece;
    *width = f->size.width;
    *height = f->size.height;
    return 0;
}

/* ---- HD transform: as many tiles along the longer side as the number allows, white beside the shorter one; before
 * them the whole of it. arXiv:2404.06512 ---- */

static int hd_plan(const struct preprocess_facts *f, const struct preprocess_room *room, struct preprocess_plan *out)
{
    bool tall = out->width < out->height;
    double ratio = tall ? (double)out->height / out->width : (double)out->width / out->height;
    int64_t most = min64(f->max_tiles, room->tiles > 2 ? room->tiles - 1 : 1);
    int side = f->size.height, along = 1, length;
    while ((along + 1) * ceil((along + 1) / ratio) <= (double)most)
        along++;
    length = (int)(along * side / ratio);
    if (length < 1)
        return err_set(NUN_EUNSUP, "HD transform: expected an aspect of at most %d, found %d x %d", along * side, out->width, out->height);
    int beside = (length + side - 1) / side;
    plan_grid(out, tall ? beside : along, tall ? along : beside, side, side);
    out->overview = 0;
    *(tall ? &out->inside_width : &out->inside_height) = length;
    out->inside_x = (out->canvas_width - out->inside_width) / 2;
    out->inside_y = (out->canvas_height - out->inside_height) / 2;
    return 0;
}

/* A newline after each row of the grid and of the whole, and one vector between them. */
static int64_t hd_tokens(const struct preprocess_facts *f, const struct preprocess_plan *p)
{
    int side = (int)(sqrt(f->tile_tokens) + 0.5);
    return p->frames * ((int64_t)(p->columns * p->rows + 1) * f->tile_tokens + 1 + (int64_t)(p->rows + 1) * side);
}

/* torch's bicubic at every n-th place, without antialiasing (a = -0.75): those places are pixels, or half-way between. */
struct hd_taps { int first, count; float weight[4]; };

static struct hd_taps hd_taps(int n, int at)
{
    int centre = n * at + (n - 1) / 2;
    if (n % 2)
        return (struct hd_taps){centre, 1, {1}};
    return (struct hd_taps){centre - 1, 4, {-0.09375f, 0.59375f, 0.59375f, -0.09375f}};
}

static float hd_at(const struct preprocess_plan *p, const float *grid, int c, int x, int y)
{
    x = clamp(x, 0, p->canvas_width - 1);
    y = clamp(y, 0, p->canvas_height - 1);
    int tile = y / p->tile_height * p->columns + x / p->tile_width;
    return grid[((tile * 3 + c) * (int64_t)p->tile_height + y % p->tile_height) * p->tile_width + x % p->tile_width];
}

static float hd_sample(const struct preprocess_plan *p, const float *grid, int c, const struct hd_taps *across, const struct hd_taps *down)
{
    float sum = 0;
    for (int i = 0; i < down->count; i++) {
        float row = 0;
        for (int k = 0; k < across->count; k++)
            row += across->weight[k] * hd_at(p, grid, c, across->first + k, down->first + i);
        sum += down->weight[i] * row;
    }
    return sum;
}

static void hd_overview(const struct preprocess_plan *p, const float *grid, float *out)
{
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < p->tile_height; y++) {
            struct hd_taps down = hd_taps(p->rows, y);
            for (int x = 0; x < p->tile_width; x++) {
                struct hd_taps across = hd_taps(p->columns, x);
                *out++ = hd_sample(p, grid, c, &across, &down);
            }
        }
}

const struct preprocess_strategy preprocess_anyres = {
    anyres_plan, anyres_tokens, NULL, NULL, .must_resize = true, .layout = LAYOUT_PADDED,
    .video_layout = LAYOUT_PADDED,
};

const struct preprocess_strategy preprocess_dynamic = {
    dynamic_plan, tokens_by_tile, NULL, NULL, .must_resize = true, .layout = LAYOUT_FLAT,
};

const struct preprocess_strategy preprocess_mllama = {
    mllama_plan, tokens_by_tile, NULL, NULL, .must_resize = true, .layout = LAYOUT_SLOTS,
};

const struct preprocess_strategy preprocess_pan = {
    pan_plan, tokens_by_tile, pan_piece, pan_piece_size, .must_resize = true, .layout = LAYOUT_FLAT,
};

const struct preprocess_strategy preprocess_hd = {
    hd_plan, hd_tokens, NULL, NULL, .overview = hd_overview, .turns_tall = true, .must_resize = true, .layout = LAYOUT_CROPS,
    .video_layout = LAYOUT_CROPS,
};
