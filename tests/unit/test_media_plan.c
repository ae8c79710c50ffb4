/* Plans without the fixtures: every processor on odd sizes, budgets obeyed or refused with numbers,
 * videos, Idefics2's quarters, and configs written back. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <time.h>
#include "../torture.h"
#include "formats/json.h"
#include "media_testing.h"
#include "media/preprocess.h"

/* Small versions of every family, so that pixels can be run too; tokens of a tile after the config. */
static const struct family {
    const char *config;
    int tile_tokens;
    const char *folds; /* what a budget can do: t tiles, p pixels, empty: nothing */
} families[] = {
    {"{\"image_processor_type\":\"CLIPImageProcessor\",\"size\":28,\"crop_size\":24}", 9, ""},
    {"{\"image_processor_type\":\"LlavaImageProcessor\",\"size\":28,\"crop_size\":24,\"do_pad\":true}", 9, ""},
    {"{\"image_processor_type\":\"SiglipImageProcessor\",\"size\":{\"height\":20,\"width\":24}}", 9, ""},
    {"{\"image_processor_type\":\"BlipImageProcessor\",\"size\":{\"height\":20,\"width\":20}}", 9, ""},
    {"{\"image_processor_type\":\"LlavaNextImageProcessor\",\"size\":24,\"crop_size\":24,"
     "\"image_grid_pinpoints\":[[24,48],[48,24],[48,48],[72,24],[24,72]]}", 9, "t"},
    {"{\"image_processor_type\":\"LlavaOnevisionImageProcessor\",\"size\":{\"height\":24,\"width\":24},"
     "\"image_grid_pinpoints\":[[24,24],[24,48],[48,48],[72,72]]}", 9, "t"},
    {"{\"image_processor_type\":\"GotOcr2ImageProcessor\",\"size\":{\"height\":24,\"width\":20},"
     "\"crop_to_patches\":true,\"min_patches\":2,\"max_patches\":9}", 4, "t"},
    {"{\"image_processor_type\":\"MllamaImageProcessor\",\"size\":{\"height\":24,\"width\":24}}", 10, "t"},
    {"{\"image_processor_type\":\"Idefics2ImageProcessor\",\"do_image_splitting\":true,"
     "\"size\":{\"shortest_edge\":10,\"longest_edge\":40}}", 5, "t"},
    {"{\"image_processor_type\":\"Idefics2ImageProcessor\",\"size\":{\"shortest_edge\":10,\"longest_edge\":40}}", 5,
     "p"},
    {"{\"image_processor_type\":\"Idefics3ImageProcessor\",\"size\":{\"longest_edge\":64},"
     "\"max_image_size\":{\"longest_edge\":16}}", 4, "t"},
    {"{\"image_processor_type\":\"Idefics3ImageProcessor\",\"size\":{\"height\":30,\"width\":50},"
     "\"max_image_size\":{\"longest_edge\":16}}", 4, "t"},
    {"{\"image_processor_type\":\"Siglip2ImageProcessor\",\"patch_size\":7,\"max_num_patches\":24}", 0, "p"},
    {"{\"image_processor_type\":\"SmolVLMImageProcessor\",\"size\":{\"longest_edge\":32},"
     "\"max_image_size\":{\"longest_edge\":16},\"do_image_splitting\":false}", 4, ""},
    {"{\"image_processor_type\":\"PixtralImageProcessor\",\"size\":{\"longest_edge\":64},\"patch_size\":4}", 0, "p"},
    {"{\"image_processor_type\":\"Qwen2VLImageProcessor\",\"patch_size\":4,\"min_pixels\":64,\"max_pixels\":9000}", 0,
     "p"},
    {"{\"image_processor_type\":\"Gemma3ImageProcessor\",\"size\":{\"height\":20,\"width\":20},"
     "\"do_pan_and_scan\":true,"
     "\"pan_and_scan_min_crop_size\":4}", 4, "t"},
    {"{\"image_processor_type\":\"FuyuImageProcessor\",\"size\":{\"height\":60,\"width\":80},\"patch_size\":5}", 0,
     "p"},
    {"{\"image_processor_type\":\"JanusImageProcessor\",\"size\":{\"height\":32,\"width\":32},\"min_size\":3}", 4, ""},
    {"{\"image_processor_type\":\"ChameleonImageProcessor\",\"size\":32,\"crop_size\":32}", 4, ""},
    {"{\"image_processor_type\":\"Phi3VImageProcessor\",\"size\":{\"height\":20,\"width\":20},\"num_crops\":6}", 4, "t"},
};
enum { FAMILY_COUNT = sizeof families / sizeof *families };

static const int sizes[][2] = {
    {1, 1}, {1, 40}, {40, 1}, {2, 3}, {97, 61}, {61, 97}, {40, 130}, {64, 64}, {199, 1}, {1, 199}, {401, 2}, {3, 700},
    {24, 24}, {25, 24}, {150, 149},
};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

static void facts_of(const struct family *family, struct preprocess_facts *f)
{
    check_ok(preprocess_parse(span_str(family->config), "test", f));
    f->tile_tokens = family->tile_tokens;
}

static void check_plan(const struct preprocess_plan *p)
{
    assert_int_equal(p->tiles, p->frames * (p->columns * p->rows + (p->overview >= 0)));
    assert_true(p->tile_width > 0 && p->tile_height > 0 && p->inside_width > 0 && p->inside_height > 0);
    assert_true(p->overview < p->tiles);
    assert_true(p->canvas_width == p->columns * p->tile_width || p->tile_width == 40 || p->overview == 4);
}

/* Runs the plan on noise; every float must be a number of a normalised picture. */
static void run_plan(const struct preprocess_facts *f, const struct preprocess_plan *p, bool one_band)
{
    struct image img;
    size_t n;
    check_ok(preprocess_floats(f, p, &n));
    float *out = mem_alloc(MEM_TEST, n * sizeof *out);
    assert_non_null(out);
    memset(out, 0xff, n * sizeof *out); /* NaN */
    media_noise_image(p->width, p->height, 3, &img);
    img.one_band = one_band;
    for (int frame = 0; frame < p->frames; frame++)
        check_ok(preprocess_frame(f, p, &img, out + (size_t)frame * (n / (size_t)p->frames), n / (size_t)p->frames));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(out[i]) < 4))
            fail_msg("%d x %d: value %zu of %zu is %g", p->width, p->height, i, n, (double)out[i]);
    check_fails(NUN_EARG, "room", preprocess_frame(f, p, &img, out, n / (size_t)p->frames - 1));
    image_free(&img);
    mem_free(out);
}

/* Extreme aspects are refused by three families, with a sentence; all else is planned and run. */
static void test_odd_sizes(void **state)
{
    (void)state;
    size_t planned = 0, refused = 0;
    for (size_t k = 0; k < FAMILY_COUNT; k++)
        for (size_t i = 0; i < SIZE_COUNT; i++)
            for (int frames = 0; frames < 3; frames += 2) {
                struct preprocess_facts f;
                struct preprocess_plan p;
                facts_of(&families[k], &f);
                int rc = preprocess_plan(&f, &(struct preprocess_input){.width = sizes[i][0], .height = sizes[i][1],
                                         .frames = frames}, &p);
                if (rc < 0) {
                    assert_true(rc == NUN_EUNSUP && strlen(nun_error()) > 20);
                    refused++;
                    continue;
                }
                check_plan(&p);
                run_plan(&f, &p, i % 2);
                planned++;
            }
    printf("%zu plans run, %zu refused\n", planned, refused);
    assert_true(refused > 0 && refused < planned / 10);
}

/* ---- budgets ---- */

static int64_t pixels_of(const struct preprocess_plan *p)
{
    return (int64_t)p->tiles * p->tile_width * p->tile_height;
}

/* Either kept, or refused with the allowed number in the sentence. Returns whether kept. */
static bool budget_kept(const struct preprocess_facts *f, int width, int height, const struct preprocess_budget *b)
{
    struct preprocess_plan p;
    int rc = preprocess_plan(f, &(struct preprocess_input){.width = width, .height = height, .budget = *b}, &p);
    if (rc < 0) {
        char number[32];
        snprintf(number, sizeof number, "at most %lld", b->max_tokens  ? (long long)b->max_tokens
                                                        : b->max_tiles ? (long long)b->max_tiles
                                                                       : (long long)b->max_pixels);
        assert_int_equal(rc, NUN_ELIMIT);
        if (!strstr(nun_error(), number) || !strstr(nun_error(), "needs"))
            fail_msg("expected \"%s\" and what is needed, found \"%s\"", number, nun_error());
        return false;
    }
    check_plan(&p);
    assert_true(!b->max_tokens || preprocess_tokens(f, &p) <= b->max_tokens);
    assert_true(!b->max_tiles || p.tiles <= b->max_tiles);
    assert_true(!b->max_pixels || pixels_of(&p) <= b->max_pixels);
    run_plan(f, &p, false);
    return true;
}

/* From what a plan wants without a budget downwards: all is kept until something is refused, and less is
 * never easier than more. */
static size_t budgets_fall(const struct preprocess_facts *f, int width, int height, int part, int64_t wanted)
{
    bool kept = true;
    size_t steps = 0;
    for (int64_t most = wanted; most > 0; most = most * 4 / 5 < most ? most * 4 / 5 : most - 1) {
        struct preprocess_budget b = {.max_tokens = part == 0 ? (int)most : 0, .max_tiles = part == 1 ? (int)most : 0,
                                      .max_pixels = part == 2 ? most : 0};
        bool now = budget_kept(f, width, height, &b);
        if (now && !kept)
            fail_msg("%d x %d: %lld of budget %d are kept, more are not", width, height, (long long)most, part);
        assert_true(now || most < wanted);
        kept = now;
        steps += now;
    }
    return steps;
}

static void test_budgets(void **state)
{
    (void)state;
    static const int pictures[][2] = {{97, 61}, {40, 130}, {150, 149}};
    for (size_t k = 0; k < FAMILY_COUNT; k++)
        for (size_t i = 0; i < 3; i++) {
            struct preprocess_facts f;
            struct preprocess_plan p;
            int width = pictures[i][0], height = pictures[i][1];
            facts_of(&families[k], &f);
            check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = width, .height = height}, &p));
            size_t tokens = budgets_fall(&f, width, height, 0, preprocess_tokens(&f, &p));
            size_t tiles = budgets_fall(&f, width, height, 1, p.tiles);
            size_t pixels = budgets_fall(&f, width, height, 2, pixels_of(&p));
            bool folds = strchr(families[k].folds, 't') || strchr(families[k].folds, 'p');
            if (!folds)
                assert_true(tokens == 1 && pixels == 1 && tiles == 1);
            else if (pixels < 2 && (p.tiles > 1 || families[k].folds[0] == 'p'))
                fail_msg("family %zu, %d x %d: no budget of pixels below %lld is kept", k, width, height,
                         (long long)pixels_of(&p));
        }
}

static void test_detail(void **state)
{
    (void)state;
    for (size_t k = 0; k < FAMILY_COUNT; k++) {
        struct preprocess_facts f;
        struct preprocess_plan p;
        facts_of(&families[k], &f);
        struct preprocess_input in = {.width = 97, .height = 61, .budget = {.detail = PREPROCESS_DETAIL_LOW}};
        check_ok(preprocess_plan(&f, &in, &p));
        bool hd = strstr(families[k].config, "Phi3V"); /* which always has one and the whole */
        assert_int_equal(p.columns * p.rows, 1);
        assert_int_equal(p.tiles, 1 + hd);
    }
    struct preprocess_facts f;
    struct preprocess_plan p;
    check_ok(preprocess_default("Qwen2VLImageProcessor", &f));
    struct preprocess_input in = {.width = 2000, .height = 1000};
    check_ok(preprocess_plan(&f, &in, &p));
    assert_true(pixels_of(&p) > 512 * 512);
    in.budget.detail = PREPROCESS_DETAIL_LOW;
    check_ok(preprocess_plan(&f, &in, &p));
    assert_true(pixels_of(&p) <= 512 * 512 && pixels_of(&p) > 512 * 512 * 8 / 10);
    f.tile_tokens = 0;
    check_ok(preprocess_default("SiglipImageProcessor", &f));
    in.budget = (struct preprocess_budget){.max_tokens = 5};
    check_fails(NUN_EARG, "5 tokens", preprocess_plan(&f, &in, &p));
    in.budget = (struct preprocess_budget){.max_tiles = -1};
    check_fails(NUN_EARG, "-1 tiles", preprocess_plan(&f, &in, &p));
}

/* ---- videos ---- */

static void test_videos(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct preprocess_plan p;
    struct preprocess_input in = {.width = 320, .height = 240, .frames = 5};
    check_ok(preprocess_default("Qwen2VLVideoProcessor", &f));
    check_ok(preprocess_plan(&f, &in, &p));
    assert_int_equal(p.tiles, 5);
    assert_int_equal(p.steps, 3);
    assert_int_equal(preprocess_tokens(&f, &p), 3 * (p.patch_rows / 2) * (p.patch_columns / 2));
    in.budget.max_tokens = 100;
    check_ok(preprocess_plan(&f, &in, &p));
    assert_in_range(preprocess_tokens(&f, &p), 60, 100);
    in.budget.max_tokens = 2; /* three steps need a token each */
    check_fails(NUN_ELIMIT, "at most 2 tokens", preprocess_plan(&f, &in, &p));
    in.budget.max_tokens = 0;
    check_ok(preprocess_default("Qwen3VLVideoProcessor", &f));
    check_ok(preprocess_plan(&f, &in, &p)); /* 5 frames count as 4 (half to even) */
    assert_true((int64_t)4 * p.tile_width * p.tile_height <= f.max_pixels);
    in.frames = 1;
    check_fails(NUN_EUNSUP, "at least 2 frames, found 1", preprocess_plan(&f, &in, &p));
    check_ok(preprocess_default("LlavaOnevisionVideoProcessor", &f));
    check_ok(preprocess_plan(&f, &in, &p));
    assert_true(p.video && p.tiles == 1 && p.tile_width == 384);
    in.frames = -1;
    check_fails(NUN_EARG, "-1 frames", preprocess_plan(&f, &in, &p));
    in.frames = 1 << 20;
    check_fails(NUN_ELIMIT, "media_frames", preprocess_plan(&f, &in, &p));
}

/* ---- Idefics2's quarters: each clamped by itself, all in tiles of the largest ---- */

static void test_quarters(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct preprocess_plan p;
    uint8_t mask[5 * 40 * 40];
    static const int inside[5][2] = {{25, 10}, {26, 10}, {25, 11}, {26, 11}, {40, 16}}; /* of 51 x 21 */
    facts_of(&families[8], &f);
    check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = 51, .height = 21}, &p));
    assert_true(p.tiles == 5 && p.overview == 4 && p.tile_width == 40 && p.tile_height == 16);
    check_ok(preprocess_reference_mask(&f, &p, 1, mask, sizeof mask));
    for (int t = 0; t < 5; t++) {
        int width, height, ones = 0;
        preprocess_inside(&f, &p, t, &width, &height);
        assert_int_equal(width, inside[t][0]);
        assert_int_equal(height, inside[t][1]);
        for (int i = 0; i < 40 * 16; i++)
            ones += mask[t * 40 * 16 + i];
        assert_int_equal(ones, width * height);
    }
    struct image img;
    float out[5 * 3 * 40 * 16];
    media_noise_image(51, 21, 3, &img);
    check_ok(preprocess_tiles(&f, &p, &img, out, sizeof out / sizeof *out));
    /* the first quarter is not resized: its first pixel is the picture's, its padding is zero */
    assert_true(out[0] == ((float)(img.data[0] * (1 / 255.0)) - 0.5f) / 0.5f);
    assert_true(out[25] == 0 && out[10 * 40] == 0 && out[9 * 40 + 24] != 0);
    image_free(&img);
}

/* Phi 3.5 Vision's own numbers: canvas and tokens; 757 and 1921 are those that vLLM's tests expect of the original. */
static void test_hd_sizes(void **state)
{
    (void)state;
    static const struct { int width, height, crops, canvas_width, canvas_height, tokens; } rows[] = {
        {1300, 876, 4, 672, 672, 757},     {1300, 876, 16, 1344, 1008, 1921}, {1344, 1344, 16, 1344, 1344, 2509},
        {50, 8000, 16, 336, 5376, 2653},   {640, 480, 4, 672, 672, 757},      {480, 640, 4, 672, 672, 757},
        {333, 1000, 6, 336, 1008, 625},    {1, 1, 1, 336, 336, 313},          {3000, 200, 16, 5040, 336, 2329},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct preprocess_facts f;
        struct preprocess_plan p;
        check_ok(preprocess_default("Phi3VImageProcessor", &f));
        f.max_tiles = rows[i].crops;
        check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = rows[i].width, .height = rows[i].height}, &p));
        assert_int_equal(p.canvas_width, rows[i].canvas_width);
        assert_int_equal(p.canvas_height, rows[i].canvas_height);
        assert_int_equal(preprocess_tokens(&f, &p), rows[i].tokens);
    }
}

/* A tall picture becomes what the same picture lying on its side does, turned back. */
static void test_hd_turned(void **state)
{
    (void)state;
    enum { SIDE = 20, WIDTH = 61, HEIGHT = 33, FLOATS = 7 * 3 * SIDE * SIDE };
    static float lying[FLOATS], upright[FLOATS];
    static uint8_t turned[WIDTH * HEIGHT * 3];
    struct preprocess_facts f;
    struct preprocess_plan p, q;
    struct image img;
    check_ok(preprocess_default("Phi3VImageProcessor", &f));
    f.max_tiles = 6;
    f.size = (struct preprocess_sides){.height = SIDE, .width = SIDE};
    media_noise_image(WIDTH, HEIGHT, 3, &img);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            memcpy(turned + (x * HEIGHT + y) * 3, image_at(&img, x, y), 3);
    struct image tall = {.width = HEIGHT, .height = WIDTH, .channels = 3, .data = turned};
    check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = WIDTH, .height = HEIGHT}, &p));
    check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = HEIGHT, .height = WIDTH}, &q));
    assert_true(p.columns == q.rows && p.rows == q.columns && p.tiles == q.tiles && p.tiles > 2);
    check_ok(preprocess_frame(&f, &p, &img, lying, FLOATS));
    check_ok(preprocess_frame(&f, &q, &tall, upright, FLOATS));
    for (int t = 1; t < p.tiles; t++) { /* the whole is summed in another order */
        int other = 1 + (t - 1) % p.columns * q.columns + (t - 1) / p.columns;
        for (int i = 0; i < 3 * SIDE * SIDE; i++) {
            int c = i / (SIDE * SIDE), y = i / SIDE % SIDE, x = i % SIDE;
            assert_true(lying[t * 3 * SIDE * SIDE + i] == upright[((other * 3 + c) * SIDE + x) * SIDE + y]);
        }
    }
    image_free(&img);
}

/* ---- configs ---- */

static const char *const processors[] = {
    "CLIPImageProcessor", "LlavaImageProcessor", "VideoLlavaImageProcessor", "VideoLlavaVideoProcessor",
    "BitImageProcessor", "SiglipImageProcessor", "BlipImageProcessor", "ViTImageProcessor", "DeiTImageProcessor",
    "ConvNextImageProcessor", "ChameleonImageProcessor", "LlavaNextImageProcessor", "LlavaNextVideoVideoProcessor",
    "LlavaOnevisionImageProcessor", "LlavaOnevisionVideoProcessor", "GotOcr2ImageProcessor", "InternVLVideoProcessor",
    "MllamaImageProcessor", "Idefics2ImageProcessor", "Idefics3ImageProcessor", "SmolVLMImageProcessor",
    "SmolVLMVideoProcessor", "PixtralImageProcessor", "Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor",
    "Qwen2VLVideoProcessor", "Qwen3VLVideoProcessor", "Gemma3ImageProcessor", "FuyuImageProcessor",
    "JanusImageProcessor", "Siglip2ImageProcessor", "Phi3VImageProcessor",
};

static void test_written_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++) {
        struct preprocess_facts f, back;
        json_t *first = NULL, *again = NULL;
        check_ok(preprocess_default(processors[i], &f));
        check_ok(preprocess_json(&f, &first));
        const char *type = strstr(processors[i], "VideoProcessor") ? "video_processor_type" : "image_processor_type";
        assert_string_equal(json_string_value(json_object_get(first, type)), processors[i]);
        check_ok(preprocess_read(first, processors[i], &back));
        check_ok(preprocess_json(&back, &again));
        assert_true(json_equal(first, again));
        assert_ptr_equal(f.kind, back.kind);
        json_decref(first);
        json_decref(again);
    }
}

static void test_open_refuses(void **state)
{
    (void)state;
    struct preprocess_facts f;
    check_fails(NUN_EUNSUP, "nothing says how pictures are prepared",
                preprocess_open(MEDIA_DATA, PREPROCESS_PICTURES, &f));
    check_fails(NUN_EUNSUP, "preprocessor_config.json", preprocess_open(MEDIA_DATA, PREPROCESS_VIDEOS, &f));
}

/* Spellings that published configs have. */
static void test_reads(void **state)
{
    (void)state;
    struct preprocess_facts f;
    check_ok(preprocess_parse(span_str("{\"image_processor_type\":\"Qwen2VLImageProcessor\",\"size\":"
                                       "{\"max_pixels\":12845056,\"min_pixels\":3136}}"), "test", &f));
    assert_true(f.min_pixels == 3136 && f.max_pixels == 12845056);
    check_ok(preprocess_parse(span_str("{\"image_processor_type\":\"LlavaNextImageProcessor\","
                                       "\"aspect_ratio_setting\":\"anyres\",\"size\":{\"shortest_edge\":336}}"),
                              "test", &f));
    check_ok(preprocess_parse(span_str("{\"image_processor_type\":\"SmolVLMImageProcessor\",\"video_sampling\":"
                                       "{\"fps\":1,\"max_frames\":64,\"video_size\":{\"longest_edge\":512}}}"),
                              "test", &f));
    assert_true(f.sampling.frames == 64 && f.video_size.longest_edge == 512 && f.size.longest_edge == 1456);
    check_ok(preprocess_parse(span_str("{\"image_processor_type\":\"FuyuImageProcessor\",\"image_mean\":0.25,"
                                       "\"padding_value\":7.0}"), "test", &f));
    assert_true(f.mean[2] == 0.25 && f.background[1] == 7);
    check_ok(preprocess_parse(span_str("{\"image_processor_type\":\"MllamaImageProcessor\",\"size\":560}"), "test",
                              &f));
    assert_true(f.size.height == 560 && f.size.width == 560 && f.max_tiles == 4);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct { int code; const char *word, *processor, *keys; } rows[] = {
        {NUN_EUNSUP, "max_patches: expected false for the Qwen2VL", "Qwen2VL", "\"max_patches\":4"},
        {NUN_EFORMAT, "shortest_edge and longest_edge, in pixels", "Qwen2VL", "\"size\":{\"shortest_edge\":4}"},
        {NUN_EUNSUP, "size.height", "Qwen2VL", "\"size\":{\"height\":4,\"width\":4}"},
        {NUN_EUNSUP, "size.longest_edge: expected min_pixels", "Qwen2VL",
         "\"size\":{\"min_pixels\":4,\"longest_edge\":9}"},
        {NUN_EFORMAT, "min_pixels: expected at most max_pixels 10, found 20", "Qwen2VL",
         "\"min_pixels\":20,\"max_pixels\":10"},
        {NUN_EFORMAT, "patch_size", "Qwen2VL", "\"patch_size\":0"},
        {NUN_EFORMAT, "merge_size", "Qwen2VL", "\"merge_size\":65"},
        {NUN_EUNSUP, "do_resize: expected true for the Pixtral", "Pixtral", "\"do_resize\":false"},
        {NUN_EUNSUP, "patch_size: expected a square", "Pixtral", "\"patch_size\":{\"height\":4,\"width\":5}"},
        {NUN_EFORMAT, "longest_edge, or height and width", "Pixtral", "\"size\":{\"shortest_edge\":4}"},
        {NUN_EUNSUP, "crop_size: expected size's 336 x 336, found 300 x 300", "LlavaNext", "\"crop_size\":300"},
        {NUN_EUNSUP, "image_grid_pinpoints[1]: expected multiples of 336, found 336 x 700", "LlavaNext",
         "\"image_grid_pinpoints\":[[336,336],[336,700]]"},
        {NUN_EFORMAT, "image_grid_pinpoints[0]", "LlavaNext", "\"image_grid_pinpoints\":[[336]]"},
        {NUN_EFORMAT, "at least one size", "LlavaNext", "\"image_grid_pinpoints\":[]"},
        {NUN_EUNSUP, "do_pad: expected true for the Mllama", "Mllama", "\"do_pad\":false"},
        {NUN_EFORMAT, "max_image_tiles", "Mllama", "\"max_image_tiles\":257"},
        {NUN_EFORMAT, "min_patches: expected at most max_patches 2, found 3", "GotOcr2",
         "\"min_patches\":3,\"max_patches\":2"},
        {NUN_EUNSUP, "padding_mode: expected constant, found reflect", "Fuyu", "\"padding_mode\":\"reflect\""},
        {NUN_EUNSUP, "size: expected multiples of the patch 30", "Fuyu", "\"size\":{\"height\":31,\"width\":60}"},
        {NUN_EUNSUP, "size: expected a square", "Phi3V", "\"size\":{\"height\":31,\"width\":60}"},
        {NUN_EUNSUP, "expected bilinear resizing", "Phi3V", "\"resample\":3"},
        {NUN_EFORMAT, "num_crops", "Phi3V", "\"num_crops\":0"},
        {NUN_EFORMAT, "background_color", "Janus", "\"background_color\":[1,2,300]"},
        {NUN_EFORMAT, "shortest_edge and longest_edge", "Idefics2", "\"size\":{\"longest_edge\":30}"},
        {NUN_EUNSUP, "max_image_size: expected longest_edge", "Idefics3",
         "\"max_image_size\":{\"height\":4,\"width\":4}"},
        {NUN_EUNSUP, "pan_and_scan_scale: expected only keys", "Gemma3", "\"pan_and_scan_scale\":2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[256];
        struct preprocess_facts f;
        snprintf(json, sizeof json, "{\"image_processor_type\":\"%sImageProcessor\",%s}", rows[i].processor,
                 rows[i].keys);
        check_fails(rows[i].code, rows[i].word, preprocess_parse(span_str(json), "test", &f));
    }
}

/* ---- limits and memory ---- */

static void test_limits(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct preprocess_plan p;
    size_t n, kept = limits_table[LIMIT_media_values].value;
    check_ok(preprocess_default("GotOcr2ImageProcessor", &f));
    f.split = true;
    check_ok(preprocess_plan(&f, &(struct preprocess_input){.width = 2000, .height = 2000}, &p));
    check_ok(preprocess_floats(&f, &p, &n));
    limits_table[LIMIT_media_values].value = n;
    check_ok(preprocess_floats(&f, &p, &n));
    limits_table[LIMIT_media_values].value = n - 1;
    check_fails(NUN_ELIMIT, "media_values", preprocess_floats(&f, &p, &n));
    limits_table[LIMIT_media_values].value = kept;
    check_fails(NUN_ELIMIT, "image_side", preprocess_plan(&f, &(struct preprocess_input){.width = 40000, .height = 1},
                                                         &p));
}

/* A header of 65,535 x 65,535 is refused before anything is allocated, at once. */
static void test_bomb(void **state)
{
    (void)state;
    static const uint8_t png[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xff\xff\0\0\xff\xff\x08\2\0\0\0\x39\x67\x4e\x07"
                                 "\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82";
    struct image img;
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    int rc = image_decode(span_of(png, sizeof png - 1), NULL, &img);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    printf("refused in %.3f ms: %s\n", ms, nun_error());
    assert_true(rc == NUN_EFORMAT && strstr(nun_error(), "at least") && !img.data);
    assert_true(ms < 50);
}


static int run_scenario(void *arg)
{
    static float out[16 * 3 * 64 * 64];
    const struct preprocess_facts *f = arg;
    struct preprocess_plan p;
    struct image img;
    TRY(preprocess_plan(f, &(struct preprocess_input){.width = 97, .height = 61}, &p));
    TRY(image_alloc("torture", 97, 61, 3, &img));
    media_noise(img.data, image_bytes(&img));
    int rc = preprocess_tiles(f, &p, &img, out, sizeof out / sizeof *out);
    image_free(&img);
    return rc;
}

static int open_scenario(void *arg)
{
    struct preprocess_facts f;
    return preprocess_open(arg, PREPROCESS_PICTURES, &f);
}

static void test_torture(void **state)
{
    (void)state;
    for (size_t k = 0; k < FAMILY_COUNT; k++) {
        struct preprocess_facts f;
        facts_of(&families[k], &f);
        torture_run("tiles", run_scenario, &f, 1);
    }
    static char folder[] = "../shared/fixtures/llava-next";
    if (file_is_dir(folder))
        torture_run("open", open_scenario, folder, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_sizes), cmocka_unit_test(test_budgets), cmocka_unit_test(test_detail),
        cmocka_unit_test(test_videos), cmocka_unit_test(test_quarters), cmocka_unit_test(test_hd_sizes), cmocka_unit_test(test_hd_turned),
        cmocka_unit_test(test_written_back),
        cmocka_unit_test(test_open_refuses), cmocka_unit_test(test_reads), cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
