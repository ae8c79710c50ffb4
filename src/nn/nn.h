/* Building blocks as graph builders. A stack is a run of transformer blocks with what lies around it:
 * a decoder, a text encoder or a vision tower, told apart by facts and by which weights are there,
 * never by name. Knows no files and no families; models/ fills the facts and the weights.
 *
 * A block is a mixer (tokens see each other) and a channel part (each token alone), each a row of kinds.def, wired
 * by facts: the norms that are there say where it is normalised. To add a mixer: a row in kinds.def, roles in
 * roles.def, shape letters in dims.def, a struct of facts in nn_facts below, nn_mix_NAME and nn_keep_NAME in a file
 * of its own, and families that set layer[i].mixer in their finish function. */
/* SPDX-License-Identifier: MIT */
#ifndef NN_NN_H
#define NN_NN_H
#include "graph/graph.h"

enum nn_role {
#define ROLE(name, scope, shape, doc) NN_##name,
#include "nn/roles.def"
#undef ROLE
    NN_ROLES
};

struct nn_role_info { const char *name; char scope; const char *shape, *doc; };
extern const struct nn_role_info nn_roles[NN_ROLES];

enum { NN_NONE = -1 };
#define MIXER(name, doc) NN_MIX_##name,
#define CHANNEL(name, doc)
#define ROPE(name, by_length, doc)
enum nn_mixer_kind {
#include "nn/kinds.def"
    NN_MIXERS
};
#undef MIXER
#undef CHANNEL
#define MIXER(name, doc)
#define CHANNEL(name, doc) NN_CHANNEL_##name,
enum nn_channel_kind {
#include "nn/kinds.def"
    NN_CHANNELS
};
#undef CHANNEL
#undef ROPE
#define CHANNEL(name, doc)
#define ROPE(name, by_length, doc) NN_ROPE_##name,
enum nn_rope_kind {
#include "nn/kinds.def"
    NN_ROPE_KINDS
};
#undef MIXER
#undef CHANNEL
#undef ROPE

#define TOWER(name, doc) NN_TOWER_##name,
enum nn_tower_kind {
#include "nn/towers.def"
    NN_TOWERS
};
#undef TOWER

/* ---- facts --------------------------------------------------------------------------------- */

enum nn_norm { NN_RMS, NN_LAYER };
enum nn_summary {
    NN_SUMMARY_OWN,        /* as CLIP and SigLIP: the normed first token, or attention pooling */
    NN_SUMMARY_FIRST,      /* the first token, normed with all */
    NN_SUMMARY_MEAN,       /* the mean of all tokens */
    NN_SUMMARY_FIRST_MEAN, /* the first token and the mean of the others, side by side */
};
enum nn_wiring {
    NN_SEQUENTIAL, /* x += mixer(norm(x)); x += channel(norm(x)) */
    NN_PARALLEL,   /* x += mixer(norm1(x)) + channel(norm2(x)); one norm serves both when norm2 is absent */
    NN_POST_ADD,   /* x = norm1(x + mixer(x)); x = norm2(x + channel(x)): BERT */
};

struct nn_rope {
    int kind;                          /* enum nn_rope_kind */
    int dims;                          /* rotated dimensions of a head; 0: all */
    float theta, mscale;               /* mscale: factor of sines and cosines; 0: 1 */
    bool interleaved;
    float factor;                      /* linear, dynamic, yarn, llama3 */
    float low_freq_factor, high_freq_factor; /* llama3 */
    float beta_fast, beta_slow;        /* yarn */
    bool truncate;                     /* yarn: ends of the ramp are whole pairs */
    int original_positions;
    const float *short_factor, *long_factor; /* longrope: [dims / 2] */
    int sections[3];                   /* pairs that turn by time, row and column; zeros: all turn by one position */
    bool odd_columns;                  /* towers: rows turn through the even frequencies of a head, columns the odd ones */
    bool woven;                        /* the three take turns, as far as each reaches, instead of lying one behind the other */
};

/* What differs from layer to layer. */
struct nn_layer {
    int8_t mixer, channel;             /* rows of kinds.def, or NN_NONE */
    int8_t rope;                       /* index into facts.rope, or NN_NONE */
    bool shifts;                       /* windows on a grid are moved by half of one */
    bool windowed;                     /* of a tower of native sizes: a patch sees its window alone */
    bool deep;                         /* what comes out of it is features too, added behind a layer of the decoder */
    int window;                        /* keys that a query sees, itself counted; 0: all */
    float scale;                       /* of attention scores; 0: 1 / sqrt(head_dim) */
    int share, turn;                   /* share: 1 + the layer whose weights serve where this one has none of its own;
                                          turn: which layer of those that share it is */
};

enum { NN_STAGES = 8 };                /* most stages of a tower */
enum { NN_ROPES = 2 };                 /* [0] full layers, [1] sliding ones where they differ */

/* A mixture of experts; experts 0: none. */
struct nn_moe {
    int experts, top_k, width;         /* width: of one expert's MLP */
    int shared;                        /* width of the shared MLP; 0: none */
    int groups, top_groups;            /* only the experts of the best groups may be chosen; groups 0 or 1: all */
    bool pairs;                        /* a group's score: the sum of its two best, else the best */
    bool sigmoid;                      /* scores, else softmax */
    bool renormalise;                  /* weights are divided by their sum */
    float scale;                       /* of the weights */
    float jitter;                      /* SparseMixer: experts that are nearly as good share a choice's weight; 0: not */
    float limit;                       /* gates are cut above it, what they gate to [-limit, limit] and 1 is added; 0: not */
    float balance;                     /* factor of the loss that spreads the load; 0: none */
};

/* Latent attention; kv_rank 0: none. */
struct nn_latent {
    int q_rank, kv_rank;               /* q_rank 0: queries come straight from x */
    int nope, rope, value;             /* widths of a head: its part that does not turn, that does, its values */
};

/* Recurrences; inner 0: none. Read by the mixers mamba, mamba2, beside, shared, delta, short_conv, rg_lru and rwkv. */
struct nn_ssm {
    int inner, states, taps, rank;     /* channels; states of each; taps of the convolution; rank of step sizes or adapters */
    int heads, groups;                 /* mamba2: heads, groups that share B and C; rg_lru: matrices of a gate */
    bool conv_bias, bias;              /* of the projections in and out */
    bool norm, norm_first;             /* the result is normalised; before it is gated */
    bool norm_parts;                   /* mamba: dt, B and C are normalised, with weights where they are there */
    float norm_eps;                    /* of these; 0: the stack's */
    float dt_min, dt_max;
    float in, out, part[5];            /* factors (0: 1) of the input, the result, and of gate, x, B, C, dt */
    int halve;                         /* rwkv: hidden state halved after so many layers; 0: never */
};

/* A tower that sees the tiles of a picture together; most 0: none. */
struct nn_tiles {
    int most;                          /* tiles of a picture, those that pad it counted */
    int ratios;                        /* grids of tiles that have a learned embedding; their numbers begin with 1 */
    int local, global;                 /* blocks before and after the tiles' second embedding, these with gates */
    int pick[8], picks;                /* the states after these blocks are joined to the last ones */
};

struct nn_facts {
    int hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, positions;
    struct nn_layer *layer;            /* [layers] */
    int other_mixer;                   /* what a layer that does not attend is, where layer_types may say so; 0: none */
    int wiring;                        /* enum nn_wiring */
    float norm_eps, norm_offset;       /* norm weights are w + offset */
    int norm, act;                     /* enum nn_norm, enum act_kind */
    bool gated, causal, tied;
    bool attention_bias, mlp_bias;
    bool out_bias;                     /* of attention's last projection, where a config says it apart */
    bool bare_norms;                   /* norms of blocks and the last one have no weights */
    bool two_norms;                    /* parallel wiring: where a config key says whether each part has its own */
    bool qk_norm;                      /* where a config key says whether there are norms of q and k */
    bool qk_norm_layer;                /* norms of q and k are layer norms */
    int qk_norm_first;                 /* norms over all heads measure so many columns alone; 0: all */
    bool qk_norm_late;                 /* after the rotation */
    struct nn_rope rope[NN_ROPES];
    bool slides_apart;                 /* sliding layers turn by rope[1] */
    bool rope_slides_only;             /* full layers do not turn */
    float rotary_factor;               /* share of a head that turns; 0: all */
    int window;                        /* of layers that slide */
    float softcap, attention_scale;
    float clip_qkv;                    /* q, k and v are cut to [-c, c]; 0: not */
    float alibi;                       /* scores fall with distance, by head: the exponent of the steepest slope; 0: not */
    bool alibi_keys;                   /* slope times position in bfloat16, before the scale: Falcon; heads == kv_heads */
    float embed_scale, residual_scale, logit_scale; /* 0: 1 */
    float logit_softcap;
    struct nn_moe moe;
    struct nn_latent latent;
    struct nn_ssm ssm;
    struct nn_tiles tiles;
    int mute;                          /* ids behind the vocabulary that are embedded and never said: placeholders of pictures */
    bool blind_sees;                   /* tokens before the first picture look at all rows of all pictures, padding too */
    float attention_in, attention_out, mlp_gate, mlp_out; /* factors (0: 1) inside the parts */
    int image_size, patch, channels, projection;
    int cross_k, cross_width;          /* byte models: states a patch has in local stacks, width of the global one */
    bool exact;                        /* computed in float32 on the fast path too, as the original keeps it */
    int cross_every;                   /* every so many layers look at another side's states, from the first on; 0: none */
    bool cross_all;                    /* every layer looks at the other side, not one alone */
    int types;                         /* kinds of tokens */
    int first_position;                /* RoBERTa: positions count from here over tokens that are not first_position - 1,
                                          the padding; 0: plainly from 0 */
    int head_act;                      /* of the transform before a masked head; 0: act */
    bool use_head;                     /* attention pooling */
    int tower;                         /* enum nn_tower_kind: how pictures become states */
    bool waves;                        /* positions are sines and cosines of rows and columns, and never learn */
    bool stretch;                      /* learned positions are resampled for other grids than their own */
    int labels, summary;               /* classes; enum nn_summary: which states of a picture they are told from */
    float mlp_ratio;                   /* intermediate over hidden, where a config says it so; 0: not */
    int window_side;                   /* windows on a grid; of native sizes: in groups of patches */
    int merge;                         /* native sizes: merge x merge patches are a group, which becomes one feature */
    int frames;                        /* of a video, that a patch reaches over; a picture counts as so many of the same */
    int deep;                          /* layers that are */
    float places_per_second;           /* how far a second of video turns its tokens; 0: a step turns them by one */
    bool merges;                       /* of a stage: four neighbours become one behind it */
    int stages;                        /* runs of blocks, each of a width of its own; 0: all of one width */
    int stage_layers[NN_STAGES], stage_heads[NN_STAGES], n_stage_heads; /* where a config lists them */
    struct nn_facts *stage;            /* [stages]: facts of each, layer being those of its own */
    float dropout;                     /* after attention and MLP, in training */
    float init_range;                  /* standard deviation of random weights */
    bool closed_gates;                 /* of gates, 0: layers that look at pictures change nothing at first */
};

struct nn_stack {
    struct nn_facts facts;
    struct g_param *w[NN_ROLES];       /* scope S */
    struct g_param *(*layer)[NN_ROLES]; /* [layers], scope L */
    struct nn_stack *stage;            /* [facts.stages]: their blocks are parts of layer, scope G in their w */
};

/* ---- sequences ----------------------------------------------------------------------------- */

/* What the routers of a run said, layer by layer. */
struct nn_routes { struct g_tensor **scores, **ids; int n, cap; };

/* Pictures beside the sequence, for layers that look at them. */
struct nn_sight {
    struct g_tensor *rows;             /* F32 [batch * n, hidden]: features. NULL when serving: keys and values are kept */
    int n;
    struct g_tensor *spans;            /* I32 [batch, tokens, 2]: those of its sequence's rows that a token sees; with rows */
    struct g_tensor *lit;              /* I32 [batch * tokens]: each token's own number; -1: behind no picture, and the MLP of
                                          such layers adds nothing */
};

/* Rows [batch * tokens, hidden] as `batch` independent sequences. Serving (kv is there) has one row a new token
 * instead, of whichever sequence. */
struct nn_seq {
    int batch, tokens;
    int cols;                          /* of a grid of tokens; 0: they are none */
    struct g_tensor *pos;              /* I32 [batch * tokens], for rope and learned positions */
    struct g_tensor *types;            /* I32 [batch * tokens]: kinds of tokens; NULL: all of kind 0 */
    struct g_tensor *spans;            /* I32 [batch, tokens, 2S]: key ranges; or */
    struct g_tensor *kv;               /* the state of attention_cached */
    struct g_tensor *freq;             /* F32 [batch * tokens, dims / 2] where nn_rope_by_row: frequencies at the sequence's
                                          length, or with sections whole angles, and pos is 1. NULL: every sequence is
                                          `tokens` long, every token at its own position */
    bool recompute;                    /* wrap each block in a recompute segment */
    const struct nn_sight *sight;      /* NULL: no pictures beside it, and layers that look at them are skipped */
    struct nn_routes *routes;          /* filled by mixtures of experts; NULL: not wanted */
};

/* What a mixer keeps of a sequence: keys and values of `width` a position (in pages; without values the keys are the
 * values), and floats whatever the length. */
struct nn_keep { int keys, values, width; size_t fixed; bool beside; /* of pictures' rows instead */ };

/* ---- rows ---------------------------------------------------------------------------------- */

/* What the blocks of one run share. */
struct nn_env {
    const struct nn_stack *s;
    const struct nn_facts *f;
    const struct nn_seq *seq;
    struct g_tensor *input;            /* x before the first block of the run */
    struct g_tensor *freq[NN_ROPES];   /* F32 [dims / 2], or [rows, dims / 2] */
    struct g_tensor *window_spans;     /* seq->spans cut to `window` keys; made once a window */
    int window;
};

/* x[rows, hidden] through one part of a layer whose weights are w[role]; plus residual, which may be NULL. */
typedef struct g_tensor *nn_build_fn(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                     struct g_tensor *residual, int layer);
typedef struct nn_keep nn_keep_fn(const struct nn_facts *f, int layer);

struct nn_kind { const char *name; nn_build_fn *build; nn_keep_fn *keep; const char *doc; };
extern const struct nn_kind nn_mixers[NN_MIXERS], nn_channels[NN_CHANNELS];

#define MIXER(name, doc) nn_build_fn nn_mix_##name; nn_keep_fn nn_keep_##name;
#define CHANNEL(name, doc) nn_build_fn nn_channel_##name;
#define ROPE(name, by_length, doc)
#include "nn/kinds.def"
#undef MIXER
#undef CHANNEL
#undef ROPE

/* What layer keeps of a sequence; zeros without a mixer. */
struct nn_keep nn_keep(const struct nn_facts *f, int layer);
/* What it keeps is of pictures, beside the sequence. */
static inline bool nn_looks(const struct nn_facts *f, int layer) { return nn_keep(f, layer).beside; }
/* The fixed floats of layers [0, layers): where the next layer's lie in a sequence's recurrent state. */
size_t nn_state_floats(const struct nn_facts *f, int layers);

/* For rows. q [rows, heads, D], k and v [rows, kv_heads, D] -> [rows, heads * D], over the sequence's spans or pages,
 * in the layer's window, with its sinks. */
struct g_tensor *nn_attend(struct graph *g, struct nn_env *e, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                           int layer);
/* x [rows, n, D] turned by the layer's rope; x itself without one. */
struct g_tensor *nn_turn(struct graph *g, const struct nn_env *e, struct g_tensor *x, int layer);
/* [rows, n * head_dim] -> [rows, n, head_dim], each head normalised where w is there. */
struct g_tensor *nn_heads(struct graph *g, const struct nn_facts *f, struct g_tensor *x, int n, struct g_param *w, struct g_param *b);
/* x * tanh(w[1]); x itself where w is NULL. */
struct g_tensor *nn_gate(struct graph *g, struct g_tensor *x, struct g_param *w);
/* x * s; s 0 means 1. */
struct g_tensor *nn_scale(struct graph *g, struct g_tensor *x, float s);
/* x [rows, n * D] in parts of D, each divided by its root mean square; times w[n * D], which may be NULL. */
struct g_tensor *nn_part_norm(struct graph *g, struct g_tensor *x, int n, struct g_param *w, float eps);
/* Where recurrent operations find sequences, and the layer's float `offset` in a carried state (-1: none is). */
struct g_tensor *nn_where(const struct nn_env *e);
int64_t nn_place(const struct nn_env *e, int layer, size_t offset);
/* x W^T + b (may be NULL) + residual (may be NULL), with the stack's dropout before the residual. */
struct g_tensor *nn_join(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x,
                         struct g_tensor *residual);

/* ---- rope ---------------------------------------------------------------------------------- */

/* inv_freq[dims / 2] for a sequence of `length`. */
void nn_rope_frequencies(const struct nn_facts *f, const struct nn_rope *r, int64_t length, float *inv_freq);
int nn_rope_dims(const struct nn_facts *f, const struct nn_rope *r);
bool nn_rope_by_length(const struct nn_facts *f);
bool nn_rope_by_row(const struct nn_facts *f); /* nn_seq.freq is wanted */
/* Angles [dims / 2] of a token at (time, row, column): arXiv:2409.12191. */
void nn_rope_angles(const struct nn_facts *f, const struct nn_rope *r, const float *inv_freq, const int32_t at[3], float *angles);
/* Sequences of equal regimes have equal frequencies: 0 where they do not depend on the length. When a sequence
 * grows into another regime, all that was computed of it is of no use. */
int64_t nn_rope_regime(const struct nn_facts *f, int64_t length);
/* Positions that the stack is made for: those of the config, more where dynamic frequencies reach further. */
int nn_reach(const struct nn_facts *f);
extern const struct nn_rope_info { const char *name; bool by_length; const char *doc; } nn_ropes[NN_ROPE_KINDS];

/* ---- building ------------------------------------------------------------------------------ */

/* Ids that can be embedded: those with a logit, and some behind them. */
static inline int nn_ids(const struct nn_facts *f) { return f->vocab + f->mute; }
/* The size that a shape letter stands for; 0 for one that the facts do not have. */
int nn_dim(const struct nn_facts *f, char letter);

/* x[rows, hidden] through blocks [from, to). */
struct g_tensor *nn_blocks(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct nn_seq *seq,
                           int from, int to);
/* Keep the keys and values of picture features rows[n, hidden] for every layer that looks at them, in the pages of kv
 * (graph/kv.h); marks what has to run as outputs. */
void nn_keep_pictures(struct graph *g, const struct nn_stack *s, struct g_tensor *rows, struct g_tensor *kv);
/* Room for what the routers say, when the facts ask for the loss that spreads the load; else *out is NULL. */
int nn_routes_for(struct graph *g, const struct nn_facts *f, struct nn_routes **out);
/* loss, plus that of the routers (r may be NULL): balance * experts * sum over experts of the share of choices times the mean
 * score, over the rows of all layers together; arXiv:2101.03961. */
struct g_tensor *nn_balance(struct graph *g, const struct nn_facts *f, struct g_tensor *loss, struct nn_routes *r);
/* pixels [B,C,H,W] -> embedded patches [B*T, hidden] before the first block; *tokens = T. */
struct g_tensor *nn_patches(struct graph *g, const struct nn_stack *s, struct g_tensor *pixels, int *tokens);
/* Its two steps. Patches with their positions [B*gh*gw, hidden] of the grid that the pixels make (what is left over on the
 * right and below is not seen); and the class token with its own in front of n rows of each picture, then the norm. */
struct g_tensor *nn_patch_rows(struct graph *g, const struct nn_stack *s, struct g_tensor *pixels, int *gh, int *gw);
struct g_tensor *nn_first_rows(struct graph *g, const struct nn_stack *s, struct g_tensor *x, int batch, int n);
/* A sequence in which every token sees every token. */
struct nn_seq nn_seq_full(struct graph *g, int batch, int tokens);

/* part: "patches", "embeddings", "block", "merge", "norm"; stage and layer -1 where there is none */
typedef void nn_see_fn(void *arg, const char *part, int stage, int layer, struct g_tensor *x);
/* Pictures on their way through a tower: pixels, or patches of as many grids. */
struct nn_pictures {
    int batch, tokens;                 /* tokens of a picture; padding included */
    struct g_tensor *pixels;           /* F32 [B, C, H, W]; or NULL, and */
    struct g_tensor *patches;          /* F32 [B * tokens, P * P * C], rows of a picture behind its grid are padding */
    const int (*grids)[2];             /* [B]: rows and columns of patches */
    int tiles, ratio;                  /* towers of tiles: of each picture, pixels F32 [B * tiles, C, H, W]; number of their grid */
    nn_see_fn *see;                    /* is shown inner values; NULL: nobody looks */
    void *see_arg;
};
void nn_show(const struct nn_pictures *in, const char *part, int stage, int layer, struct g_tensor *x);
/* All blocks of s, each shown. stage: -1 where there are none. */
struct g_tensor *nn_shown_blocks(struct graph *g, const struct nn_stack *s, const struct nn_pictures *in, struct g_tensor *x,
                                 const struct nn_seq *seq, int stage);
/* A row of towers.def: pictures to states [B * in->tokens, width] after the last norm; sets in->tokens. */
typedef struct g_tensor *nn_tower_fn(struct graph *g, const struct nn_stack *s, struct nn_pictures *in);
struct nn_tower { const char *name; nn_tower_fn *build; const char *doc; };
extern const struct nn_tower nn_towers[NN_TOWERS];
#define TOWER(name, doc) nn_tower_fn nn_tower_##name;
#include "nn/towers.def"
#undef TOWER
/* Every query of a picture sees the patches of its grid, of `tokens` rows; queries a picture. I32 [B, queries, 2]. */
struct g_tensor *nn_picture_spans(struct graph *g, const struct nn_pictures *in, int queries);
/* ids [rows] -> embedded tokens (with learned positions where the stack has them). */
struct g_tensor *nn_embed(struct graph *g, const struct nn_stack *s, struct g_tensor *ids); /* the first half: scaled rows */
/* The second half: x with what learned positions and kinds of tokens add, normalised where the stack does. */
struct g_tensor *nn_stand(struct graph *g, const struct nn_stack *s, struct g_tensor *x, struct g_tensor *ids, const struct nn_seq *seq);
struct g_tensor *nn_tokens(struct graph *g, const struct nn_stack *s, struct g_tensor *ids, const struct nn_seq *seq);
/* x[rows, hidden] after the last block -> logits [rows, vocab]: final norm, head, scale and cap. */
struct g_tensor *nn_logits(struct graph *g, const struct nn_stack *s, struct g_tensor *x);
/* The stack's norm with weight roles w, b (b may be NULL). */
struct g_tensor *nn_norm(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x);
/* linear with weights that may lack a bias. */
struct g_tensor *nn_linear(struct graph *g, struct g_param *w, struct g_param *b, struct g_tensor *x,
                           struct g_tensor *residual, enum act_kind act);
/* A constant in the graph's arena, filled by the caller: *data [shape]. */
struct g_tensor *nn_const(struct graph *g, struct shape shape, float **data);
struct g_tensor *nn_ints(struct graph *g, struct shape shape, int32_t **data);
/* Attention pooling (SigLIP): x [B*T, hidden] -> [B, hidden], over the patches that are not padding. */
struct g_tensor *nn_pool(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct nn_pictures *in);

#endif
