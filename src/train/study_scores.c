/* scores.json of a finished run, read strictly: a key that no row names is an error. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "formats/json.h"
#include "train/study_parts.h"

static const struct json_unknown strict = {.strict = true};

#define ROWS(table) table, sizeof table / sizeof *table
#define NUMBER(type, key_, member, most) \
    {.key = key_, .kind = JSON_KIND_DOUBLE, .offset = offsetof(type, member), .required = true, .min = 0, .max = most}
#define PART(type, kind_, member, needed) {.key = #member, .kind = kind_, .offset = offsetof(type, member), .required = needed}

/* ---- answers ---------------------------------------------------------------------------------- */

static int read_kind(const char *name, const json_t *o, const char *place, struct study_kind *out)
{
    static const struct json_field rows[] = {
        NUMBER(struct study_kind, "asked", asked, 2e9),
        NUMBER(struct study_kind, "right", right, 2e9),
        NUMBER(struct study_kind, "fine_asked", fine_asked, 2e9),
        NUMBER(struct study_kind, "fine_right", fine_right, 2e9),
        NUMBER(struct study_kind, "tokens", tokens, 1e15),
        NUMBER(struct study_kind, "nats", nats, 1e300),
        NUMBER(struct study_kind, "fine_tokens", fine_tokens, 1e15),
        NUMBER(struct study_kind, "fine_nats", fine_nats, 1e300)};
    if (strlen(name) >= sizeof out->name)
        return err_set(NUN_ELIMIT, "%s: kind \"%s\" has over %zu letters", place, name, sizeof out->name - 1);
    TRY(json_read(o, place, "", ROWS(rows), out, &strict));
    snprintf(out->name, sizeof out->name, "%s", name);
    if (out->right > out->asked || out->fine_right > out->fine_asked || out->fine_asked > out->asked ||
        out->fine_right > out->right || out->right - out->fine_right > out->asked - out->fine_asked)
        return err_set(NUN_EFORMAT, "%s: %s: %g of %g right, of them fine %g of %g: that cannot be", place, name, out->right, out->asked,
                       out->fine_right, out->fine_asked);
    return 0;
}

static int read_asked(const json_t *o, const char *place, struct study_asked *out)
{
    struct top { double loss; const json_t *kinds; } top = {0};
    static const struct json_field rows[] = {PART(struct top, JSON_KIND_DOUBLE, loss, true), PART(struct top, JSON_KIND_NODE, kinds, true)};
    TRY(json_read(o, place, "", ROWS(rows), &top, &strict));
    out->loss = top.loss;
    out->there = true;
    if (!json_is_object(top.kinds))
        return err_set(NUN_EFORMAT, "%s: kinds: expected an object", place);
    const char *name;
    json_t *kind;
    json_object_foreach((json_t *)(uintptr_t)top.kinds, name, kind) {
        if (out->n == STUDY_KINDS)
            return err_set(NUN_ELIMIT, "%s: over %d kinds", place, STUDY_KINDS);
        TRY(read_kind(name, kind, place, &out->kind[out->n++]));
    }
    return 0;
}

static int read_both(const json_t *o, const char *place, struct study_stage *out)
{
    struct top { const json_t *test, *text; } top = {0};
    static const struct json_field rows[] = {PART(struct top, JSON_KIND_NODE, test, false), PART(struct top, JSON_KIND_NODE, text, false)};
    TRY(json_read(o, place, "", ROWS(rows), &top, &strict));
    if (!top.test && !top.text)
        return err_set(NUN_EFORMAT, "%s: scores: expected test, of pictures, or text, of words, or both", place);
    if (top.test)
        TRY(read_asked(top.test, place, &out->test));
    return top.text ? read_asked(top.text, place, &out->text) : 0;
}

/* ---- stages ----------------------------------------------------------------------------------- */

static int read_learnt(const json_t *list, const char *place, char *out, size_t cap)
{
    if (!json_is_array(list))
        return err_set(NUN_EFORMAT, "%s: learnt: expected a list", place);
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < cap; i++) {
        const char *prefix = json_string_value(json_array_get(list, i));
        if (!prefix)
            return err_set(NUN_EFORMAT, "%s: learnt[%zu]: expected a text", place, i);
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", prefix);
    }
    return n < cap ? 0 : err_set(NUN_ELIMIT, "%s: learnt: over %zu letters", place, cap - 1);
}

struct stage_json { const char *name; const json_t *learnt, *scores; };

static int read_stage(const json_t *o, const char *place, struct study_stage *out)
{
#define FIGURE(key) NUMBER(struct study_stage, #key, key, 1e300)
    static const struct json_field numbers[] = {
        FIGURE(pictures), FIGURE(steps), FIGURE(seconds), FIGURE(flops_per_picture), FIGURE(pictures_per_s), FIGURE(tokens_per_s),
        FIGURE(sequence_tokens), FIGURE(picture_tokens), FIGURE(side_rows), FIGURE(memory_bytes)};
    static const struct json_field parts[] = {
        PART(struct stage_json, JSON_KIND_STRING, name, true), PART(struct stage_json, JSON_KIND_NODE, learnt, true),
        PART(struct stage_json, JSON_KIND_NODE, scores, true)};
    static const char *const names[] = {"name", "learnt", "scores", NULL};
    static const char *const keys[] = {"pictures", "steps", "seconds", "flops_per_picture", "pictures_per_s", "tokens_per_s",
                                       "sequence_tokens", "picture_tokens", "side_rows", "memory_bytes", NULL};
    struct stage_json part = {0};
    char where[4352];
    TRY(json_read(o, place, "", ROWS(numbers), out, &(struct json_unknown){.strict = true, .ignore = names}));
    TRY(json_read(o, place, "", ROWS(parts), &part, &(struct json_unknown){.strict = true, .ignore = keys}));
    if (strlen(part.name) >= sizeof out->name)
        return err_set(NUN_ELIMIT, "%s: stage \"%s\" has over %zu letters", place, part.name, sizeof out->name - 1);
    snprintf(out->name, sizeof out->name, "%s", part.name);
    snprintf(where, sizeof where, "%s: stage %s", place, out->name);
    TRY(read_learnt(part.learnt, where, out->learnt, sizeof out->learnt));
    return read_both(part.scores, where, out);
}

/* ---- the file --------------------------------------------------------------------------------- */

struct scores_json {
    const char *recipe, *recipe_hash;
    double seed, parameters;
    const json_t *stages, *prefill;
};

static int read_top(const json_t *o, const char *place, struct study_scores *out)
{
    static const struct json_field rows[] = {
        PART(struct scores_json, JSON_KIND_STRING, recipe, true),
        PART(struct scores_json, JSON_KIND_STRING, recipe_hash, true),
        NUMBER(struct scores_json, "seed", seed, 1e20),
        NUMBER(struct scores_json, "parameters", parameters, 1e15),
        PART(struct scores_json, JSON_KIND_NODE, stages, true),
        PART(struct scores_json, JSON_KIND_NODE, prefill, false)};
    static const struct json_field prefill[] = {
        NUMBER(struct study_scores, "pictures_per_s", prefill_pictures_per_s, 1e300),
        NUMBER(struct study_scores, "tokens", prefill_tokens, 1e300),
        NUMBER(struct study_scores, "seconds_to_first_token", seconds_to_first_token, 1e300)};
    struct scores_json top = {0};
    TRY(json_read(o, place, "", ROWS(rows), &top, &strict));
    if (top.prefill) /* a model that only reads has none */
        TRY(json_read(top.prefill, place, "", ROWS(prefill), out, &strict));
    out->parameters = top.parameters;
    if (strlen(top.recipe_hash) >= sizeof out->recipe_hash)
        return err_set(NUN_ELIMIT, "%s: recipe_hash: over %zu letters", place, sizeof out->recipe_hash - 1);
    snprintf(out->recipe_hash, sizeof out->recipe_hash, "%s", top.recipe_hash);
    size_t n = json_array_size(top.stages);
    if (n < 1 || n > STUDY_STAGES)
        return err_set(NUN_EFORMAT, "%s: stages: expected a list of 1 to %d, found %zu", place, STUDY_STAGES, n);
    out->n_stages = (int)n;
    for (size_t i = 0; i < n; i++)
        TRY(read_stage(json_array_get(top.stages, i), place, &out->stage[i]));
    return 0;
}

int study_scores_read(const char *path, struct study_scores *out)
{
    json_t *o;
    memset(out, 0, sizeof *out);
    TRY(json_load_file_limited(path, &o));
    int rc = read_top(o, path, out);
    json_decref(o);
    return rc;
}
