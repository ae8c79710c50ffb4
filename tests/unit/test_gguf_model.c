/* GGUF as models: each twin, made by another program from a folder, must give that folder's tensors and
 * config again; and what we write from the folder must be what that program wrote. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "../check.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "models/gguf_model.h"
#include "models/families.h"

#define FIXTURES "../shared/fixtures/"

static const char *const twins[] = {
    "deepseek-v3", "falcon-mamba", "gpt-neox", "granite", "jamba", "llama-bias", "llama", "llama3", "mamba", "mamba2",
    "mixtral", "olmo2", "olmo3", "olmoe", "phi4", "qwen2-moe", "qwen2", "qwen3", "rope-linear", "rope-yarn"};
enum { TWINS = sizeof twins / sizeof twins[0] };

static void need_fixtures(void)
{
    if (!file_exists(FIXTURES "gguf/llama.gguf"))
        skip();
}

/* Values agree to float rounding; A_log went through exp and log. */
static void same_values(const struct st_tensor *a, const struct st_tensor *b)
{
    size_t n, m;
    check_ok(shape_count(&a->shape, &n));
    check_ok(shape_count(&b->shape, &m));
    assert_int_equal(n, m);
    float *x = mem_calloc(MEM_TEST, n + 1, sizeof *x), *y = mem_calloc(MEM_TEST, n + 1, sizeof *y);
    check_ok(dtype_to_f32(a->dtype, a->data, x, n));
    check_ok(dtype_to_f32(b->dtype, b->data, y, n));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i] - y[i]) <= 1e-6f * fmaxf(1, fabsf(y[i]))))
            fail_msg("%s: value %zu: expected %g, found %g", a->name, i, (double)y[i], (double)x[i]);
    mem_free(x);
    mem_free(y);
}

static bool is_buffer(const char *name)
{
    static const char *const tails[] = {"inv_freq", "masked_bias", "attention.bias"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
        if (span_ends(span_str(name), span_str(tails[i])))
            return true;
    return false;
}

/* Every tensor of `want` that is no buffer is in `got` with the same shape and values, and nothing else is. */
static void same_tensors(const struct safetensors *got, const struct safetensors *want)
{
    size_t buffers = 0;
    for (size_t i = 0; i < st_count(want); i++) {
        const struct st_tensor *w = st_at(want, i), *t;
        buffers += is_buffer(w->name);
        if (is_buffer(w->name))
            continue;
        check_ok(st_need(got, span_str(w->name), &w->shape, &t));
        same_values(t, w);
    }
    assert_int_equal(st_count(got), st_count(want) - buffers);
}

/* Keys that a config has for training or for the library, and those that the format does not keep. */
static bool is_aside(const char *key)
{
    static const char *const keys[] = {
        "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype", "initializer_range",
        "transformers_version", "use_cache", "pretraining_tp", "embd_pdrop", "resid_pdrop", "hidden_dropout",
        "classifier_dropout", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise", "max_window_layers",
        "rotary_emb_base", "rope_scaling", "num_logits_to_keep", "use_mamba_kernels", "ep_size", "mixer_rms_eps",
        "rescale_prenorm_residual", "residual_in_fp32", "time_step_floor", "time_step_init_scheme", "time_step_max",
        "time_step_min", "time_step_scale", "time_step_limit", "use_falcon_mambapy", "use_mambapy", "chunk_size", "rms_norm",
        "rope_theta", "sliding_window", "qkv_bias"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!strcmp(keys[i], key))
            return true;
    return false;
}

/* Each key of the folder's config that means something is said by ours, with the same value. */
static void same_config(const char *twin, const json_t *got, json_t *want)
{
    const char *key;
    json_t *w;
    json_object_foreach(want, key, w) {
        const json_t *g = json_object_get(got, key);
        if (is_aside(key) || json_is_null(w))
            continue;
        if (!g && !strcmp(key, "time_step_rank")) /* Mamba 2 has none in truth */
            continue;
        if (!strcmp(key, "partial_rotary_factor")) /* GPT-NeoX has its own word for it */
            g = g ? g : json_object_get(got, "rotary_pct");
        if (!g)
            fail_msg("%s: %s is not there", twin, key);
        bool numbers = json_is_number(w) && json_is_number(g);
        if (numbers ? json_number_value(w) != json_number_value(g) : !json_equal(w, g))
            fail_msg("%s: %s differs", twin, key);
    }
}

static void test_twins_are_their_folders(void **state)
{
    need_fixtures();
    for (int i = 0; i < TWINS; i++) {
        char folder[256], file[256];
        struct safetensors *got, *want;
        json_t *config, *theirs;
        snprintf(folder, sizeof folder, FIXTURES "%s", twins[i]);
        snprintf(file, sizeof file, FIXTURES "gguf/%s.gguf", twins[i]);
        check_ok(gguf_model_open(file, false, &config, &got));
        check_ok(st_open(folder, &want));
        same_tensors(got, want);
        snprintf(file, sizeof file, FIXTURES "%s/config.json", twins[i]);
        check_ok(json_load_file_limited(file, &theirs));
        same_config(twins[i], config, theirs);
        json_decref(config);
        json_decref(theirs);
        st_close(got);
        st_close(want);
    }
}

static void test_rope_scaling_comes_back(void **state)
{
    static const struct { const char *twin, *key; double want; } facts[] = {
        {"llama3", "rope_scaling.factor", 8}, {"llama3", "rope_scaling.low_freq_factor", 1},
        {"llama3", "rope_scaling.high_freq_factor", 4}, {"llama3", "rope_scaling.original_max_position_embeddings", 64},
        {"rope-linear", "rope_scaling.factor", 4}, {"rope-yarn", "rope_scaling.factor", 4},
        {"rope-yarn", "rope_scaling.original_max_position_embeddings", 48}, {"rope-yarn", "rope_theta", 1000},
        {"olmo3", "rope_scaling.attention_factor", 1.1386294}, {"olmo3", "rope_scaling.beta_fast", 32},
        {"deepseek-v3", "rope_scaling.mscale_all_dim", 1}, {"deepseek-v3", "rope_scaling.mscale", 1},
        {"mixtral", "rope_theta", 1e6}, {"llama", "rope_theta", 10000}};
    need_fixtures();
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        char file[256];
        json_t *config;
        struct safetensors *st;
        double x = -1;
        snprintf(file, sizeof file, FIXTURES "gguf/%s.gguf", facts[i].twin);
        check_ok(gguf_model_open(file, false, &config, &st));
        check_ok(json_get_double(config, file, facts[i].key, 0, 1e9, &x));
        if (fabs(x - facts[i].want) > 1e-6 * facts[i].want)
            fail_msg("%s: %s: expected %g, found %g", facts[i].twin, facts[i].key, facts[i].want, x);
        json_decref(config);
        st_close(st);
    }
}

/* ---- the other way ------------------------------------------------------------------------------- */

static enum dtype float32(void *arg, const struct st_item *tensor) { return DT_F32; }

static void write_twin(const char *twin, const char *path)
{
    char file[256];
    json_t *config;
    struct safetensors *st;
    struct gguf_model_plan plan = {.choose = float32};
    snprintf(file, sizeof file, FIXTURES "%s", twin);
    check_ok(st_open(file, &st));
    snprintf(file, sizeof file, FIXTURES "%s/config.json", twin);
    check_ok(json_load_file_limited(file, &config));
    unlink(path);
    check_ok(gguf_model_write(path, config, file, st, &plan));
    json_decref(config);
    st_close(st);
}

/* Metadata that the other program writes and that says nothing about the arithmetic, or says it twice. */
static bool is_talk(struct span key)
{
    static const char *const starts[] = {"general.", "tokenizer."};
    static const char *const tails[] = {".rope.dimension_count", ".vocab_size", "yarn_beta_fast", "yarn_beta_slow"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (span_starts(key, span_str(starts[i])))
            return true;
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
        if (span_ends(key, span_str(tails[i])))
            return true;
    return false;
}

static void same_metadata(const char *twin, const struct gguf *got, const struct gguf *want)
{
    for (size_t i = 0; i < gguf_value_count(want); i++) {
        char key[128];
        const struct gguf_value *w = gguf_value_at(want, i), *g;
        if (is_talk(w->key))
            continue;
        snprintf(key, sizeof key, "%.*s", (int)w->key.len, w->key.ptr);
        g = gguf_value_find(got, key);
        bool width = strstr(key, "attention.key_length") || strstr(key, "attention.value_length");
        if (!g && width && gguf_item_int(w, 0) == 12) /* llama: 48 / 4, as without the key */
            continue;
        if (!g)
            fail_msg("%s: %s is not written", twin, key);
        if (g->type != w->type || g->count != w->count || g->bytes != w->bytes || memcmp(g->data, w->data, w->bytes) != 0)
            fail_msg("%s: %s differs: expected %g, found %g", twin, key,
                     w->type == GGUF_STRING ? 0 : gguf_item_double(w, 0), g->type == GGUF_STRING ? 0 : gguf_item_double(g, 0));
    }
}

static void test_folders_become_their_twins(void **state)
{
    char path[] = "/tmp/nunchi-gguf-XXXXXX";
    need_fixtures();
    close(mkstemp(path));
    for (int i = 0; i < TWINS; i++) {
        char file[256];
        struct gguf *got, *want;
        write_twin(twins[i], path);
        snprintf(file, sizeof file, FIXTURES "gguf/%s.gguf", twins[i]);
        check_ok(gguf_open(path, &got));
        check_ok(gguf_open(file, &want));
        assert_int_equal(gguf_version(got), 3);
        for (size_t k = 0; k < gguf_count(want); k++) {
            const struct st_tensor *w = gguf_at(want, k), *g = gguf_find(got, span_str(w->name));
            if (!g)
                fail_msg("%s: tensor %s is not written", twins[i], w->name);
            if (!shape_eq(&g->shape, &w->shape))
                fail_msg("%s: tensor %s has another shape", twins[i], w->name);
            same_values(g, w);
        }
        assert_int_equal(gguf_count(got), gguf_count(want));
        same_metadata(twins[i], got, want);
        gguf_close(got);
        gguf_close(want);
    }
    unlink(path);
}

/* What the format has no words for is refused, not left out. */
static void test_refusals(void **state)
{
    static const struct { const char *folder, *says; } rows[] = {
        {"gemma2", "query_pre_attn_scalar"}, {"smollm3", "no_rope_layers"}, {"rope-dynamic", "dynamic"},
        {"llama-gptq", "quantization_config"}, {"clip", "no form in GGUF"}};
    need_fixtures();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char file[256];
        json_t *config;
        struct safetensors *st;
        struct gguf_model_plan plan = {.choose = float32};
        snprintf(file, sizeof file, FIXTURES "%s", rows[i].folder);
        check_ok(st_open(file, &st));
        snprintf(file, sizeof file, FIXTURES "%s/config.json", rows[i].folder);
        check_ok(json_load_file_limited(file, &config));
        check_fails(NUN_EUNSUP, rows[i].says, gguf_model_write("/tmp/nunchi-never.gguf", config, file, st, &plan));
        assert_false(file_exists("/tmp/nunchi-never.gguf"));
        json_decref(config);
        st_close(st);
    }
}

/* The formats of a mixture, tensor by tensor, as files of that name have them. */
static void test_mixtures(void **state)
{
    static const struct { const char *mix, *name; int64_t cols; enum dtype want; } rows[] = {
        {"Q4_K_M", "output.weight", 256, DT_Q6_K},        {"Q4_K_M", "token_embd.weight", 256, DT_Q4_K},
        {"Q4_K_M", "blk.0.attn_v.weight", 256, DT_Q6_K},  {"Q4_K_M", "blk.3.attn_v.weight", 256, DT_Q4_K},
        {"Q4_K_M", "blk.4.attn_v.weight", 256, DT_Q6_K},  {"Q4_K_M", "blk.15.ffn_down.weight", 256, DT_Q6_K},
        {"Q4_K_M", "blk.3.ffn_down.weight", 256, DT_Q4_K}, {"Q4_K_M", "blk.4.ffn_down_exps.weight", 256, DT_Q6_K},
        {"Q4_K_M", "blk.4.ffn_up.weight", 256, DT_Q4_K},  {"Q4_K_S", "blk.3.attn_v.weight", 256, DT_Q5_K},
        {"Q4_K_S", "blk.4.attn_v.weight", 256, DT_Q4_K},  {"Q5_K_M", "blk.0.ffn_down.weight", 256, DT_Q6_K},
        {"Q3_K_M", "blk.1.attn_v.weight", 256, DT_Q5_K},  {"Q3_K_M", "blk.5.attn_output.weight", 256, DT_Q4_K},
        {"q8_0", "output.weight", 64, DT_Q8_0},           {"Q4_K_M", "blk.4.ffn_up.weight", 64, DT_Q5_0},
        {"Q6_K", "blk.4.ffn_up.weight", 96, DT_Q8_0},     {"Q4_0", "blk.4.ffn_up.weight", 40, DT_F16}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gguf_mixing k = {.layers = 16};
        struct st_item it = {.name = rows[i].name, .dtype = DT_F32, .shape = SHAPE2(8, rows[i].cols)};
        check_ok(gguf_mix_find(rows[i].mix, &k.mix));
        enum dtype got = gguf_mix_choose(&k, &it);
        if (got != rows[i].want)
            fail_msg("%s %s: expected %s, found %s", rows[i].mix, rows[i].name, dtype_name(rows[i].want), dtype_name(got));
    }
    const struct gguf_mix *mix;
    check_fails(NUN_EARG, "Q4_K_M", gguf_mix_find("Q9", &mix));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins_are_their_folders),
        cmocka_unit_test(test_rope_scaling_comes_back),
        cmocka_unit_test(test_folders_become_their_twins),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_mixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
