/* Writing pictures: 8-bit grey, RGB or RGBA to PNG, JPEG or WebP bytes. The same picture gives the
 * same bytes with the same library. Called by the data generator, the page, and tests. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_IMAGE_WRITE_H
#define MEDIA_IMAGE_WRITE_H
#include "base/buf.h"
#include "media/image.h"

/* Append the picture to `out` as `format`: "png", "jpeg" (or "jpg"), "webp", "webp-lossless".
 * quality: 1 to 100 for the lossy ones, 0 for their default; PNG and lossless WebP take no notice.
 * JPEG has no alpha: four channels are refused. WebP has no grey: one channel is repeated. */
int image_encode(const struct image *img, const char *format, int quality, struct buf *out);

/* To a file, whole or not at all; the format is that of the file's ending. */
int image_save(const struct image *img, const char *path, int quality);

#endif
