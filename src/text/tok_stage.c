/* Stages: reading a normalizer, pre-tokenizer, post-processor or decoder into a flat list of steps, and what the
 * steps share. Which types there are is the tables' business, not this file's. */
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

/* ---- what steps share ---- */

int tok_pieces_reserve(struct tok_pieces *p, size_t n)
{
    if (n <= p->cap)
        return 0;
    struct tok_piece *grown = mem_realloc(MEM_TEXT, p->at, n * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    p->at = grown;
    p->cap = n;
    return 0;
}

int tok_pieces_push(struct tok_pieces *p, struct tok_piece piece)
{
    if (p->n == p->cap)
        TRY(tok_pieces_reserve(p, p->cap ? 2 * p->cap : 64));
    p->at[p->n++] = piece;
    return 0;
}

static int find(const struct tok_step *s, struct tok_work *w, struct span text, size_t at, size_t *from, size_t *to)
{
    if (s->regex) {
        if (!w->match)
            TRY(tok_match_create(&w->match));
        return tok_regex_find(s->regex, w->match, text, at, from, to);
    }
    if (at >= text.len || !s->a.len)
        return 0;
    const char *p = memmem(text.ptr + at, text.len - at, s->a.ptr, s->a.len);
    if (!p)
        return 0;
    *from = (size_t)(p - text.ptr);
    *to = *from + s->a.len;
    return 1;
}

int tok_scan_next(const struct tok_step *s, struct tok_work *w, struct span text, struct tok_scan *scan)
{
    for (size_t at = scan->next; at <= text.len; at = scan->next) {
        size_t before = scan->to;
        int rc = find(s, w, text, at, &scan->from, &scan->to);
        if (rc <= 0)
            return rc;
        scan->next = scan->to;
        if (scan->to > scan->from) {
            scan->any = true;
            return 1;
        }
        for (scan->next++; scan->next < text.len && ((unsigned char)text.ptr[scan->next] & 0xc0) == 0x80; scan->next++)
            ;
        if (!scan->any || scan->to != before) { /* nothing right behind a match is no match */
            scan->any = true;
            return 1;
        }
    }
    return 0;
}

void tok_swap_pieces(struct tok_work *w)
{
    struct tok_pieces spare = w->now;
    w->now = w->next;
    w->next = spare;
    w->next.n = 0;
}

int tok_replace(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    struct tok_scan scan = {0};
    size_t done = 0;
    int rc;
    while ((rc = tok_scan_next(s, w, in, &scan)) > 0) {
        buf_append(out, in.ptr + done, scan.from - done);
        buf_span(out, s->b);
        done = scan.to;
    }
    buf_span(out, span_from(in, done));
    return rc;
}
