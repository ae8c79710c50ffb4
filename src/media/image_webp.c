/* WebP through libwebp: lossy and lossless, with or without alpha, the first frame of an animation
 * on its canvas, and EXIF orientation. */
/* SPDX-License-Identifier: MIT */
#include <webp/decode.h>
#include <webp/demux.h>
#include "base/err.h"
#include "media/image_codec.h"

static const char *const status_text[] = {
    [VP8_STATUS_OK] = "nothing wrong", [VP8_STATUS_OUT_OF_MEMORY] = "out of memory",
    [VP8_STATUS_INVALID_PARAM] = "invalid parameter", [VP8_STATUS_BITSTREAM_ERROR] = "a damaged bitstream",
    [VP8_STATUS_UNSUPPORTED_FEATURE] = "an unsupported feature", [VP8_STATUS_SUSPENDED] = "a truncated file",
    [VP8_STATUS_USER_ABORT] = "an abort", [VP8_STATUS_NOT_ENOUGH_DATA] = "a truncated file",
};

/* Where the frame's bitstream begins in the file. */
static size_t frame_place(const struct image_job *job, const WebPIterator *frame)
{
    return (size_t)((const char *)frame->fragment.bytes - job->bytes.ptr);
}

static int frame_error(size_t frame_at, VP8StatusCode status)
{
    bool known = (size_t)status < sizeof status_text / sizeof *status_text;
    return err_set(status == VP8_STATUS_OUT_OF_MEMORY ? NUN_ENOMEM : NUN_EFORMAT,
                   "webp: in the frame at byte %zu: expected a whole bitstream, found %s", frame_at,
                   known ? status_text[status] : "an unknown fault");
}

/* The frame's pixels into its rectangle of the canvas; the rest of the canvas is transparent. */
static int read_frame(struct image_job *job, const WebPIterator *frame, const WebPBitstreamFeatures *features)
{
    const struct image *img = job->out;
    bool whole = features->width == img->width && features->height == img->height;
    if (!whole)
        memset(img->data, 0, image_bytes(img));
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return err_set(NUN_EUNSUP, "webp: the decoder library does not match its headers");
    size_t offset = (size_t)(image_at(img, frame->x_offset, frame->y_offset) - img->data);
    config.output.colorspace = img->channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = img->data + offset;
    config.output.u.RGBA.stride = img->width * img->channels;
    config.output.u.RGBA.size = image_bytes(img) - offset;
    VP8StatusCode status = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    return status == VP8_STATUS_OK ? 0 : frame_error(frame_place(job, frame), status);
}

static int read_first(struct image_job *job, const WebPDemuxer *demux, const WebPIterator *frame)
{
    WebPBitstreamFeatures features;
    VP8StatusCode status = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &features);
    if (status != VP8_STATUS_OK)
        return frame_error(frame_place(job, frame), status);
    uint32_t width = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH), height = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
    bool whole = (uint32_t)features.width == width && (uint32_t)features.height == height;
    if (frame->x_offset < 0 || frame->y_offset < 0 || (int64_t)frame->x_offset + features.width > width ||
        (int64_t)frame->y_offset + features.height > height)
        return err_set(NUN_EFORMAT, "webp: expected a frame within %ux%u, found %dx%d at %d,%d", width, height,
                       features.width, features.height, frame->x_offset, frame->y_offset);
    TRY(image_job_begin(job, width, height, features.has_alpha || !whole ? 4 : 3));
    return job->header_only ? 0 : read_frame(job, frame, &features);
}

static void read_orientation(struct image_job *job, const WebPDemuxer *demux)
{
    WebPChunkIterator chunk;
    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk))
        job->orientation = exif_orientation(span_of(chunk.chunk.bytes, chunk.chunk.size));
    WebPDemuxReleaseChunkIterator(&chunk);
}

int image_read_webp(struct image_job *job)
{
    WebPData data = {(const uint8_t *)job->bytes.ptr, job->bytes.len};
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    WebPDemuxer *demux = WebPDemuxPartial(&data, &state);
    WebPIterator frame = {0};
    int rc;
    if (state != WEBP_DEMUX_DONE)
        rc = err_set(NUN_EFORMAT, "webp: expected a whole file, found %s in its %zu bytes",
                     state == WEBP_DEMUX_PARSE_ERROR ? "a malformed chunk" : "a truncated chunk", job->bytes.len);
    else if (!demux || !WebPDemuxGetFrame(demux, 1, &frame))
        rc = err_set(NUN_EFORMAT, "webp: expected at least one frame, found none");
    else
        rc = read_first(job, demux, &frame);
    if (rc == 0)
        read_orientation(job, demux);
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demux);
    return rc;
}
