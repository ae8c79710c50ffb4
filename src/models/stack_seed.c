/* More of the Llama line, each with one thing of its own: Seed-OSS (a bias of the last projection apart), Apertus (xIELU),
 * Ministral (layers that slide by name), Helium (pairs turn). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

/* ---- Seed-OSS ---- */

static const char *const seed_ignore[] = {"residual_dropout", NULL};
static const struct json_field seed_fields[] = {
    ROTARY_FIELDS(4096, 64, 80, 8, 27648, 155136, 524288, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_BOOL("attention_bias", attention_bias, true),
    FACT_BOOL("attention_out_bias", out_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_ACT(ACT_SILU),
};
static int seed_finish(const struct stack_read *r)
{
    if (!r->f->head_dim)
        r->f->head_dim = 128;
    return family_finish(r);
}
static const struct weight_row seed_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_attn_o_b, LAYER "self_attn.o_proj.bias", W_OUT_BIAS}, ROWS_GATED_MLP(LAYER),
    ROWS_GATED_MLP_BIAS(LAYER, W_MLP_BIAS), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_seed = {"seed_oss", ROWS(seed_fields), seed_ignore, ROWS(seed_weights), {LLAMA_FACTS}, seed_finish};
const struct family_row family_seed = DECODER_FAMILY("SeedOssForCausalLM", "seed_oss");

/* ---- Apertus ---- */

static const char *const apertus_ignore[] = {"hidden_act", "post_norm", "qk_norm", "mlp_bias", NULL};
static const char *const apertus_leave[] = {"mlp.act_fn.eps", NULL};
static const struct json_field apertus_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 0, 14336, 131072, 65536, 12000000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_BOOL("attention_bias", attention_bias, false),
};
/* Where the key is absent, the reference stretches positions as its first models were. */
static int apertus_finish(const struct stack_read *r)
{
    const char *act = "xielu";
    TRY(json_get_string(r->config, r->place, "hidden_act", &act));
    if (!span_is(span_str(act), "xielu"))
        return err_set(NUN_EUNSUP, "%s: hidden_act: only \"xielu\" is supported, found \"%s\"", r->place, act);
    TRY(family_refuse(r, "post_norm", false));
    TRY(family_refuse(r, "qk_norm", true));
    TRY(family_refuse(r, "mlp_bias", false));
    if (!json_object_get(r->config, "rope_scaling") && !json_object_get(r->config, "rope_parameters"))
        return json_missing(r->place, "rope_scaling");
    return family_finish(r);
}
static const struct weight_row apertus_weights[] = {
    ROW_EMBED,
    {NN_norm1_w, LAYER "attention_layernorm.weight"},
    {NN_norm2_w, LAYER "feedforward_layernorm.weight"},
    ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_QK_NORM(LAYER, "D", "D"),
    {NN_up_w, LAYER "mlp.up_proj.weight"},
    {NN_down_w, LAYER "mlp.down_proj.weight"},
    {NN_xielu_p, LAYER "mlp.act_fn.alpha_p"},
    {NN_xielu_n, LAYER "mlp.act_fn.alpha_n"},
    {NN_xielu_beta, LAYER "mlp.act_fn.beta"},
    ROW_FINAL_NORM, ROW_HEAD,
};
const struct stack_row stack_apertus = {
    "apertus", ROWS(apertus_fields), apertus_ignore, ROWS(apertus_weights), {.causal = true, .rope[0].kind = NN_ROPE_default},
    apertus_finish, NULL, apertus_leave};
const struct family_row family_apertus = DECODER_FAMILY("ApertusForCausalLM", "apertus");

/* ---- Ministral: layer_types, or a window for all ---- */

static const struct json_field ministral_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 8, 14336, 32000, 131072, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_ACT(ACT_SILU),
};
static int ministral_finish(const struct stack_read *r)
{
    if (!json_object_get(r->config, "sliding_window"))
        r->f->window = 4096;
    return family_finish_window(r);
}
static const struct weight_row ministral_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_ministral = {
    "ministral", ROWS(ministral_fields), NULL, ROWS(ministral_weights), {LLAMA_FACTS}, ministral_finish};
const struct family_row family_ministral = DECODER_FAMILY("MinistralForCausalLM", "ministral");

/* ---- Helium ---- */

static const struct json_field helium_fields[] = {
    ROTARY_FIELDS(2560, 24, 20, 20, 7040, 48000, 4096, 100000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-8),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_ACT(ACT_SILU),
};
static const struct weight_row helium_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER),
    ROWS_GATED_MLP_BIAS(LAYER, W_MLP_BIAS), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_helium = {
    "helium", ROWS(helium_fields), NULL, ROWS(helium_weights), {LLAMA_FACTS, .rope[0].interleaved = true}, seed_finish};
const struct family_row family_helium = DECODER_FAMILY("HeliumForCausalLM", "helium");
