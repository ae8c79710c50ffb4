/* The preview styles, one row each. A row says how many pixels a character cell has for it; the
 * picture is scaled to that and handed to the row's painter, which appends escapes. */
/* SPDX-License-Identifier: MIT */
#include "media/preview.h"
#include "base/err.h"
#include "base/limits.h"
#include "media/resize.h"

enum { COLUMNS_MAX = 1000 };

/* ---- blocks: the upper half block shows its own colour above and the background's below ---- */

typedef void colour_fn(struct buf *out, bool background, const uint8_t rgb[3]);

static void colour_true(struct buf *out, bool background, const uint8_t rgb[3])
{
    buf_printf(out, "\033[%d;2;%d;%d;%dm", background ? 48 : 38, rgb[0], rgb[1], rgb[2]);
}

/* The 6x6x6 cube of the 256-colour palette: levels 0, 95, 135, 175, 215, 255. */
static int cube_level(int v)
{
    return v < 48 ? 0 : v < 115 ? 1 : (v - 35) / 40;
}

static void colour_256(struct buf *out, bool background, const uint8_t rgb[3])
{
    int index = 16 + 36 * cube_level(rgb[0]) + 6 * cube_level(rgb[1]) + cube_level(rgb[2]);
    buf_printf(out, "\033[%d;5;%dm", background ? 48 : 38, index);
}

/* A colour is set only where it changes along a line. */
static void paint_blocks(const struct image *img, colour_fn *colour, struct buf *out)
{
    static const char upper_half[] = "\xe2\x96\x80";
    for (int y = 0; y < img->height; y += 2) {
        const uint8_t *shown[2] = {NULL, NULL};
        for (int x = 0; x < img->width; x++) {
            for (int half = 0; half < 2; half++) {
                if (y + half >= img->height)
                    continue;
                const uint8_t *now = image_at(img, x, y + half);
                if (!shown[half] || memcmp(shown[half], now, 3) != 0)
                    colour(out, half == 1, now);
                shown[half] = now;
            }
            buf_str(out, upper_half);
        }
        buf_str(out, "\033[0m\n");
    }
}

static void paint_true(const struct image *img, int columns, struct buf *out)
{
    (void)columns;
    paint_blocks(img, colour_true, out);
}

static void paint_256(const struct image *img, int columns, struct buf *out)
{
    (void)columns;
    paint_blocks(img, colour_256, out);
}

/* ---- ascii: one character a pixel, by brightness ---- */

static void paint_ascii(const struct image *img, int columns, struct buf *out)
{
    static const char ramp[] = " .:-=+*#%@";
    enum { STEPS = sizeof ramp - 1 };
    (void)columns;
    for (int y = 0; y < img->height; y++) {
        for (int x = 0; x < img->width; x++) {
            const uint8_t *p = image_at(img, x, y);
            int luma = (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000;
            buf_char(out, ramp[luma * STEPS / 256]);
        }
        buf_char(out, '\n');
    }
}

/* ---- sixel: bands of six rows, a pass over the band for each of its colours ---- */

enum { LEVELS = 6, COLOURS = LEVELS * LEVELS * LEVELS, BAND = 6 };

/* The nearest level after adding half a Bayer step, so that flat areas dither instead of banding. */
static int sixel_colour(const uint8_t rgb[3], int x, int y)
{
    static const uint8_t bayer[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
    int threshold = (2 * bayer[y & 3][x & 3] + 1) * 255 / 32, index = 0;
    for (int c = 0; c < 3; c++)
        index = index * LEVELS + (rgb[c] * (LEVELS - 1) + threshold) / 255;
    return index;
}

static void sixel_run(struct buf *out, int bits, int count)
{
    if (count > 3)
        buf_printf(out, "!%d%c", count, '?' + bits);
    else
        while (count-- > 0)
            buf_char(out, (char)('?' + bits));
}

/* The six rows of column x as bits, for one colour. */
static int sixel_bits(const struct image *img, int x, int y, int colour)
{
    int bits = 0;
    for (int i = 0; i < BAND && y + i < img->height; i++)
        bits |= (sixel_colour(image_at(img, x, y + i), x, y + i) == colour) << i;
    return bits;
}

static void sixel_line(const struct image *img, int y, int colour, struct buf *out)
{
    int bits = 0, count = 0;
    buf_printf(out, "#%d", colour);
    for (int x = 0; x < img->width; x++) {
        int now = sixel_bits(img, x, y, colour);
        if (now != bits) {
            sixel_run(out, bits, count);
            count = 0;
        }
        bits = now;
        count++;
    }
    if (bits)
        sixel_run(out, bits, count);
    buf_char(out, '$');
}

static void paint_sixel(const struct image *img, int columns, struct buf *out)
{
    (void)columns;
    buf_printf(out, "\033P0;1q\"1;1;%d;%d", img->width, img->height);
    for (int i = 0; i < COLOURS; i++)
        buf_printf(out, "#%d;2;%d;%d;%d", i, i / 36 * 20, i / 6 % 6 * 20, i % 6 * 20);
    for (int y = 0; y < img->height && !buf_error(out); y += BAND) {
        bool used[COLOURS] = {false};
        for (int i = y; i < y + BAND && i < img->height; i++)
            for (int x = 0; x < img->width; x++)
                used[sixel_colour(image_at(img, x, i), x, i)] = true;
        for (int colour = 0; colour < COLOURS; colour++)
            if (used[colour])
                sixel_line(img, y, colour, out);
        buf_char(out, '-');
    }
    buf_str(out, "\033\\\n");
}

/* ---- kitty: raw RGB in base64, in chunks of at most 4096 characters ---- */

static void put_base64(const uint8_t *p, size_t n, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0u);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=',
                        i + 2 < n ? digits[v & 63] : '='};
        buf_append(out, four, 4);
    }
}

static void paint_kitty(const struct image *img, int columns, struct buf *out)
{
    enum { CHUNK = 4096 / 4 * 3 };
    size_t total = image_bytes(img);
    for (size_t at = 0; at < total; at += CHUNK) {
        bool last = total - at <= CHUNK;
        if (at == 0)
            buf_printf(out, "\033_Ga=T,q=2,f=24,s=%d,v=%d,c=%d,m=%d;", img->width, img->height, columns, !last);
        else
            buf_printf(out, "\033_Gm=%d;", !last);
        put_base64(img->data + at, last ? total - at : CHUNK, out);
        buf_str(out, "\033\\");
    }
    buf_char(out, '\n');
}

/* ---- the door ---- */

static const struct preview_row {
    const char *name;
    int cell_width, cell_height; /* pixels of a character cell, which is taken as twice as high as wide */
    bool enlarge;                /* small pictures too get all the columns */
    void (*paint)(const struct image *img, int columns, struct buf *out);
} rows[] = {
    {"blocks", 1, 2, true, paint_true},
    {"blocks256", 1, 2, true, paint_256},
    {"ascii", 1, 1, true, paint_ascii},
    {"sixel", 8, 16, false, paint_sixel},
    {"kitty", 8, 16, false, paint_kitty},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const char *preview_style(size_t i)
{
    return i < ROW_COUNT ? rows[i].name : NULL;
}

static int scaled_height(const struct image *img, const struct preview_row *row, int width)
{
    double aspect = (double)img->height / img->width * row->cell_height / (2.0 * row->cell_width);
    double height = width * aspect + 0.5;
    return height < 1 ? 1 : height > (double)LIMIT_OF(image_side) ? (int)LIMIT_OF(image_side) : (int)height;
}

static int render_rgb(const struct image *img, const struct preview_row *row, int columns, struct buf *out)
{
    int width = columns * row->cell_width;
    if (!row->enlarge && width > img->width)
        width = img->width;
    struct image scaled;
    TRY(image_resize(img, width, scaled_height(img, row, width), RESIZE_BOX, &scaled));
    row->paint(&scaled, columns, out);
    image_free(&scaled);
    return buf_error(out);
}

static int render(const struct image *img, const struct preview_row *row, int columns, struct buf *out)
{
    if (img->channels == 3)
        return render_rgb(img, row, columns, out);
    struct image flat;
    TRY(image_crop(img, 0, 0, img->width, img->height, &flat));
    int rc = image_apply_alpha(&flat, IMAGE_ALPHA_BLACK);
    if (rc == 0)
        rc = render_rgb(&flat, row, columns, out);
    image_free(&flat);
    return rc;
}

int preview_render(const struct image *img, const char *style, int columns, struct buf *out)
{
    if (!img->data || img->channels < 3 || columns < 1 || columns > COLUMNS_MAX)
        return err_set(NUN_EARG, "preview: expected an RGB picture and 1 to %d columns, found %d channels and %d",
                       COLUMNS_MAX, img->channels, columns);
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, style) == 0)
            return render(img, &rows[i], columns, out);
    return err_set(NUN_EARG, "preview: expected the style %s, %s or another known one, found %s", rows[0].name,
                   rows[1].name, style);
}
