/* JPEG through libjpeg(-turbo): baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK; EXIF
 * orientation. libjpeg reports by its error manager, which here jumps back; warnings that mean lost
 * picture data are errors. A large progressive file is written again as a baseline one, so that its
 * coefficients and its pixels are never in memory together. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "media/image_codec.h"

enum { CHUNK = 1 << 13 };

struct jpeg_reader {
    struct jpeg_error_mgr error;       /* first: libjpeg hands back pointers to it */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    jmp_buf back;
    struct image_job *job;
    uint8_t *row;                      /* one CMYK row, or NULL */
    struct jpeg_compress_struct writer;
    struct jpeg_destination_mgr baseline_to;
    struct buf baseline;               /* the file once more */
    uint8_t chunk[CHUNK];
    char message[JMSG_LENGTH_MAX];
};

static void reader_error(j_common_ptr jpeg)
{
    struct jpeg_reader *r = jpeg->client_data;
    jpeg->err->format_message(jpeg, r->message);
    longjmp(r->back, 1);
}

/* Level -1 is a warning. Only those that replace picture data by a guess are fatal. */
static void reader_message(j_common_ptr jpeg, int level)
{
    static const int lossy[] = {JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_JPEG_EOF, JWRN_ARITH_BAD_CODE,
                                JWRN_MUST_RESYNC};
    for (size_t i = 0; level < 0 && i < sizeof lossy / sizeof *lossy; i++)
        if (jpeg->err->msg_code == lossy[i])
            reader_error(jpeg);
}

static void reader_silent(j_common_ptr jpeg)
{
    (void)jpeg;
}

/* Thousands of empty progressive scans are an attack on the clock. */
static void reader_progress(j_common_ptr jpeg)
{
    struct jpeg_reader *r = jpeg->client_data;
    if (jpeg->is_decompressor && (size_t)r->jpeg.input_scan_number > LIMIT_OF(image_scans)) {
        snprintf(r->message, sizeof r->message, "more than %zu scans", LIMIT_OF(image_scans));
        longjmp(r->back, 1);
    }
}

static int jpeg_place(const struct jpeg_reader *r)
{
    size_t len = r->job->bytes.len, left = r->jpeg.src ? r->jpeg.src->bytes_in_buffer : len;
    int code = r->error.msg_code == JERR_OUT_OF_MEMORY ? NUN_ENOMEM : NUN_EFORMAT;
    return err_set(code, "jpeg: at byte %zu of %zu: %s", left <= len ? len - left : len, len, r->message);
}

static void read_orientation(struct jpeg_reader *r)
{
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m; m = m->next) {
        struct span data = {(const char *)m->data, m->data_length};
        if (span_starts(data, (struct span){"Exif\0\0", 6})) {
            r->job->orientation = exif_orientation(data);
            return;
        }
    }
}

/* Inverted CMYK (as Adobe writes it, and as nearly every CMYK JPEG is) to RGB: with inverted inks,
 * a colour is ink * black / 255, rounded. */
static void cmyk_row(const uint8_t *from, uint8_t *to, int width)
{
    for (int x = 0; x < width; x++, from += 4, to += 3)
        for (int c = 0; c < 3; c++) {
            unsigned t = (255u - from[c]) * from[3] + 128;
            int v = from[3] - (int)((t + (t >> 8)) >> 8);
            to[c] = (uint8_t)(v < 0 ? 0 : v);
        }
}

static void read_rows(struct jpeg_reader *r)
{
    const struct image *img = r->job->out;
    jpeg_start_decompress(&r->jpeg);
    while (r->jpeg.output_scanline < r->jpeg.output_height) {
        uint8_t *to = image_at(img, 0, (int)r->jpeg.output_scanline);
        JSAMPROW row = r->row ? r->row : to;
        jpeg_read_scanlines(&r->jpeg, &row, 1);
        if (r->row)
            cmyk_row(r->row, to, img->width);
    }
    jpeg_finish_decompress(&r->jpeg);
}

/* ---- a large progressive file ------------------------------------------------------------- */

static void chunk_begin(j_compress_ptr jpeg)
{
    struct jpeg_reader *r = jpeg->client_data;
    jpeg->dest->next_output_byte = r->chunk;
    jpeg->dest->free_in_buffer = sizeof r->chunk;
}

static void chunk_take(struct jpeg_reader *r, size_t n)
{
    buf_append(&r->baseline, r->chunk, n);
    if (buf_error(&r->baseline) < 0) {
        r->error.msg_code = buf_error(&r->baseline) == NUN_ENOMEM ? JERR_OUT_OF_MEMORY : 0;
        snprintf(r->message, sizeof r->message, "more than %zu bytes as a baseline file, or no memory for them", r->baseline.max);
        longjmp(r->back, 1);
    }
}

static boolean chunk_full(j_compress_ptr jpeg)
{
    struct jpeg_reader *r = jpeg->client_data;
    chunk_take(r, sizeof r->chunk);
    chunk_begin(jpeg);
    return TRUE;
}

static void chunk_end(j_compress_ptr jpeg)
{
    struct jpeg_reader *r = jpeg->client_data;
    chunk_take(r, sizeof r->chunk - jpeg->dest->free_in_buffer);
}

static bool is_large(const struct jpeg_reader *r)
{
    uint64_t bytes = 0;
    for (int i = 0; i < r->jpeg.num_components; i++)
        bytes += (uint64_t)r->jpeg.comp_info[i].width_in_blocks * r->jpeg.comp_info[i].height_in_blocks * sizeof(JBLOCK);
    return bytes > LIMIT_OF(image_coefficients);
}

static void open_bytes(struct jpeg_reader *r, struct span bytes)
{
    jpeg_mem_src(&r->jpeg, (const unsigned char *)bytes.ptr, bytes.len);
    jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->jpeg, TRUE);
}

/* The same coefficients in one scan: libjpeg then needs them a row of blocks at a time. */
static void write_baseline(struct jpeg_reader *r)
{
    jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&r->jpeg);
    r->writer.err = &r->error;
    r->writer.client_data = r;
    jpeg_create_compress(&r->writer);
    r->baseline_to = (struct jpeg_destination_mgr){
        .init_destination = chunk_begin, .empty_output_buffer = chunk_full, .term_destination = chunk_end};
    r->writer.dest = &r->baseline_to;
    jpeg_copy_critical_parameters(&r->jpeg, &r->writer);
    r->writer.optimize_coding = TRUE;
    jpeg_write_coefficients(&r->writer, coefficients);
    jpeg_finish_compress(&r->writer);
    jpeg_destroy_compress(&r->writer);
    jpeg_abort_decompress(&r->jpeg);
    open_bytes(r, buf_view(&r->baseline));
}

/* -------------------------------------------------------------------------------------------- */

static int begin(struct jpeg_reader *r)
{
    struct image_job *job = r->job;
    bool wanted = !job->header_only;
    job->header_only = true; /* its sides are checked before anything large is made */
    int rc = image_job_begin(job, r->jpeg.image_width, r->jpeg.image_height, 3);
    job->header_only = !wanted;
    if (rc < 0 || !wanted)
        return rc;
    if (jpeg_has_multiple_scans(&r->jpeg) && is_large(r))
        write_baseline(r);
    return image_job_begin(job, r->jpeg.image_width, r->jpeg.image_height, 3);
}

static int read_picture(struct jpeg_reader *r)
{
    if (setjmp(r->back))
        return jpeg_place(r);
    jpeg_create_decompress(&r->jpeg);
    r->jpeg.progress = &r->progress;
    open_bytes(r, r->job->bytes);
    read_orientation(r);
    TRY(begin(r));
    if (r->job->header_only)
        return 0;
    bool cmyk = r->jpeg.num_components == 4;
    r->job->one_band = r->jpeg.num_components == 1;
    r->jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    if (cmyk && !(r->row = mem_alloc(MEM_MEDIA, (size_t)r->jpeg.image_width * 4)))
        return NUN_ENOMEM;
    read_rows(r);
    return 0;
}

int image_read_jpeg(struct image_job *job)
{
    struct jpeg_reader r = {.job = job};
    r.jpeg.err = jpeg_std_error(&r.error);
    r.jpeg.client_data = &r;
    r.error.error_exit = reader_error;
    r.error.emit_message = reader_message;
    r.error.output_message = reader_silent;
    r.progress.progress_monitor = reader_progress;
    buf_init(&r.baseline, MEM_MEDIA, 2 * LIMIT_OF(image_file_bytes));
    int rc = read_picture(&r);
    jpeg_destroy_compress(&r.writer);
    jpeg_destroy_decompress(&r.jpeg);
    buf_free(&r.baseline);
    mem_free(r.row);
    return rc;
}
