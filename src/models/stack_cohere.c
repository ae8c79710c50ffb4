/* Rotary decoders with layer norms: StableLM, Nemotron (norm weights as differences from 1, squared ReLU), Cohere and
 * Cohere 2 (attention and MLP side by side behind one norm, pairs turned, logits scaled). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

/* ---- StableLM ---- */

static const char *const stablelm_ignore[] = {"use_parallel_residual", "hidden_dropout", NULL};
static const struct json_field stablelm_fields[] = {
    ROTARY_FIELDS(2560, 32, 32, 32, 6912, 50304, 4096, 10000.0, false),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.25),
    FACT_BOOL("use_qkv_bias", attention_bias, false),
    FACT_BOOL("qk_layernorm", qk_norm, false),
    FACT_ACT(ACT_SILU),
};
static int stablelm_finish(const struct stack_read *r)
{
    bool parallel = false;
    TRY(json_get_bool(r->config, r->place, "use_parallel_residual", &parallel));
    r->f->wiring = parallel ? NN_PARALLEL : NN_SEQUENTIAL;
    return family_finish(r);
}
static const struct weight_row stablelm_weights[] = {
    ROW_EMBED,
    ROWS_NORM(norm1, LAYER "input_layernorm"),
    {NN_norm2_w, LAYER "post_attention_layernorm.weight", W_TWO_NORMS},
    {NN_norm2_b, LAYER "post_attention_layernorm.bias", W_TWO_NORMS},
    ROWS_QKVO(LAYER),
    ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_q_norm_w, LAYER "self_attn.q_layernorm.norms.%e.weight", W_QK_NORM, {0}, "AD"},
    {NN_k_norm_w, LAYER "self_attn.k_layernorm.norms.%e.weight", W_QK_NORM, {0}, "BD"},
    ROWS_GATED_MLP(LAYER),
    ROWS_NORM(final_norm, "model.norm"),
    ROW_HEAD,
};
const struct stack_row stack_stablelm = {
    "stablelm", ROWS(stablelm_fields), stablelm_ignore, ROWS(stablelm_weights),
    {LLAMA_FACTS, .norm = NN_LAYER, .qk_norm_layer = true}, stablelm_finish};
const struct family_row family_stablelm = DECODER_FAMILY("StableLmForCausalLM", "stablelm");

/* ---- Nemotron ---- */

static const struct json_field nemotron_fields[] = {
    ROTARY_FIELDS(6144, 32, 48, 0, 24576, 256000, 4096, 10000.0, false),
    FACT_FLOAT("norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor|rope_percent|rope_percentage", rotary_factor, 0.5),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_ACT(ACT_RELU2),
};
static const struct weight_row nemotron_weights[] = {
    ROW_EMBED,
    ROWS_NORM(norm1, LAYER "input_layernorm"),
    ROWS_NORM(norm2, LAYER "post_attention_layernorm"),
    ROWS_QKVO(LAYER),
    ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_up_w, LAYER "mlp.up_proj.weight"},
    {NN_up_b, LAYER "mlp.up_proj.bias", W_MLP_BIAS},
    {NN_down_w, LAYER "mlp.down_proj.weight"},
    {NN_down_b, LAYER "mlp.down_proj.bias", W_MLP_BIAS},
    ROWS_NORM(final_norm, "model.norm"),
    ROW_HEAD,
};
const struct stack_row stack_nemotron = {
    "nemotron", ROWS(nemotron_fields), NULL, ROWS(nemotron_weights),
    {.norm = NN_LAYER, .norm_offset = 1, .causal = true, .rope[0].kind = NN_ROPE_default}, family_finish};
const struct family_row family_nemotron = DECODER_FAMILY("NemotronForCausalLM", "nemotron");

/* ---- Cohere ---- */

#define COHERE_FIELDS                                                           \
    ROTARY_FIELDS(8192, 40, 64, 0, 22528, 256000, 8192, 10000.0, true),         \
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),                               \
    FACT_FLOAT("logit_scale", logit_scale, 0.0625),                             \
    FACT_BOOL("attention_bias", attention_bias, false),                         \
    FACT_ACT(ACT_SILU)
#define COHERE_FACTS LLAMA_FACTS, .norm = NN_LAYER, .wiring = NN_PARALLEL, .qk_norm_layer = true, .rope[0].interleaved = true

static const char *const cohere_ignore[] = {"model_max_length", NULL};
static const struct json_field cohere_fields[] = {COHERE_FIELDS, FACT_BOOL("use_qk_norm", qk_norm, false)};
static const struct weight_row cohere_weights[] = {
    ROW_EMBED,
    {NN_norm1_w, LAYER "input_layernorm.weight"},
    ROWS_QKVO(LAYER),
    ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_q_norm_w, LAYER "self_attn.q_norm.weight", W_QK_NORM, {0}, "AD"},
    {NN_k_norm_w, LAYER "self_attn.k_norm.weight", W_QK_NORM, {0}, "BD"},
    ROWS_GATED_MLP(LAYER),
    ROW_FINAL_NORM,
    ROW_HEAD,
};
const struct stack_row stack_cohere = {
    "cohere", ROWS(cohere_fields), cohere_ignore, ROWS(cohere_weights), {COHERE_FACTS}, family_finish};
const struct family_row family_cohere = DECODER_FAMILY("CohereForCausalLM", "cohere");

/* Cohere 2: three layers in four slide, and only those turn. */
static const char *const cohere2_ignore[] = {
    "sliding_window_pattern", "_sliding_window_pattern", "layer_switch", "order_of_interleaved_layers", "position_embedding_type",
    "rotary_pct", "use_embedding_sharing", "use_gated_activation", "use_parallel_block", "use_parallel_embedding",
    "cache_implementation", NULL};
static const struct json_field cohere2_fields[] = {COHERE_FIELDS, FACT_INT("sliding_window", window, 4096, MAX_VOCAB)};

static int cohere2_finish(const struct stack_read *r)
{
    int64_t every = 4;
    TRY(json_get_int(r->config, r->place, "layer_switch", 1, MAX_LAYERS, &every));
    TRY(json_get_int(r->config, r->place, "_sliding_window_pattern", 1, MAX_LAYERS, &every));
    TRY(json_get_int(r->config, r->place, "sliding_window_pattern", 1, MAX_LAYERS, &every));
    family_slide(r->f, (int)every);
    return family_finish(r);
}
const struct stack_row stack_cohere2 = {
    "cohere2", ROWS(cohere2_fields), cohere2_ignore, ROWS(cohere_weights),
    {COHERE_FACTS, .rope_slides_only = true}, cohere2_finish};
const struct family_row family_cohere2 = DECODER_FAMILY("Cohere2ForCausalLM", "cohere2");
