/* Terminal previews: exact bytes for tiny pictures, and sixels and kitty chunks decoded again. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "../torture.h"
#include "media_testing.h"
#include "media/preview.h"

static void check_text(const struct image *img, const char *style, int columns, const char *expected)
{
    struct buf out;
    buf_init(&out, MEM_TEST, 1 << 20);
    check_ok(preview_render(img, style, columns, &out));
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

static void test_cells(void **state)
{
    (void)state;
    static const uint8_t pixels[12] = {255, 0, 0, 255, 0, 0, 0, 0, 255, 0, 95, 255};
    struct image img;
    check_ok(image_alloc("test", 2, 2, 3, &img));
    memcpy(img.data, pixels, sizeof pixels);
    check_text(&img, "blocks", 2,
               "\033[38;2;255;0;0m\033[48;2;0;0;255m\xe2\x96\x80\033[48;2;0;95;255m\xe2\x96\x80\033[0m\n");
    check_text(&img, "blocks256", 2, "\033[38;5;196m\033[48;5;21m\xe2\x96\x80\033[48;5;27m\xe2\x96\x80\033[0m\n");
    check_text(&img, "ascii", 2, ":-\n"); /* a cell is both rows: brightness 52 and 81 */
    img.height = 1; /* an odd number of rows: nothing below the last one */
    check_text(&img, "blocks", 2, "\033[38;2;255;0;0m\xe2\x96\x80\xe2\x96\x80\033[0m\n");
    image_free(&img);
}

static void paint_sixel(int bits, int colour, int x, int y, int width, int height, int *seen)
{
    for (int bit = 0; bit < 6; bit++)
        if (bits >> bit & 1) {
            assert_true(x < width && y + bit < height);
            assert_int_equal(seen[(y + bit) * width + x], -1);
            seen[(y + bit) * width + x] = colour;
        }
}

/* A minimal sixel reader: colours into `seen` [height, width]; -1 where nothing was painted. */
static void read_sixels(const char *p, int width, int height, int *seen)
{
    int colour = 0, x = 0, y = 0;
    for (int i = 0; i < width * height; i++)
        seen[i] = -1;
    for (; *p && *p != '\033'; p++) {
        int repeat = 1;
        if (*p == '#') {
            colour = (int)strtol(p + 1, (char **)&p, 10);
            while (*p == ';')
                strtol(p + 1, (char **)&p, 10);
            p--;
            continue;
        }
        if (*p == '!')
            repeat = (int)strtol(p + 1, (char **)&p, 10);
        if (*p == '$' || *p == '-')
            x = 0;
        if (*p == '-')
            y += 6;
        if (*p < '?' || *p > '~')
            continue;
        for (; repeat > 0; repeat--, x++)
            paint_sixel(*p - '?', colour, x, y, width, height, seen);
    }
}

static void test_sixel(void **state)
{
    (void)state;
    enum { W = 40, H = 23 };
    struct image img;
    struct buf out;
    int seen[W * H];
    buf_init(&out, MEM_TEST, 1 << 20);
    media_noise_image(W, H, 3, &img);
    check_ok(preview_render(&img, "sixel", 20, &out)); /* not enlarged, so pixel for pixel */
    const char *start = "\033P0;1q\"1;1;40;23";
    assert_memory_equal(out.ptr, start, strlen(start));
    read_sixels(out.ptr + strlen(start), W, H, seen);
    for (int i = 0; i < W * H; i++)
        for (int c = 0, unit = 36; c < 3; c++, unit /= 6)
            assert_true(seen[i] >= 0 && abs(seen[i] / unit % 6 * 51 - img.data[3 * i + c]) <= 51);
    image_free(&img);
    buf_free(&out);
}

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(digits, c, 64);
    return at ? (int)(at - digits) : -1;
}

/* One chunk's payload up to its escape; returns how many bytes. */
static size_t read_base64(const char *p, uint8_t *to, size_t cap)
{
    size_t n = 0;
    for (uint32_t bits = 0, have = 0; digit(*p) >= 0; p++) {
        bits = bits << 6 | (uint32_t)digit(*p);
        have += 6;
        if (have >= 8) {
            assert_true(n < cap);
            to[n++] = (uint8_t)(bits >> (have - 8));
            have -= 8;
        }
    }
    return n;
}

static void test_kitty(void **state)
{
    (void)state;
    enum { W = 40, H = 35 };
    struct image img;
    struct buf out;
    uint8_t back[W * H * 3];
    size_t n = 0, chunks = 0;
    buf_init(&out, MEM_TEST, 1 << 20);
    media_noise_image(W, H, 3, &img);
    check_ok(preview_render(&img, "kitty", 9, &out));
    const char *start = "\033_Ga=T,q=2,f=24,s=40,v=35,c=9,m=1;";
    assert_memory_equal(out.ptr, start, strlen(start));
    for (const char *p = out.ptr; (p = strstr(p, "\033_G")); chunks++) {
        p = strchr(p, ';');
        assert_non_null(p);
        assert_int_equal(p[-1], n + 3072 < sizeof back ? '1' : '0');
        n += read_base64(p + 1, back + n, sizeof back - n);
    }
    assert_int_equal(chunks, 2);
    assert_int_equal(n, sizeof back);
    assert_memory_equal(back, img.data, n);
    image_free(&img);
    buf_free(&out);
}

static void test_refusals(void **state)
{
    (void)state;
    struct image img;
    struct buf out;
    media_noise_image(8, 8, 3, &img);
    buf_init(&out, MEM_TEST, 10);
    for (size_t i = 0; preview_style(i); i++) {
        buf_reset(&out);
        check_fails(NUN_ELIMIT, "10", preview_render(&img, preview_style(i), 8, &out));
    }
    check_fails(NUN_EARG, "columns", preview_render(&img, "blocks", 0, &out));
    check_fails(NUN_EARG, "found braille", preview_render(&img, "braille", 5, &out));
    buf_free(&out);
    image_free(&img);
}

static int preview_scenario(void *arg)
{
    struct image img;
    struct buf out;
    buf_init(&out, MEM_TEST, 1 << 20);
    int rc = image_alloc("torture", 30, 20, 4, &img);
    if (rc == 0) {
        media_noise(img.data, image_bytes(&img));
        rc = preview_render(&img, arg, 6, &out);
    }
    image_free(&img);
    buf_free(&out);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    for (size_t i = 0; preview_style(i); i++)
        torture_run(preview_style(i), preview_scenario, (void *)preview_style(i), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_sixel),
        cmocka_unit_test(test_kitty),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
