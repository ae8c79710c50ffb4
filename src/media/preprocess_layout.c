/* The layouts in which the reference's own processors hand their numbers on: padded to the largest,
 * slots of tiles, patches in merge order, rows of patches, masks. Only for comparison and for other
 * programs; our towers take tiles. Called through preprocess.h. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "media/preprocess_kind.h"

/* What n pictures come to together. */
struct batch {
    const struct preprocess_facts *f;
    const struct preprocess_plan *plans;
    size_t n;
    int64_t tiles, most_tiles, width, height, patches, patch_values;
};

static struct batch batch_of(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n)
{
    struct batch b = {.f = f, .plans = plans, .n = n};
    for (size_t i = 0; i < n; i++) {
        const struct preprocess_plan *p = &plans[i];
        b.tiles += p->tiles;
        b.most_tiles = p->tiles > b.most_tiles ? p->tiles : b.most_tiles;
        b.width = p->tile_width > b.width ? p->tile_width : b.width;
        b.height = p->tile_height > b.height ? p->tile_height : b.height;
        b.patches += (int64_t)p->steps * p->patch_columns * p->patch_rows;
    }
    b.patch_values = 3 * (int64_t)f->patch * f->patch * (f->temporal_patch ? f->temporal_patch : 1);
    return b;
}

/* ---- writers: out is zeroed and has room ---- */

typedef void write_fn(const struct batch *b, const float *const *tiles, float *out);

/* A tile in the corner of a batch's largest; out: [3, height, width] */
static void write_tile(const struct batch *b, const struct preprocess_plan *p, const float *tile, float *out)
{
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < p->tile_height; y++, tile += p->tile_width)
            memcpy(out + ((size_t)c * (size_t)b->height + (size_t)y) * (size_t)b->width, tile,
                   (size_t)p->tile_width * sizeof *out);
}

/* Picture i's tiles begin at slot i * each; each 0: behind the last picture's. */
static void write_slots(const struct batch *b, const float *const *tiles, int64_t each, float *out)
{
    size_t values = 3 * (size_t)b->width * (size_t)b->height, at = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct preprocess_plan *p = &b->plans[i];
        size_t from = 3 * (size_t)p->tile_width * (size_t)p->tile_height;
        at = each ? i * (size_t)each : at;
        for (int t = 0; t < p->tiles; t++, at++)
            write_tile(b, p, tiles[i] + (size_t)t * from, out + at * values);
    }
}

static void write_flat(const struct batch *b, const float *const *tiles, float *out)
{
    write_slots(b, tiles, 0, out);
}

static void write_padded(const struct batch *b, const float *const *tiles, float *out)
{
    write_slots(b, tiles, b->most_tiles, out);
}

static void write_crops(const struct batch *b, const float *const *tiles, float *out)
{
    write_slots(b, tiles, b->f->max_tiles + 1, out);
}

static void write_numbered(const struct batch *b, const float *const *tiles, float *out)
{
    write_slots(b, tiles, b->f->max_tiles, out);
}

/* tile: [3, height, width]; out: [3, temporal, patch, patch] at time k. */
static void write_patch(const struct preprocess_facts *f, const struct preprocess_plan *p, const float *tile, int x,
                        int y, int k, float *out)
{
    size_t width = (size_t)p->tile_width, area = width * (size_t)p->tile_height, patch = (size_t)f->patch;
    for (size_t c = 0; c < 3; c++)
        for (size_t row = 0; row < patch; row++)
            memcpy(out + ((c * (size_t)f->temporal_patch + (size_t)k) * patch + row) * patch,
                   tile + c * area + ((size_t)y * patch + row) * width + (size_t)x * patch, patch * sizeof *out);
}

/* Patches of a token stand together; the last frame is repeated where a step lacks frames. */
static float *write_step(const struct batch *b, const struct preprocess_plan *p, const float *tiles, int step,
                         float *out)
{
    const struct preprocess_facts *f = b->f;
    size_t each = 3 * (size_t)p->tile_width * (size_t)p->tile_height;
    int m = f->merge, group = m * m, columns = p->patch_columns / m;
    for (int i = 0; i < p->patch_columns * p->patch_rows; i++, out += b->patch_values) {
        int token = i / group, inner = i % group;
        int x = token % columns * m + inner % m, y = token / columns * m + inner / m;
        for (int k = 0; k < f->temporal_patch; k++) {
            int frame = step * f->temporal_patch + k;
            frame = frame < p->frames ? frame : p->frames - 1;
            write_patch(f, p, tiles + (size_t)frame * each, x, y, k, out);
        }
    }
    return out;
}

static void write_merged(const struct batch *b, const float *const *tiles, float *out)
{
    for (size_t i = 0; i < b->n; i++)
        for (int step = 0; step < b->plans[i].steps; step++)
            out = write_step(b, &b->plans[i], tiles[i], step, out);
}

/* Patches row by row, a patch as rows of pixels of three colours. */
static float *write_rows(const struct preprocess_plan *p, int patch, const float *tile, float *out)
{
    size_t width = (size_t)p->tile_width, area = width * (size_t)p->tile_height;
    for (int i = 0; i < p->patch_columns * p->patch_rows; i++) {
        size_t x = (size_t)(i % p->patch_columns * patch), y = (size_t)(i / p->patch_columns * patch);
        for (size_t row = y; row < y + (size_t)patch; row++)
            for (size_t column = x; column < x + (size_t)patch; column++)
                for (size_t c = 0; c < 3; c++)
                    *out++ = tile[c * area + row * width + column];
    }
    return out;
}

static void write_patches(const struct batch *b, const float *const *tiles, float *out)
{
    for (size_t i = 0; i < b->n; i++)
        for (int frame = 0; frame < b->plans[i].frames; frame++) {
            size_t each = 3 * (size_t)b->plans[i].tile_width * (size_t)b->plans[i].tile_height;
            out = write_rows(&b->plans[i], b->f->patch, tiles[i] + (size_t)frame * each, out);
        }
}

static void write_sequences(const struct batch *b, const float *const *tiles, float *out)
{
    size_t each = (size_t)b->f->max_patches * (size_t)b->patch_values;
    for (size_t i = 0; i < b->n; i++)
        write_rows(&b->plans[i], b->f->patch, tiles[i], out + i * each);
}

/* ---- rows ---- */

/* dims, a letter each: n pictures, t all tiles, m most tiles of a picture, s slots, k slots and the overview, H and W of the
 * largest, P patches, Q most patches of a picture, V values of a patch; digits are themselves. */
static const struct layout_row {
    const char *dims;
    write_fn *write;
} layouts[] = {
    [LAYOUT_FLAT] = {"t3HW", write_flat},
    [LAYOUT_PADDED] = {"nm3HW", write_padded},
    [LAYOUT_LIST] = {"1t3HW", write_flat},
    [LAYOUT_SLOTS] = {"1ns3HW", write_numbered},
    [LAYOUT_CROPS] = {"nk3HW", write_crops},
    [LAYOUT_MERGED] = {"PV", write_merged},
    [LAYOUT_PATCHES] = {"1PV", write_patches},
    [LAYOUT_SEQUENCES] = {"nQV", write_sequences},
};

static const struct layout_row *layout_of(const struct preprocess_facts *f, const struct preprocess_plan *plans)
{
    return &layouts[plans->video ? f->kind->strategy->video_layout : f->kind->strategy->layout];
}

static int64_t dim_of(char letter, const struct batch *b)
{
    const struct { char letter; int64_t value; } dims[] = {
        {'n', (int64_t)b->n}, {'t', b->tiles}, {'m', b->most_tiles}, {'s', b->f->max_tiles},
        {'k', b->f->max_tiles + 1}, {'H', b->height},
        {'W', b->width}, {'P', b->patches}, {'Q', b->f->max_patches}, {'V', b->patch_values},
    };
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        if (dims[i].letter == letter)
            return dims[i].value;
    return letter - '0';
}

int preprocess_reference_shape(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n,
                               struct shape *out)
{
    *out = (struct shape){0};
    if (n < 1)
        return err_set(NUN_EARG, "preprocess: expected a picture at least, found none");
    struct batch b = batch_of(f, plans, n);
    for (const char *dim = layout_of(f, plans)->dims; *dim; dim++)
        out->d[out->n++] = dim_of(*dim, &b);
    size_t count;
    TRY(shape_count(out, &count));
    return limit_check(LIMIT_media_values, count, "preprocess");
}

int preprocess_reference(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n,
                         const float *const *tiles, float *out, size_t capacity)
{
    struct shape shape;
    size_t count;
    TRY(preprocess_reference_shape(f, plans, n, &shape));
    TRY(shape_count(&shape, &count));
    if (count > capacity)
        return err_set(NUN_EARG, "preprocess: expected room for %zu floats, found %zu", count, capacity);
    struct batch b = batch_of(f, plans, n);
    memset(out, 0, count * sizeof *out);
    layout_of(f, plans)->write(&b, tiles, out);
    return 0;
}

/* [pictures, max_patches] */
static int sequence_mask(const struct batch *b, uint8_t *out, size_t capacity)
{
    size_t each = (size_t)b->f->max_patches;
    if (capacity / each < b->n)
        return err_set(NUN_EARG, "preprocess: expected room for %zu x %zu bytes, found %zu", b->n, each, capacity);
    memset(out, 0, b->n * each);
    for (size_t i = 0; i < b->n; i++)
        memset(out + i * each, 1, (size_t)(b->plans[i].patch_columns * b->plans[i].patch_rows));
    return 0;
}

int preprocess_reference_mask(const struct preprocess_facts *f, const struct preprocess_plan *plans, size_t n,
                              uint8_t *out, size_t capacity)
{
    struct batch b = batch_of(f, plans, n);
    size_t width = (size_t)b.width, area = width * (size_t)b.height;
    if (f->kind->strategy->layout == LAYOUT_SEQUENCES)
        return sequence_mask(&b, out, capacity);
    if (area == 0 || capacity / area < (size_t)b.tiles)
        return err_set(NUN_EARG, "preprocess: expected room for %zu x %zu bytes, found %zu", (size_t)b.tiles, area,
                       capacity);
    memset(out, 0, area * (size_t)b.tiles);
    for (size_t i = 0; i < n; i++)
        for (int t = 0; t < plans[i].tiles; t++, out += area) {
            int across, down;
            preprocess_inside(f, &plans[i], t, &across, &down);
            for (int y = 0; y < down; y++)
                memset(out + (size_t)y * width, 1, (size_t)across);
        }
    return 0;
}
