/* Swin: windows that shift, in stages. arXiv:2103.14030. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "models/families.h"

static const struct json_field swin_fields[] = {
    FACT_INT("image_size", image_size, 224, 1 << 16),
    FACT_INT("patch_size", patch, 4, 1 << 12),
    FACT_INT("num_channels", channels, 3, 3),
    FACT_INT("embed_dim", hidden, 96, MAX_WIDTH),
    {"depths", JSON_KIND_INTS, offsetof(struct nn_facts, stage_layers), true, 1, MAX_LAYERS, 0, NULL, NULL,
     offsetof(struct nn_facts, stages), NN_STAGES},
    {"num_heads", JSON_KIND_INTS, offsetof(struct nn_facts, stage_heads), true, 1, MAX_WIDTH, 0, NULL, NULL,
     offsetof(struct nn_facts, n_stage_heads), NN_STAGES},
    FACT_INT("window_size", window_side, 7, 1 << 10),
    FACT_FLOAT("mlp_ratio", mlp_ratio, 4),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_BOOL("qkv_bias", attention_bias, true),
    FACT_ACT(ACT_GELU),
};
/* what training does, what follows from other keys, and how a backbone hands its states on */
static const char *const swin_ignore[] = {
    "hidden_size", "num_layers", "encoder_stride", "use_absolute_embeddings", "drop_path_rate", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "path_norm", "out_features", "out_indices", "stage_names", "num_labels", NULL};

/* Stage k: twice as wide as the one before it. */
static int make_stage(const struct stack_read *r, int k, int first)
{
    const struct nn_facts *f = r->f;
    struct nn_facts *s = &f->stage[k];
    int64_t width = (int64_t)f->hidden << k;
    double mlp = (double)width * (double)f->mlp_ratio;
    if (width > MAX_WIDTH || width % f->stage_heads[k] || !(mlp >= 1 && mlp <= MAX_WIDTH))
        return err_set(NUN_EFORMAT, "%s: stage %d: a width of %lld with %d heads and mlp_ratio %g", r->place, k, (long long)width,
                       f->stage_heads[k], (double)f->mlp_ratio);
    *s = *f;
    s->stages = 0;
    s->stage = NULL;
    s->hidden = (int)width;
    s->heads = s->kv_heads = f->stage_heads[k];
    s->head_dim = s->hidden / s->heads;
    s->intermediate = (int)mlp;
    s->layers = f->stage_layers[k];
    s->layer = f->layer + first;
    s->merges = k + 1 < f->stages;
    for (int i = 0; i < s->layers; i++)
        s->layer[i] = (struct nn_layer){.mixer = NN_MIX_windows, .channel = NN_CHANNEL_mlp, .shifts = i % 2 == 1};
    return 0;
}

static int swin_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    bool places = false;
    if (f->n_stage_heads != f->stages)
        return err_set(NUN_EFORMAT, "%s: num_heads: expected one for each of %d stages, found %d", r->place, f->stages, f->n_stage_heads);
    if (f->image_size < f->patch)
        return err_set(NUN_EFORMAT, "%s: image_size %d is smaller than patch_size %d", r->place, f->image_size, f->patch);
    f->layers = 0;
    for (int k = 0; k < f->stages; k++)
        f->layers += f->stage_layers[k];
    TRY(limit_check(LIMIT_layers, (size_t)f->layers, r->place));
    f->layer = arena_array(r->arena, (size_t)f->layers, sizeof *f->layer);
    f->stage = arena_array(r->arena, (size_t)f->stages, sizeof *f->stage);
    if (!f->layer || !f->stage)
        return NUN_ENOMEM;
    TRY(json_get_bool(r->config, r->place, "use_absolute_embeddings", &places));
    int side = f->image_size / f->patch;
    f->positions = places ? side * side : 0;
    TRY(family_labels(r));
    for (int k = 0, first = 0; k < f->stages; first += f->stage_layers[k++])
        TRY(make_stage(r, k, first));
    return 0;
}

#define BLOCK "swin.encoder.layers.%g.blocks.%d."
static const struct weight_row swin_weights[] = {
    {NN_patch_w, "swin.embeddings.patch_embeddings.projection.weight"},
    {NN_patch_b, "swin.embeddings.patch_embeddings.projection.bias"},
    {NN_embed_norm_w, "swin.embeddings.norm.weight"}, {NN_embed_norm_b, "swin.embeddings.norm.bias"},
    {NN_pos_w, "swin.embeddings.position_embeddings", W_PLACES, .shape = "1NH"},
    {NN_norm1_w, BLOCK "layernorm_before.weight"}, {NN_norm1_b, BLOCK "layernorm_before.bias"},
    {NN_attn_q_w, BLOCK "attention.self.query.weight"}, {NN_attn_q_b, BLOCK "attention.self.query.bias", W_ATTENTION_BIAS},
    {NN_attn_k_w, BLOCK "attention.self.key.weight"}, {NN_attn_k_b, BLOCK "attention.self.key.bias", W_ATTENTION_BIAS},
    {NN_attn_v_w, BLOCK "attention.self.value.weight"}, {NN_attn_v_b, BLOCK "attention.self.value.bias", W_ATTENTION_BIAS},
    {NN_near_w, BLOCK "attention.self.relative_position_bias_table"},
    {NN_attn_o_w, BLOCK "attention.output.dense.weight"}, {NN_attn_o_b, BLOCK "attention.output.dense.bias"},
    {NN_norm2_w, BLOCK "layernorm_after.weight"}, {NN_norm2_b, BLOCK "layernorm_after.bias"},
    {NN_up_w, BLOCK "intermediate.dense.weight"}, {NN_up_b, BLOCK "intermediate.dense.bias"},
    {NN_down_w, BLOCK "output.dense.weight"}, {NN_down_b, BLOCK "output.dense.bias"},
    {NN_merge_norm_w, "swin.encoder.layers.%g.downsample.norm.weight", W_MERGES},
    {NN_merge_norm_b, "swin.encoder.layers.%g.downsample.norm.bias", W_MERGES},
    {NN_merge_w, "swin.encoder.layers.%g.downsample.reduction.weight", W_MERGES},
    {NN_post_norm_w, "swin.layernorm.weight", .shape = "O"}, {NN_post_norm_b, "swin.layernorm.bias", .shape = "O"},
    {NN_classifier_w, "classifier.weight", W_CLASSES}, {NN_classifier_b, "classifier.bias", W_CLASSES},
};
/* made of the window's side; of another kind of training */
static const char *const swin_leave[] = {"relative_position_index", "embeddings.mask_token", NULL};

const struct stack_row stack_swin = {
    "swin", ROWS(swin_fields), swin_ignore, ROWS(swin_weights),
    {.norm = NN_LAYER, .tower = NN_TOWER_windows, .summary = NN_SUMMARY_MEAN}, swin_finish, "swin.", swin_leave};
const struct family_row family_swin = {
    "SwinModel", "swin", FAMILY_VISION, {0}, {"", "", "swin"}, NULL, 0, NULL, NULL, 0, {.image_token = -1}};
const struct family_row family_swin_classes = {
    "SwinForImageClassification", "swin", FAMILY_VISION, {0}, {"", "", "swin"}, NULL, 0, NULL, NULL, 0,
    {.image_token = -1, .classifies = true}};
