/* Families with experts and latent attention beyond their reference numbers (test_verify has those): the same bits for
 * any chunk and thread count, on both paths; files written as they were read; what is kept of a token; the
 * loss that spreads the load; configs that must be refused. Skipped where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include <stdio.h>
#include "base/file.h"
#include "base/mem.h"
#include "graph/exec.h"
#include "models/model.h"
#include "runtime/timeline.h"

#define FIXTURES "../shared/fixtures/"
static const char *const families[] = {"mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "deepseek-v2", "deepseek-v3"};
enum { FAMILIES = sizeof families / sizeof families[0], PROMPT = 75, STEPS = 6 };

static const char *folder_of(void **state)
{
    static char folder[256];
    snprintf(folder, sizeof folder, FIXTURES "%s", (const char *)*state);
    if (!file_is_dir(folder))
        skip();
    return folder;
}

/* ---- bits ---------------------------------------------------------------------------------- */

/* Logits after the prompt and after each of the next STEPS - 1 ids. */
static void trace(const char *folder, enum nun_compute compute, int threads, int chunk, struct digest *out)
{
    struct nun_model_options o = {.threads = threads, .compute = compute, .prefill_chunk = chunk};
    struct nun_model *m;
    struct nun_timeline *t;
    int32_t ids[PROMPT + STEPS];
    for (int i = 0; i < PROMPT + STEPS; i++)
        ids[i] = (i * 37 + i * i * 11 + 3) % 288;
    check_ok(nun_model_open(folder, &o, &m));
    check_ok(nun_timeline_create(m, &t));
    for (int i = 0; i < STEPS; i++) {
        check_ok(nun_timeline_ids(t, i ? &ids[PROMPT + i] : ids, i ? 1 : PROMPT));
        check_ok(nun_timeline_prefill(t));
        digest_of(t->logits, (size_t)m->model->text.facts.vocab * sizeof(float), &out[i]);
    }
    nun_timeline_free(t);
    nun_model_close(m);
}

static void test_bits(void **state)
{
    static const struct { int threads, chunk; } rows[] = {{1, 1}, {1, 7}, {3, 64}, {2, 13}};
    const char *folder = folder_of(state);
    for (int c = 0; c < 2; c++) {
        struct digest want[STEPS], got[STEPS];
        trace(folder, c ? NUN_BF16 : NUN_F32, 1, 0, want);
        assert_memory_not_equal(&want[0], &want[1], sizeof want[0]);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            trace(folder, c ? NUN_BF16 : NUN_F32, rows[i].threads, rows[i].chunk, got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
}

/* ---- files --------------------------------------------------------------------------------- */

static void test_saved_as_read(void **state)
{
    const char *folder = folder_of(state);
    char out[300];
    struct model *m;
    struct safetensors *a, *b;
    snprintf(out, sizeof out, "test_experts_%s", (const char *)*state);
    check_ok(model_load(folder, &m));
    check_ok(model_save(m, out, DT_BF16));
    model_free(m);
    check_ok(st_open(folder, &a));
    check_ok(st_open(out, &b));
    assert_int_equal(st_count(a), st_count(b));
    for (size_t i = 0; i < st_count(a); i++) {
        const struct st_tensor *x = st_at(a, i), *y = st_find(b, span_str(x->name));
        size_t n;
        if (!y || !shape_eq(&x->shape, &y->shape))
            fail_msg("%s: written otherwise or not at all", x->name);
        check_ok(shape_count(&x->shape, &n));
        float *u = mem_calloc(MEM_TEST, n, sizeof *u), *v = mem_calloc(MEM_TEST, n, sizeof *v);
        check_ok(dtype_to_f32(x->dtype, x->data, u, n));
        check_ok(dtype_to_f32(y->dtype, y->data, v, n));
        for (size_t k = 0; k < n; k++)
            if (fabsf(u[k] - v[k]) > 0.004f * fabsf(u[k])) /* some are stored as float32 */
                fail_msg("%s [%zu]: expected %g, found %g", x->name, k, (double)u[k], (double)v[k]);
        mem_free(u);
        mem_free(v);
    }
    st_close(a);
    st_close(b);
    snprintf(out, sizeof out, "test_experts_%s/config.json", (const char *)*state);
    remove(out);
    snprintf(out, sizeof out, "test_experts_%s/model.safetensors", (const char *)*state);
    remove(out);
    snprintf(out, sizeof out, "test_experts_%s", (const char *)*state);
    remove(out);
}

/* ---- what is kept -------------------------------------------------------------------------- */

static void test_latents_are_kept(void **state)
{
    struct model *m;
    if (!file_is_dir(FIXTURES "deepseek-v3"))
        skip();
    check_ok(model_load(FIXTURES "deepseek-v3", &m));
    for (int i = 0; i < m->text.facts.layers; i++) {
        struct nn_keep keep = nn_keep(&m->text.facts, i);
        assert_int_equal((keep.keys + keep.values) * keep.width, 20 + 8); /* kv_lora_rank + qk_rope_head_dim, whatever the heads */
        assert_int_equal(keep.fixed, 0);
    }
    model_free(m);
}

/* ---- the loss that spreads the load -------------------------------------------------------- */

static int init_with(const char *family, const char *key, json_t *value, struct model **out)
{
    char path[256];
    json_t *config;
    snprintf(path, sizeof path, FIXTURES "%s/config.json", family);
    check_ok(json_load_file_limited(path, &config));
    assert_int_equal(json_object_set_new(config, key, value), 0);
    int rc = model_init(config, 3, out);
    json_decref(config);
    return rc;
}

/* E * sum over experts of (choices of e / rows) * (mean score of e), rows of all layers together. */
static double balance_in_doubles(const struct nn_routes *r, int E, int K)
{
    double share[64] = {0}, mean[64] = {0}, rows = 0, sum = 0;
    for (int i = 0; i < r->n; i++)
        for (int64_t t = 0; t < r->ids[i]->shape.d[0]; t++, rows++) {
            for (int k = 0; k < K; k++)
                share[g_i32(r->ids[i])[t * K + k]] += 1;
            for (int e = 0; e < E; e++)
                mean[e] += (double)g_f32(r->scores[i])[t * E + e];
        }
    for (int e = 0; e < E; e++)
        sum += share[e] / rows * mean[e] / rows;
    return E * sum;
}

static void test_balance(void **state)
{
    enum { T = 11 };
    struct model *m;
    struct graph *g;
    struct plan *p;
    int32_t ids[T], spans[2 * T];
    if (!file_is_dir(FIXTURES "mixtral"))
        skip();
    check_ok(init_with("mixtral", "output_router_logits", json_false(), &m));
    assert_true(m->text.facts.moe.balance == 0);
    model_free(m);
    check_ok(init_with("mixtral", "output_router_logits", json_true(), &m));
    check_ok(graph_create(GEMM_F32, 1, &g));
    for (int i = 0; i < T; i++) {
        ids[i] = i * 7;
        spans[2 * i] = 0;
        spans[2 * i + 1] = i + 1;
    }
    int32_t pos[T] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct g_tensor *tokens = g_const(g, DT_I32, SHAPE1(T), ids, false);
    struct model_text in = {.seq = {.batch = 1, .tokens = T, .pos = g_const(g, DT_I32, SHAPE1(T), pos, false),
                                    .spans = g_const(g, DT_I32, SHAPE3(1, T, 2), spans, false)}, .ids = tokens};
    check_ok(nn_routes_for(g, &m->text.facts, &in.seq.routes));
    struct g_tensor *plain = g_output(g_cross_entropy(g, model_logits(g, m, &in), tokens));
    struct nn_routes seen = *in.seq.routes;
    struct g_tensor *scores[2] = {g_output(seen.scores[0]), g_output(seen.scores[1])};
    struct g_tensor *chosen[2] = {g_output(seen.ids[0]), g_output(seen.ids[1])};
    struct g_tensor *whole = g_output(nn_balance(g, &m->text.facts, plain, in.seq.routes));
    check_ok(graph_error(g));
    check_ok(plan_create(g, &p));
    check_ok(exec_run(p, &(struct exec){0}));
    seen = (struct nn_routes){scores, chosen, 2, 2};
    double want = (double)g_f32(plain)[0] + (double)0.001f * balance_in_doubles(&seen, 6, 2);
    if (fabs(want - (double)g_f32(whole)[0]) > 2e-6 || fabs(want - (double)g_f32(plain)[0]) < 1e-3)
        fail_msg("expected %.8g, found %.8g", want, (double)g_f32(whole)[0]);
    plan_free(p);
    graph_free(g);
    model_free(m);
}

/* ---- families without reference numbers here ------------------------------------------------ */

/* What their makers' files look like: a config, and one tensor of each unusual kind. */
#define SMALL "\"hidden_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, " \
              "\"vocab_size\": 64, "
static const struct {
    const char *config;
    struct { const char *tensor; struct shape shape; } has[4];
} layouts[] = {
    {"{\"architectures\": [\"GraniteMoeForCausalLM\"], \"model_type\": \"granitemoe\", " SMALL
     "\"num_local_experts\": 6, \"num_experts_per_tok\": 2, \"intermediate_size\": 20, \"logits_scaling\": 4.0}",
     {{"model.layers.1.block_sparse_moe.input_linear.weight", {3, {6, 40, 48}}},
      {"model.layers.1.block_sparse_moe.output_linear.weight", {3, {6, 48, 20}}},
      {"model.layers.1.block_sparse_moe.router.layer.weight", {2, {6, 48}}}}},
    {"{\"architectures\": [\"GraniteMoeSharedForCausalLM\"], \"model_type\": \"granitemoeshared\", " SMALL
     "\"num_local_experts\": 6, \"num_experts_per_tok\": 2, \"intermediate_size\": 20, \"shared_intermediate_size\": 28}",
     {{"model.layers.0.block_sparse_moe.input_linear.weight", {3, {6, 40, 48}}},
      {"model.layers.0.shared_mlp.input_linear.weight", {2, {56, 48}}},
      {"model.layers.0.shared_mlp.output_linear.weight", {2, {48, 28}}}}},
    {"{\"architectures\": [\"Ernie4_5_MoeForCausalLM\"], \"model_type\": \"ernie4_5_moe\", " SMALL
     "\"moe_num_experts\": 6, \"moe_k\": 2, \"moe_intermediate_size\": 20, \"intermediate_size\": 36}",
     {{"model.layers.1.mlp.moe_statics.e_score_correction_bias", {2, {1, 6}}},
      {"model.layers.1.mlp.shared_experts.up_proj.weight", {2, {40, 48}}},
      {"model.layers.1.mlp.experts.5.down_proj.weight", {2, {48, 20}}},
      {"model.layers.0.mlp.gate_proj.weight", {2, {36, 48}}}}},
    {"{\"architectures\": [\"Glm4MoeForCausalLM\"], \"model_type\": \"glm4_moe\", " SMALL
     "\"n_routed_experts\": 6, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 20, \"intermediate_size\": 36, \"use_qk_norm\": true, \"head_dim\": 16}",
     {{"model.layers.1.mlp.gate.e_score_correction_bias", {1, {6}}},
      {"model.layers.1.mlp.experts.0.gate_proj.weight", {2, {20, 48}}},
      {"model.layers.1.self_attn.q_norm.weight", {1, {16}}},
      {"model.layers.0.mlp.up_proj.weight", {2, {36, 48}}}}},
};

/* Logits of a short text. */
static void logits_of(const struct model *m, struct digest *out)
{
    enum { T = 9 };
    static const int32_t ids[T] = {5, 9, 60, 33, 5, 1, 17, 2, 44}, pos[T] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    static const int32_t spans[2 * T] = {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9};
    struct graph *g;
    struct plan *p;
    check_ok(graph_create(GEMM_F32, 1, &g));
    struct model_text in = {.seq = {.batch = 1, .tokens = T, .pos = g_const(g, DT_I32, SHAPE1(T), pos, false),
                                    .spans = g_const(g, DT_I32, SHAPE3(1, T, 2), spans, false)},
                            .ids = g_const(g, DT_I32, SHAPE1(T), ids, false)};
    struct g_tensor *logits = g_output(model_logits(g, m, &in));
    check_ok(graph_error(g));
    check_ok(plan_create(g, &p));
    check_ok(exec_run(p, &(struct exec){0}));
    digest_of(logits->data, g_bytes(logits), out);
    plan_free(p);
    graph_free(g);
}

static void check_layout(size_t i, const char *folder)
{
    struct model *made, *read;
    struct safetensors *st;
    struct digest want, got;
    char path[300];
    json_t *config = json_loads(layouts[i].config, 0, NULL);
    check_ok(model_init(config, 11, &made));
    json_decref(config);
    logits_of(made, &want);
    check_ok(model_save(made, folder, DT_F32));
    check_ok(st_open(folder, &st));
    for (int k = 0; k < 4 && layouts[i].has[k].tensor; k++) {
        const struct st_tensor *t;
        check_ok(st_need(st, span_str(layouts[i].has[k].tensor), &layouts[i].has[k].shape, &t));
    }
    st_close(st);
    check_ok(model_load(folder, &read));
    logits_of(read, &got);
    assert_memory_equal(&got, &want, sizeof want);
    model_free(made);
    model_free(read);
    snprintf(path, sizeof path, "%s/config.json", folder);
    remove(path);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    remove(path);
    remove(folder);
}

static void test_layouts(void **state)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        check_layout(i, "test_experts_layout");
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void test_refusals(void **state)
{
    static const struct { const char *family, *key, *value, *part; int code; } rows[] = {
        {"mixtral", "num_experts_per_tok", "7", "num_experts_per_tok 7, but 6", NUN_EFORMAT},
        {"mixtral", "router_jitter_noise", "0.1", "router_jitter_noise", NUN_EFORMAT},
        {"qwen3-moe", "use_sliding_window", "true", "use_sliding_window", NUN_EUNSUP},
        {"deepseek-v2", "norm_topk_prob", "true", "norm_topk_prob", NUN_EUNSUP},
        {"deepseek-v2", "topk_method", "\"noaux_tc\"", "topk_method", NUN_EUNSUP},
        {"deepseek-v3", "n_group", "3", "n_group 3", NUN_EFORMAT},
        {"deepseek-v3", "num_key_value_heads", "2", "num_key_value_heads 2", NUN_EUNSUP},
        {"deepseek-v3", "scoring_func", "\"softmax\"", "scoring_func", NUN_EUNSUP},
    };
    if (!file_is_dir(FIXTURES "deepseek-v3"))
        skip();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct model *m;
        check_fails(rows[i].code, rows[i].part,
                    init_with(rows[i].family, rows[i].key, json_loads(rows[i].value, JSON_DECODE_ANY, NULL), &m));
    }
}

int main(void)
{
    struct CMUnitTest tests[2 * FAMILIES + 4] = {
        cmocka_unit_test(test_latents_are_kept), cmocka_unit_test(test_balance), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_layouts)};
    char names[2 * FAMILIES][64];
    for (int i = 0; i < 2 * FAMILIES; i++) {
        const char *family = families[i / 2];
        snprintf(names[i], sizeof names[i], "%s, %s", family, i % 2 ? "saved as read" : "bits");
        tests[4 + i] = (struct CMUnitTest){names[i], i % 2 ? test_saved_as_read : test_bits, NULL, NULL, (void *)(uintptr_t)family};
    }
    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
