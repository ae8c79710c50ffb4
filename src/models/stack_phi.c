/* Phi (1, 1.5, 2) with attention and MLP side by side, and Phi 3 and 4 with fused matrices. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

static const char *const phi_ignore[] = {"embd_pdrop", "resid_pdrop", "original_max_position_embeddings", NULL};

/* ---- Phi ---- */

static const struct json_field phi_fields[] = {
    ROTARY_FIELDS(2048, 24, 32, 0, 8192, 51200, 2048, 10000.0, false),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5),
    FACT_BOOL("qk_layernorm", qk_norm, false),
    FACT_ACT(ACT_GELU_TANH),
};
static const struct weight_row phi_weights[] = {
    ROW_EMBED, ROWS_NORM(norm1, LAYER "input_layernorm"), ROWS_QKV_BIAS(LAYER, W_ALWAYS),
    {NN_attn_q_w, LAYER "self_attn.q_proj.weight"}, {NN_attn_k_w, LAYER "self_attn.k_proj.weight"},
    {NN_attn_v_w, LAYER "self_attn.v_proj.weight"}, {NN_attn_o_w, LAYER "self_attn.dense.weight"},
    {NN_attn_o_b, LAYER "self_attn.dense.bias"},
    {NN_q_norm_w, LAYER "self_attn.q_layernorm.weight", W_QK_NORM}, {NN_q_norm_b, LAYER "self_attn.q_layernorm.bias", W_QK_NORM},
    {NN_k_norm_w, LAYER "self_attn.k_layernorm.weight", W_QK_NORM}, {NN_k_norm_b, LAYER "self_attn.k_layernorm.bias", W_QK_NORM},
    {NN_up_w, LAYER "mlp.fc1.weight"}, {NN_up_b, LAYER "mlp.fc1.bias"}, {NN_down_w, LAYER "mlp.fc2.weight"},
    {NN_down_b, LAYER "mlp.fc2.bias"}, ROWS_NORM(final_norm, "model.final_layernorm"), ROW_HEAD, {NN_lm_head_b, "lm_head.bias"}};
const struct stack_row stack_phi = {
    "phi", ROWS(phi_fields), phi_ignore, ROWS(phi_weights),
    {.norm = NN_LAYER, .qk_norm_layer = true, .wiring = NN_PARALLEL, .causal = true, .rope[0].kind = NN_ROPE_default}, family_finish};
const struct family_row family_phi = DECODER_FAMILY("PhiForCausalLM", "phi");

/* ---- Phi 3 and 4: q, k, v in one matrix, gate and up in one ---- */

static const struct json_field phi3_fields[] = {
    ROTARY_FIELDS(3072, 32, 32, 0, 8192, 32064, 4096, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 1.0),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_ACT(ACT_SILU),
};
static int phi3_finish(const struct stack_read *r)
{
    TRY(family_refuse(r, "attention_bias", false));
    return family_finish_window(r);
}
static const struct weight_row phi3_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKV_FUSED(w, LAYER "self_attn.qkv_proj.weight", "QKK", 0),
    {NN_attn_o_w, LAYER "self_attn.o_proj.weight"}, {NN_gate_w, LAYER "mlp.gate_up_proj.weight", W_ALWAYS, PART("II", 0)},
    {NN_up_w, LAYER "mlp.gate_up_proj.weight", W_ALWAYS, PART("II", 1)}, {NN_down_w, LAYER "mlp.down_proj.weight"},
    ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_phi3 = {
    "phi3", ROWS(phi3_fields), phi_ignore, ROWS(phi3_weights), {LLAMA_FACTS}, phi3_finish};
const struct family_row family_phi3 = DECODER_FAMILY("Phi3ForCausalLM", "phi3");
