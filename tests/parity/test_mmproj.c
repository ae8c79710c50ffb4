/* Models of two GGUF files, decoder and tower, as another engine's converter writes them, against the reference numbers of
 * their folders; and pairs that do not belong together. Skipped where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../check.h"
#include "../torture.h"
#include "base/file.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "models/gguf_model.h"
#include "nunchi/nunchi.h"
#include "runtime/timeline.h"

#define FIXTURES "../shared/fixtures/"
#define PAIRS "tests/data/mmproj/"
enum { PATH = 512, GREEDY = 16, IDS = 128 };

/* Greatest distance seen was 1e-5. */
static const double NEAR = 5e-5;

/* What is special in a pair. */
struct pair_row {
    const char *name;
    int cases;
    const char *numbers; /* instead of the folder's, where GGUF cannot say some fact of the folder */
    const char *folder, *tower; /* of another name than the pair */
    bool own_limits; /* the folder's limits of pixels are not the published ones, and GGUF does not speak of them */
};

static void open_pair(const struct pair_row *row, const char *folder, struct nun_model **out)
{
    char text[PATH], tower[PATH];
    snprintf(text, sizeof text, PAIRS "%s.gguf", row->name);
    snprintf(tower, sizeof tower, PAIRS "mmproj-%s.gguf", row->tower ? row->tower : row->name);
    check_ok(nun_model_open(text, &(struct nun_model_options){.threads = 2, .compute = NUN_F32, .mmproj = tower}, out));
    assert_true((*out)->has_preprocess && (*out)->tokenizer && (*out)->chat.template);
    if (!row->own_limits)
        return;
    check_ok(preprocess_open(folder, PREPROCESS_PICTURES, &(*out)->preprocess));
    check_ok(preprocess_open(folder, PREPROCESS_VIDEOS, &(*out)->video_preprocess));
}

static int pictures_of(const struct nun_model *m, const char *folder, const json_t *one, struct picture *out[4])
{
    const json_t *images = json_object_get(one, "images"), *frames = json_array_get(json_object_get(one, "videos"), 0);
    const char *list[8];
    char paths[8][PATH + 32];
    int n = 0;
    for (size_t i = 0; i < 8 && i < json_array_size(frames ? frames : images); i++) {
        snprintf(paths[i], sizeof paths[i], "%s/verify/%s", folder, json_string_value(json_array_get(frames ? frames : images, i)));
        list[i] = paths[i];
    }
    if (frames)
        check_ok(picture_from_files(m, list, (int)json_array_size(frames), 0.5, 1, NULL, &out[n++]));
    for (size_t i = 0; !frames && i < json_array_size(images); i++)
        check_ok(picture_from_files(m, &list[i], 1, 0, 1, NULL, &out[n++]));
    return n;
}

static void check_numbers(const char *name, const json_t *want, const float *got, size_t vocab)
{
    assert_int_equal(json_array_size(want), vocab);
    for (size_t i = 0; i < vocab; i++)
        if (!(fabs(got[i] - json_number_value(json_array_get(want, i))) < NEAR))
            fail_msg("%s: logit %zu: %g, expected %g", name, i, (double)got[i], json_number_value(json_array_get(want, i)));
}

/* The pair may lack the last tokens of the folder's vocabulary. */
static void check_last(const char *folder, const char *name, const float *got, size_t vocab)
{
    char path[PATH + 32], key[64];
    struct safetensors *st;
    snprintf(path, sizeof path, "%s/verify/expected.safetensors", folder);
    snprintf(key, sizeof key, "%s/logits", name);
    check_ok(st_open(path, &st));
    const struct st_tensor *t = st_find(st, span_str(key));
    assert_true(t && t->shape.d[1] >= (int64_t)vocab);
    const float *want = (const float *)t->data + (t->shape.d[0] - 1) * t->shape.d[1];
    for (size_t i = 0; i < vocab; i++)
        if (!(fabs((double)got[i] - want[i]) < NEAR))
            fail_msg("%s: logit %zu: %g, expected %g", name, i, got[i], want[i]);
    st_close(st);
}

static void check_case(struct nun_model *m, const char *folder, const json_t *one)
{
    const json_t *list = json_object_get(one, "input_ids"), *greedy = json_object_get(one, "greedy");
    struct nun_timeline *t;
    struct picture *pictures[4];
    int32_t ids[IDS];
    const float *logits;
    size_t n = json_array_size(list), vocab;
    assert_true(n <= IDS);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    const json_t *tiles = json_object_get(one, "max_dynamic_patch");
    int most = m->preprocess.max_tiles, count;
    m->preprocess.max_tiles = tiles ? (int)json_integer_value(tiles) : most;
    count = pictures_of(m, folder, one, pictures);
    m->preprocess.max_tiles = most;
    check_ok(nun_timeline_create(m, &t));
    check_ok(timeline_append(t, ids, n, pictures, (size_t)count));
    check_ok(nun_timeline_prefill(t));
    check_ok(nun_timeline_logits(t, &logits, &vocab));
    const char *name = json_string_value(json_object_get(one, "name"));
    const json_t *last = json_object_get(one, "last");
    if (last)
        check_numbers(name, last, logits, vocab);
    else
        check_last(folder, name, logits, vocab);
    check_ok(nun_generate(t, &(struct nun_generate_options){.max_tokens = GREEDY, .ignore_eos = true}, NULL));
    const int32_t *all = nun_timeline_tokens(t, &vocab);
    for (size_t i = 0; i < GREEDY; i++)
        assert_int_equal(all[n + i], json_integer_value(json_array_get(greedy, i)));
    nun_timeline_free(t);
}

static void test_pair(void **state)
{
    char folder[PATH], path[PATH + 32];
    const struct pair_row *row = *state;
    struct nun_model *m;
    json_t *file;
    const json_t *one;
    size_t i;
    snprintf(folder, sizeof folder, FIXTURES "%s", row->folder ? row->folder : row->name);
    if (!file_is_dir(folder))
        skip();
    if (row->numbers)
        snprintf(path, sizeof path, PAIRS "%s", row->numbers);
    else
        snprintf(path, sizeof path, "%s/verify/case.json", folder);
    check_ok(json_load_file_limited(path, &file));
    open_pair(row, folder, &m);
    json_array_foreach(json_object_get(file, "cases"), i, one)
        check_case(m, folder, one);
    assert_int_equal(i, row->cases);
    nun_model_close(m);
    json_decref(file);
}

/* ---- a vocabulary without the placeholder ------------------------------------------------------- */

enum { BEHIND = 321 }; /* ids of the pair: 0 .. 320 */

static void open_untold(struct nun_model **out)
{
    open_pair(&(struct pair_row){"llava-plain", .tower = "llava"}, NULL, out);
    struct nun_model_info info;
    nun_model_info(*out, &info);
    assert_int_equal(info.vocab, BEHIND);
}

/* Conversations become the ids that the folder's template, processor and tokenizer give, placeholders too. */
static void test_untold(void **state)
{
    struct nun_model *m;
    json_t *file;
    const json_t *one;
    size_t i;
    if (!file_is_dir(FIXTURES "llava"))
        skip();
    check_ok(json_load_file_limited(FIXTURES "llava/verify/case.json", &file));
    open_untold(&m);
    json_array_foreach(json_object_get(file, "cases"), i, one) {
        const json_t *list = json_object_get(one, "messages"), *message, *part, *want = json_object_get(one, "input_ids");
        struct nun_part parts[8];
        struct nun_message messages[4];
        char path[PATH] = "";
        size_t k, j, n = 0, turns = 0;
        struct nun_timeline *t;
        json_array_foreach(list, k, message) {
            size_t from = n;
            json_array_foreach(json_object_get(message, "content"), j, part) {
                const char *text = json_string_value(json_object_get(part, "text"));
                if (!text)
                    snprintf(path, sizeof path, FIXTURES "llava/verify/%s",
                             json_string_value(json_array_get(json_object_get(one, "images"), 0)));
                assert_true(n < 8);
                parts[n++] = (struct nun_part){.kind = text ? NUN_PART_TEXT : NUN_PART_IMAGE_FILE, .text = text ? text : path};
            }
            assert_true(turns < 4);
            messages[turns++] = (struct nun_message){
                .role = json_string_value(json_object_get(message, "role")), .parts = parts + from, .n_parts = n - from};
        }
        if (!turns)
            continue;
        check_ok(nun_timeline_create(m, &t));
        check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = messages, .n_messages = turns}));
        const int32_t *got = nun_timeline_tokens(t, &n);
        assert_int_equal(n, json_array_size(want));
        for (k = 0; k < n; k++)
            assert_int_equal(got[k], json_integer_value(json_array_get(want, k)));
        nun_timeline_free(t);
    }
    assert_int_equal(i, 4);
    nun_model_close(m);
    json_decref(file);
}

/* The id behind the vocabulary is a picture's, and nobody else's. */
static void test_behind(void **state)
{
    struct nun_model *m;
    struct nun_timeline *t;
    struct nun_part typed = {.kind = NUN_PART_TEXT, .text = "what is <image>?"};
    struct nun_message message = {.role = "user", .parts = &typed, .n_parts = 1};
    open_untold(&m);
    check_ok(nun_timeline_create(m, &t));
    check_fails(NUN_EARG, "0 given, which take 0 placeholders; the text has 1", nun_timeline_ids(t, (const int32_t[]){5, BEHIND}, 2));
    check_fails(NUN_EARG, "id 322 is outside the vocabulary of 321", nun_timeline_ids(t, (const int32_t[]){BEHIND + 1}, 1));
    check_fails(NUN_EARG, "0 given", nun_timeline_text(t, "<image>", 7, NUN_TEXT_SPECIAL));
    check_ok(nun_timeline_text(t, "<image>", 7, 0));
    check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = &message, .n_messages = 1}));
    check_ok(nun_timeline_prefill(t));
    size_t n;
    const int32_t *ids = nun_timeline_tokens(t, &n);
    for (size_t i = 0; i < n; i++)
        assert_in_range(ids[i], 0, BEHIND - 1);
    nun_timeline_free(t);
    nun_model_close(m);
}

/* Without its tower it is a model of text. */
static void test_alone(void **state)
{
    struct nun_model *m;
    struct nun_model_info info;
    check_ok(nun_model_open(PAIRS "qwen2-vl.gguf", &(struct nun_model_options){.threads = 1}, &m));
    nun_model_info(m, &info);
    assert_string_equal(info.architecture, "Qwen2ForCausalLM");
    nun_model_close(m);
}

/* A picture for a model whose tower was forgotten. */
static void test_forgotten(void **state)
{
    static const char *const picture = FIXTURES "llava/verify/wide.png";
    struct nun_model *m;
    struct picture *p = NULL;
    if (!file_exists(picture))
        skip();
    check_ok(nun_model_open(PAIRS "llava.gguf", &(struct nun_model_options){.threads = 1}, &m));
    check_fails(NUN_EUNSUP, "takes no pictures without the GGUF file of its tower: give it with --mmproj",
                picture_from_files(m, &picture, 1, 0, 1, NULL, &p));
    nun_model_close(m);
}

static void test_refused(void **state)
{
    struct nun_model *m;
    check_fails(NUN_EUNSUP, "belongs to a decoder of Qwen3ForCausalLM",
                nun_model_open(PAIRS "qwen2-vl.gguf", &(struct nun_model_options){.mmproj = PAIRS "mmproj-qwen3-vl.gguf"}, &m));
    check_fails(NUN_EUNSUP, "expected a tower",
                nun_model_open(PAIRS "qwen2-vl.gguf", &(struct nun_model_options){.mmproj = PAIRS "qwen2-vl.gguf"}, &m));
    check_fails(NUN_EARG, "goes with a GGUF file",
                nun_model_open("tests/data", &(struct nun_model_options){.mmproj = PAIRS "mmproj-qwen3-vl.gguf"}, &m));
    check_fails(NUN_EUNSUP, "belongs to a decoder of LlamaForCausalLM or MistralForCausalLM, the model is Qwen2ForCausalLM",
                nun_model_open(PAIRS "qwen2-vl.gguf", &(struct nun_model_options){.mmproj = PAIRS "mmproj-llava.gguf"}, &m));
    check_fails(NUN_EFORMAT, "the tower's features are 48 wide, the model's states 64: the files are not a pair",
                nun_model_open(PAIRS "smolvlm.gguf", &(struct nun_model_options){.mmproj = PAIRS "mmproj-llava.gguf"}, &m));
    assert_true(nun_model_open(PAIRS "mmproj-qwen2-vl.gguf", NULL, &m) < 0);
    assert_true(nun_model_open(PAIRS "qwen2-vl.gguf", &(struct nun_model_options){.mmproj = PAIRS "absent.gguf"}, &m) < 0);
}

/* ---- files that say another thing than they did ------------------------------------------------- */

/* The small pair of a fuzz corpus, one text in it replaced by another as long. */
static int open_changed(const char *name, const char *from, const char *to)
{
    char path[PATH];
    json_t *config;
    struct safetensors *st;
    struct buf b;
    uint64_t first;
    buf_init(&b, MEM_TEST, 1 << 20);
    snprintf(path, sizeof path, "tests/fuzz/corpus/mmproj/%s", name);
    check_ok(file_read(path, &b));
    memcpy(&first, b.ptr, sizeof first);
    char *at = memmem(b.ptr + sizeof first + first, b.len - sizeof first - first, from, strlen(from));
    assert_true(at && strlen(from) == strlen(to));
    memcpy(at, to, strlen(to));
    struct span text = span_of(b.ptr + sizeof first, first), tower = span_of(text.ptr + first, b.len - sizeof first - first);
    int rc = gguf_sight_open_bytes(text, tower, &config, &st);
    if (rc >= 0) {
        json_decref(config);
        st_close(st);
    }
    buf_free(&b);
    return rc;
}

/* Squares of patches without the matrix that joins them. */
static void test_squares(void **state)
{
    static const char merger[] = "mm.patch_merger.weight";
    struct buf text, tower;
    json_t *config;
    struct safetensors *st;
    buf_init(&text, MEM_TEST, 1 << 20);
    buf_init(&tower, MEM_TEST, 1 << 20);
    check_ok(file_read(PAIRS "mistral3.gguf", &text));
    check_ok(file_read(PAIRS "mmproj-mistral3.gguf", &tower));
    char *at = memmem(tower.ptr, tower.len, merger, sizeof merger - 1);
    assert_non_null(at);
    at[5] = 'b';
    check_fails(NUN_EUNSUP, "squares of 2 patches, but no matrix that joins them",
                gguf_sight_open_bytes(buf_view(&text), buf_view(&tower), &config, &st));
    buf_free(&text);
    buf_free(&tower);
}

static void test_unknown(void **state)
{
    check_ok(open_changed("llava", "mm.2.weight", "mm.2.weight"));
    check_ok(open_changed("llava", "clip.projector_type", "clip.projector_said")); /* files of 2023 have no such key */
    check_fails(NUN_EUNSUP, "with the projector \"ldp\"", open_changed("llava", "mlp", "ldp"));
    check_fails(NUN_EUNSUP, "(mlp_norm, of Yi-VL)", open_changed("llava", "mm.2.weight", "mm.3.weight"));
    check_fails(NUN_EUNSUP, "(LLaVA 1.6)", open_changed("llava", "clip.vision.attention.head_count", "clip.vision.image_grid_pinpoints"));
    check_fails(NUN_EUNSUP, "tensor \"v.post_lm.weight\"", open_changed("smolvlm", "v.post_ln.weight", "v.post_lm.weight"));
    check_fails(NUN_EUNSUP, "general.architecture \"clip\"", open_changed("gemma3", "gemma3", "gemma9"));
}

/* ---- every allocation fails once ----------------------------------------------------------- */

static int open_both(void *arg)
{
    char text[PATH], tower[PATH];
    json_t *config = NULL, *processor = NULL;
    struct safetensors *weights = NULL;
    snprintf(text, sizeof text, PAIRS "%s.gguf", (const char *)arg);
    snprintf(tower, sizeof tower, PAIRS "mmproj-%s.gguf", (const char *)arg);
    int rc = gguf_model_open(text, false, &config, &weights);
    if (rc >= 0)
        rc = gguf_sight_add(text, tower, &config, &weights);
    if (rc >= 0)
        rc = gguf_sight_processor(tower, false, &processor);
    json_decref(processor);
    json_decref(config);
    st_close(weights);
    return rc;
}

static void test_torture(void **state)
{
    static const char *const names[] = {"qwen2-vl", "qwen3-vl", "llava", "internvl2", "smolvlm", "pixtral", "gemma3", "mistral3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(torture_run(names[i], open_both, (void *)(uintptr_t)names[i], 3) > 100);
}

int main(void)
{
    static struct pair_row rows[] = {{"qwen2-vl", 4, .own_limits = true}, {"qwen3-vl", 4, .own_limits = true}, {"llava", 4}, {"internvl2", 5},
                                     {"smolvlm", 3}, {"pixtral", 4}, {"gemma3", 3, "gemma3.json"},
                                     {"llava-plain", 4, NULL, "llava", "llava"}, {"mistral3", 4}};
    const struct CMUnitTest tests[] = {
        {"qwen2-vl", test_pair, NULL, NULL, &rows[0]},
        {"qwen3-vl", test_pair, NULL, NULL, &rows[1]},
        {"llava", test_pair, NULL, NULL, &rows[2]},
        {"internvl2", test_pair, NULL, NULL, &rows[3]},
        {"smolvlm", test_pair, NULL, NULL, &rows[4]},
        {"pixtral", test_pair, NULL, NULL, &rows[5]},
        {"gemma3", test_pair, NULL, NULL, &rows[6]},
        {"llava-plain", test_pair, NULL, NULL, &rows[7]},
        {"mistral3", test_pair, NULL, NULL, &rows[8]},
        cmocka_unit_test(test_untold),
        cmocka_unit_test(test_behind),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_squares),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("mmproj", tests, NULL, NULL);
}
