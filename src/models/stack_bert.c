/* BERT and its kin: learned positions and kinds of tokens, norms after each addition, heads of masked language
 * models. arXiv:1810.04805, arXiv:1907.11692, arXiv:1911.02116. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "models/families.h"
#include "models/model.h"

/* Old files call weight and bias of a layer norm gamma and beta. */
static bool has_other(const struct weight_ask *a)
{
    static const char *const twins[][2] = {{".weight", ".gamma"}, {".bias", ".beta"}, {".gamma", ".weight"}, {".beta", ".bias"}};
    char other[256];
    struct span name = span_str(a->name);
    for (size_t i = 0; i < sizeof twins / sizeof twins[0]; i++)
        if (span_ends(name, span_str(twins[i][0]))) {
            snprintf(other, sizeof other, "%.*s%s", (int)(name.len - strlen(twins[i][0])), a->name, twins[i][1]);
            return a->present(a->arg, other);
        }
    return false;
}

static bool is_masked(const struct weight_ask *a)
{
    return span_ends(span_str(a->m->family->architecture), SPAN("ForMaskedLM"));
}

static bool W_NEW(const struct weight_ask *a) { return a->present(a->arg, a->name) || !has_other(a); }
static bool W_OLD(const struct weight_ask *a) { return a->present(a->arg, a->name) && !has_other(a); }
static bool W_MASKED(const struct weight_ask *a) { return is_masked(a); }
static bool W_MASKED_NEW(const struct weight_ask *a) { return is_masked(a) && W_NEW(a); }
static bool W_MASKED_OLD(const struct weight_ask *a) { return is_masked(a) && W_OLD(a); }
static bool W_MASKED_UNTIED(const struct weight_ask *a) { return is_masked(a) && !a->f->tied; }

#define NORM_ROWS(role, name, when_new, when_old) \
    {NN_##role##_w, name ".weight", when_new},    \
    {NN_##role##_w, name ".gamma", when_old},     \
    {NN_##role##_b, name ".bias", when_new},      \
    {NN_##role##_b, name ".beta", when_old}
#define LINEAR_ROWS(role, name) {NN_##role##_w, name ".weight"}, {NN_##role##_b, name ".bias"}

#define BERT_ROWS(base)                                                                                  \
    {NN_embed_w, base "embeddings.word_embeddings.weight"},                                              \
    {NN_pos_w, base "embeddings.position_embeddings.weight"},                                            \
    {NN_type_w, base "embeddings.token_type_embeddings.weight"},                                         \
    NORM_ROWS(embed_norm, base "embeddings.LayerNorm", W_NEW, W_OLD),                               \
    LINEAR_ROWS(attn_q, base "encoder.layer.%d.attention.self.query"),                                   \
    LINEAR_ROWS(attn_k, base "encoder.layer.%d.attention.self.key"),                                     \
    LINEAR_ROWS(attn_v, base "encoder.layer.%d.attention.self.value"),                                   \
    LINEAR_ROWS(attn_o, base "encoder.layer.%d.attention.output.dense"),                                 \
    NORM_ROWS(norm1, base "encoder.layer.%d.attention.output.LayerNorm", W_NEW, W_OLD),             \
    LINEAR_ROWS(up, base "encoder.layer.%d.intermediate.dense"),                                         \
    LINEAR_ROWS(down, base "encoder.layer.%d.output.dense"),                                             \
    NORM_ROWS(norm2, base "encoder.layer.%d.output.LayerNorm", W_NEW, W_OLD),                       \
    {NN_pooler_w, base "pooler.dense.weight", W_OPTIONAL},                                               \
    {NN_pooler_b, base "pooler.dense.bias", W_OPTIONAL}

#define HEAD_ROWS(transform, norm, decoder, bias)                 \
    {NN_transform_w, transform ".weight", W_MASKED},              \
    {NN_transform_b, transform ".bias", W_MASKED},                \
    NORM_ROWS(transform_norm, norm, W_MASKED_NEW, W_MASKED_OLD),  \
    {NN_lm_head_w, decoder ".weight", W_MASKED_UNTIED},           \
    {NN_lm_head_b, bias, W_MASKED}

static const struct weight_row bert_weights[] = {
    BERT_ROWS("bert."),
    HEAD_ROWS("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder",
              "cls.predictions.bias"),
};
static const struct weight_row roberta_weights[] = {
    BERT_ROWS("roberta."),
    HEAD_ROWS("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
};

/* Heads of the training that no output here needs, and copies of tied ones. */
static const char *const bert_leave[] = {
    "cls.seq_relationship.weight", "cls.seq_relationship.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
    NULL};
static const char *const roberta_leave[] = {"lm_head.decoder.weight", "lm_head.decoder.bias", NULL};
static const char *const bert_ignore[] = {
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "gradient_checkpointing",
    "position_embedding_type", "output_past", "directionality", "pooler_*", NULL};

#define BERT_FIELDS(vocab_def, positions_def, types_def, eps_def)    \
    FACT_INT("hidden_size", hidden, 768, MAX_WIDTH),                 \
    FACT_INT("num_hidden_layers", layers, 12, MAX_LAYERS),           \
    FACT_INT("num_attention_heads", heads, 12, MAX_WIDTH),           \
    FACT_INT("intermediate_size", intermediate, 3072, MAX_WIDTH),    \
    FACT_INT("vocab_size", vocab, vocab_def, MAX_VOCAB),             \
    FACT_INT("max_position_embeddings", positions, positions_def, MAX_VOCAB), \
    FACT_INT("type_vocab_size", types, types_def, 1 << 16),          \
    FACT_FLOAT("layer_norm_eps", norm_eps, eps_def),                 \
    FACT_FLOAT("initializer_range", init_range, 0.02),               \
    FACT_BOOL("tie_word_embeddings", tied, true),                    \
    FACT_ACT(ACT_GELU)

static const struct json_field bert_fields[] = {BERT_FIELDS(30522, 512, 2, 1e-12)};
static const struct json_field roberta_fields[] = {BERT_FIELDS(50265, 512, 2, 1e-12)};

static int bert_finish(const struct stack_read *r)
{
    const char *positions = "absolute";
    TRY(json_get_string(r->config, r->place, "position_embedding_type", &positions));
    if (strcmp(positions, "absolute"))
        return err_set(NUN_EUNSUP, "%s: position_embedding_type: only \"absolute\" is supported, found \"%s\"", r->place, positions);
    TRY(family_refuse(r, "is_decoder", false));
    TRY(family_refuse(r, "add_cross_attention", false));
    return family_heads(r);
}

static int roberta_finish(const struct stack_read *r)
{
    int64_t pad = 1;
    TRY(json_get_int(r->config, r->place, "pad_token_id", 0, MAX_VOCAB, &pad));
    r->f->first_position = (int)pad + 1;
    r->f->head_act = ACT_GELU;
    if (r->f->positions <= r->f->first_position)
        return err_set(NUN_EFORMAT, "%s: max_position_embeddings: expected more than %d, found %d", r->place, r->f->first_position,
                       r->f->positions);
    return bert_finish(r);
}

#define BERT_FACTS {.norm = NN_LAYER, .wiring = NN_POST_ADD}
const struct stack_row stack_bert = {
    "bert", ROWS(bert_fields), bert_ignore, ROWS(bert_weights), BERT_FACTS, bert_finish, "bert.", bert_leave};
const struct stack_row stack_roberta = {
    "roberta", ROWS(roberta_fields), bert_ignore, ROWS(roberta_weights), BERT_FACTS, roberta_finish, "roberta.", roberta_leave};
const struct stack_row stack_xlm_roberta = {
    "xlm-roberta", ROWS(roberta_fields), bert_ignore, ROWS(roberta_weights), BERT_FACTS, roberta_finish, "roberta.", roberta_leave};

#define ENCODER_FAMILY(architecture, model_type) \
    {architecture, model_type, FAMILY_ENCODER, {"", "", NULL}, {0}, NULL, 0, NULL, NULL, 0, {.image_token = -1}}
const struct family_row family_bert = ENCODER_FAMILY("BertModel", "bert");
const struct family_row family_bert_masked = ENCODER_FAMILY("BertForMaskedLM", "bert");
const struct family_row family_roberta = ENCODER_FAMILY("RobertaModel", "roberta");
const struct family_row family_roberta_masked = ENCODER_FAMILY("RobertaForMaskedLM", "roberta");
const struct family_row family_xlm_roberta = ENCODER_FAMILY("XLMRobertaModel", "xlm-roberta");
const struct family_row family_xlm_roberta_masked = ENCODER_FAMILY("XLMRobertaForMaskedLM", "xlm-roberta");
