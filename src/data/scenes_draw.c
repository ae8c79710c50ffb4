/* Drawing of a scene: its pieces onto a canvas, then the artefacts of cameras and codecs. Integers wherever
 * a rounding could differ between machines. Knows nothing of layout or questions. */
/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "base/err.h"
#include "base/rng.h"
#include "data/scenes.h"
#include "data/scenes_canvas.h"
#include "data/scenes_font.h"

enum { NOISE_STREAM = 1 };

static uint8_t clamp8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }
static void draw_chart(const struct canvas *cv, const struct scene_chart *c)
{
    enum { WIDTH = 84, HEIGHT = 84 };
    const float line = 1.2f;
    for (int i = 0; i < c->count; i++) {
        const struct scene_bar *b = &c->bar[i];
        canvas_box(cv, b->left, c->base - b->height, b->right, c->base, b->rgb);
    }
    canvas_box(cv, c->left - line, c->base, c->left + WIDTH, c->base + line, c->axis);
    canvas_box(cv, c->left - line, c->base - HEIGHT, c->left, c->base, c->axis);
}

/* Mix in the 3x3 binomial [1 2 1]^2 / 16; the border keeps its pixels. */
static void blur(const struct canvas *cv, float share, uint8_t *copy)
{
    int n = cv->width, a = (int)(share * 256);
    ptrdiff_t row = (ptrdiff_t)n * 3;
    memcpy(copy, cv->rgb, (size_t)(row * n));
    for (int y = 1; y < n - 1; y++) {
        const uint8_t *in = copy + y * row;
        uint8_t *out = cv->rgb + y * row;
        for (ptrdiff_t i = 3; i < row - 3; i++) {
            const uint8_t *p = in + i, *u = p - row, *d = p + row;
            int soft = u[-3] + 2 * u[0] + u[3] + 2 * (p[-3] + 2 * p[0] + p[3]) + d[-3] + 2 * d[0] + d[3];
            out[i] = (uint8_t)((p[0] * (256 - a) * 16 + soft * a + 2048) / 4096);
        }
    }
}

/* Bilinear, pixel centres aligned. in: [n, n, 3], out: [m, m, 3]. */
static void resample(const uint8_t *in, int n, uint8_t *out, int m)
{
    struct tap { int at, next, weight; } tap[SCENE_SIDE_MAX * 4 / 3];
    for (int i = 0; i < m; i++) {
        int64_t p = ((int64_t)(2 * i + 1) * n * 256 / m - 256) / 2; /* position in 1/256 pixel */
        p = p < 0 ? 0 : p;
        int at = (int)(p >> 8);
        tap[i] = (struct tap){at * 3, (at + 1 < n ? at + 1 : at) * 3, (int)(p & 255)};
    }
    for (int y = 0; y < m; y++) {
        const uint8_t *r0 = in + (size_t)tap[y].at * (size_t)n, *r1 = in + (size_t)tap[y].next * (size_t)n;
        int v = tap[y].weight;
        for (int x = 0; x < m; x++)
            for (int c = 0; c < 3; c++) {
                int i = tap[x].at + c, j = tap[x].next + c, h = tap[x].weight;
                int top = r0[i] * 256 + (r0[j] - r0[i]) * h, low = r1[i] * 256 + (r1[j] - r1[i]) * h;
                *out++ = (uint8_t)((top * 256 + (low - top) * v + 32768) / 65536);
            }
    }
}

static void rescale(const struct canvas *cv, float factor, uint8_t *scratch)
{
    int m = (int)((float)cv->width * factor + 0.5f);
    resample(cv->rgb, cv->width, scratch, m);
    resample(scratch, m, cv->rgb, cv->width);
}

/* Replace each 2x2 block's colour by its mean, keeping every pixel's luma, as 4:2:0 coding does. */
static void average_chroma(const struct canvas *cv)
{
    ptrdiff_t row = (ptrdiff_t)cv->width * 3;
    for (int y = 0; y + 1 < cv->width; y += 2)
        for (int x = 0; x + 1 < cv->width; x += 2) {
            uint8_t *p = cv->rgb + y * row + x * 3, *px[4] = {p, p + 3, p + row, p + row + 3};
            int sum[3] = {0, 0, 0}, luma[4], mean = 0;
            for (int i = 0; i < 4; i++) {
                luma[i] = (77 * px[i][0] + 150 * px[i][1] + 29 * px[i][2]) / 256;
                mean += luma[i];
                for (int c = 0; c < 3; c++)
                    sum[c] += px[i][c];
            }
            for (int i = 0; i < 4; i++)
                for (int c = 0; c < 3; c++)
                    px[i][c] = clamp8(luma[i] + (sum[c] - mean) / 4);
        }
}

static void change_light(const struct canvas *cv, int bright, int contrast)
{
    uint8_t map[256];
    for (int i = 0; i < 256; i++)
        map[i] = clamp8(128 + (i - 128) * (256 + contrast) / 256 + bright);
    size_t n = (size_t)cv->width * (size_t)cv->width * 3;
    for (size_t i = 0; i < n; i++)
        cv->rgb[i] = map[cv->rgb[i]];
}

static void add_noise(const struct canvas *cv, int range, const struct scene *s)
{
    size_t n = (size_t)cv->width * (size_t)cv->width;
    for (size_t i = 0; i < n; i += 16) {
        uint32_t word[4];
        philox4x32(s->seed, s->stream | (uint64_t)NOISE_STREAM << 56, i / 16, word);
        for (size_t k = 0; k < 16 && i + k < n; k++) {
            int byte = (int)(word[k / 4] >> (8 * (k % 4)) & 255), delta = byte * (2 * range + 1) / 256 - range;
            uint8_t *px = cv->rgb + (i + k) * 3;
            for (int c = 0; c < 3; c++)
                px[c] = clamp8(px[c] + delta);
        }
    }
}

static void draw_artefacts(const struct canvas *cv, const struct scene *s, uint8_t *scratch)
{
    const struct scene_artefacts *a = &s->artefacts;
    if (a->blur > 0)
        blur(cv, a->blur, scratch);
    if (a->rescale > 0)
        rescale(cv, a->rescale, scratch);
    if (a->chroma)
        average_chroma(cv);
    if (a->bright || a->contrast)
        change_light(cv, a->bright, a->contrast);
    if (a->noise)
        add_noise(cv, a->noise, s);
}

int scene_draw(const struct scene *s, uint8_t *rgb, uint8_t *scratch)
{
    if (s->side < 32 || s->side > SCENE_SIDE_MAX)
        return err_set(NUN_EARG, "scene_draw: side: expected 32 to %d, found %d", SCENE_SIDE_MAX, s->side);
    if (s->word.chars[0] && (!s->fonts || scene_fonts_side(s->fonts) != s->side))
        return err_set(NUN_EARG, "scene_draw: expected fonts opened for side %d, found %d", s->side,
                       s->fonts ? scene_fonts_side(s->fonts) : 0);
    if ((s->artefacts.blur > 0 || s->artefacts.rescale > 0) && !scratch)
        return err_set(NUN_EARG, "scene_draw: a picture with artefacts: expected scratch, found none");
    struct canvas cv = {rgb, s->side, s->side, (float)s->side / SCENE_UNITS};
    canvas_ground(&cv, &s->ground);
    for (int i = 0; i < s->count; i++)
        canvas_object(&cv, &s->object[i]);
    if (s->chart.count)
        draw_chart(&cv, &s->chart);
    if (s->word.chars[0])
        canvas_word(&cv, s->fonts, &s->word);
    draw_artefacts(&cv, s, scratch);
    return 0;
}
