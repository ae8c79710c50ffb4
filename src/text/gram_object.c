/* Objects of JSON Schema: named properties, each at most once and in the order of its `properties` keyword,
 * and all other names, sorted into classes by the patterns that they match. What came is remembered as bits,
 * so that nothing is begun that could not be finished. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_schema.h"

enum { PATTERNS_MAX = 12 };
struct pattern { const char *text; struct dfa dfa; };

struct object {
    struct schema *s;
    const struct branch *b;
    struct gram_vec names;           /* const char * */
    struct pattern patterns[PATTERNS_MAX];
    uint32_t n_patterns;
    struct gram_object facts;
    uint32_t id;                     /* of the facts in the grammar */
    uint64_t min, max;
    bool closed, counts;
    struct lits { struct gram_vec v; } lits;
};

static bool is_constant(const struct fact *f)
{
    return f->kind == FACT_IS && !f->negative && json_is_object(f->json);
}

static int add_lit(struct object *o, const json_t *json, enum lit_kind kind)
{
    TRY(gram_vec_room(&o->lits.v, 1, sizeof(struct lit)));
    GRAM_AT(o->lits.v, struct lit)[o->lits.v.n++] = (struct lit){json, kind};
    return 0;
}

/* ---- names --------------------------------------------------------------------------------- */

static uint32_t find_name(const struct object *o, const char *name)
{
    uint32_t i = 0;
    while (i < o->names.n && strcmp(GRAM_AT(o->names, const char *)[i], name))
        i++;
    return i;
}

static int add_name(struct object *o, const char *name)
{
    if (!name)
        return schema_refuse(o->s, o->s->root, NULL, "the name of a property must be a string");
    if (find_name(o, name) < o->names.n)
        return 0;
    if (o->names.n >= LIMIT_OF(grammar_names) || o->names.n >= GRAM_NAME_WORDS * 64)
        return err_set(NUN_ELIMIT, "%s: more than %u properties of one object", o->s->place, o->names.n);
    TRY(gram_vec_room(&o->names, 1, sizeof name));
    GRAM_AT(o->names, const char *)[o->names.n++] = name;
    return 0;
}

static int add_keys(struct object *o, const json_t *map)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)map, key, v)
        TRY(add_name(o, key));
    return 0;
}

static int add_strings(struct object *o, const json_t *list)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
        TRY(add_name(o, json_string_value(v)));
    return 0;
}

static int add_pattern(struct object *o, const json_t *at, const char *text)
{
    struct pattern *p = &o->patterns[o->n_patterns];
    for (uint32_t i = 0; i < o->n_patterns; i++)
        if (!strcmp(o->patterns[i].text, text))
            return 0;
    if (o->n_patterns == PATTERNS_MAX)
        return schema_refuse(o->s, at, "patternProperties", "more than 12 patterns for one object");
    p->text = text;
    int rc = schema_regex(o->s, span_str(text), "patternProperties", true, &p->dfa);
    o->n_patterns++;
    return rc < 0 ? schema_at(o->s, at, "patternProperties", rc) : 0;
}

/* `properties` first, so that their order is that of the names. */
static int names_of(struct object *o, const struct fact *f)
{
    const char *key;
    json_t *v;
    if (is_constant(f))
        return add_keys(o, f->json);
    if (f->kind == FACT_MEMBER || f->kind == FACT_HAS)
        return add_name(o, f->key);
    if (f->kind != FACT_MEMBERS)
        return 0;
    TRY(add_keys(o, json_object_get(f->json, "properties")));
    TRY(add_strings(o, json_object_get(f->json, "required")));
    json_object_foreach(json_object_get(f->json, "dependentRequired"), key, v) {
        TRY(add_name(o, key));
        TRY(add_strings(o, v));
    }
    json_object_foreach(json_object_get(f->json, "patternProperties"), key, v)
        TRY(add_pattern(o, f->json, key));
    return 0;
}

/* ---- facts about names --------------------------------------------------------------------- */

static void set_bit(uint64_t *set, uint32_t i)
{
    set[i / 64] |= 1ull << (i % 64);
}

static void require_strings(struct object *o, const json_t *list, uint64_t *set)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
        set_bit(set, find_name(o, json_string_value(v)));
}

/* A name of this keyword must not be followed by one that stands before it. */
static void order(struct object *o, const json_t *properties)
{
    uint64_t before[GRAM_NAME_WORDS] = {0};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)properties, key, v) {
        uint32_t i = find_name(o, key);
        for (uint32_t w = 0; w < o->facts.words; w++)
            o->facts.before[(size_t)i * o->facts.words + w] |= before[w];
        set_bit(before, i);
    }
}

static int counts_of(struct object *o, const struct fact *f)
{
    uint64_t min = 0, max = UINT64_MAX;
    if (f->kind == FACT_MEMBERS) {
        TRY(schema_count(o->s, f->json, "minProperties", 0, &min));
        TRY(schema_count(o->s, f->json, "maxProperties", UINT64_MAX, &max));
    } else if (f->kind == FACT_COUNT) {
        min = f->negative ? 0 : f->n;
        max = f->negative ? f->n : UINT64_MAX;
    }
    o->min = min > o->min ? min : o->min;
    o->max = max < o->max ? max : o->max;
    return 0;
}

static int facts_of(struct object *o, const struct fact *f)
{
    const char *key;
    json_t *v;
    if (f->kind == FACT_HAS)
        set_bit(o->facts.required, find_name(o, f->key));
    if (is_constant(f))
        json_object_foreach((json_t *)f->json, key, v)
            set_bit(o->facts.required, find_name(o, key));
    if (f->kind == FACT_MEMBERS) {
        order(o, json_object_get(f->json, "properties"));
        require_strings(o, json_object_get(f->json, "required"), o->facts.required);
        json_object_foreach(json_object_get(f->json, "dependentRequired"), key, v)
            require_strings(o, v, o->facts.needs + (size_t)find_name(o, key) * o->facts.words);
    }
    return counts_of(o, f);
}

/* Without $schema an object with `properties` has no others unless something says so. */
static bool is_closed(const struct object *o)
{
    bool named = false, open = false;
    for (const struct fact *f = o->b->facts; f; f = f->next) {
        if (is_constant(f))
            return true;
        if (f->kind != FACT_MEMBERS)
            continue;
        named |= json_object_get(f->json, "properties") != NULL;
        open |= json_object_get(f->json, "additionalProperties") || json_object_get(f->json, "patternProperties") ||
                json_object_get(f->json, "unevaluatedProperties");
    }
    return !o->s->standard && named && !open;
}

static int read_object(struct object *o)
{
    struct arena *a = o->s->arena;
    for (int first = 1; first >= 0; first--)
        for (const struct fact *f = o->b->facts; f; f = f->next)
            if (first == (f->kind == FACT_MEMBERS && json_object_get(f->json, "properties") != NULL))
                TRY(names_of(o, f));
    uint32_t names = o->names.n, words = (names + 63) / 64;
    o->facts = (struct gram_object){.names = names, .words = words, .max = UINT32_MAX};
    o->facts.required = arena_array(a, words + 1, sizeof(uint64_t));
    o->facts.before = arena_array(a, (size_t)names * words + 1, sizeof(uint64_t));
    o->facts.needs = arena_array(a, (size_t)names * words + 1, sizeof(uint64_t));
    if (!o->facts.required || !o->facts.before || !o->facts.needs)
        return NUN_ENOMEM;
    for (const struct fact *f = o->b->facts; f; f = f->next)
        TRY(facts_of(o, f));
    o->closed = is_closed(o);
    o->counts = o->min > 0 || o->max != UINT64_MAX;
    o->facts.max = o->max < UINT32_MAX ? (uint32_t)o->max : UINT32_MAX;
    TRY(gram_vec_room(&o->s->b.g->objects, 1, sizeof o->facts));
    o->id = o->s->b.g->objects.n++;
    GRAM_AT(o->s->b.g->objects, struct gram_object)[o->id] = o->facts;
    return 0;
}

/* ---- the schemas of one name, or of a class of names ---------------------------------------- */

struct key { const char *name; uint32_t matched; }; /* name NULL: a class; matched: bits of patterns */

static uint32_t matches(const struct object *o, const json_t *map, struct key k)
{
    const char *text;
    json_t *v;
    uint32_t n = 0;
    json_object_foreach((json_t *)map, text, v)
        for (uint32_t i = 0; i < o->n_patterns; i++)
            n += (k.matched >> i & 1) && !strcmp(o->patterns[i].text, text);
    return n;
}

static bool evaluated(const struct object *o, const struct fact *by, struct key k)
{
    for (const struct fact *f = o->b->facts; f; f = f->next) {
        if (f->kind != FACT_MEMBERS || !schema_within(f, by->by))
            continue;
        if (json_object_get(f->json, "additionalProperties") || (f != by && json_object_get(f->json, "unevaluatedProperties")) ||
            (k.name && json_object_get(json_object_get(f->json, "properties"), k.name)) ||
            matches(o, json_object_get(f->json, "patternProperties"), k))
            return true;
    }
    return false;
}

static int member_of(struct object *o, const struct fact *f, struct key k)
{
    const json_t *own = k.name ? json_object_get(json_object_get(f->json, "properties"), k.name) : NULL;
    const json_t *patterns = json_object_get(f->json, "patternProperties"), *more = json_object_get(f->json, "additionalProperties");
    const json_t *rest = json_object_get(f->json, "unevaluatedProperties");
    const char *text;
    json_t *v;
    if (own)
        TRY(add_lit(o, own, LIT_SCHEMA));
    json_object_foreach((json_t *)patterns, text, v)
        for (uint32_t i = 0; i < o->n_patterns; i++)
            if ((k.matched >> i & 1) && !strcmp(o->patterns[i].text, text))
                TRY(add_lit(o, v, LIT_SCHEMA));
    if (!own && more && !matches(o, patterns, k))
        TRY(add_lit(o, more, LIT_SCHEMA));
    return rest && !evaluated(o, f, k) ? add_lit(o, rest, LIT_SCHEMA) : 0;
}

static int lits_of(struct object *o, struct key k)
{
    o->lits.v.n = 0;
    for (const struct fact *f = o->b->facts; f; f = f->next) {
        if (f->kind == FACT_MEMBERS)
            TRY(member_of(o, f, k));
        if (f->kind == FACT_MEMBER && k.name && !strcmp(f->key, k.name))
            TRY(add_lit(o, f->lit.json, (enum lit_kind)f->lit.kind));
        if (is_constant(f)) {
            const json_t *v = k.name ? json_object_get(f->json, k.name) : NULL;
            TRY(v ? add_lit(o, v, LIT_CONST) : add_lit(o, json_false(), LIT_SCHEMA));
        }
    }
    return 0;
}

/* All strings that propertyNames allows. */
static int allowed_names(struct object *o, struct dfa *out)
{
    struct dfa one;
    *out = o->s->any_text;
    for (const struct fact *f = o->b->facts; f; f = f->next) {
        const json_t *schema = f->kind == FACT_MEMBERS ? json_object_get(f->json, "propertyNames") : NULL;
        struct lit lit = {schema, LIT_SCHEMA};
        if (!schema)
            continue;
        TRY(schema_strings(o->s, &lit, 1, &one));
        TRY(dfa_product(o->s->arena, out, &one, DFA_AND, out));
    }
    return 0;
}

/* ---- expressions --------------------------------------------------------------------------- */

struct members { struct gram_vec rules, names; }; /* of each way to write a member: its rule, and name or UINT32_MAX */

static int add_member(struct object *o, struct members *m, struct gram_expr *name, uint32_t index)
{
    struct gram_builder *b = &o->s->b;
    uint32_t rule = gram_new_rule(b, NULL);
    struct gram_expr *body = EX_SEQ_OF(b, ex_char(b, '"', GRAM_RAW), name, ex_char(b, '"', GRAM_RAW), schema_ws(o->s), ex_char(b, ':', GRAM_RAW),
                                       schema_ws(o->s), schema_call(o->s, o->lits.v.at, o->lits.v.n), schema_ws(o->s));
    TRY(b->error);
    gram_rule_at(b->g, rule)->body = body;
    TRY(gram_vec_room(&m->rules, 1, sizeof rule));
    TRY(gram_vec_room(&m->names, 1, sizeof index));
    GRAM_AT(m->rules, uint32_t)[m->rules.n++] = rule;
    GRAM_AT(m->names, uint32_t)[m->names.n++] = index;
    return 0;
}

static int named_members(struct object *o, struct members *m, const struct dfa *allowed)
{
    struct dfa word;
    for (uint32_t i = 0; i < o->names.n; i++) {
        struct span name = span_str(GRAM_AT(o->names, const char *)[i]);
        struct key k = {name.ptr, 0};
        for (uint32_t p = 0; p < o->n_patterns; p++)
            k.matched |= (uint32_t)dfa_match(&o->patterns[p].dfa, name) << p;
        TRY(lits_of(o, k));
        if (!dfa_match(allowed, name))
            TRY(add_lit(o, json_false(), LIT_SCHEMA));
        TRY(dfa_words(o->s->arena, &name, 1, &word));
        struct dfa *kept = arena_alloc(o->s->arena, sizeof *kept);
        if (!kept)
            return NUN_ENOMEM;
        *kept = word;
        TRY(add_member(o, m, ex_dfa(&o->s->b, kept, GRAM_JSON), i));
    }
    return 0;
}

/* All other names, split by one pattern after the other; recursion no deeper than there are patterns. */
static int other_members(struct object *o, struct members *m, const struct dfa *names, uint32_t pattern, uint32_t matched)
{
    struct dfa *in, *out;
    if (dfa_empty(names))
        return 0;
    if (pattern == o->n_patterns) {
        TRY(lits_of(o, (struct key){NULL, matched}));
        for (uint32_t i = 0; i < o->lits.v.n; i++)
            if (GRAM_AT(o->lits.v, struct lit)[i].kind == LIT_SCHEMA && json_is_false(GRAM_AT(o->lits.v, struct lit)[i].json))
                return 0;
        return add_member(o, m, ex_dfa(&o->s->b, names, GRAM_JSON), UINT32_MAX);
    }
    in = arena_alloc(o->s->arena, sizeof *in);
    out = arena_alloc(o->s->arena, sizeof *out);
    if (!in || !out)
        return NUN_ENOMEM;
    TRY(dfa_product(o->s->arena, names, &o->patterns[pattern].dfa, DFA_AND, in));
    TRY(dfa_product(o->s->arena, names, &o->patterns[pattern].dfa, DFA_MINUS, out));
    TRY(other_members(o, m, in, pattern + 1, matched | 1u << pattern));
    return other_members(o, m, out, pattern + 1, matched);
}

static int all_members(struct object *o, struct members *m)
{
    struct dfa allowed, words, *others = arena_alloc(o->s->arena, sizeof *others);
    struct span *names = arena_array(o->s->arena, o->names.n + 1, sizeof *names);
    if (!others || !names)
        return NUN_ENOMEM;
    TRY(allowed_names(o, &allowed));
    TRY(named_members(o, m, &allowed));
    for (uint32_t i = 0; i < o->names.n; i++)
        names[i] = span_str(GRAM_AT(o->names, const char *)[i]);
    TRY(dfa_words(o->s->arena, names, o->names.n, &words));
    TRY(dfa_product(o->s->arena, &allowed, &words, DFA_MINUS, others));
    return o->closed ? 0 : other_members(o, m, others, 0, 0);
}

static struct gram_expr *effect(struct object *o, enum gram_effect_kind kind, uint64_t n)
{
    return ex_effect(&o->s->b, (struct gram_effect){.kind = kind, .n = (uint32_t)n, .object = o->id});
}

/* One member; the check comes first, so that a name is begun only where it may come. */
static struct gram_expr *member(struct object *o, const struct members *m, uint32_t i, bool comma)
{
    struct gram_builder *b = &o->s->b;
    uint32_t name = GRAM_AT(m->names, uint32_t)[i];
    uint64_t cap = o->max == UINT64_MAX ? o->min : o->max;
    struct gram_expr *check = ex_new(b, EX_SEQ);
    if (name != UINT32_MAX)
        check = ex_add(b, check, effect(o, FX_SEE, name));
    if (name == UINT32_MAX && o->max != UINT64_MAX)
        check = ex_add(b, check, effect(o, FX_BELOW, o->max));
    if (name == UINT32_MAX && o->counts)
        check = ex_add(b, check, effect(o, FX_TICK, cap));
    struct gram_expr *before = comma ? EX_SEQ_OF(b, ex_char(b, ',', GRAM_RAW), schema_ws(o->s)) : ex_new(b, EX_EMPTY);
    return EX_SEQ_OF(b, check, before, ex_rule(b, GRAM_AT(m->rules, uint32_t)[i]));
}

static struct gram_expr *closing(struct object *o)
{
    struct gram_builder *b = &o->s->b;
    return EX_SEQ_OF(b, o->min ? effect(o, FX_LEAST, o->min) : ex_new(b, EX_EMPTY), o->names.n ? effect(o, FX_CLOSE, 0) : ex_new(b, EX_EMPTY),
                     ex_char(b, '}', GRAM_RAW));
}

/* An object whose required member cannot be written cannot be written. */
static struct gram_expr *needs(struct object *o, const struct members *m)
{
    struct gram_builder *b = &o->s->b;
    struct gram_expr *all = ex_new(b, EX_SEQ);
    for (uint32_t i = 0; i < o->names.n && i < m->rules.n; i++) {
        if (!(o->facts.required[i / 64] >> (i % 64) & 1))
            continue;
        struct gram_expr *e = ex_rule(b, GRAM_AT(m->rules, uint32_t)[i]);
        if (e)
            e->kind = EX_NEED;
        all = ex_add(b, all, e);
    }
    return all;
}

static struct gram_expr *written(struct object *o, const struct members *m)
{
    struct gram_builder *b = &o->s->b;
    struct gram_expr *first = ex_add(b, ex_new(b, EX_ALT), closing(o)), *next = ex_new(b, EX_ALT), *starts = ex_new(b, EX_ALT);
    for (uint32_t i = 0; i < m->rules.n && o->max; i++) {
        starts = ex_add(b, starts, member(o, m, i, false));
        next = ex_add(b, next, member(o, m, i, true));
    }
    first = ex_add(b, first, EX_SEQ_OF(b, starts, ex_repeat(b, next, 0, REPEAT_FOREVER), closing(o)));
    return EX_SEQ_OF(b, needs(o, m), ex_char(b, '{', GRAM_RAW), schema_ws(o->s), first);
}

struct gram_expr *schema_object(struct schema *s, const struct branch *branch)
{
    struct object o = {.s = s, .b = branch, .max = UINT64_MAX};
    struct members m = {{NULL, 0, 0}, {NULL, 0, 0}};
    int rc = read_object(&o);
    if (rc >= 0)
        rc = all_members(&o, &m);
    struct gram_expr *e = rc < 0 ? schema_fail(s, rc) : o.max < o.min ? ex_new(&s->b, EX_ALT) : written(&o, &m);
    mem_free(o.names.at);
    mem_free(o.lits.v.at);
    mem_free(m.rules.at);
    mem_free(m.names.at);
    return e;
}
