/* The architectures of GGUF: pure tables. A new one is a row here, and a hook in gguf_hooks.c where no
 * row can say it. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "models/gguf_map.h"

#define SET(table) {table, sizeof(table) / sizeof(table)[0]}

/* ---- facts ------------------------------------------------------------------------------------- */

static const struct gguf_fact core_facts[] = {
    {"context_length", "max_position_embeddings", GF_INT, 2048},
    {"embedding_length", "hidden_size", GF_INT, NAN},
    {"block_count", "num_hidden_layers", GF_INT, NAN},
    {"token_embd.weight", "vocab_size", GF_ROWS, NAN},
    {"output.weight", "tie_word_embeddings", GF_ABSENT, 0},
};
static const struct gguf_fact attention_facts[] = {
    {"feed_forward_length", "intermediate_size", GF_INT, NAN},
    {"attention.head_count", "num_attention_heads", GF_INT, NAN},
    {"attention.head_count_kv", "num_key_value_heads", GF_HEADS, NAN},
    {"attention.key_length", "head_dim", GF_INT, NAN},
    {"attention.value_length", "head_dim", GF_INT, NAN},
    {"rope.freq_base", "rope_theta", GF_FLOAT, 10000},
};
static const struct gguf_fact rms_facts[] = {{"attention.layer_norm_rms_epsilon", "rms_norm_eps", GF_FLOAT, 1e-6}};
static const struct gguf_fact whole_rope[] = {{"rope.dimension_count", "partial_rotary_factor", GF_SHARE, 1}};
static const struct gguf_fact llama_biases[] = {
    {"blk.0.attn_q.bias", "attention_bias", GF_PRESENT, NAN},
    {"blk.0.ffn_up.bias", "mlp_bias", GF_PRESENT, NAN},
};
static const struct gguf_fact query_bias[] = {{"blk.0.attn_q.bias", "attention_bias", GF_PRESENT, NAN}};
static const struct gguf_fact mixtral_facts[] = {
    {"expert_count", "num_local_experts", GF_INT, 8},
    {"expert_used_count", "num_experts_per_tok", GF_INT, 2},
};
static const struct gguf_fact expert_facts[] = {
    {"expert_count", "num_experts", GF_INT, NAN},
    {"expert_used_count", "num_experts_per_tok", GF_INT, NAN},
};
static const struct gguf_fact expert_width[] = {{"expert_feed_forward_length", "moe_intermediate_size", GF_INT, NAN}};
static const struct gguf_fact shared_width[] = {
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size", GF_INT, NAN}};
static const struct gguf_fact olmoe_facts[] = {{"attention.clamp_kqv", "clip_qkv", GF_FLOAT, NAN}};
static const struct gguf_fact granite_facts[] = {
    {"attention.scale", "attention_multiplier", GF_FLOAT, 1},
    {"embedding_scale", "embedding_multiplier", GF_FLOAT, 1},
    {"residual_scale", "residual_multiplier", GF_FLOAT, 1},
    {"logit_scale", "logits_scaling", GF_FLOAT, 1},
};
static const struct gguf_fact gemma2_facts[] = {
    {"attn_logit_softcapping", "attn_logit_softcapping", GF_FLOAT, 50},
    {"final_logit_softcapping", "final_logit_softcapping", GF_FLOAT, 30},
    {"attention.sliding_window", "sliding_window", GF_INT, 4096},
};
/* not read by llama.cpp for all of these, which then sees the whole past */
static const struct gguf_fact window_fact[] = {{"attention.sliding_window", "sliding_window", GF_INT, NAN}};
static const struct gguf_fact gpt2_facts[] = {
    {"context_length", "n_positions", GF_INT, 1024},
    {"embedding_length", "n_embd", GF_INT, NAN},
    {"block_count", "n_layer", GF_INT, NAN},
    {"attention.head_count", "n_head", GF_INT, NAN},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", GF_FLOAT, 1e-5},
    {"token_embd.weight", "vocab_size", GF_ROWS, NAN},
};
static const struct gguf_fact neox_facts[] = {
    {"feed_forward_length", "intermediate_size", GF_INT, NAN},
    {"attention.head_count", "num_attention_heads", GF_INT, NAN},
    {"rope.dimension_count", "rotary_pct", GF_SHARE, 0.25},
    {"rope.freq_base", "rotary_emb_base", GF_FLOAT, 10000},
    {"use_parallel_residual", "use_parallel_residual", GF_BOOL, 1},
    {"attention.layer_norm_epsilon", "layer_norm_eps", GF_FLOAT, 1e-5},
    {"blk.0.attn_qkv.bias", "attention_bias", GF_PRESENT, NAN},
};
static const struct gguf_fact starcoder2_facts[] = {
    {"attention.layer_norm_epsilon", "norm_epsilon", GF_FLOAT, 1e-5},
    {"blk.0.ffn_up.bias", "use_bias", GF_PRESENT, NAN},
};
static const struct gguf_fact phi2_facts[] = {
    {"attention.layer_norm_epsilon", "layer_norm_eps", GF_FLOAT, 1e-5},
    {"rope.dimension_count", "partial_rotary_factor", GF_SHARE, 0.5},
};
static const struct gguf_fact deepseek_facts[] = {
    {"feed_forward_length", "intermediate_size", GF_INT, NAN},
    {"attention.head_count", "num_attention_heads", GF_INT, NAN},
    {"rope.freq_base", "rope_theta", GF_FLOAT, 10000},
    {"attention.q_lora_rank", "q_lora_rank", GF_INT, NAN},
    {"attention.kv_lora_rank", "kv_lora_rank", GF_INT, NAN},
    {"rope.dimension_count", "qk_rope_head_dim", GF_INT, NAN},
    {"leading_dense_block_count", "first_k_dense_replace", GF_INT, 0},
    {"expert_count", "n_routed_experts", GF_INT, NAN},
    {"expert_used_count", "num_experts_per_tok", GF_INT, NAN},
    {"expert_shared_count", "n_shared_experts", GF_INT, NAN},
    {"expert_weights_scale", "routed_scaling_factor", GF_FLOAT, 1},
    {"expert_weights_norm", "norm_topk_prob", GF_BOOL, 0},
    {"expert_group_count", "n_group", GF_INT, NAN},
    {"expert_group_used_count", "topk_group", GF_INT, NAN},
};
static const struct gguf_fact mamba_facts[] = {
    {"embedding_length", "hidden_size", GF_INT, NAN},
    {"block_count", "num_hidden_layers", GF_INT, NAN},
    {"token_embd.weight", "vocab_size", GF_ROWS, NAN},
    {"output.weight", "tie_word_embeddings", GF_ABSENT, 0},
    {"ssm.conv_kernel", "conv_kernel", GF_INT, 4},
    {"ssm.state_size", "state_size", GF_INT, 16},
    {"attention.layer_norm_rms_epsilon", "layer_norm_epsilon", GF_FLOAT, 1e-5},
    {"blk.0.ssm_conv1d.bias", "use_conv_bias", GF_PRESENT, 1},
};
static const struct gguf_fact mamba1_facts[] = {
    {"ssm.inner_size", "intermediate_size", GF_INT, NAN},
    {"ssm.time_step_rank", "time_step_rank", GF_INT, NAN},
};
static const struct gguf_fact mamba2_facts[] = {
    {"ssm.time_step_rank", "num_heads", GF_INT, NAN},
    {"ssm.group_count", "n_groups", GF_INT, 1},
};
static const struct gguf_fact jamba_facts[] = {
    {"feed_forward_length", "intermediate_size", GF_INT, NAN},
    {"attention.head_count", "num_attention_heads", GF_INT, NAN},
    {"ssm.conv_kernel", "mamba_d_conv", GF_INT, 4},
    {"ssm.state_size", "mamba_d_state", GF_INT, 16},
    {"ssm.time_step_rank", "mamba_dt_rank", GF_INT, NAN},
    {"blk.0.ssm_conv1d.bias", "mamba_conv_bias", GF_PRESENT, 1},
};

/* ---- names ------------------------------------------------------------------------------------- */

static const struct gguf_name ends[] = {
    {"token_embd", "model.embed_tokens", GL_AS_IS},
    {"output_norm", "model.norm", GL_AS_IS},
    {"output", "lm_head", GL_AS_IS},
};
static const struct gguf_name attention[] = {
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm", GL_AS_IS},
    {"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj", GL_ROPE_Q},
    {"blk.%d.attn_k", "model.layers.%d.self_attn.k_proj", GL_ROPE_K},
    {"blk.%d.attn_v", "model.layers.%d.self_attn.v_proj", GL_AS_IS},
    {"blk.%d.attn_output", "model.layers.%d.self_attn.o_proj", GL_AS_IS},
};
static const struct gguf_name gated_mlp[] = {
    {"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm", GL_AS_IS},
    {"blk.%d.ffn_gate", "model.layers.%d.mlp.gate_proj", GL_AS_IS},
    {"blk.%d.ffn_up", "model.layers.%d.mlp.up_proj", GL_AS_IS},
    {"blk.%d.ffn_down", "model.layers.%d.mlp.down_proj", GL_AS_IS},
};
static const struct gguf_name head_norms[] = {
    {"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_norm", GL_AS_IS},
    {"blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_norm", GL_AS_IS},
};
static const struct gguf_name mixtral_experts[] = {
    {"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm", GL_AS_IS},
    {"blk.%d.ffn_gate_inp", "model.layers.%d.block_sparse_moe.gate", GL_AS_IS},
    {"blk.%d.ffn_gate_exps", "model.layers.%d.block_sparse_moe.experts.%d.w1", GL_AS_IS},
    {"blk.%d.ffn_down_exps", "model.layers.%d.block_sparse_moe.experts.%d.w2", GL_AS_IS},
    {"blk.%d.ffn_up_exps", "model.layers.%d.block_sparse_moe.experts.%d.w3", GL_AS_IS},
    {"blk.%d.ffn_gate.%d", "model.layers.%d.block_sparse_moe.experts.%d.w1", GL_AS_IS}, /* files of 2023 */
    {"blk.%d.ffn_down.%d", "model.layers.%d.block_sparse_moe.experts.%d.w2", GL_AS_IS},
    {"blk.%d.ffn_up.%d", "model.layers.%d.block_sparse_moe.experts.%d.w3", GL_AS_IS},
};
static const struct gguf_name experts[] = {
    {"blk.%d.ffn_gate_inp", "model.layers.%d.mlp.gate", GL_AS_IS},
    {"blk.%d.ffn_gate_exps", "model.layers.%d.mlp.experts.%d.gate_proj", GL_AS_IS},
    {"blk.%d.ffn_up_exps", "model.layers.%d.mlp.experts.%d.up_proj", GL_AS_IS},
    {"blk.%d.ffn_down_exps", "model.layers.%d.mlp.experts.%d.down_proj", GL_AS_IS},
};
static const struct gguf_name shared_expert[] = {
    {"blk.%d.ffn_gate_inp_shexp", "model.layers.%d.mlp.shared_expert_gate", GL_AS_IS},
    {"blk.%d.ffn_gate_shexp", "model.layers.%d.mlp.shared_expert.gate_proj", GL_AS_IS},
    {"blk.%d.ffn_up_shexp", "model.layers.%d.mlp.shared_expert.up_proj", GL_AS_IS},
    {"blk.%d.ffn_down_shexp", "model.layers.%d.mlp.shared_expert.down_proj", GL_AS_IS},
};
/* norms behind the sublayers instead of in front (OLMo 2) */
static const struct gguf_name post_norms[] = {
    {"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm", GL_AS_IS},
    {"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm", GL_AS_IS},
};
static const struct gguf_name gemma_ends[] = {
    {"token_embd", "model.embed_tokens", GL_AS_IS},
    {"output_norm", "model.norm", GL_PLUS_ONE},
    {"output", "lm_head", GL_AS_IS},
};
static const struct gguf_name gemma_norms[] = {
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm", GL_PLUS_ONE},
    {"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm", GL_PLUS_ONE},
    {"blk.%d.ffn_norm", "model.layers.%d.pre_feedforward_layernorm", GL_PLUS_ONE},
    {"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm", GL_PLUS_ONE},
    {"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_norm", GL_PLUS_ONE},
    {"blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_norm", GL_PLUS_ONE},
};
static const struct gguf_name gemma1_norms[] = {
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm", GL_PLUS_ONE},
    {"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm", GL_PLUS_ONE},
};
static const struct gguf_name phi3_block[] = {
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm", GL_AS_IS},
    {"blk.%d.attn_qkv", "model.layers.%d.self_attn.qkv_proj", GL_AS_IS},
    {"blk.%d.attn_output", "model.layers.%d.self_attn.o_proj", GL_AS_IS},
    {"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm", GL_AS_IS},
    {"blk.%d.ffn_up", "model.layers.%d.mlp.gate_up_proj", GL_AS_IS},
    {"blk.%d.ffn_down", "model.layers.%d.mlp.down_proj", GL_AS_IS},
};
static const struct gguf_name phi2_block[] = {
    {"token_embd", "model.embed_tokens", GL_AS_IS},
    {"output_norm", "model.final_layernorm", GL_AS_IS},
    {"output", "lm_head", GL_AS_IS},
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm", GL_AS_IS},
    {"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj", GL_AS_IS},
    {"blk.%d.attn_k", "model.layers.%d.self_attn.k_proj", GL_AS_IS},
    {"blk.%d.attn_v", "model.layers.%d.self_attn.v_proj", GL_AS_IS},
    {"blk.%d.attn_output", "model.layers.%d.self_attn.dense", GL_AS_IS},
    {"blk.%d.ffn_up", "model.layers.%d.mlp.fc1", GL_AS_IS},
    {"blk.%d.ffn_down", "model.layers.%d.mlp.fc2", GL_AS_IS},
};
static const struct gguf_name gpt2_names[] = {
    {"token_embd", "transformer.wte", GL_AS_IS},
    {"position_embd", "transformer.wpe", GL_AS_IS},
    {"output_norm", "transformer.ln_f", GL_AS_IS},
    {"output", "lm_head", GL_AS_IS},
    {"blk.%d.attn_norm", "transformer.h.%d.ln_1", GL_AS_IS},
    {"blk.%d.attn_qkv", "transformer.h.%d.attn.c_attn", GL_TRANSPOSED},
    {"blk.%d.attn_output", "transformer.h.%d.attn.c_proj", GL_TRANSPOSED},
    {"blk.%d.ffn_norm", "transformer.h.%d.ln_2", GL_AS_IS},
    {"blk.%d.ffn_up", "transformer.h.%d.mlp.c_fc", GL_TRANSPOSED},
    {"blk.%d.ffn_down", "transformer.h.%d.mlp.c_proj", GL_TRANSPOSED},
};
static const struct gguf_name neox_names[] = {
    {"token_embd", "gpt_neox.embed_in", GL_AS_IS},
    {"output_norm", "gpt_neox.final_layer_norm", GL_AS_IS},
    {"output", "embed_out", GL_AS_IS},
    {"blk.%d.attn_norm", "gpt_neox.layers.%d.input_layernorm", GL_AS_IS},
    {"blk.%d.attn_qkv", "gpt_neox.layers.%d.attention.query_key_value", GL_NEOX_QKV},
    {"blk.%d.attn_output", "gpt_neox.layers.%d.attention.dense", GL_AS_IS},
    {"blk.%d.ffn_norm", "gpt_neox.layers.%d.post_attention_layernorm", GL_AS_IS},
    {"blk.%d.ffn_up", "gpt_neox.layers.%d.mlp.dense_h_to_4h", GL_AS_IS},
    {"blk.%d.ffn_down", "gpt_neox.layers.%d.mlp.dense_4h_to_h", GL_AS_IS},
};
static const struct gguf_name starcoder2_mlp[] = {
    {"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm", GL_AS_IS},
    {"blk.%d.ffn_up", "model.layers.%d.mlp.c_fc", GL_AS_IS},
    {"blk.%d.ffn_down", "model.layers.%d.mlp.c_proj", GL_AS_IS},
};
static const struct gguf_name deepseek_names[] = {
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm", GL_AS_IS},
    {"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj", GL_AS_IS},
    {"blk.%d.attn_q_a", "model.layers.%d.self_attn.q_a_proj", GL_AS_IS},
    {"blk.%d.attn_q_a_norm", "model.layers.%d.self_attn.q_a_layernorm", GL_AS_IS},
    {"blk.%d.attn_q_b", "model.layers.%d.self_attn.q_b_proj", GL_AS_IS},
    {"blk.%d.attn_kv_a_mqa", "model.layers.%d.self_attn.kv_a_proj_with_mqa", GL_AS_IS},
    {"blk.%d.attn_kv_a_norm", "model.layers.%d.self_attn.kv_a_layernorm", GL_AS_IS},
    {"blk.%d.attn_k_b.weight", "model.layers.%d.self_attn.kv_b_proj.weight", GL_MLA_K},
    {"blk.%d.attn_v_b.weight", "model.layers.%d.self_attn.kv_b_proj.weight", GL_MLA_V},
    {"blk.%d.attn_kv_b", "model.layers.%d.self_attn.kv_b_proj", GL_AS_IS}, /* files before 2025 */
    {"blk.%d.attn_output", "model.layers.%d.self_attn.o_proj", GL_AS_IS},
    {"blk.%d.exp_probs_b.bias", "model.layers.%d.mlp.gate.e_score_correction_bias", GL_AS_IS},
    {"blk.%d.ffn_gate_shexp", "model.layers.%d.mlp.shared_experts.gate_proj", GL_AS_IS},
    {"blk.%d.ffn_up_shexp", "model.layers.%d.mlp.shared_experts.up_proj", GL_AS_IS},
    {"blk.%d.ffn_down_shexp", "model.layers.%d.mlp.shared_experts.down_proj", GL_AS_IS},
};
static const struct gguf_name mamba_ends[] = {
    {"token_embd", "backbone.embeddings", GL_AS_IS},
    {"output_norm", "backbone.norm_f", GL_AS_IS},
    {"output", "lm_head", GL_AS_IS},
    {"blk.%d.attn_norm", "backbone.layers.%d.norm", GL_AS_IS},
    {"blk.%d.ssm_in", "backbone.layers.%d.mixer.in_proj", GL_AS_IS},
    {"blk.%d.ssm_out", "backbone.layers.%d.mixer.out_proj", GL_AS_IS},
    {"blk.%d.ssm_conv1d.weight", "backbone.layers.%d.mixer.conv1d.weight", GL_CONV},
    {"blk.%d.ssm_conv1d.bias", "backbone.layers.%d.mixer.conv1d.bias", GL_AS_IS},
};
static const struct gguf_name mamba1_names[] = {
    {"blk.%d.ssm_x", "backbone.layers.%d.mixer.x_proj", GL_AS_IS},
    {"blk.%d.ssm_dt", "backbone.layers.%d.mixer.dt_proj", GL_AS_IS},
    {"blk.%d.ssm_a", "backbone.layers.%d.mixer.A_log", GL_NEG_EXP},
    {"blk.%d.ssm_d", "backbone.layers.%d.mixer.D", GL_AS_IS},
};
static const struct gguf_name mamba2_names[] = {
    {"blk.%d.ssm_dt.bias", "backbone.layers.%d.mixer.dt_bias", GL_AS_IS},
    {"blk.%d.ssm_a", "backbone.layers.%d.mixer.A_log", GL_NEG_EXP_COLUMN},
    {"blk.%d.ssm_d", "backbone.layers.%d.mixer.D", GL_COLUMN},
    {"blk.%d.ssm_norm", "backbone.layers.%d.mixer.norm", GL_GROUPS},
};
static const struct gguf_name jamba_names[] = {
    {"token_embd", "model.embed_tokens", GL_AS_IS},
    {"output_norm", "model.final_layernorm", GL_AS_IS},
    {"output", "lm_head", GL_AS_IS},
    {"blk.%d.ffn_norm", "model.layers.%d.pre_ff_layernorm", GL_AS_IS},
    {"blk.%d.ffn_gate", "model.layers.%d.feed_forward.gate_proj", GL_AS_IS},
    {"blk.%d.ffn_up", "model.layers.%d.feed_forward.up_proj", GL_AS_IS},
    {"blk.%d.ffn_down", "model.layers.%d.feed_forward.down_proj", GL_AS_IS},
    {"blk.%d.ffn_gate_inp", "model.layers.%d.feed_forward.router", GL_AS_IS},
    {"blk.%d.ffn_gate_exps", "model.layers.%d.feed_forward.experts.%d.gate_proj", GL_AS_IS},
    {"blk.%d.ffn_up_exps", "model.layers.%d.feed_forward.experts.%d.up_proj", GL_AS_IS},
    {"blk.%d.ffn_down_exps", "model.layers.%d.feed_forward.experts.%d.down_proj", GL_AS_IS},
    {"blk.%d.ssm_in", "model.layers.%d.mamba.in_proj", GL_AS_IS},
    {"blk.%d.ssm_out", "model.layers.%d.mamba.out_proj", GL_AS_IS},
    {"blk.%d.ssm_conv1d.weight", "model.layers.%d.mamba.conv1d.weight", GL_CONV},
    {"blk.%d.ssm_conv1d.bias", "model.layers.%d.mamba.conv1d.bias", GL_AS_IS},
    {"blk.%d.ssm_x", "model.layers.%d.mamba.x_proj", GL_AS_IS},
    {"blk.%d.ssm_dt", "model.layers.%d.mamba.dt_proj", GL_AS_IS},
    {"blk.%d.ssm_a", "model.layers.%d.mamba.A_log", GL_NEG_EXP},
    {"blk.%d.ssm_d", "model.layers.%d.mamba.D", GL_AS_IS},
    {"blk.%d.ssm_dt_norm", "model.layers.%d.mamba.dt_layernorm", GL_AS_IS},
    {"blk.%d.ssm_b_norm", "model.layers.%d.mamba.b_layernorm", GL_AS_IS},
    {"blk.%d.ssm_c_norm", "model.layers.%d.mamba.c_layernorm", GL_AS_IS},
};

/* ---- towers of Qwen: q, k and v may be one ----------------------------------------------------- */

#define QWEN_TOWER(p)                                      \
    {"v.patch_embd", p "patch_embed.proj", GL_AS_IS},      \
    {"v.patch_embd.weight.1", p "patch_embed.proj" GGUF_SECOND_FRAME, GL_AS_IS}, \
    {"v.blk.%d.ln1", p "blocks.%d.norm1", GL_AS_IS},       \
    {"v.blk.%d.ln2", p "blocks.%d.norm2", GL_AS_IS},       \
    {"v.blk.%d.attn_q", p "blocks.%d.attn.q", GL_AS_IS},   \
    {"v.blk.%d.attn_k", p "blocks.%d.attn.k", GL_AS_IS},   \
    {"v.blk.%d.attn_v", p "blocks.%d.attn.v", GL_AS_IS},   \
    {"v.blk.%d.attn_qkv", p "blocks.%d.attn.qkv", GL_AS_IS}, \
    {"v.blk.%d.attn_out", p "blocks.%d.attn.proj", GL_AS_IS}
static const struct gguf_name qwen2_tower[] = {
    QWEN_TOWER("visual."),
    {"v.post_ln", "visual.merger.ln_q", GL_AS_IS},
    {"mm.0", "visual.merger.mlp.0", GL_AS_IS},
    {"mm.2", "visual.merger.mlp.2", GL_AS_IS},
};
static const struct gguf_name qwen2_tower_mlp[] = {
    {"v.blk.%d.ffn_up", "visual.blocks.%d.mlp.fc1", GL_AS_IS},
    {"v.blk.%d.ffn_down", "visual.blocks.%d.mlp.fc2", GL_AS_IS},
};
static const struct gguf_name qwen25_tower_mlp[] = {
    {"v.blk.%d.ffn_gate", "visual.blocks.%d.mlp.gate_proj", GL_AS_IS},
    {"v.blk.%d.ffn_up", "visual.blocks.%d.mlp.up_proj", GL_AS_IS},
    {"v.blk.%d.ffn_down", "visual.blocks.%d.mlp.down_proj", GL_AS_IS},
};
static const struct gguf_name qwen3_tower[] = {
    QWEN_TOWER("model.visual."),
    {"v.position_embd", "model.visual.pos_embed", GL_AS_IS},
    {"v.blk.%d.ffn_up", "model.visual.blocks.%d.mlp.linear_fc1", GL_AS_IS},
    {"v.blk.%d.ffn_down", "model.visual.blocks.%d.mlp.linear_fc2", GL_AS_IS},
    {"v.post_ln", "model.visual.merger.norm", GL_AS_IS},
    {"mm.0", "model.visual.merger.linear_fc1", GL_AS_IS},
    {"mm.2", "model.visual.merger.linear_fc2", GL_AS_IS},
    {"v.deepstack.%d.norm", "model.visual." GGUF_DEEP ".%d.norm", GL_AS_IS},
    {"v.deepstack.%d.fc1", "model.visual." GGUF_DEEP ".%d.linear_fc1", GL_AS_IS},
    {"v.deepstack.%d.fc2", "model.visual." GGUF_DEEP ".%d.linear_fc2", GL_AS_IS},
};
static const struct gguf_fact tower_facts[] = {
    {"vision.block_count", "depth", GF_INT, NAN},
    {"vision.attention.head_count", "num_heads", GF_INT, NAN},
    {"vision.patch_size", "patch_size", GF_INT, NAN},
    {"vision.spatial_merge_size", "spatial_merge_size", GF_INT, 2},
};
static const struct gguf_fact qwen2_tower_facts[] = {
    {"vision.embedding_length", "embed_dim", GF_INT, NAN},
    {"vision.projection_dim", "hidden_size", GF_INT, NAN},
};
static const struct gguf_fact later_tower_facts[] = {
    {"vision.embedding_length", "hidden_size", GF_INT, NAN},
    {"vision.projection_dim", "out_hidden_size", GF_INT, NAN},
    {"vision.feed_forward_length", "intermediate_size", GF_INT, NAN},
};
static const struct gguf_fact position_rows[] = {{"v.position_embd.weight", "num_position_embeddings", GF_ROWS, NAN}};

#define PLACEHOLDERS {"<|image_pad|>", "<|video_pad|>"}, {"image_token_id", "video_token_id"}
/* Limits of pixels as published: no file says them. */
#define QWEN2_PROCESSORS                                                                                                              \
    {"{\"image_processor_type\": \"Qwen2VLImageProcessor\", \"merge_size\": 2, \"temporal_patch_size\": 2, \"min_pixels\": 3136, "  \
     "\"max_pixels\": 12845056}",                                                                                                     \
     "{\"video_processor_type\": \"Qwen2VLVideoProcessor\", \"merge_size\": 2, \"temporal_patch_size\": 2}"}
#define QWEN3_PROCESSORS                                                                                                              \
    {"{\"image_processor_type\": \"Qwen2VLImageProcessorFast\", \"merge_size\": 2, \"temporal_patch_size\": 2, "                    \
     "\"size\": {\"shortest_edge\": 65536, \"longest_edge\": 16777216}}",                                                             \
     "{\"video_processor_type\": \"Qwen3VLVideoProcessor\", \"merge_size\": 2, \"temporal_patch_size\": 2, "                        \
     "\"size\": {\"shortest_edge\": 4096, \"longest_edge\": 25165824}}"}
static const struct gguf_sight qwen2_sight = {
    {"Qwen2ForCausalLM"}, NULL, "", "", PLACEHOLDERS, .width_of = "visual.merger.mlp.2.weight",
    .processor = QWEN2_PROCESSORS, .sides = {{"vision.patch_size", "patch_size"}}};
static const struct gguf_sight qwen3_sight = {
    {"Qwen3ForCausalLM"}, NULL, "model.", "model.language_model.", PLACEHOLDERS, .width_of = "model.visual.merger.linear_fc2.weight",
    .processor = QWEN3_PROCESSORS, .sides = {{"vision.patch_size", "patch_size"}}};

/* ---- towers of squares: CLIP's and SigLIP's, InternViT ----------------------------------------- */

static const struct gguf_fact square_facts[] = {
    {"vision.block_count", "num_hidden_layers", GF_INT, NAN},
    {"vision.attention.head_count", "num_attention_heads", GF_INT, NAN},
    {"vision.embedding_length", "hidden_size", GF_INT, NAN},
    {"vision.feed_forward_length", "intermediate_size", GF_INT, NAN},
    {"vision.image_size", "image_size", GF_INT, NAN},
    {"vision.patch_size", "patch_size", GF_INT, NAN},
    {"vision.attention.layer_norm_epsilon", "layer_norm_eps", GF_FLOAT, NAN},
};
static const struct gguf_fact merge_fact[] = {{"vision.projector.scale_factor", "scale_factor", GF_INT, 2}};
static const struct gguf_fact pool_fact[] = {{"vision.projector.scale_factor", "scale_factor", GF_INT, 4}};
static const struct gguf_fact intern_facts[] = {
    {"v.blk.0.attn_q.bias", "qkv_bias", GF_PRESENT, NAN},
    {"v.blk.0.attn_q_norm.weight", "qk_normalization", GF_PRESENT, NAN},
};

#define ENCODER_TOWER(p)                                                        \
    {"v.class_embd", p "embeddings.class_embedding", GL_AS_IS},                 \
    {"v.patch_embd", p "embeddings.patch_embedding", GL_AS_IS},                 \
    {"v.position_embd", p "embeddings.position_embedding", GL_AS_IS},           \
    {"v.pre_ln", p "pre_layrnorm", GL_AS_IS},                                   \
    {"v.blk.%d.ln1", p "encoder.layers.%d.layer_norm1", GL_AS_IS},              \
    {"v.blk.%d.ln2", p "encoder.layers.%d.layer_norm2", GL_AS_IS},              \
    {"v.blk.%d.attn_q", p "encoder.layers.%d.self_attn.q_proj", GL_AS_IS},      \
    {"v.blk.%d.attn_k", p "encoder.layers.%d.self_attn.k_proj", GL_AS_IS},      \
    {"v.blk.%d.attn_v", p "encoder.layers.%d.self_attn.v_proj", GL_AS_IS},      \
    {"v.blk.%d.attn_out", p "encoder.layers.%d.self_attn.out_proj", GL_AS_IS},  \
    {"v.blk.%d.ffn_up", p "encoder.layers.%d.mlp.fc1", GL_AS_IS},               \
    {"v.blk.%d.ffn_down", p "encoder.layers.%d.mlp.fc2", GL_AS_IS},             \
    {"v.post_ln", p "post_layernorm", GL_AS_IS}
static const struct gguf_name llava_tower[] = {
    ENCODER_TOWER("vision_tower.vision_model."),
    {"mm.0", "multi_modal_projector.linear_1", GL_AS_IS},
    {"mm.2", "multi_modal_projector.linear_2", GL_AS_IS},
};
static const struct gguf_name gemma3_tower[] = {
    ENCODER_TOWER("vision_tower.vision_model."),
    {"mm.input_projection.weight", "multi_modal_projector.mm_input_projection_weight", GL_AS_IS},
    {"mm.soft_emb_norm", "multi_modal_projector.mm_soft_emb_norm", GL_PLUS_ONE},
};
static const struct gguf_name idefics3_tower[] = {
    ENCODER_TOWER("model.vision_model."),
    {"mm.model.fc", "model.connector.modality_projection.proj", GL_AS_IS},
};
static const struct gguf_name intern_tower[] = {
    {"v.class_embd", "vision_model.embeddings.class_embedding", GL_AS_IS},
    {"v.patch_embd", "vision_model.embeddings.patch_embedding", GL_AS_IS},
    {"v.position_embd.weight", "vision_model.embeddings.position_embedding", GL_AS_IS},
    {"v.blk.%d.ln1", "vision_model.encoder.layers.%d.norm1", GL_AS_IS},
    {"v.blk.%d.ln2", "vision_model.encoder.layers.%d.norm2", GL_AS_IS},
    {"v.blk.%d.ls1.weight", "vision_model.encoder.layers.%d.ls1", GL_AS_IS},
    {"v.blk.%d.ls2.weight", "vision_model.encoder.layers.%d.ls2", GL_AS_IS},
    {"v.blk.%d.attn_q_norm", "vision_model.encoder.layers.%d.attn.q_norm", GL_AS_IS},
    {"v.blk.%d.attn_k_norm", "vision_model.encoder.layers.%d.attn.k_norm", GL_AS_IS},
    {"v.blk.%d.attn_q", "vision_model.encoder.layers.%d.attn.q", GL_AS_IS},
    {"v.blk.%d.attn_k", "vision_model.encoder.layers.%d.attn.k", GL_AS_IS},
    {"v.blk.%d.attn_v", "vision_model.encoder.layers.%d.attn.v", GL_AS_IS},
    {"v.blk.%d.attn_out", "vision_model.encoder.layers.%d.attn.proj", GL_AS_IS},
    {"v.blk.%d.ffn_up", "vision_model.encoder.layers.%d.mlp.fc1", GL_AS_IS},
    {"v.blk.%d.ffn_down", "vision_model.encoder.layers.%d.mlp.fc2", GL_AS_IS},
    {"mm.model.mlp.0", "mlp1.0", GL_AS_IS},
    {"mm.model.mlp.1", "mlp1.1", GL_AS_IS},
    {"mm.model.mlp.3", "mlp1.3", GL_AS_IS},
};

static const struct gguf_fact native_facts[] = {
    {"vision.block_count", "num_hidden_layers", GF_INT, NAN},
    {"vision.attention.head_count", "num_attention_heads", GF_INT, NAN},
    {"vision.embedding_length", "hidden_size", GF_INT, NAN},
    {"vision.feed_forward_length", "intermediate_size", GF_INT, NAN},
    {"vision.image_size", "image_size", GF_INT, NAN},
    {"vision.patch_size", "patch_size", GF_INT, NAN},
};
static const struct gguf_fact squares_facts[] = {
    {"vision.spatial_merge_size", "spatial_merge_size", GF_INT, NAN},
    {"mm.1.bias", "multimodal_projector_bias", GF_PRESENT, NAN},
};
static const struct gguf_name squares_merger[] = {
    {"mm.input_norm", "multi_modal_projector.norm", GL_AS_IS},
    {"mm.patch_merger", "multi_modal_projector.patch_merger.merging_layer", GL_AS_IS},
};
static const struct gguf_name pixtral_tower[] = {
    {"v.patch_embd", "vision_tower.patch_conv", GL_AS_IS},
    {"v.pre_ln", "vision_tower.ln_pre", GL_AS_IS},
    {"v.blk.%d.ln1", "vision_tower.transformer.layers.%d.attention_norm", GL_AS_IS},
    {"v.blk.%d.attn_q", "vision_tower.transformer.layers.%d.attention.q_proj", GL_ROPE_Q},
    {"v.blk.%d.attn_k", "vision_tower.transformer.layers.%d.attention.k_proj", GL_ROPE_K},
    {"v.blk.%d.attn_v", "vision_tower.transformer.layers.%d.attention.v_proj", GL_AS_IS},
    {"v.blk.%d.attn_out", "vision_tower.transformer.layers.%d.attention.o_proj", GL_AS_IS},
    {"v.blk.%d.ln2", "vision_tower.transformer.layers.%d.ffn_norm", GL_AS_IS},
    {"v.blk.%d.ffn_gate", "vision_tower.transformer.layers.%d.feed_forward.gate_proj", GL_AS_IS},
    {"v.blk.%d.ffn_up", "vision_tower.transformer.layers.%d.feed_forward.up_proj", GL_AS_IS},
    {"v.blk.%d.ffn_down", "vision_tower.transformer.layers.%d.feed_forward.down_proj", GL_AS_IS},
    {"mm.1", "multi_modal_projector.linear_1", GL_AS_IS},
    {"mm.2", "multi_modal_projector.linear_2", GL_AS_IS},
};

static const struct gguf_sight llava_sight = {
    {"LlamaForCausalLM", "MistralForCausalLM"}, NULL, "", "language_model.", {"<image>"}, {"image_token_index"}, true, {"vision_feature_layer"},
    "{\"vision_feature_select_strategy\": \"default\", \"projector_hidden_act\": \"gelu\"}",
    "multi_modal_projector.linear_2.weight", 0,
    {"{\"image_processor_type\": \"CLIPImageProcessor\", \"resample\": 3}"},
    {{"vision.image_size", "size", "shortest_edge"}, {"vision.image_size", "crop_size", "height"}, {"vision.image_size", "crop_size", "width"}}};
#define PIXTRAL_PROCESSOR                                                                                             \
    {"{\"image_processor_type\": \"PixtralImageProcessor\", \"resample\": 3}"},                                       \
    {{"vision.image_size", "size", "longest_edge"}, {"vision.patch_size", "patch_size"}}
static const struct gguf_sight pixtral_sight = {
    {"LlamaForCausalLM", "MistralForCausalLM"}, NULL, "", "language_model.", {"[IMG]"}, {"image_token_index"}, false, {"vision_feature_layer"},
    "{\"model_type\": \"llava\", \"vision_feature_select_strategy\": \"full\", \"projector_hidden_act\": \"gelu\"}",
    "multi_modal_projector.linear_2.weight", 0, PIXTRAL_PROCESSOR};
static const struct gguf_sight mistral3_sight = {
    {"LlamaForCausalLM", "MistralForCausalLM"}, NULL, "", "language_model.", {"[IMG]"}, {"image_token_index"}, false,
    {"vision_feature_layer", "spatial_merge_size", "multimodal_projector_bias"},
    "{\"model_type\": \"mistral3\", \"projector_hidden_act\": \"gelu\"}", "multi_modal_projector.linear_2.weight", 0, PIXTRAL_PROCESSOR};
static const struct gguf_sight intern_sight = {
    {"Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"}, "llm_config", "", "language_model.", {"<IMG_CONTEXT>"},
    {"img_context_token_id"}, false, {"downsample_ratio"}, "{\"select_layer\": -1, \"ps_version\": \"v2\"}", "mlp1.3.weight", 0,
    {"{\"image_processor_type\": \"GotOcr2ImageProcessor\", \"crop_to_patches\": true, \"min_patches\": 1, \"max_patches\": 12, "
     "\"resample\": 3}"},
    {{"vision.image_size", "size", "height"}, {"vision.image_size", "size", "width"}, {"vision.preproc_min_tiles", "min_patches"},
     {"vision.preproc_max_tiles", "max_patches"}}};
static const struct gguf_sight gemma3_sight = {
    {"Gemma3ForCausalLM"}, NULL, "", "language_model.", {"<image_soft_token>", "<start_of_image>", "<end_of_image>"},
    {"image_token_index", "boi_token_index", "eoi_token_index"}, false, {"mm_tokens_per_image"}, NULL,
    "multi_modal_projector.mm_input_projection_weight", 1,
    {"{\"image_processor_type\": \"Gemma3ImageProcessor\", \"resample\": 2}"},
    {{"vision.image_size", "size", "height"}, {"vision.image_size", "size", "width"}}};
static const struct gguf_sight idefics3_sight = {
    {"LlamaForCausalLM"}, NULL, "model.", "model.text_model.", {"<image>"}, {"image_token_id"}, false, {"scale_factor"}, NULL,
    "model.connector.modality_projection.proj.weight", 0,
    {"{\"image_processor_type\": \"Idefics3ImageProcessor\", \"do_image_splitting\": true, \"resample\": 1}"},
    {{"vision.preproc_image_size", "size", "longest_edge"}, {"vision.image_size", "max_image_size", "longest_edge"}}};

/* ---- architectures ----------------------------------------------------------------------------- */

#define DECODER_FACTS SET(core_facts), SET(attention_facts), SET(rms_facts)
#define SILU "{\"hidden_act\": \"silu\"}"
#define GEMMA "{\"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_activation\": \"gelu_pytorch_tanh\", \"attention_bias\": false}"
#define MAMBA "{\"hidden_act\": \"silu\", \"use_bias\": false}"

const struct gguf_arch gguf_archs[] = {
    {"llama", "MistralForCausalLM", "mistral", "attention.sliding_window", true, SILU, {DECODER_FACTS, SET(window_fact)},
     {SET(ends), SET(attention), SET(gated_mlp)}, gguf_read_rope, gguf_write_rope},
    {"llama", "LlamaForCausalLM", "llama", "!expert_count", true, SILU, {DECODER_FACTS, SET(llama_biases)},
     {SET(ends), SET(attention), SET(gated_mlp)}, gguf_read_rope, gguf_write_rope},
    {"llama", "MixtralForCausalLM", "mixtral", "expert_count", true, "{\"hidden_act\": \"silu\", \"sliding_window\": null}",
     {DECODER_FACTS, SET(mixtral_facts)}, {SET(ends), SET(attention), SET(mixtral_experts)}, gguf_read_rope, gguf_write_rope},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", NULL, false, "{\"hidden_act\": \"silu\", \"use_sliding_window\": false}",
     {DECODER_FACTS}, {SET(ends), SET(attention), SET(gated_mlp)}, gguf_read_rope, gguf_write_rope},
    {"qwen3", "Qwen3ForCausalLM", "qwen3", NULL, false, "{\"hidden_act\": \"silu\", \"use_sliding_window\": false}",
     {DECODER_FACTS, SET(query_bias)}, {SET(ends), SET(attention), SET(gated_mlp), SET(head_norms)},
     gguf_read_rope, gguf_write_rope},
    {"qwen2moe", "Qwen2MoeForCausalLM", "qwen2_moe", NULL, false,
     "{\"hidden_act\": \"silu\", \"use_sliding_window\": false, \"norm_topk_prob\": false, \"decoder_sparse_step\": 1, \"mlp_only_layers\": []}",
     {DECODER_FACTS, SET(expert_facts), SET(expert_width), SET(shared_width)},
     {SET(ends), SET(attention), SET(gated_mlp), SET(experts), SET(shared_expert)}, gguf_read_rope, gguf_write_rope},
    {"qwen3moe", "Qwen3MoeForCausalLM", "qwen3_moe", NULL, false,
     "{\"hidden_act\": \"silu\", \"use_sliding_window\": false, \"norm_topk_prob\": true, \"decoder_sparse_step\": 1, \"mlp_only_layers\": []}",
     {DECODER_FACTS, SET(query_bias), SET(expert_facts), SET(expert_width)},
     {SET(ends), SET(attention), SET(gated_mlp), SET(head_norms), SET(experts)}, gguf_read_rope, gguf_write_rope},
    {"olmo2", "Olmo2ForCausalLM", "olmo2", "!attention.sliding_window", false, SILU, {DECODER_FACTS, SET(query_bias)},
     {SET(ends), SET(attention), SET(post_norms), SET(gated_mlp), SET(head_norms)}, gguf_read_rope, gguf_write_rope},
    {"olmo2", "Olmo3ForCausalLM", "olmo3", "attention.sliding_window", false, SILU,
     {DECODER_FACTS, SET(query_bias), SET(window_fact)},
     {SET(ends), SET(attention), SET(post_norms), SET(gated_mlp), SET(head_norms)},
     gguf_read_window_layers, gguf_write_window_layers},
    {"olmoe", "OlmoeForCausalLM", "olmoe", NULL, false, "{\"hidden_act\": \"silu\", \"norm_topk_prob\": false}",
     {DECODER_FACTS, SET(query_bias), SET(expert_facts), SET(olmoe_facts)},
     {SET(ends), SET(attention), SET(gated_mlp), SET(head_norms), SET(experts)}, gguf_read_rope, gguf_write_rope},
    {"granite", "GraniteForCausalLM", "granite", NULL, true, SILU, {DECODER_FACTS, SET(llama_biases), SET(granite_facts)},
     {SET(ends), SET(attention), SET(gated_mlp)}, gguf_read_rope, gguf_write_rope},
    {"smollm3", "SmolLM3ForCausalLM", "smollm3", NULL, true, "{\"hidden_act\": \"silu\", \"use_sliding_window\": false}",
     {DECODER_FACTS, SET(llama_biases)}, {SET(ends), SET(attention), SET(gated_mlp)}, gguf_read_smollm3, gguf_write_smollm3},
    {"phi3", "Phi3ForCausalLM", "phi3", NULL, false, SILU, {SET(core_facts), SET(attention_facts), SET(rms_facts), SET(whole_rope)},
     {SET(ends), SET(phi3_block)}, gguf_read_phi3, gguf_write_phi3},
    {"phi2", "PhiForCausalLM", "phi", NULL, false, "{\"hidden_act\": \"gelu_new\", \"qk_layernorm\": false}",
     {SET(core_facts), SET(attention_facts), SET(phi2_facts)}, {SET(phi2_block)}, gguf_read_rope, gguf_write_rope},
    {"gemma", "GemmaForCausalLM", "gemma", NULL, false, GEMMA, {DECODER_FACTS},
     {SET(gemma_ends), SET(gemma1_norms), SET(attention), SET(gated_mlp)}, gguf_read_rope, gguf_write_rope},
    {"gemma2", "Gemma2ForCausalLM", "gemma2", NULL, false, GEMMA, {DECODER_FACTS, SET(gemma2_facts)},
     {SET(gemma_ends), SET(gemma_norms), SET(attention), SET(gated_mlp)}, gguf_read_gemma2, gguf_write_gemma2},
    {"gemma3", "Gemma3ForCausalLM", "gemma3_text", NULL, false,
     "{\"hidden_activation\": \"gelu_pytorch_tanh\", \"attention_bias\": false}", {DECODER_FACTS, SET(window_fact)},
     {SET(gemma_ends), SET(gemma_norms), SET(attention), SET(gated_mlp)}, gguf_read_gemma3, gguf_write_gemma3},
    {"gpt2", "GPT2LMHeadModel", "gpt2", NULL, false, "{\"activation_function\": \"gelu_new\"}", {SET(gpt2_facts)},
     {SET(gpt2_names)}, gguf_read_gpt2, gguf_write_gpt2},
    {"gptneox", "GPTNeoXForCausalLM", "gpt_neox", NULL, false, "{\"hidden_act\": \"gelu\"}", {SET(core_facts), SET(neox_facts)},
     {SET(neox_names)}, gguf_read_rope, gguf_write_rope},
    {"starcoder2", "Starcoder2ForCausalLM", "starcoder2", NULL, false, "{\"hidden_act\": \"gelu_pytorch_tanh\"}",
     {SET(core_facts), SET(attention_facts), SET(starcoder2_facts), SET(window_fact)},
     {SET(ends), SET(attention), SET(starcoder2_mlp)}, gguf_read_rope, gguf_write_rope},
    {"deepseek2", "DeepseekV3ForCausalLM", "deepseek_v3", "expert_gating_func", false,
     "{\"hidden_act\": \"silu\", \"attention_bias\": false, \"moe_layer_freq\": 1}",
     {SET(core_facts), SET(rms_facts), SET(deepseek_facts), SET(expert_width)},
     {SET(ends), SET(deepseek_names), SET(gated_mlp), SET(experts)}, gguf_read_deepseek, gguf_write_deepseek},
    {"deepseek2", "DeepseekV2ForCausalLM", "deepseek_v2", "!expert_gating_func", false,
     "{\"hidden_act\": \"silu\", \"attention_bias\": false, \"moe_layer_freq\": 1}",
     {SET(core_facts), SET(rms_facts), SET(deepseek_facts), SET(expert_width)},
     {SET(ends), SET(deepseek_names), SET(gated_mlp), SET(experts)}, gguf_read_deepseek, gguf_write_deepseek},
    {"mamba", "MambaForCausalLM", "mamba", "!ssm.dt_b_c_rms", false, MAMBA, {SET(mamba_facts), SET(mamba1_facts)},
     {SET(mamba_ends), SET(mamba1_names)}, gguf_read_mamba, gguf_write_mamba},
    {"mamba", "FalconMambaForCausalLM", "falcon_mamba", "ssm.dt_b_c_rms", false, MAMBA,
     {SET(mamba_facts), SET(mamba1_facts)}, {SET(mamba_ends), SET(mamba1_names)},
     gguf_read_mamba, gguf_write_mamba},
    {"mamba2", "Mamba2ForCausalLM", "mamba2", NULL, false, MAMBA, {SET(mamba_facts), SET(mamba2_facts)},
     {SET(mamba_ends), SET(mamba2_names)}, gguf_read_mamba2, gguf_write_mamba2},
    {"jamba", "JambaForCausalLM", "jamba", NULL, false,
     "{\"hidden_act\": \"silu\", \"mamba_proj_bias\": false}", {SET(core_facts), SET(rms_facts), SET(jamba_facts), SET(expert_facts)},
     {SET(jamba_names), SET(attention)}, gguf_read_jamba, gguf_write_jamba},
    {"qwen2vl", "Qwen2ForCausalLM", "qwen2", NULL, false, "{\"hidden_act\": \"silu\", \"use_sliding_window\": false}",
     {DECODER_FACTS}, {SET(ends), SET(attention), SET(gated_mlp)}, gguf_read_sections, NULL},
    {"qwen3vl", "Qwen3ForCausalLM", "qwen3", NULL, false, "{\"hidden_act\": \"silu\", \"use_sliding_window\": false}",
     {DECODER_FACTS, SET(query_bias)}, {SET(ends), SET(attention), SET(gated_mlp), SET(head_norms)}, gguf_read_woven_sections, NULL},
    {"clip", "Qwen2VLForConditionalGeneration", "qwen2_vl", "projector_type=qwen2vl_merger", false,
     "{\"hidden_act\": \"quick_gelu\", \"mlp_ratio\": 4, \"temporal_patch_size\": 2}", {SET(tower_facts), SET(qwen2_tower_facts)},
     {SET(qwen2_tower), SET(qwen2_tower_mlp)}, NULL, NULL, &qwen2_sight},
    {"clip", "Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", "projector_type=qwen2.5vl_merger", false,
     "{\"hidden_act\": \"silu\", \"temporal_patch_size\": 2, \"window_size\": 112, \"tokens_per_second\": 2}",
     {SET(tower_facts), SET(later_tower_facts)}, {SET(qwen2_tower), SET(qwen25_tower_mlp)}, gguf_read_window_tower, NULL, &qwen2_sight},
    {"clip", "Qwen3VLForConditionalGeneration", "qwen3_vl", "projector_type=qwen3vl_merger", false,
     "{\"hidden_act\": \"gelu_pytorch_tanh\", \"temporal_patch_size\": 2}", {SET(tower_facts), SET(later_tower_facts), SET(position_rows)},
     {SET(qwen3_tower)}, gguf_read_deep_tower, NULL, &qwen3_sight},
    {"clip", "LlavaForConditionalGeneration", "llava", "projector_type=mlp", false, "{}", {SET(square_facts)}, {SET(llava_tower)},
     gguf_read_clip_tower, NULL, &llava_sight},
    {"clip", "LlavaForConditionalGeneration", "llava", "!projector_type", false, "{}", {SET(square_facts)}, {SET(llava_tower)}, /* of 2023 */
     gguf_read_clip_tower, NULL, &llava_sight},
    {"clip", "Mistral3ForConditionalGeneration", "pixtral", "@mm.patch_merger.weight", true, "{}", {SET(native_facts), SET(squares_facts)},
     {SET(pixtral_tower), SET(squares_merger)}, gguf_read_clip_tower, NULL, &mistral3_sight},
    {"clip", "LlavaForConditionalGeneration", "pixtral", "projector_type=pixtral", true, "{}", {SET(native_facts)}, {SET(pixtral_tower)},
     gguf_read_pixtral_tower, NULL, &pixtral_sight},
    {"clip", "InternVLChatModel", "internvl_chat", "projector_type=internvl", false, "{\"hidden_act\": \"gelu\"}",
     {SET(square_facts), SET(merge_fact), SET(intern_facts)}, {SET(intern_tower)}, gguf_read_intern_tower, NULL, &intern_sight},
    {"clip", "Gemma3ForConditionalGeneration", "gemma3", "projector_type=gemma3", false,
     "{\"hidden_act\": \"gelu_pytorch_tanh\", \"vision_use_head\": false}", {SET(square_facts), SET(pool_fact)}, {SET(gemma3_tower)},
     gguf_read_gemma3_tower, NULL, &gemma3_sight},
    {"clip", "Idefics3ForConditionalGeneration", "idefics3", "projector_type=idefics3", false,
     "{\"hidden_act\": \"gelu_pytorch_tanh\"}", {SET(square_facts), SET(merge_fact)}, {SET(idefics3_tower)}, NULL, NULL, &idefics3_sight},
};
const size_t gguf_arch_count = sizeof gguf_archs / sizeof gguf_archs[0];
