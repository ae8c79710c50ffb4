/* The one EXIF fact that changes a picture: its orientation, tag 0x0112 of the first directory.
 * Every offset is checked; a malformed block counts as absent. Called by the picture codecs. */
/* SPDX-License-Identifier: MIT */
#include "base/ck.h"
#include "media/image_codec.h"

enum { EXIF_ORIENTATION = 0x0112, EXIF_SHORT = 3, EXIF_ENTRY_BYTES = 12 };

struct tiff {
    struct span bytes;
    bool big_endian;
};

static uint32_t tiff_number(const struct tiff *t, size_t at, size_t width)
{
    uint32_t value = 0;
    for (size_t i = 0; i < width; i++) {
        size_t from = t->big_endian ? i : width - 1 - i;
        value = value << 8 | (uint8_t)t->bytes.ptr[at + from];
    }
    return value;
}

int exif_orientation(struct span exif)
{
    const struct span prefix = {"Exif\0\0", 6};
    if (span_starts(exif, prefix))
        exif = span_from(exif, prefix.len);
    struct tiff t = {exif, span_starts(exif, SPAN("MM\0*"))};
    if (exif.len < 8 || !(t.big_endian || span_starts(exif, (struct span){"II*\0", 4})))
        return 1;
    size_t at = tiff_number(&t, 4, 4);
    if (!ck_range(at, 2, exif.len))
        return 1;
    size_t count = tiff_number(&t, at, 2);
    at += 2;
    for (size_t i = 0; i < count && ck_range(at, EXIF_ENTRY_BYTES, exif.len); i++, at += EXIF_ENTRY_BYTES) {
        if (tiff_number(&t, at, 2) != EXIF_ORIENTATION || tiff_number(&t, at + 2, 2) != EXIF_SHORT)
            continue;
        uint32_t value = tiff_number(&t, at + 8, 2);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
