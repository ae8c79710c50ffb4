/* Llama 3.2 Vision: pictures beside the sequence, one linear layer from the tower's states to the decoder's width. */
/* SPDX-License-Identifier: MIT */
#include "models/families.h"
#include "models/sight.h"

static const struct json_field mllama_fields[] = {
    {"image_token_index|image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), false, 0, MAX_VOCAB, 128256, NULL,
     NULL, 0, 0},
};

static const struct weight_row mllama_weights[] = {
    {NN_conn_1_w, "multi_modal_projector.weight"},
    {NN_conn_1_b, "multi_modal_projector.bias"},
};

static const struct respelling newer_names[] = {
    {"language_model.lm_head.", "lm_head."}, {"language_model.model.", "model.language_model."}, {"vision_model.", "model.vision_model."},
    {"multi_modal_projector.", "model.multi_modal_projector."}, {NULL, NULL}};

const struct family_row family_mllama = {
    "MllamaForConditionalGeneration", "mllama", FAMILY_DECODER,
    {"text_config", "language_model.", "mllama_text_model"}, {"vision_config", "vision_model.", "mllama_vision_model"},
    ROWS(mllama_fields), NULL, ROWS(mllama_weights), {.feature_layers = {-1}, .n_feature_layers = 1}, .sight = &sight_tiles_beside, .respell = newer_names};

/* The decoder alone: it sees nothing. */
const struct family_row family_mllama_text = DECODER_FAMILY("MllamaForCausalLM", "mllama_text_model");
