/* SmolVLM told of videos: the reference's text around every frame, its ids, its logits and its greedy answer. Skipped
 * where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../check.h"
#include "base/file.h"
#include "formats/json.h"
#include "models/sight.h"
#include "nunchi/nunchi.h"

#define FIXTURES "../shared/fixtures/"
enum { PATH = 512, GREEDY = 16, FRAMES = 8 };

/* Greatest distance seen was 1e-5. */
static const double NEAR = 5e-5;

static void check_ids(const json_t *want, const int32_t *got, size_t n)
{
    assert_int_equal(n, json_array_size(want));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got[i], json_integer_value(json_array_get(want, i)));
}

static void check_case(struct nun_model *m, const json_t *one)
{
    const json_t *frames = json_object_get(one, "frames"), *last = json_object_get(one, "last"), *ids = json_object_get(one, "input_ids");
    char paths[FRAMES][PATH];
    const char *files[FRAMES];
    size_t n = json_array_size(frames), count;
    struct nun_timeline *t;
    const float *logits;
    assert_true(n && n <= FRAMES);
    for (size_t i = 0; i < n; i++) {
        snprintf(paths[i], PATH, FIXTURES "%s", json_string_value(json_array_get(frames, i)));
        files[i] = paths[i];
    }
    struct nun_part parts[] = {
        {.kind = NUN_PART_FRAME_FILES, .files = files, .n_files = n, .fps = json_number_value(json_object_get(one, "fps"))},
        {.kind = NUN_PART_TEXT, .text = json_string_value(json_object_get(one, "text"))}};
    struct nun_message message = {.role = "user", .parts = parts, .n_parts = 2};
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = &message, .n_messages = 1}));
    check_ids(ids, nun_timeline_tokens(t, &count), json_array_size(ids));
    assert_int_equal(count, json_array_size(ids));
    check_ok(nun_timeline_prefill(t));
    check_ok(nun_timeline_logits(t, &logits, &count));
    assert_int_equal(count, json_array_size(last));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(logits[i] - json_number_value(json_array_get(last, i))) < NEAR))
            fail_msg("logit %zu: %g, expected %g", i, (double)logits[i], json_number_value(json_array_get(last, i)));
    check_ok(nun_generate(t, &(struct nun_generate_options){.max_tokens = GREEDY, .ignore_eos = true}, NULL));
    check_ids(json_object_get(one, "greedy"), nun_timeline_tokens(t, &count) + json_array_size(ids), GREEDY);
    nun_timeline_free(t);
}

static void test_videos(void **state)
{
    struct nun_model *m;
    json_t *file;
    const json_t *one;
    size_t i;
    if (!file_is_dir(FIXTURES "smolvlm") || !file_is_dir(FIXTURES "qwen2-vl"))
        skip();
    check_ok(json_load_file_limited("tests/data/smolvlm-video.json", &file));
    check_ok(nun_model_open(FIXTURES "smolvlm", &(struct nun_model_options){.threads = 2, .compute = NUN_F32}, &m));
    json_array_foreach(json_object_get(file, "cases"), i, one)
        check_case(m, one);
    assert_int_equal(i, 3);
    nun_model_close(m);
    json_decref(file);
}

static const struct { int frames; double seconds; const char *text; } told[] = {
    {1, 1, "series of one frames from a 0:00:00 [H"},           {13, 0.5, "series of thirteen frames from a 0:00:06 [H"},
    {20, 1, "series of twenty frames from a 0:00:19 [H"},       {64, 60, "series of sixty-four frames from a 1:03:00 [H"},
    {100, 1, "series of one hundred frames from"},              {101, 1, "series of one hundred and one frames from"},
    {342, 1, "series of three hundred and forty-two frames"},   {1000, 1, "series of one thousand frames from"},
    {1015, 1, "series of one thousand and fifteen frames"},     {21100, 1, "series of twenty-one thousand, one hundred frames"},
    {3, 43200, "frames from a 1 day, 0:00:00 [H"},              {3, 90000, "frames from a 2 days, 2:00:00 [H"},
    {5, 50, "\nFrame from 03:20:<fake"},                        {3, 6000, "\nFrame from 200:00:<fake"},
};

/* The words of numbers that no case has; expected texts are those of the reference's num2words and timedelta. */
static void test_told(void **state)
{
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct preprocess_plan plan = {.frames = told[i].frames, .tiles = told[i].frames, .video = 1};
        struct sight_text t = {.plan = &plan, .seconds = told[i].seconds};
        struct buf out;
        buf_init(&out, MEM_TEST, 1 << 22);
        check_ok(sight_timed_tiles.spell(&t, &out));
        if (!strstr(buf_cstr(&out), told[i].text))
            fail_msg("%d frames, expected \"%s\"", told[i].frames, told[i].text);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_videos), cmocka_unit_test(test_told)};
    return cmocka_run_group_tests_name("smolvlm_video", tests, NULL, NULL);
}
