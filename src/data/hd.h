/* The world "scenes-hd": large pictures of 1 to 6 tiles of 448 pixels, with objects, small print on plates, headings
 * and dense bar charts, and questions whose answers are known. Made to compare ways of seeing: much of a picture is
 * lost in a thumbnail. A picture and its questions are pure functions of (config, seed, index) and need no heap.
 * Colours, shapes, kinds of questions and scoring are those of scenes.h; lengths here are pixels. It knows nothing of
 * files, tokens or models. docs/scenes-hd.md says the same in prose and numbers. */
/* SPDX-License-Identifier: MIT */
#ifndef DATA_HD_H
#define DATA_HD_H
#include "data/scenes.h"

enum {
    HD_TILE = 448, HD_MAX_TILES = 6, HD_WIDTH_MAX = HD_TILE * HD_MAX_TILES, HD_GRIDS = 14,
    HD_MAX_PIXELS = HD_TILE * HD_TILE * HD_MAX_TILES,
    HD_MAX_OBJECTS = 20, HD_TILE_OBJECTS = 4, HD_MAX_WORDS = 4, HD_MIN_CHARS = 2, HD_MAX_CHARS = SCENE_MAX_TEXT,
    HD_MIN_BARS = 4, HD_MAX_BARS = 8, HD_MAX_QUESTIONS = SCENE_MAX_QUESTIONS, HD_MAX_COUNTED = 9
};

/* A picture is columns x rows tiles. */
struct hd_grid { int columns, rows; };
extern const struct hd_grid hd_grids[HD_GRIDS];

struct hd_config {
    enum scene_split split;
    int group;                      /* so many pictures that follow each other share their grid, from 1 */
    int max_objects;                /* 1..HD_MAX_OBJECTS */
    float grid_weight[HD_GRIDS];    /* of hd_grids; 0 = never */
    float picture_weight[SCENE_PICTURE_COUNT];
    float question_weight[SCENE_KIND_COUNT]; /* 0 = never asked; json and order must be */
    const struct scene_fonts *fonts; /* of hd_fonts_open; always needed */
};

/* Small print and the coloured plate that names it, around it or left of it. */
struct hd_word {
    struct scene_word print;
    uint8_t colour, rgb[3];         /* of the plate; no two of a picture have the same colour */
    bool inside;                    /* printed on the plate, else next to it */
    float left, top, right, bottom; /* of the plate */
};
struct hd_chart {
    int count;
    float left, base, width, height; /* of the axes: from (left, base) to the right and up */
    uint8_t axis[3];
    struct scene_bar bar[HD_MAX_BARS];
};

struct hd_scene {
    uint64_t seed, stream;          /* the split and the index are in the stream */
    enum scene_picture picture;
    struct hd_grid grid;
    int width, height;              /* grid x HD_TILE */
    int count;                      /* objects, ordered by x; radius, x and y are pixels */
    struct scene_object object[HD_MAX_OBJECTS];
    int words;                      /* ordered by the left side of what they take */
    struct hd_word word[HD_MAX_WORDS];
    struct scene_word heading;      /* chars empty = none */
    struct hd_chart chart;          /* count 0 = none */
    struct scene_ground ground;
    const struct scene_fonts *fonts;
};

/* Em heights in pixels. */
enum { HD_SMALL_SIZES = 5, HD_LARGE_SIZES = 6 };
extern const int hd_small_px[HD_SMALL_SIZES], hd_large_px[HD_LARGE_SIZES];
extern const float hd_radius[SCENE_SIZES][2]; /* least, most */
int hd_fonts_open(struct scene_fonts **out); /* scene_fonts_close */

extern const struct hd_config hd_config_default;
int hd_config_check(const struct hd_config *cfg);
/* The grid of the pictures group * cfg->group and on. */
struct hd_grid hd_grid_of(const struct hd_config *cfg, uint64_t seed, uint64_t group);
/* One of the nine places, a row of scene_position_names. */
int hd_position(const struct hd_scene *s, float x, float y);

/* The picture number `index` of the config's split. The config must have passed the check. */
void hd_make(const struct hd_config *cfg, uint64_t seed, uint64_t index, struct hd_scene *out);
/* rgb: [s->height, s->width, 3] */
int hd_draw(const struct hd_scene *s, uint8_t *rgb);
/* Up to `max` (and HD_MAX_QUESTIONS) questions about different things, drawn by cfg->question_weight; returns how
 * many. Each says whether it needs small detail (fine): a small object or small print. */
int hd_questions(const struct hd_config *cfg, const struct hd_scene *s, struct scene_qa *out, int max);
/* Append the picture in words, one line without its end: all that questions ask about. */
int hd_describe(const struct hd_scene *s, struct buf *out);
/* Append "description\n" and "question\nanswer\n"... of n pictures: text to train a tokenizer on. */
int hd_corpus(const struct hd_config *cfg, uint64_t seed, int n, struct buf *out);

/* Streams of the random generator: scenes has the tags 0 to 2. */
enum hd_stream { HD_STREAM_LAYOUT = 8, HD_STREAM_QUESTIONS = 9, HD_STREAM_GRID = 10 };
static inline uint64_t hd_stream(uint64_t stream, enum hd_stream tag) { return stream | (uint64_t)tag << 56; }

#endif
