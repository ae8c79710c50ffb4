/* OLMo, whose norms have no weights; OLMo 2 and 3, with norms after each part and over all query or key heads at once; Granite, with multipliers. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

/* ---- OLMo ---- */

static const struct json_field olmo_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 0, 11008, 50304, 2048, 10000.0, false),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_FLOAT("clip_qkv", clip_qkv, 0),
    FACT_ACT(ACT_SILU),
};
static const struct weight_row olmo_weights[] = {
    ROW_EMBED, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER), ROW_HEAD};
const struct stack_row stack_olmo = {
    "olmo", ROWS(olmo_fields), NULL, ROWS(olmo_weights), {LLAMA_FACTS, .norm = NN_LAYER, .norm_eps = 1e-5f, .bare_norms = true},
    family_finish};
const struct family_row family_olmo = DECODER_FAMILY("OlmoForCausalLM", "olmo");

/* ---- OLMo 2 and 3 ---- */

#define OLMO_WEIGHTS                                                                                                   \
    ROW_EMBED, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_QK_NORM(LAYER, "Q", "K"),               \
    {NN_post1_w, LAYER "post_attention_layernorm.weight"}, {NN_post2_w, LAYER "post_feedforward_layernorm.weight"},    \
    ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD
#define OLMO_FIELDS                                                             \
    ROTARY_FIELDS(4096, 32, 32, 0, 11008, 50304, 2048, 10000.0, false),         \
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),                                 \
    FACT_BOOL("attention_bias", attention_bias, false),                         \
    FACT_ACT(ACT_SILU)

static const struct weight_row olmo2_weights[] = {OLMO_WEIGHTS};
static const struct json_field olmo2_fields[] = {OLMO_FIELDS};
const struct stack_row stack_olmo2 = {"olmo2", ROWS(olmo2_fields), NULL, ROWS(olmo2_weights), {LLAMA_FACTS}, family_finish};
const struct family_row family_olmo2 = DECODER_FAMILY("Olmo2ForCausalLM", "olmo2");

/* OLMo 3: all but every fourth layer slide, and only those that do not are stretched. */
static const struct json_field olmo3_fields[] = {OLMO_FIELDS, FACT_INT("sliding_window", window, 4096, MAX_VOCAB)};

static int olmo3_finish(const struct stack_read *r)
{
    family_slide(r->f, 4);
    return family_finish(r);
}
const struct stack_row stack_olmo3 = {
    "olmo3", ROWS(olmo3_fields), NULL, ROWS(olmo2_weights),
    {LLAMA_FACTS, .slides_apart = true, .rope[1].kind = NN_ROPE_default}, olmo3_finish};
const struct family_row family_olmo3 = DECODER_FAMILY("Olmo3ForCausalLM", "olmo3");

/* ---- Granite ---- */

static const struct json_field granite_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 0, 11008, 32000, 2048, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_FLOAT("embedding_multiplier", embed_scale, 1),
    FACT_FLOAT("residual_multiplier", residual_scale, 1),
    FACT_FLOAT("attention_multiplier", attention_scale, 1),
    FACT_FLOAT("logits_scaling", logit_scale, 1),
    FACT_ACT(ACT_SILU),
};
static int granite_finish(const struct stack_read *r)
{
    if (!(r->f->logit_scale > 0))
        return err_set(NUN_EFORMAT, "%s: logits_scaling: expected a positive number", r->place);
    r->f->logit_scale = 1.0f / r->f->logit_scale; /* it divides */
    return family_finish(r);
}
static const struct weight_row granite_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER),
    ROWS_GATED_MLP_BIAS(LAYER, W_MLP_BIAS), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_granite = {
    "granite", ROWS(granite_fields), NULL, ROWS(granite_weights), {LLAMA_FACTS}, granite_finish};
const struct family_row family_granite = DECODER_FAMILY("GraniteForCausalLM", "granite");
