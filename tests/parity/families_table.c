/* Every family row as a line of text, from the tables themselves: architecture, model type, what its blocks are. For
 * scripts/families_doc.py, which makes docs/families.md of it. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/conv_rows.h"

static const char *sep;

static void say(const char *text)
{
    printf("%s%s", sep, text);
    sep = ", ";
}

/* The row's weight with that role, or NULL. */
static const struct weight_row *weight_of(const struct stack_row *s, enum nn_role role)
{
    for (size_t i = 0; i < s->n_weights; i++)
        if (s->weights[i].role == role)
            return &s->weights[i];
    return NULL;
}

static bool reads(const struct stack_row *s, size_t offset)
{
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].offset == offset)
            return true;
    return false;
}
#define READS(s, member) reads(s, offsetof(struct nn_facts, member))

static void say_norms(const struct stack_row *s)
{
    const struct nn_facts *f = &s->fixed;
    const struct weight_row *q = weight_of(s, NN_q_norm_w);
    bool before = weight_of(s, NN_norm1_w), after = weight_of(s, NN_post1_w);
    printf("%s%s norms%s", sep, f->norm == NN_RMS ? "RMS" : "layer", f->norm_offset > 0 ? " (1 + w)" : "");
    printf("%s", f->wiring == NN_POST_ADD ? " of sums" : before && after ? " before and after" : after ? " after" : "");
    sep = ", ";
    if (q)
        say(!q->shape || !strcmp(q->shape, "D") ? "norms of q and k by head"
            : !strcmp(q->shape, "Q")            ? "norms of q and k over all heads"
                                                : "norms of q and k, a weight a head");
    if (f->qk_norm_late)
        printf(" after the rotation");
    if (weight_of(s, NN_embed_norm_w))
        say("norm of embeddings");
}

static void say_positions(const struct stack_row *s)
{
    const struct nn_facts *f = &s->fixed;
    if (weight_of(s, NN_pos_w))
        say("learned positions");
    if (f->alibi > 0)
        say("ALiBi");
    if (f->rope[0].kind != NN_ROPE_none)
        say(f->rope[0].interleaved ? "rope of pairs" : "rope");
    if (READS(s, rotary_factor))
        printf(" of a part");
    if (f->slides_apart)
        printf(", another where layers slide");
    if (f->rope_slides_only)
        printf(" where layers slide");
    if (READS(s, window))
        say("windows");
}

static void say_channel(const struct stack_row *s)
{
    const struct nn_facts *f = &s->fixed;
    bool experts = false;
    for (size_t i = 0; i < s->n_weights; i++)
        experts = experts || s->weights[i].in == IN_CHANNEL(moe);
    if (weight_of(s, NN_up_w))
        say(f->gated ? "gated MLP" : "MLP");
    if (experts)
        say("experts");
}

static void say_mixers(const struct stack_row *s)
{
    for (int m = 0; m < NN_MIXERS; m++)
        for (size_t i = 0; i < s->n_weights; i++)
            if (m != NN_MIX_attention && s->weights[i].in == 1 + m) {
                say(nn_mixers[m].name);
                break;
            }
}

static void say_scales(const struct stack_row *s)
{
    const struct weight_row *q = weight_of(s, NN_attn_q_w);
    if (READS(s, embed_scale) || READS(s, residual_scale))
        say("multipliers");
    if (READS(s, softcap) || READS(s, logit_softcap))
        say("soft caps");
    if (READS(s, clip_qkv) || s->fixed.alibi > 0)
        say("cut projections");
    if (READS(s, logit_scale))
        say("logits scaled");
    if (q && q->part.of)
        say(q->part.transposed ? "q, k, v in one transposed tensor" : "q, k, v in one tensor");
}

static void say_stack(const struct stack_row *s)
{
    sep = "";
    say_mixers(s);
    say_norms(s);
    if (s->fixed.wiring == NN_PARALLEL)
        say("attention beside the MLP");
    say_positions(s);
    say_channel(s);
    say_scales(s);
}

int main(void)
{
    for (const struct family_row *const *f = family_rows; *f; f++) {
        const struct stack_place *where = (*f)->text.config ? &(*f)->text : &(*f)->vision;
        const char *type = where->model_type ? where->model_type : (*f)->model_type;
        const struct stack_row *s;
        printf("%s\t%s\t", (*f)->architecture, (*f)->model_type);
        if ((*f)->conv)
            printf("convolutions: %s", (*f)->conv->doc);
        else if (stack_find(type, "table", &s) >= 0)
            say_stack(s);
        if ((*f)->text.config && (*f)->vision.config)
            printf("; with a vision tower");
        printf("\n");
    }
    return 0;
}
