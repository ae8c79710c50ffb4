/* LLaVA, ViP-LLaVA, LLaVA-NeXT, LLaVA-OneVision and Video-LLaVA: a vision tower, a two-layer connector, a decoder that
 * reads its features in place of placeholder tokens. arXiv:2304.08485, arXiv:2310.03744, arXiv:2312.00784,
 * arXiv:2408.03326, arXiv:2311.10122. */
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

/* ---- grids of tiles ------------------------------------------------------------------------ */

#define LAYER_AND_CLASS(drop)                                                                                              \
    {"vision_feature_layer", JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0, \
     NULL, NULL, offsetof(struct family_facts, n_feature_layers), 8},                                                      \
    {"vision_feature_select_strategy", JSON_KIND_ENUM, offsetof(struct family_facts, drop_class), false, 0, 0, drop, NULL, \
     strategies, 0, 0},                                                                                                    \
    {"projector_hidden_act", JSON_KIND_ENUM, offsetof(struct family_facts, projector_act), false, 0, 0, ACT_GELU, NULL,    \
     family_acts, 0, 0},                                                                                                   \
    FAMILY_FIELD("multimodal_projector_bias", JSON_KIND_BOOL, connector_bias, 0, 0, true)

/* The grid's sizes are the processor's to choose from. */
static const char *const anyres_ignore[] = {"image_seq_length", "video_seq_length", "image_grid_pinpoints", NULL};

static const struct weight_row anyres_weights[] = {
    {NN_newline_w, "image_newline", W_NEWLINE},
    {NN_conn_1_w, "multi_modal_projector.linear_1.weight", W_ALWAYS},
    {NN_conn_1_b, "multi_modal_projector.linear_1.bias", W_CONNECTOR_BIAS},
    {NN_conn_2_w, "multi_modal_projector.linear_2.weight", W_ALWAYS},
    {NN_conn_2_b, "multi_modal_projector.linear_2.bias", W_CONNECTOR_BIAS},
};

static const struct json_field llava_next_fields[] = {
    FAMILY_FIELD("image_token_index|image_token_id", JSON_KIND_INT, image_token, 0, MAX_VOCAB, 32000),
    FAMILY_FIELD("use_image_newline_parameter", JSON_KIND_BOOL, newline, 0, 0, true),
    LAYER_AND_CLASS(true),
};

const struct family_row family_llava_next = {
    "LlavaNextForConditionalGeneration", "llava_next", FAMILY_DECODER,
    {"text_config", "language_model.", "llama"}, {"vision_config", "vision_tower.", "clip_vision_model"},
    ROWS(llava_next_fields), anyres_ignore, ROWS(anyres_weights),
    {.feature_layers = {-2}, .n_feature_layers = 1}, .sight = &sight_anyres};

/* What is left of a large grid, in tiles. */
static const struct json_name grid_limits[] = {
    {"anyres", 0}, {"anyres_max_1", 1}, {"anyres_max_2", 2}, {"anyres_max_3", 3}, {"anyres_max_4", 4}, {"anyres_max_5", 5},
    {"anyres_max_6", 6}, {"anyres_max_7", 7}, {"anyres_max_8", 8}, {"anyres_max_9", 9}, {"anyres_max_12", 12},
    {"anyres_max_16", 16}, {"anyres_max_36", 36}, {NULL, 0}};

static const struct json_field onevision_fields[] = {
    FAMILY_FIELD("image_token_index|image_token_id", JSON_KIND_INT, image_token, 0, MAX_VOCAB, 151646),
    FAMILY_FIELD("video_token_index|video_token_id", JSON_KIND_INT, video_token, 0, MAX_VOCAB, 151647),
    FAMILY_FIELD("use_image_newline_parameter", JSON_KIND_BOOL, newline, 0, 0, true),
    {"vision_aspect_ratio", JSON_KIND_ENUM, offsetof(struct family_facts, max_tiles_kept), false, 0, 0, 9, NULL, grid_limits, 0, 0},
    LAYER_AND_CLASS(false),
};

const struct family_row family_llava_onevision = {
    "LlavaOnevisionForConditionalGeneration", "llava_onevision", FAMILY_DECODER,
    {"text_config", "language_model.", "qwen2"}, {"vision_config", "vision_tower.", "siglip_vision_model"},
    ROWS(onevision_fields), anyres_ignore, ROWS(anyres_weights),
    {.feature_layers = {-1}, .n_feature_layers = 1}, .sight = &sight_anyres};

/* ---- videos -------------------------------------------------------------------------------- */

static const struct json_field video_llava_fields[] = {
    FAMILY_FIELD("image_token_index|image_token_id", JSON_KIND_INT, image_token, 0, MAX_VOCAB, 32000),
    FAMILY_FIELD("video_token_index|video_token_id", JSON_KIND_INT, video_token, 0, MAX_VOCAB, 32001),
    LAYER_AND_CLASS(true),
};

const struct family_row family_video_llava = {
    "VideoLlavaForConditionalGeneration", "video_llava", FAMILY_DECODER,
    {"text_config", "language_model.", "llama"}, {"vision_config", "image_tower.", "clip_vision_model"},
    ROWS(video_llava_fields), anyres_ignore, llava_weights, sizeof llava_weights / sizeof llava_weights[0],
    {.feature_layers = {-2}, .n_feature_layers = 1},
    .more = {{"vision_config", "video_tower.", "clip_vision_model"}}, .sight = &sight_frames};
