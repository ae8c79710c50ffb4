/* More decoders with experts, from what their makers publish: GraniteMoE with and without a shared expert (IBM), ERNIE 4.5
 * (Baidu), GLM-4.5 (Zhipu; arXiv:2508.06471). Rows of facts. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/expert_rows.h"

#define MLP LAYER "mlp."

/* ---- GraniteMoE ---------------------------------------------------------------------------- */

#define GRANITE_MOE_FIELDS                                              \
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),                   \
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),              \
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),              \
    FACT_INT("num_key_value_heads", kv_heads, 0, MAX_WIDTH),            \
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),                       \
    FACT_INT("intermediate_size", moe.width, 11008, MAX_WIDTH),         \
    FACT_INT("vocab_size", vocab, 32000, MAX_VOCAB),                    \
    FACT_INT("max_position_embeddings", positions, 2048, MAX_VOCAB),    \
    FACT_INT("num_local_experts", moe.experts, 8, MAX_WIDTH),           \
    FACT_INT("num_experts_per_tok", moe.top_k, 2, MAX_WIDTH),           \
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),             \
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),                         \
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),                   \
    FACT_FLOAT("initializer_range", init_range, 0.02),                  \
    FACT_FLOAT("embedding_multiplier", embed_scale, 1),                 \
    FACT_FLOAT("residual_multiplier", residual_scale, 1),               \
    FACT_FLOAT("attention_multiplier", attention_scale, 1),             \
    FACT_FLOAT("logits_scaling", logit_scale, 1),                       \
    FACT_BOOL("attention_bias", attention_bias, false),                 \
    FACT_BOOL("tie_word_embeddings", tied, false),                      \
    FACT_ACT(ACT_SILU)

static const struct json_field granite_moe_fields[] = {GRANITE_MOE_FIELDS};
static const struct json_field granite_shared_fields[] = {
    GRANITE_MOE_FIELDS,
    {"shared_intermediate_size", JSON_KIND_INT, offsetof(struct nn_facts, moe.shared), false, 0, MAX_WIDTH, 0, NULL, NULL, 0, 0},
};
static const char *const granite_moe_ignore[] = {"output_router_logits", "position_embedding_type", NULL};

/* Softmax over the best is the softmax over all, renormalised. */
static int granite_moe_finish(const struct stack_read *r)
{
    const char *positions = "rope";
    TRY(json_get_string(r->config, r->place, "position_embedding_type", &positions));
    if (strcmp(positions, "rope"))
        return err_set(NUN_EUNSUP, "%s: position_embedding_type: only \"rope\" is supported, found \"%s\"", r->place, positions);
    if (!(r->f->logit_scale > 0))
        return err_set(NUN_EFORMAT, "%s: logits_scaling: expected a positive number", r->place);
    r->f->logit_scale = 1.0f / r->f->logit_scale; /* it divides */
    for (int i = 0; i < r->f->layers; i++)
        r->f->layer[i].channel = NN_CHANNEL_moe;
    TRY(family_experts(r));
    return family_finish(r);
}

/* The experts lie in one tensor each of [E, 2M, H], gate above up, and [E, H, M]; the shared one in [2S, H]. */
#define EXPERTS LAYER "block_sparse_moe."
#define SHARED LAYER "shared_mlp."
#define GRANITE_MOE_WEIGHTS                                                              \
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD,                               \
    ROWS_QKVO(LAYER), ROWS_QKVO_BIAS(LAYER, W_ATTENTION_BIAS),                           \
    {NN_router_w, EXPERTS "router.layer.weight"},                                        \
    {NN_expert_gate_w, EXPERTS "input_linear.weight", .part = PART_STACKED("MM", 0, 'E')}, \
    {NN_expert_up_w, EXPERTS "input_linear.weight", .part = PART_STACKED("MM", 1, 'E')},   \
    {NN_expert_down_w, EXPERTS "output_linear.weight"}

static const struct weight_row granite_moe_weights[] = {GRANITE_MOE_WEIGHTS};
static const struct weight_row granite_shared_weights[] = {
    GRANITE_MOE_WEIGHTS,
    {NN_shared_gate_w, SHARED "input_linear.weight", W_SHARED, PART("SS", 0)},
    {NN_shared_up_w, SHARED "input_linear.weight", W_SHARED, PART("SS", 1)},
    {NN_shared_down_w, SHARED "output_linear.weight", W_SHARED},
};

const struct stack_row stack_granite_moe = {
    "granitemoe", ROWS(granite_moe_fields), granite_moe_ignore, ROWS(granite_moe_weights),
    {LLAMA_FACTS, .moe.renormalise = true}, granite_moe_finish};
const struct stack_row stack_granite_moe_shared = {
    "granitemoeshared", ROWS(granite_shared_fields), granite_moe_ignore, ROWS(granite_shared_weights),
    {LLAMA_FACTS, .moe.renormalise = true}, granite_moe_finish};
const struct family_row family_granite_moe = DECODER_FAMILY("GraniteMoeForCausalLM", "granitemoe");
const struct family_row family_granite_moe_shared = DECODER_FAMILY("GraniteMoeSharedForCausalLM", "granitemoeshared");

/* ---- ERNIE 4.5 ----------------------------------------------------------------------------- */

static const struct json_field ernie_moe_fields[] = {
    ROTARY_FIELDS(2560, 28, 20, 4, 12288, 103424, 131072, 500000.0, true),
    FACT_INT("moe_intermediate_size", moe.width, 1536, MAX_WIDTH),
    FACT_INT("moe_num_experts", moe.experts, 64, MAX_WIDTH),
    FACT_INT("moe_k", moe.top_k, 6, MAX_WIDTH),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_ACT(ACT_SILU),
};

/* Keys that finish reads, and those of training with a capacity: the published arithmetic drops no token. */
static const char *const ernie_moe_ignore[] = {
    "moe_num_shared_experts", "moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval", "moe_norm_min", "use_bias",
    "output_router_logits", "moe_capacity", "moe_gate", "moe_use_aux_free", "num_nextn_predict_layers", "auto_map", NULL};

static int ernie_moe_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int64_t shared = 2, from = 1, to = -1, step = 1;
    double least = 1e-12; /* of the sum that weights are divided by: below 1e-6 it is never reached */
    TRY(family_refuse(r, "use_bias", false));
    TRY(json_get_int(r->config, r->place, "moe_num_shared_experts", 0, 4096, &shared));
    TRY(json_get_int(r->config, r->place, "moe_layer_start_index", 0, MAX_LAYERS, &from));
    TRY(json_get_int(r->config, r->place, "moe_layer_end_index", -1, MAX_LAYERS, &to));
    TRY(json_get_int(r->config, r->place, "moe_layer_interval", 1, MAX_LAYERS, &step));
    TRY(json_get_double(r->config, r->place, "moe_norm_min", 0, 1e-6, &least));
    f->moe.shared = f->moe.width * (int)shared;
    for (int i = 0; i < f->layers; i++) {
        bool sparse = (i + 1) % step == 0 && i >= from && (to < 0 || i <= to);
        f->layer[i].channel = sparse ? NN_CHANNEL_moe : NN_CHANNEL_mlp;
    }
    TRY(family_experts(r));
    return family_finish(r);
}

static const struct weight_row ernie_moe_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD, ROWS_QKVO(LAYER), ROWS_DENSE(MLP), ROWS_EXPERT_PROJ(MLP),
    ROWS_SHARED(MLP "shared_experts.", W_SHARED),
    {NN_choice_b, MLP "moe_statics.e_score_correction_bias", .shape = "1E", .in = IN_CHANNEL(moe)},
};

const struct stack_row stack_ernie_moe = {
    "ernie4_5_moe", ROWS(ernie_moe_fields), ernie_moe_ignore, ROWS(ernie_moe_weights),
    {LLAMA_FACTS, .rope[0].interleaved = true, .moe.renormalise = true}, ernie_moe_finish};
const struct family_row family_ernie_moe = DECODER_FAMILY("Ernie4_5_MoeForCausalLM", "ernie4_5_moe");

/* ---- GLM-4.5 ------------------------------------------------------------------------------- */

static const struct json_field glm_moe_fields[] = {
    ROTARY_FIELDS(4096, 46, 96, 8, 10944, 151552, 131072, 10000.0, false),
    FACT_INT("moe_intermediate_size", moe.width, 1408, MAX_WIDTH),
    FACT_INT("n_routed_experts", moe.experts, 128, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 8, MAX_WIDTH),
    FACT_INT("n_group", moe.groups, 1, MAX_WIDTH),
    FACT_INT("topk_group", moe.top_groups, 1, MAX_WIDTH),
    FACT_FLOAT("routed_scaling_factor", moe.scale, 1.0),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_BOOL("norm_topk_prob", moe.renormalise, true),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("use_qk_norm", qk_norm, false),
    FACT_ACT(ACT_SILU),
};
static const char *const glm_moe_ignore[] = {"n_shared_experts", "first_k_dense_replace", "num_nextn_predict_layers", NULL};

static int glm_moe_finish(const struct stack_read *r)
{
    int64_t dense = 1, shared = 1;
    TRY(json_get_int(r->config, r->place, "first_k_dense_replace", 0, MAX_LAYERS, &dense));
    TRY(json_get_int(r->config, r->place, "n_shared_experts", 0, 4096, &shared));
    r->f->moe.shared = r->f->moe.width * (int)shared;
    for (int i = 0; i < r->f->layers; i++)
        r->f->layer[i].channel = i >= dense ? NN_CHANNEL_moe : NN_CHANNEL_mlp;
    TRY(family_experts(r));
    return family_finish(r);
}

static const struct weight_row glm_moe_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ATTENTION_BIAS),
    {NN_q_norm_w, LAYER "self_attn.q_norm.weight", W_QK_NORM},
    {NN_k_norm_w, LAYER "self_attn.k_norm.weight", W_QK_NORM},
    ROWS_DENSE(MLP), ROWS_EXPERT_PROJ(MLP), ROWS_SHARED(MLP "shared_experts.", W_SHARED),
    {NN_choice_b, MLP "gate.e_score_correction_bias", .in = IN_CHANNEL(moe)},
};

const struct stack_row stack_glm_moe = {
    "glm4_moe", ROWS(glm_moe_fields), glm_moe_ignore, ROWS(glm_moe_weights),
    {LLAMA_FACTS, .moe = {.sigmoid = true, .pairs = true}}, glm_moe_finish};
const struct family_row family_glm_moe = DECODER_FAMILY("Glm4MoeForCausalLM", "glm4_moe");
