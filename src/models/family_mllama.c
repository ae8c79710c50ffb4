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

const struct family_row family_mllama = {
    "MllamaForConditionalGeneration", "mllama", FAMILY_DECODER,
    {"text_config", "language_model.", "mllama_text_model"}, {"vision_config", "vision_model.", "mllama_vision_model"},
    ROWS(mllama_fields), NULL, ROWS(mllama_weights), {.feature_layers = {-1}, .n_feature_layers = 1}, .sight = &sight_tiles_beside};

/* The decoder alone: it sees nothing. */
const struct family_row family_mllama_text = DECODER_FAMILY("MllamaForCausalLM", "mllama_text_model");
