/* PNG through libpng: every colour type and depth, interlaced, the default image of an APNG, and
 * orientation from eXIf. libpng reports by longjmp; nothing it does may end the process. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <png.h>
#include <stdio.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/limits.h"
#include "media/image_codec.h"

enum {
    CHUNK_BYTES = 8 << 20, /* the largest ancillary chunk libpng may hold */
    CHUNK_COUNT = 256,     /* and how many */
    DEFLATE_RATIO = 1040,  /* deflate cannot expand more than 1032 times */
};

struct png_reader {
    png_structp png;
    png_infop info;
    struct image_job *job;
    size_t at;
    char message[96];
};

static void reader_bytes(png_structp png, png_bytep to, size_t n)
{
    struct png_reader *r = png_get_io_ptr(png);
    if (n > r->job->bytes.len - r->at)
        png_error(png, "the file is truncated");
    memcpy(to, r->job->bytes.ptr + r->at, n);
    r->at += n;
}

static void reader_error(png_structp png, png_const_charp message)
{
    struct png_reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    png_longjmp(png, 1);
}

static void reader_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message; /* ancillary chunks only: no pixel depends on them */
}

/* 16-bit grey (with or without alpha, already in two or four samples) as Pillow reads mode I;16. */
static void clip_grey16(png_structp png, png_row_infop row, png_bytep data)
{
    (void)png;
    size_t samples = (size_t)row->width * row->channels;
    for (size_t i = 0; i < samples; i++)
        data[i] = data[2 * i] ? 255 : data[2 * i + 1];
    row->bit_depth = 8;
    row->pixel_depth = (png_byte)(8 * row->channels);
    row->rowbytes = samples;
}

/* Ask for RGB or RGBA of 8 bits whatever is stored. Returns the channels. */
static int set_transforms(struct png_reader *r)
{
    png_structp png = r->png;
    int type = png_get_color_type(png, r->info), depth = png_get_bit_depth(png, r->info);
    bool keyed = png_get_valid(png, r->info, PNG_INFO_tRNS) != 0;
    png_set_expand(png); /* palettes, fewer than 8 bits, tRNS */
    if (depth == 16 && type == PNG_COLOR_TYPE_GRAY) {
        png_set_read_user_transform_fn(png, clip_grey16);
        png_set_user_transform_info(png, NULL, 8, keyed ? 4 : 3);
    } else if (depth == 16) {
        png_set_strip_16(png);
    }
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    r->job->one_band = type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_PALETTE;
    return keyed || (type & PNG_COLOR_MASK_ALPHA) ? 4 : 3;
}

/* A tiny file cannot hold a huge picture: refuse before allocating it. */
static int check_plausible(const struct png_reader *r, uint64_t height)
{
    uint64_t raw = (uint64_t)png_get_rowbytes(r->png, r->info) * height;
    if (raw / DEFLATE_RATIO > r->job->bytes.len)
        return err_set(NUN_EFORMAT, "png: expected at least %llu bytes for %llu of pixels, found %zu",
                       (unsigned long long)(raw / DEFLATE_RATIO), (unsigned long long)raw, r->job->bytes.len);
    return 0;
}

/* Every chunk must lie within the file, up to IEND. Checked beforehand, because libpng allocates some
 * chunks by their stated length alone. The orientation is read on the way: eXIf may follow the pixels. */
static int walk_chunks(struct image_job *job)
{
    enum { SIGNATURE = 8, FRAME = 12, HEAD = 8 }; /* a frame is length, type and checksum */
    const struct span *b = &job->bytes;
    for (size_t at = SIGNATURE;;) {
        if (!ck_range(at, FRAME, b->len))
            return err_set(NUN_EFORMAT, "png: at byte %zu of %zu: the file is truncated before IEND", at, b->len);
        const uint8_t *p = (const uint8_t *)b->ptr + at;
        size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (!ck_range(at + FRAME, len, b->len))
            return err_set(NUN_EFORMAT, "png: at byte %zu of %zu: a chunk of %zu bytes is truncated", at, b->len, len);
        if (memcmp(p + 4, "IEND", 4) == 0)
            return 0;
        if (memcmp(p + 4, "eXIf", 4) == 0)
            job->orientation = exif_orientation(span_of(p + HEAD, len));
        at += FRAME + len;
    }
}

static void read_rows(struct png_reader *r)
{
    const struct image *img = r->job->out;
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    if (png_get_rowbytes(r->png, r->info) != (size_t)img->width * (size_t)img->channels)
        png_error(r->png, "the row size is inconsistent");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < img->height; y++)
            png_read_row(r->png, image_at(img, 0, y), NULL);
}

static int read_picture(struct png_reader *r)
{
    if (setjmp(png_jmpbuf(r->png)))
        return err_set(NUN_EFORMAT, "png: at byte %zu of %zu: %s", r->at, r->job->bytes.len, r->message);
    png_read_info(r->png, r->info);
    png_uint_32 width = png_get_image_width(r->png, r->info), height = png_get_image_height(r->png, r->info);
    TRY(check_plausible(r, height));
    TRY(image_job_begin(r->job, width, height, set_transforms(r)));
    if (!r->job->header_only) {
        read_rows(r);
        png_read_end(r->png, r->info);
    }
    return 0;
}

int image_read_png(struct image_job *job)
{
    struct png_reader r = {.job = job};
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, reader_error, reader_warning);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    int rc = r.info ? walk_chunks(job) : err_set(NUN_ENOMEM, "png: out of memory for the decoder");
    if (rc == 0) {
        png_set_read_fn(r.png, &r, reader_bytes);
        /* libpng's own limits stand behind ours; its sentence would be the vaguer one */
        png_set_user_limits(r.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
        png_set_chunk_malloc_max(r.png, CHUNK_BYTES);
        png_set_chunk_cache_max(r.png, CHUNK_COUNT);
        rc = read_picture(&r);
    }
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return rc;
}
