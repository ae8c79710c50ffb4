/* Convolutional encoders as tables: which config keys there are, what the weights are called, and the blocks that the
 * facts mean. What stack_row is for transformers; a family row names one (family_row.conv). conv_load.c reads and
 * binds by these rows; saving and random weights need nothing more. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_CONV_ROWS_H
#define MODELS_CONV_ROWS_H
#include "models/families.h"
#include "nn/conv.h"

enum { CONV_STAGES = 32, CONV_UNEVEN = 256 };

/* What configs say; a family reads some. */
struct conv_facts {
    int channels, act;
    int kind;                                   /* enum nn_block_kind of the body */
    float eps;                                  /* of the norm that has a key */
    int depths[CONV_STAGES], n_depths;          /* blocks of each stage */
    int widths[CONV_STAGES], n_widths;          /* their channels */
    int stem, patch;                            /* channels of the stem; its step */
    bool early, step_first;                     /* see nn_block; the first stage steps too */
    float gain;                                 /* first value of the factors a channel; 0: there are none */
    int in[CONV_STAGES], n_in, kernels[CONV_STAGES], n_kernels, strides[CONV_STAGES], n_strides; /* of stages */
    int ratios[CONV_STAGES], n_ratios;          /* of channels between to channels before */
    int even[CONV_UNEVEN], n_even;              /* blocks whose padding is the same on both sides though they step */
    float width_factor, depth_factor, squeeze;  /* squeeze: its channels, as a part of the block's */
    int divisor, top;                           /* channels are multiples; channels of the last convolution */
};

/* Names of a unit's weights: modules, %s the stage, %d the block. Units that a block does not have are left. */
struct conv_name {
    int part, unit;                             /* enum nn_block_part, enum nn_unit_place */
    const char *conv, *norm, *gain;             /* module, module, tensor; NULL where the unit has none */
};

/* What making blocks works on. */
struct conv_read {
    const json_t *config;
    const char *place;
    const struct conv_facts *f;
    struct arena *arena;                        /* of the model */
    struct nn_conv *c;
    int cap, width;                             /* room for blocks; channels after the last */
};

struct conv_row {
    const struct json_field *fields;            /* into struct conv_facts */
    size_t n_fields;
    const char *const *ignore;                  /* config keys that do not change the arithmetic */
    const struct conv_name *names;
    size_t n_names;
    const char *pool_norm, *head;               /* modules; pool_norm may be NULL */
    const char *base;                           /* begins all names but the head's; not there in files without the head */
    const char *const *leave;                   /* endings of tensors that no arithmetic reads; NULL-terminated */
    struct conv_facts fixed;                    /* what no key sets */
    int (*finish)(struct conv_read *r);         /* the blocks, by conv_push */
    const char *doc;                            /* of its blocks */
};

/* One block more behind those that there are: b.in is the width so far. */
int conv_push(struct conv_read *r, const struct nn_block *b);
/* Lists of one count, which is at least 1. */
int conv_same_count(const struct conv_read *r, const char *a, int n, const char *b, int m);

/* ---- for loading --------------------------------------------------------------------------- */

struct weight_source;
int conv_read_config(struct model *m, const char *place);
int conv_bind_weights(struct model *m, const struct weight_source *source);

#define CONV_INT(key, member, def, max) {key, JSON_KIND_INT, offsetof(struct conv_facts, member), false, 1, max, def, NULL, NULL, 0, 0}
#define CONV_FLOAT(key, member, def) {key, JSON_KIND_FLOAT, offsetof(struct conv_facts, member), false, 0, 1e12, def, NULL, NULL, 0, 0}
#define CONV_BOOL(key, member, def) {key, JSON_KIND_BOOL, offsetof(struct conv_facts, member), false, 0, 0, def, NULL, NULL, 0, 0}
#define CONV_NAME(key, member, def, names) {key, JSON_KIND_ENUM, offsetof(struct conv_facts, member), false, 0, 0, def, NULL, names, 0, 0}
#define CONV_LIST(key, member, lo, max) {key, JSON_KIND_INTS, offsetof(struct conv_facts, member), false, lo, max, 0, NULL, NULL, \
                                         offsetof(struct conv_facts, n_##member), sizeof(((struct conv_facts *)0)->member) / sizeof(int)}

/* The families that a row makes: scores of classes, or maps alone. */
#define CONV_CLASSIFIER(architecture_, model_type_, row) \
    {.architecture = architecture_, .model_type = model_type_, .kind = FAMILY_CONV, .fixed = {.image_token = -1, .classifies = true}, .conv = &row}
#define CONV_MODEL(architecture_, model_type_, row) \
    {.architecture = architecture_, .model_type = model_type_, .kind = FAMILY_CONV, .fixed = {.image_token = -1}, .conv = &row}

#endif
