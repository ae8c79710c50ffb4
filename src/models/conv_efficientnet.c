/* EfficientNet: one small network, made wider and deeper by factors. arXiv:1905.11946. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/conv_rows.h"

static const struct json_field fields[] = {
    CONV_INT("num_channels", channels, 3, 4),
    CONV_FLOAT("width_coefficient", width_factor, 2.0),
    CONV_FLOAT("depth_coefficient", depth_factor, 3.1),
    CONV_INT("depth_divisor", divisor, 8, MAX_WIDTH),
    CONV_LIST("kernel_sizes", kernels, 1, 64),
    CONV_LIST("in_channels", in, 1, MAX_WIDTH),
    CONV_LIST("out_channels", widths, 1, MAX_WIDTH),
    CONV_LIST("depthwise_padding", even, 0, MAX_LAYERS),
    CONV_LIST("strides", strides, 1, 2),
    CONV_LIST("num_block_repeats", depths, 1, MAX_LAYERS),
    CONV_LIST("expand_ratios", ratios, 1, 64),
    CONV_FLOAT("squeeze_expansion_ratio", squeeze, 0.25),
    CONV_INT("hidden_dim", top, 2560, MAX_WIDTH),
    CONV_FLOAT("batch_norm_eps", eps, 0.001),
    CONV_NAME("hidden_act", act, ACT_SILU, family_acts),
};
static const char *const ignore[] = {"image_size", "num_labels", "initializer_range", "batch_norm_momentum", "dropout_rate", "drop_connect_rate",
                                     "num_hidden_layers", "pooling_type", NULL};

#define EMBEDDINGS "efficientnet.embeddings."
#define ENCODER "efficientnet.encoder."
#define BLOCK ENCODER "blocks.%d."
static const struct conv_name names[] = {
    {NN_PART_STEM, NN_UNIT_first, EMBEDDINGS "convolution", EMBEDDINGS "batchnorm"},
    {NN_PART_BODY, NN_UNIT_first, BLOCK "expansion.expand_conv", BLOCK "expansion.expand_bn"},
    {NN_PART_BODY, NN_UNIT_second, BLOCK "depthwise_conv.depthwise_conv", BLOCK "depthwise_conv.depthwise_norm"},
    {NN_PART_BODY, NN_UNIT_squeeze, BLOCK "squeeze_excite.reduce"},
    {NN_PART_BODY, NN_UNIT_excite, BLOCK "squeeze_excite.expand"},
    {NN_PART_BODY, NN_UNIT_third, BLOCK "projection.project_conv", BLOCK "projection.project_bn"},
    {NN_PART_TOP, NN_UNIT_first, ENCODER "top_conv", ENCODER "top_bn"},
};
static const char *const leave[] = {".num_batches_tracked", NULL};

/* The nearest multiple of the divisor, but never less than nine tenths. */
static int wide(const struct conv_facts *f, int channels)
{
    double exact = channels * (double)f->width_factor, nearest = (double)(int64_t)(exact + f->divisor / 2.0);
    int64_t n = (int64_t)nearest / f->divisor * f->divisor;
    n = n < f->divisor ? f->divisor : n;
    n += (double)n < 0.9 * exact ? f->divisor : 0;
    return n < MAX_WIDTH ? (int)n : MAX_WIDTH;
}

static int deep(const struct conv_facts *f, int repeats)
{
    double n = ceil((double)f->depth_factor * repeats);
    return n < MAX_LAYERS ? (int)n : MAX_LAYERS + 1;
}

static bool is_even(const struct conv_facts *f, int block)
{
    for (int i = 0; i < f->n_even; i++)
        if (f->even[i] == block)
            return true;
    return false;
}

static int check_pooling(const struct conv_read *r)
{
    const char *pooling = "mean";
    TRY(json_get_string(r->config, r->place, "pooling_type", &pooling));
    if (strcmp(pooling, "mean"))
        return err_set(NUN_EUNSUP, "%s: pooling_type: only \"mean\" is supported, found \"%s\"", r->place, pooling);
    if (wide(r->f, 1280) != r->f->top)
        return err_set(NUN_EFORMAT, "%s: hidden_dim: expected the %d channels of the last convolution, found %d", r->place,
                       wide(r->f, 1280), r->f->top);
    return 0;
}

/* Block number `at` of all, number `j` of stage s. Steps pad one more behind than before, unless they are even. */
static int push_block(struct conv_read *r, int s, int j, int at)
{
    const struct conv_facts *f = r->f;
    int in = wide(f, j ? f->widths[s] : f->in[s]), kernel = f->kernels[s], stride = j ? 1 : f->strides[s];
    struct nn_block b = {.kind = NN_BLOCK_mbconv, .part = NN_PART_BODY, .stage = s, .index = at, .out = wide(f, f->widths[s]),
                         .inner = in * f->ratios[s], .kernel = kernel, .stride = stride, .act = f->act, .norm = NN_UNIT_BATCH,
                         .eps = f->eps, .skip = j > 0};
    if (in != r->width)
        return err_set(NUN_EFORMAT, "%s: in_channels: stage %d begins with %d channels, the one before ends with %d", r->place, s,
                       in, r->width);
    if (f->squeeze > 1)
        return err_set(NUN_EUNSUP, "%s: squeeze_expansion_ratio: expected at most 1, found %g", r->place, (double)f->squeeze);
    b.squeeze = (int)(in * (double)f->squeeze);
    b.squeeze = b.squeeze > 1 ? b.squeeze : 1;
    b.before = stride == 1 ? (kernel - 1) / 2 : kernel / 2 - !is_even(f, at);
    b.after = kernel / 2;
    if (b.before < 0)
        return err_set(NUN_EUNSUP, "%s: kernel_sizes: a kernel of 1 that steps", r->place);
    return conv_push(r, &b);
}

static int finish(struct conv_read *r)
{
    const struct conv_facts *f = r->f;
    int at = 0;
    TRY(check_pooling(r));
    TRY(conv_same_count(r, "in_channels", f->n_in, "out_channels", f->n_widths));
    TRY(conv_same_count(r, "in_channels", f->n_in, "kernel_sizes", f->n_kernels));
    TRY(conv_same_count(r, "in_channels", f->n_in, "strides", f->n_strides));
    TRY(conv_same_count(r, "in_channels", f->n_in, "num_block_repeats", f->n_depths));
    TRY(conv_same_count(r, "in_channels", f->n_in, "expand_ratios", f->n_ratios));
    struct nn_block block = {.kind = NN_BLOCK_conv, .part = NN_PART_STEM, .out = wide(f, 32), .kernel = 3, .stride = 2, .after = 1,
                             .act = f->act, .norm = NN_UNIT_BATCH, .eps = f->eps};
    TRY(conv_push(r, &block));
    for (int s = 0; s < f->n_in; s++)
        for (int j = 0; j < deep(f, f->depths[s]); j++, at++)
            TRY(push_block(r, s, j, at));
    block.part = NN_PART_TOP;
    block.out = f->top;
    block.kernel = block.stride = 1;
    block.after = 0;
    return conv_push(r, &block);
}

static const struct conv_row row = {ROWS(fields), ignore, ROWS(names), NULL, "classifier", "efficientnet.", leave, {0}, finish,
                                    "inverted bottlenecks with squeeze and excitation, batch norm"};

const struct family_row family_efficientnet = CONV_CLASSIFIER("EfficientNetForImageClassification", "efficientnet", row);
const struct family_row family_efficientnet_model = CONV_MODEL("EfficientNetModel", "efficientnet", row);
