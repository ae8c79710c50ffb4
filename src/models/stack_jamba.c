/* Attention and state spaces in one stack: Jamba (arXiv:2403.19887), layer by layer and with mixtures of experts;
 * Bamba (arXiv:2405.21060's layer among attention layers); Falcon-H1 (arXiv:2507.22448), both in every layer. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/model.h"
#include "models/ssm_rows.h"

#define FRAME                                                                          \
    ROW_EMBED, {NN_norm1_w, LAYER "input_layernorm.weight"},                           \
    {NN_norm2_w, LAYER "pre_ff_layernorm.weight"},                                     \
    {NN_final_norm_w, "model.final_layernorm.weight"}, ROW_HEAD
#define ROWS_ATTENTION(where)                                                          \
    {NN_attn_q_w, LAYER "self_attn.q_proj.weight", .in = where},                       \
    {NN_attn_q_b, LAYER "self_attn.q_proj.bias", W_ATTENTION_BIAS, .in = where},       \
    {NN_attn_k_w, LAYER "self_attn.k_proj.weight", .in = where},                       \
    {NN_attn_k_b, LAYER "self_attn.k_proj.bias", W_ATTENTION_BIAS, .in = where},       \
    {NN_attn_v_w, LAYER "self_attn.v_proj.weight", .in = where},                       \
    {NN_attn_v_b, LAYER "self_attn.v_proj.bias", W_ATTENTION_BIAS, .in = where},       \
    {NN_attn_o_w, LAYER "self_attn.o_proj.weight", .in = where},                       \
    {NN_attn_o_b, LAYER "self_attn.o_proj.bias", W_ATTENTION_BIAS, .in = where}
#define ROWS_FEED_FORWARD                                                              \
    {NN_gate_w, LAYER "feed_forward.gate_proj.weight", .in = IN_CHANNEL(mlp)},         \
    {NN_gate_b, LAYER "feed_forward.gate_proj.bias", W_MLP_BIAS, .in = IN_CHANNEL(mlp)}, \
    {NN_up_w, LAYER "feed_forward.up_proj.weight", .in = IN_CHANNEL(mlp)},             \
    {NN_up_b, LAYER "feed_forward.up_proj.bias", W_MLP_BIAS, .in = IN_CHANNEL(mlp)},   \
    {NN_down_w, LAYER "feed_forward.down_proj.weight", .in = IN_CHANNEL(mlp)},         \
    {NN_down_b, LAYER "feed_forward.down_proj.bias", W_MLP_BIAS, .in = IN_CHANNEL(mlp)}

/* ---- Jamba: no positions but those that the recurrence knows ---- */

static const struct json_field jamba_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 8, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 14336, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 65536, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 262144, MAX_VOCAB),
    FACT_INT("num_experts", moe.experts, 16, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 2, MAX_WIDTH),
    FACT_INT("mamba_d_state", ssm.states, 16, MAX_WIDTH),
    FACT_INT("mamba_d_conv", ssm.taps, 4, 64),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("mamba_conv_bias", ssm.conv_bias, true),
    FACT_BOOL("mamba_proj_bias", ssm.bias, false),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_ACT(ACT_SILU),
};
static const char *const jamba_ignore[] = {
    "attn_layer_offset", "attn_layer_period", "expert_layer_offset", "expert_layer_period", "mamba_expand", "mamba_dt_rank",
    "num_logits_to_keep", "output_router_logits", "sliding_window", "use_mamba_kernels", "mamba_inner_layernorms",
    "layers_block_type", "layers_num_experts", NULL};

/* Is layer i of those that begin at config[offset] and come every config[period]? */
static int every(const struct stack_read *r, const char *offset, int64_t first, const char *period, int64_t step, bool *in)
{
    TRY(json_get_int(r->config, r->place, offset, 0, MAX_LAYERS, &first));
    TRY(json_get_int(r->config, r->place, period, 1, MAX_LAYERS, &step));
    for (int i = 0; i < r->f->layers; i++)
        in[i] = i % step == first;
    return 0;
}

static int jamba_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int64_t window = 0;
    bool attends[MAX_LAYERS], chooses[MAX_LAYERS];
    TRY(json_get_int(r->config, r->place, "sliding_window", 1, MAX_VOCAB, &window));
    if (window)
        return err_set(NUN_EUNSUP, "%s: sliding_window %lld is not supported for jamba", r->place, (long long)window);
    TRY(family_refuse(r, "mamba_inner_layernorms", true));
    TRY(every(r, "attn_layer_offset", 4, "attn_layer_period", 8, attends));
    TRY(every(r, "expert_layer_offset", 1, "expert_layer_period", 2, chooses));
    for (int i = 0; i < f->layers; i++) {
        f->layer[i].mixer = attends[i] ? NN_MIX_attention : NN_MIX_mamba;
        f->layer[i].channel = chooses[i] && f->moe.experts > 1 ? NN_CHANNEL_moe : NN_CHANNEL_mlp;
    }
    f->moe.width = f->intermediate;
    TRY(ssm_inner(r, "mamba_d_inner", "mamba_expand", 2));
    TRY(ssm_rank(r, "mamba_dt_rank"));
    if (f->moe.experts > 1)
        TRY(family_experts(r));
    return family_heads(r);
}

static const struct weight_row jamba_weights[] = {
    FRAME, ROWS_ATTENTION(IN_MIXER(attention)), ROWS_FEED_FORWARD,
    ROWS_MAMBA(LAYER "mamba.", IN_MIXER(mamba)),
    {NN_ssm_dt_norm_w, LAYER "mamba.dt_layernorm.weight", .in = IN_MIXER(mamba)},
    {NN_ssm_b_norm_w, LAYER "mamba.b_layernorm.weight", .in = IN_MIXER(mamba)},
    {NN_ssm_c_norm_w, LAYER "mamba.c_layernorm.weight", .in = IN_MIXER(mamba)},
    {NN_router_w, LAYER "feed_forward.router.weight", .in = IN_CHANNEL(moe)},
    {NN_expert_gate_w, LAYER "feed_forward.experts.%e.gate_proj.weight", .in = IN_CHANNEL(moe)},
    {NN_expert_up_w, LAYER "feed_forward.experts.%e.up_proj.weight", .in = IN_CHANNEL(moe)},
    {NN_expert_down_w, LAYER "feed_forward.experts.%e.down_proj.weight", .in = IN_CHANNEL(moe)},
};

const struct stack_row stack_jamba = {
    "jamba", ROWS(jamba_fields), jamba_ignore, ROWS(jamba_weights),
    {.norm = NN_RMS, .gated = true, .causal = true, .ssm.norm_parts = true}, jamba_finish};
const struct family_row family_jamba = DECODER_FAMILY("JambaForCausalLM", "jamba");

/* ---- Bamba --------------------------------------------------------------------------------- */

#define MAMBA2_FIELDS(states_def, heads_def)                                           \
    FACT_INT("mamba_d_state", ssm.states, states_def, MAX_WIDTH),                      \
    FACT_INT("mamba_d_conv", ssm.taps, 4, 64),                                         \
    FACT_INT("mamba_n_heads", ssm.heads, heads_def, MAX_WIDTH),                        \
    FACT_INT("mamba_n_groups", ssm.groups, 1, MAX_WIDTH),                              \
    FACT_BOOL("mamba_conv_bias", ssm.conv_bias, true),                                 \
    FACT_BOOL("mamba_proj_bias", ssm.bias, false),                                     \
    FACT_BOOL("attention_bias", attention_bias, false),                                \
    FACT_BOOL("mlp_bias", mlp_bias, false),                                            \
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5), FACT_ACT(ACT_SILU)

static const struct json_field bamba_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 8, 14336, 128000, 262144, 10000.0, false), MAMBA2_FIELDS(256, 128),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5)};
static const char *const bamba_ignore[] = {
    "attn_layer_indices", "mamba_chunk_size", "mamba_d_head", "mamba_expand", "num_logits_to_keep", "z_loss_coefficient",
    "time_step_limit", "time_step_min", "time_step_max", "time_step_floor", NULL};

static int bamba_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int attends[512], n = 0;
    TRY(json_get_ints(r->config, r->place, "attn_layer_indices", 0, f->layers - 1, attends, 512, &n));
    for (int i = 0; i < f->layers; i++)
        f->layer[i].mixer = NN_MIX_mamba2;
    for (int i = 0; i < n; i++)
        f->layer[attends[i]].mixer = NN_MIX_attention;
    TRY(ssm_inner(r, "mamba_d_ssm", "mamba_expand", 2));
    TRY(ssm_heads(r, "mamba_d_head"));
    return family_finish(r);
}

static const struct weight_row bamba_weights[] = {
    FRAME, ROWS_ATTENTION(IN_MIXER(attention)), ROWS_FEED_FORWARD, ROWS_MAMBA2(LAYER "mamba.", IN_MIXER(mamba2))};

const struct stack_row stack_bamba = {
    "bamba", ROWS(bamba_fields), bamba_ignore, ROWS(bamba_weights), {LLAMA_FACTS, .ssm.norm = true}, bamba_finish};
const struct family_row family_bamba = DECODER_FAMILY("BambaForCausalLM", "bamba");

/* ---- Falcon-H1: attention and mamba2 side by side, and a factor at every place ---- */

static const struct json_field falcon_h1_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 8, 14336, 128000, 8192, 10000.0, false), MAMBA2_FIELDS(256, 128),
    FACT_BOOL("mamba_rms_norm", ssm.norm, false),
    FACT_BOOL("mamba_norm_before_gate", ssm.norm_first, true),
    FACT_FLOAT("embedding_multiplier", embed_scale, 1),
    FACT_FLOAT("lm_head_multiplier", logit_scale, 1),
    FACT_FLOAT("attention_in_multiplier", attention_in, 1),
    FACT_FLOAT("attention_out_multiplier", attention_out, 1),
    FACT_FLOAT("ssm_in_multiplier", ssm.in, 1),
    FACT_FLOAT("ssm_out_multiplier", ssm.out, 1)};
static const char *const falcon_h1_ignore[] = {
    "mamba_chunk_size", "mamba_d_head", "mamba_d_ssm", "mamba_expand", "mamba_use_mlp", "num_logits_to_keep", "projectors_bias",
    "key_multiplier", "mlp_multipliers", "ssm_multipliers", "mlp_expansion_factor", "time_step_limit", "time_step_min",
    "time_step_max", "time_step_floor", "attn_layer_indices", NULL};

/* config[key], a list of n factors; absent: all 1. */
static int factors(const struct stack_read *r, const char *key, int n, float *out)
{
    const json_t *list = NULL;
    TRY(json_get_array(r->config, r->place, key, &list));
    if (list && json_array_size(list) != (size_t)n)
        return err_set(NUN_EFORMAT, "%s: %s: expected %d numbers, found %zu", r->place, key, n, json_array_size(list));
    for (int i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        out[i] = list ? (float)json_number_value(value) : 1.0f;
        if (!(out[i] > 0 && out[i] < 1e12f))
            return err_set(NUN_EFORMAT, "%s: %s[%d]: expected a positive number", r->place, key, i);
    }
    return 0;
}

static int falcon_h1_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    double key = 1;
    float mlp[2];
    TRY(json_get_double(r->config, r->place, "key_multiplier", 1e-6, 1e6, &key));
    TRY(factors(r, "mlp_multipliers", 2, mlp));
    TRY(factors(r, "ssm_multipliers", 5, f->ssm.part));
    TRY(family_refuse(r, "mamba_use_mlp", true));
    f->mlp_gate = mlp[0];
    f->mlp_out = mlp[1];
    for (int i = 0; i < f->layers; i++)
        f->layer[i].mixer = NN_MIX_beside;
    TRY(ssm_inner(r, "mamba_d_ssm", "mamba_expand", 2));
    TRY(ssm_heads(r, "mamba_d_head"));
    TRY(family_finish(r));
    f->attention_scale = (float)key / sqrtf((float)f->head_dim); /* keys times a number: scores times it */
    return 0;
}

/* As config says for what goes in; out_proj has its own key. */
static bool W_PROJECTORS_BIAS(const struct weight_ask *a)
{
    return json_is_true(json_object_get(a->m->config, "projectors_bias"));
}

static const struct weight_row falcon_h1_weights[] = {
    FRAME, ROWS_ATTENTION(IN_ALL), ROWS_FEED_FORWARD,
    {NN_ssm_in_w, LAYER "mamba.in_proj.weight", .shape = "zH"},
    {NN_ssm_in_b, LAYER "mamba.in_proj.bias", W_SSM_BIAS, .shape = "z"},
    {NN_conv_w, LAYER "mamba.conv1d.weight", .shape = "y1k"},
    {NN_conv_b, LAYER "mamba.conv1d.bias", W_CONV_BIAS, .shape = "y"},
    {NN_ssm_dt_b, LAYER "mamba.dt_bias", .shape = "d"},
    {NN_ssm_a, LAYER "mamba.A_log", .shape = "d"},
    {NN_ssm_d, LAYER "mamba.D", .shape = "d"},
    {NN_ssm_norm_w, LAYER "mamba.norm.weight", W_SSM_NORM},
    {NN_ssm_out_w, LAYER "mamba.out_proj.weight"},
    {NN_ssm_out_b, LAYER "mamba.out_proj.bias", W_PROJECTORS_BIAS},
};

const struct stack_row stack_falcon_h1 = {
    "falcon_h1", ROWS(falcon_h1_fields), falcon_h1_ignore, ROWS(falcon_h1_weights), {LLAMA_FACTS}, falcon_h1_finish};
const struct family_row family_falcon_h1 = DECODER_FAMILY("FalconH1ForCausalLM", "falcon_h1");
