/* Qwen3-Next: the gated delta rule (arXiv:2412.06464) in three layers of four, attention with a gate in the fourth, experts
 * beside one that all tokens share. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/expert_rows.h"

static const char *const next_ignore[] = {
    "full_attention_interval", "mlp_only_layers", "decoder_sparse_step", "output_router_logits",
    "linear_key_head_dim", "linear_value_head_dim", NULL};
static const struct json_field next_fields[] = {
    ROTARY_FIELDS(2048, 48, 16, 2, 5632, 151936, 32768, 10000.0, false),
    FACT_INT("linear_conv_kernel_dim", ssm.taps, 4, 64),
    FACT_INT("linear_num_key_heads", ssm.groups, 16, MAX_WIDTH),
    FACT_INT("linear_num_value_heads", ssm.heads, 32, MAX_WIDTH),
    FACT_INT("moe_intermediate_size", moe.width, 512, MAX_WIDTH),
    FACT_INT("shared_expert_intermediate_size", moe.shared, 512, MAX_WIDTH),
    FACT_INT("num_experts", moe.experts, 512, MAX_WIDTH),
    FACT_INT("num_experts_per_tok", moe.top_k, 10, MAX_WIDTH),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.25),
    FACT_FLOAT("router_aux_loss_coef", moe.balance, 0.001),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_BOOL("norm_topk_prob", moe.renormalise, true),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_ACT(ACT_SILU),
};

static int next_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int64_t every = 4, keys = 128, values = 128;
    TRY(json_get_int(r->config, r->place, "full_attention_interval", 1, MAX_LAYERS, &every));
    TRY(json_get_int(r->config, r->place, "linear_key_head_dim", 1, 1 << 16, &keys));
    TRY(json_get_int(r->config, r->place, "linear_value_head_dim", 1, 1 << 16, &values));
    if (f->ssm.heads % f->ssm.groups || values * f->ssm.heads > MAX_WIDTH || keys * f->ssm.groups > MAX_WIDTH)
        return err_set(NUN_EFORMAT, "%s: linear_num_value_heads %d of %lld, linear_num_key_heads %d of %lld: they do not fit", r->place,
                       f->ssm.heads, (long long)values, f->ssm.groups, (long long)keys);
    f->ssm.states = (int)keys;
    f->ssm.inner = (int)values * f->ssm.heads;
    if (!f->head_dim)
        f->head_dim = 256;
    for (int i = 0; i < f->layers; i++)
        f->layer[i].mixer = (i + 1) % every ? NN_MIX_delta : NN_MIX_attention;
    TRY(family_sparse_layers(r));
    TRY(family_experts(r));
    return family_finish(r);
}

/* in_proj_qkvz holds, for each key head, its queries, keys, values and gates; in_proj_ba corrections and step sizes; q_proj,
 * for each head, its queries and gates. */
#define DELTA .in = IN_MIXER(delta)
#define ATTENDS .in = IN_MIXER(attention)
#define QKVZ LAYER "linear_attn.in_proj_qkvz.weight"
#define BA LAYER "linear_attn.in_proj_ba.weight"
#define MLP LAYER "mlp."
static const struct weight_row next_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD,
    {NN_delta_q_w, QKVZ, .part = PART_TIMES("ss&&", 0, '!'), DELTA},
    {NN_delta_k_w, QKVZ, .part = PART_TIMES("ss&&", 1, '!'), DELTA},
    {NN_delta_v_w, QKVZ, .part = PART_TIMES("ss&&", 2, '!'), DELTA},
    {NN_ssm_gate_w, QKVZ, .part = PART_TIMES("ss&&", 3, '!'), DELTA},
    {NN_delta_b_w, BA, .part = PART_TIMES("++", 0, '!'), DELTA},
    {NN_delta_a_w, BA, .part = PART_TIMES("++", 1, '!'), DELTA},
    {NN_conv_w, LAYER "linear_attn.conv1d.weight", .shape = "y1k", DELTA},
    {NN_ssm_dt_b, LAYER "linear_attn.dt_bias", .shape = "d", DELTA},
    {NN_ssm_a, LAYER "linear_attn.A_log", .shape = "d", DELTA},
    {NN_ssm_norm_w, LAYER "linear_attn.norm.weight", .shape = "b", DELTA},
    {NN_ssm_out_w, LAYER "linear_attn.out_proj.weight", DELTA},
    {NN_attn_q_w, LAYER "self_attn.q_proj.weight", .part = PART_TIMES("DD", 0, 'A'), ATTENDS},
    {NN_attn_gate_w, LAYER "self_attn.q_proj.weight", .part = PART_TIMES("DD", 1, 'A'), ATTENDS},
    {NN_attn_k_w, LAYER "self_attn.k_proj.weight", ATTENDS},
    {NN_attn_v_w, LAYER "self_attn.v_proj.weight", ATTENDS},
    {NN_attn_o_w, LAYER "self_attn.o_proj.weight", ATTENDS},
    {NN_attn_q_b, LAYER "self_attn.q_proj.bias", W_ATTENTION_BIAS, PART_TIMES("DD", 0, 'A'), ATTENDS},
    {NN_attn_gate_b, LAYER "self_attn.q_proj.bias", W_ATTENTION_BIAS, PART_TIMES("DD", 1, 'A'), ATTENDS},
    {NN_attn_k_b, LAYER "self_attn.k_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    {NN_attn_v_b, LAYER "self_attn.v_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    {NN_attn_o_b, LAYER "self_attn.o_proj.bias", W_ATTENTION_BIAS, ATTENDS},
    {NN_q_norm_w, LAYER "self_attn.q_norm.weight", ATTENDS},
    {NN_k_norm_w, LAYER "self_attn.k_norm.weight", ATTENDS},
    ROWS_DENSE(MLP), ROWS_EXPERT_PROJ(MLP), ROWS_SHARED(MLP "shared_expert.", W_ALWAYS),
    {NN_shared_mix_w, MLP "shared_expert_gate.weight", .in = IN_CHANNEL(moe)},
};
const struct stack_row stack_qwen3_next = {
    "qwen3_next", ROWS(next_fields), next_ignore, ROWS(next_weights),
    {LLAMA_FACTS, .norm_offset = 1, .other_mixer = NN_MIX_delta}, next_finish};
const struct family_row family_qwen3_next = DECODER_FAMILY("Qwen3NextForCausalLM", "qwen3_next");
