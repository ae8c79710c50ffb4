/* The bundled world "scenes": small pictures of coloured shapes, printed words and bar charts, with
 * questions whose answers are known. A picture and its questions are pure functions of (config, seed,
 * index), need no heap, and are made faster than training eats them. The dataset writer, the trainer
 * and the evaluator call this; it knows nothing of files, tokens or models. docs/scenes.md says the
 * same in prose and numbers. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_SCENES_H
#define DATA_SCENES_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"

enum {
    SCENE_UNITS = 112,      /* layout is in units: 112 to a picture's side, whatever its pixels */
    SCENE_SIDE_MAX = 1024,  /* pixels */
    SCENE_COLOURS = 8, SCENE_SHAPES = 6, SCENE_SIZES = 2, SCENE_POSITIONS = 9,
    SCENE_MAX_OBJECTS = 6, SCENE_MAX_BARS = 4, SCENE_MAX_TEXT = 5, SCENE_FONTS = 2,
    SCENE_MAX_QUESTIONS = 32, SCENE_QUESTION_BYTES = 96, SCENE_ANSWER_BYTES = 400
};

enum scene_split { SCENE_TRAIN, SCENE_VAL, SCENE_TEST, SCENE_HELDOUT, SCENE_SPLIT_COUNT };
enum scene_picture { SCENE_OBJECTS, SCENE_TEXT, SCENE_BARS, SCENE_MIXED, SCENE_PICTURE_COUNT };
enum scene_kind {
    SCENE_ASK_EXISTENCE, SCENE_ASK_COUNT, SCENE_ASK_COLOUR, SCENE_ASK_SHAPE, SCENE_ASK_SIZE,
    SCENE_ASK_POSITION, SCENE_ASK_RELATION, SCENE_ASK_TEXT, SCENE_ASK_BARS, SCENE_ASK_CAPTION,
    SCENE_ASK_LIST, SCENE_ASK_JSON, SCENE_ASK_ORDER, SCENE_KIND_COUNT
};
/* How the absent thing of a "no" was chosen, as POPE has it. */
enum scene_negative { SCENE_NEG_NONE, SCENE_NEG_RANDOM, SCENE_NEG_POPULAR, SCENE_NEG_COOCCURRING, SCENE_NEG_COUNT };

struct scene_fonts; /* glyph bitmaps of the two fonts for one picture side */

struct scene_config {
    int side;                       /* pixels, 32..SCENE_SIDE_MAX */
    enum scene_split split;
    int max_objects;                /* 1..SCENE_MAX_OBJECTS */
    int text_min, text_max;         /* characters of a word, 1..SCENE_MAX_TEXT */
    float text_spread;              /* 0 = words in the middle, 1 = anywhere */
    float augment;                  /* share of pictures that get each artefact of a camera or a codec */
    float picture_weight[SCENE_PICTURE_COUNT];
    float question_weight[SCENE_KIND_COUNT]; /* 0 = never asked */
    const struct scene_fonts *fonts; /* needed where words may be drawn */
};

struct scene_object {
    uint8_t shape, colour, size;    /* rows of scene_shapes, scene_colours, scene_size_names */
    uint8_t rgb[3];
    float x, y, radius;             /* units */
};

struct scene_bar { uint8_t colour, rgb[3]; float left, right, height; };
struct scene_chart { int count; float left, base; uint8_t axis[3]; struct scene_bar bar[SCENE_MAX_BARS]; };
struct scene_word {
    int font, px;       /* px: em height in units */
    float x, y, width;  /* x, y: left end of the base line */
    uint8_t rgb[3];
    char chars[SCENE_MAX_TEXT + 1];
};
struct scene_ground { uint8_t from[3], to[3]; int8_t dx, dy; }; /* a linear ramp along (dx, dy); both 0 = plain */
/* Artefacts, in the order of drawing; zero = none. */
struct scene_artefacts {
    float blur;                     /* share of a 3x3 binomial mixed in */
    float rescale;                  /* the picture is resampled to this scale and back */
    bool chroma;                    /* colour averaged over 2x2 pixels, as JPEG does */
    int bright, contrast;           /* added; gain in 1/256 */
    int noise;                      /* largest change of a pixel's luma */
};

struct scene {
    uint64_t seed, stream;          /* the split and the index are in the stream */
    enum scene_picture picture;
    int side, count;                /* count objects, ordered by x */
    struct scene_object object[SCENE_MAX_OBJECTS];
    struct scene_word word;         /* chars empty = none */
    struct scene_chart chart;       /* count 0 = none */
    struct scene_ground ground;
    struct scene_artefacts artefacts;
    const struct scene_fonts *fonts;
};

struct scene_qa {
    enum scene_kind kind;
    enum scene_negative negative;
    bool fine;                      /* needs small detail (large pictures: hd.h); false here */
    char question[SCENE_QUESTION_BYTES], answer[SCENE_ANSWER_BYTES];
};

/* Facts of the world, for tests, docs and other drawers. */
struct scene_colour { const char *name; uint8_t rgb[3]; };
struct scene_shape {
    const char *name, *plural;
    int points;
    const float (*point)[2]; /* [points, 2], radius 1, y down */
};
struct scene_pair { uint8_t colour, shape; };
extern const struct scene_colour scene_colours[SCENE_COLOURS];
extern const struct scene_shape scene_shapes[SCENE_SHAPES];
extern const char *const scene_size_names[SCENE_SIZES];
extern const float scene_radii[SCENE_SIZES];
extern const char *const scene_position_names[SCENE_POSITIONS];
extern const char *const scene_kind_names[SCENE_KIND_COUNT];
extern const char *const scene_split_names[SCENE_SPLIT_COUNT];
extern const char *const scene_negative_names[SCENE_NEG_COUNT];
enum { SCENE_HELD_PAIRS = 2, SCENE_POPULAR_PAIRS = 6 };
extern const struct scene_pair scene_held_pairs[SCENE_HELD_PAIRS];       /* only in split heldout */
extern const struct scene_pair scene_popular_pairs[SCENE_POPULAR_PAIRS]; /* drawn more often */
bool scene_pair_held(int colour, int shape);
int scene_position(float x, float y); /* row of scene_position_names */

extern const struct scene_config scene_config_default;
int scene_config_check(const struct scene_config *cfg);

/* Load the two fonts and draw their glyphs for pictures of `side` pixels. */
int scene_fonts_open(int side, struct scene_fonts **out);
void scene_fonts_close(struct scene_fonts *f); /* NULL is fine */

/* The picture number `index` of the config's split. The config must have passed the check. */
void scene_make(const struct scene_config *cfg, uint64_t seed, uint64_t index, struct scene *out);

/* Bytes of scratch that scene_draw needs for a side. */
static inline size_t scene_scratch_bytes(int side) { return (size_t)side * (size_t)side * 6; }
/* rgb: [side, side, 3]; scratch: scene_scratch_bytes(side), or NULL for a picture without artefacts. */
int scene_draw(const struct scene *s, uint8_t *rgb, uint8_t *scratch);

/* Up to `max` (and SCENE_MAX_QUESTIONS) questions about different things, drawn by cfg->question_weight;
 * returns how many. At most one each of text, caption, list and json. */
int scene_questions(const struct scene_config *cfg, const struct scene *s, struct scene_qa *out, int max);

/* Append "question\nanswer\n" of n training pictures: text to train a tokenizer on. */
int scene_corpus(const struct scene_config *cfg, uint64_t seed, int n, struct buf *out);

#endif
