/* The engine against docs/tour/tiny.c: tokens, logits, loss and every gradient of one question about one
 * picture, on random weights of the bundled model's architecture. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "tiny_shim.h"
#include "train/trainer.h"

#define RECIPE "tests/data/train/tour.yaml"
#define OUT "build/test-tour/model"
#define RUNS "build/test-tour/runs"

static struct model *model;
static struct tokenizer *tok;

static int open_both(void **state)
{
    if (file_exists(RUNS) && file_remove_tree(RUNS) < 0)
        return -1;
    int rc = nun_train(&(struct nun_train_options){.recipe = RECIPE, .threads = 1});
    if (rc >= 0)
        rc = tokenizer_load(OUT, &tok);
    if (rc >= 0)
        rc = model_load(OUT, &model);
    if (rc >= 0)
        rc = model_make_trainable(model, NULL, NULL);
    if (rc < 0) {
        print_error("%s\n", nun_error());
        return -1;
    }
    tiny_open(OUT);
    return 0;
}

static int close_both(void **state)
{
    model_free(model);
    tokenizer_free(tok);
    return 0;
}

static void scenes_source(struct batch_source *s)
{
    assert_int_equal(batch_source_init(s, tok), 0);
    assert_int_equal(world_open(NULL, 3, model_image_size(model), &s->world), 0);
    assert_int_equal(preprocess_default("SiglipImageProcessor", &s->processor), 0);
    s->square = true;
}

static void words_become_the_same_tokens(void **state)
{
    struct buf corpus;
    struct batch_source source;
    scenes_source(&source);
    buf_init(&corpus, MEM_TEST, 1 << 24);
    assert_int_equal(scene_corpus(&source.world.scene, 99, 40, &corpus), 0);
    for (char *line = strtok(corpus.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        struct ids want = {0};
        int got[1024], n = tiny_encode(line, got);
        assert_int_equal(tokenizer_encode(tok, span_str(line), 0, &want), 0);
        assert_int_equal(n, want.n);
        assert_memory_equal(got, want.at, want.n * sizeof(int));
        ids_free(&want);
    }
    buf_free(&corpus);
    world_close(&source.world);
}

/* Largest difference of two vectors over the largest value of the second. */
static double distance(const float *got, const float *want, size_t n)
{
    double most = 0, scale = 1e-6;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)got[i] - want[i]));
        scale = fmax(scale, fabs((double)want[i]));
    }
    return most / scale;
}

static void logits_and_gradients_agree(void **state)
{
    struct recipe_stage stage = {.name = (char *)"one", .batch = 1, .tokens = 60, .answers = 30, .questions = 1};
    struct recipe recipe = {.compute = (char *)"f32"};
    struct trainer t = {.recipe = &recipe, .model = model, .tokenizer = tok};
    struct stage_run r;
    struct train_graph *g;
    assert_int_equal(pool_create(2, &t.pool), 0);
    scenes_source(&t.source);
    assert_int_equal(stage_open(&t, &stage, true, SCENE_TRAIN, &r), 0);
    assert_int_equal(r.task->fill(&r, 5, &g), 0);
    const struct batch *b = questions_batch(g);
    struct g_tensor *out = questions_logits(g);
    const struct batch_answer *a = &b->answer[0];
    int R = a->count, first = b->pick[0] + 1, T = b->pick[R - 1] + 2, V = model->text.facts.vocab;
    float one = 1, *logits = calloc((size_t)T * (size_t)V, sizeof *logits);
    g->share->data = &one;
    g_output(out);
    plan_free(g->plan);
    assert_int_equal(plan_create(g->graph, &g->plan), 0);
    assert_int_equal(exec_run(g->plan, &(struct exec){.pool = t.pool}), 0);
    b->ids[T - 1] = b->labels[R - 1]; /* </s>, which the packed row need not hold */
    double loss = tiny_learn(b->pixels, b->ids, T, first, logits);
    assert_float_equal(g_f32(g->loss)[0], loss, 1e-5 * fabs(loss));
    assert_true(distance(g_f32(out), logits + (size_t)(first - 1) * (size_t)V, (size_t)R * (size_t)V) < 2e-5);
    int compared = 0;
    for (int i = 0; i < model->n_params; i++) {
        const struct g_param *p = model->params[i];
        const float *want = tiny_grad(p->name);
        size_t n;
        assert_non_null(want);
        assert_int_equal(shape_count(&p->shape, &n), 0);
        bool zero = strstr(p->name, "k_proj.bias") || strstr(p->name, "post_layernorm"); /* exactly zero in theory; unused */
        if (!zero && distance(p->grad, want, n) > 1e-4)
            fail_msg("%s: gradients differ by %g of the largest", p->name, distance(p->grad, want, n));
        compared += !zero;
    }
    assert_true(compared > 40);
    free(logits);
    stage_close(&r);
    world_close(&t.source.world);
    pool_free(t.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_become_the_same_tokens),
                                       cmocka_unit_test(logits_and_gradients_agree)};
    return cmocka_run_group_tests(tests, open_both, close_both);
}
