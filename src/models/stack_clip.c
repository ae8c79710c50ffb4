/* CLIP and SigLIP: the two encoders, alone and as a contrastive pair. arXiv:2103.00020, arXiv:2303.15343. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/families.h"

#define ENCODER_FIELDS(hidden_def, layers_def, heads_def, mlp_def, eps_def, act_def) \
    FACT_INT("hidden_size", hidden, hidden_def, MAX_WIDTH),                         \
    FACT_INT("num_hidden_layers", layers, layers_def, MAX_LAYERS),                  \
    FACT_INT("num_attention_heads", heads, heads_def, MAX_WIDTH),                   \
    FACT_INT("intermediate_size", intermediate, mlp_def, MAX_WIDTH),                \
    FACT_FLOAT("layer_norm_eps", norm_eps, eps_def),                                \
    FACT_FLOAT("initializer_range", init_range, 0.02),                              \
    FACT_ACT(act_def)

#define VISION_FIELDS(size_def, patch_def)                      \
    FACT_INT("image_size", image_size, size_def, 1 << 16),      \
    FACT_INT("patch_size", patch, patch_def, 1 << 12),          \
    FACT_INT("num_channels", channels, 3, 3)

#define ENCODER_LAYERS(prefix)                                              \
    {NN_norm1_w, prefix "encoder.layers.%d.layer_norm1.weight", W_ALWAYS},     \
    {NN_norm1_b, prefix "encoder.layers.%d.layer_norm1.bias", W_ALWAYS},       \
    {NN_attn_q_w, prefix "encoder.layers.%d.self_attn.q_proj.weight", W_ALWAYS}, \
    {NN_attn_q_b, prefix "encoder.layers.%d.self_attn.q_proj.bias", W_ALWAYS}, \
    {NN_attn_k_w, prefix "encoder.layers.%d.self_attn.k_proj.weight", W_ALWAYS}, \
    {NN_attn_k_b, prefix "encoder.layers.%d.self_attn.k_proj.bias", W_ALWAYS}, \
    {NN_attn_v_w, prefix "encoder.layers.%d.self_attn.v_proj.weight", W_ALWAYS}, \
    {NN_attn_v_b, prefix "encoder.layers.%d.self_attn.v_proj.bias", W_ALWAYS}, \
    {NN_attn_o_w, prefix "encoder.layers.%d.self_attn.out_proj.weight", W_ALWAYS}, \
    {NN_attn_o_b, prefix "encoder.layers.%d.self_attn.out_proj.bias", W_ALWAYS}, \
    {NN_norm2_w, prefix "encoder.layers.%d.layer_norm2.weight", W_ALWAYS},     \
    {NN_norm2_b, prefix "encoder.layers.%d.layer_norm2.bias", W_ALWAYS},       \
    {NN_up_w, prefix "encoder.layers.%d.mlp.fc1.weight", W_ALWAYS},            \
    {NN_up_b, prefix "encoder.layers.%d.mlp.fc1.bias", W_ALWAYS},              \
    {NN_down_w, prefix "encoder.layers.%d.mlp.fc2.weight", W_ALWAYS},          \
    {NN_down_b, prefix "encoder.layers.%d.mlp.fc2.bias", W_ALWAYS}

static int heads_of(const char *place, struct nn_facts *f)
{
    if (f->hidden % f->heads)
        return err_set(NUN_EFORMAT, "%s: hidden_size %d is not a multiple of num_attention_heads %d", place, f->hidden, f->heads);
    f->kv_heads = f->heads;
    f->head_dim = f->hidden / f->heads;
    return 0;
}

static int grid_of(const char *place, struct nn_facts *f, int extra)
{
    if (f->image_size < f->patch)
        return err_set(NUN_EFORMAT, "%s: image_size %d is smaller than patch_size %d", place, f->image_size, f->patch);
    int side = f->image_size / f->patch;
    f->positions = side * side + extra;
    return heads_of(place, f);
}

static int clip_text_finish(const struct stack_read *r)
{
    return heads_of(r->place, r->f);
}

static int clip_vision_finish(const struct stack_read *r)
{
    return grid_of(r->place, r->f, 1);
}

static int siglip_vision_finish(const struct stack_read *r)
{
    return grid_of(r->place, r->f, 0);
}

/* ---- CLIP ---- */

static const struct json_field clip_text_fields[] = {
    ENCODER_FIELDS(512, 12, 8, 2048, 1e-5, ACT_QUICK_GELU),
    FACT_INT("vocab_size", vocab, 49408, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 77, MAX_VOCAB),
    FACT_INT("projection_dim", projection, 512, MAX_WIDTH),
};
static const struct weight_row clip_text_weights[] = {
    {NN_embed_w, "text_model.embeddings.token_embedding.weight", W_ALWAYS},
    {NN_pos_w, "text_model.embeddings.position_embedding.weight", W_ALWAYS},
    ENCODER_LAYERS("text_model."),
    {NN_final_norm_w, "text_model.final_layer_norm.weight", W_ALWAYS},
    {NN_final_norm_b, "text_model.final_layer_norm.bias", W_ALWAYS},
    {NN_head_w, "text_projection.weight", W_OPTIONAL},
};
const struct stack_row stack_clip_text = {
    "clip_text_model", ROWS(clip_text_fields), NULL, ROWS(clip_text_weights),
    {.norm = NN_LAYER, .causal = true}, clip_text_finish};

static const struct json_field clip_vision_fields[] = {
    ENCODER_FIELDS(768, 12, 12, 3072, 1e-5, ACT_QUICK_GELU),
    VISION_FIELDS(224, 32),
    FACT_INT("projection_dim", projection, 512, MAX_WIDTH),
};
static const struct weight_row clip_vision_weights[] = {
    {NN_class_w, "vision_model.embeddings.class_embedding", W_ALWAYS},
    {NN_patch_w, "vision_model.embeddings.patch_embedding.weight", W_ALWAYS},
    {NN_pos_w, "vision_model.embeddings.position_embedding.weight", W_ALWAYS},
    {NN_pre_norm_w, "vision_model.pre_layrnorm.weight", W_ALWAYS},
    {NN_pre_norm_b, "vision_model.pre_layrnorm.bias", W_ALWAYS},
    ENCODER_LAYERS("vision_model."),
    {NN_post_norm_w, "vision_model.post_layernorm.weight", W_TOWER_NORM},
    {NN_post_norm_b, "vision_model.post_layernorm.bias", W_TOWER_NORM},
    {NN_head_w, "visual_projection.weight", W_OPTIONAL},
};
const struct stack_row stack_clip_vision = {
    "clip_vision_model", ROWS(clip_vision_fields), NULL, ROWS(clip_vision_weights),
    {.norm = NN_LAYER}, clip_vision_finish};

/* Phi 3 Vision's: a config that only names CLIP ViT-L/14-336, whose sizes are the defaults. */
static const struct json_field phi3_v_vision_fields[] = {
    ENCODER_FIELDS(1024, 24, 16, 4096, 1e-5, ACT_QUICK_GELU),
    VISION_FIELDS(336, 14),
};
static const char *const phi3_v_vision_ignore[] = {
    "name", "model_name", "image_dim_out", "num_img_tokens", "layer_idx", "type_feature", NULL};
static int phi3_v_vision_finish(const struct stack_read *r)
{
    static const char *const only[] = {"clip_vision_model", "openai/clip-vit-large-patch14-336"};
    const char *name = "nothing", *model = "nothing";
    int64_t width = r->f->hidden;
    TRY(json_get_string(r->config, r->place, "name", &name));
    TRY(json_get_string(r->config, r->place, "model_name", &model));
    TRY(json_get_int(r->config, r->place, "image_dim_out", 1, MAX_WIDTH, &width));
    if (strcmp(name, only[0]) || strcmp(model, only[1]))
        return err_set(NUN_EUNSUP, "%s: img_processor: expected %s of %s, found %s of %s", r->place, only[0], only[1], name, model);
    if (width != r->f->hidden)
        return err_set(NUN_EFORMAT, "%s: img_processor.image_dim_out: expected the tower's %d, found %lld", r->place, r->f->hidden,
                       (long long)width);
    return grid_of(r->place, r->f, 1);
}
const struct stack_row stack_phi3_v_vision = {
    "phi3_v_vision", ROWS(phi3_v_vision_fields), phi3_v_vision_ignore, ROWS(clip_vision_weights),
    {.norm = NN_LAYER}, phi3_v_vision_finish};

static const struct weight_row clip_weights[] = {{NN_logit_scale, "logit_scale", W_ALWAYS}};

const struct family_row family_clip = {
    "CLIPModel", "clip", FAMILY_CONTRASTIVE, {"text_config", "", "clip_text_model"}, {"vision_config", "", "clip_vision_model"},
    NULL, 0, NULL, ROWS(clip_weights), {.image_token = -1}};
const struct family_row family_clip_vision = {
    "CLIPVisionModel", "clip_vision_model", FAMILY_VISION, {0}, {"", "", "clip_vision_model"},
    NULL, 0, NULL, NULL, 0, {.image_token = -1}};
const struct family_row family_clip_vision_projection = {
    "CLIPVisionModelWithProjection", "clip_vision_model", FAMILY_VISION, {0}, {"", "", "clip_vision_model"},
    NULL, 0, NULL, NULL, 0, {.image_token = -1}};

/* ---- SigLIP ---- */

static const struct json_field siglip_text_fields[] = {
    ENCODER_FIELDS(768, 12, 12, 3072, 1e-6, ACT_GELU_TANH),
    FACT_INT("vocab_size", vocab, 32000, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 64, MAX_VOCAB),
    FACT_INT("projection_size", projection, 0, MAX_WIDTH),
};
static const struct weight_row siglip_text_weights[] = {
    {NN_embed_w, "text_model.embeddings.token_embedding.weight", W_ALWAYS},
    {NN_pos_w, "text_model.embeddings.position_embedding.weight", W_ALWAYS},
    ENCODER_LAYERS("text_model."),
    {NN_final_norm_w, "text_model.final_layer_norm.weight", W_ALWAYS},
    {NN_final_norm_b, "text_model.final_layer_norm.bias", W_ALWAYS},
    {NN_head_w, "text_model.head.weight", W_ALWAYS},
    {NN_head_b, "text_model.head.bias", W_ALWAYS},
};
static int siglip_text_finish(const struct stack_read *r)
{
    if (!r->f->projection)
        r->f->projection = r->f->hidden;
    return heads_of(r->place, r->f);
}
const struct stack_row stack_siglip_text = {
    "siglip_text_model", ROWS(siglip_text_fields), NULL, ROWS(siglip_text_weights),
    {.norm = NN_LAYER}, siglip_text_finish};

static const struct json_field siglip_vision_fields[] = {
    ENCODER_FIELDS(768, 12, 12, 3072, 1e-6, ACT_GELU_TANH),
    VISION_FIELDS(224, 16),
    FACT_BOOL("vision_use_head", use_head, true),
};
#define SIGLIP_VISION_WEIGHTS(patch_shape)                                              \
    {NN_patch_w, "vision_model.embeddings.patch_embedding.weight", W_ALWAYS, .shape = patch_shape}, \
    {NN_patch_b, "vision_model.embeddings.patch_embedding.bias", W_ALWAYS},             \
    {NN_pos_w, "vision_model.embeddings.position_embedding.weight", W_ALWAYS},          \
    ENCODER_LAYERS("vision_model."),                                                    \
    {NN_post_norm_w, "vision_model.post_layernorm.weight", W_ALWAYS},                   \
    {NN_post_norm_b, "vision_model.post_layernorm.bias", W_ALWAYS},                     \
    {NN_pool_probe, "vision_model.head.probe", W_HEAD},                                 \
    {NN_pool_in_w, "vision_model.head.attention.in_proj_weight", W_HEAD},               \
    {NN_pool_in_b, "vision_model.head.attention.in_proj_bias", W_HEAD},                 \
    {NN_pool_out_w, "vision_model.head.attention.out_proj.weight", W_HEAD},             \
    {NN_pool_out_b, "vision_model.head.attention.out_proj.bias", W_HEAD},               \
    {NN_pool_norm_w, "vision_model.head.layernorm.weight", W_HEAD},                     \
    {NN_pool_norm_b, "vision_model.head.layernorm.bias", W_HEAD},                       \
    {NN_pool_up_w, "vision_model.head.mlp.fc1.weight", W_HEAD},                         \
    {NN_pool_up_b, "vision_model.head.mlp.fc1.bias", W_HEAD},                           \
    {NN_pool_down_w, "vision_model.head.mlp.fc2.weight", W_HEAD},                       \
    {NN_pool_down_b, "vision_model.head.mlp.fc2.bias", W_HEAD}

static const struct weight_row siglip_vision_weights[] = {SIGLIP_VISION_WEIGHTS(NULL)};
const struct stack_row stack_siglip_vision = {
    "siglip_vision_model", ROWS(siglip_vision_fields), NULL, ROWS(siglip_vision_weights),
    {.norm = NN_LAYER}, siglip_vision_finish};

/* Idefics' and SmolVLM's towers: SigLIP's without the head, which take pictures of any shape. */
#define PLAIN_TOWER_FIELDS(hidden_def, heads_def) \
    ENCODER_FIELDS(hidden_def, 12, heads_def, 3072, 1e-6, ACT_GELU_TANH), VISION_FIELDS(224, 32)
static const struct json_field idefics2_vision_fields[] = {PLAIN_TOWER_FIELDS(768, 12)};
static const struct json_field idefics3_vision_fields[] = {PLAIN_TOWER_FIELDS(1152, 16)};
#define PLAIN_TOWER(model_type, fields) \
    {model_type, ROWS(fields), NULL, ROWS(siglip_vision_weights), {.norm = NN_LAYER}, siglip_vision_finish}
const struct stack_row stack_idefics2_vision = PLAIN_TOWER("idefics2_vision", idefics2_vision_fields);
const struct stack_row stack_idefics3_vision = PLAIN_TOWER("idefics3_vision", idefics3_vision_fields);
const struct stack_row stack_smolvlm_vision = PLAIN_TOWER("smolvlm_vision", idefics3_vision_fields);

static const struct weight_row siglip_weights[] = {
    {NN_logit_scale, "logit_scale", W_ALWAYS, .shape = "1"},
    {NN_logit_bias, "logit_bias", W_ALWAYS, .shape = "1"},
};
const struct family_row family_siglip = {
    "SiglipModel", "siglip", FAMILY_CONTRASTIVE, {"text_config", "", "siglip_text_model"}, {"vision_config", "", "siglip_vision_model"},
    NULL, 0, NULL, ROWS(siglip_weights), {.image_token = -1, .sigmoid = true}};
const struct family_row family_siglip_vision = {
    "SiglipVisionModel", "siglip_vision_model", FAMILY_VISION, {0}, {"", "", "siglip_vision_model"},
    NULL, 0, NULL, NULL, 0, {.image_token = -1}};

/* ---- SigLIP 2: pictures of any shape (arXiv:2502.14786); those of one size are SigLIP's ---- */

const struct stack_row stack_siglip2_text = {
    "siglip2_text_model", ROWS(siglip_text_fields), NULL, ROWS(siglip_text_weights),
    {.norm = NN_LAYER}, siglip_text_finish};

static const struct json_field siglip2_vision_fields[] = {
    ENCODER_FIELDS(768, 12, 12, 3072, 1e-6, ACT_GELU_TANH),
    FACT_INT("num_patches", positions, 256, 1 << 20),
    FACT_INT("patch_size", patch, 16, 1 << 12),
    FACT_INT("num_channels", channels, 3, 3),
    FACT_BOOL("vision_use_head", use_head, true),
};
static const struct weight_row siglip2_vision_weights[] = {SIGLIP_VISION_WEIGHTS("Ha")};
static int siglip2_vision_finish(const struct stack_read *r)
{
    int side = 1;
    while (side * side < r->f->positions)
        side++;
    if (side * side != r->f->positions)
        return err_set(NUN_EFORMAT, "%s: num_patches: expected a square, found %d", r->place, r->f->positions);
    return heads_of(r->place, r->f);
}
const struct stack_row stack_siglip2_vision = {
    "siglip2_vision_model", ROWS(siglip2_vision_fields), NULL, ROWS(siglip2_vision_weights),
    {.norm = NN_LAYER, .tower = NN_TOWER_naflex}, siglip2_vision_finish};

const struct family_row family_siglip2 = {
    "Siglip2Model", "siglip2", FAMILY_CONTRASTIVE, {"text_config", "", "siglip2_text_model"}, {"vision_config", "", "siglip2_vision_model"},
    NULL, 0, NULL, ROWS(siglip_weights), {.image_token = -1, .sigmoid = true}};
const struct family_row family_siglip2_vision = {
    "Siglip2VisionModel", "siglip2_vision_model", FAMILY_VISION, {0}, {"", "", "siglip2_vision_model"},
    NULL, 0, NULL, NULL, 0, {.image_token = -1}};
