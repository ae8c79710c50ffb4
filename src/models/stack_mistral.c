/* The Llama line with windows, norms of queries and keys, or layers that do not turn: Mistral, Qwen 2 and 3,
 * SmolLM 3, StarCoder 2. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

/* Where the key is absent, the original's default; null is no window. */
static void default_window(const struct stack_read *r, int window)
{
    if (!json_object_get(r->config, "sliding_window"))
        r->f->window = window;
}

/* ---- Mistral ---- */

static int mistral_finish(const struct stack_read *r)
{
    default_window(r, 4096);
    return family_finish_window(r);
}
static const struct json_field mistral_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 8, 14336, 32000, 131072, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_ACT(ACT_SILU),
};
static const struct weight_row mistral_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_mistral = {
    "mistral", ROWS(mistral_fields), NULL, ROWS(mistral_weights), {LLAMA_FACTS}, mistral_finish};
const struct family_row family_mistral = DECODER_FAMILY("MistralForCausalLM", "mistral");

/* ---- Qwen 2: biases on q, k and v; a window from layer max_window_layers on, if at all ---- */

static const char *const qwen_ignore[] = {"max_window_layers", "use_sliding_window", NULL};

int family_finish_qwen(const struct stack_read *r)
{
    bool slides = false;
    int64_t from = 28;
    TRY(json_get_bool(r->config, r->place, "use_sliding_window", &slides));
    TRY(json_get_int(r->config, r->place, "max_window_layers", 0, MAX_LAYERS, &from));
    default_window(r, 4096);
    for (int i = (int)from; slides && i < r->f->layers; i++)
        r->f->layer[i].window = r->f->window;
    return family_finish(r);
}
static const struct json_field qwen2_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 32, 22016, 151936, 32768, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_ACT(ACT_SILU),
};
static const struct weight_row qwen2_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ALWAYS), ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
/* Its attention always has biases and its MLP never has; configs that say so (NVLM-D's) say nothing new. */
static int qwen2_finish(const struct stack_read *r)
{
    TRY(family_refuse(r, "attention_bias", true));
    TRY(family_refuse(r, "mlp_bias", false));
    return family_finish_qwen(r);
}
static const char *const qwen2_ignore[] = {"max_window_layers", "use_sliding_window", "attention_bias", "mlp_bias", NULL};
const struct stack_row stack_qwen2 = {
    "qwen2", ROWS(qwen2_fields), qwen2_ignore, ROWS(qwen2_weights), {LLAMA_FACTS}, qwen2_finish};
const struct family_row family_qwen2 = DECODER_FAMILY("Qwen2ForCausalLM", "qwen2");

/* ---- Qwen 3: no biases, a norm of each query and key head ---- */

static const struct json_field qwen3_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 32, 22016, 151936, 32768, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_ACT(ACT_SILU),
};
static int qwen3_finish(const struct stack_read *r)
{
    if (!r->f->head_dim)
        r->f->head_dim = 128;
    return family_finish_qwen(r);
}
static const struct weight_row qwen3_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_QK_NORM(LAYER, "D", "D"),
    ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_qwen3 = {
    "qwen3", ROWS(qwen3_fields), qwen_ignore, ROWS(qwen3_weights), {LLAMA_FACTS}, qwen3_finish};
const struct family_row family_qwen3 = DECODER_FAMILY("Qwen3ForCausalLM", "qwen3");

/* ---- SmolLM 3: every fourth layer, or those that no_rope_layers says, has no rotation ---- */

static const char *const smollm3_ignore[] = {"no_rope_layers", "no_rope_layer_interval", "use_sliding_window", "max_window_layers", NULL};

static int smollm3_finish(const struct stack_read *r)
{
    const json_t *list = NULL;
    int64_t every = 4;
    bool slides = false;
    TRY(json_get_int(r->config, r->place, "no_rope_layer_interval", 1, MAX_LAYERS, &every));
    TRY(json_get_bool(r->config, r->place, "use_sliding_window", &slides));
    TRY(json_get_array(r->config, r->place, "no_rope_layers", &list));
    if (list && json_array_size(list) != (size_t)r->f->layers)
        return err_set(NUN_EFORMAT, "%s: no_rope_layers: expected %d numbers, found %zu", r->place, r->f->layers, json_array_size(list));
    for (int i = 0; i < r->f->layers; i++) { /* 1 in the list: it does turn */
        bool turns = list ? json_integer_value(json_array_get(list, (size_t)i)) != 0 : (i + 1) % every != 0;
        r->f->layer[i].rope = turns ? 0 : NN_NONE;
        r->f->layer[i].window = slides && !turns ? r->f->window : 0;
    }
    return family_finish(r);
}
static const struct json_field smollm3_fields[] = {
    ROTARY_FIELDS(2048, 36, 16, 4, 11008, 128256, 32768, 2000000.0, true),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_ACT(ACT_SILU),
};
static const struct weight_row smollm3_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER),
    ROWS_GATED_MLP_BIAS(LAYER, W_MLP_BIAS), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_smollm3 = {
    "smollm3", ROWS(smollm3_fields), smollm3_ignore, ROWS(smollm3_weights), {LLAMA_FACTS}, smollm3_finish};
const struct family_row family_smollm3 = DECODER_FAMILY("SmolLM3ForCausalLM", "smollm3");

/* ---- StarCoder 2: layer norms and biases, an MLP without a gate ---- */

static const char *const starcoder2_ignore[] = {"residual_dropout", "embedding_dropout", NULL};
static const struct json_field starcoder2_fields[] = {
    ROTARY_FIELDS(3072, 30, 24, 2, 12288, 49152, 4096, 10000.0, true),
    FACT_FLOAT("norm_epsilon", norm_eps, 1e-5),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_BOOL("use_bias", mlp_bias, true),
    FACT_ACT(ACT_GELU_TANH),
};
static const struct weight_row starcoder2_weights[] = {
    ROW_EMBED, ROWS_NORM(norm1, LAYER "input_layernorm"), ROWS_NORM(norm2, LAYER "post_attention_layernorm"), ROWS_QKVO(LAYER),
    ROWS_QKVO_BIAS(LAYER, W_MLP_BIAS), {NN_up_w, LAYER "mlp.c_fc.weight"}, {NN_up_b, LAYER "mlp.c_fc.bias", W_MLP_BIAS},
    {NN_down_w, LAYER "mlp.c_proj.weight"}, {NN_down_b, LAYER "mlp.c_proj.bias", W_MLP_BIAS}, ROWS_NORM(final_norm, "model.norm"), ROW_HEAD};
const struct stack_row stack_starcoder2 = {
    "starcoder2", ROWS(starcoder2_fields), starcoder2_ignore, ROWS(starcoder2_weights),
    {.norm = NN_LAYER, .causal = true, .rope[0].kind = NN_ROPE_default}, family_finish_window};
const struct family_row family_starcoder2 = DECODER_FAMILY("Starcoder2ForCausalLM", "starcoder2");
