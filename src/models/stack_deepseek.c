/* DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437): latent attention, dense layers first, then fine experts in
 * groups with shared ones beside them. Rows of facts. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/expert_rows.h"

#define LATENT_FIELDS(q_def, kv_def, nope_def, rope_def, value_def)             \
    FACT_INT("q_lora_rank", latent.q_rank, q_def, MAX_WIDTH),                   \
    FACT_INT("kv_lora_rank", latent.kv_rank, kv_def, MAX_WIDTH),                \
    FACT_INT("qk_nope_head_dim", latent.nope, nope_def, MAX_WIDTH),             \
    FACT_INT("qk_rope_head_dim", latent.rope, rope_def, MAX_WIDTH),             \
    FACT_INT("v_head_dim", latent.value, value_def, MAX_WIDTH)

#define DEEPSEEK_FIELDS(hidden_def, layers_def, heads_def, mlp_def, vocab_def, positions_def) \
    FACT_INT("hidden_size", hidden, hidden_def, MAX_WIDTH),                     \
    FACT_INT("num_hidden_layers", layers, layers_def, MAX_LAYERS),              \
    FACT_INT("num_attention_heads", heads, heads_def, MAX_WIDTH),               \
    FACT_INT("intermediate_size", intermediate, mlp_def, MAX_WIDTH),            \
    FACT_INT("vocab_size", vocab, vocab_def, MAX_VOCAB),                        \
    FACT_INT("max_position_embeddings", positions, positions_def, MAX_VOCAB),   \
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),                                 \
    FACT_FLOAT("rope_theta", rope[0].theta, 10000.0),                           \
    FACT_FLOAT("initializer_range", init_range, 0.02),                          \
    FACT_BOOL("attention_bias", attention_bias, false),                         \
    FACT_BOOL("tie_word_embeddings", tied, false),                              \
    FACT_ACT(ACT_SILU)

#define ROUTED_FIELDS(width_def, experts_def, top_def, scale_def, groups_def, top_groups_def) \
    FACT_INT("moe_intermediate_size", moe.width, width_def, MAX_WIDTH),         \
    FACT_INT("n_routed_experts", moe.experts, experts_def, MAX_WIDTH),          \
    FACT_INT("num_experts_per_tok", moe.top_k, top_def, MAX_WIDTH),             \
    FACT_INT("n_group", moe.groups, groups_def, MAX_WIDTH),                     \
    FACT_INT("topk_group", moe.top_groups, top_groups_def, MAX_WIDTH),          \
    FACT_FLOAT("routed_scaling_factor", moe.scale, scale_def)

/* ---- what both read ------------------------------------------------------------------------ */

/* The scale of scores carries the square of yarn's mscale_all_dim: as published, not the cosines. */
static int attention_scale(const struct stack_read *r)
{
    const json_t *rope = NULL;
    double factor = 1, all = 0;
    TRY(json_get_object(r->config, r->place, "rope_scaling", &rope));
    if (!rope)
        TRY(json_get_object(r->config, r->place, "rope_parameters", &rope));
    if (rope) {
        TRY(json_get_double(rope, r->place, "factor", 0, 1e6, &factor));
        TRY(json_get_double(rope, r->place, "mscale_all_dim", 0, 1e6, &all));
    }
    double mscale = factor > 1 && all > 0 ? 0.1 * all * log(factor) + 1 : 1;
    r->f->attention_scale = (float)(mscale * mscale / sqrt((double)(r->f->latent.nope + r->f->latent.rope)));
    return 0;
}

/* Layers from first_k_dense_replace on, every moe_layer_freq-th, are mixtures. */
static int latent_layers(const struct stack_read *r, int64_t dense)
{
    int64_t step = 1;
    TRY(json_get_int(r->config, r->place, "first_k_dense_replace", 0, MAX_LAYERS, &dense));
    TRY(json_get_int(r->config, r->place, "moe_layer_freq", 1, MAX_LAYERS, &step));
    for (int i = 0; i < r->f->layers; i++) {
        r->f->layer[i].mixer = NN_MIX_latent;
        r->f->layer[i].channel = i >= dense && i % step == 0 ? NN_CHANNEL_moe : NN_CHANNEL_mlp;
    }
    return 0;
}

static int deepseek_finish(const struct stack_read *r, int64_t dense, int64_t shared)
{
    struct nn_facts *f = r->f;
    int64_t kv = f->heads;
    TRY(json_get_int(r->config, r->place, "num_key_value_heads", 1, MAX_WIDTH, &kv));
    TRY(json_get_int(r->config, r->place, "n_shared_experts", 0, 4096, &shared));
    if (kv != f->heads)
        return err_set(NUN_EUNSUP, "%s: num_key_value_heads %lld: latent attention has one a head, %d", r->place, (long long)kv, f->heads);
    f->kv_heads = f->heads;
    f->head_dim = f->latent.rope; /* what turns */
    f->moe.shared = f->moe.width * (int)shared;
    TRY(latent_layers(r, dense));
    TRY(family_experts(r));
    TRY(family_finish(r));
    return attention_scale(r);
}

static bool W_LATENT_Q(const struct weight_ask *a) { return a->f->latent.q_rank > 0; }
static bool W_DIRECT_Q(const struct weight_ask *a) { return a->f->latent.q_rank == 0; }
static bool W_LATENT_Q_BIAS(const struct weight_ask *a) { return a->f->latent.q_rank > 0 && a->f->attention_bias; }

#define ATTN LAYER "self_attn."
#define DEEPSEEK_WEIGHTS                                                                               \
    ROW_EMBED, ROWS_LLAMA_NORMS, ROW_FINAL_NORM, ROW_HEAD,                                             \
    {NN_attn_q_w, ATTN "q_proj.weight", W_DIRECT_Q, .shape = "pH"},                                    \
    {NN_q_a_w, ATTN "q_a_proj.weight", W_LATENT_Q},                                                    \
    {NN_q_a_b, ATTN "q_a_proj.bias", W_LATENT_Q_BIAS},                                                 \
    {NN_q_a_norm_w, ATTN "q_a_layernorm.weight", W_LATENT_Q},                                          \
    {NN_q_b_w, ATTN "q_b_proj.weight", W_LATENT_Q},                                                    \
    {NN_kv_a_w, ATTN "kv_a_proj_with_mqa.weight"},                                                     \
    {NN_kv_a_b, ATTN "kv_a_proj_with_mqa.bias", W_ATTENTION_BIAS},                                     \
    {NN_kv_a_norm_w, ATTN "kv_a_layernorm.weight"},                                                    \
    {NN_kv_k_w, ATTN "kv_b_proj.weight", .part = PART_TIMES("nv", 0, 'A')},                            \
    {NN_kv_v_w, ATTN "kv_b_proj.weight", .part = PART_TIMES("nv", 1, 'A')},                            \
    {NN_attn_o_w, ATTN "o_proj.weight", .shape = "Ho"},                                                \
    {NN_attn_o_b, ATTN "o_proj.bias", W_ATTENTION_BIAS},                                               \
    ROWS_DENSE(LAYER "mlp."), ROWS_EXPERT_PROJ(LAYER "mlp."), ROWS_SHARED(LAYER "mlp.shared_experts.", W_SHARED)

#define DEEPSEEK_FACTS LLAMA_FACTS, .rope[0].interleaved = true

/* Keys that finish reads itself, and those of parallel training and of its losses. */
static const char *const deepseek_ignore[] = {
    "num_key_value_heads", "n_shared_experts", "first_k_dense_replace", "moe_layer_freq", "topk_method", "scoring_func",
    "norm_topk_prob", "mlp_bias", "rope_interleave", "head_dim", "qk_head_dim", "ep_size", "aux_loss_alpha", "seq_aux",
    "num_nextn_predict_layers", "auto_map", "output_router_logits", NULL};

/* ---- V2 ------------------------------------------------------------------------------------ */

static const struct json_field v2_fields[] = {
    DEEPSEEK_FIELDS(4096, 32, 32, 11008, 32000, 2048),
    LATENT_FIELDS(0, 512, 128, 64, 128),
    ROUTED_FIELDS(1407, 64, 2, 1.0, 0, 0),
};

static int need_name(const struct stack_read *r, const char *key, const char *const *known, const char **out)
{
    TRY(json_get_string(r->config, r->place, key, out));
    for (; *known; known++)
        if (!strcmp(*known, *out))
            return 0;
    return err_set(NUN_EUNSUP, "%s: %s: \"%s\" is not one that nunchi knows", r->place, key, *out);
}

/* norm_topk_prob: the published code and transformers part ways there; no published model has it. */
static int v2_finish(const struct stack_read *r)
{
    const char *method = "greedy", *scores = "softmax";
    TRY(need_name(r, "topk_method", (const char *const[]){"greedy", "group_limited_greedy", NULL}, &method));
    TRY(need_name(r, "scoring_func", (const char *const[]){"softmax", NULL}, &scores));
    TRY(family_refuse(r, "norm_topk_prob", false));
    TRY(family_refuse(r, "mlp_bias", false));
    TRY(family_refuse(r, "output_router_logits", false));
    if (!strcmp(method, "greedy"))
        r->f->moe.groups = r->f->moe.top_groups = 0;
    return deepseek_finish(r, 0, 2);
}

static const struct weight_row v2_weights[] = {DEEPSEEK_WEIGHTS};

const struct stack_row stack_deepseek_v2 = {
    "deepseek_v2", ROWS(v2_fields), deepseek_ignore, ROWS(v2_weights), {DEEPSEEK_FACTS}, v2_finish};
const struct family_row family_deepseek_v2 = DECODER_FAMILY("DeepseekV2ForCausalLM", "deepseek_v2");

/* ---- V3 ------------------------------------------------------------------------------------ */

static const struct json_field v3_fields[] = {
    DEEPSEEK_FIELDS(7168, 61, 128, 18432, 129280, 4096),
    LATENT_FIELDS(1536, 512, 128, 64, 128),
    ROUTED_FIELDS(2048, 256, 8, 2.5, 8, 4),
    FACT_BOOL("norm_topk_prob", moe.renormalise, true),
    FACT_BOOL("rope_interleave", rope[0].interleaved, true),
};

static int v3_finish(const struct stack_read *r)
{
    const char *method = "noaux_tc", *scores = "sigmoid";
    TRY(need_name(r, "topk_method", (const char *const[]){"noaux_tc", NULL}, &method));
    TRY(need_name(r, "scoring_func", (const char *const[]){"sigmoid", NULL}, &scores));
    TRY(family_refuse(r, "mlp_bias", false));
    TRY(family_refuse(r, "output_router_logits", false));
    return deepseek_finish(r, 3, 1);
}

static const struct weight_row v3_weights[] = {
    DEEPSEEK_WEIGHTS,
    {NN_choice_b, LAYER "mlp.gate.e_score_correction_bias", .in = IN_CHANNEL(moe)},
};

const struct stack_row stack_deepseek_v3 = {
    "deepseek_v3", ROWS(v3_fields), deepseek_ignore, ROWS(v3_weights),
    {DEEPSEEK_FACTS, .moe = {.sigmoid = true, .pairs = true}}, v3_finish};
const struct family_row family_deepseek_v3 = DECODER_FAMILY("DeepseekV3ForCausalLM", "deepseek_v3");
