/* Models of recurrent layers alone: Mamba (arXiv:2312.00752), Falcon-Mamba (arXiv:2410.05355), Mamba-2
 * (arXiv:2405.21060). */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/ssm_rows.h"

/* What only the first values of weights depend on, and how the originals compute. */
static const char *const mamba_ignore[] = {
    "time_step_rank", "time_step_min", "time_step_max", "time_step_scale", "time_step_floor", "time_step_limit",
    "time_step_init_scheme", "rescale_prenorm_residual", "residual_in_fp32", "use_mambapy", "use_falcon_mambapy",
    "use_associative_scan", "expand", "intermediate_size", "chunk_size", "head_dim", "rms_norm", "norm_before_gate",
    "d_inner", "d_model", "n_layer", "ssm_cfg", "fused_add_norm", "pad_vocab_size_multiple", NULL};

#define MAMBA_FIELDS(hidden_def, layers_def, vocab_def, states_def)                    \
    FACT_INT("hidden_size", hidden, hidden_def, MAX_WIDTH),                            \
    FACT_INT("num_hidden_layers", layers, layers_def, MAX_LAYERS),                     \
    FACT_INT("vocab_size", vocab, vocab_def, MAX_VOCAB),                               \
    FACT_INT("state_size", ssm.states, states_def, MAX_WIDTH),                         \
    FACT_INT("conv_kernel", ssm.taps, 4, 64),                                          \
    FACT_FLOAT("layer_norm_epsilon", norm_eps, 1e-5),                                  \
    FACT_FLOAT("initializer_range", init_range, 0.1),                                  \
    FACT_BOOL("use_bias", ssm.bias, false),                                            \
    FACT_BOOL("use_conv_bias", ssm.conv_bias, true),                                   \
    FACT_ACT(ACT_SILU)

#define MAMBA_FRAME                                                                    \
    {NN_embed_w, "backbone.embeddings.weight"},                                        \
    {NN_norm1_w, "backbone.layers.%d.norm.weight"},                                    \
    {NN_final_norm_w, "backbone.norm_f.weight"}, ROW_HEAD

#define MAMBA_FACTS .norm = NN_RMS, .causal = true, .positions = SSM_POSITIONS

static int all_layers(const struct stack_read *r, int mixer)
{
    for (int i = 0; i < r->f->layers; i++) {
        r->f->layer[i].mixer = (int8_t)mixer;
        r->f->layer[i].channel = NN_NONE;
    }
    return 0;
}

/* ---- Mamba --------------------------------------------------------------------------------- */

static const struct json_field mamba_fields[] = {
    MAMBA_FIELDS(768, 32, 50280, 16), FACT_BOOL("tie_word_embeddings", tied, true)};

static int mamba_finish(const struct stack_read *r)
{
    TRY(ssm_inner(r, "intermediate_size", "expand", 2));
    TRY(ssm_rank(r, "time_step_rank"));
    return all_layers(r, NN_MIX_mamba);
}

static const struct weight_row mamba_weights[] = {MAMBA_FRAME, ROWS_MAMBA("backbone.layers.%d.mixer.", IN_ALL)};

const struct stack_row stack_mamba = {
    "mamba", ROWS(mamba_fields), mamba_ignore, ROWS(mamba_weights), {MAMBA_FACTS}, mamba_finish, "backbone."};
const struct family_row family_mamba = DECODER_FAMILY("MambaForCausalLM", "mamba");

/* ---- Falcon-Mamba: step sizes, B and C are normalised, without weights ---- */

static const struct json_field falcon_mamba_fields[] = {
    MAMBA_FIELDS(768, 32, 50280, 16), FACT_BOOL("tie_word_embeddings", tied, true),
    FACT_FLOAT("mixer_rms_eps", ssm.norm_eps, 1e-6)};

const struct stack_row stack_falcon_mamba = {
    "falcon_mamba", ROWS(falcon_mamba_fields), mamba_ignore, ROWS(mamba_weights), {MAMBA_FACTS, .ssm.norm_parts = true},
    mamba_finish, "backbone."};
const struct family_row family_falcon_mamba = DECODER_FAMILY("FalconMambaForCausalLM", "falcon_mamba");

/* ---- Mamba-2 ------------------------------------------------------------------------------- */

static const struct json_field mamba2_fields[] = {
    MAMBA_FIELDS(4096, 64, 32768, 128), FACT_BOOL("tie_word_embeddings", tied, false),
    FACT_INT("num_heads", ssm.heads, 128, MAX_WIDTH), FACT_INT("n_groups", ssm.groups, 8, MAX_WIDTH)};

static int mamba2_finish(const struct stack_read *r)
{
    if (r->f->act != ACT_SILU)
        return err_set(NUN_EUNSUP, "%s: hidden_act: Mamba-2 is computed with silu only", r->place);
    TRY(family_refuse(r, "norm_before_gate", false));
    TRY(ssm_inner(r, "intermediate_size", "expand", 2));
    TRY(ssm_heads(r, "head_dim"));
    return all_layers(r, NN_MIX_mamba2);
}

static const struct weight_row mamba2_weights[] = {MAMBA_FRAME, ROWS_MAMBA2("backbone.layers.%d.mixer.", IN_ALL)};

const struct stack_row stack_mamba2 = {
    "mamba2", ROWS(mamba2_fields), mamba_ignore, ROWS(mamba2_weights), {MAMBA_FACTS, .ssm.norm = true}, mamba2_finish,
    "backbone."};
const struct family_row family_mamba2 = DECODER_FAMILY("Mamba2ForCausalLM", "mamba2");
