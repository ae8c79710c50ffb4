/* Phi 3 Vision and 3.5 Vision: CLIP's tower over an HD grid of tiles and the whole picture, squares of patches through a
 * two-layer connector, rows ended and parts divided by learned vectors, Phi 3's decoder. arXiv:2404.14219. */
/* SPDX-License-Identifier: MIT */
#include "models/families.h"
#include "models/sight.h"

/* The decoder's keys lie beside the family's. */
static const char *const phi3_v_ignore[] = {
    "embd_layer", "img_processor", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "max_position_embeddings", "original_max_position_embeddings", "partial_rotary_factor", "hidden_act",
    "rms_norm_eps", "sliding_window", "initializer_range", "attention_bias", "embd_pdrop", "resid_pdrop", NULL};

static const struct json_name feature_types[] = {{"patch", true}, {NULL, 0}};

static const struct json_field phi3_v_fields[] = {
    {"img_processor.layer_idx", JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0, NULL,
     NULL, offsetof(struct family_facts, n_feature_layers), 1},
    {"img_processor.type_feature", JSON_KIND_ENUM, offsetof(struct family_facts, drop_class), false, 0, 0, true, NULL, feature_types, 0, 0},
};

#define VISION "model.vision_embed_tokens."
static const struct weight_row phi3_v_weights[] = {
    {NN_newline_w, VISION "sub_GN", W_ALWAYS, {0}, "111%"},
    {NN_divider_w, VISION "glb_GN"},
    {NN_conn_1_w, VISION "img_projection.0.weight", W_ALWAYS, {0}, "h%"},
    {NN_conn_1_b, VISION "img_projection.0.bias"},
    {NN_conn_2_w, VISION "img_projection.2.weight"},
    {NN_conn_2_b, VISION "img_projection.2.bias"},
};
const struct family_row family_phi3_v = {
    "Phi3VForCausalLM", "phi3_v", FAMILY_DECODER,
    {"", "", "phi3_v"}, {"img_processor", VISION "img_processor.", "phi3_v_vision", .alone = true},
    ROWS(phi3_v_fields), phi3_v_ignore, ROWS(phi3_v_weights),
    {.image_token = -1, .feature_layers = {-2}, .n_feature_layers = 1, .merge = 2, .projector_act = ACT_GELU}, .sight = &sight_hd_grid};
