/* Families as tables of facts. A stack row says how one transformer's config and weights are spelled on
 * disk; a family row says which stacks make a model and where they lie. The loader, the writer, the
 * random initialiser and the docs are all driven by these rows. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_FAMILY_H
#define MODELS_FAMILY_H
#include "base/arena.h"
#include "formats/json.h"
#include "nn/nn.h"

/* Rows leave out the columns at their end that are zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct model;
struct sight_row;

/* What a condition on a weight may look at. */
struct weight_ask {
    const struct model *m;
    const struct nn_facts *f;
    int layer;                 /* of a role of scope L */
    const char *name;          /* on disk */
    bool (*present)(void *arg, const char *name);
    void *arg;
};

/* When a weight is there; NULL (W_ALWAYS): always. The W_ functions are in weights.c. */
typedef bool weight_when_fn(const struct weight_ask *ask);
#define W_ALWAYS NULL
weight_when_fn W_OPTIONAL;       /* used when the file has it */
weight_when_fn W_UNTIED;         /* unless facts.tied */
weight_when_fn W_ATTENTION_BIAS; /* facts.attention_bias */
weight_when_fn W_OUT_BIAS;       /* facts.out_bias */
weight_when_fn W_MLP_BIAS;       /* facts.mlp_bias */
weight_when_fn W_QK_NORM;        /* facts.qk_norm */
weight_when_fn W_ONE_NORM;       /* parallel wiring without facts.two_norms */
weight_when_fn W_TWO_NORMS;      /* any other */
weight_when_fn W_HEAD;           /* facts.use_head */
weight_when_fn W_TOWER_NORM;     /* unless a decoder reads states before it, and the file leaves it out */
weight_when_fn W_CONNECTOR_BIAS; /* connector facts */
weight_when_fn W_NEWLINE;        /* facts of the family: newline */
weight_when_fn W_CONV_BIAS;      /* facts.ssm.conv_bias */
weight_when_fn W_SSM_BIAS;       /* facts.ssm.bias */
weight_when_fn W_SSM_NORM;       /* facts.ssm.norm */
weight_when_fn W_SHARED;         /* facts.moe.shared */
weight_when_fn W_OWN;            /* the layer shares no other's block */
weight_when_fn W_GATED;          /* facts.gated */
weight_when_fn W_UNGATED;
weight_when_fn W_PLACES;         /* facts.positions: there are learned ones */
weight_when_fn W_MERGES;         /* facts.merges */
weight_when_fn W_CLASSES;        /* family facts.classifies */
weight_when_fn W_POOLER;         /* family facts.pools, and the file has it */

/* Which layers a weight of scope L is in: all, or those of one mixer or channel part. */
#define IN_ALL 0
#define IN_MIXER(name) (1 + NN_MIX_##name)
#define IN_CHANNEL(name) (-1 - NN_CHANNEL_##name)

/* Where a weight lies in a tensor that holds several. The tensor's rows are, once or for each of `times` (a shape
 * letter), one after the other the sizes of the letters in `of`, and the weight is the one at `at`: of "QKK", at 1 is
 * the keys of a qkv_proj; of "DDD", times 'A' the layout of GPT-NeoX. transposed: the tensor is [columns, rows].
 * stacked: `times` is a dimension of the tensor. slabs (a shape letter): all that holds for each of so many matrices, the
 * tensor's and the weight's first dimension. */
struct weight_part { const char *of; int at; char times; bool transposed, stacked; char slabs; };

struct weight_row {
    enum nn_role role;
    const char *name;          /* after the prefix; %d is the layer, %s the one whose block it shares, %t which one of those
                                  that share it. In stages %d is the layer of its stage, %g the stage. %e is the expert: the weight is the tensors of all experts one after the
                                  other, its shape's first letter their number */
    weight_when_fn *when;
    struct weight_part part;   /* zeros: the whole tensor */
    const char *shape;         /* letters; NULL: the role's own */
    int in;
};

/* What reading a config works on. */
struct stack_read {
    const json_t *config;      /* of the stack */
    const char *place;
    struct nn_facts *f;
    struct arena *arena;       /* of the model */
};

struct stack_row {
    const char *model_type;                /* of the (nested) config */
    const struct json_field *fields;       /* into struct nn_facts */
    size_t n_fields;
    const char *const *ignore;             /* config keys that do not change the arithmetic */
    const struct weight_row *weights;
    size_t n_weights;
    struct nn_facts fixed;                 /* facts that no config key sets */
    /* What the table cannot say: derived defaults, patterns of layers. f->layer is there, its entries as `fixed`
     * and layer_defaults say. 0 or a negative code. NULL: nothing. */
    int (*finish)(const struct stack_read *r);
    const char *base;                      /* what names lack in files that were saved without the head ("transformer.") */
    const char *const *leave;              /* endings of tensors that no arithmetic reads; NULL-terminated */
    const struct sight_row *sight;         /* of a tower: how it sees, whatever the family does */
};

/* Where a family keeps a stack. */
struct stack_place {
    const char *config;  /* dotted path of its config; "" is the top; NULL: the family has no such stack */
    const char *prefix;  /* of its weight names */
    const char *model_type; /* when the config does not carry one */
    const char *body;    /* what names that begin with "model." begin with instead; NULL: that */
    bool alone;          /* what the config carries is not asked: the stack's own, not the family's name again */
    bool or_top;         /* where `config` is not there, at the top: older files */
};

/* How newer files begin the same names. */
struct respelling { const char *ours, *theirs; };

/* Ways of nunchi_vl, which has all in one config; docs/nunchi-vl.md. */
enum vl_paradigm { VL_DECODER, VL_CROSS, VL_HYBRID };
struct vl_facts {
    int paradigm, connector, tags;   /* vl_paradigm, nn_connector_id, tag_kind (tags.h) */
    int side, patch;                 /* of a tile; of its patches where there is no tower */
    int grid, step;                  /* states along a tile's side; squares of step x step become one row */
    int most;                        /* tiles of a picture, without the thumbnail */
    bool thumbnail;
    const json_t *ids;               /* what tags are in the vocabulary: tag k is tag_id[tag_at[k] .. tag_at[k + 1]) */
    int32_t *tag_id;
    int *tag_at, n_tags;             /* 0: the config does not say */
};

enum family_kind { FAMILY_DECODER, FAMILY_CONTRASTIVE, FAMILY_VISION, FAMILY_ENCODER, FAMILY_BYTES, FAMILY_CONV };

struct family_facts {
    int image_token;                 /* id of the placeholder; -1: text only */
    int video_token;                 /* of a video's; 0: no videos */
    int feature_layers[8], n_feature_layers; /* indices into hidden states; negative from the end */
    float downsample;                /* of a tile's side, by laying squares of patches side by side; 0: not */
    bool decoder_only;               /* the text stack is a decoder alone */
    int merge;                       /* side of the squares of patches that become one feature; 0: none do */
    bool turned_squares;             /* which lie in the order of columns */
    int begin_token, end_token;      /* around a tile; 0: none */
    int tile_tokens;                 /* that a tile becomes, where the config says so */
    bool uncapped;                   /* the whole model leaves out the decoder's cap of logits, as its reference does */
    bool tower_norm;                 /* features are taken behind the tower's last norm */
    bool newline;                    /* rows of features end with a learned vector */
    int max_tiles_kept;              /* grids of more tiles' features are shrunk to so many; 0: never */
    int drop_class;                  /* vision_feature_select_strategy "default" */
    int projector_act;
    bool connector_bias;
    float connector_eps;             /* its layer norm, where it has one */
    bool sigmoid;                    /* contrastive loss: SigLIP's */
    bool classifies, pools;          /* towers: scores of classes; a layer on the first token */
    double mask_ratio;               /* masked autoencoders: share of patches that are hidden */
    bool norm_pixels;                /* they are told patches that are normalised, each by itself */
    int hash_functions, hash_rows;   /* byte models: hashes of groups of bytes, rows of one's table */
    int hash_sizes[8], n_hash_sizes; /* bytes of a group */
    float patch_threshold;           /* a patch begins where the entropy before it is above, in nats */
    int max_patch;                   /* bytes; 0: any */
    int patch_mode;                  /* of the ways to cut, the one by entropy */
    struct vl_facts vl;
};

struct conv_row;

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
    struct stack_place more[4];      /* further stacks, into model.more */
    const struct sight_row *sight;   /* NULL: it takes no pictures */
    const struct sight_row *const *sights; /* those that its config chooses from, NULL-terminated; NULL: that one */
    const struct respelling *respell; /* of all names in a file, or of none; ends with NULL; NULL: there is one spelling */
    const struct conv_row *conv;     /* FAMILY_CONV: its encoder (conv_rows.h) */
    /* What the config changes of the row itself, a copy: stacks that it leaves out or adds, the way of seeing. Family facts are
     * read already, stacks are not. */
    int (*arrange)(const struct model *m, const char *place, struct family_row *own);
    int (*settle)(struct model *m, const char *place); /* after all stacks: what follows from several, and what does not fit */
};

extern const struct stack_row *const stack_rows[];   /* NULL-terminated */
extern const struct family_row *const family_rows[]; /* NULL-terminated */

/* The row of a config; NUN_EUNSUP naming what was asked for and what there is. */
int family_find(const json_t *config, const char *place, const struct family_row **out);
int stack_find(const char *model_type, const char *place, const struct stack_row **out);
/* Where in the config the stack's is; "" is the top. */
const char *stack_path(const json_t *config, const struct stack_place *where);

#define ROWS(table) table, sizeof(table) / sizeof(table)[0]

#endif
