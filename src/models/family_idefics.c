/* Idefics 2: a tower of native sizes and a perceiver; Idefics 3 and SmolVLM: tiles, pixel shuffle, one matrix.
 * arXiv:2405.02246, arXiv:2408.12637, arXiv:2504.05299. */
/* SPDX-License-Identifier: MIT */
#include "models/families.h"
#include "models/sight.h"

#define IMAGE_TOKEN(def) \
    {"image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), false, 0, MAX_VOCAB, def, NULL, NULL, 0, 0}
#define TEXT_PLACE(model_type) {"text_config", "", model_type, .body = "model.text_model."}

/* ---- Idefics 2 ---- */

static const struct json_field perceiver_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("resampler_depth", layers, 3, MAX_LAYERS),
    FACT_INT("resampler_n_heads", heads, 16, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 4, MAX_WIDTH),
    FACT_INT("resampler_head_dim", head_dim, 96, MAX_WIDTH),
    FACT_INT("resampler_n_latents", positions, 64, MAX_WIDTH),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_ACT(ACT_SILU),
};
static int perceiver_finish(const struct stack_read *r)
{
    r->f->intermediate = 4 * r->f->hidden;
    return family_heads(r);
}
static const struct weight_row perceiver_weights[] = {
    {NN_latents_w, "latents"},
    {NN_norm1_w, "layers.%d.input_latents_norm.weight"},
    {NN_context_norm_w, "layers.%d.input_context_norm.weight"},
    {NN_attn_q_w, "layers.%d.self_attn.q_proj.weight"},
    {NN_attn_k_w, "layers.%d.self_attn.k_proj.weight"},
    {NN_attn_v_w, "layers.%d.self_attn.v_proj.weight"},
    {NN_attn_o_w, "layers.%d.self_attn.o_proj.weight"},
    {NN_norm2_w, "layers.%d.post_attention_layernorm.weight"},
    {NN_gate_w, "layers.%d.mlp.gate_proj.weight"},
    {NN_up_w, "layers.%d.mlp.up_proj.weight"},
    {NN_down_w, "layers.%d.mlp.down_proj.weight"},
    {NN_final_norm_w, "norm.weight"},
};
const struct stack_row stack_idefics2_perceiver = {
    "idefics2_perceiver", ROWS(perceiver_fields), NULL, ROWS(perceiver_weights), {.norm = NN_RMS, .gated = true}, perceiver_finish};

/* The same as a connector of nunchi_vl, whose config has its few keys at the top. */
static const char *const all_others[] = {"*", NULL};
static const struct json_field vl_fields[] = {
    FACT_INT("text_config.hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("connector_layers", layers, 2, MAX_LAYERS),
    FACT_INT("connector_heads", heads, 8, MAX_WIDTH),
    FACT_INT("queries", positions, 64, MAX_WIDTH),
    FACT_FLOAT("text_config.rms_norm_eps", norm_eps, 1e-6),
    FACT_ACT_KEY("text_config.hidden_act", ACT_SILU),
};
const struct stack_row stack_vl_perceiver = {
    "nunchi_vl_perceiver", ROWS(vl_fields), all_others, ROWS(perceiver_weights), {.norm = NN_RMS, .gated = true}, perceiver_finish};

static const struct json_field idefics2_fields[] = {IMAGE_TOKEN(32001)};
static const char *const idefics2_ignore[] = {"perceiver_config", NULL};
static const struct weight_row idefics2_weights[] = {
    {NN_conn_gate_w, "model.connector.modality_projection.gate_proj.weight"},
    {NN_conn_up_w, "model.connector.modality_projection.up_proj.weight"},
    {NN_conn_down_w, "model.connector.modality_projection.down_proj.weight"},
};
const struct family_row family_idefics2 = {
    "Idefics2ForConditionalGeneration", "idefics2", FAMILY_DECODER, TEXT_PLACE("mistral"), {"vision_config", "model.", "idefics2_vision"},
    ROWS(idefics2_fields), idefics2_ignore, ROWS(idefics2_weights), {.feature_layers = {-1}, .n_feature_layers = 1},
    .more = {{"perceiver_config", "model.connector.perceiver_resampler.", "idefics2_perceiver"}}, .sight = &sight_latents};

/* ---- Idefics 3, SmolVLM ---- */

static const struct json_field idefics3_fields[] = {
    IMAGE_TOKEN(128257),
    {"scale_factor", JSON_KIND_INT, offsetof(struct family_facts, merge), false, 1, 64, 2, NULL, NULL, 0, 0},
};
static const struct weight_row idefics3_weights[] = {
    {NN_conn_1_w, "model.connector.modality_projection.proj.weight", W_ALWAYS, {0}, "h%"}};
#define SPLIT_FACTS {.feature_layers = {-1}, .n_feature_layers = 1, .tower_norm = true}
const struct family_row family_idefics3 = {
    "Idefics3ForConditionalGeneration", "idefics3", FAMILY_DECODER, TEXT_PLACE("llama"), {"vision_config", "model.", "idefics3_vision"},
    ROWS(idefics3_fields), NULL, ROWS(idefics3_weights), SPLIT_FACTS, .sight = &sight_split_tiles};
const struct family_row family_smolvlm = {
    "SmolVLMForConditionalGeneration", "smolvlm", FAMILY_DECODER, TEXT_PLACE("llama"), {"vision_config", "model.", "smolvlm_vision"},
    ROWS(idefics3_fields), NULL, ROWS(idefics3_weights), SPLIT_FACTS, .sight = &sight_timed_tiles};
