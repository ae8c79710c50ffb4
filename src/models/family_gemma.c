/* PaliGemma, PaliGemma 2 and Gemma 3: SigLIP's tower, a linear connector, Gemma's decoders. arXiv:2407.07726,
 * arXiv:2503.19786. */
/* SPDX-License-Identifier: MIT */
#include "models/families.h"
#include "models/sight.h"

#define TOKEN_FIELD(key, member, def) \
    {key, JSON_KIND_INT, offsetof(struct family_facts, member), false, 0, MAX_VOCAB, def, NULL, NULL, 0, 0}

static const char *const gemma3_ignore[] = {"initializer_range", NULL};
static const struct json_field gemma3_fields[] = {
    TOKEN_FIELD("image_token_index|image_token_id", image_token, 262144),
    TOKEN_FIELD("boi_token_index", begin_token, 255999),
    TOKEN_FIELD("eoi_token_index", end_token, 256000),
    {"mm_tokens_per_image", JSON_KIND_INT, offsetof(struct family_facts, tile_tokens), false, 1, MAX_WIDTH, 256, NULL, NULL, 0, 0},
};
static const struct weight_row gemma3_weights[] = {
    {NN_conn_norm_w, "multi_modal_projector.mm_soft_emb_norm.weight"},
    {NN_conn_1_w, "multi_modal_projector.mm_input_projection_weight", W_ALWAYS, {"h", 0, 0, true}},
};
const struct family_row family_gemma3 = {
    "Gemma3ForConditionalGeneration", "gemma3", FAMILY_DECODER,
    {"text_config", "language_model.", "gemma3_text"}, {"vision_config", "vision_tower.", "siglip_vision_model"},
    ROWS(gemma3_fields), gemma3_ignore, ROWS(gemma3_weights),
    {.feature_layers = {-1}, .n_feature_layers = 1, .tower_norm = true, .uncapped = true}, .sight = &sight_averages};

/* hidden_size, projection_dim and num_image_tokens repeat what the stacks say. */
static const char *const paligemma_ignore[] = {"hidden_size", "projection_dim", "num_image_tokens", "ignore_index", NULL};
static const struct json_field paligemma_fields[] = {
    TOKEN_FIELD("image_token_index|image_token_id", image_token, 256000),
};
static const struct weight_row paligemma_weights[] = {
    {NN_conn_1_w, "multi_modal_projector.linear.weight"},
    {NN_conn_1_b, "multi_modal_projector.linear.bias"},
};
const struct family_row family_paligemma = {
    "PaliGemmaForConditionalGeneration", "paligemma", FAMILY_DECODER,
    {"text_config", "language_model.", "gemma"}, {"vision_config", "vision_tower.", "siglip_vision_model"},
    ROWS(paligemma_fields), paligemma_ignore, ROWS(paligemma_weights),
    {.feature_layers = {-1}, .n_feature_layers = 1, .tower_norm = true, .uncapped = true}, .sight = &sight_prefix};
