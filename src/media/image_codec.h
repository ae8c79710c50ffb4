/* The seam between image.c and the picture formats: one row, one file each. A codec reads the header,
 * calls image_job_begin(), and fills job->out with RGB or RGBA; the rest is done for it. */
/* SPDX-License-Identifier: MIT */
#ifndef MEDIA_IMAGE_CODEC_H
#define MEDIA_IMAGE_CODEC_H
#include "media/image.h"

struct image_job {
    struct span bytes;
    const char *format; /* the codec's name, for errors */
    bool header_only;   /* stop after image_job_begin() and the orientation */
    int width, height;  /* as stored */
    int orientation;    /* 1..8; set by the codec when the file says so */
    bool has_alpha, one_band;
    struct image *out;
};

/* Check the limits and allocate job->out unless only the header is wanted. channels: 3 or 4. */
int image_job_begin(struct image_job *job, uint64_t width, uint64_t height, int channels);

typedef int image_read_fn(struct image_job *job);
image_read_fn image_read_png, image_read_jpeg, image_read_webp;

/* The orientation 1..8 in a TIFF-structured EXIF block (an "Exif\0\0" prefix is skipped); 1 when
 * there is none. Never fails: a broken EXIF block does not spoil a picture. */
int exif_orientation(struct span exif);

#endif
