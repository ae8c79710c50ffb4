/* Resizing as Pillow does. For every output position the filter, stretched by the scale when
 * shrinking, gives weights over a run of input positions; the weights are normalised in double and
 * then rounded to 22 fractional bits, which makes the passes pure integer sums of fixed order. */
/* SPDX-License-Identifier: MIT */
#include "media/resize.h"
#include <math.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

enum { WEIGHT_BITS = 32 - 8 - 2, WEIGHT_HALF = 1 << (WEIGHT_BITS - 1) };

/* ---- filters: weight at distance x from the centre ---- */

static double filter_box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double filter_bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double filter_hamming(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= M_PI;
    return sin(x) / x * (0.54f + 0.46f * cos(x)); /* float constants, as the reference has them */
}

/* Keys' cubic with a = -1/2. */
static double filter_bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double filter_lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct filter_row {
    const char *name;
    double (*weight)(double x); /* NULL: no weights, one source pixel each */
    double support;             /* weight is 0 beyond +-support */
} filters[RESIZE_FILTER_COUNT] = {
    [RESIZE_NEAREST] = {"nearest", NULL, 0.0},
    [RESIZE_LANCZOS] = {"lanczos", filter_lanczos, 3.0},
    [RESIZE_BILINEAR] = {"bilinear", filter_bilinear, 1.0},
    [RESIZE_BICUBIC] = {"bicubic", filter_bicubic, 2.0},
    [RESIZE_BOX] = {"box", filter_box, 0.5},
    [RESIZE_HAMMING] = {"hamming", filter_hamming, 1.0},
};

const char *resize_filter_name(enum resize_filter filter)
{
    return (unsigned)filter < RESIZE_FILTER_COUNT ? filters[filter].name : "?";
}

int resize_filter_find(const char *name)
{
    for (int i = 0; i < RESIZE_FILTER_COUNT; i++)
        if (strcmp(filters[i].name, name) == 0)
            return i;
    return -1;
}

/* ---- the weights of one axis ---- */

struct taps {
    int out, most;     /* output positions; most weights of any of them */
    int *first, *count; /* [out] */
    int32_t *weight;   /* [out, most] */
};

static void taps_free(struct taps *t)
{
    mem_free(t->first);
    mem_free(t->count);
    mem_free(t->weight);
    *t = (struct taps){0};
}

/* Weights of one output position into w[most], normalised in place; returns how many. */
static int tap_weights(const struct filter_row *f, double scale, int in, int at, int *first, double *w)
{
    double stretch = scale < 1.0 ? 1.0 : scale, reach = f->support * stretch;
    double centre = (at + 0.5) * scale, shrink = 1.0 / stretch, sum = 0.0;
    int lo = (int)(centre - reach + 0.5), hi = (int)(centre + reach + 0.5);
    lo = lo < 0 ? 0 : lo;
    hi = hi > in ? in : hi;
    for (int i = 0; i < hi - lo; i++) {
        w[i] = f->weight((i + lo - centre + 0.5) * shrink);
        sum += w[i];
    }
    for (int i = 0; sum != 0.0 && i < hi - lo; i++)
        w[i] /= sum;
    *first = lo;
    return hi - lo;
}

static int taps_make(const struct filter_row *f, int in, int out, struct taps *t)
{
    double scale = (double)in / out, stretch = scale < 1.0 ? 1.0 : scale;
    *t = (struct taps){.out = out, .most = (int)ceil(f->support * stretch) * 2 + 1};
    size_t total;
    if (ck_mul((size_t)out, (size_t)t->most, &total))
        return err_set(NUN_ELIMIT, "resize: %d x %d weights do not fit memory", out, t->most);
    double *w = mem_calloc(MEM_MEDIA, (size_t)t->most, sizeof *w);
    t->first = mem_calloc(MEM_MEDIA, (size_t)out, sizeof *t->first);
    t->count = mem_calloc(MEM_MEDIA, (size_t)out, sizeof *t->count);
    t->weight = mem_calloc(MEM_MEDIA, total, sizeof *t->weight);
    bool ok = w && t->first && t->count && t->weight;
    for (int x = 0; ok && x < out; x++) {
        t->count[x] = tap_weights(f, scale, in, x, &t->first[x], w);
        for (int i = 0; i < t->count[x]; i++)
            t->weight[(size_t)x * (size_t)t->most + (size_t)i] =
                (int32_t)((w[i] < 0 ? -0.5 : 0.5) + w[i] * (1 << WEIGHT_BITS));
    }
    mem_free(w);
    if (!ok)
        taps_free(t);
    return ok ? 0 : NUN_ENOMEM;
}

static inline uint8_t to_byte(int32_t sum)
{
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* ---- the passes ---- */

/* One row, from [in, channels] to [out, channels]. `channels` is a constant at every call below. */
static inline __attribute__((always_inline)) void across_row(const uint8_t *from, const struct taps *t, uint8_t *to,
                                                             int channels)
{
    for (int x = 0; x < t->out; x++, to += channels) {
        const uint8_t *p = from + (size_t)t->first[x] * (size_t)channels;
        const int32_t *w = t->weight + (size_t)x * (size_t)t->most;
        int32_t sum[4] = {WEIGHT_HALF, WEIGHT_HALF, WEIGHT_HALF, WEIGHT_HALF};
        for (int i = 0; i < t->count[x]; i++, p += channels)
            for (int c = 0; c < channels; c++)
                sum[c] += p[c] * w[i];
        for (int c = 0; c < channels; c++)
            to[c] = to_byte(sum[c]);
    }
}

static void across_row1(const uint8_t *from, const struct taps *t, uint8_t *to) { across_row(from, t, to, 1); }
static void across_row2(const uint8_t *from, const struct taps *t, uint8_t *to) { across_row(from, t, to, 2); }
static void across_row3(const uint8_t *from, const struct taps *t, uint8_t *to) { across_row(from, t, to, 3); }
static void across_row4(const uint8_t *from, const struct taps *t, uint8_t *to) { across_row(from, t, to, 4); }

typedef void across_fn(const uint8_t *from, const struct taps *t, uint8_t *to);
static across_fn *const across_rows[5] = {NULL, across_row1, across_row2, across_row3, across_row4};

/* ---- rows of the view ---- */

/* Rows of bytes of which the last few are kept: row r lies at r % kept. */
struct lines { uint8_t *data; size_t stride, bytes; int kept; };

static uint8_t *line_at(const struct lines *l, int row)
{
    return l->data + (size_t)(row % l->kept) * l->stride;
}

static int lines_make(int kept, size_t bytes, struct lines *out)
{
    *out = (struct lines){mem_calloc(MEM_MEDIA, (size_t)kept, bytes), bytes, bytes, kept};
    return out->data ? 0 : NUN_ENOMEM;
}

struct source {
    const struct image *img;
    struct image_view view;
    uint8_t *line; /* a row that is put together; NULL when none has to be */
};

static bool view_within(const struct source *s)
{
    const struct image_view *v = &s->view;
    return v->x <= 0 && v->y <= 0 && s->img->width + v->x >= v->width && s->img->height + v->y >= v->height;
}

static void paint(const struct image_view *v, int channels, int from, int to, uint8_t *line)
{
    for (int x = from; x < to; x++)
        memcpy(line + (size_t)x * (size_t)channels, v->colour, (size_t)channels);
}

/* A row of the view: the picture's own, or one put together. */
static const uint8_t *source_row(const struct source *s, int row)
{
    const struct image_view *v = &s->view;
    int channels = s->img->channels, y = row - v->y, end = v->x + s->img->width;
    if (!s->line)
        return image_at(s->img, -v->x, y);
    int from = v->x > 0 ? v->x : 0, to = end < v->width ? end : v->width;
    if (y < 0 || y >= s->img->height || from >= to)
        from = to = v->width;
    paint(v, channels, 0, from, s->line);
    if (from < to)
        memcpy(s->line + (size_t)from * (size_t)channels, image_at(s->img, from - v->x, y),
               (size_t)(to - from) * (size_t)channels);
    paint(v, channels, to, v->width, s->line);
    return s->line;
}

/* ---- both passes at once: what lies between them is a few rows and never a picture ---- */

struct passes {
    struct source from;
    struct taps across, down; /* an axis of unchanged length has none */
    bool down_first;
    struct lines input;       /* what goes down first: the picture itself, or the rows in use */
    struct lines between;     /* what was across first, or one row that was down first */
    int next;                 /* first row that was not yet fetched into one of them */
};

/* Rows are summed in strips narrow enough for the sums to stay in the first cache. */
enum { STRIP = 1024 };

static void down_strip(const struct lines *in, const struct taps *t, int y, size_t at, size_t n, uint8_t *to)
{
    int32_t sum[STRIP];
    const int32_t *w = t->weight + (size_t)y * (size_t)t->most;
    for (size_t x = 0; x < n; x++)
        sum[x] = WEIGHT_HALF;
    for (int i = 0; i < t->count[y]; i++) {
        const uint8_t *from = line_at(in, t->first[y] + i) + at;
        for (size_t x = 0; x < n; x++)
            sum[x] += from[x] * w[i];
    }
    for (size_t x = 0; x < n; x++)
        to[x] = to_byte(sum[x]);
}

static void down_row(const struct lines *in, const struct taps *t, int y, uint8_t *to)
{
    for (size_t at = 0; at < in->bytes; at += STRIP)
        down_strip(in, t, y, at, in->bytes - at < STRIP ? in->bytes - at : STRIP, to + at);
}

/* The rows that output row y needs, as far as they are not there yet. */
static void fetch_rows(struct passes *p, int y)
{
    across_fn *across = across_rows[p->from.img->channels];
    int end = p->down.first[y] + p->down.count[y];
    for (p->next = p->next > p->down.first[y] ? p->next : p->down.first[y]; p->next < end; p->next++)
        if (p->across.out && !p->down_first)
            across(source_row(&p->from, p->next), &p->across, line_at(&p->between, p->next));
        else if (p->from.line)
            memcpy(line_at(&p->input, p->next), source_row(&p->from, p->next), p->input.bytes);
}

static void run_row(struct passes *p, int y, uint8_t *to)
{
    across_fn *across = across_rows[p->from.img->channels];
    if (!p->down.out) {
        across(source_row(&p->from, y), &p->across, to);
        return;
    }
    fetch_rows(p, y);
    if (!p->across.out) {
        down_row(&p->input, &p->down, y, to);
    } else if (p->down_first) {
        down_row(&p->input, &p->down, y, p->between.data);
        across(p->between.data, &p->across, to);
    } else {
        down_row(&p->between, &p->down, y, to);
    }
}

static void passes_drop(struct passes *p)
{
    taps_free(&p->across);
    taps_free(&p->down);
    mem_free(p->between.data);
    if (p->from.line)
        mem_free(p->input.data);
    mem_free(p->from.line);
}

/* Memory for what the passes keep. out: where they lead. */
static int passes_make(struct passes *p, const struct filter_row *f, const struct image *out)
{
    const struct image *img = p->from.img;
    const struct image_view *v = &p->from.view;
    size_t channels = (size_t)img->channels, bytes = (size_t)v->width * channels;
    if (v->width != out->width)
        TRY(taps_make(f, v->width, out->width, &p->across));
    if (v->height != out->height)
        TRY(taps_make(f, v->height, out->height, &p->down));
    if (!view_within(&p->from) && !(p->from.line = mem_calloc(MEM_MEDIA, 1, bytes)))
        return NUN_ENOMEM;
    if (p->from.line && p->down.out)
        TRY(lines_make(p->down.most, bytes, &p->input));
    if (!p->from.line)
        p->input = (struct lines){image_at(img, -v->x, -v->y), (size_t)img->width * channels, bytes, v->height};
    if (p->across.out && p->down.out && p->down_first)
        return lines_make(1, bytes, &p->between);
    if (p->across.out && p->down.out)
        return lines_make(p->down.most, (size_t)out->width * channels, &p->between);
    return 0;
}

/* ---- nearest: positions are stepped by addition, as the reference does, rounding included ---- */

static int *nearest_positions(int in, int out)
{
    int *from = mem_calloc(MEM_MEDIA, (size_t)out, sizeof *from);
    double step = (double)in / out, at = step * 0.5;
    for (int i = 0; from && i < out; i++, at += step)
        from[i] = (int)at < in ? (int)at : in; /* `in` marks a position that rounding pushed outside */
    return from;
}

static int resize_nearest(const struct source *s, struct image *out)
{
    const struct image *in = s->img;
    const struct image_view *v = &s->view;
    int *column = nearest_positions(v->width, out->width), *row = nearest_positions(v->height, out->height);
    size_t n = (size_t)in->channels;
    bool ok = column && row;
    for (int y = 0; ok && y < out->height; y++) {
        uint8_t *to = image_at(out, 0, y);
        for (int x = 0; x < out->width; x++, to += n) {
            int from_x = column[x] - v->x, from_y = row[y] - v->y;
            if (column[x] == v->width || row[y] == v->height)
                memset(to, 0, n);
            else if (from_x >= 0 && from_x < in->width && from_y >= 0 && from_y < in->height)
                memcpy(to, image_at(in, from_x, from_y), n);
            else
                memcpy(to, v->colour, n);
        }
    }
    mem_free(column);
    mem_free(row);
    return ok ? 0 : NUN_ENOMEM;
}

/* ---- premultiplication: transparent pixels must not bleed their colour ---- */

static void premultiply(struct image *img)
{
    uint8_t *p = img->data;
    for (size_t i = (size_t)img->width * (size_t)img->height; i > 0; i--, p += 4)
        for (int c = 0; c < 3; c++) {
            unsigned v = p[c] * (unsigned)p[3] + 128;
            p[c] = (uint8_t)((v + (v >> 8)) >> 8);
        }
}

static void unpremultiply(struct image *img)
{
    uint8_t *p = img->data;
    for (size_t i = (size_t)img->width * (size_t)img->height; i > 0; i--, p += 4) {
        if (p[3] == 0 || p[3] == 255)
            continue;
        for (int c = 0; c < 3; c++) {
            unsigned v = 255u * p[c] / p[3];
            p[c] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

/* ---- the doors ---- */

static int image_copy(const struct image *in, struct image *out)
{
    TRY(image_alloc("resize", in->width, in->height, in->channels, out));
    memcpy(out->data, in->data, image_bytes(in));
    return 0;
}

/* Pillow 13 goes down first where the height loses more than twice what the width does. */
static bool goes_down_first(const struct image_view *v, int width, int height, enum resize_order order)
{
    int64_t less_width = (int64_t)v->width - width, less_height = (int64_t)v->height - height;
    if (order == RESIZE_ORDER_13_TURNED)
        return !(less_width > 0 && less_width > 2 * less_height);
    return order == RESIZE_ORDER_13 && less_height > 0 && less_height > 2 * less_width;
}

static int resize_passes(const struct source *s, const struct filter_row *f, bool down_first, struct image *out)
{
    struct passes p = {.from = *s, .down_first = down_first};
    int rc = passes_make(&p, f, out);
    for (int y = 0; rc == 0 && y < out->height; y++)
        if (p.across.out || p.down.out)
            run_row(&p, y, image_at(out, 0, y));
        else
            memcpy(image_at(out, 0, y), source_row(&p.from, y), (size_t)out->width * (size_t)out->channels);
    passes_drop(&p);
    return rc;
}

static int resize_rgba(const struct source *s, const struct filter_row *f, bool down_first, struct image *out)
{
    struct image even;
    struct source from = *s;
    TRY(image_copy(s->img, &even));
    premultiply(&even);
    from.img = &even;
    int rc = resize_passes(&from, f, down_first, out);
    if (rc == 0)
        unpremultiply(out);
    image_free(&even);
    return rc;
}

static int check_resize(const struct image *in, const struct image_view *v, int width, int height, int filter)
{
    if ((unsigned)filter >= RESIZE_FILTER_COUNT || !in->data)
        return err_set(NUN_EARG, "resize: expected a picture and a filter 0 to %d, found filter %d",
                       RESIZE_FILTER_COUNT - 1, filter);
    if (width < 1 || height < 1 || v->width < 1 || v->height < 1)
        return err_set(NUN_EARG, "resize: expected sides of at least 1, found %dx%d from %dx%d", width, height,
                       v->width, v->height);
    if (in->channels == 4 && (v->x || v->y || v->width != in->width || v->height != in->height))
        return err_set(NUN_EARG, "resize: expected the whole of a picture with alpha, found a view of %dx%d at %d,%d",
                       v->width, v->height, v->x, v->y);
    TRY(limit_check(LIMIT_image_side, (size_t)(width > height ? width : height), "resize"));
    return limit_check(LIMIT_image_side, (size_t)(v->width > v->height ? v->width : v->height), "resize");
}

int image_resize_view(const struct image *in, const struct image_view *view, int width, int height,
                      enum resize_filter filter, enum resize_order order, struct image *out)
{
    struct source from = {.img = in, .view = *view};
    const struct filter_row *f = &filters[(unsigned)filter < RESIZE_FILTER_COUNT ? filter : 0];
    bool same = width == view->width && height == view->height;
    bool down_first = goes_down_first(view, width, height, order);
    *out = (struct image){0};
    TRY(check_resize(in, view, width, height, (int)filter));
    TRY(image_alloc("resize", width, height, in->channels, out));
    int rc = !f->weight && !same        ? resize_nearest(&from, out)
             : in->channels == 4 && !same ? resize_rgba(&from, f, down_first, out)
                                        : resize_passes(&from, f, down_first, out);
    if (rc < 0)
        image_free(out);
    return rc;
}

int image_resize_ordered(const struct image *in, int width, int height, enum resize_filter filter,
                         enum resize_order order, struct image *out)
{
    struct image_view whole = {.width = in->width, .height = in->height};
    return image_resize_view(in, &whole, width, height, filter, order, out);
}

int image_resize(const struct image *in, int width, int height, enum resize_filter filter, struct image *out)
{
    return image_resize_ordered(in, width, height, filter, RESIZE_ORDER_13, out);
}

int image_crop(const struct image *in, int x, int y, int width, int height, struct image *out)
{
    *out = (struct image){0};
    if (x < 0 || y < 0 || width < 1 || height < 1 || width > in->width - x || height > in->height - y)
        return err_set(NUN_EARG, "crop: expected a rectangle within %dx%d, found %dx%d at %d,%d", in->width, in->height,
                       width, height, x, y);
    TRY(image_alloc("crop", width, height, in->channels, out));
    for (int row = 0; row < height; row++)
        memcpy(image_at(out, 0, row), image_at(in, x, y + row), (size_t)width * (size_t)in->channels);
    return 0;
}
