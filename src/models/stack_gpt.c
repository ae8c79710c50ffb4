/* The GPT line: layer norms, biases, MLPs without a gate, q, k and v in one tensor. GPT-2 (matrices stored
 * transposed, learned positions), GPT-NeoX and Pythia, Persimmon. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/decoder_rows.h"

/* ---- GPT-2 ---- */

#define GPT2 "transformer.h.%d."
#define TURNED(of, at) {of, at, 0, true}

static const char *const gpt2_ignore[] = {
    "attn_pdrop", "embd_pdrop", "resid_pdrop", "n_ctx", "reorder_and_upcast_attn", "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx", "summary_*", NULL};
static const char *const gpt2_leave[] = {"attn.bias", "attn.masked_bias", NULL};

static const struct json_field gpt2_fields[] = {
    FACT_INT("n_embd|hidden_size", hidden, 768, MAX_WIDTH),
    FACT_INT("n_layer|num_hidden_layers", layers, 12, MAX_LAYERS),
    FACT_INT("n_head|num_attention_heads", heads, 12, MAX_WIDTH),
    FACT_INT("n_inner", intermediate, 0, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 50257, MAX_VOCAB),
    FACT_INT("n_positions|max_position_embeddings", positions, 1024, MAX_VOCAB),
    FACT_FLOAT("layer_norm_epsilon", norm_eps, 1e-5),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("tie_word_embeddings", tied, true),
    FACT_ACT_KEY("activation_function", ACT_GELU_TANH),
};
static int gpt2_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    bool scaled = true, by_layer = false;
    TRY(json_get_bool(r->config, r->place, "scale_attn_weights", &scaled));
    TRY(json_get_bool(r->config, r->place, "scale_attn_by_inverse_layer_idx", &by_layer));
    TRY(family_heads(r));
    if (!f->intermediate)
        f->intermediate = 4 * f->hidden;
    for (int i = 0; i < f->layers; i++)
        f->layer[i].scale = (scaled ? 1.0f / sqrtf((float)f->head_dim) : 1.0f) / (by_layer ? (float)(i + 1) : 1.0f);
    return family_refuse(r, "add_cross_attention", false);
}
static const struct weight_row gpt2_weights[] = {
    {NN_embed_w, "transformer.wte.weight"},
    {NN_pos_w, "transformer.wpe.weight"},
    ROWS_NORM(norm1, GPT2 "ln_1"),
    {NN_attn_q_w, GPT2 "attn.c_attn.weight", W_ALWAYS, TURNED("QKK", 0)},
    {NN_attn_k_w, GPT2 "attn.c_attn.weight", W_ALWAYS, TURNED("QKK", 1)},
    {NN_attn_v_w, GPT2 "attn.c_attn.weight", W_ALWAYS, TURNED("QKK", 2)},
    ROWS_QKV_FUSED(b, GPT2 "attn.c_attn.bias", "QKK", 0),
    {NN_attn_o_w, GPT2 "attn.c_proj.weight", W_ALWAYS, TURNED("H", 0)},
    {NN_attn_o_b, GPT2 "attn.c_proj.bias"},
    ROWS_NORM(norm2, GPT2 "ln_2"),
    {NN_up_w, GPT2 "mlp.c_fc.weight", W_ALWAYS, TURNED("I", 0)},
    {NN_up_b, GPT2 "mlp.c_fc.bias"},
    {NN_down_w, GPT2 "mlp.c_proj.weight", W_ALWAYS, TURNED("H", 0)},
    {NN_down_b, GPT2 "mlp.c_proj.bias"},
    ROWS_NORM(final_norm, "transformer.ln_f"),
    ROW_HEAD,
};
const struct stack_row stack_gpt2 = {
    "gpt2", ROWS(gpt2_fields), gpt2_ignore, ROWS(gpt2_weights), {.norm = NN_LAYER, .causal = true}, gpt2_finish,
    "transformer.", gpt2_leave};
const struct family_row family_gpt2 = DECODER_FAMILY("GPT2LMHeadModel", "gpt2");

/* ---- GPT-NeoX: the rows of query_key_value are head by head q, k, v ---- */

#define NEOX "gpt_neox.layers.%d."

static const char *const neox_ignore[] = {"use_parallel_residual", "hidden_dropout", "classifier_dropout", NULL};
static const char *const neox_leave[] = {".attention.bias", ".attention.masked_bias", NULL};

static const struct json_field neox_fields[] = {
    FACT_INT("hidden_size", hidden, 6144, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 44, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 64, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 24576, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 50432, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 2048, MAX_VOCAB),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor|rotary_pct", rotary_factor, 0.25),
    FACT_FLOAT("rope_theta|rotary_emb_base", rope[0].theta, 10000.0),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("attention_bias", attention_bias, true),
    FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_ACT(ACT_GELU),
};
static int neox_finish(const struct stack_read *r)
{
    bool parallel = true;
    TRY(json_get_bool(r->config, r->place, "use_parallel_residual", &parallel));
    r->f->wiring = parallel ? NN_PARALLEL : NN_SEQUENTIAL;
    return family_finish(r);
}
static const struct weight_row neox_weights[] = {
    {NN_embed_w, "gpt_neox.embed_in.weight"},
    ROWS_NORM(norm1, NEOX "input_layernorm"),
    ROWS_NORM(norm2, NEOX "post_attention_layernorm"),
    ROWS_QKV_FUSED(w, NEOX "attention.query_key_value.weight", "DDD", 'A'),
    {NN_attn_q_b, NEOX "attention.query_key_value.bias", W_ATTENTION_BIAS, PART_TIMES("DDD", 0, 'A')},
    {NN_attn_k_b, NEOX "attention.query_key_value.bias", W_ATTENTION_BIAS, PART_TIMES("DDD", 1, 'A')},
    {NN_attn_v_b, NEOX "attention.query_key_value.bias", W_ATTENTION_BIAS, PART_TIMES("DDD", 2, 'A')},
    {NN_attn_o_w, NEOX "attention.dense.weight"},
    {NN_attn_o_b, NEOX "attention.dense.bias", W_ATTENTION_BIAS},
    {NN_up_w, NEOX "mlp.dense_h_to_4h.weight"},
    {NN_up_b, NEOX "mlp.dense_h_to_4h.bias"},
    {NN_down_w, NEOX "mlp.dense_4h_to_h.weight"},
    {NN_down_b, NEOX "mlp.dense_4h_to_h.bias"},
    ROWS_NORM(final_norm, "gpt_neox.final_layer_norm"),
    {NN_lm_head_w, "embed_out.weight", W_UNTIED},
};
const struct stack_row stack_gpt_neox = {
    "gpt_neox", ROWS(neox_fields), neox_ignore, ROWS(neox_weights),
    {.norm = NN_LAYER, .causal = true, .rope[0].kind = NN_ROPE_default}, neox_finish, NULL, neox_leave};
const struct family_row family_gpt_neox = DECODER_FAMILY("GPTNeoXForCausalLM", "gpt_neox");

/* ---- OPT: learned positions that begin at 2. arXiv:2205.01068 ---- */

static const char *const opt_ignore[] = {
    "activation_dropout", "layerdrop", "init_std", "word_embed_proj_dim", "do_layer_norm_before", "enable_bias",
    "layer_norm_elementwise_affine", "_remove_final_layer_norm", NULL};
static const struct json_field opt_fields[] = {
    FACT_INT("hidden_size", hidden, 768, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 12, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 12, MAX_WIDTH),
    FACT_INT("ffn_dim", intermediate, 3072, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 50272, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 2048, MAX_VOCAB),
    FACT_BOOL("tie_word_embeddings", tied, true),
    FACT_ACT_KEY("activation_function", ACT_RELU),
};
static int opt_finish(const struct stack_read *r)
{
    int64_t width = r->f->hidden;
    r->f->init_range = 0.02f;
    TRY(json_get_int(r->config, r->place, "word_embed_proj_dim", 1, MAX_WIDTH, &width));
    if (width != r->f->hidden)
        return err_set(NUN_EUNSUP, "%s: word_embed_proj_dim: expected hidden_size %d, found %lld", r->place, r->f->hidden, (long long)width);
    TRY(family_refuse(r, "do_layer_norm_before", true));
    TRY(family_refuse(r, "enable_bias", true));
    TRY(family_refuse(r, "layer_norm_elementwise_affine", true));
    TRY(family_refuse(r, "_remove_final_layer_norm", false));
    return family_finish(r);
}
#define OPT "model.decoder.layers.%d."
static const struct weight_row opt_weights[] = {
    {NN_embed_w, "model.decoder.embed_tokens.weight"},
    {NN_pos_spare_w, "model.decoder.embed_positions.weight", W_ALWAYS, PART("2N", 0)},
    {NN_pos_w, "model.decoder.embed_positions.weight", W_ALWAYS, PART("2N", 1)},
    ROWS_NORM(norm1, OPT "self_attn_layer_norm"),
    {NN_attn_q_w, OPT "self_attn.q_proj.weight"},
    {NN_attn_q_b, OPT "self_attn.q_proj.bias"},
    {NN_attn_k_w, OPT "self_attn.k_proj.weight"},
    {NN_attn_k_b, OPT "self_attn.k_proj.bias"},
    {NN_attn_v_w, OPT "self_attn.v_proj.weight"},
    {NN_attn_v_b, OPT "self_attn.v_proj.bias"},
    {NN_attn_o_w, OPT "self_attn.out_proj.weight"},
    {NN_attn_o_b, OPT "self_attn.out_proj.bias"},
    ROWS_NORM(norm2, OPT "final_layer_norm"),
    {NN_up_w, OPT "fc1.weight"},
    {NN_up_b, OPT "fc1.bias"},
    {NN_down_w, OPT "fc2.weight"},
    {NN_down_b, OPT "fc2.bias"},
    ROWS_NORM(final_norm, "model.decoder.final_layer_norm"),
    ROW_HEAD,
};
const struct stack_row stack_opt = {
    "opt", ROWS(opt_fields), opt_ignore, ROWS(opt_weights), {.norm = NN_LAYER, .norm_eps = 1e-5f, .causal = true}, opt_finish};
const struct family_row family_opt = DECODER_FAMILY("OPTForCausalLM", "opt");

/* ---- Persimmon: as NeoX in sequence, with layer norms of queries and keys ---- */

static const char *const persimmon_ignore[] = {"hidden_dropout", NULL};
static const struct json_field persimmon_fields[] = {
    ROTARY_FIELDS(4096, 36, 64, 0, 16384, 262144, 16384, 25000.0, false),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5),
    FACT_BOOL("qk_layernorm", qk_norm, true),
    FACT_ACT(ACT_RELU2),
};
static const struct weight_row persimmon_weights[] = {
    ROW_EMBED,
    ROWS_NORM(norm1, LAYER "input_layernorm"),
    ROWS_NORM(norm2, LAYER "post_attention_layernorm"),
    ROWS_QKV_FUSED(w, LAYER "self_attn.query_key_value.weight", "DDD", 'A'),
    ROWS_QKV_FUSED(b, LAYER "self_attn.query_key_value.bias", "DDD", 'A'),
    {NN_attn_o_w, LAYER "self_attn.dense.weight"},
    {NN_attn_o_b, LAYER "self_attn.dense.bias"},
    {NN_q_norm_w, LAYER "self_attn.q_layernorm.weight", W_QK_NORM},
    {NN_q_norm_b, LAYER "self_attn.q_layernorm.bias", W_QK_NORM},
    {NN_k_norm_w, LAYER "self_attn.k_layernorm.weight", W_QK_NORM},
    {NN_k_norm_b, LAYER "self_attn.k_layernorm.bias", W_QK_NORM},
    {NN_up_w, LAYER "mlp.dense_h_to_4h.weight"},
    {NN_up_b, LAYER "mlp.dense_h_to_4h.bias"},
    {NN_down_w, LAYER "mlp.dense_4h_to_h.weight"},
    {NN_down_b, LAYER "mlp.dense_4h_to_h.bias"},
    ROWS_NORM(final_norm, "model.final_layernorm"),
    ROW_HEAD,
};
const struct stack_row stack_persimmon = {
    "persimmon", ROWS(persimmon_fields), persimmon_ignore, ROWS(persimmon_weights),
    {.norm = NN_LAYER, .qk_norm_layer = true, .causal = true, .rope[0].kind = NN_ROPE_default}, family_finish};
/* Fuyu's decoder: the same, and the size of the patches that stand in its sequence. */
static const char *const fuyu_ignore[] = {"hidden_dropout", "image_token_id", NULL};
static const struct json_field fuyu_fields[] = {
    ROTARY_FIELDS(4096, 36, 64, 0, 16384, 262144, 16384, 25000.0, false),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("partial_rotary_factor", rotary_factor, 0.5),
    FACT_BOOL("qk_layernorm", qk_norm, true),
    FACT_ACT(ACT_RELU2),
    FACT_INT("image_size", image_size, 300, 1 << 16),
    FACT_INT("patch_size", patch, 30, 1 << 12),
    FACT_INT("num_channels", channels, 3, 3),
};
const struct stack_row stack_fuyu = {
    "fuyu", ROWS(fuyu_fields), fuyu_ignore, ROWS(persimmon_weights),
    {.norm = NN_LAYER, .qk_norm_layer = true, .causal = true, .rope[0].kind = NN_ROPE_default}, family_finish};

const struct family_row family_persimmon = DECODER_FAMILY("PersimmonForCausalLM", "persimmon");
