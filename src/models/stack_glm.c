/* GLM and GLM 4 (half of a head turns, in pairs; sandwich norms), ERNIE 4.5, EXAONE 4 (norms after; only sliding layers
 * turn), Hunyuan (norms of queries and keys after they turned). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

/* ---- GLM, GLM 4 ---- */

static const struct json_field glm_fields[] = {
    ROTARY_FIELDS(4096, 40, 32, 2, 13696, 151552, 131072, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1.5625e-7),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5),
    FACT_BOOL("attention_bias", attention_bias, true),
    FACT_ACT(ACT_SILU),
};
static int glm_finish(const struct stack_read *r)
{
    if (!r->f->head_dim)
        r->f->head_dim = 128;
    return family_finish(r);
}
#define GLM_WEIGHTS                                                                                         \
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS),                  \
    {NN_gate_w, LAYER "mlp.gate_up_proj.weight", W_ALWAYS, PART("II", 0)},                                  \
    {NN_up_w, LAYER "mlp.gate_up_proj.weight", W_ALWAYS, PART("II", 1)},                                    \
    {NN_down_w, LAYER "mlp.down_proj.weight"}, ROW_FINAL_NORM, ROW_HEAD

static const struct weight_row glm_weights[] = {GLM_WEIGHTS};
const struct stack_row stack_glm = {
    "glm", ROWS(glm_fields), NULL, ROWS(glm_weights), {LLAMA_FACTS, .rope[0].interleaved = true}, glm_finish};
const struct family_row family_glm = DECODER_FAMILY("GlmForCausalLM", "glm");

static const struct weight_row glm4_weights[] = {
    GLM_WEIGHTS, {NN_post1_w, LAYER "post_self_attn_layernorm.weight"}, {NN_post2_w, LAYER "post_mlp_layernorm.weight"}};
const struct stack_row stack_glm4 = {
    "glm4", ROWS(glm_fields), NULL, ROWS(glm4_weights), {LLAMA_FACTS, .rope[0].interleaved = true}, glm_finish};
const struct family_row family_glm4 = DECODER_FAMILY("Glm4ForCausalLM", "glm4");

/* ---- ERNIE 4.5 ---- */

static const struct json_field ernie_fields[] = {
    ROTARY_FIELDS(1024, 18, 16, 2, 3072, 103424, 131072, 500000.0, true),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_BOOL("use_bias", attention_bias, false),
    FACT_ACT(ACT_SILU),
};
static const struct weight_row ernie_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER),
    ROWS_GATED_MLP_BIAS(LAYER, W_ATTENTION_BIAS), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_ernie4_5 = {
    "ernie4_5", ROWS(ernie_fields), NULL, ROWS(ernie_weights), {LLAMA_FACTS, .rope[0].interleaved = true}, glm_finish};
const struct family_row family_ernie4_5 = DECODER_FAMILY("Ernie4_5ForCausalLM", "ernie4_5");

/* ---- EXAONE 4 ---- */

static const char *const exaone4_ignore[] = {"sliding_window_pattern", "cache_implementation", NULL};
static const struct json_field exaone4_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 32, 16384, 102400, 2048, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_ACT(ACT_SILU),
};
/* With a window, full layers do not turn; without one, all do. The pattern may be a number, or a word like "LLLG". */
static int exaone4_finish(const struct stack_read *r)
{
    int64_t every = 4;
    bool word = json_is_string(json_object_get(r->config, "sliding_window_pattern"));
    if (!json_object_get(r->config, "sliding_window"))
        r->f->window = 4096;
    if (word && !json_dig(r->config, "layer_types"))
        return json_missing(r->place, "layer_types");
    if (!word)
        TRY(json_get_int(r->config, r->place, "sliding_window_pattern", 1, MAX_LAYERS, &every));
    r->f->rope_slides_only = r->f->window > 0;
    family_slide(r->f, (int)every);
    return family_finish(r);
}
static const struct weight_row exaone4_weights[] = {
    ROW_EMBED, ROWS_QKVO(LAYER), ROWS_QK_NORM(LAYER, "D", "D"), {NN_post1_w, LAYER "post_attention_layernorm.weight"},
    {NN_post2_w, LAYER "post_feedforward_layernorm.weight"}, ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_exaone4 = {
    "exaone4", ROWS(exaone4_fields), exaone4_ignore, ROWS(exaone4_weights), {LLAMA_FACTS}, exaone4_finish};
const struct family_row family_exaone4 = DECODER_FAMILY("Exaone4ForCausalLM", "exaone4");

/* ---- Hunyuan ---- */

/* What its writers left in configs: parts for pictures and classes that text models lack. */
static const char *const hunyuan_ignore[] = {
    "eod_token_id", "use_cla", "cla_share_factor", "mlp_bias", "use_qk_norm", "use_rotary_pos_emb", "norm_type", "pad_id", "im_*", "text_start_id",
    "text_end_id", "mask_init_id", "add_classification_head", "class_num", "pool_type", "dense_list", "org_vocab_size", "attention_head_dim",
    "enable_lm_head_fp32", NULL};
static const struct json_field hunyuan_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 0, 11008, 290943, 2048, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_ACT(ACT_SILU),
};
static int hunyuan_finish(const struct stack_read *r)
{
    TRY(family_refuse(r, "use_cla", false));
    TRY(family_refuse(r, "use_qk_norm", true));
    TRY(family_refuse(r, "use_rotary_pos_emb", true));
    TRY(family_refuse(r, "mlp_bias", false));
    return family_finish(r);
}
static const struct weight_row hunyuan_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_q_norm_w, LAYER "self_attn.query_layernorm.weight"}, {NN_k_norm_w, LAYER "self_attn.key_layernorm.weight"},
    ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_hunyuan = {
    "hunyuan_v1_dense", ROWS(hunyuan_fields), hunyuan_ignore, ROWS(hunyuan_weights), {LLAMA_FACTS, .qk_norm_late = true}, hunyuan_finish};
const struct family_row family_hunyuan = DECODER_FAMILY("HunYuanDenseV1ForCausalLM", "hunyuan_v1_dense");
