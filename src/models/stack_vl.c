/* The decoder of nunchi_vl: a Llama whose own layers are numbered and named as in a plain one, so that its weights fit by
 * name, and gated layers of cross-attention that stand before some of them. arXiv:2204.14198, arXiv:2409.11402. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "models/decoder_rows.h"

static const struct json_field text_fields[] = {
    ROTARY_FIELDS(4096, 32, 32, 0, 11008, 32000, 2048, 10000.0, false),
    FACT_FLOAT("rms_norm_eps", norm_eps, 1e-6),
    FACT_BOOL("attention_bias", attention_bias, false),
    FACT_BOOL("mlp_bias", mlp_bias, false),
    FACT_ACT(ACT_SILU),
};

#define OWN(role, name) {NN_##role, "model.layers.%t." name, W_ALWAYS, {0}, NULL, IN_MIXER(attention)}
#define OWN_IF(role, name, when) {NN_##role, "model.layers.%t." name, when, {0}, NULL, IN_MIXER(attention)}
#define CROSS(role, name) {NN_##role, "model.cross_layers.%t." name, W_ALWAYS, {0}, NULL, IN_MIXER(cross)}

static const struct weight_row text_weights[] = {
    ROW_EMBED,
    OWN(norm1_w, "input_layernorm.weight"),
    OWN(attn_q_w, "self_attn.q_proj.weight"), OWN_IF(attn_q_b, "self_attn.q_proj.bias", W_ATTENTION_BIAS),
    OWN(attn_k_w, "self_attn.k_proj.weight"), OWN_IF(attn_k_b, "self_attn.k_proj.bias", W_ATTENTION_BIAS),
    OWN(attn_v_w, "self_attn.v_proj.weight"), OWN_IF(attn_v_b, "self_attn.v_proj.bias", W_ATTENTION_BIAS),
    OWN(attn_o_w, "self_attn.o_proj.weight"), OWN_IF(attn_o_b, "self_attn.o_proj.bias", W_ATTENTION_BIAS),
    OWN(norm2_w, "post_attention_layernorm.weight"),
    OWN(gate_w, "mlp.gate_proj.weight"), OWN_IF(gate_b, "mlp.gate_proj.bias", W_MLP_BIAS),
    OWN(up_w, "mlp.up_proj.weight"), OWN_IF(up_b, "mlp.up_proj.bias", W_MLP_BIAS),
    OWN(down_w, "mlp.down_proj.weight"), OWN_IF(down_b, "mlp.down_proj.bias", W_MLP_BIAS),
    CROSS(norm1_w, "input_layernorm.weight"),
    CROSS(attn_q_w, "cross_attn.q_proj.weight"), CROSS(attn_k_w, "cross_attn.k_proj.weight"),
    CROSS(attn_v_w, "cross_attn.v_proj.weight"), CROSS(attn_o_w, "cross_attn.o_proj.weight"),
    CROSS(q_norm_w, "cross_attn.q_norm.weight"), CROSS(k_norm_w, "cross_attn.k_norm.weight"),
    CROSS(gate1_w, "cross_attn_attn_gate"),
    CROSS(norm2_w, "post_attention_layernorm.weight"),
    CROSS(gate_w, "mlp.gate_proj.weight"), CROSS(up_w, "mlp.up_proj.weight"), CROSS(down_w, "mlp.down_proj.weight"),
    CROSS(gate2_w, "cross_attn_mlp_gate"),
    ROW_FINAL_NORM, ROW_HEAD,
};

/* The config counts its own layers; those that look stand before the ones that it names, in ascending order. */
static int lay_cross(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    const json_t *list = NULL, *types = NULL;
    int n = 0, own = 0, all;
    TRY(json_get_array(r->config, r->place, "cross_attention_layers", &list));
    TRY(json_get_array(r->config, r->place, "layer_types", &types));
    if (types)
        return err_set(NUN_EUNSUP, "%s: layer_types: only layers that attend to all before them are supported", r->place);
    all = f->layers + (int)json_array_size(list);
    TRY(limit_check(LIMIT_layers, (size_t)f->layers + json_array_size(list), r->place));
    struct nn_layer *layer = arena_array(r->arena, (size_t)all, sizeof *layer);
    if (!layer)
        return NUN_ENOMEM;
    for (int last = -1; n < all - f->layers; n++) {
        const json_t *one = json_array_get(list, (size_t)n);
        int64_t at = json_is_integer(one) ? json_integer_value(one) : -1;
        if (at <= last || at >= f->layers)
            return err_set(NUN_EFORMAT, "%s: cross_attention_layers[%d]: expected layers from 0 to %d in ascending order, found %lld",
                           r->place, n, f->layers - 1, (long long)at);
        for (last = (int)at; own < last; own++)
            layer[own + n] = (struct nn_layer){.mixer = NN_MIX_attention, .channel = NN_CHANNEL_mlp, .turn = own};
        layer[own + n] = (struct nn_layer){.mixer = NN_MIX_cross, .channel = NN_CHANNEL_mlp, .turn = n};
    }
    for (; own < f->layers; own++)
        layer[own + n] = (struct nn_layer){.mixer = NN_MIX_attention, .channel = NN_CHANNEL_mlp, .turn = own};
    f->layer = layer;
    f->layers = all;
    return 0;
}

static int text_finish(const struct stack_read *r)
{
    TRY(family_finish(r));
    return lay_cross(r);
}

static const char *const text_ignore[] = {"cross_attention_layers", NULL};

const struct stack_row stack_vl_text = {
    "nunchi_vl_text", ROWS(text_fields), text_ignore, ROWS(text_weights), {LLAMA_FACTS, .closed_gates = true}, text_finish};
