/* Decoding: every kind of PNG, JPEG and WebP against what Pillow reads, and then what is wrong, cut
 * short, too large, or out of memory. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "../torture.h"
#include "media_testing.h"
#include "media/image_codec.h"

/* JPEG and lossy WebP may round differently in another library version. */
enum { NEAR = 3 };

struct expectation {
    char name[64], kind[8];
    struct image_options options;
    int width, height, channels;
    const char *value; /* the rest of the line */
};

static bool next_line(FILE *f, char *line, size_t cap, struct expectation *e)
{
    while (fgets(line, (int)cap, f)) {
        int alpha, turn, at = 0;
        if (*line == '#')
            continue;
        assert_int_equal(sscanf(line, "%63s %d %d %d %d %d %7s %n", e->name, &alpha, &turn, &e->width, &e->height,
                                &e->channels, e->kind, &at), 7);
        e->options = (struct image_options){(enum image_alpha)alpha, turn != 0};
        e->value = line + at;
        return true;
    }
    return false;
}

static void check_near(const struct expectation *e, const struct image *img)
{
    assert_true(strlen(e->value) >= 2 * image_bytes(img));
    for (size_t i = 0; i < image_bytes(img); i++) {
        unsigned expected;
        assert_int_equal(sscanf(e->value + 2 * i, "%2x", &expected), 1);
        if (abs((int)expected - img->data[i]) > NEAR)
            fail_msg("%s: byte %zu: expected about %u, found %u", e->name, i, expected, img->data[i]);
    }
}

static void check_pixels(const struct expectation *e, const struct image *img)
{
    if (strcmp(e->kind, "near") == 0) {
        check_near(e, img);
        return;
    }
    uint64_t found = media_fnv(img->data, image_bytes(img));
    if (found != strtoull(e->value, NULL, 16))
        fail_msg("%s: expected pixels %.16s, found %016llx (alpha %d, orientation %d)", e->name, e->value,
                 (unsigned long long)found, (int)e->options.alpha, e->options.apply_orientation);
}

static void check_sides(const struct expectation *e, int width, int height)
{
    if (width != e->width || height != e->height)
        fail_msg("%s: expected %dx%d, found %dx%d", e->name, e->width, e->height, width, height);
}

static void check_picture(const struct expectation *e)
{
    struct buf bytes;
    struct image img;
    struct image_info info;
    media_bytes(e->name, &bytes);
    check_ok(image_probe(buf_view(&bytes), &e->options, &info));
    check_ok(image_decode(buf_view(&bytes), &e->options, &img));
    check_sides(e, info.width, info.height);
    check_sides(e, img.width, img.height);
    assert_int_equal(img.channels, e->channels);
    check_pixels(e, &img);
    image_free(&img);
    buf_free(&bytes);
}

static void test_pictures(void **state)
{
    (void)state;
    char path[512], line[4096];
    media_path(path, "pictures.txt");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    struct expectation e;
    int count = 0;
    for (; next_line(f, line, sizeof line, &e); count++)
        check_picture(&e);
    fclose(f);
    assert_true(count > 120);
}

/* ---- broken ---- */

static const char *const one_of_each[] = {
    "type2-depth8.png", "type0-depth16-interlaced.png", "type3-depth4-key.png", "420.jpg", "progressive.jpg",
    "cmyk.jpg", "lossy.webp", "alpha.webp", "animated.webp",
};

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof one_of_each / sizeof *one_of_each; i++) {
        struct buf bytes;
        media_bytes(one_of_each[i], &bytes);
        size_t before = media_live_blocks();
        for (size_t n = 0; n < bytes.len; n++) {
            struct image img;
            if (image_decode(span_of(bytes.ptr, n), NULL, &img) != NUN_EFORMAT)
                fail_msg("%s cut at %zu of %zu: expected a format error, found \"%s\"", one_of_each[i], n, bytes.len,
                         nun_error());
            assert_null(img.data);
        }
        assert_int_equal(media_live_blocks(), before);
        buf_free(&bytes);
    }
}

static void test_errors_name_format_and_place(void **state)
{
    (void)state;
    struct image img;
    struct buf png, jpeg, webp;
    media_bytes("type2-depth8.png", &png);
    media_bytes("420.jpg", &jpeg);
    media_bytes("lossy.webp", &webp);
    check_fails(NUN_EFORMAT, "png: at byte", image_decode(span_of(png.ptr, png.len - 20), NULL, &img));
    check_fails(NUN_EFORMAT, "jpeg: at byte", image_decode(span_of(jpeg.ptr, jpeg.len - 20), NULL, &img));
    check_fails(NUN_EFORMAT, "webp: expected a whole file", image_decode(span_of(webp.ptr, webp.len - 20), NULL, &img));
    png.ptr[60] ^= 1;
    check_fails(NUN_EFORMAT, "png: at byte", image_decode(buf_view(&png), NULL, &img));
    buf_free(&png);
    buf_free(&jpeg);
    buf_free(&webp);
    check_fails(NUN_EIO, "nowhere.png", image_load("nowhere.png", NULL, &img));
}

static void test_other_formats(void **state)
{
    (void)state;
    struct image img;
    check_fails(NUN_EUNSUP, "gif", image_decode(SPAN("GIF89a......"), NULL, &img));
    check_fails(NUN_EUNSUP, "bmp", image_decode(SPAN("BM.........."), NULL, &img));
    check_fails(NUN_EUNSUP, "heif", image_decode(SPAN("....ftypheic...."), NULL, &img));
    check_fails(NUN_EUNSUP, "avif", image_decode(SPAN("....ftypavif...."), NULL, &img));
    check_fails(NUN_EFORMAT, "unknown", image_decode(SPAN("RIFF....WAVE"), NULL, &img));
    check_fails(NUN_EFORMAT, "no bytes", image_decode(span_of("", 0), NULL, &img));
}

/* ---- limits ---- */

static void check_refused_unallocated(struct span bytes, int code, const char *word)
{
    struct image img;
    struct mem_stats before, after;
    mem_stats(MEM_MEDIA, &before);
    check_fails(code, word, image_decode(bytes, NULL, &img));
    mem_stats(MEM_MEDIA, &after);
    assert_int_equal(after.calls, before.calls);
}

static void test_limits_come_first(void **state)
{
    (void)state;
    static const struct { enum limit_id id; size_t exact; } rows[] = {
        {LIMIT_image_side, 17}, {LIMIT_image_pixels, 17 * 13},
    };
    static const char *const names[] = {"type2-depth8.png", "420.jpg", "lossy.webp"};
    for (size_t n = 0; n < 3; n++)
        for (size_t i = 0; i < 2; i++) {
            struct buf bytes;
            struct image img;
            media_bytes(names[n], &bytes);
            size_t usual = limits_table[rows[i].id].value;
            limits_table[rows[i].id].value = rows[i].exact;
            check_ok(image_decode(buf_view(&bytes), NULL, &img));
            image_free(&img);
            limits_table[rows[i].id].value = rows[i].exact - 1;
            check_refused_unallocated(buf_view(&bytes), NUN_ELIMIT, limits_table[rows[i].id].name);
            limits_table[rows[i].id].value = usual;
            usual = LIMIT_OF(image_file_bytes);
            limits_table[LIMIT_image_file_bytes].value = bytes.len - 1;
            check_refused_unallocated(buf_view(&bytes), NUN_ELIMIT, "image_file_bytes");
            limits_table[LIMIT_image_file_bytes].value = usual;
            buf_free(&bytes);
        }
}

/* Files of a few hundred bytes that claim to be gigantic. */
static void test_bombs(void **state)
{
    (void)state;
    struct buf png, jpeg;
    media_bytes("type2-depth8.png", &png);
    memcpy(png.ptr + 16, "\0\0\x27\x10\0\0\x27\x10", 8); /* 10000 x 10000: within limits, but not of so few bytes */
    memcpy(png.ptr + 29, "\x35\x2c\xf5\x70", 4); /* the header's checksum */
    check_refused_unallocated(buf_view(&png), NUN_EFORMAT, "png: expected at least");
    memcpy(png.ptr + 16, "\x7f\xff\xff\xff\x7f\xff\xff\xff", 8);
    check_refused_unallocated(buf_view(&png), NUN_EFORMAT, "png: at byte");
    media_bytes("420.jpg", &jpeg);
    char *frame = memmem(jpeg.ptr, jpeg.len, "\xff\xc0", 2);
    assert_non_null(frame);
    memcpy(frame + 5, "\xff\xdc\xff\xdc", 4); /* 65500 x 65500 */
    check_refused_unallocated(buf_view(&jpeg), NUN_ELIMIT, "jpeg: header");
    buf_free(&png);
    buf_free(&jpeg);
}

static void test_scan_limit(void **state)
{
    (void)state;
    struct buf jpeg;
    struct image img;
    media_bytes("progressive.jpg", &jpeg);
    size_t usual = LIMIT_OF(image_scans);
    limits_table[LIMIT_image_scans].value = 2;
    check_fails(NUN_EFORMAT, "more than 2 scans", image_decode(buf_view(&jpeg), NULL, &img));
    limits_table[LIMIT_image_scans].value = usual;
    check_ok(image_decode(buf_view(&jpeg), NULL, &img));
    image_free(&img);
    buf_free(&jpeg);
}

/* A large progressive file is written again as a baseline one first: the same pixels. */
static void test_progressive_in_parts(void **state)
{
    (void)state;
    static const char *const files[] = {"progressive.jpg", "420.jpg"};
    size_t usual = LIMIT_OF(image_coefficients);
    for (size_t i = 0; i < 2; i++) {
        struct buf jpeg;
        struct image whole, parts, none;
        media_bytes(files[i], &jpeg);
        check_ok(image_decode(buf_view(&jpeg), NULL, &whole));
        limits_table[LIMIT_image_coefficients].value = 0;
        check_ok(image_decode(buf_view(&jpeg), NULL, &parts));
        check_fails(NUN_EFORMAT, "jpeg: at byte", image_decode(span_of(jpeg.ptr, jpeg.len / 2), NULL, &none));
        limits_table[LIMIT_image_coefficients].value = usual;
        assert_true(whole.width == parts.width && whole.height == parts.height);
        for (int y = 0; y < whole.height; y++)
            assert_memory_equal(image_at(&whole, 0, y), image_at(&parts, 0, y), (size_t)whole.width * (size_t)whole.channels);
        image_free(&whole);
        image_free(&parts);
        buf_free(&jpeg);
    }
}

/* ---- alpha and orientation ---- */

static void test_alpha_rules(void **state)
{
    (void)state;
    static const uint8_t rgba[8] = {200, 100, 0, 128, 10, 20, 30, 0};
    static const struct { enum image_alpha rule; uint8_t rgb[6]; } rows[] = {
        {IMAGE_ALPHA_DROP, {200, 100, 0, 10, 20, 30}},
        {IMAGE_ALPHA_WHITE, {227, 177, 127, 255, 255, 255}}, /* Pillow: paste over white with the alpha as mask */
        {IMAGE_ALPHA_BLACK, {100, 50, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct image img;
        check_ok(image_alloc("test", 2, 1, 4, &img));
        memcpy(img.data, rgba, sizeof rgba);
        check_ok(image_apply_alpha(&img, rows[i].rule));
        assert_int_equal(img.channels, 3);
        assert_memory_equal(img.data, rows[i].rgb, 6);
        check_ok(image_apply_alpha(&img, IMAGE_ALPHA_KEEP));
        assert_int_equal(img.channels, 4);
        assert_int_equal(img.data[3], 255);
        assert_memory_equal(img.data + 4, rows[i].rgb + 3, 3);
        check_fails(NUN_EARG, "alpha", image_apply_alpha(&img, IMAGE_ALPHA_COUNT));
        image_free(&img);
    }
}

/* A turn and the turn back. */
static void test_orientations_invert(void **state)
{
    (void)state;
    static const int back[9] = {0, 1, 2, 3, 4, 5, 8, 7, 6};
    for (int o = 1; o <= 8; o++) {
        struct image img, same;
        media_noise_image(5, 3, 3, &img);
        media_noise_image(5, 3, 3, &same);
        check_ok(image_orient(&img, o));
        assert_int_equal(img.width, o >= 5 ? 3 : 5);
        assert_int_equal(o == 1, image_bytes(&img) == 45 && memcmp(img.data, same.data, 45) == 0);
        check_ok(image_orient(&img, back[o]));
        assert_memory_equal(img.data, same.data, 45);
        image_free(&img);
        image_free(&same);
    }
    struct image none = {0};
    check_fails(NUN_EARG, "orientation", image_orient(&none, 9));
}

static void test_exif(void **state)
{
    (void)state;
    static const struct { struct span bytes; int orientation; } rows[] = {
        {{"II*\0\x8\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0", 22}, 6},
        {{"MM\0*\0\0\0\x8\0\1\1\x12\0\3\0\0\0\1\0\3\0\0", 22}, 3},
        {{"Exif\0\0MM\0*\0\0\0\x8\0\1\1\x12\0\3\0\0\0\1\0\3\0\0", 28}, 3},
        {{"II*\0\x8\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0", 21}, 1},          /* the entry is cut */
        {{"II*\0\xff\xff\xff\xff\1\0\x12\1\3\0\1\0\0\0\6\0\0\0", 22}, 1}, /* directory outside */
        {{"II*\0\x8\0\0\0\xff\xff\x12\1\4\0\1\0\0\0\6\0\0\0", 22}, 1},    /* wrong type, count too large */
        {{"II*\0\x8\0\0\0\1\0\x12\1\3\0\1\0\0\0\x9\0\0\0", 22}, 1},       /* no such orientation */
        {{"", 0}, 1},
        {{"Exif\0\0", 6}, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(exif_orientation(rows[i].bytes), rows[i].orientation);
}

/* ---- memory ---- */

static int decode_scenario(void *arg)
{
    struct image img;
    struct image_options options = {IMAGE_ALPHA_DROP, true};
    int rc = image_decode(*(const struct span *)arg, &options, &img);
    image_free(&img);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    static const char *const names[] = {"type6-depth8.png", "turn6.jpg", "cmyk.jpg", "alpha.webp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf bytes;
        media_bytes(names[i], &bytes);
        struct span span = buf_view(&bytes);
        assert_true(torture_run(names[i], decode_scenario, &span, 1) > 0);
        buf_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_errors_name_format_and_place),
        cmocka_unit_test(test_other_formats),
        cmocka_unit_test(test_limits_come_first),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_scan_limit), cmocka_unit_test(test_progressive_in_parts),
        cmocka_unit_test(test_alpha_rules),
        cmocka_unit_test(test_orientations_invert),
        cmocka_unit_test(test_exif),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
