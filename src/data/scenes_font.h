/* Glyph bitmaps of the worlds' two fonts, drawn once for one picture side. Only the layout and the
 * drawing of scenes and of large pictures (hd) use it. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_FONT_H
#define DATA_SCENES_FONT_H
#include "data/scenes.h"

enum { SCENE_PX_MIN = 13, SCENE_PX_MAX = 17, SCENE_FONT_SIZES = 16 }; /* em height in units; most sizes of one set */

struct scene_glyph {
    int width, height, left, top; /* pixels; left of the pen, top above the base line */
    float advance;                /* pixels */
    const uint8_t *alpha;         /* [height, width] */
};

/* scene_fonts_open for other em heights; whole: glyphs stand on whole pixels only, an eighth of the bytes. */
int scene_fonts_open_sizes(int side, const int *px, int n, bool whole, struct scene_fonts **out);
/* Width of a word in units. */
float scene_text_width(const struct scene_fonts *f, int font, int px, const char *chars);
/* The glyph whose pen is `x_phase`/4, `y_phase`/2 of a pixel right of and below a whole one.
 * NULL for a character or a size that the set does not have. */
const struct scene_glyph *scene_glyph(const struct scene_fonts *f, int font, int px, char c, int x_phase, int y_phase);
int scene_fonts_side(const struct scene_fonts *f);

#endif
