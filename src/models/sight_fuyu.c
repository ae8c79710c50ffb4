/* No tower: patches become states by one matrix, rows of them end with a token of text (Fuyu). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/families.h"
#include "models/sight.h"

static int plain_features(const struct model *m, const struct preprocess_plan *p)
{
    int patch = m->text.facts.patch;
    bool fits = p->tiles == 1 && p->tile_width % patch == 0 && p->tile_height % patch == 0;
    return fits ? (p->tile_width / patch) * (p->tile_height / patch) : 0;
}

/* A patch lies row by row, its colours together. */
static struct g_tensor *plain_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    const struct nn_facts *f = &m->text.facts;
    int64_t patches = (int64_t)n * plain_features(m, p), area = (int64_t)f->patch * f->patch;
    struct g_tensor *x = g_reshape(g, g_unfold(g, pixels, f->patch), SHAPE3(patches, f->channels, area));
    x = g_reshape(g, g_transpose(g, x, (const int[4]){0, 2, 1}), SHAPE2(patches, area * f->channels));
    return nn_linear(g, m->w[NN_conn_1_w], m->w[NN_conn_1_b], x, NULL, ACT_NONE);
}

static int plain_spell(const struct sight_text *t, struct buf *out)
{
    int cols = t->plan->tile_width / t->m->text.facts.patch;
    for (int i = 0; i < t->features; i++) {
        buf_span(out, t->token);
        if ((i + 1) % cols == 0)
            buf_str(out, "|NEWLINE|");
    }
    return buf_error(out);
}

/* The answer begins behind <0x04>. */
const struct sight_row sight_plain_patches = {
    "plain_patches", "patches straight into the sequence, rows ended by a token of text", plain_features, plain_build, .mark = "<image>",
    .spell = plain_spell,
    .template = "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}"
                "{% endfor %}{% endfor %}{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"
                "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}<0x04>"};

/* Every key of the config but this is the decoder's, which refuses what it does not know. */
static const char *const fuyu_ignore[] = {"*", NULL};
static const struct json_field fuyu_fields[] = {
    {"image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), false, 0, MAX_VOCAB, 71011, NULL, NULL, 0, 0}};
static const struct weight_row fuyu_weights[] = {
    {NN_conn_1_w, "vision_embed_tokens.weight", W_ALWAYS, {0}, "ha"},
    {NN_conn_1_b, "vision_embed_tokens.bias"},
};
const struct family_row family_fuyu = {
    "FuyuForCausalLM", "fuyu", FAMILY_DECODER, {"", "language_model.", "fuyu", .alone = true}, {0},
    ROWS(fuyu_fields), fuyu_ignore, ROWS(fuyu_weights), .sight = &sight_plain_patches};
