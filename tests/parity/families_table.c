/* Every family row as a line of text, from the tables themselves: architecture, model type, GGUF names, what its
 * blocks are; of those that see also their tower and what a picture becomes. For scripts/families_doc.py, which makes
 * docs/families.md of it. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/conv_rows.h"
#include "models/gguf_map.h"
#include "models/sight.h"

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
    printf("%s%s norms%s", sep, f->norm == NN_RMS ? "RMS" : "layer",
           f->bare_norms ? " without weights" : f->norm_offset > 0 ? " (1 + w)" : "");
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
        say(f->stretch ? "learned positions, resampled for other grids" : "learned positions");
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
    if (weight_of(s, NN_up_w))
        say(weight_of(s, NN_xielu_p) ? "MLP with xIELU" : f->gated ? "gated MLP" : "MLP");
    if (weight_of(s, NN_expert_up_w))
        say(weight_of(s, NN_shared_up_w) ? "experts and a shared one" : "experts");
    if (READS(s, moe.limit))
        printf(" with cut gates");
}

/* A role that a mixer asks for, and one that it never does; by its name on the page. */
static const struct mixer { int mixer; enum nn_role has, lacks; const char *name; } mixers[] = {
    {NN_MIX_latent, NN_kv_a_w, NN_ROLES, "latent attention"},
    {NN_MIX_mamba, NN_ssm_x_w, NN_ROLES, "Mamba"},
    {NN_MIX_shared, NN_share_q_w, NN_ROLES, "attention blocks that layers share"},
    {NN_MIX_mamba2, NN_ssm_d, NN_ssm_x_w, "Mamba-2"},
    {NN_MIX_delta, NN_delta_q_w, NN_ROLES, "gated delta rule"},
    {NN_MIX_short_conv, NN_ssm_in_w, NN_ssm_dt_b, "short convolutions"},
    {NN_MIX_rg_lru, NN_lru_param, NN_ROLES, "RG-LRU"},
    {NN_MIX_rwkv, NN_wkv_decay, NN_ROLES, "RWKV-4"},
    {NN_MIX_windows, NN_near_w, NN_ROLES, "attention in windows that shift"},
    {NN_MIX_cross, NN_gate1_w, NN_ROLES, "gated cross-attention to pictures"},
};

static bool has_mixer(const struct stack_row *s, const struct mixer *m)
{
    if (m->mixer == NN_MIX_short_conv && s->fixed.other_mixer != m->mixer)
        return false;
    return weight_of(s, m->has) && (m->lacks == NN_ROLES || !weight_of(s, m->lacks));
}

static void say_mixers(const struct stack_row *s)
{
    const struct weight_row *q = weight_of(s, NN_attn_q_w);
    bool recurs = false, beside = q && q->in == IN_ALL;
    for (size_t i = 0; i < sizeof mixers / sizeof mixers[0]; i++)
        if (has_mixer(s, &mixers[i])) {
            recurs = recurs || (mixers[i].mixer >= NN_MIX_mamba && mixers[i].mixer != NN_MIX_rwkv && mixers[i].mixer != NN_MIX_windows);
            say(mixers[i].name);
        }
    if (q && recurs)
        say(beside ? "attention beside it" : "attention in some layers");
    if (weight_of(s, NN_attn_gate_w))
        say("gates of attention");
    if (weight_of(s, NN_sinks))
        say("sinks");
}

static void say_scales(const struct stack_row *s)
{
    const struct weight_row *q = weight_of(s, NN_attn_q_w);
    if (READS(s, embed_scale) || READS(s, residual_scale))
        say("multipliers");
    if (READS(s, softcap) || READS(s, logit_softcap))
        say("soft caps");
    if (READS(s, clip_qkv))
        say("cut projections");
    if (READS(s, logit_scale))
        say("logits scaled");
    if (q && q->part.of)
        say(q->part.transposed ? "q, k, v in one transposed tensor" : "q, k, v in one tensor");
}

static void say_tower(const struct stack_row *s)
{
    if (s->fixed.tower && !weight_of(s, NN_near_w)) /* those are mixers' */
        say(nn_towers[s->fixed.tower].name);
    if (weight_of(s, NN_near_w))
        say("scores by place");
    if (weight_of(s, NN_merge_w))
        say("stages that merge");
    if (weight_of(s, NN_scale1_w))
        say("factors of channels");
}

static void say_stack(const struct stack_row *s)
{
    sep = "";
    say_tower(s);
    say_mixers(s);
    say_norms(s);
    if (s->fixed.wiring == NN_PARALLEL)
        say("attention beside the MLP");
    say_positions(s);
    say_channel(s);
    say_scales(s);
}

/* general.architecture of GGUF files that hold it. */
static void say_gguf(const char *architecture)
{
    const char *last = "";
    sep = "";
    for (size_t i = 0; i < gguf_arch_count; i++)
        if (!strcmp(gguf_archs[i].architecture, architecture) && strcmp(gguf_archs[i].name, last)) {
            printf("%s`%s`", sep, gguf_archs[i].name);
            sep = ", ";
            last = gguf_archs[i].name;
        }
}

static void say_blocks(const struct family_row *f)
{
    const struct stack_place *where = f->text.config ? &f->text : &f->vision;
    const char *type = where->model_type ? where->model_type : f->model_type;
    const struct stack_row *s;
    if (f->conv) {
        printf("convolutions: %s", f->conv->doc);
        return;
    }
    if (f->kind == FAMILY_BYTES) {
        printf("bytes, cut into patches where they surprise; four stacks, the one between patches: ");
        type = f->more[2].model_type;
    }
    if (stack_find(type, "table", &s) >= 0)
        say_stack(s);
    if (f->text.config && f->vision.config)
        printf("; with a vision tower");
}

/* ---- seeing ---- */

static const struct stack_row *tower_of(const struct family_row *f)
{
    const char *type = f->vision.model_type ? f->vision.model_type : f->model_type;
    const struct stack_row *s = NULL;
    return f->vision.config && stack_find(type, "table", &s) >= 0 ? s : NULL;
}

static void say_tower_stack(const struct stack_row *s)
{
    printf("`%s`: ", s->model_type);
    sep = "";
    say_tower(s);
    if (weight_of(s, NN_near_w))
        say_mixers(s);
    say_norms(s);
    if (weight_of(s, NN_class_w))
        say("a class token");
    if (weight_of(s, NN_pos_w))
        say(s->fixed.stretch ? "learned positions, resampled for other grids" : "learned positions");
    if (s->fixed.rope[0].kind != NN_ROPE_none)
        say("rope by rows and columns");
    if (READS(s, window_side) && !weight_of(s, NN_near_w))
        say("windows");
    say_channel(s);
}

static void say_sight(const struct family_row *f, const struct stack_row *tower)
{
    const struct sight_row *own = tower && f->kind == FAMILY_DECODER && tower->sight ? tower->sight : f->sight;
    if (f->sights)
        for (int i = 0; f->sights[i]; i++)
            printf("%s`%s`: %s", i ? "; or " : "", f->sights[i]->name, f->sights[i]->doc);
    else if (own)
        printf("`%s`: %s", own->name, own->doc);
    else if (f->kind == FAMILY_CONTRASTIVE)
        printf("a vector, to compare with those of texts");
    else
        printf("%s", f->fixed.classifies ? "scores of classes" : f->more[0].config ? "states, and its hidden patches guessed" : "states");
}

static void say_seeing(const struct family_row *f)
{
    const struct stack_row *tower = tower_of(f);
    if (!tower && !f->sight && !f->conv)
        return;
    if (tower)
        say_tower_stack(tower);
    else
        printf("%s", f->conv ? f->conv->doc : "none");
    printf("\t");
    say_sight(f, tower);
}

/* Towers that see in a way of their own, whatever the family. */
static void print_towers(void)
{
    for (const struct stack_row *const *s = stack_rows; *s; s++) {
        if (!(*s)->sight)
            continue;
        printf("any over `%s`\t\t\t\t", (*s)->model_type);
        say_tower_stack(*s);
        printf("\t`%s`: %s\n", (*s)->sight->name, (*s)->sight->doc);
    }
}

int main(void)
{
    for (const struct family_row *const *f = family_rows; *f; f++) {
        printf("%s\t%s\t", (*f)->architecture, (*f)->model_type);
        say_gguf((*f)->architecture);
        printf("\t");
        say_blocks(*f);
        printf("\t");
        say_seeing(*f);
        printf("\n");
    }
    print_towers();
    return 0;
}
