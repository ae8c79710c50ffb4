/* Resizing: bit for bit what Pillow gives, for every filter, odd shapes and extreme ratios. */
/* SPDX-License-Identifier: MIT */
#include "../torture.h"
#include "media_testing.h"
#include "media/resize.h"

static void test_reference(void **state)
{
    (void)state;
    char path[512], line[256], name[32];
    media_path(path, "resizes.txt");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int count = 0, order, w, h, c, to_w, to_h;
    unsigned long long expected;
    while (fgets(line, sizeof line, f)) {
        if (*line == '#')
            continue;
        assert_int_equal(sscanf(line, "%31s %d %d %d %d %d %d %llx", name, &order, &w, &h, &c, &to_w, &to_h,
                                &expected), 8);
        struct image in, out;
        media_noise_image(w, h, c, &in);
        int filter = resize_filter_find(name);
        check_ok(image_resize_ordered(&in, to_w, to_h, (enum resize_filter)filter, (enum resize_order)order, &out));
        assert_int_equal(out.width, to_w);
        assert_int_equal(out.height, to_h);
        assert_int_equal(out.channels, c);
        if (media_fnv(out.data, image_bytes(&out)) != expected)
            fail_msg("differs from the reference: %s", line);
        image_free(&in);
        image_free(&out);
        count++;
    }
    fclose(f);
    assert_true(count > 400);
}

/* A flat picture stays flat, whatever the filter: the weights sum to one. */
static void test_flat(void **state)
{
    (void)state;
    for (int filter = 0; filter < RESIZE_FILTER_COUNT; filter++)
        for (int v = 0; v <= 255; v += 51) {
            struct image in, out;
            check_ok(image_alloc("flat", 37, 23, 3, &in));
            memset(in.data, v, image_bytes(&in));
            check_ok(image_resize(&in, 11, 61, (enum resize_filter)filter, &out));
            for (size_t i = 0; i < image_bytes(&out); i++)
                assert_int_equal(out.data[i], v);
            image_free(&in);
            image_free(&out);
        }
}

static void test_crop(void **state)
{
    (void)state;
    struct image in, out;
    media_noise_image(5, 4, 3, &in);
    check_ok(image_crop(&in, 1, 2, 3, 2, &out));
    for (int y = 0; y < 2; y++)
        assert_memory_equal(image_at(&out, 0, y), image_at(&in, 1, 2 + y), 9);
    image_free(&out);
    check_fails(NUN_EARG, "crop", image_crop(&in, 3, 0, 3, 2, &out));
    check_fails(NUN_EARG, "crop", image_crop(&in, -1, 0, 3, 2, &out));
    image_free(&in);
}

static void test_names_and_refusals(void **state)
{
    (void)state;
    for (int i = 0; i < RESIZE_FILTER_COUNT; i++)
        assert_int_equal(resize_filter_find(resize_filter_name((enum resize_filter)i)), i);
    assert_int_equal(resize_filter_find("mitchell"), -1);
    struct image in, out;
    media_noise_image(5, 4, 3, &in);
    check_fails(NUN_EARG, "filter 6", image_resize(&in, 3, 3, RESIZE_FILTER_COUNT, &out));
    check_fails(NUN_EARG, "0x3", image_resize(&in, 0, 3, RESIZE_BOX, &out));
    check_fails(NUN_ELIMIT, "image_side", image_resize(&in, 1 << 20, 3, RESIZE_BOX, &out));
    image_free(&in);
}

static int resize_scenario(void *arg)
{
    struct image in, out = {0};
    int rc = image_alloc("torture", 20, 30, *(int *)arg, &in);
    if (rc == 0) {
        media_noise(in.data, image_bytes(&in));
        rc = image_resize(&in, 7, 8, RESIZE_BICUBIC, &out);
    }
    image_free(&in);
    image_free(&out);
    return rc;
}

static int nearest_scenario(void *arg)
{
    struct image in, out = {0};
    int rc = image_alloc("torture", 20, 30, *(int *)arg, &in);
    if (rc == 0) {
        media_noise(in.data, image_bytes(&in));
        rc = image_resize(&in, 7, 8, RESIZE_NEAREST, &out);
    }
    image_free(&in);
    image_free(&out);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    for (int c = 1; c <= 4; c++) {
        torture_run("resize", resize_scenario, &c, 1);
        torture_run("nearest", nearest_scenario, &c, 1);
    }
}

/* The same window drawn by hand: what image_resize_view must see. */
static void draw_view(const struct image *img, const struct image_view *v, struct image *out)
{
    check_ok(image_alloc("test", v->width, v->height, img->channels, out));
    for (int y = 0; y < v->height; y++)
        for (int x = 0; x < v->width; x++) {
            int from_x = x - v->x, from_y = y - v->y;
            bool inside = from_x >= 0 && from_y >= 0 && from_x < img->width && from_y < img->height;
            memcpy(image_at(out, x, y), inside ? image_at(img, from_x, from_y) : v->colour, (size_t)img->channels);
        }
}

static void test_views(void **state)
{
    (void)state;
    static const struct image_view views[] = {
        {50, 50, 3, 10, {9, 200, 77, 0}}, {20, 9, -4, -5, {0}},          {20, 60, -4, 7, {1, 2, 3, 0}},
        {70, 9, 5, -3, {255, 0, 1, 0}},   {5, 5, 100, 100, {7, 8, 9, 0}}, {41, 30, 0, 0, {0}},
        {90, 30, 41, 0, {50, 60, 70, 0}}, {10, 200, -41, 3, {4, 5, 6, 0}},
    };
    static const int sizes[][2] = {{17, 13}, {50, 50}, {90, 4}, {3, 120}, {20, 60}};
    struct image img;
    media_noise_image(41, 30, 3, &img);
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes * RESIZE_FILTER_COUNT * 2; k++) {
            const int *size = sizes[k / 2 % (sizeof sizes / sizeof *sizes)];
            enum resize_filter filter = (enum resize_filter)(k / 2 / (sizeof sizes / sizeof *sizes));
            struct image drawn, expected, found;
            draw_view(&img, &views[i], &drawn);
            check_ok(image_resize_ordered(&drawn, size[0], size[1], filter, (enum resize_order)(k % 2), &expected));
            check_ok(image_resize_view(&img, &views[i], size[0], size[1], filter, (enum resize_order)(k % 2), &found));
            assert_memory_equal(found.data, expected.data, image_bytes(&expected));
            image_free(&drawn);
            image_free(&expected);
            image_free(&found);
        }
    img.channels = 4;
    struct image out;
    check_fails(NUN_EARG, "whole", image_resize_view(&img, &views[1], 4, 4, RESIZE_BOX, RESIZE_ORDER_13, &out));
    img.channels = 3;
    image_free(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_crop),
        cmocka_unit_test(test_names_and_refusals),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
