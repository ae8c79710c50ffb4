/* Whole trainings of a tiny model: the same bytes whatever the threads, the stops and the kills; frozen
 * parts untouched. Runs from the project's root. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/seam.h"
#include "formats/safetensors.h"
#include "models/model.h"
#include "nunchi/train.h"
#include "train/recipe.h"
#include "train/start.h"

#define RECIPE "tests/data/train/tiny.yaml"
#define RUNS "build/test-train/runs"
#define OUT "build/test-train/model"

static int fresh(void)
{
    return file_exists(RUNS) ? file_remove_tree(RUNS) : 0;
}

static int train(int threads, bool resume, uint64_t stop_after)
{
    return nun_train(&(struct nun_train_options){.recipe = RECIPE, .threads = threads, .resume = resume, .stop_after = stop_after});
}

/* BLAKE2b of the finished weights and of the log without its timings. */
static void result(char hex[65])
{
    struct buf b;
    struct digest d;
    buf_init(&b, MEM_TEST, 64u << 20);
    assert_int_equal(file_read(OUT "/model.safetensors", &b), 0);
    digest_of(b.ptr, b.len, &d);
    digest_hex(&d, hex);
    buf_free(&b);
}

static void run_fresh(int threads, char hex[65])
{
    assert_int_equal(fresh(), 0);
    assert_int_equal(train(threads, false, 0), 0);
    result(hex);
}

static void same_bytes_for_any_threads(void **state)
{
    char one[65], two[65], again[65];
    run_fresh(1, one);
    run_fresh(2, two);
    run_fresh(2, again);
    assert_string_equal(one, two);
    assert_string_equal(two, again);
}

/* A report of curves beside the log; and the published tower is as narrow as a recipe asks. */
static void a_report_is_written(void **state)
{
    struct buf b;
    char hex[65], output[64], runs[64];
    run_fresh(2, hex);
    buf_init(&b, MEM_TEST, 64u << 20);
    assert_int_equal(file_read(RUNS "/report.html", &b), 0);
    assert_non_null(strstr(buf_cstr(&b), "<svg"));
    assert_non_null(strstr(buf_cstr(&b), "Learning rate"));
    assert_null(strstr(buf_cstr(&b), "nan"));
    buf_free(&b);
    assert_int_equal(nun_recipe_paths(RECIPE, output, runs, sizeof runs), 0);
    assert_string_equal(output, OUT);
    assert_string_equal(runs, RUNS);
    assert_int_equal(nun_recipe_paths(RECIPE, output, runs, 8), NUN_ELIMIT);
}

/* Activation checkpointing saves memory and changes no bit, dropout included. */
static void recompute_changes_nothing(void **state)
{
    struct buf b, changed;
    char plain[65], again[65];
    const char key[] = "    batch: 4\n";
    run_fresh(2, plain);
    buf_init(&b, MEM_TEST, 1u << 20);
    buf_init(&changed, MEM_TEST, 1u << 20);
    assert_int_equal(file_read(RECIPE, &b), 0);
    int stages = 0;
    for (const char *at = buf_cstr(&b), *next; *at; at = next) {
        next = strstr(at, key);
        stages += next != NULL;
        next = next ? next + sizeof key - 1 : at + strlen(at);
        buf_append(&changed, at, (size_t)(next - at));
        if (*next)
            buf_str(&changed, "    recompute: true\n");
    }
    assert_int_equal(stages, 2);
    assert_int_equal(file_write_durable("build/test-train/recompute.yaml", changed.ptr, changed.len), 0);
    assert_int_equal(fresh(), 0);
    assert_int_equal(nun_train(&(struct nun_train_options){.recipe = "build/test-train/recompute.yaml", .threads = 2}), 0);
    result(again);
    assert_string_equal(plain, again);
    buf_free(&b);
    buf_free(&changed);
}

/* Neurons that say nothing go first: the pruned tower sees what it saw. */
static void light_neurons_are_pruned(void **state)
{
    struct model *m;
    enum { KEEP = 5 };
    assert_int_equal(model_load(OUT, &m), 0);
    assert_int_equal(model_make_trainable(m, NULL, NULL), 0);
    int n = m->vision.facts.intermediate, width = m->vision.facts.hidden;
    for (int l = 0; l < m->vision.facts.layers; l++)
        for (int i = KEEP; i < n; i++) /* all but the last KEEP */
            memset((float *)(uintptr_t)m->vision.layer[l][NN_up_w]->data + (size_t)(i - KEEP) * (size_t)width, 0,
                   (size_t)width * sizeof(float));
    const float *up = m->vision.layer[0][NN_up_w]->data, *down = m->vision.layer[0][NN_down_w]->data;
    float first_in = up[(size_t)(n - KEEP) * (size_t)width], last_out = down[(size_t)width * (size_t)n - 1];
    assert_int_equal(model_prune_tower(m, KEEP), 0);
    assert_int_equal(m->vision.facts.intermediate, KEEP);
    assert_int_equal(m->vision.layer[0][NN_up_w]->shape.d[0], KEEP);
    assert_int_equal(m->vision.layer[0][NN_up_b]->shape.d[0], KEEP);
    assert_int_equal(m->vision.layer[0][NN_down_w]->shape.d[1], KEEP);
    assert_true(up[0] == first_in && down[(size_t)width * KEEP - 1] == last_out);
    assert_int_equal(model_save(m, OUT "-pruned", DT_F32), 0);
    model_free(m);
    assert_int_equal(model_load(OUT "-pruned", &m), 0); /* names, shapes and config agree */
    assert_int_equal(model_prune_tower(m, 0), NUN_EARG);
    model_free(m);
}

static void resume_is_the_same_run(void **state)
{
    char whole[65], parts[65];
    run_fresh(2, whole);
    for (uint64_t stop = 1; stop < 10; stop += 4) { /* also between checkpoints, and in both stages */
        assert_int_equal(fresh(), 0);
        assert_int_equal(train(2, false, stop), NUN_ESTOP);
        assert_int_equal(train(1, true, 3), NUN_ESTOP);
        int rc = train(2, true, 0);
        assert_int_equal(rc, 0);
        result(parts);
        assert_string_equal(parts, whole);
    }
}

/* A child trains and is killed after `us` microseconds. 1 when it had finished by itself. */
static int train_and_kill(useconds_t us)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(train(1, true, 0) == 0 ? 0 : 3);
    for (useconds_t waited = 0; waited < us; waited += 2000) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return 1;
        }
        usleep(2000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

static void kill_minus_nine_changes_nothing(void **state)
{
    char whole[65], killed[65];
    const char *more = getenv("NUNCHI_TEST_KILLS");
    int kills = more ? (int)strtol(more, NULL, 10) : 6;
    run_fresh(1, whole);
    assert_int_equal(fresh(), 0);
    struct rng r = rng_at(20, 0);
    int done = 0, finished = 0;
    uint64_t start = seam_now_ns();
    assert_int_equal(train(1, false, 1), NUN_ESTOP);
    useconds_t one_step = (useconds_t)((seam_now_ns() - start) / 1000) + 1000;
    while (done < kills) {
        if (train_and_kill(one_step / 2 + rng_below(&r, 6 * one_step))) {
            finished++;
            result(killed);
            assert_string_equal(killed, whole);
            assert_int_equal(fresh(), 0);
        } else {
            done++;
        }
    }
    while (!train_and_kill(60 * 1000 * 1000))
        ;
    result(killed);
    assert_string_equal(killed, whole);
    print_message("%d kills, %d runs finished between them\n", done, finished);
}

static void frozen_parts_keep_their_bytes(void **state)
{
    struct safetensors *before, *after;
    assert_int_equal(fresh(), 0);
    assert_int_equal(train(2, false, 6), NUN_ESTOP); /* the end of the first stage */
    assert_int_equal(st_open(RUNS "/step-00000006/model.safetensors", &before), 0);
    assert_int_equal(train(2, true, 0), 0);
    assert_int_equal(st_open(OUT "/model.safetensors", &after), 0);
    int frozen = 0, moved = 0;
    for (size_t i = 0; i < st_count(before); i++) {
        const struct st_tensor *a = st_at(before, i), *b = st_find(after, span_str(a->name));
        assert_non_null(b);
        bool same = memcmp(a->data, b->data, a->bytes) == 0;
        if (!strncmp(a->name, "vision_tower.", 13)) {
            assert_true(same);
            frozen++;
        } else {
            moved += !same;
        }
    }
    assert_true(frozen > 10 && moved > 10);
    st_close(before);
    st_close(after);
}

/* The tiny recipe with `find` replaced, as build/test-train/<name>.yaml. */
static void change_recipe(const char *name, const char *find, const char *with, char *path, size_t cap)
{
    struct buf b, changed;
    buf_init(&b, MEM_TEST, 1u << 20);
    buf_init(&changed, MEM_TEST, 1u << 20);
    assert_int_equal(file_read(RECIPE, &b), 0);
    const char *at = strstr(buf_cstr(&b), find);
    assert_non_null(at);
    buf_append(&changed, b.ptr, (size_t)(at - b.ptr));
    buf_str(&changed, with);
    buf_str(&changed, at + strlen(find));
    snprintf(path, cap, "build/test-train/%s.yaml", name);
    assert_int_equal(file_mkdirs("build/test-train"), 0);
    assert_int_equal(file_write_durable(path, changed.ptr, changed.len), 0);
    buf_free(&b);
    buf_free(&changed);
}

static json_t *scores(void)
{
    json_t *o;
    assert_int_equal(json_load_file_limited(RUNS "/scores.json", &o), 0);
    return o;
}

/* The loss of all tokens, once more from those of every kind. */
static double loss_by_kind(const json_t *test)
{
    double nats = 0, tokens = 0;
    const char *name;
    const json_t *kind;
    json_object_foreach(json_object_get(test, "kinds"), name, kind) {
        nats += json_number_value(json_object_get(kind, "nats"));
        tokens += json_number_value(json_object_get(kind, "tokens"));
        assert_true(json_number_value(json_object_get(kind, "fine_tokens")) <= json_number_value(json_object_get(kind, "tokens")));
    }
    return nats / tokens;
}

/* What every stage leaves behind is written down, and a run that was stopped writes the same (but for its seconds). */
static void scores_tell_every_stage(void **state)
{
    static const char *const names[] = {"start", "captions", "questions"};
    char path[128];
    change_recipe("scores", "eval_pictures: 4", "eval_pictures: 4\ntest_pictures: 8", path, sizeof path);
    struct nun_train_options o = {.recipe = path, .threads = 2};
    assert_int_equal(fresh(), 0);
    assert_int_equal(nun_train(&o), 0);
    json_t *whole = scores();
    assert_int_equal(fresh(), 0);
    o.stop_after = 8;
    assert_int_equal(nun_train(&o), NUN_ESTOP);
    o.stop_after = 0;
    o.resume = true;
    assert_int_equal(nun_train(&o), 0);
    json_t *parts = scores();
    for (size_t i = 0; i < 3; i++) {
        const json_t *a = json_array_get(json_object_get(whole, "stages"), i), *b = json_array_get(json_object_get(parts, "stages"), i);
        assert_string_equal(json_string_value(json_object_get(a, "name")), names[i]);
        assert_true(json_equal(json_object_get(a, "scores"), json_object_get(b, "scores")));
        assert_true(json_equal(json_object_get(a, "flops_per_picture"), json_object_get(b, "flops_per_picture")));
        const json_t *test = json_object_get(json_object_get(a, "scores"), "test");
        assert_true(fabs(loss_by_kind(test) - json_number_value(json_object_get(test, "loss"))) < 1e-5);
    }
    const json_t *read = json_object_get(whole, "prefill");
    assert_true(json_number_value(json_object_get(read, "tokens")) > 16);
    json_decref(whole);
    json_decref(parts);
}

/* A part's rate of 0 freezes it, another's is its own. */
static void parts_learn_at_their_own_rate(void **state)
{
    char path[128], first[65], same[65], other[65];
    const char *const rates[] = {"0.003", "0.0015"};
    char *const hex[] = {first, other};
    run_fresh(2, same);
    for (int i = 0; i < 2; i++) {
        char with[160];
        snprintf(with, sizeof with, "    lr: 0.003\n    parts:\n      - {name: vision_tower., lr: %s}\n", rates[i]);
        change_recipe("parts", "    lr: 0.003\n", with, path, sizeof path);
        assert_int_equal(fresh(), 0);
        assert_int_equal(nun_train(&(struct nun_train_options){.recipe = path, .threads = 2}), 0);
        result(hex[i]);
    }
    assert_string_equal(first, same);
    assert_string_not_equal(other, same);
    struct safetensors *before, *after;
    change_recipe("parts", "    lr: 0.003\n", "    lr: 0.003\n    parts:\n      - {name: language_model., lr: 0}\n", path, sizeof path);
    assert_int_equal(fresh(), 0);
    assert_int_equal(nun_train(&(struct nun_train_options){.recipe = path, .threads = 2, .stop_after = 1}), NUN_ESTOP);
    assert_int_equal(st_open(RUNS "/step-00000001/model.safetensors", &before), 0);
    assert_int_equal(nun_train(&(struct nun_train_options){.recipe = path, .threads = 2, .resume = true, .stop_after = 3}), NUN_ESTOP);
    assert_int_equal(st_open(RUNS "/step-00000004/model.safetensors", &after), 0);
    int frozen = 0, moved = 0;
    for (size_t i = 0; i < st_count(before); i++) {
        const struct st_tensor *a = st_at(before, i), *b = st_find(after, span_str(a->name));
        bool text = !strncmp(a->name, "language_model.", 15), equal = !memcmp(a->data, b->data, a->bytes);
        assert_true(!text || equal);
        frozen += text;
        moved += !text && !equal;
    }
    assert_true(frozen > 5 && moved > 5);
    st_close(before);
    st_close(after);
}

static const float *values(const struct model *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i]->name, name))
            return m->params[i]->data;
    fail_msg("no %s", name);
    return NULL;
}

static struct model *begun(const char *config_path, int patch, const char *ours, int want)
{
    json_t *config;
    struct model *m;
    struct recipe_start start = {(char *)OUT, (char *)ours, (char *)ours};
    struct recipe r = {.start = &start, .start_count = 1};
    assert_int_equal(json_load_file_limited(config_path, &config), 0);
    json_t *vision = json_object_get(config, "vision_config");
    int64_t side = json_integer_value(json_object_get(vision, "image_size")), small = json_integer_value(json_object_get(vision, "patch_size"));
    if (patch) {
        json_object_set_new(vision, "patch_size", json_integer(small * patch));
        json_object_set_new(vision, "image_size", json_integer(side * patch));
    }
    assert_int_equal(model_init(config, 1, &m), 0);
    assert_int_equal(start_apply(m, &r), want);
    json_decref(config);
    return m;
}

/* Tensors of another folder by name; the patches of a tower for pictures twice as large see their mean. */
static void models_begin_with_weights_of_others(void **state)
{
    static const char patch_name[] = "vision_tower.vision_model.embeddings.patch_embedding.weight", *const config = "tests/data/train/tiny-config.json";
    char hex[65];
    struct model *from;
    run_fresh(2, hex);
    assert_int_equal(model_load(OUT, &from), 0);
    assert_int_equal(model_make_trainable(from, NULL, NULL), 0);
    struct model *same = begun(config, 0, "vision_tower.", 0), *twice = begun(config, 2, "vision_tower.", 0);
    const float *a = values(from, patch_name), *b = values(same, patch_name), *c = values(twice, patch_name);
    int p = from->vision.facts.patch;
    assert_memory_equal(a, b, (size_t)(3 * p * p) * sizeof *a);
    for (int i = 0; i < 4 * p * p; i++) /* the first filter's first channel */
        assert_true(c[i] == a[i / (2 * p) / 2 * p + i % (2 * p) / 2] / 4);
    model_free(same);
    model_free(twice);
    model_free(begun(config, 0, "no_such_part.", NUN_EFORMAT));
    assert_non_null(strstr(nun_error(), "gives no tensor"));
    model_free(from);
}

static void rates_follow_the_schedule(void **state)
{
    struct recipe_stage s = {.lr = 1, .schedule = (char *)"linear", .decay = 0.5f, .warmup = 10};
    assert_float_equal(recipe_rate(&s, 0, 101), 0.1, 1e-6);
    assert_float_equal(recipe_rate(&s, 50, 101), 1, 1e-6);
    assert_float_equal(recipe_rate(&s, 75, 101), 0.5, 1e-6);
    assert_float_equal(recipe_rate(&s, 100, 101), 0, 1e-6);
    s.schedule = (char *)"cosine";
    s.floor = 0.1f;
    assert_float_equal(recipe_rate(&s, 50, 101), 0.55, 1e-6);
    assert_float_equal(recipe_rate(&s, 100, 101), 0.1, 1e-6);
}

static void bad_recipes_are_refused(void **state)
{
    struct recipe *r;
    static const char *const bad[][2] = {
        {"name: x\n", "missing"},
        {"name: x\nmodel: m\noutput: o\nruns: r\nseed: 1\nstages: []\n", "number"},
        {"name: x\nunknown: 3\n", "key"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(file_mkdirs("build/test-train"), 0);
        assert_int_equal(file_write_durable("build/test-train/bad.yaml", bad[i][0], strlen(bad[i][0])), 0);
        assert_int_equal(recipe_load("build/test-train/bad.yaml", &r), NUN_EFORMAT);
        assert_non_null(strstr(nun_error(), "bad.yaml"));
        assert_null(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_follow_the_schedule), cmocka_unit_test(bad_recipes_are_refused),
        cmocka_unit_test(kill_minus_nine_changes_nothing), cmocka_unit_test(same_bytes_for_any_threads), cmocka_unit_test(a_report_is_written),
                                       cmocka_unit_test(recompute_changes_nothing), cmocka_unit_test(light_neurons_are_pruned),
        cmocka_unit_test(resume_is_the_same_run), cmocka_unit_test(frozen_parts_keep_their_bytes),
        cmocka_unit_test(scores_tell_every_stage), cmocka_unit_test(parts_learn_at_their_own_rate),
        cmocka_unit_test(models_begin_with_weights_of_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
