/* Llama 3.2 Vision: a Llama with gated cross-attention layers between its own, and a tower of tiles. arXiv:2407.21783. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/decoder_rows.h"

/* ---- the decoder --------------------------------------------------------------------------- */

enum { PLACEHOLDERS = 8 }; /* ids behind the vocabulary */

static const struct json_field text_fields[] = {
    ROTARY_FIELDS(4096, 40, 32, 8, 14336, 128256, 131072, 500000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-5),
    FACT_ACT(ACT_SILU),
};

#define CROSS(role, name) {role, LAYER name, W_ALWAYS, {0}, NULL, IN_MIXER(cross)}
#define OWN(role, name) {role, LAYER name, W_ALWAYS, {0}, NULL, IN_MIXER(attention)}

static const struct weight_row text_weights[] = {
    {NN_embed_w, "model.embed_tokens.weight", W_ALWAYS, {0}, "6H"},
    ROWS_LLAMA_NORMS,
    OWN(NN_attn_q_w, "self_attn.q_proj.weight"), OWN(NN_attn_k_w, "self_attn.k_proj.weight"),
    OWN(NN_attn_v_w, "self_attn.v_proj.weight"), OWN(NN_attn_o_w, "self_attn.o_proj.weight"),
    CROSS(NN_attn_q_w, "cross_attn.q_proj.weight"), CROSS(NN_attn_k_w, "cross_attn.k_proj.weight"),
    CROSS(NN_attn_v_w, "cross_attn.v_proj.weight"), CROSS(NN_attn_o_w, "cross_attn.o_proj.weight"),
    CROSS(NN_q_norm_w, "cross_attn.q_norm.weight"), CROSS(NN_k_norm_w, "cross_attn.k_norm.weight"),
    CROSS(NN_gate1_w, "cross_attn_attn_gate"), CROSS(NN_gate2_w, "cross_attn_mlp_gate"),
    ROWS_GATED_MLP(LAYER),
    ROW_FINAL_NORM, ROW_HEAD,
};

/* Which layers look at pictures. */
static int cross_layers(const struct stack_read *r)
{
    static const int usual[] = {3, 8, 13, 18, 23, 28, 33, 38};
    const json_t *list = NULL, *one;
    size_t i;
    TRY(json_get_array(r->config, r->place, "cross_attention_layers", &list));
    for (i = 0; !list && i < sizeof usual / sizeof usual[0]; i++)
        if (usual[i] < r->f->layers)
            r->f->layer[usual[i]].mixer = NN_MIX_cross;
    json_array_foreach(list, i, one) {
        int64_t at = json_is_integer(one) ? json_integer_value(one) : -1;
        if (at < 0 || at >= r->f->layers)
            return err_set(NUN_EFORMAT, "%s: cross_attention_layers[%zu]: expected a layer from 0 to %d, found %lld", r->place, i,
                           r->f->layers - 1, (long long)at);
        r->f->layer[at].mixer = NN_MIX_cross;
    }
    return 0;
}

static int text_finish(const struct stack_read *r)
{
    TRY(family_finish(r));
    TRY(family_refuse(r, "tie_word_embeddings", false));
    return cross_layers(r);
}

static const char *const text_ignore[] = {"cross_attention_layers", NULL};

const struct stack_row stack_mllama_text = {
    "mllama_text_model", ROWS(text_fields), text_ignore, ROWS(text_weights),
    {LLAMA_FACTS, .mute = PLACEHOLDERS, .blind_sees = true}, text_finish};

/* ---- the tower ----------------------------------------------------------------------------- */

static const struct json_field vision_fields[] = {
    FACT_INT("hidden_size", hidden, 1280, MAX_WIDTH),
    FACT_INT("num_hidden_layers", tiles.local, 32, MAX_LAYERS),
    FACT_INT("num_global_layers", tiles.global, 8, MAX_LAYERS),
    FACT_INT("attention_heads|num_attention_heads", heads, 16, MAX_WIDTH),
    FACT_INT("intermediate_size", intermediate, 5120, MAX_WIDTH),
    FACT_INT("image_size", image_size, 448, 1 << 16),
    FACT_INT("patch_size", patch, 14, 1 << 12),
    FACT_INT("num_channels", channels, 3, 3),
    FACT_INT("max_num_tiles", tiles.most, 4, 64),
    FACT_INT("vision_output_dim", projection, 7680, MAX_WIDTH),
    {"intermediate_layers_indices", JSON_KIND_INTS, offsetof(struct nn_facts, tiles.pick), true, 0, MAX_LAYERS, 0, NULL, NULL,
     offsetof(struct nn_facts, tiles.picks), 8},
    FACT_FLOAT("norm_eps", norm_eps, 1e-5),
    FACT_FLOAT("initializer_range", init_range, 0.02),
    FACT_ACT(ACT_GELU),
};

static bool is_local(const struct weight_ask *a) { return a->layer < a->f->tiles.local; }
static bool is_global(const struct weight_ask *a) { return !is_local(a); }

#define VISION_BLOCK(p, when)                                                            \
    {NN_norm1_w, p "input_layernorm.weight", when}, {NN_norm1_b, p "input_layernorm.bias", when}, \
    {NN_attn_q_w, p "self_attn.q_proj.weight", when}, {NN_attn_k_w, p "self_attn.k_proj.weight", when}, \
    {NN_attn_v_w, p "self_attn.v_proj.weight", when}, {NN_attn_o_w, p "self_attn.o_proj.weight", when}, \
    {NN_norm2_w, p "post_attention_layernorm.weight", when}, {NN_norm2_b, p "post_attention_layernorm.bias", when}, \
    {NN_up_w, p "mlp.fc1.weight", when}, {NN_up_b, p "mlp.fc1.bias", when},              \
    {NN_down_w, p "mlp.fc2.weight", when}, {NN_down_b, p "mlp.fc2.bias", when}

static const struct weight_row vision_weights[] = {
    {NN_class_w, "class_embedding"},
    {NN_patch_w, "patch_embedding.weight"},
    {NN_pos_w, "gated_positional_embedding.embedding"},
    {NN_pos_gate_w, "gated_positional_embedding.gate"},
    {NN_tile_pos_w, "gated_positional_embedding.tile_embedding.weight"},
    {NN_tile_pre_w, "pre_tile_positional_embedding.embedding.weight"},
    {NN_tile_pre_gate_w, "pre_tile_positional_embedding.gate"},
    {NN_tile_post_w, "post_tile_positional_embedding.embedding.weight"},
    {NN_tile_post_gate_w, "post_tile_positional_embedding.gate"},
    {NN_pre_norm_w, "layernorm_pre.weight"}, {NN_pre_norm_b, "layernorm_pre.bias"},
    {NN_post_norm_w, "layernorm_post.weight"}, {NN_post_norm_b, "layernorm_post.bias"},
    VISION_BLOCK("transformer.layers.%d.", is_local),
    VISION_BLOCK("global_transformer.layers.%t.", is_global),
    {NN_gate1_w, "global_transformer.layers.%t.gate_attn", is_global},
    {NN_gate2_w, "global_transformer.layers.%t.gate_ffn", is_global},
};

/* The grids in the order of their numbers, as the processor counts them: all of [rows, columns] that fit. */
static int check_ratios(const struct stack_read *r, struct nn_tiles *t)
{
    const json_t *list = NULL;
    TRY(json_get_array(r->config, r->place, "supported_aspect_ratios", &list));
    for (int rows = 1; rows <= t->most; rows++)
        for (int columns = 1; columns * rows <= t->most; columns++, t->ratios++) {
            const json_t *pair = json_array_get(list, (size_t)t->ratios);
            if (list && (json_integer_value(json_array_get(pair, 0)) != rows || json_integer_value(json_array_get(pair, 1)) != columns))
                return err_set(NUN_EUNSUP, "%s: supported_aspect_ratios[%d]: expected [%d, %d], found another", r->place, t->ratios, rows,
                               columns);
        }
    if (list && json_array_size(list) != (size_t)t->ratios)
        return err_set(NUN_EUNSUP, "%s: supported_aspect_ratios: expected all %d grids of at most %d tiles, found %zu", r->place,
                       t->ratios, t->most, json_array_size(list));
    return 0;
}

/* Local blocks, then global ones. */
static int tower_layers(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    f->layers = f->tiles.local + f->tiles.global;
    TRY(limit_check(LIMIT_layers, (size_t)f->layers, r->place));
    if (!(f->layer = arena_array(r->arena, (size_t)f->layers, sizeof *f->layer)))
        return NUN_ENOMEM;
    for (int i = 0; i < f->layers; i++)
        f->layer[i] = (struct nn_layer){.mixer = NN_MIX_attention, .channel = NN_CHANNEL_mlp,
                                        .turn = i < f->tiles.local ? 0 : i - f->tiles.local};
    return 0;
}

static int vision_finish(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    TRY(tower_layers(r));
    TRY(check_ratios(r, &f->tiles));
    if (f->image_size < f->patch || f->hidden % f->heads)
        return err_set(NUN_EFORMAT, "%s: image_size %d, patch_size %d, hidden_size %d, attention_heads %d do not fit", r->place,
                       f->image_size, f->patch, f->hidden, f->heads);
    f->kv_heads = f->heads;
    f->head_dim = f->hidden / f->heads;
    f->positions = f->image_size / f->patch * (f->image_size / f->patch) + 1;
    for (int i = 0; i < f->tiles.picks; i++)
        if (f->tiles.pick[i] >= f->tiles.local)
            return err_set(NUN_EFORMAT, "%s: intermediate_layers_indices[%d]: %d, but there are %d layers", r->place, i,
                           f->tiles.pick[i], f->tiles.local);
    if (f->projection != f->hidden * (1 + f->tiles.picks))
        return err_set(NUN_EFORMAT, "%s: vision_output_dim: expected %d, found %d", r->place, f->hidden * (1 + f->tiles.picks),
                       f->projection);
    return 0;
}

static const char *const vision_ignore[] = {"supported_aspect_ratios", NULL};

const struct stack_row stack_mllama_vision = {
    "mllama_vision_model", ROWS(vision_fields), vision_ignore, ROWS(vision_weights),
    {.norm = NN_LAYER, .tower = NN_TOWER_tiles}, vision_finish};
