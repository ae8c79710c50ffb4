/* Families as tables of facts. A stack row says how one transformer's config and weights are spelled on
 * disk; a family row says which stacks make a model and where they lie. The loader, the writer, the
 * random initialiser and the docs are all driven by these rows. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_FAMILY_H
#define MODELS_FAMILY_H
#include "formats/json.h"
#include "nn/nn.h"

/* When a weight is there. */
enum weight_when {
    W_ALWAYS,
    W_OPTIONAL,       /* used when the file has it */
    W_UNTIED,         /* unless facts.tied */
    W_ATTENTION_BIAS, /* facts.attention_bias */
    W_MLP_BIAS,       /* facts.mlp_bias */
    W_HEAD,           /* facts.use_head */
    W_CONNECTOR_BIAS, /* connector facts */
};

struct weight_row {
    enum nn_role role;
    const char *name;     /* after the prefix; one %d is the layer */
    enum weight_when when;
};

struct stack_row {
    const char *model_type;                /* of the (nested) config */
    const struct json_field *fields;       /* into struct nn_facts */
    size_t n_fields;
    const char *const *ignore;             /* config keys that do not change the arithmetic */
    const struct weight_row *weights;
    size_t n_weights;
    struct nn_facts fixed;                 /* facts that no config key sets */
    /* What the table cannot say: rope_scaling, derived defaults. 0 or a negative code. */
    int (*finish)(const json_t *config, const char *place, struct nn_facts *f);
};

/* Where a family keeps a stack. */
struct stack_place {
    const char *config;  /* dotted path of its config; "" is the top; NULL: the family has no such stack */
    const char *prefix;  /* of its weight names */
    const char *model_type; /* when the config does not carry one */
};

enum family_kind { FAMILY_DECODER, FAMILY_CONTRASTIVE, FAMILY_VISION };

struct family_facts {
    int image_token;                 /* id of the placeholder; -1: text only */
    int feature_layers[8], n_feature_layers; /* indices into hidden states; negative from the end */
    int drop_class;                  /* vision_feature_select_strategy "default" */
    int projector_act;
    bool connector_bias;
    float connector_eps;             /* its layer norm, where it has one */
    bool sigmoid;                    /* contrastive loss: SigLIP's */
};

struct family_row {
    const char *architecture;        /* config.json architectures[0] */
    const char *model_type;
    enum family_kind kind;
    struct stack_place text, vision;
    const struct json_field *fields; /* into struct family_facts */
    size_t n_fields;
    const char *const *ignore;
    const struct weight_row *weights; /* scope M */
    size_t n_weights;
    struct family_facts fixed;
};

extern const struct stack_row *const stack_rows[];   /* NULL-terminated */
extern const struct family_row *const family_rows[]; /* NULL-terminated */

/* The row of a config; NUN_EUNSUP naming what was asked for and what there is. */
int family_find(const json_t *config, const char *place, const struct family_row **out);
int stack_find(const char *model_type, const char *place, const struct stack_row **out);

#define ROWS(table) table, sizeof(table) / sizeof(table)[0]

#endif
