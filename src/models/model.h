/* Models: a folder of config.json and safetensors as facts and weights, and the graphs that they mean.
 * Immutable once loaded and shared by all sequences; a trainer owns its own copy of the weights. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_MODEL_H
#define MODELS_MODEL_H
#include "formats/safetensors.h"
#include "models/family.h"
#include "models/lora.h"
#include "nn/conv.h"

/* How (a part of) a weight lies in a tensor on disk: row i of its rows is row from + i / run * stride + i % run
 * there. Most weights are one tensor and have one piece; a fused tensor is a piece of several weights, and a weight
 * of experts has a piece an expert. */
struct model_piece {
    struct g_param *p;
    const char *name;                /* of the tensor */
    struct shape shape;              /* of the tensor */
    int64_t first, rows, cols;       /* rows [first, first + rows) of p, each of cols values */
    int64_t from, run, stride, disk_rows;
    bool transposed;                 /* the tensor is [cols, disk_rows] */
    int64_t taps;                    /* over 1: a row of the tensor is [cols / taps, taps], of the weight the other way round */
    int64_t slabs;                   /* that many of these, one after the other, share the rows; 0: 1 */
};

struct model {
    struct arena arena;
    char *folder;
    json_t *config;
    struct safetensors *weights;     /* NULL for a model made by model_init */
    struct quant_folder *quant;      /* over them: weights stored in parts; NULL with them */
    struct lora_set *loras;          /* over those; NULL: none */
    const struct family_row *family;
    struct family_facts facts;
    struct nn_stack text, vision;    /* layers == 0: absent */
    struct nn_stack more[4];         /* byte models: patcher, bytes in, patches, bytes out */
    struct nn_conv conv;             /* n_blocks == 0: absent */
    struct g_param *w[NN_ROLES];     /* scope M */
    struct g_param **params;         /* all of them, in file name order of the tables */
    int n_params, cap_params;
    struct model_piece *pieces;      /* in the order of params */
    int n_pieces, cap_pieces;
    bool respelled;                  /* names on disk begin as the family's respellings */
    size_t n_values;                 /* parameters */
};

/* A placeholder behind the vocabulary: text cannot say it, no row of the embedding is its, no logit. */
static inline bool model_is_behind(const struct model *m, int32_t id)
{
    return id == m->facts.image_token && id == nn_ids(&m->text.facts);
}

/* Open a HF folder or a GGUF file: config checked key by key, every tensor checked by name and shape, nothing copied
 * but one-dimensional weights (to float32). A missing, misshapen or extra tensor is an error. */
int model_load(const char *folder, struct model **out);
/* The same for facts, names and shapes: rows of some weights may lie in another order than is meant. */
int model_load_facts(const char *folder, struct model **out);
/* The same under LoRA adapters; a tensor of an adapter that changes nothing of the model is an error. */
int model_load_with(const char *folder, const struct model_lora *loras, size_t n, struct model **out);
/* All that a model may lie in: a folder or a GGUF file, the GGUF file of its tower (NULL: none), adapters. */
struct model_files { const char *folder, *mmproj; const struct model_lora *loras; size_t n_loras; bool facts_only; };
int model_load_files(const struct model_files *files, struct model **out);
/* Random weights for a config (borrowed reference is taken), each tensor from (seed, name): normal with
 * the config's initializer_range, norms 1, biases 0. float32, in the model's arena. */
int model_init(json_t *config, uint64_t seed, struct model **out);
/* Write config.json and model.safetensors with every weight as `dt`. */
int model_save(const struct model *m, const char *folder, enum dtype dt);
void model_free(struct model *m); /* NULL is fine */

/* The tensor `name` as it lies on disk, put together from the weights' values (or their gradients) as float32; out
 * has room for it, or is NULL when only the shape is wanted. NUN_EARG when no weight lies there. */
int model_gather(const struct model *m, const char *name, bool gradients, struct shape *shape, float *out);

/* Weights that learn become float32 masters with gradients, the others stay as they lie in their file. learns NULL: all but
 * what is measured. */
int model_make_trainable(struct model *m, bool (*learns)(const struct g_param *p, void *arg), void *arg);
/* Pack linear weights for `format`; with `backward`, for dy W too. Repeat after the values changed. */
int model_pack(struct model *m, enum gemm_format format, bool backward, struct pool *pool);
/* The same of those that are trainable alone: the others have been packed before. */
int model_pack_learnt(struct model *m, enum gemm_format format, struct pool *pool);
/* What that takes, without `backward`. */
size_t model_panel_bytes(const struct model *m, enum gemm_format format);

/* Keep only the first `layers` text blocks, in facts, weights and config. */
int model_truncate(struct model *m, int layers);
/* Keep only the `keep` heaviest neurons of each MLP of the tower (float32 masters), in facts, weights and config. */
int model_prune_tower(struct model *m, int keep);

/* ---- graphs -------------------------------------------------------------------------------- */

struct preprocess_plan;
/* Rows of features that a picture gives; plan NULL: one of a tower of one fixed square. */
int model_features(const struct model *m, const struct preprocess_plan *plan);
/* Width of such a row: that of a token's state, and as much again for each further layer that features are added behind. */
int model_feature_width(const struct model *m);
int model_image_size(const struct model *m);    /* side of the tower's square, in pixels */

/* pixels F32 [n * tiles, 3, H, W] of n pictures of one plan (NULL as above) -> features [n * features, feature width] */
struct g_tensor *model_images(struct graph *g, const struct model *m, struct g_tensor *pixels,
                              const struct preprocess_plan *plan, int n);
/* The same for families whose features depend on the prompt: words I32 [n * tiles * words]. */
struct g_tensor *model_images_told(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                   const struct preprocess_plan *plan, int n, struct g_tensor *words);

/* ids I32 [rows]; images: features [n, feature width] (NULL: none) of rows image_rows I32 [n] (-1 skips): their first
 * part replaces the embeddings, a further one is added to the states behind layer 0, 1 ...; arXiv:2406.04334;
 * pick I32 [R]: the rows whose logits are wanted (NULL: all). layers: how many blocks to run (0: all).
 * Returns logits [R, vocab]. */
struct model_text {
    struct nn_seq seq;
    struct g_tensor *ids, *images, *image_rows, *pick;
    int layers;
};
struct g_tensor *model_logits(struct graph *g, const struct model *m, const struct model_text *in);

/* Vision stack alone: last hidden state [B*T, hidden] after post norm where the original has it there,
 * and the pooled state [B, hidden or projection]. */
struct model_pooled { struct g_tensor *hidden, *pooled, *embeds, *logits; };
int model_vision(struct graph *g, const struct model *m, struct g_tensor *pixels, struct model_pooled *out);
/* The same for every kind of tower, with logits [B, classes] where it has a classifier. */
int model_view(struct graph *g, const struct model *m, struct nn_pictures *in, struct model_pooled *out);
/* The name of a class: config.json's id2label, or "LABEL_<i>". Borrowed from the model, or put into `made`. */
const char *model_label(const struct model *m, int i, char made[32]);

/* Masked autoencoders (arXiv:2111.06377): `kept` of a picture's T patches are seen, and the others told from them. */
struct model_masks {
    int kept;
    struct g_tensor *keep;     /* I32 [B * kept]: rows of patches [B * T] that are seen */
    struct g_tensor *back;     /* I32 [B * (1 + T)]: for the first token and every patch its row among the seen ones
                                  [B * (1 + kept)], or the row behind them: hidden */
    struct g_tensor *hidden;   /* F32 [B * T]: 1 where a patch is hidden */
};
/* told [B * T, patch * patch * channels], pixel by pixel; loss [1]: mean square error over hidden patches. states: after
 * the tower's last norm, [B * (1 + kept), hidden]. */
struct model_masked { struct g_tensor *states, *told, *loss; };
int model_masked(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct model_masks *masks,
                 struct model_masked *out);
/* Patches of a picture, and how many of them are seen. */
int model_patches(const struct model *m);
int model_kept(const struct model *m);
/* Which patches: noise [B, T], the least are kept. keep, back and hidden as in model_masks; restore [B * T] (may be NULL):
 * each patch's place when they are ordered by noise. */
int model_mask(const struct model *m, const float *noise, int batch, int32_t *keep, int32_t *back, float *hidden,
               int32_t *restore);
/* Convolutional encoder: pixels F32 [B,C,H,W] of any size -> hidden [B,h,w,width], the last maps; pooled [B,width]; logits
 * [B, classes] where there is a head. */
int model_conv(struct graph *g, const struct model *m, struct g_tensor *pixels, struct model_pooled *out);
/* Contrastive text encoder: ids [B*T], rows of the pooled token I32 [B]. */
int model_text_encoder(struct graph *g, const struct model *m, struct g_tensor *ids, const struct nn_seq *seq,
                       struct g_tensor *pool_rows, struct model_pooled *out);
/* The row of each text that stands for it: the first end token (CLIP; with end token 2, as old configs
 * have it, the greatest id), or the last row (SigLIP). */
int model_pool_rows(const struct model *m, const int32_t *ids, int rows, int length, int32_t *out);
/* Text encoders and the states of decoders. ids I32 [B*T] -> hidden [B*T, H] after the last norm; of encoders, where
 * the weights are there, pooled [B, H] of the first tokens and logits [B*T, vocab] of the masked language model. */
struct model_states { struct g_tensor *hidden, *pooled, *logits; };
int model_encode(struct graph *g, const struct model *m, struct g_tensor *ids, const struct nn_seq *seq,
                 struct model_states *out);
/* The positions that ids of one sequence have, pos I32 [n]. */
void model_positions(const struct model *m, const int32_t *ids, int n, int32_t *pos);
int model_most_tokens(const struct model *m); /* that its positions can tell apart; 0: no limit */
/* A byte model on one sequence, computed whole: entropy [n] of the next byte by the patcher, whose logits are
 * patcher [n, V]; lengths [*patches <= n + 1] of the patches; logits [n, V]. In the arena. */
struct model_bytes { float *entropy, *patcher, *logits; int *lengths, patches; };
int model_bytes_run(const struct model *m, enum gemm_format compute, struct pool *pool, int threads, const int32_t *ids, int n,
                    struct arena *arena, struct model_bytes *out);
/* logits_per_image [Bi, Bt] from embeds (normalised here). */
struct g_tensor *model_contrast(struct graph *g, const struct model *m, struct g_tensor *image, struct g_tensor *text);
/* Of logits [B, B] whose pairs are on the diagonal. CLIP: the mean of the cross entropies of rows and of columns; SigLIP: a
 * sigmoid a pair. */
struct g_tensor *model_contrast_loss(struct graph *g, const struct model *m, struct g_tensor *logits);

#endif
