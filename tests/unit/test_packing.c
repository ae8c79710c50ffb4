/* Batches: a packed question gives the bits that it gives alone, and micro-batches give the gradients
 * of the big batch. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "train/trainer.h"

static struct trainer trainer;
static struct recipe recipe;
static const char *config_file;

static int open_all(void **state)
{
    json_t *config;
    struct tok_special special[] = {{"<s>", TOK_BOS}, {"</s>", TOK_EOS}, {"<pad>", TOK_PAD}, {"<image>", TOK_NO_ROLE},
                                    {"<|user|>", TOK_NO_ROLE}, {"<|assistant|>", TOK_NO_ROLE}};
    struct tok_train how = {.vocab_size = 288, .special = special, .n_special = 6};
    struct span text = SPAN("Is there a red circle? yes no How many blue squares are there? What colour is the star?");
    recipe.compute = (char *)"bf16";
    trainer.recipe = &recipe;
    int rc = pool_create(2, &trainer.pool);
    if (rc >= 0)
        rc = tokenizer_train_bpe(&text, 1, &how, &trainer.tokenizer);
    if (rc >= 0)
        rc = json_load_file_limited(config_file, &config);
    if (rc >= 0) {
        rc = model_init(config, 5, &trainer.model);
        json_decref(config);
    }
    if (rc >= 0)
        rc = model_make_trainable(trainer.model, NULL, NULL);
    if (rc >= 0)
        rc = world_open(NULL, 11, model_image_size(trainer.model), &trainer.source.world);
    if (rc >= 0)
        rc = batch_source_init(&trainer.source, trainer.tokenizer);
    if (rc >= 0)
        rc = preprocess_default("SiglipImageProcessor", &trainer.source.processor);
    trainer.source.square = true;
    if (rc < 0)
        print_error("%s\n", nun_error());
    return rc < 0 ? -1 : 0;
}

static int close_all(void **state)
{
    world_close(&trainer.source.world);
    model_free(trainer.model);
    tokenizer_free(trainer.tokenizer);
    pool_free(trainer.pool);
    return 0;
}

static struct recipe_stage stage(uint32_t batch, uint32_t accumulate)
{
    return (struct recipe_stage){.name = (char *)"test", .batch = batch, .accumulate = accumulate, .tokens = 200, .answers = 100,
                                 .questions = 5};
}

static void run(struct train_graph *g, float *share)
{
    g->share->data = share;
    assert_int_equal(exec_run(g->plan, &(struct exec){.pool = trainer.pool}), 0);
}

/* Move question q of the row to right behind the prefix and blank the rest. */
static void leave_alone(struct batch *b, const struct batch_answer *a, int prefix)
{
    int first_pick = b->pick[a->first], start = first_pick, T = b->shape.tokens;
    while (b->spans[4 * (start - 1) + 2] == b->spans[4 * first_pick + 2])
        start--;
    int n = b->pick[a->first + a->count - 1] + 1 - start;
    memmove(b->ids + prefix, b->ids + start, (size_t)n * sizeof(int32_t));
    for (int i = 0; i < n; i++) {
        b->pos[prefix + i] = prefix + i;
        memcpy(b->spans + 4 * (prefix + i), (int32_t[4]){0, prefix, prefix, prefix + i + 1}, 16);
    }
    for (int i = prefix + n; i < T; i++)
        memset(b->spans + 4 * i, 0, 16);
    for (int i = 0; i < b->shape.answers; i++)
        b->pick[i] = i < a->count ? first_pick - start + prefix + i : -1;
}

static void a_packed_question_is_as_if_alone(void **state)
{
    struct recipe_stage s = stage(1, 1);
    struct stage_run r;
    struct train_graph *g;
    float one = 1;
    int compared = 0;
    assert_int_equal(stage_open(&trainer, &s, false, SCENE_TRAIN, &r), 0);
    assert_int_equal(r.task->fill(&r, 3, &g), 0);
    struct batch *b = questions_batch(g);
    const struct g_tensor *out = questions_logits(g);
    int V = trainer.model->text.facts.vocab, R = b->shape.answers, prefix = 2 + b->image_tokens;
    float *packed = calloc((size_t)R * (size_t)V, sizeof *packed);
    int questions = b->answers[0];
    assert_true(questions >= 3);
    run(g, &one);
    memcpy(packed, out->data, (size_t)R * (size_t)V * sizeof *packed);
    for (int q = 0; q < questions; q++) {
        assert_int_equal(batch_fill(b, &r.source, 3, NULL), 0);
        struct batch_answer a = b->answer[q];
        leave_alone(b, &a, prefix);
        run(g, &one);
        assert_memory_equal(out->data, packed + (size_t)a.first * (size_t)V, (size_t)a.count * (size_t)V * sizeof *packed);
        compared += a.count;
    }
    assert_true(compared > 5);
    free(packed);
    stage_close(&r);
}

/* Gradients of pictures 0..3 in micro-batches of `each`, into `out` [n_values]. */
static void gradients(uint32_t each, float *out)
{
    struct recipe_stage s = stage(each, 1);
    struct stage_run r;
    struct train_graph *g;
    double total = 0;
    assert_int_equal(stage_open(&trainer, &s, true, SCENE_TRAIN, &r), 0);
    for (uint32_t at = 0; at < 4; at += each) {
        assert_int_equal(r.task->fill(&r, at, &g), 0);
        total += g->weight;
    }
    for (int i = 0; i < trainer.model->n_params; i++)
        memset(trainer.model->params[i]->grad, 0, (size_t)g_count(&(struct g_tensor){.shape = trainer.model->params[i]->shape}) * 4);
    for (uint32_t at = 0; at < 4; at += each) {
        assert_int_equal(r.task->fill(&r, at, &g), 0);
        float share = (float)(g->weight / total);
        run(g, &share);
    }
    for (int i = 0; i < trainer.model->n_params; i++) {
        size_t n = (size_t)g_count(&(struct g_tensor){.shape = trainer.model->params[i]->shape});
        memcpy(out, trainer.model->params[i]->grad, n * sizeof *out);
        out += n;
    }
    stage_close(&r);
}

static void micro_batches_make_the_big_batch(void **state)
{
    size_t n = trainer.model->n_values;
    float *whole = calloc(n, sizeof *whole), *parts = calloc(n, sizeof *parts);
    double norm = 0, diff = 0;
    gradients(4, whole);
    for (uint32_t each = 1; each <= 2; each++) {
        gradients(each, parts);
        norm = diff = 0;
        for (size_t i = 0; i < n; i++) {
            norm += (double)whole[i] * whole[i];
            diff += ((double)whole[i] - parts[i]) * ((double)whole[i] - parts[i]);
        }
        print_message("micro-batches of %u: gradients differ by %.1e of their norm\n", each, sqrt(diff / norm));
        assert_true(norm > 0 && sqrt(diff / norm) < 1e-6);
    }
    free(whole);
    free(parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_packed_question_is_as_if_alone),
                                       cmocka_unit_test(micro_batches_make_the_big_batch)};
    config_file = "tests/data/train/tour-config.json";
    int failed = cmocka_run_group_tests_name("in the sequence", tests, open_all, close_all);
    config_file = "tests/data/train/beside-config.json";
    return failed + cmocka_run_group_tests_name("beside it", tests, open_all, close_all);
}
