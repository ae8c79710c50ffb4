/* Resizing 8-bit pictures bit for bit as Pillow does, because vision models were trained on exactly
 * these pixels: antialiased, two passes (horizontal, then vertical) with the intermediate rounded to
 * 8 bits, coefficients in fixed point. Knows only struct image. Called by preprocessing and preview. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_RESIZE_H
#define MEDIA_RESIZE_H
#include "media/image.h"

/* The numbers are Pillow's, and so those of `resample` in preprocessor_config.json. */
enum resize_filter {
    RESIZE_NEAREST, RESIZE_LANCZOS, RESIZE_BILINEAR, RESIZE_BICUBIC, RESIZE_BOX, RESIZE_HAMMING,
    RESIZE_FILTER_COUNT
};

const char *resize_filter_name(enum resize_filter filter); /* static; "?" when out of range */
int resize_filter_find(const char *name);                  /* its number, or -1 */

/* Which pass runs first matters by a level or two, since the result between them is rounded. */
enum resize_order {
    RESIZE_ORDER_13, /* Pillow 13 and later: down first where the height shrinks by much more */
    RESIZE_ORDER_12, /* Pillow up to 12: always across first */
    RESIZE_ORDER_13_TURNED, /* as 13, of a picture that is resized lying on its side and turned back */
};

/* A resized copy of `in`: 1 to 4 channels; four channels are RGBA and are premultiplied on the way.
 * `out` becomes the caller's; it may not be `in`. Plain image_resize() takes today's order. */
int image_resize(const struct image *in, int width, int height, enum resize_filter filter, struct image *out);
int image_resize_ordered(const struct image *in, int width, int height, enum resize_filter filter,
                         enum resize_order order, struct image *out);

/* A window of width x height onto a plane of one colour, on which a picture lies with its corner at
 * (x, y): padding and cropping without a copy. With alpha only the whole picture can be seen. */
struct image_view { int width, height, x, y; uint8_t colour[4]; };
int image_resize_view(const struct image *in, const struct image_view *view, int width, int height,
                      enum resize_filter filter, enum resize_order order, struct image *out);

/* A copy of the rectangle of `in` with its corner at (x, y). */
int image_crop(const struct image *in, int x, int y, int width, int height, struct image *out);

#endif
