/* GGUF files as they are run: twins against the reference numbers of their folders, a real small model against
 * another engine's text, and what each number format costs in perplexity. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "../check.h"
#include "base/file.h"
#include "formats/json.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"
#include "nunchi/verify.h"

#define FIXTURES "../shared/fixtures/"
#define STORIES "../shared/vectors/stories260k/"

/* ---- twins --------------------------------------------------------------------------------------- */

/* Greatest float32 distance allowed, as for folders; the fast path is judged there. */
static const double worst = 5e-5;
struct seen { const char *twin; int cases, wrong; };

static void report(void *arg, const struct nun_verify_case *c)
{
    struct seen *s = arg;
    if (strcmp(c->path, "f32") != 0)
        return;
    bool ok = c->ok && c->max_abs < worst && c->greedy_same == c->greedy_total;
    s->cases++;
    s->wrong += !ok;
    if (!ok)
        print_message("%s %s: %s, %g, greedy %d/%d\n", s->twin, c->name, c->error ? c->error : "differs", c->max_abs,
                      c->greedy_same, c->greedy_total);
}

static void twin(void **state)
{
    char file[256], folder[256];
    struct seen s = {.twin = *state};
    struct nun_verify_options o = {.threads = 2, .cases = folder, .no_train = true, .report = report, .arg = &s};
    snprintf(file, sizeof file, FIXTURES "gguf/%s.gguf", s.twin);
    snprintf(folder, sizeof folder, FIXTURES "%s", s.twin);
    if (!file_exists(file))
        skip();
    if (nun_verify(file, &o, NULL) < 0)
        fail_msg("%s: %s", s.twin, nun_error());
    assert_true(s.cases > 0);
    assert_int_equal(s.wrong, 0);
}

/* ---- stories260K --------------------------------------------------------------------------------- */

static struct nun_model *open_cached(const char *path, enum nun_cache cache)
{
    struct nun_model_options o = {.compute = NUN_F32, .threads = 2, .cache_k = cache, .cache_v = cache};
    struct nun_model *m;
    if (nun_model_open(path, &o, &m) < 0)
        fail_msg("%s: %s", path, nun_error());
    return m;
}

static struct nun_model *open_f32(const char *path)
{
    return open_cached(path, NUN_CACHE_F32);
}

static json_t *expected(void)
{
    json_t *list;
    check_ok(json_load_file_limited(STORIES "expected.json", &list));
    return list;
}

/* 200 positions from the start token, greedily. */
static void tell(struct nun_model *m, int32_t *ids)
{
    static const int32_t start = 1;
    struct nun_generate_options o = {.max_tokens = 199, .ignore_eos = true};
    struct nun_timeline *t;
    size_t n;
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_ids(t, &start, 1));
    check_ok(nun_generate(t, &o, NULL));
    const int32_t *all = nun_timeline_tokens(t, &n);
    assert_int_equal(n, 200);
    memcpy(ids, all, n * sizeof *ids);
    nun_timeline_free(t);
}

static void test_story_of_another_engine(void **state)
{
    int32_t from_gguf[200], from_folder[200];
    char *text;
    size_t len;
    if (!file_exists(STORIES "stories260K.gguf"))
        skip();
    struct nun_model *m = open_f32(STORIES "stories260K.gguf"), *folder = open_f32(STORIES "hf");
    json_t *list = expected();
    const char *want = json_string_value(json_object_get(json_array_get(list, 0), "expected"));
    tell(m, from_gguf);
    tell(folder, from_folder);
    assert_memory_equal(from_gguf, from_folder, sizeof from_gguf);
    check_ok(nun_decode(m, from_gguf, 200, NUN_TEXT_SKIP_SPECIAL, &text, &len));
    const char *bare = text + strspn(text, " ");
    if (strncmp(bare, want, strlen(want)) != 0 && strncmp(want, bare, strlen(bare)) != 0)
        fail_msg("expected \"%s\", found \"%s\"", want, bare);
    assert_true(strlen(bare) + 8 > strlen(want));
    nun_free(text);
    json_decref(list);
    nun_model_close(m);
    nun_model_close(folder);
}

/* Of the other engine's stories, each from the start token. */
static double perplexity_cached(const char *path, enum nun_cache cache)
{
    struct nun_model *m = open_cached(path, cache);
    json_t *list = expected();
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_object_get(json_array_get(list, i), "expected"));
        struct nun_timeline *t;
        int32_t *ids;
        size_t n;
        check_ok(nun_encode(m, text, strlen(text), NUN_TEXT_ADD_SPECIAL, &ids, &n));
        float *score = mem_calloc(MEM_TEST, n, sizeof *score);
        check_ok(nun_timeline_create(m, &t));
        check_ok(nun_timeline_ids(t, ids, 1));
        check_ok(nun_timeline_score(t, ids + 1, n - 1, score));
        for (size_t k = 0; k + 1 < n; k++)
            sum -= (double)score[k];
        count += n - 1;
        nun_timeline_free(t);
        nun_free(ids);
        mem_free(score);
    }
    json_decref(list);
    nun_model_close(m);
    return exp(sum / (double)count);
}

static double perplexity(const char *path)
{
    return perplexity_cached(path, NUN_CACHE_F32);
}

/* most: how much worse than F32 the format may make it. */
static const struct { const char *name; double most; } formats[] = {
    {"F16", 0.001}, {"Q8_0", 0.01}, {"Q5_1", 0.03}, {"Q5_0", 0.03}, {"Q4_1", 0.15}, {"Q4_0", 0.15}, {"IQ4_NL", 0.15}};
enum { FORMATS = sizeof formats / sizeof formats[0] };

static void check_cost(const char *whose, int i, double p, double base)
{
    print_message("%-8s %-7s perplexity %.4f, %+.2f %%\n", whose, formats[i].name, p, 100 * (p / base - 1));
    assert_true(p / base - 1 < formats[i].most);
}

static void test_formats_cost_little(void **state)
{
    char file[256];
    if (!file_exists(STORIES "stories260K.gguf"))
        skip();
    double base = perplexity(STORIES "stories260K.gguf");
    print_message("F32 perplexity %.4f\n", base);
    for (int i = 0; i < FORMATS; i++) {
        snprintf(file, sizeof file, STORIES "stories260K-%s.gguf", formats[i].name);
        check_cost("theirs", i, perplexity(file), base);
    }
}

/* The same formats written by us, from the folder's weights. */
static void test_formats_written_cost_little(void **state)
{
    char folder[] = "/tmp/nunchi-formats-XXXXXX", file[256];
    if (!file_exists(STORIES "stories260K.gguf"))
        skip();
    assert_non_null(mkdtemp(folder));
    double base = perplexity(STORIES "stories260K.gguf");
    for (int i = 0; i < FORMATS - 1; i++) {
        struct nun_convert_options o = {.type = formats[i].name};
        snprintf(file, sizeof file, "%s/%s.gguf", folder, formats[i].name);
        check_ok(nun_convert(STORIES "stories260K.gguf", file, &o));
        check_cost("ours", i, perplexity(file), base);
    }
    check_ok(file_remove_tree(folder));
}

static void test_caches_cost_little(void **state)
{
    static const struct { const char *name; enum nun_cache cache; double most; } caches[] = {
        {"BF16", NUN_CACHE_BF16, 0.005}, {"Q8_0", NUN_CACHE_Q8_0, 0.01}, {"Q4_0", NUN_CACHE_Q4_0, 0.6}};
    if (!file_exists(STORIES "stories260K.gguf"))
        skip();
    double base = perplexity(STORIES "stories260K.gguf");
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        double p = perplexity_cached(STORIES "stories260K.gguf", caches[i].cache);
        print_message("cache    %-7s perplexity %.4f, %+.2f %%\n", caches[i].name, p, 100 * (p / base - 1));
        assert_true(p != base); /* the format was taken */
        assert_true(p / base - 1 < caches[i].most);
    }
}

int main(void)
{
    static const char *const twins[] = {
        "deepseek-v3", "falcon-mamba", "gpt-neox", "granite", "jamba", "llama-bias", "llama", "llama3", "mamba", "mamba2",
        "mixtral", "olmo2", "olmo3", "olmoe", "phi4", "qwen2-moe", "qwen2", "qwen3", "rope-linear", "rope-yarn"};
    enum { TWINS = sizeof twins / sizeof twins[0] };
    struct CMUnitTest tests[TWINS + 4] = {cmocka_unit_test(test_story_of_another_engine), cmocka_unit_test(test_formats_cost_little),
                                          cmocka_unit_test(test_formats_written_cost_little),
                                          cmocka_unit_test(test_caches_cost_little)};
    for (int i = 0; i < TWINS; i++)
        tests[4 + i] = (struct CMUnitTest){twins[i], twin, NULL, NULL, (void *)(uintptr_t)twins[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
