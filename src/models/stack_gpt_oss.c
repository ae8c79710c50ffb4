/* gpt-oss (OpenAI): windows in every second layer, a sink for each head, experts with biases whose gates are cut. The
 * published files hold experts as MXFP4 blocks, which models/quant_packed.c reads. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

static const char *const gpt_oss_ignore[] = {
    "hidden_act", "output_router_logits", "experts_per_token", "initial_context_length", NULL};
static const struct json_field gpt_oss_fields[] = {
    FACT_INT("hidden_size", hidden, 2880, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 36, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 64, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 8, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 64, MAX_WIDTH),
    FACT_INT("intermediate_size", moe.width, 2880, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 201088, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 131072, MAX_VOCAB),
    FACT_INT("sliding_window", window, 128, MAX_VOCAB),
    FACT_INT("num_local_experts", moe.experts, 128, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 4, MAX_WIDTH),
    FACT_FLOAT("swiglu_limit", moe.limit, 7),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.9),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("rope_theta", rope[0].theta, 150000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("attention_bias", attention_bias, true),
    FACT_BOOL("tie_word_embeddings", tied, false),
};

/* Softmax over the best is the softmax over all, renormalised. */
static int gpt_oss_finish(const struct stack_read *r)
{
    for (int i = 0; i < r->f->layers; i++)
        r->f->layer[i].channel = NN_CHANNEL_moe;
    family_slide(r->f, 2);
    if (!json_object_get(r->config, "rope_scaling") && !json_object_get(r->config, "rope_parameters"))
        return json_missing(r->place, "rope_scaling");
    TRY(family_experts(r));
    return family_finish(r);
}

/* Matrices are [experts, in, out], and a gate's columns and those that it gates alternate. */
#define EXPERTS LAYER "mlp.experts."
#define ALTERNATING(which, is_matrix) {.of = "11", .at = which, .times = 'M', .transposed = is_matrix, .slabs = 'E'}
static const struct weight_row gpt_oss_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_sinks, LAYER "self_attn.sinks"},
    {NN_router_w, LAYER "mlp.router.weight"},
    {NN_router_b, LAYER "mlp.router.bias"},
    {NN_expert_gate_w, EXPERTS "gate_up_proj", .part = ALTERNATING(0, true)},
    {NN_expert_gate_b, EXPERTS "gate_up_proj_bias", .part = ALTERNATING(0, false)},
    {NN_expert_up_w, EXPERTS "gate_up_proj", .part = ALTERNATING(1, true)},
    {NN_expert_up_b, EXPERTS "gate_up_proj_bias", .part = ALTERNATING(1, false)},
    {NN_expert_down_w, EXPERTS "down_proj", .part = {.of = "H", .transposed = true, .slabs = 'E'}},
    {NN_expert_down_b, EXPERTS "down_proj_bias"},
};
const struct stack_row stack_gpt_oss = {
    "gpt_oss", ROWS(gpt_oss_fields), gpt_oss_ignore, ROWS(gpt_oss_weights),
    {LLAMA_FACTS, .act = ACT_QUICK_GELU, .moe.renormalise = true}, gpt_oss_finish};
const struct family_row family_gpt_oss = DECODER_FAMILY("GptOssForCausalLM", "gpt_oss");
