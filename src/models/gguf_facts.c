/* Metadata to config.json and back, by the rows of gguf_rows.c. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "models/families.h"
#include "models/gguf_map.h"

enum { MOST = 1 << 30 };

const char *gguf_key(const struct gguf_arch *arch, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", arch->name, key);
    return out;
}

json_t *gguf_real(float x)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    return json_real(strtod(text, NULL));
}

int64_t gguf_config_int(const json_t *config, const char *key, int64_t fallback)
{
    const json_t *v = json_dig(config, key);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

/* ---- which row ------------------------------------------------------------------------------- */

static bool has_value(const struct gguf *g, const struct gguf_arch *arch, const char *key)
{
    char full[128];
    const struct gguf_value *v = gguf_value_find(g, gguf_key(arch, key, full));
    return v && (v->is_array || v->type == GGUF_STRING || (v->type == GGUF_BOOL ? gguf_item_bool(v, 0) : gguf_item_double(v, 0) != 0));
}

static bool row_fits(const struct gguf *g, const struct gguf_arch *arch)
{
    const char *equals = arch->when ? strchr(arch->when, '=') : NULL;
    if (!arch->when)
        return true;
    if (*arch->when == '@')
        return gguf_find(g, span_str(arch->when + 1)) != NULL;
    if (equals) {
        char key[128];
        struct span text = {0};
        snprintf(key, sizeof key, "%s.%.*s", arch->name, (int)(equals - arch->when), arch->when);
        return gguf_get_string(g, key, &text) == 0 && span_is(text, equals + 1);
    }
    return *arch->when == '!' ? !has_value(g, arch, arch->when + 1) : has_value(g, arch, arch->when);
}

int gguf_arch_of_file(const struct gguf *g, const char *place, const struct gguf_arch **out)
{
    struct span name = {0};
    TRY(gguf_get_string(g, "general.architecture", &name));
    for (size_t i = 0; i < gguf_arch_count; i++)
        if (span_is(name, gguf_archs[i].name) && row_fits(g, &gguf_archs[i])) {
            *out = &gguf_archs[i];
            return 0;
        }
    struct span tower = {0};
    TRY(gguf_get_string(g, "clip.projector_type", &tower));
    return err_set(NUN_EUNSUP, "%s: general.architecture \"%.*s\"%s%.*s%s is not one that nunchi knows", place,
                   name.len > 40 ? 40 : (int)name.len, name.ptr ? name.ptr : "", tower.len ? " with the projector \"" : "",
                   tower.len > 40 ? 40 : (int)tower.len, tower.ptr ? tower.ptr : "", tower.len ? "\"" : "");
}

int gguf_arch_of_config(const json_t *config, const char *place, const struct gguf_arch **out)
{
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    const char *type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; i < gguf_arch_count; i++)
        if (gguf_archs[i].sight)
            continue; /* read only, and with a decoder */
        else if (name ? !strcmp(gguf_archs[i].architecture, name) : type && !strcmp(gguf_archs[i].model_type, type)) {
            *out = &gguf_archs[i];
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: architecture \"%s\" (model_type \"%s\") has no form in GGUF that nunchi knows", place,
                   name ? name : "", type ? type : "");
}

/* ---- metadata to config ------------------------------------------------------------------------ */

/* Two keys may say the same thing, but not two things. */
static int set_fact(struct gguf_in *in, const struct gguf_fact *f, json_t *value)
{
    const json_t *old = json_object_get(in->config, f->hf);
    if (old && !json_equal(old, value)) {
        json_decref(value);
        return err_set(NUN_EUNSUP, "%s: %s: differs from what the file says elsewhere about %s", in->place, f->gguf, f->hf);
    }
    json_object_set_new(in->config, f->hf, value);
    return 0;
}

static int64_t head_width(const json_t *config)
{
    int64_t heads = gguf_config_int(config, "num_attention_heads", 1);
    return gguf_config_int(config, "head_dim", heads > 0 ? gguf_config_int(config, "hidden_size", 0) / heads : 0);
}

static int read_number(struct gguf_in *in, const struct gguf_fact *f)
{
    char key[128];
    int64_t i = 0;
    double x = f->def;
    bool b = f->def != 0;
    gguf_key(in->arch, f->gguf, key);
    if (f->kind == GF_FLOAT)
        TRY(gguf_get_double(in->g, key, -1e30, 1e30, &x));
    else if (f->kind == GF_BOOL)
        TRY(gguf_get_bool(in->g, key, &b));
    else {
        int rc = gguf_get_int(in->g, key, 0, MOST, &i);
        TRY(rc);
        x = rc == 0 ? (double)i : x;
    }
    if (f->kind == GF_HEADS && isnan(x))
        x = (double)gguf_config_int(in->config, "num_attention_heads", 0);
    if (isnan(x))
        return 0;
    if (f->kind == GF_SHARE && i) {
        int64_t width = head_width(in->config);
        return width > 0 ? set_fact(in, f, json_real((double)i / (double)width)) : 0;
    }
    return set_fact(in, f, f->kind == GF_FLOAT || f->kind == GF_SHARE ? gguf_real((float)x)
                           : f->kind == GF_BOOL ? json_boolean(b) : json_integer((json_int_t)x));
}

static int read_fact(struct gguf_in *in, const struct gguf_fact *f)
{
    const struct st_tensor *t = gguf_find(in->g, span_str(f->gguf));
    if (f->kind == GF_PRESENT || f->kind == GF_ABSENT)
        return set_fact(in, f, json_boolean((t != NULL) == (f->kind == GF_PRESENT)));
    if (f->kind != GF_ROWS)
        return read_number(in, f);
    if (!t || t->shape.n != 2)
        return err_set(NUN_EFORMAT, "%s: tensor \"%s\": expected a matrix, found none", in->place, f->gguf);
    return set_fact(in, f, json_integer(t->shape.d[0]));
}

static json_t *token_id(const struct gguf *g, const char *key)
{
    const struct gguf_value *v = gguf_value_find(g, key);
    return v && !v->is_array && v->type != GGUF_STRING ? json_integer(gguf_item_int(v, 0)) : NULL;
}

/* The roles of tokens, as generation reads them from a config; a turn may end with another token than a text. */
static void read_ids(struct gguf_in *in)
{
    static const struct { const char *gguf, *hf; } ids[] = {
        {"tokenizer.ggml.bos_token_id", "bos_token_id"}, {"tokenizer.ggml.eos_token_id", "eos_token_id"},
        {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        json_t *id = token_id(in->g, ids[i].gguf);
        if (id)
            json_object_set_new(in->config, ids[i].hf, id);
    }
    json_t *eos = json_object_get(in->config, "eos_token_id"), *turn = token_id(in->g, "tokenizer.ggml.eot_token_id");
    if (eos && turn && !json_equal(eos, turn))
        json_object_set_new(in->config, "eos_token_id", json_pack("[O,O]", eos, turn));
    json_decref(turn);
}

int gguf_to_config(const struct gguf *g, const struct gguf_arch *arch, const char *place, json_t **out)
{
    json_t *config;
    TRY(json_parse_span(span_str(arch->constants), place, &config));
    unsigned mark = json_mark();
    struct gguf_in in = {g, arch, place, config};
    json_object_set_new(config, "architectures", json_pack("[s]", arch->architecture));
    json_object_set_new(config, "model_type", json_string(arch->model_type));
    int rc = 0;
    for (int s = 0; s < GGUF_SETS; s++)
        for (size_t i = 0; i < arch->facts[s].n && rc >= 0; i++)
            rc = read_fact(&in, &arch->facts[s].at[i]);
    if (rc >= 0 && arch->read)
        rc = arch->read(&in);
    if (rc >= 0) {
        read_ids(&in);
        rc = json_check(mark);
    }
    if (rc < 0) {
        json_decref(config);
        return rc;
    }
    *out = config;
    return 0;
}

/* ---- config to metadata ------------------------------------------------------------------------ */

static int write_number(struct gguf_out *out, const struct gguf_fact *f)
{
    char key[128];
    const json_t *v = json_dig(out->config, f->hf);
    double x = f->def;
    bool b = f->def != 0;
    if (json_is_null(json_object_get(out->config, f->hf)))
        return 0; /* said to be off, not left to the default */
    gguf_key(out->arch, f->gguf, key);
    if (f->kind == GF_BOOL) {
        TRY(json_get_bool(out->config, out->place, f->hf, &b));
        if (v || !isnan(f->def))
            gguf_set_bool(out->meta, key, b);
        return 0;
    }
    TRY(json_get_double(out->config, out->place, f->hf, -1e30, 1e30, &x));
    if (f->kind == GF_HEADS && isnan(x))
        x = (double)gguf_config_int(out->config, "num_attention_heads", 0);
    if (f->kind == GF_SHARE)
        x = floor(x * (double)head_width(out->config) + 1e-6);
    if (isnan(x))
        return 0;
    if (f->kind == GF_FLOAT)
        gguf_set_float(out->meta, key, x);
    else
        gguf_set_int(out->meta, key, (int64_t)x);
    return 0;
}

int gguf_from_config(struct gguf_out *out)
{
    const struct gguf_arch *arch = out->arch;
    char key[128];
    int64_t vocab = gguf_config_int(out->config, "vocab_size", 0);
    gguf_set_string(out->meta, "general.architecture", span_str(arch->name));
    gguf_set_string(out->meta, "general.type", SPAN("model"));
    for (int s = 0; s < GGUF_SETS; s++)
        for (size_t i = 0; i < arch->facts[s].n; i++)
            if (arch->facts[s].at[i].kind < GF_ROWS)
                TRY(write_number(out, &arch->facts[s].at[i]));
    if (arch->write)
        TRY(arch->write(out));
    if (vocab > 0)
        gguf_set_int(out->meta, gguf_key(arch, "vocab_size", key), vocab);
    if (json_dig(out->config, "num_attention_heads") && head_width(out->config) > 0)
        gguf_set_int(out->meta, gguf_key(arch, "rope.dimension_count", key), head_width(out->config));
    gguf_set_int(out->meta, "general.quantization_version", 2);
    return out->meta->error;
}
