/* Decoders with mixtures of experts in place of MLPs: Mixtral (arXiv:2401.04088), Qwen2-MoE (arXiv:2407.10671), Qwen3-MoE
 * (arXiv:2505.09388), OLMoE (arXiv:2409.02060). Rows of facts; DeepSeek's line has its own file. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/expert_rows.h"

/* ---- shared -------------------------------------------------------------------------------- */

static int balance_if_asked(const struct stack_read *r)
{
    bool asked = false;
    TRY(json_get_bool(r->config, r->place, "output_router_logits", &asked));
    if (!asked)
        r->f->moe.balance = 0;
    return 0;
}

int family_experts(const struct stack_read *r)
{
    struct nn_moe *m = &r->f->moe;
    if (m->scale == 0)
        m->scale = 1;
    int open = m->groups > 1 ? m->experts / m->groups * m->top_groups : m->experts;
    if (m->groups > 1 && (m->experts % m->groups || m->top_groups > m->groups || (m->pairs && m->experts / m->groups < 2)))
        return err_set(NUN_EFORMAT, "%s: n_group %d, topk_group %d do not fit %d experts", r->place, m->groups, m->top_groups, m->experts);
    if (m->top_k < 1 || m->top_k > open)
        return err_set(NUN_EFORMAT, "%s: num_experts_per_tok %d, but %d experts may be chosen", r->place, m->top_k, open);
    return balance_if_asked(r);
}

int family_sparse_layers(const struct stack_read *r)
{
    int64_t step = 1;
    int dense[512], n = 0;
    TRY(json_get_int(r->config, r->place, "decoder_sparse_step", 1, MAX_LAYERS, &step));
    TRY(json_get_ints(r->config, r->place, "mlp_only_layers", 0, MAX_LAYERS, dense, 512, &n));
    for (int i = 0; i < r->f->layers; i++)
        r->f->layer[i].channel = (i + 1) % step ? NN_CHANNEL_mlp : NN_CHANNEL_moe;
    for (int i = 0; i < n; i++)
        if (dense[i] < r->f->layers)
            r->f->layer[dense[i]].channel = NN_CHANNEL_mlp;
    return 0;
}

static void all_sparse(struct nn_facts *f)
{
    for (int i = 0; i < f->layers; i++)
        f->layer[i].channel = NN_CHANNEL_moe;
}

#define ROWS_AROUND ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD
#define MLP LAYER "mlp."

/* ---- Mixtral ------------------------------------------------------------------------------- */

static const struct json_field mixtral_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 8, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", moe.width, 14336, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 32000, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 131072, MAX_VOCAB),
    FACT_INT("sliding_window", window, 0, MAX_VOCAB),
    FACT_INT("num_local_experts", moe.experts, 8, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 2, MAX_WIDTH),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("rope_theta", rope[0].theta, 1e6),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_ACT(ACT_SILU),
};
static const char *const mixtral_ignore[] = {"output_router_logits", "router_jitter_noise", NULL};

/* Noise on the router's input is a matter of training only; no published model has any. */
static int mixtral_finish(const struct stack_read *r)
{
    double noise = 0;
    TRY(json_get_double(r->config, r->place, "router_jitter_noise", 0, 0, &noise));
    all_sparse(r->f);
    TRY(family_experts(r));
    return family_finish_window(r);
}

static const struct weight_row mixtral_weights[] = {
    ROWS_AROUND, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS),
    ROWS_EXPERTS(LAYER "block_sparse_moe.", "w1", "w3", "w2"),
};

const struct stack_row stack_mixtral = {
    "mixtral", ROWS(mixtral_fields), mixtral_ignore, ROWS(mixtral_weights),
    {LLAMA_FACTS, .moe.renormalise = true}, mixtral_finish};
const struct family_row family_mixtral = DECODER_FAMILY("MixtralForCausalLM", "mixtral");

/* ---- Qwen2-MoE ----------------------------------------------------------------------------- */

static const struct json_field qwen2_moe_fields[] = {
    ROTARY_FIELDS(2048, 24, 16, 16, 5632, 151936, 32768, 10000.0, false),
    FACT_INT("moe_intermediate_size", moe.width, 1408, MAX_WIDTH),
    FACT_INT("shared_expert_intermediate_size", moe.shared, 5632, MAX_WIDTH),
    FACT_INT("num_experts", moe.experts, 60, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 4, MAX_WIDTH),
    FACT_INT("sliding_window", window, 4096, MAX_VOCAB),
    FACT_BOOL("norm_topk_prob", moe.renormalise, false),
    FACT_BOOL("qkv_bias", attention_bias, true),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_ACT(ACT_SILU),
};
static const char *const qwen_moe_ignore[] = {
    "output_router_logits", "decoder_sparse_step", "mlp_only_layers", "use_sliding_window", "max_window_layers", NULL};

static int qwen2_moe_finish(const struct stack_read *r)
{
    TRY(family_refuse(r, "use_sliding_window", false));
    TRY(family_sparse_layers(r));
    TRY(family_experts(r));
    return family_finish(r);
}

static const struct weight_row qwen2_moe_weights[] = {
    ROWS_AROUND, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS),
    ROWS_DENSE(MLP),
    ROWS_EXPERT_PROJ(MLP),
    ROWS_SHARED(MLP "shared_expert.", W_ALWAYS),
    {NN_shared_mix_w, MLP "shared_expert_gate.weight", .in = IN_CHANNEL(moe)},
};

const struct stack_row stack_qwen2_moe = {
    "qwen2_moe", ROWS(qwen2_moe_fields), qwen_moe_ignore, ROWS(qwen2_moe_weights), {LLAMA_FACTS}, qwen2_moe_finish};
const struct family_row family_qwen2_moe = DECODER_FAMILY("Qwen2MoeForCausalLM", "qwen2_moe");

/* ---- Qwen3-MoE ----------------------------------------------------------------------------- */

static const struct json_field qwen3_moe_fields[] = {
    ROTARY_FIELDS(2048, 24, 32, 4, 6144, 151936, 32768, 10000.0, false),
    FACT_INT("moe_intermediate_size", moe.width, 768, MAX_WIDTH),
    FACT_INT("num_experts", moe.experts, 128, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 8, MAX_WIDTH),
    FACT_INT("sliding_window", window, 4096, MAX_VOCAB),
    FACT_BOOL("norm_topk_prob", moe.renormalise, false),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_ACT(ACT_SILU),
};

static const struct weight_row qwen3_moe_weights[] = {
    ROWS_AROUND, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    ROWS_QK_NORM(LAYER, NULL, NULL),
    ROWS_DENSE(MLP),
    ROWS_EXPERT_PROJ(MLP),
};

const struct stack_row stack_qwen3_moe = {
    "qwen3_moe", ROWS(qwen3_moe_fields), qwen_moe_ignore, ROWS(qwen3_moe_weights), {LLAMA_FACTS}, qwen2_moe_finish};
const struct family_row family_qwen3_moe = DECODER_FAMILY("Qwen3MoeForCausalLM", "qwen3_moe");

/* ---- OLMoE --------------------------------------------------------------------------------- */

static const struct json_field olmoe_fields[] = {
    FACT_INT("hidden_size", hidden, 2048, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 16, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 16, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 0, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", moe.width, 2048, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 50304, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 4096, MAX_VOCAB),
    FACT_INT("num_experts", moe.experts, 64, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 8, MAX_WIDTH),
    FACT_BOOL("norm_topk_prob", moe.renormalise, false),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_FLOAT("clip_qkv", clip_qkv, 0),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.01),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_ACT(ACT_SILU),
};
static const char *const olmoe_ignore[] = {"output_router_logits", NULL};

static int olmoe_finish(const struct stack_read *r)
{
    all_sparse(r->f);
    TRY(family_experts(r));
    return family_finish(r);
}

/* Queries and keys are normalised over all heads together. */
static const struct weight_row olmoe_weights[] = {
    ROWS_AROUND, ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),
    ROWS_QK_NORM(LAYER, "Q", "K"),
    ROWS_EXPERT_PROJ(MLP),
};

const struct stack_row stack_olmoe = {
    "olmoe", ROWS(olmoe_fields), olmoe_ignore, ROWS(olmoe_weights), {LLAMA_FACTS}, olmoe_finish};
const struct family_row family_olmoe = DECODER_FAMILY("OlmoeForCausalLM", "olmoe");
