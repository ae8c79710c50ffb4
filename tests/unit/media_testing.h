/* What the tests of the media room share: the data folder, noise, a hash and memory that must return
 * to where it was. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_MEDIA_TESTING_H
#define TESTS_MEDIA_TESTING_H
#include <stdio.h>
#include "../check.h"
#include "base/file.h"
#include "base/limits.h"
#include "media/image.h"

#define MEDIA_DATA "tests/data/media"

/* The same bytes as noise() in tests/data/media/make.py. */
static inline void media_noise(uint8_t *p, size_t n)
{
    for (uint64_t i = 0; i < n; i++)
        p[i] = (uint8_t)((i * 2654435761u ^ i * i * 40503) >> 13);
}

static inline void media_noise_image(int width, int height, int channels, struct image *out)
{
    check_ok(image_alloc("noise", width, height, channels, out));
    media_noise(out->data, image_bytes(out));
}

static inline uint64_t media_fnv(const uint8_t *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static inline void media_path(char out[512], const char *name)
{
    check_ok(path_join(out, 512, MEDIA_DATA, name));
}

static inline void media_bytes(const char *name, struct buf *out)
{
    char path[512];
    media_path(path, name);
    buf_init(out, MEM_TEST, 64u << 20);
    check_ok(file_read(path, out));
}

static inline size_t media_live_blocks(void)
{
    struct mem_stats s;
    mem_stats(MEM_MEDIA, &s);
    return s.live_blocks;
}

#endif
