/* JSON Schema to grammar: sets of literals become rules, each the union of its branches, each of those the
 * union of its types. Rules are made when they are first called and written by a worklist, so recursion of
 * schemas is recursion of rules. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_schema.h"

#define SCHEMA_DIALECT "https://json-schema.org/draft/2020-12/schema"
enum { BLANKS_MAX = 64, INDENT_MAX = 32 }; /* white space in a row: of a text to judge, of an answer */

void *schema_fail(struct schema *s, int code)
{
    if (!s->b.error)
        s->b.error = code;
    return NULL;
}

struct gram_expr *schema_ws(struct schema *s)
{
    return ex_rule(&s->b, s->ws);
}

int schema_steps(struct schema *s, size_t n)
{
    return limit_check(LIMIT_grammar_steps, s->steps += n, s->place);
}

/* ---- rules of sets ------------------------------------------------------------------------- */

static int by_lit(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct lit));
}

int schema_rule(struct schema *s, const struct lit *lits, size_t n, uint32_t *out)
{
    struct lit *key = mem_alloc(MEM_TEXT, n * sizeof *key);
    uint32_t id, kept = 0;
    if (!key)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) /* `true` says nothing */
        if (!(lits[i].kind == LIT_SCHEMA && json_is_true(lits[i].json)))
            key[kept++] = lits[i];
    qsort(key, kept, sizeof *key, by_lit);
    uint32_t unique = 0;
    for (uint32_t i = 0; i < kept; i++)
        if (!i || by_lit(&key[i], &key[unique - 1]))
            key[unique++] = key[i];
    int rc = intern_put(&s->sets, key, unique * (uint32_t)sizeof *key, &id);
    mem_free(key);
    TRY(rc);
    if (id == s->rule_of.n) {
        TRY(gram_vec_room(&s->rule_of, 1, sizeof(uint32_t)));
        GRAM_AT(s->rule_of, uint32_t)[s->rule_of.n++] = gram_new_rule(&s->b, NULL);
    }
    *out = GRAM_AT(s->rule_of, uint32_t)[id];
    return s->b.error;
}

struct gram_expr *schema_call(struct schema *s, const struct lit *lits, size_t n)
{
    uint32_t rule;
    int rc = schema_rule(s, lits, n, &rule);
    return rc < 0 ? schema_fail(s, rc) : ex_rule(&s->b, rule);
}

/* ---- scalars ------------------------------------------------------------------------------- */

struct gram_expr *schema_noted(struct gram_expr *e)
{
    for (struct gram_expr *c = e ? e->last : NULL; c; c = c->prev)
        c->noted = true;
    if (e)
        e->noted = true;
    return e;
}

static struct gram_expr *word(struct schema *s, const char *text, bool noted)
{
    struct gram_expr *e = ex_text(&s->b, text);
    return noted ? schema_noted(e) : e;
}

/* Lengths alone are counted, not written out as states. */
static bool only_lengths(struct schema *s, const struct branch *b, uint64_t *min, uint64_t *max)
{
    uint64_t n;
    *min = 0;
    *max = UINT64_MAX;
    for (const struct fact *f = b->facts; f; f = f->next) {
        if (f->kind == FACT_IS || f->kind == FACT_ONE_OF)
            return false;
        if (f->kind != FACT_STRING)
            continue;
        bool least = !strcmp(f->key, "minLength");
        if (f->negative || (!least && strcmp(f->key, "maxLength")) || schema_count(s, f->json, f->key, 0, &n) < 0)
            return false;
        if (least && n > *min)
            *min = n;
        if (!least && n < *max)
            *max = n;
    }
    return true;
}

static struct gram_expr *string(struct schema *s, const struct branch *b, bool noted)
{
    struct gram_expr *inner;
    struct dfa d, *kept = arena_alloc(s->arena, sizeof *kept);
    struct cp_set none = {NULL, 0}, all;
    uint64_t min, max;
    bool any;
    int rc = kept ? cp_set_invert(s->arena, &none, &all) : NUN_ENOMEM;
    if (rc >= 0 && !noted && only_lengths(s, b, &min, &max)) {
        inner = min > max ? ex_new(&s->b, EX_ALT)
                          : ex_repeat(&s->b, ex_class(&s->b, &all, GRAM_JSON), (uint32_t)min, max == UINT64_MAX ? REPEAT_FOREVER : (uint32_t)max);
    } else {
        rc = rc < 0 ? rc : schema_string(s, b, &d, &any);
        if (rc < 0)
            return schema_fail(s, rc);
        *kept = d;
        inner = ex_dfa(&s->b, kept, GRAM_JSON);
    }
    if (noted && inner)
        inner->noted = true;
    struct gram_expr *open = ex_char(&s->b, '"', GRAM_RAW);
    if (noted && open) /* the quote tells strings from numbers; the closing one need not be kept */
        open->noted = true;
    return EX_SEQ_OF(&s->b, open, inner, ex_char(&s->b, '"', GRAM_RAW));
}

static struct gram_expr *number(struct schema *s, const struct branch *b, bool noted)
{
    struct dfa *d = arena_alloc(s->arena, sizeof *d);
    int rc = d ? schema_number(s, b, d) : NUN_ENOMEM;
    if (rc < 0)
        return schema_fail(s, rc);
    struct gram_expr *e = ex_dfa(&s->b, d, GRAM_RAW);
    return noted ? schema_noted(e) : e;
}

struct gram_expr *schema_scalar(struct schema *s, const struct branch *b, uint32_t type, bool noted)
{
    switch (type) {
    case T_NULL: return word(s, "null", noted);
    case T_TRUE: return word(s, "true", noted);
    case T_FALSE: return word(s, "false", noted);
    case T_NUMBER: return number(s, b, noted);
    default: return string(s, b, noted);
    }
}

/* ---- facts that bar a type ----------------------------------------------------------------- */

/* Constants of enum that are null, true or false bar those that are not in it. */
static uint32_t allowed_types(const struct branch *b)
{
    uint32_t types = b->types;
    for (const struct fact *f = b->facts; f; f = f->next) {
        uint32_t named = 0;
        bool bars = f->kind == FACT_ONE_OF && !f->negative;
        for (size_t i = 0; bars && i < json_array_size(f->json); i++)
            named |= schema_type_of(json_array_get(f->json, i));
        if (bars)
            types &= named | T_ARRAY | T_OBJECT;
    }
    return types;
}

static struct gram_expr *branch_expr(struct schema *s, const struct branch *b)
{
    struct gram_expr *any = ex_new(&s->b, EX_ALT);
    uint32_t types = allowed_types(b);
    for (uint32_t t = T_NULL; t <= T_STRING; t *= 2)
        if (types & t)
            any = ex_add(&s->b, any, schema_scalar(s, b, t, false));
    if (types & T_ARRAY)
        any = ex_add(&s->b, any, schema_array(s, b));
    if (types & T_OBJECT)
        any = ex_add(&s->b, any, schema_object(s, b));
    return any;
}

/* Write the rule of set `id`. */
static int write_rule(struct schema *s, uint32_t id)
{
    struct branches list = {{NULL, 0, 0}};
    uint32_t n, rule = GRAM_AT(s->rule_of, uint32_t)[id];
    const struct lit *lits = intern_at(&s->sets, id, &n);
    struct lit *copy = mem_alloc(MEM_TEXT, n);
    struct gram_expr *any = ex_new(&s->b, EX_ALT);
    int rc = copy && any ? 0 : NUN_ENOMEM;
    if (rc >= 0) {
        if (n) /* none: there is nothing to copy from */
            memcpy(copy, lits, n);
        rc = schema_unfold(s, copy, n / sizeof *lits, &list);
    }
    for (uint32_t i = 0; i < list.list.n && rc >= 0; i++) {
        any = ex_add(&s->b, any, branch_expr(s, GRAM_AT(list.list, struct branch) + i));
        rc = s->b.error;
    }
    mem_free(copy);
    mem_free(list.list.at);
    if (rc >= 0)
        gram_rule_at(s->b.g, rule)->body = any;
    return rc;
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* Behind the whole, an answer has none; elsewhere one blank, or a new line and an indent. */
static int white_space(struct schema *s)
{
    struct gram_builder *b = &s->b;
    struct cp_range blanks[] = {{9, 10}, {13, 13}, {32, 32}};
    struct cp_set set;
    TRY(cp_set_make(s->arena, blanks, 3, &set));
    s->ws = gram_new_rule(b, "white space");
    s->end_ws = gram_new_rule(b, "white space at the end");
    struct gram_expr *wide = EX_SEQ_OF(b, ex_effect(b, (struct gram_effect){.kind = FX_WIDE}), ex_repeat(b, ex_class(b, &set, GRAM_RAW), 1, BLANKS_MAX));
    struct gram_expr *any = ex_add(b, ex_add(b, ex_new(b, EX_ALT), ex_new(b, EX_EMPTY)), ex_char(b, ' ', GRAM_RAW));
    any = ex_add(b, any, EX_SEQ_OF(b, ex_char(b, '\n', GRAM_RAW), ex_repeat(b, ex_char(b, ' ', GRAM_RAW), 0, INDENT_MAX)));
    any = ex_add(b, any, ex_rule(b, s->end_ws));
    struct gram_expr *end = ex_add(b, ex_add(b, ex_new(b, EX_ALT), ex_new(b, EX_EMPTY)), wide);
    TRY(b->error);
    gram_rule_at(b->g, s->ws)->body = any;
    gram_rule_at(b->g, s->end_ws)->body = end;
    return 0;
}

static int shared(struct schema *s)
{
    const char *integer = s->standard ? "-?(?:0|[1-9]\\d*)(?:\\.0+)?" : "0|-?[1-9]\\d{0,15}";
    const char *long_integer = s->standard ? "-?(?:0|[1-9]\\d*)(?:\\.0+)?(?:[eE]\\+?\\d+)?" : integer;
    TRY(schema_regex(s, SPAN("-?(?:0|[1-9]\\d*)(?:\\.\\d+)?(?:[eE][+-]?\\d+)?"), "number", false, &s->number));
    TRY(schema_regex(s, SPAN("-?(?:0|[1-9]\\d*)(?:\\.\\d+)?"), "number", false, &s->plain_number));
    TRY(schema_regex(s, span_str(integer), "integer", false, &s->plain_integer));
    TRY(schema_regex(s, span_str(long_integer), "integer", false, &s->integer));
    TRY(dfa_any(s->arena, &s->any_text));
    return white_space(s);
}

static int write_all(struct schema *s, uint32_t *root)
{
    struct lit all = {s->root, LIT_SCHEMA};
    uint32_t value;
    TRY(schema_find_homes(s));
    TRY(shared(s));
    TRY(schema_rule(s, &all, 1, &value));
    for (uint32_t i = 0; i < s->rule_of.n; i++)
        TRY(write_rule(s, i));
    *root = gram_new_rule(&s->b, "root");
    TRY(s->b.error);
    struct gram_expr *body = EX_SEQ_OF(&s->b, schema_ws(s), ex_rule(&s->b, value), ex_rule(&s->b, s->end_ws));
    TRY(s->b.error);
    gram_rule_at(s->b.g, *root)->body = body;
    return 0;
}

int grammar_from_schema(const json_t *schema, const char *place, struct grammar **out)
{
    struct schema s = {.root = schema, .place = place};
    uint32_t root = 0;
    const char *dialect = json_string_value(json_object_get(schema, "$schema"));
    int rc = gram_builder_start(&s.b);
    if (rc >= 0) {
        s.arena = &s.b.g->arena;
        s.standard = dialect != NULL;
        if (dialect && strncmp(dialect, SCHEMA_DIALECT, strlen(SCHEMA_DIALECT)))
            rc = schema_refuse(&s, schema, "$schema", "this dialect is not known: 2020-12 is");
    }
    if (rc >= 0)
        rc = write_all(&s, &root);
    mem_free(s.homes.at);
    mem_free(s.rule_of.at);
    intern_free(&s.sets);
    if (rc < 0) {
        gram_builder_drop(&s.b);
        return rc;
    }
    return gram_builder_finish(&s.b, root, place, out);
}
