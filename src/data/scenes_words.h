/* Words about objects: phrases that name things, and what of a picture they fit. The questions of scenes and of
 * large pictures (hd) are made of them; knows neither pictures nor pixels. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_WORDS_H
#define DATA_SCENES_WORDS_H
#include <stdbool.h>
#include <stddef.h>
#include "data/scenes.h"

enum { ANY = -1, PHRASE = 40 };
#define COUNT_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))

struct thing { int size, colour, shape; }; /* ANY = not said */
/* Which of an object's facts a phrase says. */
struct say { bool size, colour, shape; };

struct thing thing_said(const struct scene_object *o, struct say y);
bool thing_fits(const struct scene_object *o, struct thing t);
/* object: [n] */
int thing_count(const struct scene_object *object, int n, struct thing t);
/* "large red circle", "red objects", ... */
void thing_phrase(char out[PHRASE], struct thing t, bool plural);
void thing_article(char out[PHRASE + 8], const char *noun);

/* The tallest or the shortest of n bars. */
int words_extreme_bar(const struct scene_bar *bar, int n, bool tallest);

/* Write `form` with every % replaced by the next argument. */
void words_fill(char *out, size_t cap, const char *form, const char *const *arg);

/* Row of the weights, [n], at share `at` (0..1) of their sum; a weight of 0 is never picked. */
int words_pick(const float *weight, int n, float at);

#endif
