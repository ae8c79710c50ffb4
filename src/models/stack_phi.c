/* Phi (1, 1.5, 2) with attention and MLP side by side, Phi 3 and 4 with fused matrices, and Phi 3 with eyes. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

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
#define PHI3_BLOCKS                                                                                                         \
    ROWS_LLAMA_NORMS, ROWS_QKV_FUSED(w, LAYER "self_attn.qkv_proj.weight", "QKK", 0),                                       \
    {NN_attn_o_w, LAYER "self_attn.o_proj.weight"}, {NN_gate_w, LAYER "mlp.gate_up_proj.weight", W_ALWAYS, PART("II", 0)},  \
    {NN_up_w, LAYER "mlp.gate_up_proj.weight", W_ALWAYS, PART("II", 1)}, {NN_down_w, LAYER "mlp.down_proj.weight"},         \
    ROW_FINAL_NORM, ROW_HEAD
static const struct weight_row phi3_weights[] = {ROW_EMBED, PHI3_BLOCKS};
const struct stack_row stack_phi3 = {
    "phi3", ROWS(phi3_fields), phi_ignore, ROWS(phi3_weights), {LLAMA_FACTS}, phi3_finish};
const struct family_row family_phi3 = DECODER_FAMILY("Phi3ForCausalLM", "phi3");

/* ---- Phi 3 and 3.5 Vision: the decoder's keys lie at the top, and the embedding under one of two names, or both ---- */

#define EMBED "model.embed_tokens.weight"
#define SHARED_EMBED "model.vision_embed_tokens.wte.weight"

static bool embed_is_shared(const struct weight_ask *a)
{
    return !a->present(a->arg, EMBED) && a->present(a->arg, SHARED_EMBED);
}
static bool embed_is_own(const struct weight_ask *a) { return !embed_is_shared(a); }

static const struct weight_row phi3_v_weights[] = {
    {NN_embed_w, EMBED, embed_is_own}, {NN_embed_w, SHARED_EMBED, embed_is_shared}, PHI3_BLOCKS};
static const char *const phi3_v_ignore[] = {
    "embd_pdrop", "embd_layer", "img_processor", "original_max_position_embeddings", "resid_pdrop", NULL};
static const char *const phi3_v_leave[] = {"vision_embed_tokens.wte.weight", NULL};

/* How features are laid out is the original's only published way. */
static int phi3_v_finish(const struct stack_read *r)
{
    static const struct { const char *key, *only; } words[] = {
        {"embd_layer.embedding_cls", "image"}, {"embd_layer.projection_cls", "mlp"}, {"embd_layer.hd_transform_order", "sub_glb"}};
    static const char *const switches[] = {"embd_layer.use_hd_transform", "embd_layer.with_learnable_separator"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *found = "nothing";
        TRY(json_get_string(r->config, r->place, words[i].key, &found));
        if (strcmp(found, words[i].only))
            return err_set(NUN_EUNSUP, "%s: %s: expected %s, found %s", r->place, words[i].key, words[i].only, found);
    }
    for (size_t i = 0; i < 2; i++) {
        bool on = false;
        TRY(json_get_bool(r->config, r->place, switches[i], &on));
        if (!on)
            return err_set(NUN_EUNSUP, "%s: %s: expected true", r->place, switches[i]);
    }
    return phi3_finish(r);
}
const struct stack_row stack_phi3_v = {
    "phi3_v", ROWS(phi3_fields), phi3_v_ignore, ROWS(phi3_v_weights), {LLAMA_FACTS}, phi3_v_finish, .leave = phi3_v_leave};
