/* Pictures from elsewhere: Pillow's odd ones, the smallest files of each type. What Pillow opens must
 * open, the rest must be refused with the right code, and nothing may take more memory than its size
 * justifies. Skipped where the vectors are not. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "media/image.h"

static const char root[] = "../shared/vectors/media";

/* Files that must be refused; every other png, jpg, jpeg, webp and mpo must open. */
static const struct { const char *name; int code; } refused[] = {
    {"ultrahdr.jpg", NUN_EFORMAT},     /* cut short */
    {"png-truncated.png", NUN_EFORMAT}, {"webp.webp", NUN_EFORMAT},
};

static const struct { const char *ending; int code; } endings[] = {
    {".png", 0}, {".jpg", 0}, {".jpeg", 0}, {".webp", 0}, {".mpo", 0},
    {".gif", NUN_EUNSUP}, {".bmp", NUN_EUNSUP}, {".tif", NUN_EUNSUP}, {".heif", NUN_EUNSUP},
    {".svg", NUN_EFORMAT}, {".pdf", NUN_EFORMAT}, {".wav", NUN_EFORMAT}, {".mp3", NUN_EFORMAT}, {".json", NUN_EFORMAT},
    {".ico", NUN_EFORMAT}, {".avi", NUN_EFORMAT}, {".webm", NUN_EFORMAT}, {".bpg", NUN_EFORMAT},
};

/* false: nothing is said about such a file. */
static bool expected_code(const char *name, int *code)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(refused[i].name, name) == 0) {
            *code = refused[i].code;
            return true;
        }
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof endings / sizeof *endings; i++)
        if (strcmp(endings[i].ending, ending) == 0) {
            *code = endings[i].code;
            return true;
        }
    return false;
}

static void check_file(const char *path, int code)
{
    struct image img;
    struct mem_stats before, after;
    mem_stats(MEM_MEDIA, &before);
    int rc = image_load(path, NULL, &img);
    if (rc != code)
        fail_msg("%s: expected code %d, found %d (%s)", path, code, rc, rc < 0 ? nun_error() : "");
    if (rc < 0)
        assert_true(*nun_error() && !img.data);
    if (rc == 0)
        assert_int_equal(img.channels, 3);
    image_free(&img);
    mem_stats(MEM_MEDIA, &after);
    assert_int_equal(after.live_blocks, before.live_blocks);
    assert_true(after.peak_bytes < 32u << 20);
}

static size_t check_folder(const char *folder)
{
    char dir[512], path[1024], **names = NULL;
    size_t count = 0, checked = 0;
    check_ok(path_join(dir, sizeof dir, root, folder));
    check_ok(file_list(dir, &names, &count));
    for (size_t i = 0; i < count; i++) {
        int code;
        if (!expected_code(names[i], &code))
            continue;
        check_ok(path_join(path, sizeof path, dir, names[i]));
        check_file(path, code);
        checked++;
    }
    mem_free(names);
    return checked;
}

static void test_vectors(void **state)
{
    (void)state;
    if (!file_is_dir(root))
        skip();
    assert_true(check_folder("pillow") > 100);
    assert_true(check_folder("small") > 10);
    assert_true(check_folder("llamacpp-mtmd-media") >= 2);
}

static void check_sides(const char *name, bool turn, int width, int height)
{
    char path[512];
    struct image img;
    struct image_options options = {IMAGE_ALPHA_DROP, turn};
    check_ok(path_join(path, sizeof path, root, name));
    check_ok(image_load(path, &options, &img));
    assert_int_equal(img.width, width);
    assert_int_equal(img.height, height);
    image_free(&img);
}

static void test_sides(void **state)
{
    (void)state;
    if (!file_is_dir(root))
        skip();
    check_sides("pillow/flower.jpg", true, 480, 360);
    check_sides("pillow/frame_size.mpo", true, 56, 70);
    check_sides("pillow/iss634.webp", true, 245, 245);
    check_sides("llamacpp-mtmd-media/test-1.jpeg", true, 640, 488);
}

/* The same scene stored in different orientations looks alike once turned. */
static void test_orientations(void **state)
{
    (void)state;
    static const char *const names[] = {"pillow/hopper_orientation_2.jpg", "pillow/hopper_orientation_5.jpg",
                                        "pillow/hopper_orientation_6.jpg", "pillow/hopper_orientation_8.jpg"};
    if (!file_is_dir(root))
        skip();
    struct image upright, img;
    check_ok(image_load("../shared/vectors/media/pillow/hopper.jpg", NULL, &upright));
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char path[512];
        double total = 0;
        check_ok(path_join(path, sizeof path, root, names[n]));
        check_ok(image_load(path, NULL, &img));
        assert_int_equal(image_bytes(&img), image_bytes(&upright));
        for (size_t i = 0; i < image_bytes(&img); i++)
            total += abs(img.data[i] - upright.data[i]);
        if (total / (double)image_bytes(&img) > 6)
            fail_msg("%s: expected about hopper.jpg, found a mean difference of %g", names[n],
                     total / (double)image_bytes(&img));
        image_free(&img);
    }
    image_free(&upright);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_orientations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
