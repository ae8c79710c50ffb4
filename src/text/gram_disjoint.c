/* Do two schemas exclude each other? A quick look that answers yes only where it is sure, so that oneOf of
 * such cases needs no negations: other types, other constants, or a property that both demand and that
 * excludes. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_schema.h"

enum { LOOKS_MAX = 8 };

bool json_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static uint32_t types_of(const struct schema *s, const json_t *schema)
{
    static const struct { const char *name; uint32_t types; } names[] = {
        {"null", T_NULL}, {"boolean", T_TRUE | T_FALSE}, {"number", T_NUMBER}, {"integer", T_NUMBER}, {"string", T_STRING}, {"array", T_ARRAY},
        {"object", T_OBJECT}};
    const json_t *type = json_object_get(schema, "type"), *v = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    bool object = !s->standard && json_object_get(schema, "properties");
    uint32_t types = type ? 0 : object ? T_OBJECT : T_ANY, values = 0;
    for (size_t i = 0; i < (json_is_array(type) ? json_array_size(type) : type != NULL); i++) {
        const char *name = json_string_value(json_is_array(type) ? json_array_get(type, i) : type);
        for (size_t k = 0; name && k < sizeof names / sizeof *names; k++)
            types |= strcmp(name, names[k].name) ? 0 : names[k].types;
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        values |= schema_type_of(json_array_get(list, i));
    if (v)
        types &= schema_type_of(v);
    return list ? types & values : types;
}

/* The constants that a schema comes to; NULL: not only constants. */
static const json_t *constant(const json_t *schema, size_t i, size_t *n)
{
    const json_t *v = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    *n = v ? 1 : json_array_size(list);
    return v ? v : json_array_get(list, i);
}

static bool constants_differ(const json_t *a, const json_t *b)
{
    size_t na, nb;
    constant(a, 0, &na);
    constant(b, 0, &nb);
    for (size_t i = 0; i < na; i++)
        for (size_t k = 0; k < nb; k++)
            if (json_same(constant(a, i, &na), constant(b, k, &nb)))
                return false;
    return na && nb;
}

static bool demands(const json_t *schema, const char *name)
{
    const json_t *v;
    size_t i;
    json_array_foreach(json_object_get(schema, "required"), i, v)
        if (json_is_string(v) && !strcmp(json_string_value(v), name))
            return true;
    return false;
}

static const json_t *behind_ref(const struct schema *s, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    const json_t *target;
    for (int i = 0; ref && i < LOOKS_MAX; i++) {
        if (json_object_size(schema) > 1 || schema_resolve(s, schema, ref, &target) < 0)
            return schema;
        schema = target;
        ref = json_string_value(json_object_get(schema, "$ref"));
    }
    return schema;
}

static bool disjoint(const struct schema *s, const json_t *a, const json_t *b, int depth)
{
    const char *key;
    json_t *v;
    a = behind_ref(s, a);
    b = behind_ref(s, b);
    if (json_is_false(a) || json_is_false(b))
        return true;
    if (!json_is_object(a) || !json_is_object(b) || !depth)
        return false;
    uint32_t common = types_of(s, a) & types_of(s, b);
    if (!common || constants_differ(a, b))
        return true;
    if (common != T_OBJECT)
        return false;
    json_object_foreach(json_object_get(a, "properties"), key, v) {
        const json_t *other = json_object_get(json_object_get(b, "properties"), key);
        if (other && demands(a, key) && demands(b, key) && disjoint(s, v, other, depth - 1))
            return true;
    }
    return false;
}

bool schema_disjoint(const struct schema *s, const json_t *a, const json_t *b)
{
    return disjoint(s, a, b, LOOKS_MAX);
}
