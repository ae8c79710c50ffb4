/* LoRA, rsLoRA and DoRA: adapter_config.json to facts, tensors of adapter_model.safetensors to changes of weights. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/map.h"
#include "formats/json.h"
#include "models/lora.h"
#include "text/tok_regex.h"

enum { NAME_BYTES = 512, MAX_RANK = 1 << 16 };
#define PREFIX "base_model.model."

struct lora_facts {
    const char *type;
    int rank;
    float alpha;
    bool rslora, dora, fan_in_fan_out, qalora, tied;
    const json_t *rank_pattern, *alpha_pattern, *init, *replication, *alora, *arrow, *parameters, *tokens;
};

struct lora {
    const char *place;           /* of adapter_config.json */
    float scale;
    json_t *config;
    struct safetensors *st;
    struct lora_facts f;
    bool *used;                  /* [st_count] */
};

struct lora_set {
    struct arena *arena;
    struct lora *list;
    size_t n;
    struct map changed;          /* name -> const struct st_tensor * */
};

/* ---- adapter_config.json --------------------------------------------------------------------------------- */

#define FACT(key, kind, member, lo, hi, def) {key, kind, offsetof(struct lora_facts, member), false, lo, hi, def, NULL, NULL, 0, 0}
#define FACT_NODE(key, member) FACT(key, JSON_KIND_NODE, member, 0, 0, 0)

static const struct json_field lora_fields[] = {
    FACT("peft_type", JSON_KIND_STRING, type, 0, 0, 0), FACT("r", JSON_KIND_INT, rank, 1, MAX_RANK, 8),
    FACT("lora_alpha", JSON_KIND_FLOAT, alpha, 0, 1e9, 8), FACT("use_rslora", JSON_KIND_BOOL, rslora, 0, 0, false),
    FACT("use_dora", JSON_KIND_BOOL, dora, 0, 0, false), FACT("fan_in_fan_out", JSON_KIND_BOOL, fan_in_fan_out, 0, 0, false),
    FACT("use_qalora", JSON_KIND_BOOL, qalora, 0, 0, false), FACT("ensure_weight_tying", JSON_KIND_BOOL, tied, 0, 0, false),
    FACT_NODE("rank_pattern", rank_pattern), FACT_NODE("alpha_pattern", alpha_pattern), FACT_NODE("init_lora_weights", init),
    FACT_NODE("layer_replication", replication), FACT_NODE("alora_invocation_tokens", alora), FACT_NODE("arrow_config", arrow),
    FACT_NODE("target_parameters", parameters), FACT_NODE("trainable_token_indices", tokens),
};

/* Which modules were chosen shows in the tensors; the rest is about training. */
static const char *const lora_ignore[] = {
    "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "eva_config", "exclude_modules", "inference_mode",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_bias", "lora_dropout", "megatron_config", "megatron_core",
    "modules_to_save", "peft_version", "qalora_group_size", "revision", "target_modules", "task_type", "runtime_config", NULL};

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_object(v) && !json_object_size(v)) ||
           (json_is_array(v) && !json_array_size(v));
}

/* Ways of starting that leave the base's weights alone. */
static bool plain_start(const json_t *v)
{
    static const char *const plain[] = {"gaussian", "eva", "orthogonal", NULL};
    const char *name = json_string_value(v);
    for (int i = 0; name && plain[i]; i++)
        if (!strcmp(plain[i], name))
            return true;
    return !name;
}

static int check_facts(const struct lora *a)
{
    const struct lora_facts *f = &a->f;
    const struct { const char *key; bool bad; } rules[] = {
        {"peft_type", !f->type || strcmp(f->type, "LORA")}, {"use_qalora", f->qalora}, {"ensure_weight_tying", f->tied},
        {"init_lora_weights", !plain_start(f->init)}, {"layer_replication", !is_empty(f->replication)},
        {"alora_invocation_tokens", !is_empty(f->alora)}, {"arrow_config", !is_empty(f->arrow)},
        {"target_parameters", !is_empty(f->parameters)}, {"trainable_token_indices", !is_empty(f->tokens)}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].bad) {
            struct buf text;
            buf_init(&text, MEM_MODEL, 1 << 20);
            const json_t *v = json_object_get(a->config, rules[i].key);
            if (!v || json_write(v, JSON_TIGHT, &text) < 0)
                buf_reset(&text);
            int rc = err_set(NUN_EUNSUP, "%s: %s: %.200s is not supported", a->place, rules[i].key, buf_cstr(&text));
            buf_free(&text);
            return rc;
        }
    return 0;
}

/* A name that is one of the pattern's keys as (^|.*\.)KEY$; the first one counts. */
static int pattern_value(const struct lora *a, const char *key, const json_t *pattern, const char *module, double *out)
{
    const char *regex;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)pattern, regex, value) {
        char full[NAME_BYTES];
        struct tok_regex *r;
        struct tok_match *m = NULL;
        size_t from, to;
        if (!json_is_number(value) || snprintf(full, sizeof full, "^(?:.*\\.)?(?:%s)$", regex) >= (int)sizeof full)
            return err_set(NUN_EFORMAT, "%s: %s: \"%.100s\": expected a number under a name", a->place, key, regex);
        TRY(tok_regex_compile(span_str(full), &r));
        int rc = tok_match_create(&m);
        if (rc >= 0)
            rc = tok_regex_find(r, m, span_str(module), 0, &from, &to);
        tok_match_free(m);
        tok_regex_free(r);
        if (rc > 0)
            *out = json_number_value(value);
        if (rc)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

/* alpha / r, or alpha / sqrt(r), of one module. The rank is that of its matrices. */
static int factor_of(const struct lora *a, const char *module, int64_t rank, float *out)
{
    double alpha = a->f.alpha, want = a->f.rank;
    TRY(pattern_value(a, "alpha_pattern", a->f.alpha_pattern, module, &alpha));
    TRY(pattern_value(a, "rank_pattern", a->f.rank_pattern, module, &want));
    if (want != (double)rank)
        return err_set(NUN_EFORMAT, "%s: %s: expected rank %g, its matrices have %lld", a->place, module, want, (long long)rank);
    *out = (float)(alpha / (a->f.rslora ? sqrt((double)rank) : (double)rank));
    return 0;
}

static int open_one(struct lora *a, const struct model_lora *from, struct arena *arena)
{
    char path[4096];
    const struct json_unknown unknown = {.strict = true, .ignore = lora_ignore};
    a->scale = from->scale;
    TRY(path_join(path, sizeof path, from->folder, "adapter_config.json"));
    if (!(a->place = arena_strdup(arena, path)))
        return NUN_ENOMEM;
    TRY(json_load_file_limited(path, &a->config));
    TRY(json_read(a->config, a->place, "", lora_fields, sizeof lora_fields / sizeof lora_fields[0], &a->f, &unknown));
    TRY(check_facts(a));
    TRY(path_join(path, sizeof path, from->folder, "adapter_model.safetensors"));
    if (!file_exists(path))
        return err_set(NUN_EUNSUP, "%s: expected adapter_model.safetensors, which is not there", from->folder);
    TRY(st_open(path, &a->st));
    a->used = arena_array(arena, st_count(a->st) + 1, sizeof *a->used);
    return a->used ? 0 : NUN_ENOMEM;
}

int lora_open(const struct model_lora *list, size_t n, struct arena *arena, struct lora_set **out)
{
    struct lora_set *l = arena_alloc(arena, sizeof *l);
    if (!l || !(l->list = arena_array(arena, n + 1, sizeof *l->list)))
        return NUN_ENOMEM;
    l->arena = arena;
    map_init(&l->changed, MEM_MODEL);
    *out = l;
    for (; l->n < n; l->n++) {
        int rc = open_one(&l->list[l->n], &list[l->n], arena);
        if (rc < 0) {
            l->n++; /* half open: closed with the rest */
            return rc;
        }
    }
    return 0;
}

void lora_close(struct lora_set *l)
{
    for (size_t i = 0; l && i < l->n; i++) {
        json_decref(l->list[i].config);
        st_close(l->list[i].st);
    }
    if (l)
        map_free(&l->changed);
}

/* ---- one change -------------------------------------------------------------------------------------------- */

/* A tensor W0 of the base, and the sum that an adapter adds its change to. */
struct job {
    struct lora *a;
    const struct st_tensor *base;
    const float *old;
    float *sum;
    char module[NAME_BYTES];     /* the tensor's name without its last word */
    struct arena *scratch;
};

/* "base_model.model." + module + tail as float32; rows 0: no such tensor. Marks it used. */
static int part(const struct job *j, const char *tail, int dims, const float **out, int64_t d[2])
{
    char name[NAME_BYTES];
    size_t n = 0;
    d[0] = d[1] = 0;
    if (snprintf(name, sizeof name, PREFIX "%s%s", j->module, tail) >= (int)sizeof name)
        return 0;
    const struct st_tensor *t = st_find(j->a->st, span_str(name));
    if (!t)
        return 0;
    if (t->shape.n != dims || !t->bytes)
        return err_set(NUN_EUNSUP, "%s: %s: expected %d dimensions, found %d", j->a->place, name, dims, t->shape.n);
    TRY(shape_count(&t->shape, &n));
    float *v = arena_array(j->scratch, n, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    TRY(dtype_to_f32(t->dtype, t->data, v, n));
    j->a->used[t - st_at(j->a->st, 0)] = true;
    d[0] = t->shape.d[0];
    d[1] = dims > 1 ? t->shape.d[1] : 1;
    *out = v;
    return 0;
}

static int misfit(const struct job *j, const char *what)
{
    char text[SHAPE_TEXT];
    return err_set(NUN_EFORMAT, "%s: %s: %s does not fit the base's %s", j->a->place, j->module, what,
                   shape_format(&j->base->shape, text));
}

/* One row of factor * B A: up is B's row [rank], down A [rank, columns]. */
static void delta_row(const float *up, const float *down, int64_t rank, int64_t columns, float factor, float *delta)
{
    for (int64_t i = 0; i < columns; i++)
        delta[i] = 0;
    for (int64_t k = 0; k < rank; k++)
        for (int64_t i = 0; i < columns; i++)
            delta[i] += up[k] * down[k * columns + i];
    for (int64_t i = 0; i < columns; i++)
        delta[i] *= factor;
}

/* DoRA: the row of W0 + delta gets length m; what that changes. */
static int dora_row(const struct job *j, const float *row, int64_t step, int64_t columns, float magnitude, float *delta)
{
    double square = 0;
    for (int64_t i = 0; i < columns; i++) {
        double v = (double)row[i * step] + delta[i];
        square += v * v;
    }
    if (!(square > 0))
        return misfit(j, "a row of length 0, which DoRA");
    float m = magnitude / (float)sqrt(square);
    for (int64_t i = 0; i < columns; i++)
        delta[i] = (m - 1) * row[i * step] + m * delta[i];
    return 0;
}

/* lora_A [r, in], lora_B [out, r]: W0 [out, in], or [in, out] with fan_in_fan_out. */
static int change_linear(struct job *j)
{
    const float *down, *up, *length = NULL;
    int64_t a[2], b[2], m[2];
    TRY(part(j, ".lora_A.weight", 2, &down, a));
    TRY(part(j, ".lora_B.weight", 2, &up, b));
    if (!a[0] && !b[0])
        return 0;
    bool turned = j->a->f.fan_in_fan_out;
    int64_t rows = j->base->shape.d[turned], columns = j->base->shape.d[!turned];
    if (j->base->shape.n != 2 || a[0] != b[1] || b[0] != rows || a[1] != columns)
        return misfit(j, "lora_B times lora_A");
    TRY(part(j, ".lora_magnitude_vector", 1, &length, m));
    if (!m[0])
        TRY(part(j, ".lora_magnitude_vector.weight", 1, &length, m));
    if (m[0] != (j->a->f.dora ? rows : 0))
        return misfit(j, j->a->f.dora ? "lora_magnitude_vector" : "lora_magnitude_vector without use_dora");
    float factor, *delta = arena_array(j->scratch, (size_t)columns, sizeof *delta);
    if (!delta)
        return NUN_ENOMEM;
    TRY(factor_of(j->a, j->module, a[0], &factor));
    int64_t along = turned ? 1 : columns, step = turned ? rows : 1;
    for (int64_t o = 0; o < rows; o++) {
        const float *row = j->old + o * along;
        delta_row(up + o * b[1], down, b[1], columns, factor, delta);
        if (length)
            TRY(dora_row(j, row, step, columns, length[o], delta));
        for (int64_t i = 0; i < columns; i++)
            j->sum[o * along + i * step] += j->a->scale * delta[i];
    }
    return 0;
}

/* lora_embedding_A [r, vocabulary], lora_embedding_B [hidden, r]: W0 [vocabulary, hidden] */
static int change_embedding(struct job *j)
{
    const float *down, *up;
    int64_t a[2], b[2];
    float factor;
    TRY(part(j, ".lora_embedding_A", 2, &down, a));
    TRY(part(j, ".lora_embedding_B", 2, &up, b));
    if (!a[0] && !b[0])
        return 0;
    int64_t rows = j->base->shape.d[0], columns = j->base->shape.d[1];
    if (j->base->shape.n != 2 || a[0] != b[1] || a[1] != rows || b[0] != columns)
        return misfit(j, "lora_embedding_B times lora_embedding_A");
    if (j->a->f.dora)
        return err_set(NUN_EUNSUP, "%s: use_dora: %s: embeddings are not supported", j->a->place, j->module);
    TRY(factor_of(j->a, j->module, a[0], &factor));
    for (int64_t v = 0; v < rows; v++)
        for (int64_t h = 0; h < columns; h++) {
            float x = 0;
            for (int64_t k = 0; k < a[0]; k++)
                x += up[h * a[0] + k] * down[k * rows + v];
            j->sum[v * columns + h] += j->a->scale * factor * x;
        }
    return 0;
}

/* lora_bias: B has a bias, which lands on the module's own. */
static int change_bias(struct job *j)
{
    const float *bias, *down;
    int64_t d[2], a[2];
    float factor;
    TRY(part(j, ".lora_B.bias", 1, &bias, d));
    if (!d[0])
        return 0;
    TRY(part(j, ".lora_A.weight", 2, &down, a));
    if (j->base->shape.n != 1 || j->base->shape.d[0] != d[0] || !a[0])
        return misfit(j, "lora_B.bias");
    TRY(factor_of(j->a, j->module, a[0], &factor));
    for (int64_t i = 0; i < d[0]; i++)
        j->sum[i] += j->a->scale * factor * bias[i];
    return 0;
}

/* modules_to_save, trained biases: the whole tensor. */
static int change_whole(struct job *j)
{
    char name[NAME_BYTES];
    if (snprintf(name, sizeof name, PREFIX "%s", j->base->name) >= (int)sizeof name)
        return 0;
    const struct st_tensor *t = st_find(j->a->st, span_str(name));
    size_t n = 0;
    if (!t)
        return 0;
    if (!shape_eq(&t->shape, &j->base->shape))
        return misfit(j, "the saved tensor");
    TRY(shape_count(&t->shape, &n));
    float *v = arena_array(j->scratch, n, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    TRY(dtype_to_f32(t->dtype, t->data, v, n));
    j->a->used[t - st_at(j->a->st, 0)] = true;
    for (size_t i = 0; i < n; i++)
        j->sum[i] = j->a->scale == 1 && j->sum[i] == j->old[i] ? v[i] : j->sum[i] + j->a->scale * (v[i] - j->old[i]);
    return 0;
}

/* What may stand in an adapter for the tensor "module" + tail of the base. */
static const struct change {
    const char *tail, *marker;
    int (*apply)(struct job *j);
} changes[] = {
    {".weight", ".lora_A.weight", change_linear},
    {".weight", ".lora_B.weight", change_linear},
    {".weight", ".lora_embedding_A", change_embedding},
    {".weight", ".lora_embedding_B", change_embedding},
    {".bias", ".lora_B.bias", change_bias},
    {"", "", change_whole},
};

static const struct change *find_change(const struct lora *a, const char *base, char module[NAME_BYTES], size_t from)
{
    char name[NAME_BYTES];
    for (size_t i = from; i < sizeof changes / sizeof changes[0]; i++) {
        struct span tail = span_str(changes[i].tail), full = span_str(base);
        if (!span_ends(full, tail) || full.len - tail.len >= NAME_BYTES - sizeof PREFIX)
            continue;
        snprintf(module, NAME_BYTES, "%.*s", (int)(full.len - tail.len), base);
        snprintf(name, sizeof name, PREFIX "%.400s%s", module, changes[i].marker);
        if (st_find(a->st, span_str(name)))
            return &changes[i];
    }
    return NULL;
}

static int change_all(struct lora_set *l, const struct st_tensor *base, float *old, float *sum, struct arena *scratch)
{
    struct job j = {.base = base, .old = old, .sum = sum, .scratch = scratch};
    size_t n = 0;
    TRY(shape_count(&base->shape, &n));
    TRY(dtype_to_f32(base->dtype, base->data, old, n));
    memcpy(sum, old, n * sizeof *sum);
    for (size_t i = 0; i < l->n; i++) {
        j.a = &l->list[i];
        const struct change *last = NULL;
        for (size_t from = 0; from < sizeof changes / sizeof changes[0]; from++) {
            const struct change *c = find_change(j.a, base->name, j.module, from);
            if (!c)
                break;
            if (!last || last->apply != c->apply)
                TRY(c->apply(&j));
            last = c;
            from = (size_t)(c - changes);
        }
    }
    return 0;
}

static bool is_changed(const struct lora_set *l, const char *name)
{
    char module[NAME_BYTES];
    for (size_t i = 0; i < l->n; i++)
        if (find_change(&l->list[i], name, module, 0))
            return true;
    return false;
}

int lora_apply(struct lora_set *l, const struct st_tensor *base, const struct st_tensor **out)
{
    int64_t known;
    size_t n = 0;
    *out = base;
    if (!l || !is_changed(l, base->name))
        return 0;
    if (map_get(&l->changed, span_str(base->name), &known)) {
        *out = (const struct st_tensor *)(intptr_t)known;
        return 0;
    }
    TRY(shape_count(&base->shape, &n));
    struct st_tensor *t = arena_alloc(l->arena, sizeof *t);
    float *sum = arena_array(l->arena, n ? n : 1, sizeof *sum), *old = mem_calloc(MEM_MODEL, n ? n : 1, sizeof *old);
    struct arena scratch;
    arena_init(&scratch, MEM_MODEL, 0);
    int rc = t && sum && old ? change_all(l, base, old, sum, &scratch) : NUN_ENOMEM;
    mem_free(old);
    arena_free(&scratch);
    TRY(rc);
    *t = (struct st_tensor){base->name, DT_F32, base->shape, sum, n * sizeof *sum};
    *out = t;
    rc = map_put(&l->changed, span_str(t->name), (int64_t)(intptr_t)t, NULL);
    return rc < 0 ? rc : 0;
}

int lora_all_used(const struct lora_set *l)
{
    for (size_t i = 0; l && i < l->n; i++)
        for (size_t t = 0; t < st_count(l->list[i].st); t++)
            if (!l->list[i].used[t])
                return err_set(NUN_EFORMAT, "%s: tensor %s changes nothing of this model", st_path(l->list[i].st),
                               st_at(l->list[i].st, t)->name);
    return 0;
}
