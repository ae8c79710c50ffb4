/* Pixtral's tower at native sizes, and Mistral 3.1's form of the whole: arXiv:2410.07073. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/families.h"
#include "models/sight.h"

static const struct json_field pixtral_fields[] = {
    FACT_INT("hidden_size", hidden, 1024, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 24, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 16, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 4096, MAX_WIDTH),
    FACT_INT("image_size", image_size, 1024, 1 << 16),
    FACT_INT("patch_size", patch, 16, 1 << 12),
    FACT_INT("num_channels", channels, 3, 3),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_ACT(ACT_GELU),
};

static int pixtral_finish(const struct stack_read *r)
{
    if (r->f->image_size < r->f->patch)
        return err_set(NUN_EFORMAT, "%s: image_size %d is smaller than patch_size %d", r->place, r->f->image_size, r->f->patch);
    return family_heads(r);
}

#define PIX "transformer.layers.%d."
static const struct weight_row pixtral_weights[] = {
    {NN_patch_w, "patch_conv.weight"},
    {NN_pre_norm_w, "ln_pre.weight"},
    {NN_norm1_w, PIX "attention_norm.weight"},
    {NN_attn_q_w, PIX "attention.q_proj.weight"},
    {NN_attn_k_w, PIX "attention.k_proj.weight"},
    {NN_attn_v_w, PIX "attention.v_proj.weight"},
    {NN_attn_o_w, PIX "attention.o_proj.weight"},
    {NN_norm2_w, PIX "ffn_norm.weight"},
    {NN_gate_w, PIX "feed_forward.gate_proj.weight"},
    {NN_up_w, PIX "feed_forward.up_proj.weight"},
    {NN_down_w, PIX "feed_forward.down_proj.weight"},
};
const struct stack_row stack_pixtral = {
    "pixtral", ROWS(pixtral_fields), NULL, ROWS(pixtral_weights),
    {.norm = NN_RMS, .norm_eps = 1e-5f, .gated = true, .merge = 1, .frames = 1,
     .rope[0] = {.kind = NN_ROPE_default, .odd_columns = true}},
    pixtral_finish, .sight = &sight_rows_of_patches};

/* ---- Mistral 3: squares of patches become one ---- */

static const struct json_field mistral3_fields[] = {
    {"image_token_index|image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), false, 0, MAX_VOCAB, 10, NULL, NULL, 0, 0},
    {"spatial_merge_size", JSON_KIND_INT, offsetof(struct family_facts, merge), false, 1, 64, 2, NULL, NULL, 0, 0},
    {"vision_feature_layer", JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0, NULL, NULL,
     offsetof(struct family_facts, n_feature_layers), 8},
    {"projector_hidden_act", JSON_KIND_ENUM, offsetof(struct family_facts, projector_act), false, 0, 0, ACT_GELU, NULL, family_acts, 0, 0},
    {"multimodal_projector_bias", JSON_KIND_BOOL, offsetof(struct family_facts, connector_bias), false, 0, 0, false, NULL, NULL, 0, 0},
};
static const struct weight_row mistral3_weights[] = {
    {NN_conn_norm_w, "multi_modal_projector.norm.weight"},
    {NN_conn_squares_w, "multi_modal_projector.patch_merger.merging_layer.weight"},
    {NN_conn_1_w, "multi_modal_projector.linear_1.weight"},
    {NN_conn_1_b, "multi_modal_projector.linear_1.bias", W_CONNECTOR_BIAS},
    {NN_conn_2_w, "multi_modal_projector.linear_2.weight"},
    {NN_conn_2_b, "multi_modal_projector.linear_2.bias", W_CONNECTOR_BIAS},
};
const struct family_row family_mistral3 = {
    "Mistral3ForConditionalGeneration", "mistral3", FAMILY_DECODER,
    {"text_config", "language_model.", "mistral"}, {"vision_config", "vision_tower.", "pixtral"},
    ROWS(mistral3_fields), NULL, ROWS(mistral3_weights), {.feature_layers = {-1}, .n_feature_layers = 1}};
