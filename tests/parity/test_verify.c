/* Every family against the numbers of the reference implementations: outputs, greedy ids, the fast path,
 * losses, gradients and AdamW steps, through the same door that `nunchi verify` uses. Skipped where the
 * fixtures are absent. And verify itself: it must see a wrong weight. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/safetensors.h"
#include "nunchi/verify.h"

#define FIXTURES "../shared/fixtures/"

/* Greatest float32 distance seen, with room for other instruction sets. */
static const double WORST = 5e-5;

static void report(void *arg, const struct nun_verify_case *c)
{
    if (c->ok)
        return;
    print_message("%s %s (%s): %s\n", (const char *)arg, c->name, c->path, c->error ? c->error : "over tolerance");
    for (size_t i = 0; i < c->n_items; i++)
        if (!c->items[i].ok)
            print_message("    %s: %g, %g of what is allowed\n", c->items[i].name, c->items[i].max_abs, c->items[i].excess);
}

static void family(void **state)
{
    const char *name = *state;
    char folder[256];
    snprintf(folder, sizeof folder, "%s%s", check_root(name), name);
    if (!file_is_dir(folder))
        skip();
    struct nun_verify_options o = {.threads = 2, .report = report, .arg = (void *)(uintptr_t)name, .modules = true};
    struct nun_verify_summary s;
    int rc = nun_verify(folder, &o, &s);
    if (rc < 0)
        print_message("%s: %s\n", name, nun_error());
    assert_int_equal(rc, 0);
    assert_true(s.cases > 1 && s.failed == 0);
    assert_true(s.worst_f32 < WORST);
}

/* The dump holds what expected.safetensors holds, and the curves of training. */
static void dump(void **state)
{
    struct nun_verify_options o = {.dump = "test_verify_dump.safetensors"};
    struct safetensors *got, *want;
    if (!file_is_dir(FIXTURES "llama"))
        skip();
    assert_int_equal(nun_verify(FIXTURES "llama", &o, NULL), 0);
    assert_int_equal(st_open(o.dump, &got), 0);
    assert_int_equal(st_open(FIXTURES "llama/verify/expected.safetensors", &want), 0);
    static const char *const keys[] = {"len7/logits", "len45/logits", "len45/greedy", "train/loss", "train/steps_loss",
                                       "train/steps_grad_norm", "train/packed_loss", "grad/lm_head.weight", "final/model.norm.weight"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_non_null(st_find(got, span_str(keys[i])));
    assert_int_equal(st_find(got, span_str("len45/greedy"))->dtype, DT_I64);
    assert_true(shape_eq(&st_find(got, span_str("len7/logits"))->shape, &st_find(want, span_str("len7/logits"))->shape));
    st_close(got);
    st_close(want);
    remove(o.dump);
}

/* The cases of one model with another model's weights must fail, not pass. */
static void wrong_model(void **state)
{
    struct nun_verify_options o = {.cases = FIXTURES "llama3", .no_train = true};
    struct nun_verify_summary s = {0};
    if (!file_is_dir(FIXTURES "llama"))
        skip();
    assert_true(nun_verify(FIXTURES "llama", &o, &s) != 0);
    assert_true(s.failed > 0);
    assert_true(nun_verify("no/such/folder", NULL, NULL) < 0);
}

int main(void)
{
    static const char *const families[] = {"llama", "llama3", "llama-bias", "llava", "llava-siglip", "vipllava",
                                           "clip", "clip-vision", "siglip", "siglip-vision", "siglip2", "vit", "vit-mae", "dinov2", "swin",
                                           "mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "deepseek-v2", "deepseek-v3",
                                           "llama-gptq", "llama-gptq-act", "llama-gptq-v2", "llama-awq", "llama-bnb-nf4",
                                           "llama-bnb-int8", "llama-ct-pack", "llama-ct-fp8", "llama-fp8-block",
                                           "bert", "bert-encoder", "roberta", "blt", "mllama",
                                           "llava-next", "llava-onevision", "video-llava", "gemma3", "paligemma", "paligemma2",
                                           "internvl2", "internvl2-internlm2", "internvl-hf", "nvlm-d", "pixtral", "mistral3",
                                           "idefics2", "idefics3", "smolvlm", "blip2", "instructblip", "fuyu",
                                           "tests/data/nunchi_vl/decoder", "tests/data/nunchi_vl/cross",
                                           "tests/data/nunchi_vl/hybrid", "tests/data/nunchi_vl/patches",
                                           "tests/data/nunchi_vl/patches-beside", "tests/data/nunchi_vl/hybrid-box",
                                           "tests/data/nunchi_vl/perceiver", "tests/data/nunchi_vl/qformer",
                                           "tests/data/nunchi_vl/hybrid-linear", "tests/data/nunchi_vl/hybrid-queries", "tests/data/phi3v"};
    enum { FAMILIES = sizeof families / sizeof families[0] };
    struct CMUnitTest tests[FAMILIES + 2] = {cmocka_unit_test(dump), cmocka_unit_test(wrong_model)};
    for (size_t i = 0; i < FAMILIES; i++)
        tests[i + 2] = (struct CMUnitTest){families[i], family, NULL, NULL, (void *)(uintptr_t)families[i]};
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
