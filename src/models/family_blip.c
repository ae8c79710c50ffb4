/* BLIP-2 and InstructBLIP: EVA's tower, a Q-Former, one matrix, a decoder. arXiv:2301.12597, arXiv:2305.06500. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/decoder_rows.h"
#include "models/sight.h"
#include "nn/qformer.h"

/* ---- tower --------------------------------------------------------------------------------- */

static const struct json_field tower_fields[] = {
    FACT_INT("hidden_size", hidden, 1408, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 39, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 16, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 6144, MAX_WIDTH),
    FACT_INT("image_size", image_size, 224, 1 << 16),
    FACT_INT("patch_size", patch, 14, 1 << 12),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-6),
    FACT_FLOAT("initializer_range", init_range, 1e-10),
    FACT_BOOL("qkv_bias", attention_bias, true),
    FACT_ACT(ACT_GELU),
};
static int tower_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    if (f->image_size < f->patch)
        return err_set(NUN_EFORMAT, "%s: image_size %d is smaller than patch_size %d", r->place, f->image_size, f->patch);
    int side = f->image_size / f->patch;
    f->positions = side * side + 1;
    f->channels = 3;
    return family_heads(r);
}
#define VIT "encoder.layers.%d."
static const struct weight_row tower_weights[] = {
    {NN_class_w, "embeddings.class_embedding", W_ALWAYS, {0}, "11H"},
    {NN_patch_w, "embeddings.patch_embedding.weight"},
    {NN_patch_b, "embeddings.patch_embedding.bias"},
    {NN_pos_w, "embeddings.position_embedding", W_ALWAYS, {0}, "1NH"},
    ROWS_NORM(norm1, VIT "layer_norm1"),
    {NN_attn_q_w, VIT "self_attn.qkv.weight", W_ALWAYS, PART("QQQ", 0)},
    {NN_attn_k_w, VIT "self_attn.qkv.weight", W_ALWAYS, PART("QQQ", 1)},
    {NN_attn_v_w, VIT "self_attn.qkv.weight", W_ALWAYS, PART("QQQ", 2)},
    {NN_attn_q_b, VIT "self_attn.qkv.bias", W_ATTENTION_BIAS, PART("QQQ", 0)},
    {NN_attn_k_b, VIT "self_attn.qkv.bias", W_ATTENTION_BIAS, PART("QQQ", 1)},
    {NN_attn_v_b, VIT "self_attn.qkv.bias", W_ATTENTION_BIAS, PART("QQQ", 2)},
    {NN_attn_o_w, VIT "self_attn.projection.weight"},
    {NN_attn_o_b, VIT "self_attn.projection.bias"},
    ROWS_NORM(norm2, VIT "layer_norm2"),
    {NN_up_w, VIT "mlp.fc1.weight"},
    {NN_up_b, VIT "mlp.fc1.bias"},
    {NN_down_w, VIT "mlp.fc2.weight"},
    {NN_down_b, VIT "mlp.fc2.bias"},
    ROWS_NORM(post_norm, "post_layernorm"),
};
#define TOWER(model_type) {model_type, ROWS(tower_fields), NULL, ROWS(tower_weights), {.norm = NN_LAYER}, tower_finish}
const struct stack_row stack_blip2_vision = TOWER("blip_2_vision_model");
const struct stack_row stack_instructblip_vision = TOWER("instructblip_vision_model");

/* ---- Q-Former ------------------------------------------------------------------------------ */

static const struct json_field qformer_fields[] = {
    FACT_INT("hidden_size", hidden, 768, MAX_WIDTH),
    FACT_INT("num_hidden_layers", layers, 12, MAX_LAYERS),
    FACT_INT("num_attention_heads", heads, 12, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 3072, MAX_WIDTH),
    FACT_INT("vocab_size", vocab, 30522, MAX_VOCAB),
    FACT_INT("max_position_embeddings", positions, 512, MAX_VOCAB),
    FACT_INT("cross_attention_frequency", cross_every, 2, MAX_LAYERS),
    FACT_INT("encoder_hidden_size", cross_width, 1408, MAX_WIDTH),
    FACT_FLOAT("layer_norm_eps", norm_eps, 1e-12),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_ACT(ACT_GELU),
};
static const char *const qformer_ignore[] = {"hidden_dropout_prob", "attention_probs_dropout_prob", "position_embedding_type",
                                             "use_qformer_text_input", NULL};
static int qformer_finish(const struct stack_read *r)
{
    const char *positions = "absolute";
    TRY(json_get_string(r->config, r->place, "position_embedding_type", &positions));
    if (positions && strcmp(positions, "absolute"))
        return err_set(NUN_EUNSUP, "%s: position_embedding_type: expected absolute, found %s", r->place, positions);
    TRY(family_refuse(r, "use_qformer_text_input", false));
    return family_heads(r);
}
static bool looks_across(const struct weight_ask *a) { return a->layer % a->f->cross_every == 0; }

#define QF "encoder.layer.%d."
#define ROWS_SIDE(side, name, in, when)                                                                                 \
    {NN_##side##_q_w, QF name ".attention.query.weight", when}, {NN_##side##_q_b, QF name ".attention.query.bias", when}, \
    {NN_##side##_k_w, QF name ".attention.key.weight", when}, {NN_##side##_k_b, QF name ".attention.key.bias", when},     \
    {NN_##side##_v_w, QF name ".attention.value.weight", when}, {NN_##side##_v_b, QF name ".attention.value.bias", when}, \
    {NN_##side##_o_w, QF name ".output.dense.weight", when}, {NN_##side##_o_b, QF name ".output.dense.bias", when},       \
    {in##_w, QF name ".output.LayerNorm.weight", when}, {in##_b, QF name ".output.LayerNorm.bias", when}
#define ROWS_MLP(up, down, norm, middle, last)                                                                    \
    {up##_w, QF middle ".dense.weight"}, {up##_b, QF middle ".dense.bias"}, {down##_w, QF last ".dense.weight"},    \
    {down##_b, QF last ".dense.bias"}, {norm##_w, QF last ".LayerNorm.weight"}, {norm##_b, QF last ".LayerNorm.bias"}
#define ROWS_OF_QUERIES                                               \
    ROWS_SIDE(attn, "attention", NN_norm1, W_ALWAYS),                 \
    ROWS_SIDE(cross, "crossattention", NN_cross_norm, looks_across),  \
    ROWS_MLP(NN_up, NN_down, NN_norm2, "intermediate_query", "output_query")

static const struct weight_row blip2_qformer_weights[] = {ROWS_NORM(embed_norm, "layernorm"), ROWS_OF_QUERIES};
const struct stack_row stack_blip2_qformer = {
    "blip_2_qformer", ROWS(qformer_fields), qformer_ignore, ROWS(blip2_qformer_weights), {.norm = NN_LAYER, .exact = true}, qformer_finish};

/* The same as a connector of nunchi_vl: every layer looks across, at states of the decoder's width. */
static const char *const all_others[] = {"*", NULL};
static const struct json_field vl_fields[] = {
    FACT_INT("text_config.hidden_size", hidden, 4096, MAX_WIDTH),
    FACT_INT("text_config.hidden_size", cross_width, 4096, MAX_WIDTH),
    FACT_INT("connector_layers", layers, 2, MAX_LAYERS),
    FACT_INT("connector_heads", heads, 8, MAX_WIDTH),
    FACT_FLOAT("connector_norm_eps", norm_eps, 1e-6),
    FACT_ACT_KEY("connector_act", ACT_GELU),
};
static int vl_finish(const struct stack_read *r)
{
    r->f->intermediate = 4 * r->f->hidden;
    r->f->cross_every = 1;
    return family_heads(r);
}
const struct stack_row stack_vl_qformer = {
    "nunchi_vl_qformer", ROWS(vl_fields), all_others, ROWS(blip2_qformer_weights), {.norm = NN_LAYER}, vl_finish};

static const struct weight_row instructblip_qformer_weights[] = {
    {NN_embed_w, "embeddings.word_embeddings.weight"},
    {NN_pos_w, "embeddings.position_embeddings.weight"},
    ROWS_NORM(embed_norm, "embeddings.layernorm"),
    ROWS_OF_QUERIES,
    ROWS_MLP(NN_text_up, NN_text_down, NN_text_norm, "intermediate", "output"),
};
static const char *const instructblip_leave[] = {"embeddings.position_ids", NULL};
const struct stack_row stack_instructblip_qformer = {
    "instructblip_qformer", ROWS(qformer_fields), qformer_ignore, ROWS(instructblip_qformer_weights), {.norm = NN_LAYER, .exact = true}, qformer_finish,
    .leave = instructblip_leave};

/* ---- ways of seeing ------------------------------------------------------------------------- */

static int queries_features(const struct model *m, const struct preprocess_plan *p)
{
    const struct nn_facts *f = &m->vision.facts;
    return p->tile_width == f->image_size && p->tile_height == f->image_size ? p->tiles * m->facts.tile_tokens : 0;
}

static struct g_tensor *told_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n,
                                   struct g_tensor *words)
{
    int tiles = n * p->tiles, H = m->more[0].facts.hidden;
    struct nn_qformer in = {.batch = tiles, .n_queries = m->facts.tile_tokens, .words = words,
                            .n_words = words ? (int)(g_count(words) / tiles) : 0};
    in.context = sight_tower(g, m, pixels, &in.tokens);
    in.queries = g_reshape(g, g_param(g, m->w[NN_queries_w]), SHAPE2(in.n_queries, H));
    return nn_linear(g, m->w[NN_conn_1_w], m->w[NN_conn_1_b], nn_qformer(g, &m->more[0], &in), NULL, ACT_NONE);
}

static struct g_tensor *queries_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    return told_build(g, m, pixels, p, n, NULL);
}

/* Pictures come before the first token, text after it. */
#define PICTURES_FIRST                                                                                                        \
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}"    \
    "{% endfor %}{% endfor %}{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"               \
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"

const struct sight_row sight_queries = {
    "queries", "learned queries look at the tower's states (Q-Former)", queries_features, queries_build, .mark = "<image>",
    .template = PICTURES_FIRST};
const struct sight_row sight_told_queries = {
    "told_queries", "queries that read the prompt too", queries_features, queries_build, .mark = "<image>", .template = PICTURES_FIRST,
    .build_told = told_build, .words = "qformer_tokenizer"};

/* ---- families -------------------------------------------------------------------------------- */

static const char *const blip_ignore[] = {"qformer_config", "image_text_hidden_size", "initializer_range", NULL};
static const struct json_field blip_fields[] = {
    {"image_token_index|image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), false, 0, MAX_VOCAB, 50265, NULL, NULL, 0, 0},
    {"num_query_tokens", JSON_KIND_INT, offsetof(struct family_facts, tile_tokens), false, 1, MAX_WIDTH, 32, NULL, NULL, 0, 0},
    {"use_decoder_only_language_model", JSON_KIND_BOOL, offsetof(struct family_facts, decoder_only), false, 0, 0, true, NULL, NULL, 0, 0},
};
static const struct weight_row blip_weights[] = {
    {NN_queries_w, "query_tokens"},
    {NN_conn_1_w, "language_projection.weight", W_ALWAYS, {0}, "h^"},
    {NN_conn_1_b, "language_projection.bias"},
};
#define BLIP_FACTS {.feature_layers = {-1}, .n_feature_layers = 1, .tower_norm = true}
const struct family_row family_blip2 = {
    "Blip2ForConditionalGeneration", "blip-2", FAMILY_DECODER, {"text_config", "language_model.", "opt"},
    {"vision_config", "vision_model.", "blip_2_vision_model"}, ROWS(blip_fields), blip_ignore, ROWS(blip_weights), BLIP_FACTS,
    .more = {{"qformer_config", "qformer.", "blip_2_qformer"}}, .sight = &sight_queries};
const struct family_row family_instructblip = {
    "InstructBlipForConditionalGeneration", "instructblip", FAMILY_DECODER, {"text_config", "language_model.", "llama"},
    {"vision_config", "vision_model.", "instructblip_vision_model"}, ROWS(blip_fields), blip_ignore, ROWS(blip_weights), BLIP_FACTS,
    .more = {{"qformer_config", "qformer.", "instructblip_qformer"}}, .sight = &sight_told_queries};
