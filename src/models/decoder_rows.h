/* Weight rows and config fields that many decoders spell alike. Included by stack_*.c only; a family that differs
 * writes its own rows. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_DECODER_ROWS_H
#define MODELS_DECODER_ROWS_H
#include "models/families.h"

#define LAYER "model.layers.%d."

/* A weight of a tensor that holds several: see struct weight_part. */
#define PART(of, at) {of, at, 0, false}
#define PART_TIMES(of, at, times) {of, at, times, false}
#define PART_STACKED(of, at, times) {of, at, times, false, true}

#define ROW_EMBED {NN_embed_w, "model.embed_tokens.weight"}
#define ROW_HEAD {NN_lm_head_w, "lm_head.weight", W_UNTIED}
#define ROW_FINAL_NORM {NN_final_norm_w, "model.norm.weight"}
#define ROWS_NORM(role, name) {NN_##role##_w, name ".weight"}, {NN_##role##_b, name ".bias"}

#define ROWS_QKVO(p)                                \
    {NN_attn_q_w, p "self_attn.q_proj.weight"},     \
    {NN_attn_k_w, p "self_attn.k_proj.weight"},     \
    {NN_attn_v_w, p "self_attn.v_proj.weight"},     \
    {NN_attn_o_w, p "self_attn.o_proj.weight"}
#define ROWS_QKV_BIAS(p, when)                      \
    {NN_attn_q_b, p "self_attn.q_proj.bias", when}, \
    {NN_attn_k_b, p "self_attn.k_proj.bias", when}, \
    {NN_attn_v_b, p "self_attn.v_proj.bias", when}
#define ROWS_QKVO_BIAS(p, when) ROWS_QKV_BIAS(p, when), {NN_attn_o_b, p "self_attn.o_proj.bias", when}
#define ROWS_QK_NORM(p, shape_q, shape_k)                                       \
    {NN_q_norm_w, p "self_attn.q_norm.weight", W_ALWAYS, {0}, shape_q},         \
    {NN_k_norm_w, p "self_attn.k_norm.weight", W_ALWAYS, {0}, shape_k}
#define ROWS_GATED_MLP(p)                           \
    {NN_gate_w, p "mlp.gate_proj.weight"},          \
    {NN_up_w, p "mlp.up_proj.weight"},              \
    {NN_down_w, p "mlp.down_proj.weight"}
#define ROWS_GATED_MLP_BIAS(p, when)                \
    {NN_gate_b, p "mlp.gate_proj.bias", when},      \
    {NN_up_b, p "mlp.up_proj.bias", when},          \
    {NN_down_b, p "mlp.down_proj.bias", when}
#define ROWS_LLAMA_NORMS                            \
    {NN_norm1_w, LAYER "input_layernorm.weight"},   \
    {NN_norm2_w, LAYER "post_attention_layernorm.weight"}

/* A fused tensor of q, k and v, weight or bias. */
#define ROWS_QKV_FUSED(suffix, name, part_of, times)                                       \
    {NN_attn_q_##suffix, name, W_ALWAYS, PART_TIMES(part_of, 0, times)},                   \
    {NN_attn_k_##suffix, name, W_ALWAYS, PART_TIMES(part_of, 1, times)},                   \
    {NN_attn_v_##suffix, name, W_ALWAYS, PART_TIMES(part_of, 2, times)}

/* RMS norm, rotary positions, gated MLP: what the Llama line has in common. */
#define LLAMA_FACTS .gated = true, .causal = true, .rope[0].kind = NN_ROPE_default

#endif
