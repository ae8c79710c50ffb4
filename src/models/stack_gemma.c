/* Gemma, Gemma 2 and 3: norms before (from 2 on also after) each part, weights as differences from 1, embeddings scaled, soft caps,
 * local and global layers. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/decoder_rows.h"

/* The scores' scale is that of a head of query_pre_attn_scalar dimensions. */
static int gemma_scales(const struct stack_read *r)
{
    double scalar = 256;
    TRY(json_get_double(r->config, r->place, "query_pre_attn_scalar", 1e-6, 1e9, &scalar));
    r->f->attention_scale = (float)(1.0 / sqrt(scalar));
    r->f->embed_scale = sqrtf((float)r->f->hidden);
    if (!json_object_get(r->config, "sliding_window"))
        r->f->window = 4096;
    if (!r->f->head_dim)
        r->f->head_dim = 256;
    return family_refuse(r, "use_bidirectional_attention", false);
}

#define GEMMA_FIELDS                                                   \
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),                        \
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),                  \
    FACT_BOOL("attention_bias", attention_bias, false),                \
    FACT_FLOAT("attn_logit_softcapping", softcap, 0),                  \
    FACT_FLOAT("final_logit_softcapping", logit_softcap, 0),           \
    FACT_ACT_KEY("hidden_activation", ACT_GELU_TANH)
#define GEMMA_NORMS                                                    \
    {NN_norm1_w, LAYER "input_layernorm.weight"},                      \
    {NN_post1_w, LAYER "post_attention_layernorm.weight"},             \
    {NN_norm2_w, LAYER "pre_feedforward_layernorm.weight"},            \
    {NN_post2_w, LAYER "post_feedforward_layernorm.weight"}
#define GEMMA_FACTS LLAMA_FACTS, .norm_offset = 1

static const char *const gemma_ignore[] = {"query_pre_attn_scalar", "cache_implementation", "hidden_act", "sliding_window_pattern",
                                           "_sliding_window_pattern", "use_bidirectional_attention", "num_image_tokens", NULL};

/* ---- Gemma ---- */

static const struct json_field gemma_fields[] = {
    ROTARY_FIELDS(3072, 28, 16, 16, 24576, 256000, 8192, 10000.0, true),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_ACT_KEY("hidden_activation|hidden_act", ACT_GELU_TANH)};

static int gemma_finish(const struct stack_read *r)
{
    r->f->embed_scale = sqrtf((float)r->f->hidden);
    if (!r->f->head_dim)
        r->f->head_dim = 256;
    TRY(family_refuse(r, "use_bidirectional_attention", false));
    return family_finish(r);
}
static const char *const gemma1_ignore[] = {"hidden_act", "num_image_tokens", "use_bidirectional_attention", NULL};
static const struct weight_row gemma_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_gemma = {
    "gemma", ROWS(gemma_fields), gemma1_ignore, ROWS(gemma_weights), {GEMMA_FACTS}, gemma_finish};
const struct family_row family_gemma = DECODER_FAMILY("GemmaForCausalLM", "gemma");

/* ---- Gemma 2: even layers slide ---- */

static const struct json_field gemma2_fields[] = {
    ROTARY_FIELDS(2304, 26, 8, 4, 9216, 256000, 8192, 10000.0, true), GEMMA_FIELDS};

static int gemma2_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    TRY(gemma_scales(r));
    if (!json_object_get(r->config, "attn_logit_softcapping"))
        f->softcap = 50;
    if (!json_object_get(r->config, "final_logit_softcapping"))
        f->logit_softcap = 30;
    family_slide(f, 2);
    return family_finish(r);
}
static const struct weight_row gemma2_weights[] = {
    ROW_EMBED, GEMMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_gemma2 = {
    "gemma2", ROWS(gemma2_fields), gemma_ignore, ROWS(gemma2_weights), {GEMMA_FACTS}, gemma2_finish};
const struct family_row family_gemma2 = DECODER_FAMILY("Gemma2ForCausalLM", "gemma2");

/* ---- Gemma 3: all but every n-th slide, and turn at a pace of their own ---- */

static const struct json_field gemma3_fields[] = {
    ROTARY_FIELDS(2304, 26, 8, 4, 9216, 262208, 131072, 1000000.0, true), GEMMA_FIELDS,
    FACT_FLOAT("rope_local_base_freq", rope[1].theta, 10000.0)};

static int gemma3_finish(const struct stack_read *r)
{
    int64_t every = 6;
    TRY(gemma_scales(r));
    TRY(json_get_int(r->config, r->place, "_sliding_window_pattern", 1, MAX_LAYERS, &every));
    TRY(json_get_int(r->config, r->place, "sliding_window_pattern", 1, MAX_LAYERS, &every));
    family_slide(r->f, (int)every);
    return family_finish(r);
}
static const struct weight_row gemma3_weights[] = {
    ROW_EMBED, GEMMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_QK_NORM(LAYER, "D", "D"),
    ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_gemma3 = {
    "gemma3_text", ROWS(gemma3_fields), gemma_ignore, ROWS(gemma3_weights),
    {GEMMA_FACTS, .slides_apart = true, .rope[1].kind = NN_ROPE_default}, gemma3_finish};
const struct family_row family_gemma3_text = DECODER_FAMILY("Gemma3ForCausalLM", "gemma3_text");
