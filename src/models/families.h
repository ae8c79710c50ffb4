/* Declarations of the rows that families.def lists, each defined in a family_*.c or stack_*.c, and what such
 * files share: field shorthands, and the finish functions of the usual decoders. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_FAMILIES_H
#define MODELS_FAMILIES_H
#include "models/family.h"

#define STACK(row) extern const struct stack_row row;
#define FAMILY(row) extern const struct family_row row;
#include "models/families.def"
#undef STACK
#undef FAMILY

/* Shared by stacks: activation names, and keys that never change the arithmetic. */
extern const struct json_name family_acts[];
extern const char *const family_harmless[];

/* Field row shorthands into struct nn_facts. */
#define FACT_INT(key, member, def, max) {key, JSON_KIND_INT, offsetof(struct nn_facts, member), false, 1, max, def, NULL, NULL, 0, 0}
#define FACT_FLOAT(key, member, def) {key, JSON_KIND_FLOAT, offsetof(struct nn_facts, member), false, 0, 1e12, def, NULL, NULL, 0, 0}
#define FACT_BOOL(key, member, def) {key, JSON_KIND_BOOL, offsetof(struct nn_facts, member), false, 0, 0, def, NULL, NULL, 0, 0}
#define FACT_ACT_KEY(key, def) {key, JSON_KIND_ENUM, offsetof(struct nn_facts, act), false, 0, 0, def, NULL, family_acts, 0, 0}
#define FACT_ACT(def) FACT_ACT_KEY("hidden_act", def)

enum { MAX_WIDTH = 1 << 20, MAX_LAYERS = 4096, MAX_VOCAB = 1 << 22 };

/* The keys that nearly every rotary decoder has; 0 as a default: derived by family_finish. */
#define ROTARY_FIELDS(hidden_def, layers_def, heads_def, kv_def, mlp_def, vocab_def, positions_def, theta_def, tied_def) \
    FACT_INT("hidden_size", hidden, hidden_def, MAX_WIDTH),                                                              \
    FACT_INT("num_hidden_layers", layers, layers_def, MAX_LAYERS),                                                       \
    FACT_INT("num_attention_heads", heads, heads_def, MAX_WIDTH),                                                        \
    FACT_INT("num_key_value_heads", kv_heads, kv_def, MAX_WIDTH),                                                        \
    FACT_INT("head_dim", head_dim, 0, MAX_WIDTH),                                                                        \
    FACT_INT("intermediate_size", intermediate, mlp_def, MAX_WIDTH),                                                     \
    FACT_INT("vocab_size", vocab, vocab_def, MAX_VOCAB),                                                                 \
    FACT_INT("max_position_embeddings", positions, positions_def, MAX_VOCAB),                                            \
    FACT_FLOAT("rope_theta", rope[0].theta, theta_def),                                                                  \
    FACT_FLOAT("initializer_range", init_range, 0.02),                                                                   \
    FACT_BOOL("tie_word_embeddings", tied, tied_def)

/* One more spelling of a family whose text stack is at the top of the config. */
#define DECODER_FAMILY(architecture, model_type) \
    {architecture, model_type, FAMILY_DECODER, {"", "", NULL}, {0}, NULL, 0, NULL, NULL, 0, {.image_token = -1}}

/* kv_heads and head_dim derived, head counts checked, every rope that the stack has read from rope_scaling or
 * rope_parameters: enough for the Llama line. */
int family_finish(const struct stack_read *r);
int family_heads(const struct stack_read *r);
/* rope_scaling and rope_parameters into f->rope (rope_config.c). */
int family_ropes(const struct stack_read *r);
/* After it: which pairs turn by time, row and column. woven: they take turns. */
int family_sections(const struct stack_read *r, bool woven);
/* family_finish, and every layer has the window f->window. */
int family_finish_window(const struct stack_read *r);
/* The same for Qwen: layers from max_window_layers on have one, if use_sliding_window says so. */
int family_finish_qwen(const struct stack_read *r);
/* All layers but every n-th (the n-th, the 2n-th, ...) slide. */
void family_slide(struct nn_facts *f, int every);
/* After finish, for all stacks: layer_types where the config has it, ropes by layer. */
int family_layers(const struct stack_read *r);
/* NUN_EUNSUP unless config[key] is absent, null or the one value that this engine computes with. */
int family_refuse(const struct stack_read *r, const char *key, bool only);
/* How many classes a classifier tells apart, into f->labels: those that id2label names, or num_labels. */
int family_labels(const struct stack_read *r);
/* Mixtures: counts checked against each other, the loss that spreads the load only where output_router_logits asks. */
int family_experts(const struct stack_read *r);
/* Every layer is a mixture, but those that mlp_only_layers names, and all but every decoder_sparse_step-th. */
int family_sparse_layers(const struct stack_read *r);

#endif
