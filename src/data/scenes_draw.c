/* Drawing of a scene: outlines filled with exact horizontal and 4-fold vertical coverage, words from
 * glyph bitmaps, then the artefacts of cameras and codecs. Integers wherever a rounding could differ
 * between machines. Knows nothing of layout or questions. */
/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "base/err.h"
#include "base/rng.h"
#include "data/scenes.h"
#include "data/scenes_font.h"

enum { SUB_ROWS = 4, MAX_CROSSINGS = 32, NOISE_STREAM = 1 };

struct canvas { uint8_t *rgb; int side; float scale; }; /* rgb: [side, side, 3] */

static uint8_t clamp8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }
static float clampf(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }

/* alpha: 0..256; the shift rounds negative steps as it does positive ones. */
static void blend(uint8_t *px, const uint8_t rgb[3], int alpha)
{
    for (int c = 0; c < 3; c++)
        px[c] = (uint8_t)(px[c] + (((rgb[c] - px[c]) * alpha + 128) >> 8));
}

static void draw_ground(const struct canvas *cv, const struct scene_ground *g)
{
    int n = cv->side - 1, span = ((g->dx != 0) + (g->dy != 0)) * n;
    uint8_t ramp[257][3];
    for (int t = 0; t <= 256; t++)
        for (int c = 0; c < 3; c++)
            ramp[t][c] = (uint8_t)(g->from[c] + (g->to[c] - g->from[c]) * t / 256);
    int step = span ? 65536 * 256 / span : 0; /* of t, in 1/65536, for one pixel */
    for (int y = 0; y <= n; y++) {
        uint8_t *px = cv->rgb + (size_t)y * (size_t)cv->side * 3;
        int t = step * ((g->dy > 0 ? y : g->dy < 0 ? n - y : 0) + (g->dx < 0 ? n : 0));
        for (int x = 0; x <= n; x++, px += 3, t += step * g->dx)
            memcpy(px, ramp[t >> 16], 3);
    }
}

/* Where the line at height y crosses the outline, ascending. */
static int crossings(const float (*pt)[2], int n, float y, float *x)
{
    int count = 0;
    for (int i = 0, j = n - 1; i < n && count < MAX_CROSSINGS; j = i++) {
        if ((pt[i][1] <= y) == (pt[j][1] <= y))
            continue;
        float at = pt[i][0] + (y - pt[i][1]) * (pt[j][0] - pt[i][0]) / (pt[j][1] - pt[i][1]);
        int k = count++;
        for (; k > 0 && x[k - 1] > at; k--)
            x[k] = x[k - 1];
        x[k] = at;
    }
    return count;
}

/* Add the covered length of every pixel between a and b. */
static void cover(float *row, float a, float b)
{
    int first = (int)a, last = (int)b;
    if (first == last) {
        row[first] += b - a;
        return;
    }
    row[first] += (float)(first + 1) - a;
    for (int x = first + 1; x < last; x++)
        row[x] += 1;
    row[last] += b - (float)last;
}

/* pt: [n, 2] pixels, a simple outline. */
static void fill_outline(const struct canvas *cv, const float (*pt)[2], int n, const uint8_t rgb[3])
{
    float side = (float)cv->side, x0 = side, x1 = 0, y0 = side, y1 = 0;
    for (int i = 0; i < n; i++) {
        x0 = pt[i][0] < x0 ? pt[i][0] : x0;
        x1 = pt[i][0] > x1 ? pt[i][0] : x1;
        y0 = pt[i][1] < y0 ? pt[i][1] : y0;
        y1 = pt[i][1] > y1 ? pt[i][1] : y1;
    }
    int left = (int)clampf(x0, 0, side), right = (int)clampf(x1, 0, side - 1);
    int top = (int)clampf(y0, 0, side), bottom = (int)clampf(y1, 0, side - 1);
    float row[SCENE_SIDE_MAX + 1], x[MAX_CROSSINGS];
    for (int y = top; y <= bottom; y++) {
        memset(row + left, 0, sizeof row[0] * (size_t)(right - left + 2));
        for (int k = 0; k < SUB_ROWS; k++) {
            int m = crossings(pt, n, (float)y + ((float)k + 0.5f) / SUB_ROWS, x);
            for (int i = 0; i + 1 < m; i += 2)
                cover(row, clampf(x[i], 0, side), clampf(x[i + 1], 0, side));
        }
        uint8_t *px = cv->rgb + ((size_t)y * (size_t)cv->side + (size_t)left) * 3;
        for (int i = left; i <= right; i++, px += 3)
            if (row[i] > 0)
                blend(px, rgb, (int)(row[i] * (256.0f / SUB_ROWS) + 0.5f));
    }
}

static void draw_object(const struct canvas *cv, const struct scene_object *o)
{
    const struct scene_shape *shape = &scene_shapes[o->shape];
    float pt[32][2];
    for (int i = 0; i < shape->points; i++) {
        pt[i][0] = (o->x + o->radius * shape->point[i][0]) * cv->scale;
        pt[i][1] = (o->y + o->radius * shape->point[i][1]) * cv->scale;
    }
    fill_outline(cv, pt, shape->points, o->rgb);
}

static void fill_box(const struct canvas *cv, float x0, float y0, float x1, float y1, const uint8_t rgb[3])
{
    float k = cv->scale;
    const float pt[4][2] = {{x0 * k, y0 * k}, {x1 * k, y0 * k}, {x1 * k, y1 * k}, {x0 * k, y1 * k}};
    fill_outline(cv, pt, 4, rgb);
}

static void draw_chart(const struct canvas *cv, const struct scene_chart *c)
{
    enum { WIDTH = 84, HEIGHT = 84 };
    const float line = 1.2f;
    for (int i = 0; i < c->count; i++) {
        const struct scene_bar *b = &c->bar[i];
        fill_box(cv, b->left, c->base - b->height, b->right, c->base, b->rgb);
    }
    fill_box(cv, c->left - line, c->base, c->left + WIDTH, c->base + line, c->axis);
    fill_box(cv, c->left - line, c->base - HEIGHT, c->left, c->base, c->axis);
}

static void draw_glyph(const struct canvas *cv, const struct scene_glyph *g, int x, int y, const uint8_t rgb[3])
{
    for (int i = 0; i < g->height; i++) {
        int py = y - g->top + i;
        if (py < 0 || py >= cv->side)
            continue;
        for (int j = 0; j < g->width; j++) {
            int px = x + g->left + j, a = g->alpha[i * g->width + j];
            if (a && px >= 0 && px < cv->side)
                blend(cv->rgb + ((size_t)py * (size_t)cv->side + (size_t)px) * 3, rgb, a + (a >> 7));
        }
    }
}

static void draw_word(const struct canvas *cv, const struct scene_fonts *fonts, const struct scene_word *w)
{
    float pen = w->x * cv->scale, base = w->y * cv->scale;
    int y = (int)(base * 2), y_phase = y & 1;
    for (const char *c = w->chars; *c; c++) {
        int quarter = (int)(pen * 4);
        const struct scene_glyph *g = scene_glyph(fonts, w->font, w->px, *c, quarter & 3, y_phase);
        draw_glyph(cv, g, quarter >> 2, y >> 1, w->rgb);
        pen += g->advance;
    }
}

/* Mix in the 3x3 binomial [1 2 1]^2 / 16; the border keeps its pixels. */
static void blur(const struct canvas *cv, float share, uint8_t *copy)
{
    int n = cv->side, a = (int)(share * 256);
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
    int m = (int)((float)cv->side * factor + 0.5f);
    resample(cv->rgb, cv->side, scratch, m);
    resample(scratch, m, cv->rgb, cv->side);
}

/* Replace each 2x2 block's colour by its mean, keeping every pixel's luma, as 4:2:0 coding does. */
static void average_chroma(const struct canvas *cv)
{
    ptrdiff_t row = (ptrdiff_t)cv->side * 3;
    for (int y = 0; y + 1 < cv->side; y += 2)
        for (int x = 0; x + 1 < cv->side; x += 2) {
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
    size_t n = (size_t)cv->side * (size_t)cv->side * 3;
    for (size_t i = 0; i < n; i++)
        cv->rgb[i] = map[cv->rgb[i]];
}

static void add_noise(const struct canvas *cv, int range, const struct scene *s)
{
    size_t n = (size_t)cv->side * (size_t)cv->side;
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
    struct canvas cv = {rgb, s->side, (float)s->side / SCENE_UNITS};
    draw_ground(&cv, &s->ground);
    for (int i = 0; i < s->count; i++)
        draw_object(&cv, &s->object[i]);
    if (s->chart.count)
        draw_chart(&cv, &s->chart);
    if (s->word.chars[0])
        draw_word(&cv, s->fonts, &s->word);
    draw_artefacts(&cv, s, scratch);
    return 0;
}
