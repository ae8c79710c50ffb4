/* Drawing of a large picture: its pieces onto a canvas, a unit a pixel. Knows nothing of layout or questions. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "data/hd.h"
#include "data/scenes_canvas.h"

static void draw_chart(const struct canvas *cv, const struct hd_chart *c)
{
    const float line = 4;
    for (int i = 0; i < c->count; i++) {
        const struct scene_bar *b = &c->bar[i];
        canvas_box(cv, b->left, c->base - b->height, b->right, c->base, b->rgb);
    }
    canvas_box(cv, c->left - line, c->base, c->left + c->width, c->base + line, c->axis);
    canvas_box(cv, c->left - line, c->base - c->height, c->left, c->base, c->axis);
}

int hd_draw(const struct hd_scene *s, uint8_t *rgb)
{
    int columns = s->grid.columns, rows = s->grid.rows;
    if (columns < 1 || rows < 1 || columns * rows > HD_MAX_TILES || s->width != columns * HD_TILE ||
        s->height != rows * HD_TILE || !s->fonts)
        return err_set(NUN_EARG, "hd_draw: expected a scene of hd_make, found %d x %d tiles of %d x %d pixels%s", columns,
                       rows, s->width, s->height, s->fonts ? "" : " without fonts");
    struct canvas cv = {rgb, s->width, s->height, 1};
    canvas_ground(&cv, &s->ground);
    if (s->chart.count)
        draw_chart(&cv, &s->chart);
    for (int i = 0; i < s->count; i++)
        canvas_object(&cv, &s->object[i]);
    for (int i = 0; i < s->words; i++) {
        const struct hd_word *w = &s->word[i];
        canvas_box(&cv, w->left, w->top, w->right, w->bottom, w->rgb);
        canvas_word(&cv, s->fonts, &w->print);
    }
    if (s->heading.chars[0])
        canvas_word(&cv, s->fonts, &s->heading);
    return 0;
}
