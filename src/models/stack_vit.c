/* Vision transformers without a text beside them: ViT, its masked autoencoder, DINOv2. arXiv:2010.11929,
 * arXiv:2111.06377, arXiv:2304.07193. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/families.h"

#define VIT_FIELDS(prefix, hidden_def, layers_def, heads_def)                            \
    FACT_INT(prefix "hidden_size", hidden, hidden_def, MAX_WIDTH),                       \
    FACT_INT(prefix "num_hidden_layers", layers, layers_def, MAX_LAYERS),                \
    FACT_INT(prefix "num_attention_heads", heads, heads_def, MAX_WIDTH),                 \
    FACT_FLOAT("initializer_range", init_range, 0.02),                                   \
    FACT_BOOL("qkv_bias", attention_bias, true),                                         \
    FACT_INT("image_size", image_size, 224, 1 << 16),                                    \
    FACT_INT("num_channels", channels, 3, 3),                                            \
    FACT_ACT(ACT_GELU)

#define ATTENTION_ROWS(prefix)                                                            \
    {NN_attn_q_w, prefix "attention.attention.query.weight"},                             \
    {NN_attn_q_b, prefix "attention.attention.query.bias", W_ATTENTION_BIAS},             \
    {NN_attn_k_w, prefix "attention.attention.key.weight"},                               \
    {NN_attn_k_b, prefix "attention.attention.key.bias", W_ATTENTION_BIAS},               \
    {NN_attn_v_w, prefix "attention.attention.value.weight"},                             \
    {NN_attn_v_b, prefix "attention.attention.value.bias", W_ATTENTION_BIAS},             \
    {NN_attn_o_w, prefix "attention.output.dense.weight"},                                \
    {NN_attn_o_b, prefix "attention.output.dense.bias"}

#define VIT_LAYERS(prefix)                                                                \
    {NN_norm1_w, prefix "layernorm_before.weight"}, {NN_norm1_b, prefix "layernorm_before.bias"}, \
    ATTENTION_ROWS(prefix),                                                               \
    {NN_norm2_w, prefix "layernorm_after.weight"}, {NN_norm2_b, prefix "layernorm_after.bias"}, \
    {NN_up_w, prefix "intermediate.dense.weight"}, {NN_up_b, prefix "intermediate.dense.bias"}, \
    {NN_down_w, prefix "output.dense.weight"}, {NN_down_b, prefix "output.dense.bias"}

#define EMBEDDING_ROWS(base)                                                              \
    {NN_class_w, base "embeddings.cls_token", .shape = "11H"},                            \
    {NN_patch_w, base "embeddings.patch_embeddings.projection.weight"},                   \
    {NN_patch_b, base "embeddings.patch_embeddings.projection.bias"},                     \
    {NN_pos_w, base "embeddings.position_embeddings", .shape = "1NH"}

#define END_ROWS(base)                                                                    \
    {NN_post_norm_w, base "layernorm.weight"}, {NN_post_norm_b, base "layernorm.bias"},   \
    {NN_pooler_w, base "pooler.dense.weight", W_POOLER}, {NN_pooler_b, base "pooler.dense.bias", W_POOLER}, \
    {NN_classifier_w, "classifier.weight", W_CLASSES}, {NN_classifier_b, "classifier.bias", W_CLASSES}

/* Head widths, and one position a patch and one for the class token. */
static int grid_of(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int side = f->patch > 0 ? f->image_size / f->patch : 0;
    if (side < 1)
        return err_set(NUN_EFORMAT, "%s: image_size %d is smaller than patch_size %d", r->place, f->image_size, f->patch);
    f->positions = side * side + 1;
    return family_heads(r);
}

/* ---- ViT ---- */

static int vit_finish(const struct stack_read *r)
{
    const char *act = "tanh";
    int64_t width = r->f->hidden;
    TRY(json_get_string(r->config, r->place, "pooler_act", &act));
    TRY(json_get_int(r->config, r->place, "pooler_output_size", 1, MAX_WIDTH, &width));
    if (strcmp(act, "tanh") || width != r->f->hidden)
        return err_set(NUN_EUNSUP, "%s: pooler: only tanh and a width of %d are supported, found %s and %lld", r->place, r->f->hidden,
                       act, (long long)width);
    TRY(family_labels(r));
    return grid_of(r);
}

static const struct json_field vit_fields[] = {
    VIT_FIELDS("", 768, 12, 12),
    FACT_INT("intermediate_size", intermediate, 3072, MAX_WIDTH),
    FACT_INT("patch_size", patch, 16, 1 << 12),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-12),
};
static const char *const vit_ignore[] = {"encoder_stride", "pooler_act", "pooler_output_size", "hidden_dropout_prob",
                                         "attention_probs_dropout_prob", "num_labels", NULL};
static const struct weight_row vit_weights[] = {EMBEDDING_ROWS("vit."), VIT_LAYERS("vit.encoder.layer.%d."), END_ROWS("vit.")};
const struct stack_row stack_vit = {
    "vit", ROWS(vit_fields), vit_ignore, ROWS(vit_weights), {.norm = NN_LAYER, .summary = NN_SUMMARY_FIRST}, vit_finish, "vit."};

/* name, model_type, facts */
#define TOWER_FAMILY(architecture, type, ...) \
    {architecture, type, FAMILY_VISION, {0}, {"", "", type}, NULL, 0, NULL, NULL, 0, {.image_token = -1, __VA_ARGS__}}
const struct family_row family_vit = TOWER_FAMILY("ViTModel", "vit", .pools = true);
const struct family_row family_vit_classes = TOWER_FAMILY("ViTForImageClassification", "vit", .classifies = true);

/* ---- ViT-MAE ---- */

static const char *const mae_ignore[] = {"decoder_*", "mask_ratio", "norm_pix_loss", "hidden_dropout_prob",
                                         "attention_probs_dropout_prob", "num_labels", NULL};
const struct stack_row stack_vit_mae = {
    "vit_mae", ROWS(vit_fields), mae_ignore, ROWS(vit_weights), {.norm = NN_LAYER, .summary = NN_SUMMARY_FIRST, .waves = true}, grid_of, "vit."};

static const struct json_field mae_decoder_fields[] = {
    VIT_FIELDS("decoder_", 512, 8, 16),
    FACT_INT("decoder_intermediate_size", intermediate, 2048, MAX_WIDTH),
    FACT_INT("hidden_size", cross_width, 768, MAX_WIDTH),
    FACT_INT("patch_size", patch, 16, 1 << 12),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-12),
};
static const char *const all_others[] = {"*", NULL};
static const struct weight_row mae_decoder_weights[] = {
    {NN_enter_w, "decoder_embed.weight"}, {NN_enter_b, "decoder_embed.bias"},
    {NN_mask_token_w, "mask_token"},
    {NN_pos_w, "decoder_pos_embed", .shape = "1NH"},
    VIT_LAYERS("decoder_layers.%d."),
    {NN_post_norm_w, "decoder_norm.weight"}, {NN_post_norm_b, "decoder_norm.bias"},
    {NN_pixels_w, "decoder_pred.weight"}, {NN_pixels_b, "decoder_pred.bias"},
};
const struct stack_row stack_vit_mae_decoder = {
    "vit_mae_decoder", ROWS(mae_decoder_fields), all_others, ROWS(mae_decoder_weights), {.norm = NN_LAYER, .waves = true}, grid_of};

static const struct json_field mae_family_fields[] = {
    {"mask_ratio", JSON_KIND_DOUBLE, offsetof(struct family_facts, mask_ratio), false, 0, 1, 0.75, NULL, NULL, 0, 0},
    {"norm_pix_loss", JSON_KIND_BOOL, offsetof(struct family_facts, norm_pixels), false, 0, 0, false, NULL, NULL, 0, 0},
};
const struct family_row family_vit_mae = {
    "ViTMAEForPreTraining", "vit_mae", FAMILY_VISION, {0}, {"", "", "vit_mae"}, ROWS(mae_family_fields), all_others, NULL, 0,
    {.image_token = -1}, {{"", "decoder.", "vit_mae_decoder"}}};

/* ---- DINOv2 ---- */

/* With a gate the MLP's two matrices in are one, and their width is two thirds, in eights. */
static int dinov2_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    double width = (double)f->hidden * (double)f->mlp_ratio;
    if (!(width >= 1 && width <= MAX_WIDTH))
        return err_set(NUN_EFORMAT, "%s: mlp_ratio %g makes a width of %g", r->place, (double)f->mlp_ratio, width);
    f->intermediate = (int)width;
    if (f->gated) {
        f->intermediate = (f->intermediate * 2 / 3 + 7) / 8 * 8;
        f->act = ACT_SILU;
    }
    TRY(family_labels(r));
    return grid_of(r);
}

static const struct json_field dinov2_fields[] = {
    VIT_FIELDS("", 768, 12, 12),
    FACT_FLOAT("mlp_ratio", mlp_ratio, 4),
    FACT_INT("patch_size", patch, 14, 1 << 12),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-6),
    FACT_BOOL("use_swiglu_ffn", gated, false),
};
/* what training does, and how a backbone hands its states on */
static const char *const dinov2_ignore[] = {
    "layerscale_value", "drop_path_rate", "apply_layernorm", "reshape_hidden_states", "out_features", "out_indices", "stage_names",
    "use_mask_token", "hidden_dropout_prob", "attention_probs_dropout_prob", "num_labels", NULL};
static const char *const dinov2_leave[] = {"embeddings.mask_token", NULL};
#define DINOV2_LAYER "dinov2.encoder.layer.%d."
static const struct weight_row dinov2_weights[] = {
    EMBEDDING_ROWS("dinov2."),
    {NN_norm1_w, DINOV2_LAYER "norm1.weight"}, {NN_norm1_b, DINOV2_LAYER "norm1.bias"},
    ATTENTION_ROWS(DINOV2_LAYER),
    {NN_scale1_w, DINOV2_LAYER "layer_scale1.lambda1"},
    {NN_norm2_w, DINOV2_LAYER "norm2.weight"}, {NN_norm2_b, DINOV2_LAYER "norm2.bias"},
    {NN_up_w, DINOV2_LAYER "mlp.fc1.weight", W_UNGATED}, {NN_up_b, DINOV2_LAYER "mlp.fc1.bias", W_UNGATED},
    {NN_down_w, DINOV2_LAYER "mlp.fc2.weight", W_UNGATED}, {NN_down_b, DINOV2_LAYER "mlp.fc2.bias", W_UNGATED},
    {NN_gate_w, DINOV2_LAYER "mlp.weights_in.weight", W_GATED, {"II", 0}},
    {NN_gate_b, DINOV2_LAYER "mlp.weights_in.bias", W_GATED, {"II", 0}},
    {NN_up_w, DINOV2_LAYER "mlp.weights_in.weight", W_GATED, {"II", 1}},
    {NN_up_b, DINOV2_LAYER "mlp.weights_in.bias", W_GATED, {"II", 1}},
    {NN_down_w, DINOV2_LAYER "mlp.weights_out.weight", W_GATED}, {NN_down_b, DINOV2_LAYER "mlp.weights_out.bias", W_GATED},
    {NN_scale2_w, DINOV2_LAYER "layer_scale2.lambda1"},
    {NN_post_norm_w, "dinov2.layernorm.weight"}, {NN_post_norm_b, "dinov2.layernorm.bias"},
    {NN_classifier_w, "classifier.weight", W_CLASSES}, {NN_classifier_b, "classifier.bias", W_CLASSES},
};
const struct stack_row stack_dinov2 = {
    "dinov2", ROWS(dinov2_fields), dinov2_ignore, ROWS(dinov2_weights),
    {.norm = NN_LAYER, .stretch = true, .summary = NN_SUMMARY_FIRST_MEAN}, dinov2_finish, "dinov2.", dinov2_leave};
const struct family_row family_dinov2 = TOWER_FAMILY("Dinov2Model", "dinov2");
const struct family_row family_dinov2_classes = TOWER_FAMILY("Dinov2ForImageClassification", "dinov2", .classifies = true);
