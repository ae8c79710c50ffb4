/* The YAML schema of recipes, as tables, and their defaults and checks. */
/* SPDX-License-Identifier: MIT */
#include "nunchi/train.h"
#include "train/recipe.h"

#include <cyaml/cyaml.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/file.h"

#define UINT(key, type, member) CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)
#define FLOAT(key, type, member) CYAML_FIELD_FLOAT(key, CYAML_FLAG_OPTIONAL, type, member)
#define TEXT(key, type, member, flag) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | flag, type, member, 0, 4096)

static const cyaml_schema_field_t weight_fields[] = {
    TEXT("name", struct recipe_weight, name, 0),
    CYAML_FIELD_FLOAT("weight", CYAML_FLAG_DEFAULT, struct recipe_weight, weight),
    CYAML_FIELD_END};
static const cyaml_schema_value_t weight_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct recipe_weight, weight_fields)};
static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, 256)};

static const cyaml_schema_field_t part_fields[] = {
    TEXT("name", struct recipe_part, name, 0),
    CYAML_FIELD_FLOAT("lr", CYAML_FLAG_DEFAULT, struct recipe_part, lr),
    CYAML_FIELD_END};
static const cyaml_schema_value_t part_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct recipe_part, part_fields)};

static const cyaml_schema_field_t start_fields[] = {
    TEXT("from", struct recipe_start, from, 0),
    TEXT("ours", struct recipe_start, ours, CYAML_FLAG_OPTIONAL),
    TEXT("theirs", struct recipe_start, theirs, CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_END};
static const cyaml_schema_value_t start_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct recipe_start, start_fields)};

static const cyaml_schema_field_t data_fields[] = {
    TEXT("file", struct recipe_data, file, 0),
    TEXT("pictures", struct recipe_data, pictures, CYAML_FLAG_OPTIONAL),
    FLOAT("weight", struct recipe_data, weight),
    CYAML_FIELD_END};
static const cyaml_schema_value_t data_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct recipe_data, data_fields)};

static const cyaml_schema_field_t stage_fields[] = {
    TEXT("name", struct recipe_stage, name, 0),
    TEXT("task", struct recipe_stage, task, CYAML_FLAG_OPTIONAL),
    UINT("pictures", struct recipe_stage, pictures),
    UINT("samples", struct recipe_stage, samples),
    FLOAT("epochs", struct recipe_stage, epochs),
    CYAML_FIELD_UINT("batch", CYAML_FLAG_DEFAULT, struct recipe_stage, batch),
    UINT("schedule_pictures", struct recipe_stage, schedule_pictures),
    UINT("accumulate", struct recipe_stage, accumulate),
    UINT("tokens", struct recipe_stage, tokens),
    UINT("room", struct recipe_stage, room),
    UINT("told_tokens", struct recipe_stage, told_tokens),
    FLOAT("told", struct recipe_stage, told),
    UINT("answers", struct recipe_stage, answers),
    UINT("questions", struct recipe_stage, questions),
    UINT("decoder_layers", struct recipe_stage, decoder_layers),
    CYAML_FIELD_BOOL("recompute", CYAML_FLAG_OPTIONAL, struct recipe_stage, recompute),
    CYAML_FIELD_SEQUENCE("learn", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_stage, learn, &text_value, 0, 64),
    CYAML_FIELD_SEQUENCE("parts", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_stage, parts, &part_value, 0, 64),
    CYAML_FIELD_FLOAT("lr", CYAML_FLAG_DEFAULT, struct recipe_stage, lr),
    FLOAT("weight_decay", struct recipe_stage, weight_decay),
    FLOAT("clip", struct recipe_stage, clip),
    FLOAT("dropout", struct recipe_stage, dropout),
    TEXT("optimizer", struct recipe_stage, optimizer, CYAML_FLAG_OPTIONAL),
    TEXT("schedule", struct recipe_stage, schedule, CYAML_FLAG_OPTIONAL),
    UINT("warmup", struct recipe_stage, warmup),
    FLOAT("decay", struct recipe_stage, decay),
    FLOAT("floor", struct recipe_stage, floor),
    UINT("most_tiles", struct recipe_stage, most_tiles),
    UINT("max_objects", struct recipe_stage, max_objects),
    UINT("text_min", struct recipe_stage, text_min),
    UINT("text_max", struct recipe_stage, text_max),
    FLOAT("text_spread", struct recipe_stage, text_spread),
    FLOAT("augment", struct recipe_stage, augment),
    CYAML_FIELD_SEQUENCE("data", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_stage, data, &data_value, 0, 64),
    CYAML_FIELD_SEQUENCE("eval_data", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_stage, eval_data, &data_value, 0, 64),
    CYAML_FIELD_SEQUENCE("pictures_mix", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_stage, pictures_mix,
                         &weight_value, 0, 64),
    CYAML_FIELD_SEQUENCE("questions_mix", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_stage, questions_mix,
                         &weight_value, 0, 64),
    CYAML_FIELD_END};
static const cyaml_schema_value_t stage_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct recipe_stage, stage_fields)};

static const cyaml_schema_field_t recipe_fields[] = {
    TEXT("name", struct recipe, name, 0),
    TEXT("model", struct recipe, model, 0),
    CYAML_FIELD_SEQUENCE("start", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, start, &start_value, 0, 64),
    TEXT("tokenizer", struct recipe, tokenizer, CYAML_FLAG_OPTIONAL),
    TEXT("processor", struct recipe, processor, CYAML_FLAG_OPTIONAL),
    TEXT("world", struct recipe, world, CYAML_FLAG_OPTIONAL),
    TEXT("output", struct recipe, output, 0),
    TEXT("runs", struct recipe, runs, 0),
    CYAML_FIELD_UINT("seed", CYAML_FLAG_DEFAULT, struct recipe, seed),
    UINT("vocab", struct recipe, vocab),
    UINT("tower_neurons", struct recipe, tower_neurons),
    UINT("save_every", struct recipe, save_every),
    UINT("eval_every", struct recipe, eval_every),
    UINT("eval_pictures", struct recipe, eval_pictures),
    UINT("test_pictures", struct recipe, test_pictures),
    TEXT("save_dtype", struct recipe, save_dtype, CYAML_FLAG_OPTIONAL),
    TEXT("compute", struct recipe, compute, CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_SEQUENCE("stages", CYAML_FLAG_POINTER, struct recipe, stages, &stage_value, 1, 64),
    CYAML_FIELD_END};
static const cyaml_schema_value_t recipe_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct recipe, recipe_fields)};

/* libcyaml's own words about the file end up in the error sentence. */
static void keep_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    char *last = ctx;
    if (level >= CYAML_LOG_ERROR && !last[0])
        vsnprintf(last, 512, fmt, args);
}

static void *heap(void *ctx, void *p, size_t size)
{
    if (size)
        return mem_realloc(MEM_TRAIN, p, size);
    mem_free(p);
    return NULL;
}

static cyaml_config_t yaml_config(char *last)
{
    return (cyaml_config_t){.log_fn = keep_log, .log_ctx = last, .log_level = CYAML_LOG_ERROR, .mem_fn = heap, .flags = CYAML_CFG_DEFAULT};
}

static int check_data(const struct recipe_stage *s, const char *path)
{
    bool files = s->task && !strcmp(s->task, "conversations");
    if (files != (s->data_count > 0) || (s->eval_data_count && !files))
        return err_set(NUN_EFORMAT, "%s: stage %s: task conversations learns from its data, and no other task does: found task %s, %u data",
                       path, s->name, s->task ? s->task : "questions", s->data_count + s->eval_data_count);
    if (files && (!s->tokens || s->accumulate > 1 || s->answers || s->questions || s->told > 0))
        return err_set(NUN_EFORMAT, "%s: stage %s: conversations are packed into rows of `tokens`, as many a step as it takes: found "
                                    "tokens %u, accumulate %u, answers %u, questions %u, told %g", path, s->name, s->tokens, s->accumulate,
                       s->answers, s->questions, (double)s->told);
    for (uint32_t i = 0; i < s->data_count; i++)
        if (!(s->data[i].weight >= 0 && s->data[i].weight < 1e9f) || (s->data[i].weight > 0) != (s->data[0].weight > 0))
            return err_set(NUN_EFORMAT, "%s: stage %s: data[%u]: weight %g: expected one above 0 for each of them, or none at all", path,
                           s->name, i, (double)s->data[i].weight);
    return 0;
}

/* How much is seen is said once; epochs are counted out when the data is there. */
static int check_length(const struct recipe_stage *s, const char *path)
{
    bool data = s->data_count > 0;
    if ((s->pictures > 0) + (s->samples > 0) + (s->epochs > 0) != 1 || !(s->epochs >= 0 && s->epochs < 1e4f) || (s->epochs > 0 && !data))
        return err_set(NUN_EFORMAT, "%s: stage %s: pictures %u, samples %u, epochs %g: expected one of them above 0, epochs with data only",
                       path, s->name, s->pictures, s->samples, (double)s->epochs);
    return 0;
}

static int check_stage(const struct recipe_stage *s, const char *path)
{
    static const char *const schedules[] = {"constant", "linear", "cosine"};
    bool known = !s->schedule;
    for (size_t i = 0; i < 3 && !known; i++)
        known = !strcmp(s->schedule, schedules[i]);
    if (!known)
        return err_set(NUN_EFORMAT, "%s: stage %s: schedule \"%s\" is none of constant, linear, cosine", path, s->name, s->schedule);
    if (!s->batch || s->batch > 4096 || s->batch % (s->accumulate ? s->accumulate : 1))
        return err_set(NUN_EFORMAT, "%s: stage %s: batch %u (1..4096, a multiple of accumulate %u)", path, s->name, s->batch, s->accumulate);
    TRY(check_length(s, path));
    if (s->tokens > 65536 || s->room > 65536 || s->told_tokens > 65536 || (s->tokens > 0) + (s->room > 0) > 1)
        return err_set(NUN_EFORMAT, "%s: stage %s: tokens %u, room %u, told_tokens %u: at most 65536 each, and one of the first two", path,
                       s->name, s->tokens, s->room, s->told_tokens);
    if (s->told < 0 || s->told > 1)
        return err_set(NUN_EFORMAT, "%s: stage %s: told %g is no share", path, s->name, (double)s->told);
    for (uint32_t i = 0; i < s->parts_count; i++)
        if (!(s->parts[i].lr >= 0 && s->parts[i].lr < 10))
            return err_set(NUN_EFORMAT, "%s: stage %s: parts[%u]: lr %g must be in [0, 10)", path, s->name, i, (double)s->parts[i].lr);
    TRY(check_data(s, path));
    if (!(s->lr > 0 && s->lr < 10) || s->dropout < 0 || s->dropout >= 1)
        return err_set(NUN_EFORMAT, "%s: stage %s: lr %g must be in (0, 10), dropout %g in [0, 1)", path, s->name,
                       (double)s->lr, (double)s->dropout);
    return 0;
}

static int settle_stage(struct recipe_stage *s, const char *path)
{
    TRY(check_stage(s, path));
    if (s->samples)
        s->pictures = s->samples;
    return 0;
}

int recipe_load(const char *path, struct recipe **out)
{
    *out = NULL;
    char last[512] = "";
    struct buf text;
    buf_init(&text, MEM_TRAIN, LIMIT_OF(recipe_bytes));
    int rc = file_read(path, &text);
    if (rc >= 0) {
        cyaml_config_t config = yaml_config(last);
        cyaml_err_t e = cyaml_load_data((const uint8_t *)text.ptr, text.len, &config, &recipe_value, (cyaml_data_t **)out, NULL);
        last[strcspn(last, "\n")] = 0;
        if (e != CYAML_OK)
            rc = err_set(NUN_EFORMAT, "%s: %s: %s", path, cyaml_strerror(e), last);
    }
    buf_free(&text);
    for (uint32_t i = 0; rc >= 0 && i < (*out)->stages_count; i++)
        rc = settle_stage(&(*out)->stages[i], path);
    if (rc < 0) {
        recipe_free(*out);
        *out = NULL;
    }
    return rc;
}

void recipe_free(struct recipe *r)
{
    if (!r)
        return;
    char last[512] = "";
    cyaml_config_t config = yaml_config(last);
    cyaml_free(&config, &recipe_value, r, 0);
}

int recipe_hash(const struct recipe *r, char out[65])
{
    char last[512] = "", *text = NULL;
    size_t n = 0;
    struct digest d;
    cyaml_config_t config = yaml_config(last);
    cyaml_err_t e = cyaml_save_data(&text, &n, &config, &recipe_value, r, 0);
    if (e != CYAML_OK)
        return err_set(NUN_ENOMEM, "recipe %s: %s: %s", r->name, cyaml_strerror(e), last);
    digest_of(text, n, &d);
    digest_hex(&d, out);
    mem_free(text);
    return 0;
}

int nun_recipe_paths(const char *path, char *output, char *runs, size_t cap)
{
    struct recipe *r;
    TRY(recipe_load(path, &r));
    bool fits = strlen(r->output) < cap && strlen(r->runs) < cap;
    if (fits) {
        snprintf(output, cap, "%s", r->output);
        snprintf(runs, cap, "%s", r->runs);
    }
    recipe_free(r);
    return fits ? 0 : err_set(NUN_ELIMIT, "%s: output or runs: longer than %zu bytes", path, cap - 1);
}

bool recipe_draws(const struct recipe *r)
{
    for (uint32_t i = 0; i < r->stages_count; i++)
        if (!r->stages[i].data_count)
            return true;
    return false;
}

int nun_recipe_world(const char *path, char *world, size_t cap)
{
    struct recipe *r;
    TRY(recipe_load(path, &r));
    const char *name = "";
    for (uint32_t i = 0; i < r->stages_count; i++)
        if (!r->stages[i].data_count && (!r->stages[i].task || !strcmp(r->stages[i].task, "questions")))
            name = r->world ? r->world : "scenes";
    size_t n = (size_t)snprintf(world, cap, "%s", name);
    recipe_free(r);
    return n < cap ? 0 : err_set(NUN_ELIMIT, "%s: world: a name of %zu bytes", path, n);
}

int recipe_mix(const struct recipe_weight *rows, uint32_t n, const char *const *names, int count, float *out, const char *stage)
{
    if (!n)
        return 0;
    memset(out, 0, (size_t)count * sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        int k = 0;
        while (k < count && strcmp(names[k], rows[i].name))
            k++;
        if (k == count)
            return err_set(NUN_EFORMAT, "recipe: stage %s: \"%s\" is no kind of picture or question", stage, rows[i].name);
        out[k] = rows[i].weight;
    }
    return 0;
}

float recipe_rate(const struct recipe_stage *s, uint64_t at, uint64_t total)
{
    double f = 1, x = total > 1 ? (double)at / (double)(total - 1) : 0;
    const char *kind = s->schedule ? s->schedule : "constant";
    if (!strcmp(kind, "cosine"))
        f = 0.5 * (1 + cos(3.14159265358979 * x));
    if (!strcmp(kind, "linear")) {
        double decay = s->decay > 0 ? s->decay : 1;
        f = x > 1 - decay ? (1 - x) / decay : 1;
    }
    f = s->floor + (1 - s->floor) * f;
    if (at < s->warmup)
        f *= (double)(at + 1) / (double)s->warmup;
    return (float)(s->lr * f);
}
