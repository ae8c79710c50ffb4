/* rope_scaling and rope_parameters to facts, in all spellings that published configs have. Keys and kinds that are
 * not known are refused: they would change every number. Knows JSON; nn/rope.c knows what the facts mean. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/families.h"

/* All keys of all kinds; 0: not given. */
struct raw {
    const char *type;
    double theta, factor, attention_factor, low, high, mscale, mscale_all, beta_fast, beta_slow, partial, alpha, short_mscale, long_mscale;
    int original;
    bool truncate;
    const json_t *short_factor, *long_factor;
};

#define NUMBER(key, member, def) {key, JSON_KIND_DOUBLE, offsetof(struct raw, member), false, 0, 1e12, def, NULL, NULL, 0, 0}
static const struct json_field raw_fields[] = {
    {"rope_type|type", JSON_KIND_STRING, offsetof(struct raw, type), false, 0, 0, 0, "default", NULL, 0, 0},
    NUMBER("rope_theta", theta, 0),
    NUMBER("factor", factor, 0),
    NUMBER("attention_factor", attention_factor, 0),
    NUMBER("low_freq_factor", low, 1),
    NUMBER("high_freq_factor", high, 4),
    NUMBER("mscale", mscale, 0),
    NUMBER("mscale_all_dim", mscale_all, 0),
    NUMBER("beta_fast", beta_fast, 32),
    NUMBER("beta_slow", beta_slow, 1),
    NUMBER("partial_rotary_factor", partial, 0),
    NUMBER("alpha", alpha, 0),
    NUMBER("short_mscale", short_mscale, 0),
    NUMBER("long_mscale", long_mscale, 0),
    {"original_max_position_embeddings", JSON_KIND_INT, offsetof(struct raw, original), false, 1, MAX_VOCAB, 0, NULL, NULL, 0, 0},
    {"truncate", JSON_KIND_BOOL, offsetof(struct raw, truncate), false, 0, 0, true, NULL, NULL, 0, 0},
    {"short_factor", JSON_KIND_NODE, offsetof(struct raw, short_factor), false, 0, 0, 0, NULL, NULL, 0, 0},
    {"long_factor", JSON_KIND_NODE, offsetof(struct raw, long_factor), false, 0, 0, 0, NULL, NULL, 0, 0},
};
/* Sections matter where tokens turn in three directions: family_sections reads them. */
static const char *const raw_ignore[] = {"type", "rope_type", "finetuned", "mrope_section", "mrope_interleaved", NULL};

/* ---- kinds --------------------------------------------------------------------------------- */

static int read_plain(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope)
{
    return 0;
}

static int need_factor(const struct stack_read *r, const struct raw *raw)
{
    return raw->factor > 0 ? 0 : json_missing(r->place, "rope_scaling.factor");
}

static int read_linear(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope)
{
    return need_factor(r, raw);
}

/* The length beyond which theta grows is max_position_embeddings. With alpha instead of factor (Hunyuan), theta is
 * fixed. */
static int read_dynamic(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope)
{
    int dims = nn_rope_dims(r->f, rope);
    if (dims <= 2)
        return err_set(NUN_EFORMAT, "%s: rope_scaling: dynamic needs more than 2 dimensions, found %d", r->place, dims);
    if (raw->alpha > 0) {
        rope->kind = NN_ROPE_default;
        rope->theta = (float)((double)rope->theta * pow(raw->alpha, (double)dims / (dims - 2)));
        return 0;
    }
    rope->original_positions = r->f->positions;
    return need_factor(r, raw);
}

static int read_llama3(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope)
{
    TRY(need_factor(r, raw));
    if (!raw->original)
        return json_missing(r->place, "rope_scaling.original_max_position_embeddings");
    if (raw->high <= raw->low || raw->low <= 0)
        return err_set(NUN_EFORMAT, "%s: rope_scaling: high_freq_factor %g must exceed low_freq_factor %g", r->place, raw->high, raw->low);
    rope->low_freq_factor = (float)raw->low;
    rope->high_freq_factor = (float)raw->high;
    return 0;
}

static double yarn_mscale(double factor, double by)
{
    return factor <= 1 ? 1 : 0.1 * by * log(factor) + 1;
}

static int read_yarn(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope)
{
    TRY(need_factor(r, raw));
    rope->original_positions = raw->original ? raw->original : r->f->positions;
    rope->beta_fast = (float)raw->beta_fast;
    rope->beta_slow = (float)raw->beta_slow;
    rope->truncate = raw->truncate;
    double m = raw->attention_factor;
    if (m == 0)
        m = raw->mscale != 0 && raw->mscale_all != 0
                ? yarn_mscale(raw->factor, raw->mscale) / yarn_mscale(raw->factor, raw->mscale_all)
                : yarn_mscale(raw->factor, 1);
    rope->mscale = (float)m;
    return rope->theta > 1 ? 0 : err_set(NUN_EFORMAT, "%s: rope_theta: yarn needs more than 1, found %g", r->place, (double)rope->theta);
}

/* One number a rotated pair. */
static int read_factors(const struct stack_read *r, const char *key, const json_t *list, int n, const float **out)
{
    float *at = arena_array(r->arena, (size_t)n + 1, sizeof *at);
    const json_t *x;
    size_t i;
    if (!at)
        return NUN_ENOMEM;
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return err_set(NUN_EFORMAT, "%s: rope_scaling.%s: expected %d numbers, found %zu", r->place, key, n, json_array_size(list));
    json_array_foreach(list, i, x) {
        at[i] = (float)json_number_value(x);
        if (!(at[i] > 0))
            return err_set(NUN_EFORMAT, "%s: rope_scaling.%s[%zu]: expected a positive number", r->place, key, i);
    }
    *out = at;
    return 0;
}

static int read_longrope(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope)
{
    int pairs = nn_rope_dims(r->f, rope) / 2;
    int64_t original = raw->original;
    TRY(read_factors(r, "short_factor", raw->short_factor, pairs, &rope->short_factor));
    TRY(read_factors(r, "long_factor", raw->long_factor, pairs, &rope->long_factor));
    TRY(json_get_int(r->config, r->place, "original_max_position_embeddings", 1, MAX_VOCAB, &original));
    double factor = original ? (double)r->f->positions / (double)original : raw->factor, m = raw->attention_factor;
    rope->original_positions = original ? (int)original : r->f->positions;
    if (raw->short_mscale != raw->long_mscale)
        return err_set(NUN_EUNSUP, "%s: rope_scaling: short_mscale %g and long_mscale %g: only equal ones are supported", r->place,
                       raw->short_mscale, raw->long_mscale);
    if (raw->short_mscale > 0)
        m = raw->short_mscale;
    if (m == 0)
        m = factor <= 1 ? 1 : sqrt(1 + log(factor) / log((double)rope->original_positions));
    rope->mscale = (float)m;
    return 0;
}

static const struct kind_row {
    const char *type;
    int kind;
    int (*read)(const struct stack_read *r, const struct raw *raw, struct nn_rope *rope);
} kind_rows[] = {
    {"default", NN_ROPE_default, read_plain}, {"linear", NN_ROPE_linear, read_linear}, {"dynamic", NN_ROPE_dynamic, read_dynamic},
    {"yarn", NN_ROPE_yarn, read_yarn},        {"longrope", NN_ROPE_longrope, read_longrope},
    {"su", NN_ROPE_longrope, read_longrope},  {"llama3", NN_ROPE_llama3, read_llama3},
    {"mrope", NN_ROPE_default, read_plain},
};

/* ---- one rope, and all --------------------------------------------------------------------- */

static int set_dims(const struct stack_read *r, double share, struct nn_rope *rope)
{
    int D = r->f->head_dim;
    rope->dims = share > 0 ? (int)((double)D * share) : D;
    if (rope->dims % 2 || rope->dims > D || rope->dims < 2)
        return err_set(NUN_EFORMAT, "%s: %d of %d dimensions of a head are to turn: expected pairs", r->place, rope->dims, D);
    return 0;
}

/* `path` is an object of the config. */
static int read_rope(const struct stack_read *r, const char *path, struct nn_rope *rope)
{
    struct raw raw;
    struct json_unknown unknown = {.strict = true, .ignore = raw_ignore};
    TRY(json_read(r->config, r->place, path, raw_fields, sizeof raw_fields / sizeof raw_fields[0], &raw, &unknown));
    if (raw.partial > 0)
        TRY(set_dims(r, raw.partial, rope));
    if (raw.theta > 0)
        rope->theta = (float)raw.theta;
    rope->factor = (float)raw.factor;
    rope->original_positions = raw.original;
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++)
        if (!strcmp(kind_rows[i].type, raw.type)) {
            rope->kind = kind_rows[i].kind;
            return kind_rows[i].read(r, &raw, rope);
        }
    return err_set(NUN_EUNSUP, "%s: %s: type \"%s\" is not one that nunchi knows", r->place, path, raw.type);
}

int family_ropes(const struct stack_read *r)
{
    static const char *const paths[] = {"rope_scaling", "rope_parameters"};
    struct nn_facts *f = r->f;
    for (int i = 0; i < NN_ROPES; i++) {
        if (f->rope[i].kind == NN_ROPE_none)
            continue;
        if (f->rope[i].theta == 0)
            f->rope[i].theta = f->rope[0].theta;
        TRY(set_dims(r, (double)f->rotary_factor, &f->rope[i]));
    }
    if (f->rope[0].kind == NN_ROPE_none)
        return 0;
    for (int i = 0; i < 2; i++) {
        char full[64], sliding[64];
        const json_t *given = NULL;
        TRY(json_get_object(r->config, r->place, paths[i], &given));
        if (!given)
            continue;
        snprintf(full, sizeof full, "%s.full_attention", paths[i]);
        snprintf(sliding, sizeof sliding, "%s.sliding_attention", paths[i]);
        bool nested = json_is_object(json_object_get(given, "full_attention"));
        TRY(read_rope(r, nested ? full : paths[i], &f->rope[0]));
        if (nested && f->slides_apart && json_is_object(json_object_get(given, "sliding_attention")))
            TRY(read_rope(r, sliding, &f->rope[1]));
    }
    return 0;
}

/* ---- three directions ---------------------------------------------------------------------- */

int family_sections(const struct stack_read *r, bool woven)
{
    static const char *const paths[] = {"rope_scaling", "rope_parameters"};
    struct nn_rope *rope = &r->f->rope[0];
    int count = 0, pairs = nn_rope_dims(r->f, rope) / 2;
    bool interleaved = woven;
    for (int i = 0; i < 2 && !count; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s.mrope_section", paths[i]);
        TRY(json_get_ints(r->config, r->place, key, 1, MAX_WIDTH, rope->sections, 3, &count));
        snprintf(key, sizeof key, "%s.mrope_interleaved", paths[i]);
        TRY(json_get_bool(r->config, r->place, key, &interleaved));
    }
    if (count != 3)
        return err_set(NUN_EFORMAT, "%s: rope_scaling.mrope_section: expected 3 numbers, found %d", r->place, count);
    if (rope->sections[0] + rope->sections[1] + rope->sections[2] != pairs)
        return err_set(NUN_EFORMAT, "%s: rope_scaling.mrope_section: %d, %d and %d are not the %d pairs that turn", r->place,
                       rope->sections[0], rope->sections[1], rope->sections[2], pairs);
    if (interleaved != woven)
        return err_set(NUN_EUNSUP, "%s: rope_scaling.mrope_interleaved: expected %s", r->place, woven ? "true" : "false");
    rope->woven = woven;
    return 0;
}
