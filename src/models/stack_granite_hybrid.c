/* Granite 4 (IBM): Mamba-2 in most layers and attention in some, experts or none beside an MLP that all tokens share, a
 * multiplier at every place. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/ssm_rows.h"

static const char *const hybrid_ignore[] = {
    "output_router_logits", "position_embedding_type", "mamba_chunk_size", "mamba_d_head", "mamba_expand", "intermediate_size",
    "num_experts_per_tok", "layers_block_type", "time_step_limit", "time_step_min", "time_step_max", "time_step_floor",
    "normalization_function", "init_method", "embedding_multiplier_init", NULL};
static const struct json_field hybrid_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 0, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("shared_intermediate_size", intermediate, 1024, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 32000, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 2048, MAX_VOCAB),
    FACT_INT("mamba_n_heads", ssm.heads, 128, MAX_WIDTH),
    FACT_INT("mamba_n_groups", ssm.groups, 1, MAX_WIDTH),
    FACT_INT("mamba_d_state", ssm.states, 256, MAX_WIDTH),
    FACT_INT("mamba_d_conv", ssm.taps, 4, 64),
    {"num_local_experts", JSON_KIND_INT, offsetof(struct nn_facts, moe.experts), false, 0, MAX_WIDTH, 8, NULL, NULL, 0, 0},
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_FLOAT("embedding_multiplier", embed_scale, 1),
    FACT_FLOAT("residual_multiplier", residual_scale, 1),
    FACT_FLOAT("attention_multiplier", attention_scale, 1),
    FACT_FLOAT("logits_scaling", logit_scale, 1),
    FACT_BOOL("mamba_conv_bias", ssm.conv_bias, true),
    FACT_BOOL("mamba_proj_bias", ssm.bias, false),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_ACT(ACT_SILU),
};

/* "rope", or no positions but those that the recurrence knows. */
static int read_positions(const struct stack_read *r)
{
    const char *kind = "nope";
    TRY(json_get_string(r->config, r->place, "position_embedding_type", &kind));
    if (strcmp(kind, "rope") && strcmp(kind, "nope"))
        return err_set(NUN_EUNSUP, "%s: position_embedding_type: expected \"rope\" or \"nope\", found \"%s\"", r->place, kind);
    r->f->rope[0].kind = strcmp(kind, "rope") ? NN_ROPE_none : NN_ROPE_default;
    return 0;
}

static int read_experts(const struct stack_read *r)
{
    struct nn_moe *m = &r->f->moe;
    int64_t width = 11008, best = 2;
    if (!m->experts)
        return 0;
    TRY(json_get_int(r->config, r->place, "intermediate_size", 1, MAX_WIDTH, &width));
    TRY(json_get_int(r->config, r->place, "num_experts_per_tok", 1, MAX_WIDTH, &best));
    m->width = (int)width;
    m->top_k = (int)best;
    m->shared = r->f->intermediate;
    return family_experts(r);
}

static int hybrid_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    if (!(f->logit_scale > 0))
        return err_set(NUN_EFORMAT, "%s: logits_scaling: expected a positive number", r->place);
    f->logit_scale = 1.0f / f->logit_scale; /* it divides */
    if (f->ssm.groups != 1) /* the reference normalises all groups together, other engines each by itself */
        return err_set(NUN_EUNSUP, "%s: mamba_n_groups: only 1 is supported, found %d", r->place, f->ssm.groups);
    TRY(read_positions(r));
    TRY(read_experts(r));
    for (int i = 0; i < f->layers; i++) {
        f->layer[i].mixer = NN_MIX_mamba2;
        f->layer[i].channel = f->moe.experts ? NN_CHANNEL_moe : NN_CHANNEL_mlp;
    }
    TRY(ssm_inner(r, "mamba_d_ssm", "mamba_expand", 2));
    TRY(ssm_heads(r, "mamba_d_head"));
    return family_finish(r);
}

#define ATTENDS .in = IN_MIXER(attention)
#define SPARSE .in = IN_CHANNEL(moe)
#define DENSE .in = IN_CHANNEL(mlp)
#define EXPERTS LAYER "block_sparse_moe."
#define SHARED LAYER "shared_mlp."
static const struct weight_row hybrid_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD,
    {NN_attn_q_w, LAYER "self_attn.q_proj.weight", ATTENDS},
    {NN_attn_q_b, LAYER "self_attn.q_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    {NN_attn_k_w, LAYER "self_attn.k_proj.weight", ATTENDS},
    {NN_attn_k_b, LAYER "self_attn.k_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    {NN_attn_v_w, LAYER "self_attn.v_proj.weight", ATTENDS},
    {NN_attn_v_b, LAYER "self_attn.v_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    {NN_attn_o_w, LAYER "self_attn.o_proj.weight", ATTENDS},
    {NN_attn_o_b, LAYER "self_attn.o_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    ROWS_MAMBA2(LAYER "mamba.", IN_MIXER(mamba2)),
    {NN_router_w, EXPERTS "router.layer.weight", SPARSE},
    {NN_expert_gate_w, EXPERTS "input_linear.weight", .part = PART_STACKED("MM", 0, 'E'), SPARSE},
    {NN_expert_up_w, EXPERTS "input_linear.weight", .part = PART_STACKED("MM", 1, 'E'), SPARSE},
    {NN_expert_down_w, EXPERTS "output_linear.weight", SPARSE},
    {NN_shared_gate_w, SHARED "input_linear.weight", .part = PART("SS", 0), SPARSE},
    {NN_shared_up_w, SHARED "input_linear.weight", .part = PART("SS", 1), SPARSE},
    {NN_shared_down_w, SHARED "output_linear.weight", SPARSE},
    {NN_gate_w, SHARED "input_linear.weight", .part = PART("II", 0), DENSE},
    {NN_up_w, SHARED "input_linear.weight", .part = PART("II", 1), DENSE},
    {NN_down_w, SHARED "output_linear.weight", DENSE},
};
const struct stack_row stack_granite_hybrid = {
    "granitemoehybrid", ROWS(hybrid_fields), hybrid_ignore, ROWS(hybrid_weights),
    {LLAMA_FACTS, .moe.renormalise = true, .ssm.norm = true, .other_mixer = NN_MIX_mamba2}, hybrid_finish};
const struct family_row family_granite_hybrid = DECODER_FAMILY("GraniteMoeHybridForCausalLM", "granitemoehybrid");
