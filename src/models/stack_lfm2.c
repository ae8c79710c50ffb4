/* LFM2 (Liquid AI; arXiv:2511.23404): short convolutions between two gates, and attention in some layers. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

static const char *const lfm2_ignore[] = {
    "block_auto_adjust_ff_dim", "block_ffn_dim_multiplier", "block_multiple_of", "full_attn_idxs", "tie_embedding", "conv_dim",
    "conv_dim_out", "conv_use_xavier_init", "block_dim", "block_mlp_init_scale", "block_norm_eps", "block_out_init_scale",
    "block_use_swiglu", "block_use_xavier_init", "use_pos_enc", NULL};
static const struct json_field lfm2_fields[] = {
    FACT_INT("hidden_size", hidden, 2560, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads|num_heads", heads, 32, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 8, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("block_ff_dim|intermediate_size", intermediate, 12288, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 65536, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 128000, MAX_VOCAB),
    FACT_INT("conv_L_cache", ssm.taps, 3, 64),
    FACT_FLOAT("norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("theta|rope_theta", rope[0].theta, 1000000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("conv_bias", ssm.conv_bias, false),
    FACT_BOOL("tie_embedding|tie_word_embeddings", tied, true),
};

/* The MLP is two thirds of what the config says, times a factor, rounded up to a multiple. */
static int adjust_mlp(const struct stack_read *r)
{
    bool adjust = true;
    double times = 1;
    int64_t multiple = 256;
    TRY(json_get_bool(r->config, r->place, "block_auto_adjust_ff_dim", &adjust));
    TRY(json_get_double(r->config, r->place, "block_ffn_dim_multiplier", 1e-3, 1e3, &times));
    TRY(json_get_int(r->config, r->place, "block_multiple_of", 1, MAX_WIDTH, &multiple));
    if (!adjust)
        return 0;
    int64_t wide = (int64_t)(times * (double)(2 * (int64_t)r->f->intermediate / 3));
    wide = (wide + multiple - 1) / multiple * multiple;
    if (wide < 1 || wide > MAX_WIDTH)
        return err_set(NUN_ELIMIT, "%s: block_ff_dim: an MLP of %lld, at most %d", r->place, (long long)wide, MAX_WIDTH);
    r->f->intermediate = (int)wide;
    return 0;
}
static int lfm2_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    const json_t *some = NULL;
    int attends[512], n = 0;
    TRY(json_get_array(r->config, r->place, "full_attn_idxs", &some));
    TRY(json_get_ints(r->config, r->place, "full_attn_idxs", 0, f->layers - 1, attends, 512, &n));
    for (int i = 0; i < f->layers && some; i++)
        f->layer[i].mixer = NN_MIX_short_conv;
    for (int i = 0; i < n; i++)
        f->layer[attends[i]].mixer = NN_MIX_attention;
    f->ssm.inner = f->hidden;
    f->ssm.bias = f->ssm.conv_bias;
    TRY(adjust_mlp(r));
    return family_finish(r);
}

#define ATTENDS .in = IN_MIXER(attention)
#define CONVOLVES .in = IN_MIXER(short_conv)
static const struct weight_row lfm2_weights[] = {
    ROW_EMBED,
    {NN_norm1_w, LAYER "operator_norm.weight"},
    {NN_attn_q_w, LAYER "self_attn.q_proj.weight", ATTENDS},
    {NN_attn_k_w, LAYER "self_attn.k_proj.weight", ATTENDS},
    {NN_attn_v_w, LAYER "self_attn.v_proj.weight", ATTENDS},
    {NN_attn_o_w, LAYER "self_attn.out_proj.weight", ATTENDS},
    {NN_q_norm_w, LAYER "self_attn.q_layernorm.weight", ATTENDS},
    {NN_k_norm_w, LAYER "self_attn.k_layernorm.weight", ATTENDS},
    {NN_ssm_in_w, LAYER "conv.in_proj.weight", .shape = "TH", CONVOLVES},
    {NN_ssm_in_b, LAYER "conv.in_proj.bias", W_SSM_BIAS, .shape = "T", CONVOLVES},
    {NN_conv_w, LAYER "conv.conv.weight", CONVOLVES},
    {NN_conv_b, LAYER "conv.conv.bias", W_CONV_BIAS, CONVOLVES},
    {NN_ssm_out_w, LAYER "conv.out_proj.weight", CONVOLVES},
    {NN_ssm_out_b, LAYER "conv.out_proj.bias", W_SSM_BIAS, .shape = "H", CONVOLVES},
    {NN_norm2_w, LAYER "ffn_norm.weight"},
    {NN_gate_w, LAYER "feed_forward.w1.weight"},
    {NN_up_w, LAYER "feed_forward.w3.weight"},
    {NN_down_w, LAYER "feed_forward.w2.weight"},
    {NN_final_norm_w, "model.embedding_norm.weight"},
    ROW_HEAD,
};
const struct stack_row stack_lfm2 = {
    "lfm2", ROWS(lfm2_fields), lfm2_ignore, ROWS(lfm2_weights),
    {LLAMA_FACTS, .act = ACT_SILU, .other_mixer = NN_MIX_short_conv}, lfm2_finish};
const struct family_row family_lfm2 = DECODER_FAMILY("Lfm2ForCausalLM", "lfm2");
