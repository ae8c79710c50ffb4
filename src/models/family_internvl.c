/* InternVL 2, 2.5 and 3 in the layout of their own repositories and in transformers', and NVLM-D: dynamic tiles, pixel
 * shuffle, a two-layer connector. arXiv:2404.16821, arXiv:2409.11402. */
/* SPDX-License-Identifier: MIT */
#include "models/families.h"
#include "models/sight.h"

#define TILE_LAYER(key)                                                                                                     \
    {key, JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0, NULL, NULL,     \
     offsetof(struct family_facts, n_feature_layers), 8}

/* Tiles are the processor's, templates the tokenizer's; the rest is of training. */
static const char *const internvl_ignore[] = {
    "dynamic_image_size", "force_image_size", "max_dynamic_patch", "min_dynamic_patch", "use_thumbnail", "pad2square", "template",
    "use_backbone_lora", "use_llm_lora", "image_fold", "system_message", "llm_config", "hidden_size", "img_context_token_id", NULL};

static const struct json_name shuffle_versions[] = {{"v1", 1}, {"v2", 0}, {NULL, 0}};

static const struct json_field internvl_fields[] = {
    TILE_LAYER("select_layer"),
    {"downsample_ratio", JSON_KIND_FLOAT, offsetof(struct family_facts, downsample), false, 0.01, 1, 0.5, NULL, NULL, 0, 0},
    {"ps_version", JSON_KIND_ENUM, offsetof(struct family_facts, turned_squares), false, 0, 0, 1, NULL, shuffle_versions, 0, 0},
};
static const struct weight_row internvl_weights[] = {
    {NN_conn_norm_w, "mlp1.0.weight"}, {NN_conn_norm_b, "mlp1.0.bias"}, {NN_conn_1_w, "mlp1.1.weight"},
    {NN_conn_1_b, "mlp1.1.bias"},      {NN_conn_2_w, "mlp1.3.weight"},  {NN_conn_2_b, "mlp1.3.bias"},
};
#define TILE_FACTS .feature_layers = {-1}, .n_feature_layers = 1, .drop_class = true, .projector_act = ACT_GELU, .connector_eps = 1e-5f

const struct family_row family_internvl_chat = {
    "InternVLChatModel", "internvl_chat", FAMILY_DECODER,
    {"llm_config", "language_model.", "qwen2"}, {"vision_config", "vision_model.", "intern_vit_6b"},
    ROWS(internvl_fields), internvl_ignore, ROWS(internvl_weights), {.image_token = -1, TILE_FACTS}, .sight = &sight_tiles};

/* The second matrix' width is the decoder's MLP's, and there are no biases. */
static const struct weight_row nvlm_weights[] = {
    {NN_conn_norm_w, "mlp1.0.weight"},
    {NN_conn_norm_b, "mlp1.0.bias"},
    {NN_conn_1_w, "mlp1.1.weight", W_ALWAYS, {0}, "~F"},
    {NN_conn_2_w, "mlp1.3.weight", W_ALWAYS, {0}, "h~"},
};
const struct family_row family_nvlm_d = {
    "NVLM_D", "NVLM_D", FAMILY_DECODER,
    {"llm_config", "language_model.", "qwen2"}, {"vision_config", "vision_model.", "nvlm_vit", .alone = true},
    ROWS(internvl_fields), internvl_ignore, ROWS(nvlm_weights), {.image_token = -1, TILE_FACTS}, .sight = &sight_tagged_tiles};

static const char *const internvl_hf_ignore[] = {"image_seq_length", NULL};
static const struct json_name strategies[] = {{"default", true}, {"full", false}, {NULL, 0}};
static const struct json_field internvl_hf_fields[] = {
    {"image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), false, 0, MAX_VOCAB, 151667, NULL, NULL, 0, 0},
    TILE_LAYER("vision_feature_layer"),
    {"vision_feature_select_strategy", JSON_KIND_ENUM, offsetof(struct family_facts, drop_class), false, 0, 0, true, NULL, strategies, 0, 0},
    {"projector_hidden_act", JSON_KIND_ENUM, offsetof(struct family_facts, projector_act), false, 0, 0, ACT_GELU, NULL, family_acts, 0, 0},
    {"downsample_ratio", JSON_KIND_FLOAT, offsetof(struct family_facts, downsample), false, 0.01, 1, 0.5, NULL, NULL, 0, 0},
};
static const struct weight_row internvl_hf_weights[] = {
    {NN_conn_norm_w, "multi_modal_projector.layer_norm.weight"}, {NN_conn_norm_b, "multi_modal_projector.layer_norm.bias"},
    {NN_conn_1_w, "multi_modal_projector.linear_1.weight"},      {NN_conn_1_b, "multi_modal_projector.linear_1.bias"},
    {NN_conn_2_w, "multi_modal_projector.linear_2.weight"},      {NN_conn_2_b, "multi_modal_projector.linear_2.bias"},
};
const struct family_row family_internvl_hf = {
    "InternVLForConditionalGeneration", "internvl", FAMILY_DECODER,
    {"text_config", "language_model.", "qwen2"}, {"vision_config", "vision_tower.", "internvl_vision"},
    ROWS(internvl_hf_fields), internvl_hf_ignore, ROWS(internvl_hf_weights), {TILE_FACTS}, .sight = &sight_tiles_hf};
