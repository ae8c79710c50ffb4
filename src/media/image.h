/* Pictures: bytes in, 8-bit RGB (or RGBA) out. The format is recognised by its first bytes; limits
 * are checked on the header, before any pixel is decoded or allocated. Knows nothing of tensors or
 * models. Called by preprocessing, the data room, the preview and the command line. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_IMAGE_H
#define MEDIA_IMAGE_H
#include <stdint.h>
#include "base/span.h"

/* data: [height, width, channels], rows packed; channels is 3 (RGB) or 4 (RGBA, not premultiplied).
 * A zeroed struct is the empty image. */
struct image {
    int width, height, channels;
    uint8_t *data;
    bool one_band; /* the file had grey or a palette and no alpha: some processors resize such pictures otherwise */
};

/* What becomes of transparency. Only KEEP yields four channels, and then always four. */
enum image_alpha {
    IMAGE_ALPHA_DROP,  /* colours as stored, whatever the alpha: Pillow's convert("RGB") */
    IMAGE_ALPHA_WHITE, /* blended over white, rounded as Pillow's paste */
    IMAGE_ALPHA_BLACK, /* blended over black */
    IMAGE_ALPHA_KEEP,
    IMAGE_ALPHA_WHITE_CUT, /* blended over white and cut to a byte: Chameleon */
    IMAGE_ALPHA_COUNT
};

struct image_options {
    enum image_alpha alpha;
    bool apply_orientation; /* turn the picture upright as its EXIF says */
};

/* What NULL options mean: alpha dropped, orientation applied. */
extern const struct image_options image_options_default;

struct image_info {
    const char *format;  /* "png", ...; static */
    int width, height;   /* as image_decode with the same options would give */
    int orientation;     /* EXIF 1..8; 1 when absent or out of range */
    bool has_alpha;
};

/* Decode the picture, or the first frame of an animation. `out` becomes the caller's (image_free)
 * on success and stays empty on failure.
 * Colours are taken as Pillow's convert("RGB") takes them: grey repeated, palettes looked up, CMYK
 * JPEGs read as inverted (Adobe), 16-bit colour cut to its high byte, 16-bit grey clipped at 255,
 * colour profiles and gamma ignored. Lost picture data is an error, never a grey area. */
int image_decode(struct span bytes, const struct image_options *opt, struct image *out);

/* The same from a file of at most LIMIT image_file_bytes. */
int image_load(const char *path, const struct image_options *opt, struct image *out);

/* Only the header: what is it, and how large? */
int image_probe(struct span bytes, const struct image_options *opt, struct image_info *out);

/* An image of the given shape, contents undefined, sides and pixels checked against the limits.
 * `place` begins the error sentence. */
int image_alloc(const char *place, int64_t width, int64_t height, int channels, struct image *out);
void image_free(struct image *img); /* NULL and empty are fine; leaves the image empty */

static inline size_t image_bytes(const struct image *img)
{
    return (size_t)img->width * (size_t)img->height * (size_t)img->channels;
}

/* A pixel's first byte. */
static inline uint8_t *image_at(const struct image *img, int x, int y)
{
    return img->data + ((size_t)y * (size_t)img->width + (size_t)x) * (size_t)img->channels;
}

/* EXIF orientation 1..8 applied to `img` in place (sides may swap). */
int image_orient(struct image *img, int orientation);

/* The alpha channel removed, blended or added as asked, in place. */
int image_apply_alpha(struct image *img, enum image_alpha alpha);

#endif
