/* Post-processors: the special tokens around a text, one row a type. Only the form for one text runs; the form
 * for pairs is checked and kept for saving. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

/* Put the template's ids around what the text gave, out->at[from..n). */
static int run_template(const struct tok_step *s, struct ids *out, size_t from)
{
    size_t n = out->n - from, before = 0;
    while (before < s->ids.n && s->ids.at[before] != TOK_SLOT)
        before++;
    TRY(ids_reserve(out, s->ids.n));
    int32_t *at = out->at + from;
    memmove(at + before, at, n * sizeof *at);
    for (size_t i = 0; i < before; i++)
        at[i] = s->ids.at[i];
    for (size_t i = before + 1; i < s->ids.n; i++)
        at[n + i - 1] = s->ids.at[i];
    out->n += s->ids.n - 1;
    return 0;
}

static int known_id(const struct tokenizer *t, const json_t *v, const char *path, int32_t *out)
{
    json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0 || (size_t)id >= t->n_vocab || !t->vocab[id].text.ptr)
        return err_set(NUN_EFORMAT, "%s: expected the id of a token", path);
    *out = (int32_t)id;
    return 0;
}

/* ---- TemplateProcessing ---- */

static int add_named(struct tokenizer *t, struct tok_step *s, const json_t *specials, struct span name, const char *path)
{
    const json_t *o = json_object_getn(specials, name.ptr, name.len), *ids = json_object_get(o, "ids");
    if (!json_array_size(ids))
        return err_set(NUN_EFORMAT, "%s: \"%.*s\" is not among special_tokens", path, (int)name.len, name.ptr);
    TRY(tok_json_keys(o, path, "id ids tokens"));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        int32_t id;
        TRY(known_id(t, json_array_get(ids, i), path, &id));
        TRY(ids_push(&s->ids, id));
    }
    return 0;
}

/* One {"SpecialToken": {id, type_id}} or {"Sequence": {id, type_id}}. */
static int add_template_item(struct tokenizer *t, struct tok_step *s, const json_t *item, const json_t *specials, const char *path)
{
    TRY(tok_json_keys(item, path, "SpecialToken Sequence"));
    bool slot = json_object_get(item, "Sequence");
    const json_t *o = json_object_get(item, slot ? "Sequence" : "SpecialToken");
    struct span id = {0};
    TRY(tok_json_keys(o, path, "id type_id"));
    TRY(tok_json_span(o, path, "id", &id));
    if (json_object_size(item) != 1 || !id.ptr)
        return err_set(NUN_EFORMAT, "%s: expected one SpecialToken or Sequence with an id", path);
    if (!slot)
        return add_named(t, s, specials, id, path);
    for (size_t i = 0; i < s->ids.n; i++)
        if (s->ids.at[i] == TOK_SLOT)
            return err_set(NUN_EUNSUP, "%s: a second Sequence in the form for one text", path);
    return span_is(id, "A") ? ids_push(&s->ids, TOK_SLOT) : err_set(NUN_EFORMAT, "%s.Sequence.id: expected A", path);
}

static int parse_template(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    const json_t *single = json_object_get(o, "single"), *specials = json_object_get(o, "special_tokens");
    char at[TOK_PATH];
    size_t slots = 0;
    if (!json_is_array(single))
        return err_set(NUN_EFORMAT, "%s.single: expected an array", path);
    for (size_t i = 0; i < json_array_size(single); i++) {
        snprintf(at, sizeof at, "%s.single[%zu]", path, i);
        TRY(add_template_item(t, s, json_array_get(single, i), specials, at));
    }
    for (size_t i = 0; i < s->ids.n; i++)
        slots += s->ids.at[i] == TOK_SLOT;
    return slots == 1 ? 0 : err_set(NUN_EFORMAT, "%s.single: expected one Sequence, found %zu", path, slots);
}

/* ---- RobertaProcessing, BertProcessing: cls text sep ---- */

static int parse_pair(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    char at[TOK_PATH];
    int32_t id[2];
    static const char *const names[2] = {"cls", "sep"};
    for (int i = 0; i < 2; i++) {
        snprintf(at, sizeof at, "%s.%s", path, names[i]);
        TRY(known_id(t, json_array_get(json_object_get(o, names[i]), 1), at, &id[i]));
    }
    TRY(ids_push(&s->ids, id[0]));
    TRY(ids_push(&s->ids, TOK_SLOT));
    return ids_push(&s->ids, id[1]);
}

/* ByteLevel here trims offsets, which are not kept. */
static int run_nothing(const struct tok_step *s, struct ids *out, size_t from)
{
    return 0;
}

static const struct tok_row rows[] = {
    {"Sequence", NULL, NULL, {0}},
    {"TemplateProcessing", "single pair special_tokens", parse_template, {.post = run_template}},
    {"RobertaProcessing", "sep cls trim_offsets add_prefix_space", parse_pair, {.post = run_template}},
    {"BertProcessing", "sep cls", parse_pair, {.post = run_template}},
    {"ByteLevel", "add_prefix_space trim_offsets use_regex", NULL, {.post = run_nothing}},
    {NULL, NULL, NULL, {0}},
};
const struct tok_stage tok_posts = {"post_processor", "processors", rows};
