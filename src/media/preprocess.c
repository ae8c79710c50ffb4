/* The pixels of preprocessing: sizes, padding, resizing, cropping and the table that turns a byte into
 * a float. Reading the config is in preprocess_config.c. Must not know any processor by name. */
/* SPDX-License-Identifier: MIT */
#include "media/preprocess.h"
#include "base/err.h"
#include "base/limits.h"

/* ---- sizes ---- */

static int checked_side(int64_t side, const char *what, int *out)
{
    if (side < 1)
        return err_set(NUN_EFORMAT, "preprocess: expected a %s of at least 1 pixel, found %lld", what, (long long)side);
    TRY(limit_check(LIMIT_image_side, (size_t)side, what));
    *out = (int)side;
    return 0;
}

/* The longer side is the exact product over the shorter one, cut to an integer. */
static int resized_size(const struct preprocess_facts *f, int width, int height, int *out_width, int *out_height)
{
    int64_t w = f->size.width, h = f->size.height;
    if (f->size.shortest_edge) {
        int64_t edge = f->size.shortest_edge;
        int shorter = width < height ? width : height, longer = width < height ? height : width;
        int64_t stretched = (int64_t)((double)(edge * longer) / shorter);
        w = width <= height ? edge : stretched;
        h = width <= height ? stretched : edge;
    }
    TRY(checked_side(w, "resized width", out_width));
    return checked_side(h, "resized height", out_height);
}

static int square_side(int width, int height)
{
    return width > height ? width : height;
}

int preprocess_size(const struct preprocess_facts *f, int width, int height, int *out_width, int *out_height)
{
    TRY(checked_side(width, "picture width", &width));
    TRY(checked_side(height, "picture height", &height));
    if (f->do_pad)
        width = height = square_side(width, height);
    if (f->do_resize)
        TRY(resized_size(f, width, height, &width, &height));
    *out_width = f->do_center_crop ? f->crop.width : width;
    *out_height = f->do_center_crop ? f->crop.height : height;
    return 0;
}

/* ---- pixels ---- */

/* A square with the picture in its middle on the mean colour; channel means are cut to bytes. */
static int pad_square(const struct preprocess_facts *f, const struct image *in, struct image *out)
{
    int side = square_side(in->width, in->height);
    TRY(image_alloc("preprocess: padding", side, side, 3, out));
    uint8_t colour[3];
    for (int c = 0; c < 3; c++) {
        double v = f->mean[c] * 255;
        colour[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    for (size_t i = 0, n = image_bytes(out); i < n; i++)
        out->data[i] = colour[i % 3];
    int x = (side - in->width) / 2, y = (side - in->height) / 2;
    for (int row = 0; row < in->height; row++)
        memcpy(image_at(out, x, y + row), image_at(in, 0, row), (size_t)in->width * 3);
    return 0;
}

/* What each byte of each channel becomes: rescaled in double and rounded to float, then normalised
 * in float, as the reference does for whole arrays. */
static void byte_table(const struct preprocess_facts *f, float table[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float x = f->do_rescale ? (float)(v * f->rescale_factor) : (float)v;
            if (f->do_normalize)
                x = (x - (float)f->mean[c]) / (float)f->std[c];
            table[c][v] = x;
        }
}

/* out: [3, height, width], cut from the middle of img; outside of it the bytes are 0. */
static void write_planes(const struct preprocess_facts *f, const struct image *img, int width, int height, float *out)
{
    float table[3][256];
    byte_table(f, table);
    int left = (img->width - width) >> 1, top = (img->height - height) >> 1; /* rounded down, also below 0 */
    int from = left < 0 ? -left : 0, to = img->width - left < width ? img->width - left : width;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < height; y++, out += width) {
            bool inside = y + top >= 0 && y + top < img->height;
            int lo = inside ? from : width, hi = inside ? to : width;
            for (int x = 0; x < lo; x++)
                out[x] = table[c][0];
            const uint8_t *p = inside ? image_at(img, lo + left, y + top) + c : NULL;
            for (int x = lo; x < hi; x++, p += 3)
                out[x] = table[c][*p];
            for (int x = hi; x < width; x++)
                out[x] = table[c][0];
        }
}

static int run_steps(const struct preprocess_facts *f, const struct image *in, struct image *padded,
                     struct image *resized, const struct image **out)
{
    *out = in;
    if (f->do_pad && in->width != in->height) {
        TRY(pad_square(f, in, padded));
        *out = padded;
    }
    if (f->do_resize) {
        int width, height;
        TRY(resized_size(f, (*out)->width, (*out)->height, &width, &height));
        TRY(image_resize_ordered(*out, width, height, (enum resize_filter)f->resample, f->order, resized));
        *out = resized;
    }
    return 0;
}

int preprocess_run(const struct preprocess_facts *f, const struct image *img, float *out, size_t capacity)
{
    if (!img->data || img->channels != 3)
        return err_set(NUN_EARG, "preprocess: expected an RGB picture, found %d channels", img->channels);
    int width, height;
    TRY(preprocess_size(f, img->width, img->height, &width, &height));
    if ((size_t)width * (size_t)height > capacity / 3)
        return err_set(NUN_EARG, "preprocess: expected room for 3x%dx%d floats, found %zu", height, width, capacity);
    struct image padded = {0}, resized = {0};
    const struct image *last;
    int rc = run_steps(f, img, &padded, &resized, &last);
    if (rc == 0)
        write_planes(f, last, width, height, out);
    image_free(&padded);
    image_free(&resized);
    return rc;
}
