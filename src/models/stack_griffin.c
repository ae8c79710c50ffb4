/* RecurrentGemma (arXiv:2404.07839), the open Griffin (arXiv:2402.19427): gated linear recurrences among layers of
 * local attention. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/ssm_rows.h"

static const struct json_field griffin_fields[] = {
    FACT_INT("hidden_size", hidden, 2560, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 26, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 10, MAX_WIDTH),
    FACT_INT("num_key_value_heads", kv_heads, 0, MAX_WIDTH),
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 7680 * 2, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 256000, MAX_VOCAB),
    FACT_INT("lru_width", ssm.inner, 0, MAX_WIDTH),
    FACT_INT("conv1d_width", ssm.taps, 4, 64),
    FACT_INT("attention_window_size", window, 2048, MAX_VOCAB),
    FACT_FLOAT("logits_soft_cap", logit_softcap, 30),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("tie_word_embeddings", tied, true),
    FACT_ACT_KEY("hidden_activation", ACT_GELU_TANH),
};
static const char *const griffin_ignore[] = {
    "block_types", "_block_types", "final_w_init_variance_scale", "w_init_variance_scale", "embeddings_scale_by_sqrt_dim",
    "initializer_range", NULL};

/* The list of kinds is repeated over the layers. */
static int kinds(const struct stack_read *r)
{
    const json_t *list = NULL;
    TRY(json_get_array(r->config, r->place, "_block_types", &list));
    TRY(json_get_array(r->config, r->place, "block_types", &list));
    size_t n = json_array_size(list);
    for (int i = 0; i < r->f->layers; i++) {
        static const char *const usual[] = {"recurrent", "recurrent", "attention"};
        const char *kind = n ? json_string_value(json_array_get(list, (size_t)i % n)) : usual[i % 3];
        if (!kind || (strcmp(kind, "recurrent") && strcmp(kind, "attention")))
            return err_set(NUN_EUNSUP, "%s: block_types[%d]: expected \"recurrent\" or \"attention\"", r->place, i);
        bool attends = !strcmp(kind, "attention");
        r->f->layer[i].mixer = attends ? NN_MIX_attention : NN_MIX_rg_lru;
        r->f->layer[i].window = attends ? r->f->window + 1 : 0; /* so many tokens back, and itself */
    }
    return 0;
}

/* As the nearest bfloat16, in which the original has it. */
static float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static int griffin_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    TRY(family_refuse(r, "embeddings_scale_by_sqrt_dim", true));
    TRY(kinds(r));
    if (!f->ssm.inner)
        f->ssm.inner = f->hidden;
    f->ssm.heads = f->heads;
    if (f->ssm.inner % f->ssm.heads || f->intermediate % 2)
        return err_set(NUN_EFORMAT, "%s: lru_width %d does not fall into %d heads, or intermediate_size %d is odd", r->place,
                       f->ssm.inner, f->ssm.heads, f->intermediate);
    f->intermediate /= 2;
    f->embed_scale = rounded(sqrtf((float)f->hidden));
    return family_finish(r);
}

#define TEMPORAL LAYER "temporal_block."
#define REC IN_MIXER(rg_lru)
#define ATT IN_MIXER(attention)

static const struct weight_row griffin_weights[] = {
    ROW_EMBED, {NN_final_norm_w, "model.final_norm.weight"}, ROW_HEAD,
    {NN_norm1_w, LAYER "temporal_pre_norm.weight"},
    {NN_norm2_w, LAYER "channel_pre_norm.weight"},
    {NN_gate_w, LAYER "mlp_block.gate_proj.weight"}, {NN_gate_b, LAYER "mlp_block.gate_proj.bias"},
    {NN_up_w, LAYER "mlp_block.up_proj.weight"}, {NN_up_b, LAYER "mlp_block.up_proj.bias"},
    {NN_down_w, LAYER "mlp_block.down_proj.weight"}, {NN_down_b, LAYER "mlp_block.down_proj.bias"},
    {NN_attn_q_w, TEMPORAL "q_proj.weight", .in = ATT}, {NN_attn_q_b, TEMPORAL "q_proj.bias", W_ATTENTION_BIAS, .in = ATT},
    {NN_attn_k_w, TEMPORAL "k_proj.weight", .in = ATT}, {NN_attn_k_b, TEMPORAL "k_proj.bias", W_ATTENTION_BIAS, .in = ATT},
    {NN_attn_v_w, TEMPORAL "v_proj.weight", .in = ATT}, {NN_attn_v_b, TEMPORAL "v_proj.bias", W_ATTENTION_BIAS, .in = ATT},
    {NN_attn_o_w, TEMPORAL "o_proj.weight", .in = ATT}, {NN_attn_o_b, TEMPORAL "o_proj.bias", .in = ATT},
    {NN_ssm_in_w, TEMPORAL "linear_x.weight", .shape = "mH", .in = REC}, {NN_ssm_in_b, TEMPORAL "linear_x.bias", .shape = "m", .in = REC},
    {NN_ssm_gate_w, TEMPORAL "linear_y.weight", .in = REC}, {NN_ssm_gate_b, TEMPORAL "linear_y.bias", .in = REC},
    {NN_ssm_out_w, TEMPORAL "linear_out.weight", .in = REC}, {NN_ssm_out_b, TEMPORAL "linear_out.bias", .in = REC},
    {NN_conv_w, TEMPORAL "conv_1d.weight", .in = REC}, {NN_conv_b, TEMPORAL "conv_1d.bias", .in = REC},
    {NN_lru_x_w, TEMPORAL "rg_lru.input_gate_weight", .in = REC}, {NN_lru_x_b, TEMPORAL "rg_lru.input_gate_bias", .in = REC},
    {NN_lru_a_w, TEMPORAL "rg_lru.recurrent_gate_weight", .in = REC}, {NN_lru_a_b, TEMPORAL "rg_lru.recurrent_gate_bias", .in = REC},
    {NN_lru_param, TEMPORAL "rg_lru.recurrent_param", .in = REC},
};

const struct stack_row stack_recurrent_gemma = {
    "recurrent_gemma", ROWS(griffin_fields), griffin_ignore, ROWS(griffin_weights),
    {LLAMA_FACTS, .norm_offset = 1, .positions = SSM_POSITIONS}, griffin_finish};
const struct family_row family_recurrent_gemma = DECODER_FAMILY("RecurrentGemmaForCausalLM", "recurrent_gemma");
