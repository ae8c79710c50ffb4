/* nunchi_vl in training, a run of seconds for every way of seeing: the loss falls, frozen parts keep their bytes, stops change
 * nothing, the finished folder answers, and what was trained is what is served. Runs from the project's root. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "graph/exec.h"
#include "media/image_write.h"
#include "nunchi/nunchi.h"
#include "train/trainer.h"

#define ROOM "build/test-train-vl/"
enum { CONNECT_STEPS = 4, PATH = 256 };

static const char *const paradigms[] = {"decoder", "cross", "hybrid", "patches"};

static void path_of(const char *paradigm, const char *rest, char out[PATH])
{
    snprintf(out, PATH, ROOM "%s%s", paradigm, rest);
}

/* tiny-vl.yaml with PARADIGM replaced. */
static void write_recipe(const char *paradigm, char path[PATH])
{
    static const char key[] = "PARADIGM";
    struct buf b, changed;
    buf_init(&b, MEM_TEST, 1u << 20);
    buf_init(&changed, MEM_TEST, 1u << 20);
    check_ok(file_read("tests/data/train/tiny-vl.yaml", &b));
    const char *at = buf_cstr(&b);
    for (const char *next; (next = strstr(at, key)); at = next + strlen(key)) {
        buf_append(&changed, at, (size_t)(next - at));
        buf_str(&changed, paradigm);
    }
    buf_str(&changed, at);
    path_of(paradigm, ".yaml", path);
    check_ok(file_write_durable(path, changed.ptr, changed.len));
    buf_free(&b);
    buf_free(&changed);
}

static int fresh(const char *paradigm)
{
    char folder[PATH];
    path_of(paradigm, "", folder);
    return file_exists(folder) ? file_remove_tree(folder) : 0;
}

static int train(const char *paradigm, int threads, bool resume, uint64_t stop_after)
{
    char path[PATH];
    write_recipe(paradigm, path);
    return nun_train(&(struct nun_train_options){.recipe = path, .threads = threads, .resume = resume, .stop_after = stop_after});
}

/* The decoder that all begin with. */
static int make_decoder(void **state)
{
    json_t *config;
    struct model *m;
    check_ok(file_mkdirs(ROOM));
    check_ok(json_load_file_limited("tests/data/train/tiny-vl-llm.json", &config));
    check_ok(model_init(config, 3, &m));
    check_ok(model_save(m, ROOM "llm", DT_F32));
    model_free(m);
    json_decref(config);
    return 0;
}

/* ---- learning ------------------------------------------------------------------------------ */

static double loss_at(const json_t *scores, size_t stage)
{
    const json_t *s = json_array_get(json_object_get(scores, "stages"), stage);
    return json_number_value(json_dig(s, "scores.test.loss"));
}

static void the_loss_falls(const char *paradigm)
{
    char path[PATH];
    json_t *scores;
    path_of(paradigm, "/runs/scores.json", path);
    check_ok(json_load_file_limited(path, &scores));
    double start = loss_at(scores, 0), tuned = loss_at(scores, 2); /* between them the decoder is frozen, and as random as it began */
    if (!(start > 0 && tuned < start - 1))
        fail_msg("%s: losses %g, %g", paradigm, start, tuned);
    assert_true(json_number_value(json_dig(scores, "prefill.tokens")) > 0);
    json_decref(scores);
}

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

/* Tensors of two files that begin with `prefix`: none moved, or (moves) at least one did. */
static void check_part(struct safetensors *before, struct safetensors *after, const char *prefix, bool moves)
{
    int parts = 0, moved = 0;
    for (size_t i = 0; i < st_count(before); i++) {
        const struct st_tensor *a = st_at(before, i), *b = st_find(after, span_str(a->name));
        if (!b || !begins(a->name, prefix))
            continue;
        assert_int_equal(a->bytes, b->bytes);
        parts++;
        moved += memcmp(a->data, b->data, a->bytes) != 0;
    }
    if (parts && moves != (moved > 0))
        fail_msg("%s: %d of %d tensors moved", prefix, moved, parts);
}

/* The first stage teaches the connector and the layers that look, from a decoder of another folder; the second not the tower. */
static void frozen_parts_keep_their_bytes(const char *paradigm)
{
    char path[PATH];
    struct safetensors *llm, *connected, *done;
    check_ok(st_open(ROOM "llm/model.safetensors", &llm));
    path_of(paradigm, "/runs/step-00000004/model.safetensors", path);
    check_ok(st_open(path, &connected));
    path_of(paradigm, "/model/model.safetensors", path);
    check_ok(st_open(path, &done));
    int taken = 0;
    for (size_t i = 0; i < st_count(llm); i++) {
        char name[PATH];
        const struct st_tensor *a = st_at(llm, i), *b;
        snprintf(name, sizeof name, "language_model.%s", a->name);
        b = st_find(connected, span_str(name));
        assert_non_null(b);
        assert_memory_equal(a->data, b->data, a->bytes);
        taken++;
    }
    assert_true(taken > 10);
    check_part(connected, done, "vision_tower.", false);
    check_part(connected, done, "language_model.", true);
    check_part(connected, done, "language_model.model.cross_layers.", true);
    check_part(connected, done, "connector.", true);
    st_close(llm);
    st_close(connected);
    st_close(done);
}

static void trains(void **state)
{
    const char *paradigm = *state;
    check_ok(fresh(paradigm));
    assert_int_equal(train(paradigm, 2, false, CONNECT_STEPS), NUN_ESTOP); /* what it has learnt so far stays in a checkpoint */
    check_ok(train(paradigm, 2, true, 0));
    the_loss_falls(paradigm);
    frozen_parts_keep_their_bytes(paradigm);
}

static void result(const char *paradigm, char hex[65])
{
    char path[PATH];
    struct buf b;
    struct digest d;
    buf_init(&b, MEM_TEST, 64u << 20);
    path_of(paradigm, "/model/model.safetensors", path);
    check_ok(file_read(path, &b));
    digest_of(b.ptr, b.len, &d);
    digest_hex(&d, hex);
    buf_free(&b);
}

static void stops_and_threads_change_nothing(void **state)
{
    char parts[65], whole[65];
    result("hybrid", parts); /* of trains: two threads, stopped once */
    check_ok(fresh("hybrid"));
    assert_int_equal(train("hybrid", 1, false, 7), NUN_ESTOP);
    check_ok(train("hybrid", 2, true, 0));
    result("hybrid", whole);
    assert_string_equal(parts, whole);
    check_ok(fresh("hybrid"));
    check_ok(train("hybrid", 1, false, 0));
    result("hybrid", whole);
    assert_string_equal(parts, whole);
}

/* Before anything is learnt. */
static void what_cannot_be_cut_is_refused(void **state)
{
    char path[PATH];
    struct recipe *r;
    write_recipe("cross", path);
    check_ok(recipe_load(path, &r));
    r->test_pictures = 0;
    r->stages[0].decoder_layers = 1;
    check_ok(fresh("cross"));
    check_fails(NUN_EUNSUP, "all take part", train_run(r, &(struct nun_train_options){.threads = 1}));
    recipe_free(r);
}

/* ---- serving ------------------------------------------------------------------------------- */

/* A picture of the test split, another (the same inverted), the first question about it, and the logits of its answer's first
 * token. */
struct asked { struct buf png, other; struct scene_qa qa; float *logits; int vocab; };

static void draw(struct stage_run *r, struct asked *out)
{
    const struct world *w = &r->source.world;
    struct image img;
    int width, height, n;
    w->row->sides(w, 0, &width, &height);
    check_ok(image_alloc("picture", width, height, 3, &img));
    check_ok(w->row->draw(w, 0, 0, img.data, NULL, &out->qa, 1, &n));
    check_ok(image_encode(&img, "png", 0, &out->png));
    for (size_t i = 0; i < (size_t)width * (size_t)height * 3; i++)
        img.data[i] = (uint8_t)(255 - img.data[i]);
    check_ok(image_encode(&img, "png", 0, &out->other));
    image_free(&img);
}

/* As the trainer computes them from the finished folder. */
static void trained(const char *paradigm, struct asked *out)
{
    char recipe[PATH], folder[PATH];
    struct train_graph *g;
    struct stage_run r;
    float one = 1;
    struct trainer t = {.options = &(struct nun_train_options){0}};
    write_recipe(paradigm, recipe);
    path_of(paradigm, "/model", folder);
    check_ok(recipe_load(recipe, &t.recipe));
    char *config = t.recipe->model, *processor = t.recipe->processor;
    t.recipe->model = folder;
    t.recipe->processor = NULL;
    check_ok(pool_create(2, &t.pool));
    check_ok(train_make_parts(&t));
    check_ok(model_pack(t.model, GEMM_F32, true, t.pool));
    struct recipe_stage s = t.recipe->stages[1];
    s.told = 0;
    check_ok(stage_open(&t, &s, false, SCENE_TEST, &r));
    check_ok(r.task->fill(&r, 0, &g));
    g->share->data = &one;
    check_ok(exec_run(g->plan, &(struct exec){.pool = t.pool}));
    const struct g_tensor *logits = questions_logits(g);
    out->vocab = (int)g_last(logits);
    out->logits = mem_calloc(MEM_TEST, (size_t)out->vocab, sizeof *out->logits);
    memcpy(out->logits, g_f32(logits), (size_t)out->vocab * sizeof *out->logits);
    draw(&r, out);
    stage_close(&r);
    model_free(t.model);
    tokenizer_free(t.tokenizer);
    world_close(&t.source.world);
    pool_free(t.pool);
    t.recipe->model = config;
    t.recipe->processor = processor;
    recipe_free(t.recipe);
}

/* How far the logits are from the trainer's when this picture is served. */
static float served(struct nun_model *m, const struct asked *a, struct span png)
{
    struct nun_part part[] = {{.kind = NUN_PART_IMAGE_BYTES, .bytes = png.ptr, .len = png.len}, {.kind = NUN_PART_TEXT, .text = a->qa.question}};
    struct nun_message user = {"user", part, 2, NULL};
    struct nun_timeline *t;
    const float *logits;
    float worst = 0;
    size_t n;
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = &user, .n_messages = 1}));
    check_ok(nun_timeline_logits(t, &logits, &n));
    assert_int_equal(n, a->vocab);
    for (size_t i = 0; i < n; i++)
        worst = fmaxf(worst, fabsf(logits[i] - a->logits[i]));
    nun_timeline_free(t);
    return worst;
}

static void what_is_trained_is_what_is_served(void **state)
{
    struct asked a = {0};
    char folder[PATH];
    struct nun_model *m;
    buf_init(&a.png, MEM_TEST, 64u << 20);
    buf_init(&a.other, MEM_TEST, 64u << 20);
    trained(*state, &a);
    path_of(*state, "/model", folder);
    check_ok(nun_model_open(
        folder, &(struct nun_model_options){.threads = 2, .compute = NUN_F32, .cache_k = NUN_CACHE_F32, .cache_v = NUN_CACHE_F32}, &m));
    float same = served(m, &a, buf_view(&a.png)), other = served(m, &a, buf_view(&a.other));
    print_message("%s: %.2g from the trainer's, and %.2g with another picture\n", (const char *)*state, (double)same, (double)other);
    assert_true(same < 5e-6f && other > 1e-3f);
    nun_model_close(m);
    mem_free(a.logits);
    buf_free(&a.png);
    buf_free(&a.other);
}

int main(void)
{
    enum { WAYS = sizeof paradigms / sizeof paradigms[0] };
    struct CMUnitTest tests[2 * WAYS + 2];
    int n = 0;
    for (int i = 0; i < WAYS; i++) {
        void *state = (void *)(uintptr_t)paradigms[i];
        tests[n++] = (struct CMUnitTest){"trains", trains, NULL, NULL, state};
        tests[n++] = (struct CMUnitTest){"what is trained is what is served", what_is_trained_is_what_is_served, NULL, NULL, state};
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(stops_and_threads_change_nothing);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(what_cannot_be_cut_is_refused);
    return cmocka_run_group_tests(tests, make_decoder, NULL);
}
