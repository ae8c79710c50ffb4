/* ResNet: basic and bottleneck blocks, batch norm by its running statistics. arXiv:1512.03385. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/conv_rows.h"

static const struct json_name layer_types[] = {{"basic", NN_BLOCK_basic}, {"bottleneck", NN_BLOCK_bottleneck}, {NULL, 0}};
static const struct json_field fields[] = {
    CONV_INT("num_channels", channels, 3, 4),
    CONV_INT("embedding_size", stem, 64, MAX_WIDTH),
    CONV_LIST("hidden_sizes", widths, 4, MAX_WIDTH),
    CONV_LIST("depths", depths, 1, MAX_LAYERS),
    CONV_NAME("layer_type", kind, NN_BLOCK_bottleneck, layer_types),
    CONV_NAME("hidden_act", act, ACT_RELU, family_acts),
    CONV_BOOL("downsample_in_first_stage", step_first, false),
    CONV_BOOL("downsample_in_bottleneck", early, false),
};
static const char *const ignore[] = {"out_features", "out_indices", "stage_names", "num_labels", "initializer_range", NULL};

#define EMBEDDER "resnet.embedder.embedder."
#define LAYER "resnet.encoder.stages.%s.layers.%d."
static const struct conv_name names[] = {
    {NN_PART_STEM, NN_UNIT_first, EMBEDDER "convolution", EMBEDDER "normalization"},
    {NN_PART_BODY, NN_UNIT_shortcut, LAYER "shortcut.convolution", LAYER "shortcut.normalization"},
    {NN_PART_BODY, NN_UNIT_first, LAYER "layer.0.convolution", LAYER "layer.0.normalization"},
    {NN_PART_BODY, NN_UNIT_second, LAYER "layer.1.convolution", LAYER "layer.1.normalization"},
    {NN_PART_BODY, NN_UNIT_third, LAYER "layer.2.convolution", LAYER "layer.2.normalization"},
};
static const char *const leave[] = {".num_batches_tracked", NULL};

static int finish(struct conv_read *r)
{
    const struct conv_facts *f = r->f;
    struct nn_block block = {.kind = NN_BLOCK_conv, .part = NN_PART_STEM, .out = f->stem, .kernel = 7, .stride = 2, .before = 3,
                             .after = 3, .act = f->act, .norm = NN_UNIT_BATCH, .eps = f->eps};
    TRY(conv_same_count(r, "hidden_sizes", f->n_widths, "depths", f->n_depths));
    TRY(conv_push(r, &block));
    TRY(conv_push(r, &(struct nn_block){.kind = NN_BLOCK_max_pool, .part = NN_PART_STEM, .kernel = 3, .stride = 2, .before = 1}));
    block.kind = f->kind;
    block.part = NN_PART_BODY;
    block.kernel = 3;
    block.before = block.after = 1;
    block.early = f->early;
    for (block.stage = 0; block.stage < f->n_depths; block.stage++)
        for (block.index = 0; block.index < f->depths[block.stage]; block.index++) {
            block.out = f->widths[block.stage];
            block.inner = block.out / 4;
            block.stride = block.index == 0 && (block.stage > 0 || f->step_first) ? 2 : 1;
            TRY(conv_push(r, &block));
        }
    return 0;
}

static const struct conv_row row = {ROWS(fields), ignore, ROWS(names), NULL, "classifier.1", "resnet.", leave, {.eps = 1e-5f}, finish,
                                    "basic or bottleneck blocks with batch norm"};

const struct family_row family_resnet = CONV_CLASSIFIER("ResNetForImageClassification", "resnet", row);
const struct family_row family_resnet_model = CONV_MODEL("ResNetModel", "resnet", row);
