/* Zamba2 (arXiv:2411.15242): Mamba-2 layers, some of them behind a transformer block of which the whole stack has
 * only one or a few; each layer that uses it adds parts of low rank of its own. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/model.h"
#include "models/ssm_rows.h"

static const struct json_field zamba2_fields[] = {
    FACT_INT("hidden_size", hidden, 2560, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 54, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 0, MAX_WIDTH),
    FACT_INT("attention_head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 0, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 32000, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 4096, MAX_VOCAB),
    FACT_INT("mamba_d_state", ssm.states, 64, MAX_WIDTH),
    FACT_INT("mamba_d_conv", ssm.taps, 4, 64),
    FACT_INT("mamba_ngroups", ssm.groups, 1, MAX_WIDTH),
    FACT_INT("n_mamba_heads", ssm.heads, 8, MAX_WIDTH),
    FACT_INT("adapter_rank", ssm.rank, 128, MAX_WIDTH),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("use_conv_bias", ssm.conv_bias, true),
    FACT_BOOL("add_bias_linear", ssm.bias, false),
    FACT_BOOL("tie_word_embeddings", tied, true),
    FACT_ACT(ACT_GELU),
};
static const char *const zamba2_ignore[] = {
    "attention_hidden_size", "chunk_size", "hybrid_layer_ids", "layers_block_type", "kv_channels", "mamba_expand", "mamba_headdim",
    "num_logits_to_keep", "num_mem_blocks", "num_query_groups", "time_step_floor", "time_step_limit", "time_step_max",
    "time_step_min", "use_long_context", "use_mem_eff_path", "use_mem_rope", "use_shared_attention_adapter",
    "use_shared_mlp_adapter", "ffn_hidden_size", NULL};

/* Which layers go through a shared block, which block, and which layer has its weights on disk: the first. */
static int hybrid_layers(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    const json_t *types = NULL;
    int64_t blocks = 1;
    int first[16], turn = 0;
    TRY(json_get_int(r->config, r->place, "num_mem_blocks", 1, 16, &blocks));
    TRY(json_get_array(r->config, r->place, "layers_block_type", &types));
    if (json_array_size(types) != (size_t)f->layers)
        return err_set(NUN_EFORMAT, "%s: layers_block_type: expected %d names, found %zu", r->place, f->layers, json_array_size(types));
    for (int i = 0; i < f->layers; i++) {
        struct nn_layer *l = &f->layer[i];
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        if (!type || (strcmp(type, "mamba") && strcmp(type, "hybrid")))
            return err_set(NUN_EUNSUP, "%s: layers_block_type[%d]: expected \"mamba\" or \"hybrid\"", r->place, i);
        l->channel = NN_NONE;
        l->mixer = strcmp(type, "hybrid") ? NN_MIX_mamba2 : NN_MIX_shared;
        if (l->mixer == NN_MIX_mamba2)
            continue;
        int block = turn % (int)blocks;
        if (turn < blocks)
            first[block] = i;
        l->share = turn < blocks ? 0 : first[block] + 1;
        l->turn = turn++;
    }
    return 0;
}

static int zamba2_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    bool turns = false;
    TRY(json_get_bool(r->config, r->place, "use_mem_rope", &turns));
    TRY(family_refuse(r, "use_long_context", false));
    TRY(family_refuse(r, "add_bias_linear", false));
    TRY(hybrid_layers(r));
    if (!f->head_dim)
        f->head_dim = 2 * f->hidden / f->heads;
    if (!f->intermediate)
        f->intermediate = 4 * f->hidden;
    if (!turns)
        f->rope[0].kind = NN_ROPE_none;
    f->attention_scale = 1.0f / sqrtf((float)f->head_dim / 2.0f);
    TRY(ssm_inner(r, "mamba_d_inner", "mamba_expand", 2));
    TRY(ssm_heads(r, "mamba_headdim"));
    double least = 0.001; /* the reference raises step sizes to it, which its fused kernels leave out */
    TRY(json_get_double(r->config, r->place, "time_step_min", 0, 1e6, &least));
    if (f->ssm.dt_min < (float)least)
        f->ssm.dt_min = (float)least;
    return family_finish(r);
}

static bool W_ATTENTION_ADAPTER(const struct weight_ask *a)
{
    return json_is_true(json_object_get(a->m->config, "use_shared_attention_adapter"));
}

#define BLOCK "model.layers.%s.shared_transformer."
#define IN IN_MIXER(shared)

static const struct weight_row zamba2_weights[] = {
    ROW_EMBED, {NN_final_norm_w, "model.final_layernorm.weight"}, ROW_HEAD,
    {NN_norm1_w, LAYER "input_layernorm.weight", .in = IN_MIXER(mamba2)},
    ROWS_MAMBA2(LAYER "mamba.", IN_MIXER(mamba2)),
    {NN_ssm_pre_w, LAYER "mamba_decoder.input_layernorm.weight", .in = IN},
    ROWS_MAMBA2(LAYER "mamba_decoder.mamba.", IN),
    {NN_share_out_w, LAYER "linear.weight", .in = IN},
    {NN_share_norm_w, BLOCK "input_layernorm.weight", W_OWN, .in = IN},
    {NN_share_q_w, BLOCK "self_attn.q_proj.weight", W_OWN, .in = IN},
    {NN_share_k_w, BLOCK "self_attn.k_proj.weight", W_OWN, .in = IN},
    {NN_share_v_w, BLOCK "self_attn.v_proj.weight", W_OWN, .in = IN},
    {NN_attn_o_w, BLOCK "self_attn.o_proj.weight", W_OWN, .in = IN},
    {NN_norm2_w, BLOCK "pre_ff_layernorm.weight", W_OWN, .in = IN},
    {NN_share_up_w, BLOCK "feed_forward.gate_up_proj.weight", W_OWN, .in = IN},
    {NN_down_w, BLOCK "feed_forward.down_proj.weight", W_OWN, .in = IN},
    {NN_adapt_q1_w, BLOCK "self_attn.linear_q_adapter_list.%t.0.weight", W_ATTENTION_ADAPTER, .in = IN},
    {NN_adapt_q2_w, BLOCK "self_attn.linear_q_adapter_list.%t.1.weight", W_ATTENTION_ADAPTER, .in = IN},
    {NN_adapt_k1_w, BLOCK "self_attn.linear_k_adapter_list.%t.0.weight", W_ATTENTION_ADAPTER, .in = IN},
    {NN_adapt_k2_w, BLOCK "self_attn.linear_k_adapter_list.%t.1.weight", W_ATTENTION_ADAPTER, .in = IN},
    {NN_adapt_v1_w, BLOCK "self_attn.linear_v_adapter_list.%t.0.weight", W_ATTENTION_ADAPTER, .in = IN},
    {NN_adapt_v2_w, BLOCK "self_attn.linear_v_adapter_list.%t.1.weight", W_ATTENTION_ADAPTER, .in = IN},
    {NN_adapt_up1_w, BLOCK "feed_forward.gate_up_proj_adapter_list.%t.0.weight", .in = IN},
    {NN_adapt_up2_w, BLOCK "feed_forward.gate_up_proj_adapter_list.%t.1.weight", .in = IN},
};

const struct stack_row stack_zamba2 = {
    "zamba2", ROWS(zamba2_fields), zamba2_ignore, ROWS(zamba2_weights), {LLAMA_FACTS, .ssm = {.norm = true, .norm_eps = 1e-5f}},
    zamba2_finish};
const struct family_row family_zamba2 = DECODER_FAMILY("Zamba2ForCausalLM", "zamba2");
