/* Qwen2-VL, Qwen2.5-VL and Qwen3-VL: towers of native sizes in front of Qwen's decoders. arXiv:2409.12191,
 * arXiv:2502.13923, arXiv:2511.21631. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/decoder_rows.h"
#include "models/sight.h"

/* Keys of the decoder and of the family lie side by side in older configs: each reader leaves the other's. */
#define FAMILY_KEYS "image_token_id", "video_token_id", "vision_token_id", "vision_start_token_id", "vision_end_token_id"
#define TEXT_KEYS "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",    \
    "vocab_size", "max_position_embeddings", "max_window_layers", "hidden_act", "rms_norm_eps", "sliding_window", "use_sliding_window", \
    "initializer_range", "attention_bias"

static const char *const family_ignore[] = {TEXT_KEYS, FAMILY_KEYS, NULL};
static const char *const text_ignore[] = {FAMILY_KEYS, "max_window_layers", "use_sliding_window", NULL};

#define TOKEN_FIELD(key, member, def) \
    {key, JSON_KIND_INT, offsetof(struct family_facts, member), false, 0, MAX_VOCAB, def, NULL, NULL, 0, 0}
static const struct json_field token_fields[] = {
    TOKEN_FIELD("image_token_id", image_token, 151655),
    TOKEN_FIELD("video_token_id", video_token, 151656),
};

/* ---- towers -------------------------------------------------------------------------------- */

enum { LISTED = 256 }; /* layers that a list may name */
static const char *const tower_ignore[] = {"spatial_patch_size", "fullatt_block_indexes", "deepstack_visual_indexes", NULL};

#define TOWER_FIELDS(hidden_key, hidden_def, layers_def, patch_def, out_key, out_def, act_def) \
    FACT_INT("depth", layers, layers_def, MAX_LAYERS),                                         \
    FACT_INT(hidden_key, hidden, hidden_def, MAX_WIDTH),                                       \
    FACT_INT("num_heads", heads, 16, MAX_WIDTH),                                               \
    FACT_INT("in_channels|in_chans", channels, 3, 3),                                          \
    FACT_INT("patch_size", patch, patch_def, 1 << 12),                                         \
    FACT_INT("spatial_merge_size", merge, 2, 64),                                              \
    FACT_INT("temporal_patch_size", frames, 2, 8),                                             \
    FACT_INT(out_key, projection, out_def, MAX_WIDTH),                                         \
    FACT_FLOAT("initializer_range", init_range, 0.02),                                         \
    FACT_ACT(act_def)

#define BLOCK "blocks.%d."
#define ROWS_ATTENTION                                                                                                      \
    ROWS_QKV_FUSED(w, BLOCK "attn.qkv.weight", "QKK", 0), ROWS_QKV_FUSED(b, BLOCK "attn.qkv.bias", "QKK", 0),               \
    {NN_attn_o_w, BLOCK "attn.proj.weight"}, {NN_attn_o_b, BLOCK "attn.proj.bias"}
#define ROWS_PATCH {NN_patch_w, "patch_embed.proj.weight", W_ALWAYS, {0}, "HCjPP"}
#define ROWS_FEATURE(norm, one, two)                                                                                        \
    {NN_feature_norm_w, norm ".weight"}, {NN_feature_1_w, one ".weight"}, {NN_feature_1_b, one ".bias"},                    \
    {NN_feature_2_w, two ".weight"}, {NN_feature_2_b, two ".bias"}
#define TOWER_FACTS .norm_eps = 1e-6f, .rope[0] = {.kind = NN_ROPE_default, .theta = 10000}

static int tower_finish(const struct stack_read *r)
{
    const struct nn_facts *f = r->f;
    TRY(family_heads(r));
    if (f->head_dim % 4)
        return err_set(NUN_EFORMAT, "%s: vision_config: heads of %d dimensions cannot turn by row and column", r->place, f->head_dim);
    return 0;
}

/* ---- Qwen2-VL ---- */

static int qwen2_tower_finish(const struct stack_read *r)
{
    int64_t ratio = 4;
    TRY(json_get_int(r->config, r->place, "mlp_ratio", 1, 1024, &ratio));
    r->f->intermediate = r->f->hidden * (int)ratio;
    return tower_finish(r);
}
static const char *const qwen2_tower_ignore[] = {"spatial_patch_size", "mlp_ratio", NULL};
static const struct json_field qwen2_tower_fields[] = {TOWER_FIELDS("embed_dim", 1280, 32, 14, "hidden_size", 3584, ACT_QUICK_GELU)};
static const struct weight_row qwen2_tower_weights[] = {
    ROWS_PATCH, ROWS_NORM(norm1, BLOCK "norm1"), ROWS_ATTENTION, ROWS_NORM(norm2, BLOCK "norm2"),
    {NN_up_w, BLOCK "mlp.fc1.weight"}, {NN_up_b, BLOCK "mlp.fc1.bias"}, {NN_down_w, BLOCK "mlp.fc2.weight"}, {NN_down_b, BLOCK "mlp.fc2.bias"},
    ROWS_FEATURE("merger.ln_q", "merger.mlp.0", "merger.mlp.2"), {NN_feature_norm_b, "merger.ln_q.bias"}};
const struct stack_row stack_qwen2_vl_vision = {
    "qwen2_vl_vision", ROWS(qwen2_tower_fields), qwen2_tower_ignore, ROWS(qwen2_tower_weights), {.norm = NN_LAYER, TOWER_FACTS}, qwen2_tower_finish};

/* ---- Qwen2.5-VL: RMS norms, gated MLPs, windows but in some layers ---- */

static int qwen25_tower_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int whole[LISTED] = {7, 15, 23, 31}, n = 4;
    TRY(json_get_ints(r->config, r->place, "fullatt_block_indexes", 0, f->layers - 1, whole, LISTED, &n));
    for (int i = 0; i < f->layers; i++)
        f->layer[i].windowed = true;
    for (int i = 0; i < n; i++)
        if (whole[i] < f->layers)
            f->layer[whole[i]].windowed = false;
    if (f->window_side < f->merge * f->patch)
        return err_set(NUN_EFORMAT, "%s: vision_config.window_size: expected at least %d pixels, found %d", r->place, f->merge * f->patch,
                       f->window_side);
    f->window_side = f->window_side / f->merge / f->patch;
    return tower_finish(r);
}
static const struct json_field qwen25_tower_fields[] = {
    TOWER_FIELDS("hidden_size", 3584, 32, 14, "out_hidden_size", 3584, ACT_SILU),
    FACT_INT("intermediate_size", intermediate, 3420, MAX_WIDTH),
    FACT_INT("window_size", window_side, 112, 1 << 16),
    FACT_FLOAT("tokens_per_second", places_per_second, 4),
};
static const struct weight_row qwen25_tower_weights[] = {
    ROWS_PATCH, {NN_norm1_w, BLOCK "norm1.weight"}, ROWS_ATTENTION, {NN_norm2_w, BLOCK "norm2.weight"},
    ROWS_GATED_MLP(BLOCK), ROWS_GATED_MLP_BIAS(BLOCK, W_ALWAYS), ROWS_FEATURE("merger.ln_q", "merger.mlp.0", "merger.mlp.2")};
const struct stack_row stack_qwen2_5_vl_vision = {
    "qwen2_5_vl_vision", ROWS(qwen25_tower_fields), tower_ignore, ROWS(qwen25_tower_weights), {.norm = NN_RMS, .gated = true, TOWER_FACTS},
    qwen25_tower_finish};

/* ---- Qwen3-VL: learned positions besides, features of inner layers ---- */

static bool W_DEEP(const struct weight_ask *a) { return a->f->layer[a->layer].deep; }

static int qwen3_tower_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    int at[G_MAX_IN - 1] = {8, 16, 24}, n = 3;
    TRY(json_get_ints(r->config, r->place, "deepstack_visual_indexes", 0, f->layers - 1, at, G_MAX_IN - 1, &n));
    for (int i = 0; i < n; i++) {
        if (at[i] >= f->layers || f->layer[at[i]].deep)
            return err_set(NUN_EFORMAT, "%s: vision_config.deepstack_visual_indexes: layer %d of %d, or twice", r->place, at[i], f->layers);
        f->layer[at[i]].deep = true;
        f->layer[at[i]].turn = i;
    }
    f->deep = n;
    return tower_finish(r);
}
static const struct json_field qwen3_tower_fields[] = {
    TOWER_FIELDS("hidden_size", 1152, 27, 16, "out_hidden_size", 3584, ACT_GELU_TANH),
    FACT_INT("intermediate_size", intermediate, 4304, MAX_WIDTH),
    FACT_INT("num_position_embeddings", positions, 2304, MAX_VOCAB),
};
#define DEEP "deepstack_merger_list.%t."
static const struct weight_row qwen3_tower_weights[] = {
    ROWS_PATCH, {NN_patch_b, "patch_embed.proj.bias"}, {NN_pos_w, "pos_embed.weight"},
    ROWS_NORM(norm1, BLOCK "norm1"), ROWS_ATTENTION, ROWS_NORM(norm2, BLOCK "norm2"),
    {NN_up_w, BLOCK "mlp.linear_fc1.weight"}, {NN_up_b, BLOCK "mlp.linear_fc1.bias"},
    {NN_down_w, BLOCK "mlp.linear_fc2.weight"}, {NN_down_b, BLOCK "mlp.linear_fc2.bias"},
    ROWS_FEATURE("merger.norm", "merger.linear_fc1", "merger.linear_fc2"), {NN_feature_norm_b, "merger.norm.bias"},
    {NN_deep_norm_w, DEEP "norm.weight", W_DEEP}, {NN_deep_norm_b, DEEP "norm.bias", W_DEEP},
    {NN_deep_1_w, DEEP "linear_fc1.weight", W_DEEP}, {NN_deep_1_b, DEEP "linear_fc1.bias", W_DEEP},
    {NN_deep_2_w, DEEP "linear_fc2.weight", W_DEEP}, {NN_deep_2_b, DEEP "linear_fc2.bias", W_DEEP}};
const struct stack_row stack_qwen3_vl_vision = {
    "qwen3_vl_vision", ROWS(qwen3_tower_fields), tower_ignore, ROWS(qwen3_tower_weights), {.norm = NN_LAYER, TOWER_FACTS}, qwen3_tower_finish};

/* ---- decoders ------------------------------------------------------------------------------ */

#define TEXT_FIELDS(hidden, layers, heads, kv, mlp, vocab, positions, theta, eps)       \
    ROTARY_FIELDS(hidden, layers, heads, kv, mlp, vocab, positions, theta, false),      \
    FACT_FLOAT("rms_norm_eps", norm_eps, eps), FACT_ACT(ACT_SILU)

static int qwen2_text_finish(const struct stack_read *r)
{
    TRY(family_finish_qwen(r));
    return family_sections(r, false);
}
static const struct json_field qwen2_text_fields[] = {
    TEXT_FIELDS(8192, 80, 64, 8, 29568, 152064, 32768, 1000000.0, 1e-5), FACT_INT("sliding_window", window, 0, MAX_VOCAB)};
static const struct weight_row qwen2_text_weights[] = {
    ROW_EMBED, ROWS_LLAMA_NORMS, ROWS_QKVO(LAYER), ROWS_QKV_BIAS(LAYER, W_ALWAYS), ROWS_GATED_MLP(LAYER), ROW_FINAL_NORM, ROW_HEAD};
const struct stack_row stack_qwen2_vl_text = {
    "qwen2_vl_text", ROWS(qwen2_text_fields), text_ignore, ROWS(qwen2_text_weights), {LLAMA_FACTS}, qwen2_text_finish};

static int qwen3_text_finish(const struct stack_read *r)
{
    if (!r->f->head_dim)
        r->f->head_dim = 128;
    TRY(family_finish(r));
    return family_sections(r, true);
}
static const struct json_field qwen3_text_fields[] = {
    TEXT_FIELDS(4096, 32, 32, 32, 22016, 151936, 128000, 5000000.0, 1e-6), FACT_BOOL("attention_bias", attention_bias, false)};
#define LAYER3 "model.language_model.layers.%d."
static const struct weight_row qwen3_text_weights[] = {
    {NN_embed_w, "model.language_model.embed_tokens.weight"}, {NN_norm1_w, LAYER3 "input_layernorm.weight"},
    {NN_norm2_w, LAYER3 "post_attention_layernorm.weight"}, ROWS_QKVO(LAYER3), ROWS_QKVO_BIAS(LAYER3, W_ATTENTION_BIAS),
    ROWS_QK_NORM(LAYER3, "D", "D"), ROWS_GATED_MLP(LAYER3), {NN_final_norm_w, "model.language_model.norm.weight"}, ROW_HEAD};
const struct stack_row stack_qwen3_vl_text = {
    "qwen3_vl_text", ROWS(qwen3_text_fields), text_ignore, ROWS(qwen3_text_weights), {LLAMA_FACTS}, qwen3_text_finish};

/* ---- families ------------------------------------------------------------------------------ */

static const struct respelling newer_names[] = {{"model.", "model.language_model."}, {"visual.", "model.visual."}, {NULL, NULL}};

#define OWN_PLACE(config, prefix, stack, top) {config, prefix, stack, .alone = true, .or_top = top}

const struct family_row family_qwen2_vl = {
    "Qwen2VLForConditionalGeneration", "qwen2_vl", FAMILY_DECODER, OWN_PLACE("text_config", "", "qwen2_vl_text", true),
    OWN_PLACE("vision_config", "visual.", "qwen2_vl_vision", false), ROWS(token_fields), family_ignore, NULL, 0,
    .sight = &sight_qwen, .respell = newer_names};
const struct family_row family_qwen2_5_vl = {
    "Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", FAMILY_DECODER, OWN_PLACE("text_config", "", "qwen2_vl_text", true),
    OWN_PLACE("vision_config", "visual.", "qwen2_5_vl_vision", false), ROWS(token_fields), family_ignore, NULL, 0,
    .sight = &sight_qwen, .respell = newer_names};
const struct family_row family_qwen3_vl = {
    "Qwen3VLForConditionalGeneration", "qwen3_vl", FAMILY_DECODER, OWN_PLACE("text_config", "", "qwen3_vl_text", false),
    OWN_PLACE("vision_config", "model.visual.", "qwen3_vl_vision", false), ROWS(token_fields), family_ignore, NULL, 0,
    .sight = &sight_qwen3};
