/* Stages: reading a normalizer, pre-tokenizer, post-processor or decoder into a flat list of steps.
 * Which types there are is the tables' business, not this file's. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

enum { NESTING_MAX = 16 };

void tok_steps_free(struct tok_steps *s)
{
    for (size_t i = 0; i < s->n; i++)
        ids_free(&s->at[i].ids);
    mem_free(s->at);
    *s = (struct tok_steps){0};
}

static int append(struct tok_steps *s, const struct tok_row *row, struct tok_step **out)
{
    TRY(limit_check(LIMIT_tokenizer_steps, s->n + 1, "tokenizer"));
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 4;
        struct tok_step *grown = mem_realloc(MEM_TEXT, s->at, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        s->at = grown;
        s->cap = cap;
    }
    s->at[s->n] = (struct tok_step){.row = row};
    *out = &s->at[s->n++];
    return 0;
}

static const struct tok_row *find_row(const struct tok_row *rows, struct span type)
{
    for (; rows->type; rows++)
        if (span_is(type, rows->type))
            return rows;
    return NULL;
}

static int parse(struct tokenizer *t, const struct tok_stage *stage, const json_t *o, const char *path, int depth, struct tok_steps *out);

static int parse_members(struct tokenizer *t, const struct tok_stage *stage, const json_t *o, const char *path, int depth, struct tok_steps *out)
{
    char keys[64], at[TOK_PATH];
    snprintf(keys, sizeof keys, "type %s", stage->members);
    TRY(tok_json_keys(o, path, keys));
    const json_t *list = json_object_get(o, stage->members);
    if (!json_is_array(list))
        return err_set(NUN_EFORMAT, "%s.%s: expected an array", path, stage->members);
    if (depth == NESTING_MAX)
        return err_set(NUN_ELIMIT, "%s: sequences nested deeper than %d", path, NESTING_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        snprintf(at, sizeof at, "%s.%s[%zu]", path, stage->members, i);
        TRY(parse(t, stage, json_array_get(list, i), at, depth + 1, out));
    }
    return 0;
}

static int parse(struct tokenizer *t, const struct tok_stage *stage, const json_t *o, const char *path, int depth, struct tok_steps *out)
{
    char keys[256];
    struct span type = {0};
    if (!json_is_object(o))
        return err_set(NUN_EFORMAT, "%s: expected an object", path);
    TRY(tok_json_span(o, path, "type", &type));
    const struct tok_row *row = find_row(stage->rows, type);
    if (!row)
        return err_set(NUN_EUNSUP, "%s.type: unknown %s \"%.*s\"", path, stage->key, (int)type.len, type.ptr ? type.ptr : "");
    if (!row->keys)
        return parse_members(t, stage, o, path, depth, out);
    snprintf(keys, sizeof keys, "type %s", row->keys);
    TRY(tok_json_keys(o, path, keys));
    struct tok_step *step;
    TRY(append(out, row, &step));
    return row->parse ? row->parse(t, step, o, path) : 0;
}

int tok_steps_parse(struct tokenizer *t, const struct tok_stage *stage, const json_t *o, struct tok_steps *out)
{
    return o && !json_is_null(o) ? parse(t, stage, o, stage->key, 0, out) : 0;
}
