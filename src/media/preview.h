/* A picture in the terminal: as coloured half blocks anywhere, as sixels or through the kitty protocol
 * where the terminal has them. Only makes bytes: what the terminal can do is the caller's question. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_PREVIEW_H
#define MEDIA_PREVIEW_H
#include "base/buf.h"
#include "media/image.h"

/* Append the picture (RGB, or RGBA over black), `columns` character cells wide, ending in a newline.
 * style: "blocks" (24-bit colour), "blocks256", "ascii" (no escapes at all), "sixel", "kitty". */
int preview_render(const struct image *img, const char *style, int columns, struct buf *out);

/* The names above in order; NULL after the last. */
const char *preview_style(size_t i);

#endif
