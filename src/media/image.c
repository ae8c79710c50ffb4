/* Pictures: the table of formats, the limits, and what is common to all formats after decoding:
 * transparency and orientation. Must not know how any format is coded; see image_codec.h. */
/* SPDX-License-Identifier: MIT */
#include "media/image.h"
#include "base/buf.h"
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "media/image_codec.h"

const struct image_options image_options_default = {IMAGE_ALPHA_DROP, true};

/* A format is known by bytes at two fixed places. A row without `read` is a format that gets a
 * helpful refusal. */
struct image_codec {
    const char *name;
    struct span magic;
    size_t second_at;
    struct span second;
    image_read_fn *read;
};

static const struct image_codec codecs[] = {
    {"png",  {"\x89PNG\r\n\x1a\n", 8}, 0, {"", 0},       image_read_png},
    {"jpeg", {"\xff\xd8\xff", 3},      0, {"", 0},       image_read_jpeg},
    {"webp", {"RIFF", 4},              8, {"WEBP", 4},   image_read_webp},
    {"gif",  {"GIF8", 4},              0, {"", 0},       NULL},
    {"bmp",  {"BM", 2},                0, {"", 0},       NULL},
    {"tiff", {"II*\0", 4},             0, {"", 0},       NULL},
    {"tiff", {"MM\0*", 4},             0, {"", 0},       NULL},
    {"avif", {"", 0},                  4, {"ftypavif", 8}, NULL},
    {"heif", {"", 0},                  4, {"ftyp", 4},   NULL},
    {"jpeg xl", {"\xff\x0a", 2},       0, {"", 0},       NULL},
    {"jpeg 2000", {"\0\0\0\x0cjP  ", 8}, 0, {"", 0},     NULL},
};
enum { CODEC_COUNT = sizeof codecs / sizeof *codecs };
static const char codec_names[] = "png, jpeg or webp";

static const struct image_codec *codec_find(struct span bytes)
{
    for (size_t i = 0; i < CODEC_COUNT; i++)
        if (span_starts(bytes, codecs[i].magic) && span_starts(span_from(bytes, codecs[i].second_at), codecs[i].second))
            return &codecs[i];
    return NULL;
}

int image_alloc(const char *place, int64_t width, int64_t height, int channels, struct image *out)
{
    *out = (struct image){0};
    if (width < 1 || height < 1 || channels < 1 || channels > 4)
        return err_set(NUN_EARG, "%s: expected a picture of at least 1x1, found %lldx%lld", place,
                       (long long)width, (long long)height);
    TRY(limit_check(LIMIT_image_side, (size_t)(width > height ? width : height), place));
    size_t pixels, bytes;
    if (ck_mul((size_t)width, (size_t)height, &pixels) || ck_mul(pixels, (size_t)channels, &bytes))
        return err_set(NUN_ELIMIT, "%s: %lldx%lld pixels do not fit memory", place, (long long)width,
                       (long long)height);
    TRY(limit_check(LIMIT_image_pixels, pixels, place));
    out->data = mem_alloc(MEM_MEDIA, bytes);
    if (!out->data)
        return NUN_ENOMEM;
    out->width = (int)width;
    out->height = (int)height;
    out->channels = channels;
    return 0;
}

void image_free(struct image *img)
{
    if (!img)
        return;
    mem_free(img->data);
    *img = (struct image){0};
}

static int check_header(const struct image_job *job, uint64_t width, uint64_t height)
{
    if (width < 1 || height < 1)
        return err_set(NUN_EFORMAT, "%s header: expected sides of at least 1, found %llux%llu", job->format,
                       (unsigned long long)width, (unsigned long long)height);
    size_t side, pixels;
    if (ck_cast(width > height ? width : height, &side) || ck_mul((size_t)width, (size_t)height, &pixels))
        side = pixels = SIZE_MAX;
    int rc = limit_check(LIMIT_image_side, side, "header");
    if (rc == 0)
        rc = limit_check(LIMIT_image_pixels, pixels, "header");
    return rc < 0 ? err_at(rc, "%s", job->format) : 0;
}

int image_job_begin(struct image_job *job, uint64_t width, uint64_t height, int channels)
{
    TRY(check_header(job, width, height));
    job->width = (int)width;
    job->height = (int)height;
    job->has_alpha = channels == 4;
    if (job->header_only)
        return 0;
    return image_alloc(job->format, (int64_t)width, (int64_t)height, channels, job->out);
}

static int run_codec(struct image_job *job)
{
    TRY(limit_check(LIMIT_image_file_bytes, job->bytes.len, "picture file"));
    const struct image_codec *codec = codec_find(job->bytes);
    if (!codec)
        return err_set(NUN_EFORMAT, "picture: expected %s, found %s", codec_names,
                       job->bytes.len ? "an unknown beginning" : "no bytes");
    if (!codec->read)
        return err_set(NUN_EUNSUP, "picture: expected %s, found %s", codec_names, codec->name);
    job->format = codec->name;
    return codec->read(job);
}

/* ---- transparency ---- */

static unsigned blend_rounded(unsigned colour, unsigned alpha, unsigned background)
{
    unsigned t = colour * alpha + background * (255 - alpha) + 128;
    return (t + (t >> 8)) >> 8;
}

static unsigned blend_cut(unsigned colour, unsigned alpha, unsigned background)
{
    double share = alpha / 255.0;
    return (unsigned)((1 - share) * background + share * colour);
}

static unsigned blend_none(unsigned colour, unsigned alpha, unsigned background)
{
    (void)alpha, (void)background;
    return colour;
}

typedef unsigned blend_fn(unsigned colour, unsigned alpha, unsigned background);

/* Front to back: a pixel of three bytes never overtakes its source of four. */
static void rgba_to_rgb(struct image *img, blend_fn *blend, unsigned background)
{
    const uint8_t *from = img->data;
    uint8_t *to = img->data;
    size_t count = (size_t)img->width * (size_t)img->height;
    for (size_t i = 0; i < count; i++, from += 4, to += 3) {
        unsigned alpha = from[3];
        for (int c = 0; c < 3; c++)
            to[c] = (uint8_t)blend(from[c], alpha, background);
    }
    img->channels = 3;
}

static int rgb_to_rgba(struct image *img)
{
    struct image wide;
    TRY(image_alloc("picture", img->width, img->height, 4, &wide));
    size_t count = (size_t)img->width * (size_t)img->height;
    for (size_t i = 0; i < count; i++) {
        memcpy(wide.data + i * 4, img->data + i * 3, 3);
        wide.data[i * 4 + 3] = 255;
    }
    image_free(img);
    *img = wide;
    return 0;
}

int image_apply_alpha(struct image *img, enum image_alpha alpha)
{
    static const struct { blend_fn *blend; uint8_t background; } rows[IMAGE_ALPHA_COUNT] = {
        [IMAGE_ALPHA_DROP] = {blend_none, 0},
        [IMAGE_ALPHA_WHITE] = {blend_rounded, 255},
        [IMAGE_ALPHA_BLACK] = {blend_rounded, 0},
        [IMAGE_ALPHA_WHITE_CUT] = {blend_cut, 255},
    };
    if ((unsigned)alpha >= IMAGE_ALPHA_COUNT || img->channels < 3)
        return err_set(NUN_EARG, "picture: expected an alpha rule and RGB, found rule %d and %d channels",
                       (int)alpha, img->channels);
    if (alpha == IMAGE_ALPHA_KEEP)
        return img->channels == 4 ? 0 : rgb_to_rgba(img);
    if (img->channels == 3)
        return 0;
    rgba_to_rgb(img, rows[alpha].blend, rows[alpha].background);
    uint8_t *smaller = mem_realloc(MEM_MEDIA, img->data, image_bytes(img));
    if (!smaller)
        return NUN_ENOMEM;
    img->data = smaller;
    return 0;
}

/* ---- orientation ---- */

/* Where the upright pixel (x, y) is stored: swap exchanges the axes, flips count from the far end of
 * the stored one. */
static const struct { bool swap, flip_x, flip_y; } orientations[9] = {
    [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
    [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
    [8] = {true, true, false},
};

int image_orient(struct image *img, int orientation)
{
    if (orientation < 1 || orientation > 8)
        return err_set(NUN_EARG, "picture: expected an orientation of 1 to 8, found %d", orientation);
    if (orientation == 1)
        return 0;
    bool swap = orientations[orientation].swap;
    struct image up;
    TRY(image_alloc("picture", swap ? img->height : img->width, swap ? img->width : img->height, img->channels, &up));
    ptrdiff_t step_x = img->channels, step_y = (ptrdiff_t)img->width * img->channels;
    const uint8_t *corner = img->data;
    if (orientations[orientation].flip_x) {
        corner += (img->width - 1) * step_x;
        step_x = -step_x;
    }
    if (orientations[orientation].flip_y) {
        corner += (img->height - 1) * step_y;
        step_y = -step_y;
    }
    ptrdiff_t along = swap ? step_y : step_x, down = swap ? step_x : step_y;
    uint8_t *to = up.data;
    for (int y = 0; y < up.height; y++) {
        const uint8_t *from = corner + y * down;
        for (int x = 0; x < up.width; x++, from += along)
            for (int c = 0; c < up.channels; c++)
                *to++ = from[c];
    }
    image_free(img);
    *img = up;
    return 0;
}

/* ---- the doors ---- */

static int finish(struct image_job *job, const struct image_options *opt)
{
    TRY(image_apply_alpha(job->out, opt->alpha));
    if (opt->apply_orientation)
        TRY(image_orient(job->out, job->orientation));
    job->out->one_band = job->one_band;
    return 0;
}

int image_decode(struct span bytes, const struct image_options *opt, struct image *out)
{
    *out = (struct image){0};
    struct image_job job = {.bytes = bytes, .orientation = 1, .out = out};
    int rc = run_codec(&job);
    if (rc == 0)
        rc = finish(&job, opt ? opt : &image_options_default);
    if (rc < 0)
        image_free(out);
    return rc;
}

int image_probe(struct span bytes, const struct image_options *opt, struct image_info *out)
{
    struct image_job job = {.bytes = bytes, .orientation = 1, .header_only = true};
    TRY(run_codec(&job));
    bool turn = (opt ? opt : &image_options_default)->apply_orientation && orientations[job.orientation].swap;
    *out = (struct image_info){job.format, turn ? job.height : job.width, turn ? job.width : job.height,
                               job.orientation, job.has_alpha};
    return 0;
}

int image_load(const char *path, const struct image_options *opt, struct image *out)
{
    *out = (struct image){0};
    struct buf bytes;
    buf_init(&bytes, MEM_MEDIA, LIMIT_OF(image_file_bytes));
    int rc = file_read(path, &bytes);
    if (rc == 0) {
        rc = image_decode(buf_view(&bytes), opt, out);
        if (rc < 0)
            err_at(rc, "%s", path);
    }
    buf_free(&bytes);
    return rc;
}
