/* Families without stored numbers: random models of their rows are written and read back value by value, and give the
 * same bits whatever way a text came in; configs that mean something else are refused. What they compute is compared with
 * transformers by scripts/check_families.py. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "formats/json.h"
#include "models/model.h"
#include "nunchi/nunchi.h"

#define BASE                                                                                                                  \
    "\"hidden_size\": 48, \"intermediate_size\": 24, \"num_hidden_layers\": 3, \"num_attention_heads\": 6, \"vocab_size\": 99, "  \
    "\"num_key_value_heads\": 3, \"max_position_embeddings\": 128, \"initializer_range\": 0.5"
#define EXPERTS "\"num_local_experts\": 4, \"num_experts_per_tok\": 2"

static const struct row { const char *architecture, *type, *config; } rows[] = {
    {"GptOssForCausalLM", "gpt_oss", BASE ", " EXPERTS ", \"head_dim\": 8, \"sliding_window\": 9, \"rope_scaling\": "
                                          "{\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32}"},
    {"Lfm2ForCausalLM", "lfm2", BASE ", \"layer_types\": [\"conv\", \"full_attention\", \"conv\"], \"block_multiple_of\": 8"},
    {"Qwen3NextForCausalLM", "qwen3_next",
     BASE ", \"head_dim\": 16, \"full_attention_interval\": 2, \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 6, "
          "\"linear_key_head_dim\": 8, \"linear_value_head_dim\": 12, \"num_experts\": 4, \"num_experts_per_tok\": 2, "
          "\"moe_intermediate_size\": 16, \"shared_expert_intermediate_size\": 20"},
    {"GraniteMoeHybridForCausalLM", "granitemoehybrid",
     BASE ", " EXPERTS ", \"layer_types\": [\"mamba\", \"attention\", \"mamba\"], \"mamba_n_heads\": 6, \"mamba_d_state\": 10, "
          "\"shared_intermediate_size\": 40"},
    {"GraniteMoeHybridForCausalLM", "granitemoehybrid",
     BASE ", \"num_local_experts\": 0, \"layer_types\": [\"mamba\", \"attention\", \"mamba\"], \"mamba_n_heads\": 6, "
          "\"mamba_d_state\": 10, \"shared_intermediate_size\": 40, \"position_embedding_type\": \"rope\""},
    {"PhimoeForCausalLM", "phimoe", BASE ", " EXPERTS ", \"lm_head_bias\": true, \"attention_bias\": true"},
    {"ApertusForCausalLM", "apertus", BASE ", \"rope_scaling\": null"},
    {"OlmoForCausalLM", "olmo", BASE ", \"clip_qkv\": 0.8"},
    {"ArceeForCausalLM", "arcee", BASE ", \"mlp_bias\": true"},
    {"SeedOssForCausalLM", "seed_oss", BASE ", \"head_dim\": 8, \"attention_out_bias\": true"},
    {"FalconForCausalLM", "falcon",
     "\"hidden_size\": 60, \"num_hidden_layers\": 2, \"num_attention_heads\": 5, \"vocab_size\": 99, \"alibi\": true, "
     "\"multi_query\": false, \"bias\": true, \"parallel_attn\": false, \"initializer_range\": 0.5"},
};

static json_t *config_of(const struct row *r, const char *more)
{
    char text[2048];
    json_t *config;
    snprintf(text, sizeof text, "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", %s%s}", r->architecture, r->type, r->config, more);
    check_ok(json_parse_span(span_str(text), r->type, &config));
    return config;
}

/* The model of a row, written to `folder`; the caller's. */
static struct model *written(const struct row *r, const char *folder)
{
    struct model *m;
    json_t *config = config_of(r, "");
    check_ok(model_init(config, 5, &m));
    json_decref(config);
    check_ok(model_save(m, folder, DT_F32));
    return m;
}

static void removed(const char *folder)
{
    char path[300];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    remove(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    remove(path);
    remove(folder);
}

static void read_back(void **state)
{
    const struct row *r = *state;
    char folder[100];
    snprintf(folder, sizeof folder, "test_family_rows_%s", r->type);
    struct model *a = written(r, folder), *b;
    check_ok(model_load(folder, &b));
    assert_int_equal(a->n_params, b->n_params);
    for (int i = 0; i < a->n_params; i++) {
        size_t n;
        check_ok(shape_count(&a->params[i]->shape, &n));
        assert_string_equal(a->params[i]->name, b->params[i]->name);
        assert_memory_equal(a->params[i]->data, b->params[i]->data, n * sizeof(float));
    }
    model_free(a);
    model_free(b);
    removed(folder);
}

enum { LENGTH = 45, VOCAB = 99 };

/* Logits after LENGTH ids, given `step` at a time. */
static void last_logits(const char *folder, const struct nun_model_options *o, size_t step, float out[VOCAB])
{
    struct nun_model *m;
    struct nun_timeline *t;
    const float *logits;
    int32_t ids[LENGTH];
    size_t n;
    for (int i = 0; i < LENGTH; i++)
        ids[i] = 3 + i * 37 % 95;
    check_ok(nun_model_open(folder, o, &m));
    check_ok(nun_timeline_create(m, &t));
    for (size_t i = 0; i < LENGTH; i += step) {
        check_ok(nun_timeline_ids(t, ids + i, step));
        check_ok(nun_timeline_prefill(t));
    }
    check_ok(nun_timeline_logits(t, &logits, &n));
    assert_int_equal(n, VOCAB);
    memcpy(out, logits, n * sizeof *out);
    nun_timeline_free(t);
    nun_model_close(m);
}

static void same_bits(void **state)
{
    const struct row *r = *state;
    float all[VOCAB], other[VOCAB];
    char folder[100];
    snprintf(folder, sizeof folder, "test_family_bits_%s", r->type);
    model_free(written(r, folder));
    for (int compute = 0; compute < 2; compute++) {
        struct nun_model_options whole = {.threads = 2, .compute = (enum nun_compute)compute};
        struct nun_model_options cut = {.threads = 1, .compute = (enum nun_compute)compute, .prefill_chunk = 7};
        last_logits(folder, &whole, LENGTH, all);
        last_logits(folder, &whole, 1, other);
        assert_memory_equal(all, other, sizeof all);
        last_logits(folder, &cut, LENGTH, other);
        assert_memory_equal(all, other, sizeof all);
        for (int i = 0; i < VOCAB; i++)
            assert_true(all[i] == all[i]);
    }
    removed(folder);
}

/* What the rows do not compute. */
static void refused(void **state)
{
    static const struct { int row; const char *more, *says; } cases[] = {
        {1, ", \"colour\": 1", "colour"},
        {1, ", \"layer_types\": [\"conv\", \"mamba\", \"conv\"]", "layer_types"},
        {3, ", \"mamba_n_groups\": 2", "mamba_n_groups"},
        {3, ", \"position_embedding_type\": \"learned\"", "position_embedding_type"},
        {5, ", \"router_jitter_noise\": 0", "router_jitter_noise"},
        {6, ", \"hidden_act\": \"silu\"", "hidden_act"},
        {10, ", \"multi_query\": true", "alibi"},
        {10, ", \"apply_residual_connection_post_layernorm\": true", "apply_residual"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model *m;
        struct row r = rows[cases[i].row];
        json_t *config = config_of(&r, ""), *more;
        char text[300];
        snprintf(text, sizeof text, "{%s}", cases[i].more + 2);
        check_ok(json_parse_span(span_str(text), "more", &more));
        json_object_update(config, more);
        assert_true(model_init(config, 5, &m) < 0);
        assert_non_null(strstr(nun_error(), cases[i].says));
        json_decref(more);
        json_decref(config);
    }
}

int main(void)
{
    enum { ROWS_N = sizeof rows / sizeof rows[0] };
    static char titles[2 * ROWS_N][64];
    struct CMUnitTest tests[2 * ROWS_N + 1];
    for (int i = 0; i < 2 * ROWS_N; i++) {
        const struct row *r = &rows[i / 2];
        snprintf(titles[i], sizeof titles[i], "%s: %s", r->type, i % 2 ? "same bits" : "read back");
        tests[i] = (struct CMUnitTest){titles[i], i % 2 ? same_bits : read_back, NULL, NULL, (void *)(uintptr_t)r};
    }
    tests[2 * ROWS_N] = (struct CMUnitTest)cmocka_unit_test(refused);
    return cmocka_run_group_tests_name("family rows", tests, NULL, NULL);
}
