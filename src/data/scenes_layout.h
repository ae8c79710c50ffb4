/* What the layouts of scenes and of large pictures (hd) draw from the random stream alike: colours, grounds, words,
 * pairs of colour and shape. Knows no places and no pixels. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_LAYOUT_H
#define DATA_SCENES_LAYOUT_H
#include "base/rng.h"
#include "data/scenes.h"

enum { LAYOUT_COLOUR_JITTER = 12 };

/* Some pictures have a theme, a colour or a shape that half of the objects share: else counts above
 * one would be rare. -1: none. */
struct layout_theme { int colour, shape; };

bool layout_chance(struct rng *r, float p);
float layout_between(struct rng *r, float lo, float hi);
void layout_jitter(struct rng *r, const uint8_t in[3], int range, uint8_t out[3]);
void layout_ground(struct rng *r, struct scene_ground *out);
/* A word of min to max characters: all capitals, all digits, or capitals then digits; O, I, 0 and 1 only where the
 * rest of the word tells them apart. */
void layout_chars(struct rng *r, int min, int max, char *out);
struct layout_theme layout_theme(struct rng *r);
/* Bars of n different colours on axes that begin at `left`: each `width` wide in the middle of its slot. */
void layout_bars(struct rng *r, float left, float slot, float width, const float *heights, int n, struct scene_bar *out);
/* Never a held-out pair. */
struct scene_pair layout_pair(struct rng *r, const struct layout_theme *t);

#endif
