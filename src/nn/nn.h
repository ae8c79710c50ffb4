/* Building blocks as graph builders. A stack is a run of transformer blocks with what lies around it:
 * a decoder, a text encoder or a vision tower, told apart by facts and by which weights are there,
 * never by name. Knows no files and no families; models/ fills the facts and the weights. */
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

enum nn_norm { NN_RMS, NN_LAYER };
enum nn_rope_kind { NN_ROPE_NONE, NN_ROPE_DEFAULT, NN_ROPE_LINEAR, NN_ROPE_LLAMA3 };

struct nn_rope {
    int kind;                          /* enum nn_rope_kind */
    float theta;
    bool interleaved;
    float factor;                      /* linear, llama3 */
    float low_freq_factor, high_freq_factor;
    int original_positions;
};

struct nn_facts {
    int hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, positions;
    float norm_eps, norm_offset;
    int norm, act;                     /* enum nn_norm, enum act_kind */
    bool gated, causal, tied;
    bool attention_bias, mlp_bias;
    struct nn_rope rope;
    float softcap;
    int image_size, patch, channels, projection;
    bool use_head;                     /* attention pooling */
    float dropout;                     /* after attention and MLP, in training */
    float init_range;                  /* standard deviation of random weights */
};

struct nn_stack {
    struct nn_facts facts;
    struct g_param *w[NN_ROLES];       /* scope S */
    struct g_param *(*layer)[NN_ROLES]; /* [layers], scope L */
};

/* Rows [batch * tokens, hidden] as `batch` independent sequences. */
struct nn_seq {
    int batch, tokens;
    struct g_tensor *pos;              /* I32 [batch * tokens], for rope and learned positions */
    struct g_tensor *spans;            /* I32 [batch, tokens, 2S]: key ranges; or */
    struct g_tensor *kv;               /* the state of attention_cached */
    bool recompute;                    /* wrap each block in a recompute segment */
};

/* The size that a shape letter stands for; 0 for one that the facts do not have. */
int nn_dim(const struct nn_facts *f, char letter);
/* inv_freq[head_dim / 2] of the stack's rope (arXiv:2104.09864; llama3 as in Llama 3.1's release). */
void nn_rope_frequencies(const struct nn_facts *f, float *inv_freq);

/* x[rows, hidden] through blocks [from, to). */
struct g_tensor *nn_blocks(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct nn_seq *seq,
                           int from, int to);
/* pixels [B,C,H,W] -> embedded patches [B*T, hidden] before the first block; *tokens = T. */
struct g_tensor *nn_patches(struct graph *g, const struct nn_stack *s, struct g_tensor *pixels, int *tokens);
/* A sequence in which every token sees every token. */
struct nn_seq nn_seq_full(struct graph *g, int batch, int tokens);
/* ids [rows] -> embedded tokens (with learned positions where the stack has them). */
struct g_tensor *nn_tokens(struct graph *g, const struct nn_stack *s, struct g_tensor *ids, const struct nn_seq *seq);
/* The stack's norm with weight roles w, b (b ignored by RMS). */
struct g_tensor *nn_norm(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x);
/* linear with weights that may lack a bias. */
struct g_tensor *nn_linear(struct graph *g, struct g_param *w, struct g_param *b, struct g_tensor *x,
                           struct g_tensor *residual, enum act_kind act);
/* Attention pooling (SigLIP): x [B*T, hidden] -> [B, hidden]. */
struct g_tensor *nn_pool(struct graph *g, const struct nn_stack *s, struct g_tensor *x, int batch, int tokens);

#endif
