/* RWKV-4 (arXiv:2305.13048). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/ssm_rows.h"

static const struct json_field rwkv_fields[] = {
    FACT_INT("hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 32, MAX_LAYERS),
    FACT_INT("attention_hidden_size", ssm.inner, 0, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 0, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 50277, MAX_VOCAB),
    FACT_INT("rescale_every", ssm.halve, 6, MAX_LAYERS),
    FACT_FLOAT("layer_norm_epsilon", norm_eps, 1e-5),
    FACT_BOOL("tie_word_embeddings", tied, false),
};
static const char *const rwkv_ignore[] = {"context_length", NULL};

static int rwkv_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    if (!f->ssm.inner)
        f->ssm.inner = f->hidden;
    if (!f->intermediate)
        f->intermediate = 4 * f->hidden;
    for (int i = 0; i < f->layers; i++) {
        f->layer[i].mixer = NN_MIX_rwkv;
        f->layer[i].channel = NN_CHANNEL_rwkv_mix;
    }
    return 0;
}

#define B "rwkv.blocks.%d."

static const struct weight_row rwkv_weights[] = {
    {NN_embed_w, "rwkv.embeddings.weight"},
    {NN_embed_norm_w, "rwkv.blocks.0.pre_ln.weight"}, {NN_embed_norm_b, "rwkv.blocks.0.pre_ln.bias"},
    {NN_norm1_w, B "ln1.weight"}, {NN_norm1_b, B "ln1.bias"},
    {NN_norm2_w, B "ln2.weight"}, {NN_norm2_b, B "ln2.bias"},
    {NN_attn_k_w, B "attention.key.weight", .shape = "mH"},
    {NN_attn_v_w, B "attention.value.weight", .shape = "mH"},
    {NN_attn_q_w, B "attention.receptance.weight", .shape = "mH"},
    {NN_attn_o_w, B "attention.output.weight", .shape = "Hm"},
    {NN_wkv_decay, B "attention.time_decay"}, {NN_wkv_first, B "attention.time_first"},
    {NN_mix_k, B "attention.time_mix_key"}, {NN_mix_v, B "attention.time_mix_value"}, {NN_mix_r, B "attention.time_mix_receptance"},
    {NN_up_w, B "feed_forward.key.weight"}, {NN_down_w, B "feed_forward.value.weight"},
    {NN_gate_w, B "feed_forward.receptance.weight", .shape = "HH"},
    {NN_mix2_k, B "feed_forward.time_mix_key"}, {NN_mix2_r, B "feed_forward.time_mix_receptance"},
    {NN_final_norm_w, "rwkv.ln_out.weight"}, {NN_final_norm_b, "rwkv.ln_out.bias"},
    {NN_lm_head_w, "head.weight", W_UNTIED},
};

const struct stack_row stack_rwkv = {
    "rwkv", ROWS(rwkv_fields), rwkv_ignore, ROWS(rwkv_weights),
    {.norm = NN_LAYER, .causal = true, .positions = SSM_POSITIONS}, rwkv_finish, "rwkv."};
const struct family_row family_rwkv = DECODER_FAMILY("RwkvForCausalLM", "rwkv");
