/* InternViT in its two spellings, NVLM-D's form of it, and InternLM2. arXiv:2312.14238, arXiv:2409.11402, arXiv:2403.17297. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/decoder_rows.h"

/* ---- towers -------------------------------------------------------------------------------- */

#define VIT_FIELDS(eps_def)                                                  \
    FACT_INT("hidden_size", hidden, 1024, MAX_WIDTH),                        \
    FACT_INT("num_hidden_layers", layers, 24, MAX_LAYERS),                   \
    FACT_INT("num_attention_heads", heads, 16, MAX_WIDTH),                   \
    FACT_INT("intermediate_size", intermediate, 4096, MAX_WIDTH),            \
    FACT_FLOAT("layer_norm_eps", norm_eps, eps_def),                         \
    FACT_FLOAT("initializer_range", init_range, 0.02),                       \
    FACT_INT("num_channels", channels, 3, 3),                                \
    FACT_ACT(ACT_GELU)

/* One number, or a list of two equal ones. */
static int read_side(const struct stack_read *r, const char *key, int def, int most, int *out)
{
    const json_t *v = json_object_get(r->config, key), *second = json_array_get(v, 1);
    const json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;
    *out = def;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_integer(first) || json_integer_value(first) < 1 || json_integer_value(first) > most ||
        (second && json_integer_value(second) != json_integer_value(first)))
        return err_set(NUN_EFORMAT, "%s: %s: expected one side from 1 to %d, or two equal ones", r->place, key, most);
    *out = (int)json_integer_value(first);
    return 0;
}

static int vit_finish(const struct stack_read *r)
{
    static const char *const norms[] = {"layer_norm", "rms_norm"};
    struct nn_facts *f = r->f;
    const char *norm = norms[0];
    TRY(read_side(r, "image_size", 448, 1 << 16, &f->image_size));
    TRY(read_side(r, "patch_size", 14, 1 << 12, &f->patch));
    TRY(json_get_string(r->config, r->place, "norm_type", &norm));
    f->norm = !strcmp(norm, norms[1]) ? NN_RMS : NN_LAYER;
    if (strcmp(norm, norms[0]) && strcmp(norm, norms[1]))
        return err_set(NUN_EUNSUP, "%s: norm_type: expected layer_norm or rms_norm, found %s", r->place, norm);
    if (f->image_size < f->patch || f->hidden % f->heads)
        return err_set(NUN_EFORMAT, "%s: a side of %d pixels in patches of %d, %d channels in %d heads", r->place, f->image_size,
                       f->patch, f->hidden, f->heads);
    int side = f->image_size / f->patch;
    f->positions = side * side + 1;
    f->kv_heads = f->heads;
    f->head_dim = f->hidden / f->heads;
    return 0;
}

static bool layer_normed(const struct weight_ask *ask) { return ask->f->norm == NN_LAYER; }

static const struct json_field intern_vit_fields[] = {
    VIT_FIELDS(1e-6), FACT_BOOL("qkv_bias", attention_bias, false), FACT_BOOL("qk_normalization", qk_norm, true)};
static const char *const intern_vit_ignore[] = {
    "image_size", "patch_size", "norm_type", "drop_path_rate", "dropout", "initializer_factor", "use_flash_attn", "use_bfloat16",
    "num_experts*", "laux_allreduce", "noisy_gate_policy", "shared_expert", "use_residual", "use_rts", "use_weighted_residual",
    "moe_*", "capacity_factor", "eval_capacity_factor", "ep_size", "return_dict", "output_attentions", "output_hidden_states", NULL};

#define VIT "encoder.layers.%d."
static const struct weight_row intern_vit_weights[] = {
    {NN_class_w, "embeddings.class_embedding", W_ALWAYS, {0}, "11H"},
    {NN_patch_w, "embeddings.patch_embedding.weight"},
    {NN_patch_b, "embeddings.patch_embedding.bias"},
    {NN_pos_w, "embeddings.position_embedding", W_ALWAYS, {0}, "1NH"},
    {NN_norm1_w, VIT "norm1.weight"},
    {NN_norm1_b, VIT "norm1.bias", layer_normed},
    {NN_attn_q_w, VIT "attn.qkv.weight", W_ALWAYS, PART("QQQ", 0)},
    {NN_attn_k_w, VIT "attn.qkv.weight", W_ALWAYS, PART("QQQ", 1)},
    {NN_attn_v_w, VIT "attn.qkv.weight", W_ALWAYS, PART("QQQ", 2)},
    {NN_attn_q_b, VIT "attn.qkv.bias", W_ATTENTION_BIAS, PART("QQQ", 0)},
    {NN_attn_k_b, VIT "attn.qkv.bias", W_ATTENTION_BIAS, PART("QQQ", 1)},
    {NN_attn_v_b, VIT "attn.qkv.bias", W_ATTENTION_BIAS, PART("QQQ", 2)},
    {NN_q_norm_w, VIT "attn.q_norm.weight", W_QK_NORM, {0}, "Q"},
    {NN_k_norm_w, VIT "attn.k_norm.weight", W_QK_NORM, {0}, "Q"},
    {NN_attn_o_w, VIT "attn.proj.weight"},
    {NN_attn_o_b, VIT "attn.proj.bias"},
    {NN_scale1_w, VIT "ls1"},
    {NN_norm2_w, VIT "norm2.weight"},
    {NN_norm2_b, VIT "norm2.bias", layer_normed},
    {NN_up_w, VIT "mlp.fc1.weight"},
    {NN_up_b, VIT "mlp.fc1.bias"},
    {NN_down_w, VIT "mlp.fc2.weight"},
    {NN_down_b, VIT "mlp.fc2.bias"},
    {NN_scale2_w, VIT "ls2"},
};
const struct stack_row stack_intern_vit = {
    "intern_vit_6b", ROWS(intern_vit_fields), intern_vit_ignore, ROWS(intern_vit_weights), {.norm = NN_LAYER}, vit_finish};

/* Seven heads more than the config says, so that eight machines can share them; the norms of queries and keys
 * measure the config's heads alone. */
static int nvlm_vit_finish(const struct stack_read *r)
{
    enum { DUMMY_HEADS = 7 };
    TRY(vit_finish(r));
    r->f->qk_norm_first = r->f->qk_norm ? r->f->hidden : 0;
    r->f->heads += DUMMY_HEADS;
    r->f->kv_heads = r->f->heads;
    return 0;
}
const struct stack_row stack_nvlm_vit = {
    "nvlm_vit", ROWS(intern_vit_fields), intern_vit_ignore, ROWS(intern_vit_weights), {.norm = NN_LAYER}, nvlm_vit_finish};

/* ---- as transformers spells it ---- */

static const struct json_field internvl_vision_fields[] = {
    VIT_FIELDS(1e-6), FACT_BOOL("attention_bias", attention_bias, false), FACT_BOOL("use_qk_norm", qk_norm, false)};
static const char *const internvl_vision_ignore[] = {
    "image_size", "patch_size", "norm_type", "hidden_dropout_prob", "projection_dropout", "layer_scale_init_value", "use_mask_token",
    "use_absolute_position_embeddings", "use_mean_pooling", NULL};

static int internvl_vision_finish(const struct stack_read *r)
{
    TRY(family_refuse(r, "use_absolute_position_embeddings", true));
    TRY(family_refuse(r, "use_mask_token", false));
    return vit_finish(r);
}

#define HF_VIT "encoder.layer.%d."
static const struct weight_row internvl_vision_weights[] = {
    {NN_class_w, "embeddings.cls_token", W_ALWAYS, {0}, "11H"},
    {NN_patch_w, "embeddings.patch_embeddings.projection.weight"},
    {NN_patch_b, "embeddings.patch_embeddings.projection.bias"},
    {NN_pos_w, "embeddings.position_embeddings", W_ALWAYS, {0}, "1NH"},
    {NN_norm1_w, HF_VIT "layernorm_before.weight"},
    {NN_norm1_b, HF_VIT "layernorm_before.bias", layer_normed},
    {NN_attn_q_w, HF_VIT "attention.q_proj.weight"},
    {NN_attn_k_w, HF_VIT "attention.k_proj.weight"},
    {NN_attn_v_w, HF_VIT "attention.v_proj.weight"},
    {NN_attn_q_b, HF_VIT "attention.q_proj.bias", W_ATTENTION_BIAS},
    {NN_attn_k_b, HF_VIT "attention.k_proj.bias", W_ATTENTION_BIAS},
    {NN_attn_v_b, HF_VIT "attention.v_proj.bias", W_ATTENTION_BIAS},
    {NN_q_norm_w, HF_VIT "attention.q_norm.weight", W_QK_NORM, {0}, "Q"},
    {NN_k_norm_w, HF_VIT "attention.k_norm.weight", W_QK_NORM, {0}, "Q"},
    {NN_attn_o_w, HF_VIT "attention.projection_layer.weight"},
    {NN_attn_o_b, HF_VIT "attention.projection_layer.bias"},
    {NN_scale1_w, HF_VIT "lambda_1"},
    {NN_norm2_w, HF_VIT "layernorm_after.weight"},
    {NN_norm2_b, HF_VIT "layernorm_after.bias", layer_normed},
    {NN_up_w, HF_VIT "mlp.fc1.weight"},
    {NN_up_b, HF_VIT "mlp.fc1.bias"},
    {NN_down_w, HF_VIT "mlp.fc2.weight"},
    {NN_down_b, HF_VIT "mlp.fc2.bias"},
    {NN_scale2_w, HF_VIT "lambda_2"},
};
const struct stack_row stack_internvl_vision = {
    "internvl_vision", ROWS(internvl_vision_fields), internvl_vision_ignore, ROWS(internvl_vision_weights), {.norm = NN_LAYER},
    internvl_vision_finish};

/* ---- InternLM2: for every key head its query heads, the key and the value in one tensor ------ */

static const struct json_field internlm2_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 0, 11008, 103168, 2048, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6), FACT_ACT(ACT_SILU), FACT_BOOL("bias", attention_bias, true)};
static const char *const internlm2_ignore[] = {"attn_implementation", "pretraining_tp", NULL};
static const struct weight_row internlm2_weights[] = {
    {NN_embed_w, "model.tok_embeddings.weight"},
    {NN_norm1_w, LAYER "attention_norm.weight"},
    {NN_norm2_w, LAYER "ffn_norm.weight"},
    {NN_attn_q_w, LAYER "attention.wqkv.weight", W_ALWAYS, PART_TIMES("GDD", 0, 'B')},
    {NN_attn_k_w, LAYER "attention.wqkv.weight", W_ALWAYS, PART_TIMES("GDD", 1, 'B')},
    {NN_attn_v_w, LAYER "attention.wqkv.weight", W_ALWAYS, PART_TIMES("GDD", 2, 'B')},
    {NN_attn_q_b, LAYER "attention.wqkv.bias", W_ATTENTION_BIAS, PART_TIMES("GDD", 0, 'B')},
    {NN_attn_k_b, LAYER "attention.wqkv.bias", W_ATTENTION_BIAS, PART_TIMES("GDD", 1, 'B')},
    {NN_attn_v_b, LAYER "attention.wqkv.bias", W_ATTENTION_BIAS, PART_TIMES("GDD", 2, 'B')},
    {NN_attn_o_w, LAYER "attention.wo.weight"},
    {NN_attn_o_b, LAYER "attention.wo.bias", W_ATTENTION_BIAS},
    {NN_gate_w, LAYER "feed_forward.w1.weight"},
    {NN_up_w, LAYER "feed_forward.w3.weight"},
    {NN_down_w, LAYER "feed_forward.w2.weight"},
    ROW_FINAL_NORM,
    {NN_lm_head_w, "output.weight", W_UNTIED},
};
const struct stack_row stack_internlm2 = {
    "internlm2", ROWS(internlm2_fields), internlm2_ignore, ROWS(internlm2_weights), {LLAMA_FACTS}, family_finish};
const struct family_row family_internlm2 = DECODER_FAMILY("InternLM2ForCausalLM", "internlm2");
