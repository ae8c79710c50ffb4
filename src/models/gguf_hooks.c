/* What no row can say about an architecture's metadata: rope scaling, layer patterns, sizes that one side
 * derives. Where a config says what GGUF has no words for, it is refused. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "base/err.h"
#include "models/gguf_map.h"

enum { MOST = 1 << 30 };

static void put(struct gguf_in *in, const char *key, json_t *value) { json_object_set_new(in->config, key, value); }

static int get_int(const struct gguf_in *in, const char *key, int64_t *out)
{
    char full[128];
    return gguf_get_int(in->g, gguf_key(in->arch, key, full), 0, MOST, out);
}

static int get_double(const struct gguf_in *in, const char *key, double *out)
{
    char full[128];
    return gguf_get_double(in->g, gguf_key(in->arch, key, full), -1e30, 1e30, out);
}

static void set_int(struct gguf_out *out, const char *key, int64_t v)
{
    char full[128];
    gguf_set_int(out->meta, gguf_key(out->arch, key, full), v);
}

static void set_float(struct gguf_out *out, const char *key, double v)
{
    char full[128];
    gguf_set_float(out->meta, gguf_key(out->arch, key, full), v);
}

static int missing(const struct gguf_in *in, const char *key)
{
    return err_set(NUN_EFORMAT, "%s: %s.%s: expected, not found", in->place, in->arch->name, key);
}

/* GGUF has no word for it: only `want` can be written. */
static int only(const struct gguf_out *out, const char *key, int64_t want)
{
    int64_t have = gguf_config_int(out->config, key, want);
    if (have == want)
        return 0;
    return err_set(NUN_EUNSUP, "%s: %s: GGUF's %s means %lld, the config says %lld", out->place, key, out->arch->name,
                   (long long)want, (long long)have);
}

/* ---- rope scaling: reading --------------------------------------------------------------------- */

/* A tensor of at most 1024 factors as floats; returns how many, 0 when there is none. */
static int factors(const struct gguf_in *in, const char *name, float *out)
{
    const struct st_tensor *t = gguf_find(in->g, span_str(name));
    size_t n;
    if (!t)
        return 0;
    TRY(shape_count(&t->shape, &n));
    if (n > 1024 || dtype_table[t->dtype].block_values > 1)
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected at most 1024 plain values", in->place, name);
    TRY(dtype_to_f32(t->dtype, t->data, out, n));
    return (int)n;
}

/* Llama 3's rule: by how much a frequency is divided. */
static double llama3_factor(double freq, double factor, double low, double high, double old)
{
    double waves = old * freq / (2 * M_PI), smooth = (waves - low) / (high - low);
    return waves > high ? 1 : waves < low ? factor : 1 / ((1 - smooth) / factor + smooth);
}

/* The length that explains the factors with the published bounds 1 and 4, from a factor between the extremes; or a
 * power of two between the last frequency that is kept and the first that is divided in full. */
static double llama3_length(const float *f, int n, double base, double factor)
{
    double keep = 0, full = INFINITY;
    for (int i = 0; i < n; i++) {
        double waves = pow(base, -(double)i / n) / (2 * M_PI);
        if (f[i] > 1 && (double)f[i] < factor)
            return rint((1 + 3 * ((1 / (double)f[i] - 1 / factor) / (1 - 1 / factor))) / waves);
        if (f[i] <= 1)
            keep = 4 / waves;
        else if (isinf(full))
            full = 1 / waves;
    }
    double old = exp2(ceil(log2(keep > 1 ? keep : 1)));
    return old < full ? old : keep;
}

static int read_llama3(struct gguf_in *in)
{
    float f[1024];
    double base = 10000, factor = 1;
    int n = factors(in, "rope_freqs.weight", f);
    if (n <= 0)
        return n;
    TRY(get_double(in, "rope.freq_base", &base));
    for (int i = 0; i < n; i++)
        factor = (double)f[i] > factor ? (double)f[i] : factor;
    if (factor <= 1)
        return 0;
    double old = llama3_length(f, n, base, factor);
    for (int i = 0; i < n; i++) {
        double want = llama3_factor(pow(base, -(double)i / n), factor, 1, 4, old);
        if (fabs(want - (double)f[i]) > 1e-4 * want)
            return err_set(NUN_EUNSUP, "%s: rope_freqs.weight: factor %d is %g, Llama 3's rule gives %g", in->place, i,
                           (double)f[i], want);
    }
    put(in, "rope_scaling", json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", factor, "low_freq_factor",
                                      1.0, "high_freq_factor", 4.0, "original_max_position_embeddings", (json_int_t)old));
    return 0;
}

static json_t *factor_list(const float *f, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, gguf_real(f[i]));
    return list;
}

static int read_longrope(struct gguf_in *in)
{
    float f[1024];
    int n = factors(in, "rope_factors_long.weight", f);
    if (n <= 0)
        return n;
    json_t *r = json_pack("{s:s, s:o}", "rope_type", "longrope", "long_factor", factor_list(f, n));
    put(in, "rope_scaling", r);
    n = factors(in, "rope_factors_short.weight", f);
    if (n <= 0)
        return n < 0 ? n : missing(in, "rope_factors_short.weight");
    json_object_set_new(r, "short_factor", factor_list(f, n));
    return 0;
}

static int read_yarn(struct gguf_in *in, json_t *r)
{
    static const struct { const char *gguf, *hf; double scale; } keys[] = {
        {"rope.scaling.yarn_beta_fast", "beta_fast", 1}, {"rope.scaling.yarn_beta_slow", "beta_slow", 1},
        {"rope.scaling.yarn_attn_factor", "attention_factor", 1}, {"rope.scaling.yarn_log_multiplier", "mscale_all_dim", 10},
        {"rope.scaling.yarn_log_multiplier", "mscale", 10}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        double x;
        int rc = get_double(in, keys[i].gguf, &x);
        TRY(rc);
        if (rc == 0)
            json_object_set_new(r, keys[i].hf, gguf_real((float)(x * keys[i].scale)));
    }
    return 0;
}

int gguf_read_rope(struct gguf_in *in)
{
    char key[128];
    struct span type = SPAN("none");
    double factor = 1;
    int64_t old = 0;
    TRY(read_llama3(in));
    TRY(gguf_get_string(in->g, gguf_key(in->arch, "rope.scaling.type", key), &type));
    if (get_double(in, "rope.scale_linear", &factor) == 0 && factor != 1)
        type = SPAN("linear"); /* files of 2023 */
    TRY(get_double(in, "rope.scaling.factor", &factor));
    TRY(get_int(in, "rope.scaling.original_context_length", &old));
    if (span_is(type, "none") || span_is(type, "longrope"))
        return 0;
    if (!span_is(type, "linear") && !span_is(type, "yarn"))
        return err_set(NUN_EUNSUP, "%s: rope.scaling.type \"%.*s\" is not one that nunchi knows", in->place, (int)type.len, type.ptr);
    json_t *r = json_pack("{s:s#, s:o}", "rope_type", type.ptr, (int)type.len, "factor", gguf_real((float)factor));
    put(in, "rope_scaling", r);
    if (old && span_is(type, "yarn"))
        json_object_set_new(r, "original_max_position_embeddings", json_integer(old));
    return span_is(type, "yarn") ? read_yarn(in, r) : 0;
}

/* ---- rope scaling: writing --------------------------------------------------------------------- */

static double scaling(const struct gguf_out *out, const char *key, double fallback)
{
    const json_t *r = json_dig(out->config, "rope_scaling");
    const json_t *v = json_object_get(r ? r : json_dig(out->config, "rope_parameters"), key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static struct gguf_extra *extra(struct gguf_out *out, const char *name, int n)
{
    struct gguf_extra *e = &out->extra[out->n_extra++];
    e->name = name;
    e->n = n;
    return e;
}

static int write_llama3(struct gguf_out *out)
{
    int64_t width = gguf_config_int(out->config, "hidden_size", 0) / gguf_config_int(out->config, "num_attention_heads", 1);
    int n = (int)gguf_config_int(out->config, "head_dim", width) / 2;
    double base = 10000, old = scaling(out, "original_max_position_embeddings", 8192);
    TRY(json_get_double(out->config, out->place, "rope_theta", 1, 1e30, &base));
    if (n < 1 || n > 1024)
        return err_set(NUN_EUNSUP, "%s: %d rope frequencies", out->place, n);
    struct gguf_extra *e = extra(out, "rope_freqs.weight", n);
    for (int i = 0; i < n; i++)
        e->at[i] = (float)llama3_factor(pow(base, -(double)i / n), scaling(out, "factor", 8), scaling(out, "low_freq_factor", 1),
                                        scaling(out, "high_freq_factor", 4), old);
    return 0;
}

static int write_yarn(struct gguf_out *out)
{
    char key[128];
    gguf_set_string(out->meta, gguf_key(out->arch, "rope.scaling.type", key), SPAN("yarn"));
    set_float(out, "rope.scaling.factor", scaling(out, "factor", 1));
    set_int(out, "rope.scaling.original_context_length",
            (int64_t)scaling(out, "original_max_position_embeddings", (double)gguf_config_int(out->config, "max_position_embeddings", 0)));
    set_float(out, "rope.scaling.yarn_beta_fast", scaling(out, "beta_fast", 32));
    set_float(out, "rope.scaling.yarn_beta_slow", scaling(out, "beta_slow", 1));
    if (scaling(out, "attention_factor", 0) > 0)
        set_float(out, "rope.scaling.yarn_attn_factor", scaling(out, "attention_factor", 0));
    double all = scaling(out, "mscale_all_dim", 0);
    if (all != 0 && scaling(out, "mscale", all) != all)
        return err_set(NUN_EUNSUP, "%s: rope_scaling: mscale %g differs from mscale_all_dim %g, which GGUF cannot say",
                       out->place, scaling(out, "mscale", all), all);
    if (all != 0)
        set_float(out, "rope.scaling.yarn_log_multiplier", all / 10);
    return 0;
}

static int write_linear(struct gguf_out *out)
{
    char key[128];
    gguf_set_string(out->meta, gguf_key(out->arch, "rope.scaling.type", key), SPAN("linear"));
    set_float(out, "rope.scaling.factor", scaling(out, "factor", 1));
    return 0;
}

static int write_factors(struct gguf_out *out, const char *from, const char *name)
{
    const json_t *r = json_dig(out->config, "rope_scaling"), *list = json_object_get(r, from);
    size_t n = json_array_size(list);
    if (n < 1 || n > 1024)
        return err_set(NUN_EFORMAT, "%s: rope_scaling: %s: expected a list of 1 to 1024, found %zu", out->place, from, n);
    struct gguf_extra *e = extra(out, name, (int)n);
    for (size_t i = 0; i < n; i++)
        e->at[i] = (float)json_number_value(json_array_get(list, i));
    return 0;
}

static int write_longrope(struct gguf_out *out)
{
    char key[128];
    int64_t most = gguf_config_int(out->config, "max_position_embeddings", 0);
    double old = (double)gguf_config_int(out->config, "original_max_position_embeddings", most), ratio = (double)most / old;
    gguf_set_string(out->meta, gguf_key(out->arch, "rope.scaling.type", key), SPAN("longrope"));
    set_float(out, "rope.scaling.attn_factor", scaling(out, "attention_factor", ratio <= 1 ? 1 : sqrt(1 + log(ratio) / log(old))));
    TRY(write_factors(out, "long_factor", "rope_factors_long.weight"));
    return write_factors(out, "short_factor", "rope_factors_short.weight");
}

static int write_none(struct gguf_out *out) { return 0; }

int gguf_write_rope(struct gguf_out *out)
{
    static const struct { const char *type; int (*write)(struct gguf_out *out); } rows[] = {
        {"default", write_none}, {"linear", write_linear}, {"llama3", write_llama3}, {"yarn", write_yarn},
        {"longrope", write_longrope}, {"su", write_longrope}};
    const json_t *r = json_dig(out->config, "rope_scaling");
    r = r ? r : json_dig(out->config, "rope_parameters");
    const char *type = json_string_value(json_object_get(r, "rope_type"));
    type = type ? type : json_string_value(json_object_get(r, "type"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(type ? type : "default", rows[i].type))
            return rows[i].write(out);
    return err_set(NUN_EUNSUP, "%s: rope_scaling: GGUF has no word for the type \"%s\"", out->place, type);
}

/* ---- patterns of layers ------------------------------------------------------------------------ */

static json_t *layer_types(int64_t layers, const struct gguf_value *slides, int every)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < layers; i++) {
        bool slide = slides ? (size_t)i < slides->count && gguf_item_bool(slides, (size_t)i) : (i + 1) % every != 0;
        json_array_append_new(list, json_string(slide ? "sliding_attention" : "full_attention"));
    }
    return list;
}

int gguf_read_window_layers(struct gguf_in *in)
{
    char key[128];
    const struct gguf_value *slides = NULL;
    TRY(gguf_get_array(in->g, gguf_key(in->arch, "attention.sliding_window_pattern", key), GGUF_BOOL, &slides));
    put(in, "layer_types", layer_types(gguf_config_int(in->config, "num_hidden_layers", 0), slides, 4));
    return gguf_read_rope(in);
}

int gguf_write_window_layers(struct gguf_out *out)
{
    char key[128];
    const json_t *types = json_dig(out->config, "layer_types"), *type;
    size_t i, n = (size_t)gguf_config_int(out->config, "num_hidden_layers", 0);
    if (types && json_array_size(types) != n)
        return err_set(NUN_EFORMAT, "%s: layer_types: expected %zu, found %zu", out->place, n, json_array_size(types));
    gguf_set_array(out->meta, gguf_key(out->arch, "attention.sliding_window_pattern", key), GGUF_BOOL, n);
    for (i = 0; i < n; i++) {
        type = json_array_get(types, i);
        const char *name = json_string_value(type);
        gguf_item_set_int(out->meta, GGUF_BOOL, types ? name && !strcmp(name, "sliding_attention") : (i + 1) % 4 != 0);
    }
    return gguf_write_rope(out);
}

/* Gemma's largest models scale queries by the mean head width, the others by the head width. */
static int64_t gemma_scalar(const json_t *config, int64_t largest)
{
    int64_t heads = gguf_config_int(config, "num_attention_heads", 1);
    bool large = gguf_config_int(config, "num_hidden_layers", 0) == largest && heads > 0;
    return large ? gguf_config_int(config, "hidden_size", 0) / heads : gguf_config_int(config, "head_dim", 256);
}

int gguf_read_gemma2(struct gguf_in *in)
{
    put(in, "query_pre_attn_scalar", json_integer(gemma_scalar(in->config, 46)));
    return gguf_read_rope(in);
}

int gguf_write_gemma2(struct gguf_out *out)
{
    TRY(only(out, "query_pre_attn_scalar", gemma_scalar(out->config, 46)));
    return gguf_write_rope(out);
}

int gguf_read_gemma3(struct gguf_in *in)
{
    double local = 10000;
    TRY(get_double(in, "rope.freq_base_swa", &local));
    put(in, "query_pre_attn_scalar", json_integer(gemma_scalar(in->config, 62)));
    put(in, "rope_local_base_freq", gguf_real((float)local));
    put(in, "layer_types", layer_types(gguf_config_int(in->config, "num_hidden_layers", 0), NULL, 6));
    return gguf_read_rope(in);
}

int gguf_write_gemma3(struct gguf_out *out)
{
    TRY(only(out, "query_pre_attn_scalar", gemma_scalar(out->config, 62)));
    TRY(only(out, "sliding_window_pattern", 6));
    TRY(only(out, "rope_local_base_freq", 10000));
    const json_t *types = json_dig(out->config, "layer_types");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *name = json_string_value(json_array_get(types, i));
        if (!name || strcmp(name, (i + 1) % 6 ? "sliding_attention" : "full_attention") != 0)
            return err_set(NUN_EUNSUP, "%s: layer_types: GGUF's gemma3 means every sixth layer", out->place);
    }
    return gguf_write_rope(out);
}

int gguf_read_smollm3(struct gguf_in *in)
{
    json_t *list = json_array();
    int64_t n = gguf_config_int(in->config, "num_hidden_layers", 0);
    for (int64_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer((i + 1) % 4 != 0));
    put(in, "no_rope_layers", list);
    return gguf_read_rope(in);
}

int gguf_write_smollm3(struct gguf_out *out)
{
    const json_t *list = json_dig(out->config, "no_rope_layers");
    TRY(only(out, "no_rope_layer_interval", 4));
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_integer_value(json_array_get(list, i)) != ((i + 1) % 4 != 0))
            return err_set(NUN_EUNSUP, "%s: no_rope_layers: GGUF's smollm3 means every fourth layer", out->place);
    return gguf_write_rope(out);
}

/* ---- sizes ------------------------------------------------------------------------------------- */

int gguf_read_gpt2(struct gguf_in *in)
{
    int64_t inner = 0;
    TRY(get_int(in, "feed_forward_length", &inner));
    if (inner)
        put(in, "n_inner", json_integer(inner));
    return 0;
}

int gguf_write_gpt2(struct gguf_out *out)
{
    set_int(out, "feed_forward_length", gguf_config_int(out->config, "n_inner", 4 * gguf_config_int(out->config, "n_embd", 0)));
    TRY(only(out, "scale_attn_by_inverse_layer_idx", 0));
    return 0;
}

int gguf_read_phi3(struct gguf_in *in)
{
    int64_t old = 0, window = 0;
    TRY(get_int(in, "rope.scaling.original_context_length", &old));
    TRY(get_int(in, "attention.sliding_window", &window));
    if (old)
        put(in, "original_max_position_embeddings", json_integer(old));
    put(in, "sliding_window", window ? json_integer(window) : json_null());
    TRY(read_longrope(in));
    return gguf_read_rope(in);
}

int gguf_write_phi3(struct gguf_out *out)
{
    int64_t old = gguf_config_int(out->config, "original_max_position_embeddings", 0);
    set_int(out, "attention.sliding_window", gguf_config_int(out->config, "sliding_window", 0));
    if (old)
        set_int(out, "rope.scaling.original_context_length", old);
    return gguf_write_rope(out);
}

int gguf_read_deepseek(struct gguf_in *in)
{
    int64_t key = 0, value = 0, rope = gguf_config_int(in->config, "qk_rope_head_dim", 0), gating = 0, groups = 0;
    bool v3 = !strcmp(in->arch->model_type, "deepseek_v3");
    if (get_int(in, "attention.key_length_mla", &key) && get_int(in, "attention.key_length", &key))
        return missing(in, "attention.key_length");
    if (get_int(in, "attention.value_length_mla", &value) && get_int(in, "attention.value_length", &value))
        return missing(in, "attention.value_length");
    if (key <= rope)
        return err_set(NUN_EFORMAT, "%s: heads of %lld values, %lld of them for rope", in->place, (long long)key, (long long)rope);
    TRY(get_int(in, "expert_gating_func", &gating));
    put(in, "qk_nope_head_dim", json_integer(key - rope));
    put(in, "v_head_dim", json_integer(value));
    put(in, "num_key_value_heads", json_integer(gguf_config_int(in->config, "num_attention_heads", 0)));
    put(in, "scoring_func", json_string(gating == 2 ? "sigmoid" : "softmax"));
    groups = gguf_config_int(in->config, "n_group", 1);
    put(in, "topk_method", json_string(v3 ? "noaux_tc" : groups > 1 ? "group_limited_greedy" : "greedy"));
    if (!json_object_get(in->config, "q_lora_rank"))
        put(in, "q_lora_rank", json_null());
    return gguf_read_rope(in);
}

int gguf_write_deepseek(struct gguf_out *out)
{
    int64_t nope = gguf_config_int(out->config, "qk_nope_head_dim", 0), rope = gguf_config_int(out->config, "qk_rope_head_dim", 0);
    int64_t rank = gguf_config_int(out->config, "kv_lora_rank", 0), value = gguf_config_int(out->config, "v_head_dim", 0);
    const char *scoring = json_string_value(json_dig(out->config, "scoring_func"));
    set_int(out, "attention.head_count_kv", 1);
    set_int(out, "attention.key_length", rank + rope);
    set_int(out, "attention.value_length", rank);
    set_int(out, "attention.key_length_mla", nope + rope);
    set_int(out, "attention.value_length_mla", value);
    if (!strcmp(out->arch->model_type, "deepseek_v3"))
        set_int(out, "expert_gating_func", scoring && !strcmp(scoring, "softmax") ? 1 : 2);
    return gguf_write_rope(out);
}

static int inner_size(const struct gguf_in *in, int64_t *inner, int64_t *hidden)
{
    *hidden = gguf_config_int(in->config, "hidden_size", 0);
    if (get_int(in, "ssm.inner_size", inner) || *hidden <= 0)
        return missing(in, "ssm.inner_size");
    return 0;
}

static json_t *expansion(int64_t inner, int64_t hidden)
{
    return inner % hidden ? json_real((double)inner / (double)hidden) : json_integer(inner / hidden);
}

int gguf_read_mamba(struct gguf_in *in)
{
    int64_t inner, hidden;
    TRY(inner_size(in, &inner, &hidden));
    put(in, "expand", expansion(inner, hidden));
    return 0;
}

static void write_ssm(struct gguf_out *out)
{
    set_int(out, "context_length", 1 << 20); /* no bound */
    set_int(out, "feed_forward_length", 0);
    set_int(out, "attention.head_count", 0);
}

int gguf_write_mamba(struct gguf_out *out)
{
    char key[128];
    write_ssm(out);
    gguf_set_bool(out->meta, gguf_key(out->arch, "ssm.dt_b_c_rms", key), !strcmp(out->arch->model_type, "falcon_mamba"));
    return 0;
}

int gguf_read_mamba2(struct gguf_in *in)
{
    int64_t inner, hidden, heads = gguf_config_int(in->config, "num_heads", 0);
    TRY(inner_size(in, &inner, &hidden));
    if (heads < 1 || inner % heads)
        return err_set(NUN_EFORMAT, "%s: ssm.inner_size %lld is not a multiple of the %lld heads", in->place, (long long)inner, (long long)heads);
    put(in, "expand", expansion(inner, hidden));
    put(in, "head_dim", json_integer(inner / heads));
    return 0;
}

int gguf_write_mamba2(struct gguf_out *out)
{
    write_ssm(out);
    set_int(out, "ssm.inner_size", gguf_config_int(out->config, "num_heads", 0) * gguf_config_int(out->config, "head_dim", 0));
    return 0;
}

static bool repeats(const bool *is, int64_t n, int64_t period, int64_t offset)
{
    for (int64_t i = 0; i < n; i++)
        if (is[i] != (i % period == offset))
            return false;
    return true;
}

/* Layers i with i % period == offset, as two numbers, a period that divides the layers first; false when
 * no two numbers say it. */
static bool periodic(const bool *is, int64_t n, int64_t *period, int64_t *offset)
{
    for (int whole = 1; whole >= 0; whole--)
        for (*period = 1; *period <= n; ++*period)
            for (*offset = 0; *offset < *period; ++*offset)
                if ((n % *period == 0 || !whole) && repeats(is, n, *period, *offset))
                    return true;
    return false;
}

static int put_periodic(struct gguf_in *in, const bool *is, int64_t n, const char *period_key, const char *offset_key)
{
    int64_t period, offset;
    if (!periodic(is, n, &period, &offset))
        return err_set(NUN_EUNSUP, "%s: %s and %s cannot say which layers these are", in->place, period_key, offset_key);
    put(in, period_key, json_integer(period));
    put(in, offset_key, json_integer(offset));
    return 0;
}

int gguf_read_jamba(struct gguf_in *in)
{
    enum { LAYERS = 512 };
    bool is[LAYERS];
    char key[128];
    const struct gguf_value *heads = NULL;
    int64_t inner, hidden, n = gguf_config_int(in->config, "num_hidden_layers", 0);
    TRY(inner_size(in, &inner, &hidden));
    TRY(gguf_get_array(in->g, gguf_key(in->arch, "attention.head_count_kv", key), GGUF_I32, &heads));
    if (!heads || n < 1 || n > LAYERS || (int64_t)heads->count != n)
        return missing(in, "attention.head_count_kv of every layer");
    for (int64_t i = 0; i < n; i++)
        if ((is[i] = gguf_item_int(heads, (size_t)i) != 0))
            put(in, "num_key_value_heads", json_integer(gguf_item_int(heads, (size_t)i)));
    TRY(put_periodic(in, is, n, "attn_layer_period", "attn_layer_offset"));
    for (int64_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "blk.%d.ffn_gate_inp.weight", (int)i);
        is[i] = gguf_find(in->g, span_str(key)) != NULL;
    }
    put(in, "mamba_expand", expansion(inner, hidden));
    return put_periodic(in, is, n, "expert_layer_period", "expert_layer_offset");
}

int gguf_write_jamba(struct gguf_out *out)
{
    char key[128];
    int64_t n = gguf_config_int(out->config, "num_hidden_layers", 0), period = gguf_config_int(out->config, "attn_layer_period", 8);
    int64_t offset = gguf_config_int(out->config, "attn_layer_offset", 4);
    if (period < 1)
        return err_set(NUN_EFORMAT, "%s: attn_layer_period: expected at least 1, found %lld", out->place, (long long)period);
    gguf_set_array(out->meta, gguf_key(out->arch, "attention.head_count_kv", key), GGUF_I32, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        gguf_item_set_int(out->meta, GGUF_I32, i % period == offset ? gguf_config_int(out->config, "num_key_value_heads", 8) : 0);
    set_int(out, "ssm.inner_size", gguf_config_int(out->config, "mamba_expand", 2) * gguf_config_int(out->config, "hidden_size", 0));
    return 0;
}
