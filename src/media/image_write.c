/* The encoders, one row a format. libpng and libjpeg report by jumping; the bytes go straight into a
 * bounded buffer, whose sticky error is looked at once at the end. */
/* SPDX-License-Identifier: MIT */
#include "media/image_write.h"
#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"

/* ---- PNG ---- */

struct png_writer {
    struct buf *out;
    char message[96];
};

static void png_put(png_structp png, png_bytep from, size_t n)
{
    buf_append(((struct png_writer *)png_get_io_ptr(png))->out, from, n);
}

static void png_no_flush(png_structp png)
{
    (void)png;
}

static void png_failed(png_structp png, png_const_charp message)
{
    struct png_writer *w = png_get_error_ptr(png);
    snprintf(w->message, sizeof w->message, "%s", message);
    png_longjmp(png, 1);
}

static void png_warned(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static int put_png(png_structp png, png_infop info, const struct image *img, struct png_writer *w)
{
    static const int types[5] = {
        0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA,
    };
    if (setjmp(png_jmpbuf(png)))
        return err_set(NUN_EFORMAT, "png: %s", w->message);
    png_set_write_fn(png, w, png_put, png_no_flush);
    png_set_IHDR(png, info, (png_uint_32)img->width, (png_uint_32)img->height, 8, types[img->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < img->height; y++)
        png_write_row(png, image_at(img, 0, y));
    png_write_end(png, info);
    return 0;
}

static int encode_png(const struct image *img, int quality, struct buf *out)
{
    (void)quality;
    struct png_writer w = {.out = out};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, png_failed, png_warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int rc = info ? put_png(png, info, img, &w) : err_set(NUN_ENOMEM, "png: out of memory for the encoder");
    png_destroy_write_struct(&png, &info);
    return rc;
}

/* ---- JPEG ---- */

enum { JPEG_CHUNK = 4096 };

struct jpeg_writer {
    struct jpeg_error_mgr error;
    struct jpeg_destination_mgr to;
    struct jpeg_compress_struct jpeg;
    jmp_buf back;
    struct buf *out;
    JOCTET chunk[JPEG_CHUNK];
    char message[JMSG_LENGTH_MAX];
};

static void jpeg_failed(j_common_ptr jpeg)
{
    struct jpeg_writer *w = jpeg->client_data;
    jpeg->err->format_message(jpeg, w->message);
    longjmp(w->back, 1);
}

static void jpeg_silent(j_common_ptr jpeg)
{
    (void)jpeg;
}

static void jpeg_begin(j_compress_ptr jpeg)
{
    struct jpeg_writer *w = jpeg->client_data;
    w->to.next_output_byte = w->chunk;
    w->to.free_in_buffer = JPEG_CHUNK;
}

static boolean jpeg_full(j_compress_ptr jpeg)
{
    struct jpeg_writer *w = jpeg->client_data;
    buf_append(w->out, w->chunk, JPEG_CHUNK);
    jpeg_begin(jpeg);
    return TRUE;
}

static void jpeg_end(j_compress_ptr jpeg)
{
    struct jpeg_writer *w = jpeg->client_data;
    buf_append(w->out, w->chunk, JPEG_CHUNK - w->to.free_in_buffer);
}

static int put_jpeg(struct jpeg_writer *w, const struct image *img, int quality)
{
    if (setjmp(w->back))
        return err_set(NUN_EFORMAT, "jpeg: %s", w->message);
    jpeg_create_compress(&w->jpeg);
    w->jpeg.dest = &w->to;
    w->jpeg.image_width = (JDIMENSION)img->width;
    w->jpeg.image_height = (JDIMENSION)img->height;
    w->jpeg.input_components = img->channels;
    w->jpeg.in_color_space = img->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&w->jpeg);
    jpeg_set_quality(&w->jpeg, quality, TRUE);
    jpeg_start_compress(&w->jpeg, TRUE);
    while (w->jpeg.next_scanline < w->jpeg.image_height) {
        JSAMPROW row = image_at(img, 0, (int)w->jpeg.next_scanline);
        jpeg_write_scanlines(&w->jpeg, &row, 1);
    }
    jpeg_finish_compress(&w->jpeg);
    return 0;
}

static int encode_jpeg(const struct image *img, int quality, struct buf *out)
{
    if (img->channels != 1 && img->channels != 3)
        return err_set(NUN_EARG, "jpeg: expected 1 or 3 channels, found %d", img->channels);
    struct jpeg_writer w = {.out = out};
    w.jpeg.err = jpeg_std_error(&w.error);
    w.jpeg.client_data = &w;
    w.error.error_exit = jpeg_failed;
    w.error.output_message = jpeg_silent;
    w.to.init_destination = jpeg_begin;
    w.to.empty_output_buffer = jpeg_full;
    w.to.term_destination = jpeg_end;
    int rc = put_jpeg(&w, img, quality ? quality : 90);
    jpeg_destroy_compress(&w.jpeg);
    return rc;
}

/* ---- WebP ---- */

static int webp_put(const uint8_t *from, size_t n, const WebPPicture *picture)
{
    struct buf *out = picture->custom_ptr;
    buf_append(out, from, n);
    return buf_error(out) == 0;
}

static int webp_import(WebPPicture *picture, const struct image *img)
{
    int stride = img->width * img->channels;
    if (img->channels == 4)
        return WebPPictureImportRGBA(picture, img->data, stride);
    if (img->channels == 3)
        return WebPPictureImportRGB(picture, img->data, stride);
    struct image rgb; /* grey */
    if (image_alloc("webp", img->width, img->height, 3, &rgb) < 0)
        return 0;
    for (size_t i = 0, n = image_bytes(img); i < n; i++)
        memset(rgb.data + 3 * i, img->data[i], 3);
    int ok = WebPPictureImportRGB(picture, rgb.data, rgb.width * 3);
    image_free(&rgb);
    return ok;
}

static int put_webp(const struct image *img, const WebPConfig *config, struct buf *out)
{
    WebPPicture picture;
    if (!WebPPictureInit(&picture))
        return err_set(NUN_EUNSUP, "webp: the encoder library does not match its headers");
    picture.use_argb = config->lossless;
    picture.width = img->width;
    picture.height = img->height;
    picture.writer = webp_put;
    picture.custom_ptr = out;
    bool ok = webp_import(&picture, img) && WebPEncode(config, &picture);
    int fault = picture.error_code;
    WebPPictureFree(&picture);
    if (ok || buf_error(out))
        return 0; /* the buffer's own error is reported by the caller */
    bool memory = fault == VP8_ENC_OK || fault == VP8_ENC_ERROR_OUT_OF_MEMORY;
    return err_set(memory ? NUN_ENOMEM : NUN_EARG, "webp: expected sides of at most %d, found %dx%d (fault %d)",
                   WEBP_MAX_DIMENSION, img->width, img->height, fault);
}

static int encode_webp(const struct image *img, int quality, struct buf *out)
{
    WebPConfig config;
    if (img->channels == 2 || !WebPConfigPreset(&config, WEBP_PRESET_DEFAULT, quality ? (float)quality : 80.0f))
        return err_set(NUN_EARG, "webp: expected 1, 3 or 4 channels, found %d", img->channels);
    return put_webp(img, &config, out);
}

static int encode_webp_lossless(const struct image *img, int quality, struct buf *out)
{
    (void)quality;
    WebPConfig config;
    if (img->channels == 2 || !WebPConfigInit(&config))
        return err_set(NUN_EARG, "webp: expected 1, 3 or 4 channels, found %d", img->channels);
    config.lossless = 1;
    config.exact = 1; /* colours under full transparency too */
    return put_webp(img, &config, out);
}

/* ---- the doors ---- */

static const struct {
    const char *name;
    int (*encode)(const struct image *img, int quality, struct buf *out);
} encoders[] = {
    {"png", encode_png}, {"jpeg", encode_jpeg}, {"jpg", encode_jpeg}, {"webp", encode_webp},
    {"webp-lossless", encode_webp_lossless},
};

int image_encode(const struct image *img, const char *format, int quality, struct buf *out)
{
    if (!img->data || img->width < 1 || img->height < 1 || img->channels < 1 || img->channels > 4)
        return err_set(NUN_EARG, "%s: expected a picture, found %dx%d with %d channels", format, img->width,
                       img->height, img->channels);
    if (quality < 0 || quality > 100)
        return err_set(NUN_EARG, "%s: expected a quality of 0 to 100, found %d", format, quality);
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
        if (strcmp(encoders[i].name, format) == 0) {
            TRY(encoders[i].encode(img, quality, out));
            return buf_error(out);
        }
    return err_set(NUN_EARG, "picture: expected the format png, jpeg, webp or webp-lossless, found %s", format);
}

int image_save(const struct image *img, const char *path, int quality)
{
    const char *dot = strrchr(path_base(path), '.');
    struct buf bytes;
    buf_init(&bytes, MEM_MEDIA, LIMIT_OF(image_file_bytes));
    int rc = image_encode(img, dot ? dot + 1 : "", quality, &bytes);
    rc = rc < 0 ? err_at(rc, "%s", path) : file_write_durable(path, bytes.ptr, bytes.len);
    buf_free(&bytes);
    return rc;
}
