/* Text encoders: tokens to states, pooled states and the scores of masked tokens. Decoders give states too. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/model.h"

/* Row 0 of each sequence. */
static struct g_tensor *first_tokens(struct graph *g, struct g_tensor *x, const struct nn_seq *seq, int width)
{
    x = g_slice(g, g_reshape(g, x, SHAPE3(seq->batch, seq->tokens, width)), 1, 0, 1);
    return g_reshape(g, x, SHAPE2(seq->batch, width));
}

int model_encode(struct graph *g, const struct model *m, struct g_tensor *ids, const struct nn_seq *seq,
                 struct model_states *out)
{
    const struct nn_stack *s = &m->text;
    const struct nn_facts *f = &s->facts;
    struct g_tensor *x = nn_blocks(g, s, nn_tokens(g, s, ids, seq), seq, 0, f->layers);
    *out = (struct model_states){0};
    out->hidden = s->w[NN_final_norm_w] ? nn_norm(g, f, s->w[NN_final_norm_w], s->w[NN_final_norm_b], x) : x;
    if (s->w[NN_pooler_w])
        out->pooled = nn_linear(g, s->w[NN_pooler_w], s->w[NN_pooler_b], first_tokens(g, x, seq, f->hidden), NULL, ACT_TANH);
    if (s->w[NN_transform_w]) {
        x = nn_linear(g, s->w[NN_transform_w], s->w[NN_transform_b], x, NULL, (enum act_kind)(f->head_act ? f->head_act : f->act));
        x = nn_norm(g, f, s->w[NN_transform_norm_w], s->w[NN_transform_norm_b], x);
        out->logits = nn_linear(g, s->w[NN_lm_head_w], s->w[NN_lm_head_b], x, NULL, ACT_NONE);
    }
    return graph_error(g);
}

void model_positions(const struct model *m, const int32_t *ids, int n, int32_t *pos)
{
    int first = m->text.facts.first_position, next = first;
    for (int i = 0; i < n; i++)
        pos[i] = !first || ids[i] != first - 1 ? next++ : first - 1;
}

int model_most_tokens(const struct model *m)
{
    return m->text.w[NN_pos_w] ? m->text.facts.positions - m->text.facts.first_position : 0;
}

int model_pool_rows(const struct model *m, const int32_t *ids, int rows, int length, int32_t *out)
{
    int64_t end = -1;
    TRY(json_get_int(m->config, "config.json", "text_config.eos_token_id", -1, INT32_MAX, &end));
    for (int r = 0; r < rows; r++, ids += length) {
        int at = m->text.facts.causal ? 0 : length - 1;
        for (int i = 0; m->text.facts.causal && i < length; i++) {
            if (end != 2 && ids[i] == end) {
                at = i;
                break;
            }
            at = end == 2 && ids[i] > ids[at] ? i : at;
        }
        out[r] = r * length + at;
    }
    return 0;
}
