/* Phi-3.5-MoE (Microsoft; arXiv:2404.14219): layer norms, biases, sixteen experts of which SparseMixer weighs two. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/expert_rows.h"
#include "models/model.h"

static const struct json_field phimoe_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 8, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", moe.width, 6400, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 32064, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 131072, MAX_VOCAB),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_INT("num_local_experts", moe.experts, 16, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 2, MAX_WIDTH),
    FACT_FLOAT("router_jitter_noise", moe.jitter, 0.01),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("rope_theta", rope[0].theta, 1e6),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_ACT(ACT_SILU),
};
static const char *const phimoe_ignore[] = {
    "output_router_logits", "input_jitter_noise", "lm_head_bias", "hidden_dropout", "auto_map", "original_max_position_embeddings", NULL};

static int phimoe_finish(const struct stack_read *r)
{
    for (int i = 0; i < r->f->layers; i++)
        r->f->layer[i].channel = NN_CHANNEL_moe;
    if (r->f->moe.top_k != 2)
        return err_set(NUN_EUNSUP, "%s: num_experts_per_tok: only 2 is supported, found %d", r->place, r->f->moe.top_k);
    if (!(r->f->moe.jitter > 0)) /* a softmax over the best alone: what the key means by itself */
        return err_set(NUN_EUNSUP, "%s: router_jitter_noise: expected a positive number", r->place);
    TRY(family_experts(r));
    return family_finish_window(r);
}
static bool W_HEAD_BIAS(const struct weight_ask *a)
{
    return json_is_true(json_object_get(a->m->config, "lm_head_bias"));
}
static const struct weight_row phimoe_weights[] = {
    ROW_EMBED, ROWS_NORM(norm1, LAYER "input_layernorm"), ROWS_NORM(norm2, LAYER "post_attention_layernorm"), ROWS_QKVO(LAYER),
    ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS), ROWS_EXPERTS(LAYER "block_sparse_moe.", "w1", "w3", "w2"),
    ROWS_NORM(final_norm, "model.norm"), ROW_HEAD, {NN_lm_head_b, "lm_head.bias", W_HEAD_BIAS},
};
const struct stack_row stack_phimoe = {
    "phimoe", ROWS(phimoe_fields), phimoe_ignore, ROWS(phimoe_weights), {LLAMA_FACTS, .norm = NN_LAYER}, phimoe_finish};
const struct family_row family_phimoe = DECODER_FAMILY("PhimoeForCausalLM", "phimoe");
