/* LLaVA and ViP-LLaVA: a vision tower, a two-layer connector, a decoder that reads its features in
 * place of placeholder tokens. arXiv:2304.08485, arXiv:2310.03744, arXiv:2312.00784. */
/* SPDX-License-Identifier: MIT */
#include "models/families.h"
#include "models/sight.h"

#define FAMILY_FIELD(key, kind, member, lo, hi, def) \
    {key, kind, offsetof(struct family_facts, member), false, lo, hi, def, NULL, NULL, 0, 0}

static const struct json_name strategies[] = {{"default", true}, {"full", false}, {NULL, 0}};

static const char *const llava_ignore[] = {"image_seq_length", "video_token_index", "video_seq_length", NULL};

static const struct json_field llava_fields[] = {
    FAMILY_FIELD("image_token_index|image_token_id", JSON_KIND_INT, image_token, 0, MAX_VOCAB, 32000),
    {"vision_feature_layer", JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0,
     NULL, NULL, offsetof(struct family_facts, n_feature_layers), 8},
    {"vision_feature_select_strategy", JSON_KIND_ENUM, offsetof(struct family_facts, drop_class), false, 0, 0, true, NULL,
     strategies, 0, 0},
    {"projector_hidden_act", JSON_KIND_ENUM, offsetof(struct family_facts, projector_act), false, 0, 0, ACT_GELU, NULL,
     family_acts, 0, 0},
    FAMILY_FIELD("multimodal_projector_bias", JSON_KIND_BOOL, connector_bias, 0, 0, true),
};

static const struct weight_row llava_weights[] = {
    {NN_conn_1_w, "multi_modal_projector.linear_1.weight", W_ALWAYS},
    {NN_conn_1_b, "multi_modal_projector.linear_1.bias", W_CONNECTOR_BIAS},
    {NN_conn_2_w, "multi_modal_projector.linear_2.weight", W_ALWAYS},
    {NN_conn_2_b, "multi_modal_projector.linear_2.bias", W_CONNECTOR_BIAS},
};

const struct family_row family_llava = {
    "LlavaForConditionalGeneration", "llava", FAMILY_DECODER,
    {"text_config", "language_model.", "llama"}, {"vision_config", "vision_tower.", "clip_vision_model"},
    ROWS(llava_fields), llava_ignore, ROWS(llava_weights),
    {.feature_layers = {-2}, .n_feature_layers = 1}, .sight = &sight_square};

static const struct json_field vipllava_fields[] = {
    FAMILY_FIELD("image_token_index|image_token_id", JSON_KIND_INT, image_token, 0, MAX_VOCAB, 32000),
    {"vision_feature_layers", JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0,
     NULL, NULL, offsetof(struct family_facts, n_feature_layers), 8},
    {"projector_hidden_act", JSON_KIND_ENUM, offsetof(struct family_facts, projector_act), false, 0, 0, ACT_GELU, NULL,
     family_acts, 0, 0},
    FAMILY_FIELD("projector_layernorm_eps", JSON_KIND_FLOAT, connector_eps, 0, 1, 1e-5),
};

static const struct weight_row vipllava_weights[] = {
    {NN_conn_norm_w, "multi_modal_projector.projector_layernorm.weight", W_ALWAYS},
    {NN_conn_norm_b, "multi_modal_projector.projector_layernorm.bias", W_ALWAYS},
    {NN_conn_1_w, "multi_modal_projector.linear_1.weight", W_ALWAYS},
    {NN_conn_1_b, "multi_modal_projector.linear_1.bias", W_ALWAYS},
    {NN_conn_2_w, "multi_modal_projector.linear_2.weight", W_ALWAYS},
    {NN_conn_2_b, "multi_modal_projector.linear_2.bias", W_ALWAYS},
};

const struct family_row family_vipllava = {
    "VipLlavaForConditionalGeneration", "vipllava", FAMILY_DECODER,
    {"text_config", "language_model.", "llama"}, {"vision_config", "vision_tower.", "clip_vision_model"},
    ROWS(vipllava_fields), llava_ignore, ROWS(vipllava_weights),
    {.feature_layers = {-2, -5, -8, -11, 6}, .n_feature_layers = 5, .drop_class = true, .connector_bias = true}, .sight = &sight_square};
