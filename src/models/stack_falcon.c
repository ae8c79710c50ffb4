/* Decoders of the time before RMS norms: Falcon (attention and MLP side by side, few key heads), BLOOM and MPT (scores
 * that fall with distance instead of positions). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"

#define BLOCK "transformer.h.%d."

/* ---- Falcon: query_key_value is, for each key head, its queries, it and its values ---- */

static const char *const falcon_ignore[] = {"alibi", "new_decoder_architecture", "multi_query", "parallel_attn", "hidden_dropout",
                                            "num_ln_in_parallel_attn", "num_kv_heads", "auto_map",
                                            "apply_residual_connection_post_layernorm", "ff_factor", NULL};

static const struct json_field falcon_fields[] = {
    FACT_INT("hidden_size|n_embed", hidden, 4544, MAX_WIDTH),
    FACT_INT("num_hidden_layers|n_layer", layers, 32, MAX_LAYERS),
    FACT_INT("num_attention_heads|n_head", heads, 71, MAX_WIDTH),
    FACT_INT("ffn_hidden_size", intermediate, 0, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 65024, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 2048, MAX_VOCAB),
    FACT_FLOAT("layer_norm_epsilon", norm_eps, 1e-5),
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("bias", attention_bias, false),
    FACT_BOOL("tie_word_embeddings", tied, true),
    FACT_ACT_KEY("activation", ACT_GELU),
};
static int falcon_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    bool grouped = false, one = true, parallel = true, alibi = false;
    int64_t kv = f->heads, norms = 0;
    TRY(family_refuse(r, "apply_residual_connection_post_layernorm", false));
    TRY(json_get_bool(r->config, r->place, "alibi", &alibi));
    TRY(json_get_bool(r->config, r->place, "new_decoder_architecture", &grouped));
    TRY(json_get_bool(r->config, r->place, "multi_query", &one));
    TRY(json_get_bool(r->config, r->place, "parallel_attn", &parallel));
    TRY(json_get_int(r->config, r->place, "num_kv_heads", 1, f->heads, &kv));
    TRY(json_get_int(r->config, r->place, "num_ln_in_parallel_attn", 1, 2, &norms));
    if (grouped && !parallel)
        return err_set(NUN_EUNSUP, "%s: new_decoder_architecture without parallel_attn", r->place);
    f->kv_heads = grouped ? (int)kv : one ? 1 : f->heads;
    if (alibi && f->kv_heads != f->heads)
        return err_set(NUN_EUNSUP, "%s: alibi with %d heads over %d key heads: only equal numbers are supported", r->place, f->heads, f->kv_heads);
    f->alibi = alibi ? 8 : 0;
    f->alibi_keys = alibi;
    f->rope[0].kind = alibi ? NN_ROPE_none : NN_ROPE_default;
    f->wiring = parallel ? NN_PARALLEL : NN_SEQUENTIAL;
    f->two_norms = grouped && norms != 1;
    f->intermediate = f->intermediate ? f->intermediate : 4 * f->hidden;
    return family_finish(r);
}
static bool apart(const struct weight_ask *a) { return a->f->wiring == NN_PARALLEL && a->f->two_norms; }
static bool together(const struct weight_ask *a) { return !apart(a); }
static bool in_sequence(const struct weight_ask *a) { return a->f->wiring == NN_SEQUENTIAL; }

static const struct weight_row falcon_weights[] = {
    {NN_embed_w, "transformer.word_embeddings.weight"},
    {NN_norm1_w, BLOCK "ln_attn.weight", apart},
    {NN_norm1_b, BLOCK "ln_attn.bias", apart},
    {NN_norm2_w, BLOCK "ln_mlp.weight", apart},
    {NN_norm2_b, BLOCK "ln_mlp.bias", apart},
    {NN_norm1_w, BLOCK "input_layernorm.weight", together},
    {NN_norm1_b, BLOCK "input_layernorm.bias", together},
    {NN_norm2_w, BLOCK "post_attention_layernorm.weight", in_sequence},
    {NN_norm2_b, BLOCK "post_attention_layernorm.bias", in_sequence},
    ROWS_QKV_FUSED(w, BLOCK "self_attention.query_key_value.weight", "GDD", 'B'),
    {NN_attn_q_b, BLOCK "self_attention.query_key_value.bias", W_ATTENTION_BIAS, PART_TIMES("GDD", 0, 'B')},
    {NN_attn_k_b, BLOCK "self_attention.query_key_value.bias", W_ATTENTION_BIAS, PART_TIMES("GDD", 1, 'B')},
    {NN_attn_v_b, BLOCK "self_attention.query_key_value.bias", W_ATTENTION_BIAS, PART_TIMES("GDD", 2, 'B')},
    {NN_attn_o_w, BLOCK "self_attention.dense.weight"},
    {NN_attn_o_b, BLOCK "self_attention.dense.bias", W_ATTENTION_BIAS},
    {NN_up_w, BLOCK "mlp.dense_h_to_4h.weight"},
    {NN_up_b, BLOCK "mlp.dense_h_to_4h.bias", W_ATTENTION_BIAS},
    {NN_down_w, BLOCK "mlp.dense_4h_to_h.weight"},
    {NN_down_b, BLOCK "mlp.dense_4h_to_h.bias", W_ATTENTION_BIAS},
    ROWS_NORM(final_norm, "transformer.ln_f"),
    ROW_HEAD,
};
const struct stack_row stack_falcon = {
    "falcon", ROWS(falcon_fields), falcon_ignore, ROWS(falcon_weights),
    {.norm = NN_LAYER, .causal = true, .rope[0].kind = NN_ROPE_default}, falcon_finish};
const struct family_row family_falcon = DECODER_FAMILY("FalconForCausalLM", "falcon");

/* ---- BLOOM ---- */

static const char *const bloom_ignore[] = {
    "apply_residual_connection_post_layernorm", "hidden_dropout", "slow_but_exact", "n_inner", "offset_alibi", "unk_token_id",
    "skip_bias_add", "skip_bias_add_qkv", "attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion", NULL};

static const struct json_field bloom_fields[] = {
    FACT_INT("hidden_size|n_embed", hidden, 64, MAX_WIDTH),
    FACT_INT("n_layer|num_hidden_layers", layers, 2, MAX_LAYERS),
    FACT_INT("n_head|num_attention_heads", heads, 8, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 250880, MAX_VOCAB),
    FACT_INT("seq_length", positions, 2048, MAX_VOCAB),
    FACT_FLOAT("layer_norm_epsilon", norm_eps, 1e-5),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("tie_word_embeddings", tied, true),
};
static int bloom_finish(const struct stack_read *r)
{
    r->f->intermediate = 4 * r->f->hidden;
    TRY(family_refuse(r, "apply_residual_connection_post_layernorm", false));
    return family_heads(r);
}
static const struct weight_row bloom_weights[] = {
    {NN_embed_w, "transformer.word_embeddings.weight"},
    ROWS_NORM(embed_norm, "transformer.word_embeddings_layernorm"),
    ROWS_NORM(norm1, BLOCK "input_layernorm"),
    ROWS_NORM(norm2, BLOCK "post_attention_layernorm"),
    ROWS_QKV_FUSED(w, BLOCK "self_attention.query_key_value.weight", "DDD", 'A'),
    ROWS_QKV_FUSED(b, BLOCK "self_attention.query_key_value.bias", "DDD", 'A'),
    {NN_attn_o_w, BLOCK "self_attention.dense.weight"},
    {NN_attn_o_b, BLOCK "self_attention.dense.bias"},
    {NN_up_w, BLOCK "mlp.dense_h_to_4h.weight"},
    {NN_up_b, BLOCK "mlp.dense_h_to_4h.bias"},
    {NN_down_w, BLOCK "mlp.dense_4h_to_h.weight"},
    {NN_down_b, BLOCK "mlp.dense_4h_to_h.bias"},
    ROWS_NORM(final_norm, "transformer.ln_f"),
    ROW_HEAD,
};
const struct stack_row stack_bloom = {
    "bloom", ROWS(bloom_fields), bloom_ignore, ROWS(bloom_weights),
    {.norm = NN_LAYER, .causal = true, .act = ACT_GELU_TANH, .alibi = 8}, bloom_finish, "transformer."};
const struct family_row family_bloom = DECODER_FAMILY("BloomForCausalLM", "bloom");

/* ---- MPT ---- */

#define MPT "transformer.blocks.%d."

static const char *const mpt_ignore[] = {"attn_config", "resid_pdrop", "emb_pdrop", "learned_pos_emb", "init_device", "logit_scale",
                                         "verbose", "embedding_fraction", "norm_type", "no_bias", "init_config", "tokenizer_name",
                                         "auto_map", NULL};

static const struct json_field mpt_fields[] = {
    FACT_INT("d_model", hidden, 2048, MAX_WIDTH),
    FACT_INT("n_layers", layers, 24, MAX_LAYERS),
    FACT_INT("n_heads", heads, 16, MAX_WIDTH),
    FACT_INT("expansion_ratio", intermediate, 4, 1024),
    FACT_INT("vocab_size", vocab, 50368, MAX_VOCAB),
    FACT_INT("max_seq_len", positions, 2048, MAX_VOCAB),
    FACT_FLOAT("layer_norm_epsilon", norm_eps, 1e-5),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("tie_word_embeddings", tied, true),
};

/* attn_config: what changes nothing is left, what this engine computes otherwise is refused. */
static const char *const mpt_attn_ignore[] = {"attn_impl", "attn_pdrop", "attn_type", "attn_uses_sequence_id", "prefix_lm", "qk_ln",
                                              "alibi", "model_type", NULL};
static const struct json_field mpt_attn_fields[] = {
    FACT_FLOAT("alibi_bias_max", alibi, 8), FACT_FLOAT("clip_qkv", clip_qkv, 0), FACT_FLOAT("softmax_scale", attention_scale, 0)};

static int mpt_finish(const struct stack_read *r)
{
    struct json_unknown unknown = {.strict = true, .ignore = mpt_attn_ignore};
    const char *type = "multihead_attention";
    r->f->intermediate *= r->f->hidden;
    TRY(family_refuse(r, "no_bias", true));
    TRY(family_refuse(r, "attn_config.prefix_lm", false));
    TRY(family_refuse(r, "attn_config.qk_ln", false));
    TRY(family_refuse(r, "attn_config.alibi", true));
    TRY(json_get_string(r->config, r->place, "attn_config.attn_type", &type));
    if (!span_is(span_str(type), "multihead_attention") || json_dig(r->config, "logit_scale"))
        return err_set(NUN_EUNSUP, "%s: attn_type \"%s\", or a logit_scale: only multihead_attention without is supported", r->place, type);
    if (json_dig(r->config, "attn_config"))
        TRY(json_read(r->config, r->place, "attn_config", mpt_attn_fields, sizeof mpt_attn_fields / sizeof *mpt_attn_fields, r->f, &unknown));
    return family_heads(r);
}
static const struct weight_row mpt_weights[] = {
    {NN_embed_w, "transformer.wte.weight"},
    {NN_norm1_w, MPT "norm_1.weight"},
    ROWS_QKV_FUSED(w, MPT "attn.Wqkv.weight", "QKK", 0),
    {NN_attn_o_w, MPT "attn.out_proj.weight"},
    {NN_norm2_w, MPT "norm_2.weight"},
    {NN_up_w, MPT "ffn.up_proj.weight"},
    {NN_down_w, MPT "ffn.down_proj.weight"},
    {NN_final_norm_w, "transformer.norm_f.weight"},
    ROW_HEAD,
};
const struct stack_row stack_mpt = {
    "mpt", ROWS(mpt_fields), mpt_ignore, ROWS(mpt_weights),
    {.norm = NN_LAYER, .causal = true, .act = ACT_GELU, .alibi = 8}, mpt_finish};
const struct family_row family_mpt = DECODER_FAMILY("MptForCausalLM", "mpt");
const struct family_row family_mpt_first = DECODER_FAMILY("MPTForCausalLM", "mpt"); /* as its makers wrote it */
