/* Arcee's AFM: Llama with an MLP of two matrices around a squared ReLU. */
/* SPDX-License-Identifier: MIT */
#include "models/decoder_rows.h"

static const struct json_field arcee_fields[] = {
    ROTARY_FIELDS(2560, 32, 32, 0, 18432, 32000, 4096, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_ACT(ACT_RELU2),
};
static const struct weight_row arcee_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_up_w, LAYER "mlp.up_proj.weight"},
    {NN_up_b, LAYER "mlp.up_proj.bias", W_MLP_BIAS},
    {NN_down_w, LAYER "mlp.down_proj.weight"},
    {NN_down_b, LAYER "mlp.down_proj.bias", W_MLP_BIAS},
    ROW_FINAL_NORM, ROW_HEAD,
};
const struct stack_row stack_arcee = {
    "arcee", ROWS(arcee_fields), NULL, ROWS(arcee_weights), {.causal = true, .rope[0].kind = NN_ROPE_default}, family_finish};
const struct family_row family_arcee = DECODER_FAMILY("ArceeForCausalLM", "arcee");
