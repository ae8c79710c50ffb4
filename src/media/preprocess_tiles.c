/* The pixels of preprocessing: a plan carried out on a picture. Squares, resizes, cuts and pads in
 * bytes, then turns each byte into a float through a table. Must not know any processor by name: what
 * differs stands in the plan and in the strategy's row. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "media/preprocess_kind.h"

/* ---- bytes to floats ---- */

/* What each byte of each channel becomes, and the padding. */
struct colours { float of[3][256], padding[3]; };

/* Rescaled in double and rounded to float, then normalised in float, as the reference does for whole
 * arrays. */
static void colours_make(const struct preprocess_facts *f, struct colours *out)
{
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++) {
            float x = f->do_rescale ? (float)(v * f->rescale_factor) : (float)v;
            if (f->do_rescale && f->rescale_offset)
                x = x - 1.0f;
            if (f->do_normalize)
                x = (x - (float)f->mean[c]) / (float)f->std[c];
            if (f->divide_again)
                x = x / (float)f->std[c];
            out->of[c][v] = x;
        }
        out->padding[c] = f->kind->strategy->pads_with_zero ? 0 : out->of[c][f->background[c]];
    }
}

static void fill(float *out, int n, float value)
{
    for (int i = 0; i < n; i++)
        out[i] = value;
}

/* out: [3, at->height, at->width]: the pixels of `img` under the rectangle, padding where there are none. */
static void write_planes(const struct colours *t, const struct image *img, const struct preprocess_rect *at, float *out)
{
    int from = at->x < 0 ? -at->x : 0, to = img->width - at->x < at->width ? img->width - at->x : at->width;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < at->height; y++, out += at->width) {
            bool inside = y + at->y >= 0 && y + at->y < img->height && from < to;
            int lo = inside ? from : at->width, hi = inside ? to : at->width;
            fill(out, lo, t->padding[c]);
            const uint8_t *p = inside ? image_at(img, lo + at->x, y + at->y) + c : NULL;
            for (int x = lo; x < hi; x++, p += 3)
                out[x] = t->of[c][*p];
            fill(out + hi, at->width - hi, t->padding[c]);
        }
}

/* ---- bytes to bytes ---- */

/* A picture on its way: borrowed or owned, and what of the plane around it is meant. */
struct stage {
    const struct image *img;
    struct image own;
    struct image_view view;
    enum resize_filter filter;
    enum resize_order order;
};

static struct stage stage_of(const struct preprocess_facts *f, const struct image *img)
{
    bool nearest = f->kind->strategy->nearest_for_one_band && img->one_band;
    bool turned = f->kind->strategy->turns_tall && img->height > img->width;
    return (struct stage){.img = img, .view = {.width = img->width, .height = img->height},
                          .filter = nearest ? RESIZE_NEAREST : (enum resize_filter)f->resample,
                          .order = turned ? RESIZE_ORDER_13_TURNED : f->order};
}

static void stage_drop(struct stage *s)
{
    image_free(&s->own);
    s->img = NULL;
}

static bool stage_is_whole(const struct stage *s)
{
    return s->view.x == 0 && s->view.y == 0 && s->view.width == s->img->width && s->view.height == s->img->height;
}

/* *s resized; what it was before is freed. A whole picture of that size already costs nothing. */
static int stage_resize(const struct preprocess_facts *f, int width, int height, struct stage *s)
{
    struct image out;
    if (stage_is_whole(s) && s->view.width == width && s->view.height == height)
        return 0;
    TRY(image_resize_view(s->img, &s->view, width, height, s->filter, s->order, &out));
    image_free(&s->own);
    s->own = out;
    s->img = &s->own;
    s->view = (struct image_view){.width = width, .height = height};
    return 0;
}

/* A square with the picture in its middle on the mean colour; channel means are cut to bytes. */
static void stage_square(const struct preprocess_facts *f, struct stage *s)
{
    int side = s->img->width > s->img->height ? s->img->width : s->img->height;
    s->view = (struct image_view){.width = side, .height = side, .x = (side - s->img->width) / 2,
                                  .y = (side - s->img->height) / 2};
    for (int c = 0; c < 3; c++) {
        double v = f->mean[c] * 255;
        s->view.colour[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

/* ---- tiles ---- */

static size_t tile_floats(const struct preprocess_plan *p)
{
    return 3 * (size_t)p->tile_width * (size_t)p->tile_height;
}

/* The tiles of the grid, row by row, cut from the canvas on which the picture lies. */
static void cut_canvas(const struct colours *t, const struct preprocess_plan *p, const struct image *img, float *out)
{
    for (int i = 0; i < p->columns * p->rows; i++, out += tile_floats(p)) {
        struct preprocess_rect at = {i % p->columns * p->tile_width - p->inside_x,
                                     i / p->columns * p->tile_height - p->inside_y, p->tile_width, p->tile_height};
        write_planes(t, img, &at, out);
    }
}

static int one_piece(const struct preprocess_facts *f, const struct colours *t, const struct preprocess_plan *p,
                     const struct image *img, const struct preprocess_rect *piece, float *out)
{
    struct preprocess_rect at = {0, 0, p->tile_width, p->tile_height};
    struct stage s = stage_of(f, img);
    int width, height;
    TRY(f->kind->strategy->piece_size(f, piece, &width, &height));
    s.view = (struct image_view){.width = piece->width, .height = piece->height, .x = -piece->x, .y = -piece->y};
    int rc = stage_resize(f, width, height, &s);
    if (rc == 0)
        write_planes(t, s.img, &at, out);
    stage_drop(&s);
    return rc;
}

/* The tiles of the grid, each cut from the original and resized by itself. */
static int cut_original(const struct preprocess_facts *f, const struct colours *t, const struct preprocess_plan *p,
                        const struct image *img, float *out)
{
    for (int i = 0; i < p->columns * p->rows; i++, out += tile_floats(p)) {
        struct preprocess_rect piece = f->kind->strategy->piece(p, i);
        TRY(one_piece(f, t, p, img, &piece, out));
    }
    return 0;
}

/* The overview of a cut picture, from the original or from what `s` holds. */
static int write_overview(const struct preprocess_facts *f, const struct colours *t, const struct preprocess_plan *p,
                          const struct image *img, struct stage *s, float *out)
{
    const struct preprocess_strategy *strategy = f->kind->strategy;
    struct preprocess_rect at = {0, 0, p->tile_width, p->tile_height};
    bool native = strategy->pads_with_zero; /* then the overview keeps its aspect */
    if (!strategy->overview_of_canvas) {
        stage_drop(s);
        *s = stage_of(f, img);
    }
    TRY(stage_resize(f, native ? p->inside_width : p->tile_width, native ? p->inside_height : p->tile_height, s));
    write_planes(t, s->img, &at, out);
    return 0;
}

/* out: [tiles of a frame, 3, tile_height, tile_width] */
static int run_frame(const struct preprocess_facts *f, const struct colours *t, const struct preprocess_plan *p,
                     const struct image *img, struct stage *s, float *out)
{
    float *grid = out + (p->overview == 0 ? tile_floats(p) : 0);
    if (p->squared)
        stage_square(f, s);
    if (p->columns * p->rows > 1 && f->kind->strategy->piece) {
        TRY(cut_original(f, t, p, img, grid));
    } else {
        TRY(stage_resize(f, p->first_width, p->first_height, s)); /* without do_resize these are its own sides */
        TRY(stage_resize(f, p->inside_width, p->inside_height, s));
        cut_canvas(t, p, s->img, grid);
    }
    if (p->overview < 0)
        return 0;
    if (f->kind->strategy->overview) {
        f->kind->strategy->overview(p, grid, out + (size_t)p->overview * tile_floats(p));
        return 0;
    }
    return write_overview(f, t, p, img, s, out + (size_t)p->overview * tile_floats(p));
}

static int check_picture(const struct preprocess_plan *p, const struct image *img)
{
    if (!img->data || img->channels != 3)
        return err_set(NUN_EARG, "preprocess: expected an RGB picture, found %d channels", img->channels);
    if (img->width != p->width || img->height != p->height)
        return err_set(NUN_EARG, "preprocess: expected a picture of %d x %d as planned, found %d x %d", p->width,
                       p->height, img->width, img->height);
    return 0;
}

static int check_room(const struct preprocess_plan *p, int tiles, size_t capacity)
{
    if (capacity / tile_floats(p) < (size_t)tiles)
        return err_set(NUN_EARG, "preprocess: expected room for 3x%dx%d floats for each of %d tiles, found %zu",
                       p->tile_height, p->tile_width, tiles, capacity);
    return 0;
}

static int colour_frame(const struct preprocess_facts *f, const struct colours *t, const struct preprocess_plan *p,
                        const struct image *img, float *out)
{
    struct stage s = stage_of(f, img);
    TRY(check_picture(p, img));
    int rc = run_frame(f, t, p, img, &s, out);
    stage_drop(&s);
    return rc;
}

int preprocess_frame(const struct preprocess_facts *f, const struct preprocess_plan *p, const struct image *img,
                     float *out, size_t capacity)
{
    struct colours t;
    TRY(check_room(p, p->tiles / p->frames, capacity));
    colours_make(f, &t);
    return colour_frame(f, &t, p, img, out);
}

int preprocess_tiles(const struct preprocess_facts *f, const struct preprocess_plan *p, const struct image *images,
                     float *out, size_t capacity)
{
    struct colours t;
    size_t each = tile_floats(p) * (size_t)(p->tiles / p->frames);
    TRY(check_room(p, p->tiles, capacity));
    colours_make(f, &t);
    for (int i = 0; i < p->frames; i++, out += each)
        TRY(colour_frame(f, &t, p, &images[i], out));
    return 0;
}

int preprocess_run(const struct preprocess_facts *f, const struct image *img, float *out, size_t capacity)
{
    struct preprocess_plan p;
    int width, height;
    TRY(preprocess_size(f, img->width, img->height, &width, &height));
    TRY(preprocess_plan(f, &(struct preprocess_input){.width = img->width, .height = img->height}, &p));
    return preprocess_frame(f, &p, img, out, capacity);
}
