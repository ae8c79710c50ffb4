/* Byte Latent Transformer: four stacks of the Llama kind with turned pairs side by side; the local ones look at
 * patches, or patches at them, through attention of their own. arXiv:2412.09871. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/decoder_rows.h"

static bool W_LOOKS(const struct weight_ask *a) { return a->f->cross_all || a->layer == 0; }

#define BLT_LAYER "layers.%d."
#define BLT_LAYERS                                                 \
    {NN_norm1_w, BLT_LAYER "input_layernorm.weight"},              \
    ROWS_QKVO(BLT_LAYER),                                          \
    {NN_norm2_w, BLT_LAYER "post_attention_layernorm.weight"},     \
    ROWS_GATED_MLP(BLT_LAYER)
#define BLT_LOOK "cross_attn_layers.%d."
#define BLT_LOOKS                                                  \
    {NN_patch_q_w, BLT_LOOK "q_proj.weight", W_LOOKS},             \
    {NN_patch_k_w, BLT_LOOK "k_proj.weight", W_LOOKS},             \
    {NN_patch_v_w, BLT_LOOK "v_proj.weight", W_LOOKS},             \
    {NN_patch_o_w, BLT_LOOK "o_proj.weight", W_LOOKS},             \
    {NN_patch_q_norm_w, BLT_LOOK "q_norm.weight", W_LOOKS},        \
    {NN_patch_k_norm_w, BLT_LOOK "k_norm.weight", W_LOOKS}

static const struct weight_row patcher_weights[] = {
    {NN_embed_w, "embed_tokens.weight"}, BLT_LAYERS, {NN_final_norm_w, "norm.weight"}, {NN_lm_head_w, "lm_head.weight"}};
static const struct weight_row encoder_weights[] = {
    {NN_embed_w, "embed_tokens.weight"}, BLT_LAYERS, BLT_LOOKS, {NN_patch_proj_w, "patch_embedding_projection.weight"}};
static const struct weight_row global_weights[] = {BLT_LAYERS};
static const struct weight_row decoder_weights[] = {
    BLT_LAYERS, BLT_LOOKS, {NN_patch_proj_w, "patch_embedding_projection.weight", W_ALWAYS, {0}, "Xw"},
    {NN_final_norm_w, "norm.weight"}};

#define BLT_FIELDS                                                                                        \
    ROTARY_FIELDS(1024, 1, 16, 0, 2816, 260, 24576, 500000.0, false),                                     \
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5), FACT_INT("cross_attn_k", cross_k, 2, 64),                 \
    FACT_INT("hidden_size_global", cross_width, 2048, MAX_WIDTH),                                         \
    FACT_BOOL("cross_attn_all_layers", cross_all, false), FACT_ACT(ACT_SILU)
static const struct json_field blt_fields[] = {BLT_FIELDS};
static const char *const blt_ignore[] = {"encoder_cross_output_size", NULL};

static int blt_finish(const struct stack_read *r)
{
    int64_t width = 0;
    TRY(json_get_int(r->config, r->place, "encoder_cross_output_size", 1, MAX_WIDTH, &width));
    if (width && width != r->f->hidden)
        return err_set(NUN_EUNSUP, "%s: encoder_cross_output_size: only hidden_size %d is supported, found %lld", r->place,
                       r->f->hidden, (long long)width);
    return family_finish(r);
}

#define BLT_STACK(type, weights) \
    {type, ROWS(blt_fields), blt_ignore, ROWS(weights), {LLAMA_FACTS, .rope[0].interleaved = true}, blt_finish}
const struct stack_row stack_blt_patcher = BLT_STACK("blt_patcher", patcher_weights);
const struct stack_row stack_blt_encoder = BLT_STACK("blt_local_encoder", encoder_weights);
const struct stack_row stack_blt_global = BLT_STACK("blt_global_transformer", global_weights);
const struct stack_row stack_blt_decoder = BLT_STACK("blt_local_decoder", decoder_weights);

#define BLT(key, kind, member, lo, hi, def) {key, kind, offsetof(struct family_facts, member), false, lo, hi, def, NULL, NULL, 0, 0}
static const struct json_name modes[] = {{"entropy", 0}, {NULL, 0}};
static const struct json_field family_fields[] = {
    BLT("encoder_hash_byte_group_nb_functions", JSON_KIND_INT, hash_functions, 1, 11, 1),
    BLT("encoder_hash_byte_group_vocab", JSON_KIND_INT, hash_rows, 1, MAX_VOCAB, 500002),
    {"encoder_hash_byte_group_size", JSON_KIND_INTS, offsetof(struct family_facts, hash_sizes), true, 1, 64, 0, NULL, NULL,
     offsetof(struct family_facts, n_hash_sizes), 8},
    BLT("patching_threshold", JSON_KIND_FLOAT, patch_threshold, -1e6, 1e6, 1.335442066192627),
    BLT("max_patch_length", JSON_KIND_INT, max_patch, 1, 1 << 20, 0),
    {"patching_mode", JSON_KIND_ENUM, offsetof(struct family_facts, patch_mode), false, 0, 0, 0, NULL, modes, 0, 0},
};
/* How a long input would be cut for the patcher, and sizes that the stacks have themselves. */
static const char *const family_ignore[] = {
    "cross_attn_k", "max_position_embeddings", "monotonicity", "patch_in_forward", "patch_size", "patching_batch_size",
    "patching_device", "patching_threshold_add", "realtime_patching", "vocab_size", "patcher_config", "encoder_config",
    "global_config", "decoder_config", "initializer_range", NULL};
static const struct weight_row family_weights[] = {
    {NN_hash_w, "model.encoder_hash_tok_embedding.weight"}, {NN_byte_head_w, "lm_head.weight"}};

const struct family_row family_blt = {
    "BltForCausalLM", "blt", FAMILY_BYTES, {0}, {0}, ROWS(family_fields), family_ignore, ROWS(family_weights), {.image_token = -1},
    {{"patcher_config", "model.patcher.", "blt_patcher"}, {"encoder_config", "model.local_encoder.", "blt_local_encoder"},
     {"global_config", "model.global_transformer.", "blt_global_transformer"},
     {"decoder_config", "model.local_decoder.", "blt_local_decoder"}}};
