/* The YAML schema of studies, as tables, and what must hold between its parts. */
/* SPDX-License-Identifier: MIT */
#include "train/study_parts.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"

#define TEXT(key, type, member, flag) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | flag, type, member, 0, 4096)
#define LIST(key, type, member, flag, value, least, most) \
    CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | flag, type, member, value, least, most)

static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, 4096)};
static const cyaml_schema_value_t seed_value = {CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint64_t)};

static const cyaml_schema_field_t shared_fields[] = {
    TEXT("name", struct study_spec, name, 0),
    TEXT("label", struct study_spec, label, CYAML_FLAG_OPTIONAL),
    TEXT("recipe", struct study_spec, recipe, 0),
    LIST("set", struct study_spec, set, CYAML_FLAG_OPTIONAL, &text_value, 0, 64),
    CYAML_FIELD_END};
static const cyaml_schema_field_t variant_fields[] = {
    TEXT("name", struct study_spec, name, 0),
    TEXT("label", struct study_spec, label, CYAML_FLAG_OPTIONAL),
    TEXT("recipe", struct study_spec, recipe, 0),
    LIST("set", struct study_spec, set, CYAML_FLAG_OPTIONAL, &text_value, 0, 64),
    LIST("groups", struct study_spec, groups, 0, &text_value, 1, 16),
    CYAML_FIELD_END};
static const cyaml_schema_field_t group_fields[] = {
    TEXT("name", struct study_group, name, 0),
    TEXT("title", struct study_group, title, CYAML_FLAG_OPTIONAL),
    TEXT("baseline", struct study_group, baseline, 0),
    CYAML_FIELD_END};
static const cyaml_schema_field_t quick_fields[] = {
    LIST("seeds", struct study_quick, seeds, CYAML_FLAG_OPTIONAL, &seed_value, 1, 64),
    LIST("set", struct study_quick, set, CYAML_FLAG_OPTIONAL, &text_value, 0, 64),
    CYAML_FIELD_END};
static const cyaml_schema_value_t shared_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct study_spec, shared_fields)};
static const cyaml_schema_value_t variant_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct study_spec, variant_fields)};
static const cyaml_schema_value_t group_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct study_group, group_fields)};
static const cyaml_schema_field_t study_fields[] = {
    TEXT("name", struct study, name, 0),
    TEXT("output", struct study, output, 0),
    LIST("seeds", struct study, seeds, 0, &seed_value, 1, 64),
    LIST("groups", struct study, groups, 0, &group_value, 1, 16),
    LIST("shared", struct study, shared, CYAML_FLAG_OPTIONAL, &shared_value, 0, 64),
    LIST("variants", struct study, variants, 0, &variant_value, 1, 64),
    CYAML_FIELD_MAPPING_PTR("quick", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct study, quick, quick_fields),
    CYAML_FIELD_END};
static const cyaml_schema_value_t study_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct study, study_fields)};

/* Of libcyaml's words the first line, and the first that names a place in the file. */
struct words { char what[256], where[256]; };

static void keep_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct words *w = ctx;
    char line[256];
    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = 0;
    if (!w->what[0])
        snprintf(w->what, sizeof w->what, "%s", !strncmp(line, "Load: ", 6) ? line + 6 : line);
    else if (!w->where[0] && strstr(line, "line:"))
        snprintf(w->where, sizeof w->where, ", %s", line + strspn(line, " "));
}

static void *heap(void *ctx, void *p, size_t size)
{
    if (size)
        return mem_realloc(MEM_TRAIN, p, size);
    mem_free(p);
    return NULL;
}

static cyaml_config_t yaml_config(struct words *w)
{
    return (cyaml_config_t){.log_fn = keep_log, .log_ctx = w, .log_level = CYAML_LOG_ERROR, .mem_fn = heap, .flags = CYAML_CFG_DEFAULT};
}

/* ---- what must hold --------------------------------------------------------------------------- */

/* Names become folders. */
static int check_name(const char *what, const char *name)
{
    size_t n = strlen(name);
    if (n < 1 || n > 64 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != n || name[0] == '.')
        return err_set(NUN_EFORMAT, "%s \"%s\": a name is 1 to 64 letters, digits, - _ or ., and begins with no dot", what, name);
    return 0;
}

/* The folder is decided by the study, and so is a variant's seed. */
static int check_set(const struct study_spec *v, bool shared)
{
    for (uint32_t i = 0; i < v->set_count; i++) {
        size_t n = strcspn(v->set[i], " =");
        struct span key = span_of(v->set[i], n);
        if (span_is(key, "output") || span_is(key, "runs") || span_is(key, "name") || (!shared && span_is(key, "seed")))
            return err_set(NUN_EFORMAT, "%s: set \"%s\": %.*s is what the study decides itself", v->name, v->set[i], (int)n, v->set[i]);
    }
    return 0;
}

static int check_specs(const struct study_spec *v, uint32_t n, bool shared)
{
    static const char *const reserved[] = {"quick", "recipes", "report.html", "summary.json", "summary.md"};
    const char *what = shared ? "shared run" : "variant";
    for (uint32_t i = 0; i < n; i++) {
        TRY(check_name(what, v[i].name));
        TRY(check_set(&v[i], shared));
        for (size_t k = 0; k < sizeof reserved / sizeof *reserved; k++)
            if (!strcmp(v[i].name, reserved[k]))
                return err_set(NUN_EFORMAT, "%s \"%s\": the name is taken by the study's own files", what, v[i].name);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(v[i].name, v[k].name))
                return err_set(NUN_EFORMAT, "%s \"%s\": there are two of that name", what, v[i].name);
    }
    return 0;
}

static const struct study_spec *variant_of(const struct study *s, const char *name)
{
    for (uint32_t i = 0; i < s->variants_count; i++)
        if (!strcmp(s->variants[i].name, name))
            return &s->variants[i];
    return NULL;
}

bool study_in_group(const struct study_spec *v, const char *group)
{
    for (uint32_t i = 0; i < v->groups_count; i++)
        if (!strcmp(v->groups[i], group))
            return true;
    return false;
}

static int check_groups(const struct study *s)
{
    for (uint32_t g = 0; g < s->groups_count; g++) {
        const struct study_spec *base = variant_of(s, s->groups[g].baseline);
        TRY(check_name("group", s->groups[g].name));
        if (!base || !study_in_group(base, s->groups[g].name))
            return err_set(NUN_EFORMAT, "group %s: baseline \"%s\" is no variant of it", s->groups[g].name, s->groups[g].baseline);
    }
    for (uint32_t i = 0; i < s->variants_count; i++)
        for (uint32_t k = 0; k < s->variants[i].groups_count; k++) {
            uint32_t g = 0;
            while (g < s->groups_count && strcmp(s->groups[g].name, s->variants[i].groups[k]) != 0)
                g++;
            if (g == s->groups_count)
                return err_set(NUN_EFORMAT, "variant %s: \"%s\" is none of the study's groups", s->variants[i].name,
                               s->variants[i].groups[k]);
        }
    return 0;
}

static int check_seeds(const uint64_t *seeds, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (seeds[i] == seeds[k])
                return err_set(NUN_EFORMAT, "seeds: %llu is there twice", (unsigned long long)seeds[i]);
    return 0;
}

static int check(const struct study *s)
{
    TRY(check_name("study", s->name));
    TRY(check_seeds(s->seeds, s->seeds_count));
    TRY(check_specs(s->shared, s->shared_count, true));
    TRY(check_specs(s->variants, s->variants_count, false));
    TRY(check_groups(s));
    if (!s->quick)
        return 0;
    TRY(check_seeds(s->quick->seeds, s->quick->seeds_count));
    struct study_spec all = {.name = (char *)"quick", .set = s->quick->set, .set_count = s->quick->set_count};
    return check_set(&all, false);
}

int study_load(const char *path, struct study **out)
{
    *out = NULL;
    struct words w = {"", ""};
    struct buf text;
    buf_init(&text, MEM_TRAIN, LIMIT_OF(recipe_bytes));
    int rc = file_read(path, &text);
    if (rc >= 0) {
        cyaml_config_t config = yaml_config(&w);
        cyaml_err_t e = cyaml_load_data((const uint8_t *)text.ptr, text.len, &config, &study_value, (cyaml_data_t **)out, NULL);
        if (e != CYAML_OK)
            rc = err_set(e == CYAML_ERR_OOM ? NUN_ENOMEM : NUN_EFORMAT, "%s: %s%s", path, w.what[0] ? w.what : cyaml_strerror(e), w.where);
    }
    buf_free(&text);
    if (rc >= 0) {
        rc = check(*out);
        if (rc < 0)
            rc = err_at(rc, "%s", path);
    }
    if (rc < 0) {
        study_free(*out);
        *out = NULL;
    }
    return rc < 0 ? rc : 0;
}

void study_free(struct study *s)
{
    struct words w = {"", ""};
    cyaml_config_t config = yaml_config(&w);
    if (s)
        cyaml_free(&config, &study_value, s, 0);
}
