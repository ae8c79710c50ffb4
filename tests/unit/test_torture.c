/* Every allocation of loading, answering, learning and saving fails once: a code, a sentence, no leak. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "nunchi/nunchi.h"
#include "../torture.h"
#include "train/trainer.h"

#define RECIPE "tests/data/train/torture.yaml"
#define MODEL "build/test-torture/model"
#define PICTURE "tests/data/scenes-foreign/images/0000.png"

static uint64_t stride(void)
{
    const char *s = getenv("NUNCHI_TEST_STRIDE");
    return s ? strtoull(s, NULL, 10) : 1;
}

static int make_model(void **state)
{
    if (file_exists("build/test-torture") && file_remove_tree("build/test-torture") < 0)
        return -1;
    int rc = nun_train(&(struct nun_train_options){.recipe = RECIPE, .threads = 1});
    if (rc < 0)
        print_error("%s\n", nun_error());
    return rc < 0 ? -1 : 0;
}

static int load_and_answer(void *arg)
{
    struct nun_model *m = NULL;
    struct nun_timeline *t = NULL;
    struct nun_part parts[] = {{.kind = NUN_PART_IMAGE_FILE, .text = PICTURE}, {.kind = NUN_PART_TEXT, .text = "Is there a red circle?"}};
    struct nun_message message = {"user", parts, 2, NULL};
    int rc = nun_model_open(MODEL, &(struct nun_model_options){.threads = 2}, &m);
    if (rc >= 0)
        rc = nun_timeline_create(m, &t);
    if (rc >= 0)
        rc = nun_timeline_chat(t, &(struct nun_chat){.messages = &message, .n_messages = 1});
    if (rc >= 0)
        rc = nun_generate(t, &(struct nun_generate_options){.max_tokens = 4, .ignore_eos = true}, NULL);
    nun_timeline_free(t);
    nun_model_close(m);
    return rc;
}

static int learn(struct trainer *t, struct stage_run *run)
{
    static struct recipe recipe = {.model = (char *)"none.json", .compute = (char *)"bf16", .save_dtype = (char *)"bf16"};
    static struct recipe_stage stage = {.name = (char *)"one", .batch = 2, .tokens = 64, .answers = 30, .questions = 2};
    struct train_graph *g;
    recipe.stages = &stage;
    recipe.stages_count = 1;
    t->recipe = &recipe;
    TRY(model_load(MODEL, &t->model));
    TRY(model_make_trainable(t->model, NULL, NULL));
    TRY(tokenizer_load(MODEL, &t->tokenizer));
    TRY(pool_create(2, &t->pool));
    TRY(world_open(NULL, 0, model_image_size(t->model), &t->source.world));
    TRY(batch_source_init(&t->source, t->tokenizer));
    TRY(preprocess_open(MODEL, PREPROCESS_PICTURES, &t->source.processor));
    TRY(stage_open(t, &stage, true, SCENE_TRAIN, run));
    TRY(run->task->fill(run, 0, &g));
    float one = 1;
    g->share->data = &one;
    TRY(exec_run(g->plan, &(struct exec){.pool = t->pool}));
    return train_publish(t, "build/test-torture/again");
}

static int load_and_learn(void *arg)
{
    struct trainer t = {0};
    struct stage_run run = {0};
    int rc = learn(&t, &run);
    stage_close(&run);
    world_close(&t.source.world);
    tokenizer_free(t.tokenizer);
    model_free(t.model);
    pool_free(t.pool);
    return rc;
}

static void an_answer_survives_every_failing_allocation(void **state)
{
    print_message("%llu allocations\n", (unsigned long long)torture_run("answer", load_and_answer, NULL, stride()));
}

static void a_step_survives_every_failing_allocation(void **state)
{
    print_message("%llu allocations\n", (unsigned long long)torture_run("step", load_and_learn, NULL, stride()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_answer_survives_every_failing_allocation),
                                       cmocka_unit_test(a_step_survives_every_failing_allocation)};
    return cmocka_run_group_tests(tests, make_model, NULL);
}
