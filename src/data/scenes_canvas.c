/* The worlds' pieces as pixels: outlines filled with exact horizontal and 4-fold vertical coverage, words from
 * glyph bitmaps. See the header. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_canvas.h"
#include <string.h>
#include "data/scenes_font.h"

enum { SUB_ROWS = 4, MAX_CROSSINGS = 32 };

static float clampf(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }

/* alpha: 0..256; the shift rounds negative steps as it does positive ones. */
static void blend(uint8_t *px, const uint8_t rgb[3], int alpha)
{
    for (int c = 0; c < 3; c++)
        px[c] = (uint8_t)(px[c] + (((rgb[c] - px[c]) * alpha + 128) >> 8));
}

/* A row of the ramp that begins at t (in 1/65536 of a row of `ramp`). */
static void ramp_row(uint8_t *px, int width, const uint8_t (*ramp)[3], int t, int step)
{
    for (int x = 0; x < width; x++, px += 3, t += step)
        memcpy(px, ramp[t >> 16], 3);
}

void canvas_ground(const struct canvas *cv, const struct scene_ground *g)
{
    int across = cv->width - 1, down = cv->height - 1, span = (g->dx != 0) * across + (g->dy != 0) * down;
    size_t row = (size_t)cv->width * 3;
    uint8_t ramp[257][3];
    for (int t = 0; t <= 256; t++)
        for (int c = 0; c < 3; c++)
            ramp[t][c] = (uint8_t)(g->from[c] + (g->to[c] - g->from[c]) * t / 256);
    int step = span ? 65536 * 256 / span : 0; /* of t, in 1/65536, for one pixel */
    for (int y = 0; y <= down; y++) {
        uint8_t *px = cv->rgb + (size_t)y * row;
        int t = step * ((g->dy > 0 ? y : g->dy < 0 ? down - y : 0) + (g->dx < 0 ? across : 0));
        if (y && !g->dy)
            memcpy(px, cv->rgb, row);
        else
            ramp_row(px, cv->width, ramp, t, step * g->dx);
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
    float width = (float)cv->width, height = (float)cv->height, x0 = width, x1 = 0, y0 = height, y1 = 0;
    for (int i = 0; i < n; i++) {
        x0 = pt[i][0] < x0 ? pt[i][0] : x0;
        x1 = pt[i][0] > x1 ? pt[i][0] : x1;
        y0 = pt[i][1] < y0 ? pt[i][1] : y0;
        y1 = pt[i][1] > y1 ? pt[i][1] : y1;
    }
    int left = (int)clampf(x0, 0, width), right = (int)clampf(x1, 0, width - 1);
    int top = (int)clampf(y0, 0, height), bottom = (int)clampf(y1, 0, height - 1);
    float row[CANVAS_WIDTH_MAX + 1], x[MAX_CROSSINGS];
    for (int y = top; y <= bottom; y++) {
        memset(row + left, 0, sizeof row[0] * (size_t)(right - left + 2));
        for (int k = 0; k < SUB_ROWS; k++) {
            int m = crossings(pt, n, (float)y + ((float)k + 0.5f) / SUB_ROWS, x);
            for (int i = 0; i + 1 < m; i += 2)
                cover(row, clampf(x[i], 0, width), clampf(x[i + 1], 0, width));
        }
        uint8_t *px = cv->rgb + ((size_t)y * (size_t)cv->width + (size_t)left) * 3;
        for (int i = left; i <= right; i++, px += 3)
            if (row[i] > 0)
                blend(px, rgb, (int)(row[i] * (256.0f / SUB_ROWS) + 0.5f));
    }
}

void canvas_object(const struct canvas *cv, const struct scene_object *o)
{
    const struct scene_shape *shape = &scene_shapes[o->shape];
    float pt[32][2];
    for (int i = 0; i < shape->points; i++) {
        pt[i][0] = (o->x + o->radius * shape->point[i][0]) * cv->scale;
        pt[i][1] = (o->y + o->radius * shape->point[i][1]) * cv->scale;
    }
    fill_outline(cv, pt, shape->points, o->rgb);
}

void canvas_box(const struct canvas *cv, float x0, float y0, float x1, float y1, const uint8_t rgb[3])
{
    float k = cv->scale;
    const float pt[4][2] = {{x0 * k, y0 * k}, {x1 * k, y0 * k}, {x1 * k, y1 * k}, {x0 * k, y1 * k}};
    fill_outline(cv, pt, 4, rgb);
}

static void draw_glyph(const struct canvas *cv, const struct scene_glyph *g, int x, int y, const uint8_t rgb[3])
{
    for (int i = 0; i < g->height; i++) {
        int py = y - g->top + i;
        if (py < 0 || py >= cv->height)
            continue;
        for (int j = 0; j < g->width; j++) {
            int px = x + g->left + j, a = g->alpha[i * g->width + j];
            if (a && px >= 0 && px < cv->width)
                blend(cv->rgb + ((size_t)py * (size_t)cv->width + (size_t)px) * 3, rgb, a + (a >> 7));
        }
    }
}

void canvas_word(const struct canvas *cv, const struct scene_fonts *fonts, const struct scene_word *w)
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
