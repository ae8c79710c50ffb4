/* Sets of literals to branches. A literal adds facts, adds further literals to the same branch, or splits the
 * branch into cases; negations are pushed inwards until they meet facts. Rows name the keywords. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_schema.h"

/* ---- branches ------------------------------------------------------------------------------ */

struct unfolding {
    struct schema *s;
    struct gram_vec open;        /* struct branch, still to do */
    struct branches *out;
};

static int open_branch(struct unfolding *u, struct branch b)
{
    TRY(limit_check(LIMIT_grammar_branches, u->open.n + u->out->list.n, u->s->place));
    TRY(schema_steps(u->s, 64));
    TRY(gram_vec_room(&u->open, 1, sizeof b));
    GRAM_AT(u->open, struct branch)[u->open.n++] = b;
    return 0;
}

static int want(struct schema *s, struct branch *b, const json_t *json, enum lit_kind kind)
{
    struct lit_node *n = arena_alloc(s->arena, sizeof *n);
    if (!n)
        return NUN_ENOMEM;
    *n = (struct lit_node){{json, kind}, b->done, b->todo};
    b->todo = n;
    return 0;
}

static int state(struct schema *s, struct branch *b, struct fact f)
{
    struct fact *n = arena_alloc(s->arena, sizeof *n);
    if (!n)
        return NUN_ENOMEM;
    *n = f;
    n->by = b->done;
    n->next = b->facts;
    b->facts = n;
    return 0;
}

uint32_t schema_type_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL: return T_NULL;
    case JSON_TRUE: return T_TRUE;
    case JSON_FALSE: return T_FALSE;
    case JSON_STRING: return T_STRING;
    case JSON_ARRAY: return T_ARRAY;
    case JSON_OBJECT: return T_OBJECT;
    default: return T_NUMBER;
    }
}

/* ---- types --------------------------------------------------------------------------------- */

static const struct { const char *name; uint32_t types; } type_names[] = {
    {"null", T_NULL}, {"boolean", T_TRUE | T_FALSE}, {"number", T_NUMBER}, {"integer", T_NUMBER}, {"string", T_STRING},
    {"array", T_ARRAY}, {"object", T_OBJECT}};

static int add_type(const struct schema *s, const json_t *at, const json_t *name, uint32_t *types, bool *integer, bool *number)
{
    const char *text = json_string_value(name);
    for (size_t i = 0; text && i < sizeof type_names / sizeof *type_names; i++)
        if (!strcmp(text, type_names[i].name)) {
            *types |= type_names[i].types;
            *integer |= !strcmp(text, "integer");
            *number |= !strcmp(text, "number");
            return 0;
        }
    return schema_refuse(s, at, "type", "expected the name of a JSON type");
}

static int read_types(const struct schema *s, const json_t *at, uint32_t *types, bool *integer)
{
    const json_t *v = json_object_get(at, "type"), *name;
    bool number = false;
    size_t i;
    *types = 0;
    *integer = false;
    if (!json_is_array(v))
        TRY(add_type(s, at, v, types, integer, &number));
    json_array_foreach(v, i, name)
        TRY(add_type(s, at, name, types, integer, &number));
    *integer &= !number;
    return 0;
}

/* ---- keywords that hold ------------------------------------------------------------------- */

struct place { struct unfolding *u; struct branch *b; const json_t *at, *value; const char *key; };
typedef int keyword_fn(struct place *p);

static int key_type(struct place *p)
{
    uint32_t types;
    bool integer;
    TRY(read_types(p->u->s, p->at, &types, &integer));
    p->b->types &= types;
    return integer ? state(p->u->s, p->b, (struct fact){.kind = FACT_INTEGER, .json = p->at}) : 0;
}

static int key_const(struct place *p)
{
    return want(p->u->s, p->b, p->value, LIT_CONST);
}

/* Scalars stay together; each array or object is a case of its own. */
static int key_enum(struct place *p)
{
    uint32_t types = 0;
    const json_t *v;
    size_t i;
    if (!json_is_array(p->value))
        return schema_refuse(p->u->s, p->at, p->key, "expected a list of values");
    json_array_foreach(p->value, i, v) {
        struct branch one = *p->b;
        uint32_t t = schema_type_of(v);
        if (!(t & (T_ARRAY | T_OBJECT))) {
            types |= t;
            continue;
        }
        TRY(want(p->u->s, &one, v, LIT_CONST));
        TRY(open_branch(p->u, one));
    }
    p->b->types &= types;
    return state(p->u->s, p->b, (struct fact){.kind = FACT_ONE_OF, .json = p->value});
}

static int list_of(const struct place *p)
{
    if (json_array_size(p->value) > LIMIT_OF(grammar_names)) /* each is looked at beside each other */
        return schema_refuse(p->u->s, p->at, p->key, "more schemas than the limit grammar_names allows");
    if (json_is_array(p->value) && json_array_size(p->value))
        return 0;
    return schema_refuse(p->u->s, p->at, p->key, "expected a list of schemas");
}

static int key_all_of(struct place *p)
{
    TRY(list_of(p));
    for (size_t i = json_array_size(p->value); i-- > 0;)
        TRY(want(p->u->s, p->b, json_array_get(p->value, i), LIT_SCHEMA));
    return 0;
}

static bool looks_at_rest(const struct branch *b)
{
    for (const struct lit_node *n = b->done; n; n = n->next)
        if (n->lit.kind == LIT_SCHEMA && (json_object_get(n->lit.json, "unevaluatedProperties") || json_object_get(n->lit.json, "unevaluatedItems")))
            return true;
    return false;
}

/* Where what is evaluated matters, every set of cases that hold together counts; else one that holds is enough. */
static int key_any_of(struct place *p)
{
    size_t n = json_array_size(p->value);
    TRY(list_of(p));
    if (!looks_at_rest(p->b)) {
        for (size_t i = 0; i < n; i++) {
            struct branch one = *p->b;
            TRY(want(p->u->s, &one, json_array_get(p->value, i), LIT_SCHEMA));
            TRY(open_branch(p->u, one));
        }
    } else {
        if (n > 6)
            return schema_refuse(p->u->s, p->at, p->key, "more than 6 cases beside unevaluatedProperties or unevaluatedItems");
        for (size_t set = 1; set < (size_t)1 << n; set++) {
            struct branch one = *p->b;
            for (size_t i = 0; i < n; i++)
                if (set >> i & 1)
                    TRY(want(p->u->s, &one, json_array_get(p->value, i), LIT_SCHEMA));
            TRY(open_branch(p->u, one));
        }
    }
    p->b->types = 0;
    return 0;
}

static int key_one_of(struct place *p)
{
    size_t n = json_array_size(p->value);
    TRY(list_of(p));
    for (size_t i = 0; i < n; i++) {
        struct branch one = *p->b;
        const json_t *mine = json_array_get(p->value, i);
        for (size_t k = 0; k < n; k++)
            if (k != i && !schema_disjoint(p->u->s, mine, json_array_get(p->value, k)))
                TRY(want(p->u->s, &one, json_array_get(p->value, k), LIT_NOT));
        TRY(want(p->u->s, &one, mine, LIT_SCHEMA));
        TRY(open_branch(p->u, one));
    }
    p->b->types = 0;
    return 0;
}

static int key_not(struct place *p)
{
    return want(p->u->s, p->b, p->value, LIT_NOT);
}

static int key_ref(struct place *p)
{
    const json_t *target;
    const char *ref = json_string_value(p->value);
    if (!ref)
        return schema_refuse(p->u->s, p->at, p->key, "expected a string");
    TRY((p->key[1] == 'd' ? schema_resolve_dynamic : schema_resolve)(p->u->s, p->at, ref, &target));
    return want(p->u->s, p->b, target, LIT_SCHEMA);
}

static int key_if(struct place *p)
{
    const json_t *then = json_object_get(p->at, "then"), *otherwise = json_object_get(p->at, "else");
    struct branch no = *p->b;
    if (!then && !otherwise && !looks_at_rest(p->b))
        return 0;
    TRY(want(p->u->s, &no, p->value, LIT_NOT));
    if (otherwise)
        TRY(want(p->u->s, &no, otherwise, LIT_SCHEMA));
    TRY(open_branch(p->u, no));
    if (then)
        TRY(want(p->u->s, p->b, then, LIT_SCHEMA));
    return want(p->u->s, p->b, p->value, LIT_SCHEMA);
}

static int key_number(struct place *p)
{
    if (!json_is_number(p->value))
        return schema_refuse(p->u->s, p->at, p->key, "expected a number");
    return state(p->u->s, p->b, (struct fact){.kind = FACT_NUMBER, .key = p->key, .json = p->at});
}

static int key_string(struct place *p)
{
    if (!strcmp(p->key, "format") && p->u->s->standard)
        return 0; /* an annotation, says the standard */
    return state(p->u->s, p->b, (struct fact){.kind = FACT_STRING, .key = p->key, .json = p->at});
}

static int key_array(struct place *p)
{
    for (const struct fact *f = p->b->facts; f; f = f->next)
        if (f->kind == FACT_ITEMS && f->json == p->at)
            return 0;
    return state(p->u->s, p->b, (struct fact){.kind = FACT_ITEMS, .json = p->at});
}

static int key_object(struct place *p)
{
    for (const struct fact *f = p->b->facts; f; f = f->next)
        if (f->kind == FACT_MEMBERS && f->json == p->at)
            return 0;
    return state(p->u->s, p->b, (struct fact){.kind = FACT_MEMBERS, .json = p->at});
}

/* Without the property, or with what it asks for; values that are no objects fall under the first. */
static int key_dependent(struct place *p)
{
    const char *key;
    json_t *schema;
    struct branch with = *p->b;
    size_t n = json_object_size(p->value);
    if (!json_is_object(p->value) || n > 4)
        return schema_refuse(p->u->s, p->at, p->key, "expected an object of up to 4 schemas");
    for (size_t set = 1; set < (size_t)1 << n; set++) {
        size_t i = 0;
        with = *p->b;
        json_object_foreach((json_t *)p->value, key, schema) {
            bool has = set >> i++ & 1;
            TRY(state(p->u->s, &with, has ? (struct fact){.kind = FACT_HAS, .key = key}
                                          : (struct fact){.kind = FACT_MEMBER, .key = key, .lit = {json_false(), LIT_SCHEMA}}));
            if (has)
                TRY(want(p->u->s, &with, schema, LIT_SCHEMA));
        }
        with.types &= T_OBJECT;
        TRY(open_branch(p->u, with));
    }
    json_object_foreach((json_t *)p->value, key, schema)
        TRY(state(p->u->s, p->b, (struct fact){.kind = FACT_MEMBER, .key = key, .lit = {json_false(), LIT_SCHEMA}}));
    return 0;
}

static int key_nothing(struct place *p)
{
    return 0;
}

static int key_older(struct place *p)
{
    return schema_refuse(p->u->s, p->at, p->key, "a keyword of older dialects: dependentRequired, dependentSchemas, items, $dynamicRef are of 2020-12");
}

/* ---- keywords denied: each opens the cases in which it fails -------------------------------- */

static int deny(struct place *p, uint32_t types, struct fact f)
{
    struct branch b = *p->b;
    b.types &= types;
    if (!b.types)
        return 0;
    TRY(state(p->u->s, &b, f));
    return open_branch(p->u, b);
}

static int deny_with(struct place *p, const json_t *json, enum lit_kind kind)
{
    struct branch b = *p->b;
    TRY(want(p->u->s, &b, json, kind));
    return open_branch(p->u, b);
}

static int not_type(struct place *p)
{
    uint32_t types;
    bool integer;
    struct branch b = *p->b;
    TRY(read_types(p->u->s, p->at, &types, &integer));
    if (integer)
        TRY(deny(p, T_NUMBER, (struct fact){.kind = FACT_INTEGER, .negative = true, .json = p->at}));
    b.types &= ~types;
    return b.types ? open_branch(p->u, b) : 0;
}

static int not_const(struct place *p)
{
    return deny_with(p, p->value, LIT_NOT_CONST);
}

/* Numbers and strings stay together, in one fact. */
static int not_enum(struct place *p)
{
    struct branch b = *p->b;
    const json_t *v;
    size_t i;
    json_array_foreach(p->value, i, v) {
        uint32_t type = schema_type_of(v);
        if (type & (T_ARRAY | T_OBJECT))
            TRY(want(p->u->s, &b, v, LIT_NOT_CONST));
        else if (!(type & (T_NUMBER | T_STRING)))
            b.types &= ~type;
    }
    TRY(state(p->u->s, &b, (struct fact){.kind = FACT_ONE_OF, .negative = true, .json = p->value}));
    return b.types ? open_branch(p->u, b) : 0;
}

static int not_all_of(struct place *p)
{
    const json_t *v;
    size_t i;
    TRY(list_of(p));
    json_array_foreach(p->value, i, v)
        TRY(deny_with(p, v, LIT_NOT));
    return 0;
}

static int not_any_of(struct place *p)
{
    struct branch b = *p->b;
    const json_t *v;
    size_t i;
    TRY(list_of(p));
    json_array_foreach(p->value, i, v)
        TRY(want(p->u->s, &b, v, LIT_NOT));
    return open_branch(p->u, b);
}

static int not_one_of(struct place *p)
{
    size_t n = json_array_size(p->value);
    TRY(not_any_of(p));
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++) {
            struct branch b = *p->b;
            TRY(want(p->u->s, &b, json_array_get(p->value, i), LIT_SCHEMA));
            TRY(want(p->u->s, &b, json_array_get(p->value, k), LIT_SCHEMA));
            TRY(open_branch(p->u, b));
        }
    return 0;
}

static int not_not(struct place *p)
{
    return deny_with(p, p->value, LIT_SCHEMA);
}

static int not_ref(struct place *p)
{
    const json_t *target;
    const char *ref = json_string_value(p->value);
    if (!ref)
        return schema_refuse(p->u->s, p->at, p->key, "expected a string");
    TRY((p->key[1] == 'd' ? schema_resolve_dynamic : schema_resolve)(p->u->s, p->at, ref, &target));
    return deny_with(p, target, LIT_NOT);
}

static int not_if(struct place *p)
{
    const char *const keys[] = {"then", "else"};
    for (int i = 0; i < 2; i++) {
        const json_t *v = json_object_get(p->at, keys[i]);
        struct branch b = *p->b;
        if (!v)
            continue;
        TRY(want(p->u->s, &b, p->value, i ? LIT_NOT : LIT_SCHEMA));
        TRY(want(p->u->s, &b, v, LIT_NOT));
        TRY(open_branch(p->u, b));
    }
    return 0;
}

static int not_number(struct place *p)
{
    return deny(p, T_NUMBER, (struct fact){.kind = FACT_NUMBER, .negative = true, .key = p->key, .json = p->at});
}

static int not_string(struct place *p)
{
    if (!strcmp(p->key, "format") && p->u->s->standard)
        return 0;
    return deny(p, T_STRING, (struct fact){.kind = FACT_STRING, .negative = true, .key = p->key, .json = p->at});
}

static int not_refused(struct place *p)
{
    return schema_refuse(p->u->s, p->at, p->key, "its negation (by not, oneOf, if) is not supported");
}

static int not_size(struct place *p)
{
    bool items = strstr(p->key, "Items"), least = p->key[1] == 'i';
    uint64_t n;
    TRY(schema_count(p->u->s, p->at, p->key, 0, &n));
    if (least && !n)
        return 0;
    return deny(p, items ? T_ARRAY : T_OBJECT,
                (struct fact){.kind = items ? FACT_LENGTH : FACT_COUNT, .negative = least, .n = least ? n - 1 : n + 1});
}

static int not_items(struct place *p)
{
    const json_t *prefix = json_object_get(p->at, "prefixItems");
    if (prefix || json_is_array(p->value))
        return not_refused(p);
    return deny(p, T_ARRAY, (struct fact){.kind = FACT_CONTAINS, .lit = {p->value, LIT_NOT}});
}

static int not_prefix_items(struct place *p)
{
    const json_t *v;
    size_t i;
    json_array_foreach(p->value, i, v) {
        struct branch b = *p->b;
        b.types &= T_ARRAY;
        TRY(state(p->u->s, &b, (struct fact){.kind = FACT_ITEM, .lit = {v, LIT_NOT}, .n = i}));
        TRY(state(p->u->s, &b, (struct fact){.kind = FACT_LENGTH, .n = i + 1}));
        TRY(open_branch(p->u, b));
    }
    return 0;
}

static int not_contains(struct place *p)
{
    if (json_object_get(p->at, "minContains") || json_object_get(p->at, "maxContains"))
        return not_refused(p);
    return deny(p, T_ARRAY, (struct fact){.kind = FACT_ITEM, .lit = {p->value, LIT_NOT}, .n = UINT64_MAX});
}

static int not_unique(struct place *p)
{
    return json_is_true(p->value) ? not_refused(p) : 0;
}

static int not_required(struct place *p)
{
    const json_t *v;
    size_t i;
    json_array_foreach(p->value, i, v)
        TRY(deny(p, T_OBJECT, (struct fact){.kind = FACT_MEMBER, .key = json_string_value(v), .lit = {json_false(), LIT_SCHEMA}}));
    return 0;
}

static int deny_member(struct place *p, const char *key, const json_t *schema)
{
    struct branch b = *p->b;
    b.types &= T_OBJECT;
    TRY(state(p->u->s, &b, (struct fact){.kind = FACT_HAS, .key = key}));
    TRY(state(p->u->s, &b, (struct fact){.kind = FACT_MEMBER, .key = key, .lit = {schema, LIT_NOT}}));
    return open_branch(p->u, b);
}

static int not_properties(struct place *p)
{
    const char *key;
    json_t *schema;
    json_object_foreach((json_t *)p->value, key, schema)
        TRY(deny_member(p, key, schema));
    return 0;
}

static int not_dependent_required(struct place *p)
{
    const char *key;
    json_t *list, *v;
    size_t i;
    json_object_foreach((json_t *)p->value, key, list)
        json_array_foreach(list, i, v) {
            struct branch b = *p->b;
            b.types &= T_OBJECT;
            TRY(state(p->u->s, &b, (struct fact){.kind = FACT_HAS, .key = key}));
            TRY(state(p->u->s, &b, (struct fact){.kind = FACT_MEMBER, .key = json_string_value(v), .lit = {json_false(), LIT_SCHEMA}}));
            TRY(open_branch(p->u, b));
        }
    return 0;
}

static int not_dependent(struct place *p)
{
    const char *key;
    json_t *schema;
    json_object_foreach((json_t *)p->value, key, schema) {
        struct branch b = *p->b;
        b.types &= T_OBJECT;
        TRY(state(p->u->s, &b, (struct fact){.kind = FACT_HAS, .key = key}));
        TRY(want(p->u->s, &b, schema, LIT_NOT));
        TRY(open_branch(p->u, b));
    }
    return 0;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const struct keyword { const char *name; keyword_fn *holds, *fails; } keywords[] = {
    {"type", key_type, not_type}, {"const", key_const, not_const}, {"enum", key_enum, not_enum},
    {"allOf", key_all_of, not_all_of}, {"anyOf", key_any_of, not_any_of}, {"oneOf", key_one_of, not_one_of}, {"not", key_not, not_not},
    {"$ref", key_ref, not_ref}, {"$dynamicRef", key_ref, not_ref}, {"if", key_if, not_if},
    {"minimum", key_number, not_number}, {"maximum", key_number, not_number}, {"exclusiveMinimum", key_number, not_number},
    {"exclusiveMaximum", key_number, not_number}, {"multipleOf", key_number, not_number},
    {"minLength", key_string, not_string}, {"maxLength", key_string, not_string}, {"pattern", key_string, not_string}, {"format", key_string, not_string},
    {"items", key_array, not_items}, {"prefixItems", key_array, not_prefix_items}, {"contains", key_array, not_contains},
    {"minContains", key_nothing, key_nothing}, {"maxContains", key_nothing, key_nothing},
    {"minItems", key_array, not_size}, {"maxItems", key_array, not_size}, {"uniqueItems", key_array, not_unique},
    {"unevaluatedItems", key_array, not_refused},
    {"properties", key_object, not_properties}, {"patternProperties", key_object, not_refused}, {"additionalProperties", key_object, not_refused},
    {"unevaluatedProperties", key_object, not_refused}, {"required", key_object, not_required}, {"propertyNames", key_object, not_refused},
    {"minProperties", key_object, not_size}, {"maxProperties", key_object, not_size}, {"dependentRequired", key_object, not_dependent_required},
    {"dependentSchemas", key_dependent, not_dependent},
    {"dependencies", key_older, key_older}, {"additionalItems", key_older, key_older}, {"$recursiveRef", key_older, key_older},
    {"then", key_nothing, key_nothing}, {"else", key_nothing, key_nothing}, {"$defs", key_nothing, key_nothing}, {"definitions", key_nothing, key_nothing},
    {"$id", key_nothing, key_nothing}, {"$schema", key_nothing, key_nothing}, {"$anchor", key_nothing, key_nothing}, {"$dynamicAnchor", key_nothing, key_nothing},
    {"$comment", key_nothing, key_nothing}, {"title", key_nothing, key_nothing}, {"description", key_nothing, key_nothing}, {"default", key_nothing, key_nothing},
    {"examples", key_nothing, key_nothing}, {"example", key_nothing, key_nothing}, {"deprecated", key_nothing, key_nothing}, {"readOnly", key_nothing, key_nothing},
    {"writeOnly", key_nothing, key_nothing}, {"contentMediaType", key_nothing, key_nothing}, {"contentEncoding", key_nothing, key_nothing},
    {"contentSchema", key_nothing, key_nothing}};

static const struct keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (!strcmp(name, keywords[i].name))
            return &keywords[i];
    return NULL;
}

/* Keywords that nobody knows are annotations under $schema; elsewhere they may be slips, and are refused. */
static int check_keyword(const struct schema *s, const json_t *at, const char *key, const struct keyword *k)
{
    if (k || s->standard || !strncmp(key, "x-", 2))
        return 0;
    return schema_refuse(s, at, key, "this keyword is not known");
}

/* ---- literals ------------------------------------------------------------------------------ */

static int hold_schema(struct unfolding *u, struct branch *b, const json_t *at)
{
    static const struct { const char *key; uint32_t type; } shapes[] = {
        {"properties", T_OBJECT}, {"items", T_ARRAY}, {"prefixItems", T_ARRAY}};
    bool typed = json_object_get(at, "type") || json_object_get(at, "enum") || json_object_get(at, "const");
    const char *key;
    json_t *value;
    if (json_is_boolean(at)) {
        b->types &= json_is_true(at) ? T_ANY : 0;
        return 0;
    }
    if (!json_is_object(at))
        return schema_refuse(u->s, at, NULL, "expected a schema: an object, true or false");
    for (size_t i = 0; !u->s->standard && !typed && i < sizeof shapes / sizeof *shapes; i++)
        if (json_object_get(at, shapes[i].key))
            b->types &= shapes[i].type;
    json_object_foreach((json_t *)at, key, value) {
        const struct keyword *k = find_keyword(key);
        TRY(check_keyword(u->s, at, key, k));
        struct place p = {u, b, at, value, key};
        if (k && (k->holds == key_any_of || k->holds == key_one_of || k->holds == key_if || k->holds == key_enum || k->holds == key_dependent))
            continue; /* cases last: they copy what the others said */
        if (k)
            TRY(k->holds(&p));
    }
    return 0;
}

/* One keyword of a schema at a time may split a branch; those that come after it split every case of it. */
static int split_schema(struct unfolding *u, struct branch *b, const json_t *at)
{
    static keyword_fn *const splitting[] = {key_enum, key_any_of, key_one_of, key_if, key_dependent};
    const char *key;
    json_t *value;
    struct gram_vec round = {.at = NULL};
    uint32_t base = u->open.n;
    int rc = open_branch(u, *b);
    for (size_t i = 0; rc >= 0 && i < sizeof splitting / sizeof *splitting; i++)
        json_object_foreach((json_t *)at, key, value) {
            const struct keyword *k = find_keyword(key);
            if (rc < 0 || !k || k->holds != splitting[i])
                continue;
            uint32_t n = u->open.n - base;
            round.n = 0;
            rc = gram_vec_room(&round, n, sizeof *b);
            if (rc < 0)
                break;
            memcpy(round.at, GRAM_AT(u->open, struct branch) + base, n * sizeof *b);
            u->open.n = base;
            for (uint32_t c = 0; c < n && rc >= 0; c++) {
                struct branch one = GRAM_AT(round, struct branch)[c];
                struct place p = {u, &one, at, value, key};
                rc = k->holds(&p);
                if (rc >= 0 && one.types)
                    rc = open_branch(u, one);
            }
        }
    mem_free(round.at);
    return rc;
}

static int fail_schema(struct unfolding *u, struct branch *b, const json_t *at)
{
    const char *key;
    json_t *value;
    if (json_is_boolean(at)) {
        b->types &= json_is_true(at) ? 0 : T_ANY;
        return b->types ? open_branch(u, *b) : 0;
    }
    if (!json_is_object(at))
        return schema_refuse(u->s, at, NULL, "expected a schema: an object, true or false");
    json_object_foreach((json_t *)at, key, value) {
        const struct keyword *k = find_keyword(key);
        struct place p = {u, b, at, value, key};
        TRY(check_keyword(u->s, at, key, k));
        if (k)
            TRY(k->fails(&p));
    }
    return 0;
}

static int hold_const(struct unfolding *u, struct branch *b, const json_t *v)
{
    b->types &= schema_type_of(v);
    TRY(state(u->s, b, (struct fact){.kind = FACT_IS, .json = v}));
    return b->types ? open_branch(u, *b) : 0;
}

static int fail_array(struct unfolding *u, struct branch *b, const json_t *v)
{
    size_t n = json_array_size(v);
    struct place p = {u, b, v, v, NULL};
    TRY(deny(&p, T_ARRAY, (struct fact){.kind = FACT_LENGTH, .n = n + 1}));
    if (n)
        TRY(deny(&p, T_ARRAY, (struct fact){.kind = FACT_LENGTH, .negative = true, .n = n - 1}));
    for (size_t i = 0; i < n; i++) {
        struct branch one = *b;
        one.types &= T_ARRAY;
        TRY(state(u->s, &one, (struct fact){.kind = FACT_LENGTH, .n = i + 1}));
        TRY(state(u->s, &one, (struct fact){.kind = FACT_ITEM, .lit = {json_array_get(v, i), LIT_NOT_CONST}, .n = i}));
        TRY(open_branch(u, one));
    }
    return 0;
}

static int fail_object(struct unfolding *u, struct branch *b, const json_t *v)
{
    struct place p = {u, b, v, v, NULL};
    const char *key;
    json_t *value;
    TRY(deny(&p, T_OBJECT, (struct fact){.kind = FACT_COUNT, .n = json_object_size(v) + 1}));
    json_object_foreach((json_t *)v, key, value) {
        struct branch one = *b;
        TRY(deny(&p, T_OBJECT, (struct fact){.kind = FACT_MEMBER, .key = key, .lit = {json_false(), LIT_SCHEMA}}));
        one.types &= T_OBJECT;
        TRY(state(u->s, &one, (struct fact){.kind = FACT_HAS, .key = key}));
        TRY(state(u->s, &one, (struct fact){.kind = FACT_MEMBER, .key = key, .lit = {value, LIT_NOT_CONST}}));
        TRY(open_branch(u, one));
    }
    return 0;
}

static int fail_const(struct unfolding *u, struct branch *b, const json_t *v)
{
    uint32_t type = schema_type_of(v);
    struct branch same = *b, other = *b;
    other.types &= ~type;
    same.types &= type;
    if (type & (T_NUMBER | T_STRING)) { /* one fact says it without a case */
        TRY(state(u->s, b, (struct fact){.kind = FACT_IS, .negative = true, .json = v}));
        return open_branch(u, *b);
    }
    if (other.types)
        TRY(open_branch(u, other));
    if (!same.types || !(type & (T_ARRAY | T_OBJECT)))
        return 0;
    return type == T_ARRAY ? fail_array(u, &same, v) : fail_object(u, &same, v);
}

/* A literal that the branch has already seen says nothing new; its contrary ends the branch. */
static int look_up(struct unfolding *u, const struct branch *b, struct lit lit, bool *known, bool *contrary)
{
    size_t seen = 0;
    *known = *contrary = false;
    for (const struct lit_node *n = b->done; n && !*known; n = n->next, seen++) {
        *known = n->lit.json == lit.json && n->lit.kind == lit.kind;
        *contrary |= n->lit.json == lit.json && (n->lit.kind ^ lit.kind) == 1;
    }
    return schema_steps(u->s, seen);
}

static int next_literal(struct unfolding *u, struct branch b)
{
    struct lit_node *n = b.todo;
    bool known, contrary;
    b.todo = n->next;
    TRY(look_up(u, &b, n->lit, &known, &contrary));
    if (known)
        return looks_at_rest(&b) ? schema_refuse(u->s, n->lit.json, NULL, "it is used twice beside unevaluatedProperties or unevaluatedItems")
                                 : open_branch(u, b);
    if (contrary)
        return 0;
    struct lit_node *seen = arena_alloc(u->s->arena, sizeof *seen);
    if (!seen)
        return NUN_ENOMEM;
    *seen = (struct lit_node){n->lit, n->from, b.done};
    b.done = seen;
    switch (n->lit.kind) {
    case LIT_NOT: return fail_schema(u, &b, n->lit.json);
    case LIT_CONST: return hold_const(u, &b, n->lit.json);
    case LIT_NOT_CONST: return fail_const(u, &b, n->lit.json);
    default: break;
    }
    TRY(hold_schema(u, &b, n->lit.json));
    return b.types ? split_schema(u, &b, n->lit.json) : 0;
}

static int run(struct unfolding *u)
{
    while (u->open.n) {
        struct branch b = GRAM_AT(u->open, struct branch)[--u->open.n];
        if (!b.types)
            continue;
        if (b.todo) {
            TRY(next_literal(u, b));
            continue;
        }
        TRY(gram_vec_room(&u->out->list, 1, sizeof b));
        GRAM_AT(u->out->list, struct branch)[u->out->list.n++] = b;
    }
    return 0;
}

bool schema_within(const struct fact *f, const struct lit_node *by)
{
    for (const struct lit_node *n = f->by; n; n = n->from) {
        if (n == by)
            return true;
        if (n->lit.kind != LIT_SCHEMA)
            return false;
    }
    return false;
}

int schema_unfold(struct schema *s, const struct lit *lits, size_t n, struct branches *out)
{
    struct unfolding u = {.s = s, .out = out};
    struct branch b = {.types = T_ANY};
    int rc = 0;
    for (size_t i = n; i-- > 0 && rc >= 0;)
        rc = want(s, &b, lits[i].json, (enum lit_kind)lits[i].kind);
    if (rc >= 0)
        rc = open_branch(&u, b);
    if (rc >= 0)
        rc = run(&u);
    mem_free(u.open.at);
    return rc;
}
