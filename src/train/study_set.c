/* Changes to a recipe, made in its YAML: the recipe's own schema then says whether the result is one, so that
 * there is no second list of its keys. Documents are libyaml's; knows no key but `stages`. */
/* SPDX-License-Identifier: MIT */
#include "train/study_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"

enum { VALUE_DEPTH = 8 };

static int load(struct span text, const char *place, yaml_document_t *out)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return err_nomem(sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    int rc = 0;
    if (!yaml_parser_load(&parser, out))
        rc = parser.error == YAML_MEMORY_ERROR
                 ? err_nomem(0)
                 : err_set(NUN_EFORMAT, "%s: line %zu: %s", place, parser.problem_mark.line + 1, parser.problem ? parser.problem : "no YAML");
    yaml_parser_delete(&parser);
    if (rc >= 0 && !yaml_document_get_root_node(out)) {
        yaml_document_delete(out);
        rc = err_set(NUN_EFORMAT, "%s: expected YAML, found nothing", place);
    }
    return rc;
}

/* ---- values ----------------------------------------------------------------------------------- */

/* `node` of `from` as a node of `to`: its number, 0 when memory is out or it is nested too deep. */
static int graft(yaml_document_t *to, yaml_document_t *from, int node, int depth)
{
    yaml_node_t *n = yaml_document_get_node(from, node);
    if (!n || depth == VALUE_DEPTH)
        return 0;
    if (n->type == YAML_SCALAR_NODE)
        return yaml_document_add_scalar(to, n->tag, n->data.scalar.value, (int)n->data.scalar.length, n->data.scalar.style);
    if (n->type == YAML_SEQUENCE_NODE) {
        int list = yaml_document_add_sequence(to, n->tag, YAML_FLOW_SEQUENCE_STYLE);
        for (yaml_node_item_t *i = n->data.sequence.items.start; list && i < n->data.sequence.items.top; i++) {
            int item = graft(to, from, *i, depth + 1);
            list = item && yaml_document_append_sequence_item(to, list, item) ? list : 0;
        }
        return list;
    }
    int map = yaml_document_add_mapping(to, n->tag, YAML_FLOW_MAPPING_STYLE);
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; map && p < n->data.mapping.pairs.top; p++) {
        int key = graft(to, from, p->key, depth + 1), value = graft(to, from, p->value, depth + 1);
        map = key && value && yaml_document_append_mapping_pair(to, map, key, value) ? map : 0;
    }
    return map;
}

static int value_node(yaml_document_t *doc, struct span text, const char *place, int *out)
{
    yaml_document_t value;
    TRY(load(text, place, &value));
    *out = graft(doc, &value, 1, 0);
    yaml_document_delete(&value);
    return *out ? 0 : err_set(NUN_EFORMAT, "%s: the value is nested deeper than %d levels, or memory is out", place, VALUE_DEPTH);
}

/* ---- places ----------------------------------------------------------------------------------- */

static bool scalar_is(yaml_document_t *doc, int node, struct span text)
{
    yaml_node_t *n = yaml_document_get_node(doc, node);
    return n && n->type == YAML_SCALAR_NODE && span_eq(span_of(n->data.scalar.value, n->data.scalar.length), text);
}

static yaml_node_pair_t *pair_of(yaml_document_t *doc, int map, struct span key)
{
    yaml_node_t *n = yaml_document_get_node(doc, map);
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++)
        if (scalar_is(doc, p->key, key))
            return p;
    return NULL;
}

static int put(yaml_document_t *doc, int map, struct span key, int value)
{
    yaml_node_pair_t *p = pair_of(doc, map, key);
    if (p) {
        p->value = value;
        return 0;
    }
    int name = yaml_document_add_scalar(doc, NULL, (const yaml_char_t *)key.ptr, (int)key.len, YAML_PLAIN_SCALAR_STYLE);
    return name && yaml_document_append_mapping_pair(doc, map, name, value) ? 0 : err_nomem(0);
}

/* Is the stage that is item `at` of the list meant by `which`? */
static bool meant(yaml_document_t *doc, int stage, int at, struct span which)
{
    char number[16];
    snprintf(number, sizeof number, "%d", at);
    if (span_is(which, "*") || span_is(which, number))
        return true;
    yaml_node_pair_t *name = pair_of(doc, stage, SPAN("name"));
    return name && scalar_is(doc, name->value, which);
}

/* Each stage gets a value of its own: one node in two places would be written as an alias. */
static int put_in_stages(yaml_document_t *doc, struct span which, struct span key, struct span text, const char *place)
{
    yaml_node_pair_t *p = pair_of(doc, 1, SPAN("stages"));
    yaml_node_t *list = p ? yaml_document_get_node(doc, p->value) : NULL;
    int found = 0, n = list && list->type == YAML_SEQUENCE_NODE ? (int)(list->data.sequence.items.top - list->data.sequence.items.start) : 0;
    for (int i = 0; i < n; i++) {
        /* the list is looked up anew: adding nodes moves them */
        int stage = yaml_document_get_node(doc, p->value)->data.sequence.items.start[i];
        yaml_node_t *map = yaml_document_get_node(doc, stage);
        if (map->type != YAML_MAPPING_NODE || !meant(doc, stage, i, which))
            continue;
        int value;
        TRY(value_node(doc, text, place, &value));
        TRY(put(doc, stage, key, value));
        p = pair_of(doc, 1, SPAN("stages"));
        found++;
    }
    if (!found)
        return err_set(NUN_EFORMAT, "%s: no stage [%.*s] among the recipe's %d", place, (int)which.len, which.ptr, n);
    return 0;
}

/* "KEY = VALUE" */
static int edit_one(yaml_document_t *doc, const char *edit)
{
    char place[256];
    snprintf(place, sizeof place, "set \"%.200s\"", edit);
    const char *equals = strchr(edit, '='), *end = equals;
    while (end && end > edit && end[-1] == ' ')
        end--;
    if (!equals || end == edit)
        return err_set(NUN_EFORMAT, "%s: expected KEY = VALUE", place);
    struct span key = span_of(edit, (size_t)(end - edit));
    if (!span_starts(key, SPAN("stages["))) {
        int value;
        if (memchr(key.ptr, '[', key.len) || memchr(key.ptr, '.', key.len))
            return err_set(NUN_EFORMAT, "%s: expected a key of the recipe or stages[WHICH].KEY", place);
        TRY(value_node(doc, span_str(equals + 1), place, &value));
        return put(doc, 1, key, value);
    }
    struct span rest = span_from(key, strlen("stages["));
    const char *close = memchr(rest.ptr, ']', rest.len);
    if (!close || close + 2 >= rest.ptr + rest.len || close[1] != '.')
        return err_set(NUN_EFORMAT, "%s: expected stages[WHICH].KEY", place);
    return put_in_stages(doc, span_of(rest.ptr, (size_t)(close - rest.ptr)), span_of(close + 2, (size_t)(rest.ptr + rest.len - close - 2)),
                         span_str(equals + 1), place);
}

/* ---- text again ------------------------------------------------------------------------------- */

static int write_buf(void *arg, unsigned char *p, size_t n)
{
    struct buf *out = arg;
    buf_append(out, p, n);
    return buf_error(out) >= 0;
}

/* Takes the document. */
static int emit(yaml_document_t *doc, struct buf *out)
{
    yaml_emitter_t emitter;
    if (!yaml_emitter_initialize(&emitter)) {
        yaml_document_delete(doc);
        return err_nomem(sizeof emitter);
    }
    yaml_emitter_set_output(&emitter, write_buf, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    int done = yaml_emitter_dump(&emitter, doc) && yaml_emitter_flush(&emitter);
    yaml_emitter_delete(&emitter);
    return done ? 0 : buf_error(out) < 0 ? buf_error(out) : err_nomem(0);
}

int study_edit(struct span yaml, const char *place, const char *const *edits, size_t n, struct buf *out)
{
    yaml_document_t doc;
    TRY(load(yaml, place, &doc));
    int rc = 0;
    if (yaml_document_get_root_node(&doc)->type != YAML_MAPPING_NODE)
        rc = err_set(NUN_EFORMAT, "%s: expected a recipe, found no mapping", place);
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = edit_one(&doc, edits[i]);
    if (rc < 0) {
        yaml_document_delete(&doc);
        return rc;
    }
    return emit(&doc, out);
}
