/* ConvNeXt: depthwise convolutions and layer norm by pixels. arXiv:2201.03545. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/conv_rows.h"

static const struct json_field fields[] = {
    CONV_INT("num_channels", channels, 3, 4),
    CONV_INT("patch_size", patch, 4, 1 << 12),
    CONV_LIST("hidden_sizes", widths, 1, MAX_WIDTH / 4),
    CONV_LIST("depths", depths, 1, MAX_LAYERS),
    CONV_NAME("hidden_act", act, ACT_GELU, family_acts),
    CONV_FLOAT("layer_norm_eps", eps, 1e-12),
    CONV_FLOAT("layer_scale_init_value", gain, 1e-6),
};
static const char *const ignore[] = {"out_features", "out_indices", "stage_names", "num_labels", "initializer_range", "num_stages",
                                     "drop_path_rate", "image_size", NULL};

#define STAGE "convnext.encoder.stages.%s."
static const struct conv_name names[] = {
    {NN_PART_STEM, NN_UNIT_first, "convnext.embeddings.patch_embeddings", "convnext.embeddings.layernorm"},
    {NN_PART_DOWN, NN_UNIT_first, STAGE "downsampling_layer.1", STAGE "downsampling_layer.0"},
    {NN_PART_BODY, NN_UNIT_first, STAGE "layers.%d.dwconv", STAGE "layers.%d.layernorm"},
    {NN_PART_BODY, NN_UNIT_second, STAGE "layers.%d.pwconv1"},
    {NN_PART_BODY, NN_UNIT_third, STAGE "layers.%d.pwconv2", NULL, STAGE "layers.%d.layer_scale_parameter"},
};

/* layer_norm_eps is that of the pooled maps; all other norms have this one. */
static const float inner_eps = 1e-6f;

static int finish(struct conv_read *r)
{
    const struct conv_facts *f = r->f;
    TRY(conv_same_count(r, "hidden_sizes", f->n_widths, "depths", f->n_depths));
    for (int s = 0; s < f->n_depths; s++) {
        struct nn_block step = {.kind = NN_BLOCK_conv, .part = s ? NN_PART_DOWN : NN_PART_STEM, .stage = s, .out = f->widths[s],
                                .kernel = s ? 2 : f->patch, .stride = s ? 2 : f->patch, .act = ACT_NONE, .eps = inner_eps,
                                .norm = s ? NN_UNIT_LAYER_BEFORE : NN_UNIT_LAYER_AFTER, .bias = true};
        struct nn_block block = {.kind = NN_BLOCK_convnext, .part = NN_PART_BODY, .stage = s, .out = f->widths[s],
                                 .inner = 4 * f->widths[s], .kernel = 7, .stride = 1, .act = f->act, .norm = NN_UNIT_LAYER_AFTER,
                                 .eps = inner_eps, .bias = true, .gain = f->gain > 0};
        TRY(conv_push(r, &step));
        for (block.index = 0; block.index < f->depths[s]; block.index++)
            TRY(conv_push(r, &block));
    }
    r->c->pool_eps = f->eps;
    return 0;
}

static const struct conv_row row = {ROWS(fields), ignore, ROWS(names), "convnext.layernorm", "classifier", "convnext.", NULL, {0}, finish,
                                    "depthwise 7x7 with layer norm, MLPs by pixels, factors of channels"};

const struct family_row family_convnext = CONV_CLASSIFIER("ConvNextForImageClassification", "convnext", row);
const struct family_row family_convnext_model = CONV_MODEL("ConvNextModel", "convnext", row);
