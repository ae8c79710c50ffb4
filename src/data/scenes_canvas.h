/* Drawing of the worlds' pieces onto RGB pixels: grounds, outlines, boxes and words, with smooth edges. Integers
 * wherever a rounding could differ between machines. scenes_draw.c and hd_draw.c call it; it knows nothing of
 * layout or questions. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_CANVAS_H
#define DATA_SCENES_CANVAS_H
#include "data/scenes.h"

enum { CANVAS_WIDTH_MAX = 448 * 6 };

struct canvas {
    uint8_t *rgb;       /* [height, width, 3] */
    int width, height;  /* pixels; width up to CANVAS_WIDTH_MAX */
    float scale;        /* pixels of a unit: lengths below are units */
};

void canvas_ground(const struct canvas *cv, const struct scene_ground *g);
void canvas_object(const struct canvas *cv, const struct scene_object *o);
void canvas_box(const struct canvas *cv, float x0, float y0, float x1, float y1, const uint8_t rgb[3]);
void canvas_word(const struct canvas *cv, const struct scene_fonts *fonts, const struct scene_word *w);

#endif
