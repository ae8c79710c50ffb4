/* Where schemas of a document live: the resource ($id) that each belongs to, anchors, and what $ref means.
 * Nothing is fetched. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "text/gram_schema.h"

struct schema_home { const json_t *schema, *resource; const char *uri; };
enum place { PLACE_ONE, PLACE_LIST, PLACE_MAP };
static const struct { const char *key; enum place place; } places[] = {
    {"items", PLACE_ONE}, {"additionalProperties", PLACE_ONE}, {"contains", PLACE_ONE}, {"propertyNames", PLACE_ONE}, {"if", PLACE_ONE},
    {"then", PLACE_ONE}, {"else", PLACE_ONE}, {"not", PLACE_ONE}, {"unevaluatedItems", PLACE_ONE}, {"unevaluatedProperties", PLACE_ONE},
    {"contentSchema", PLACE_ONE}, {"allOf", PLACE_LIST}, {"anyOf", PLACE_LIST}, {"oneOf", PLACE_LIST}, {"prefixItems", PLACE_LIST}, {"items", PLACE_LIST},
    {"properties", PLACE_MAP}, {"patternProperties", PLACE_MAP}, {"$defs", PLACE_MAP}, {"definitions", PLACE_MAP}, {"dependentSchemas", PLACE_MAP}};

/* ---- URIs ---------------------------------------------------------------------------------- */

static bool has_scheme(const char *uri)
{
    size_t n = strspn(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return n && uri[n] == ':';
}

/* `ref` without its fragment, seen from `base`. */
static char *absolute(const struct schema *s, const char *base, const char *ref)
{
    size_t n = strcspn(ref, "#"), keep;
    if (!n)
        return arena_strdup(s->arena, base);
    if (has_scheme(ref))
        return arena_strndup(s->arena, ref, n);
    const char *authority = strstr(base, "://"), *path = authority ? strchr(authority + 3, '/') : NULL, *last = strrchr(base, '/');
    keep = ref[0] == '/' ? (path ? (size_t)(path - base) : strlen(base)) : path && last ? (size_t)(last + 1 - base) : 0;
    return arena_printf(s->arena, "%.*s%.*s", (int)keep, base, (int)n, ref);
}

/* ---- homes --------------------------------------------------------------------------------- */

struct visit { const json_t *schema, *resource; const char *uri; uint32_t depth; };
struct visits { struct gram_vec todo; };

static int add(struct visits *v, struct visit x)
{
    TRY(limit_check(LIMIT_json_depth, x.depth / 2, "schema"));
    TRY(gram_vec_room(&v->todo, 1, sizeof x));
    GRAM_AT(v->todo, struct visit)[v->todo.n++] = x;
    return 0;
}

static int add_children(struct visits *v, const struct visit *x)
{
    const char *key;
    json_t *child;
    size_t k;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        json_t *value = json_object_get(x->schema, places[i].key);
        struct visit next = {value, x->resource, x->uri, x->depth + 1};
        if (places[i].place == PLACE_ONE && json_is_object(value))
            TRY(add(v, next));
        if (places[i].place == PLACE_LIST)
            json_array_foreach(value, k, child) {
                next.schema = child;
                TRY(add(v, next));
            }
        if (places[i].place == PLACE_MAP)
            json_object_foreach(value, key, child) {
                next.schema = child;
                TRY(add(v, next));
            }
    }
    return 0;
}

static int visit_all(struct schema *s, struct visits *v)
{
    TRY(add(v, (struct visit){s->root, s->root, "", 0}));
    while (v->todo.n) {
        struct visit x = GRAM_AT(v->todo, struct visit)[--v->todo.n];
        if (!json_is_object(x.schema))
            continue;
        const char *id = json_string_value(json_object_get(x.schema, "$id"));
        if (id && id[0] != '#') {
            x.resource = x.schema;
            x.uri = absolute(s, x.uri, id);
            if (!x.uri)
                return NUN_ENOMEM;
        }
        TRY(gram_vec_room(&s->homes, 1, sizeof(struct schema_home)));
        GRAM_AT(s->homes, struct schema_home)[s->homes.n++] = (struct schema_home){x.schema, x.resource, x.uri};
        TRY(add_children(v, &x));
    }
    return 0;
}

static int by_schema(const void *x, const void *y)
{
    const json_t *a = ((const struct schema_home *)x)->schema, *b = ((const struct schema_home *)y)->schema;
    return (a > b) - (a < b);
}

int schema_find_homes(struct schema *s)
{
    struct visits v = {{NULL, 0, 0}};
    int rc = visit_all(s, &v);
    mem_free(v.todo.at);
    if (rc >= 0 && s->homes.n)
        qsort(s->homes.at, s->homes.n, sizeof(struct schema_home), by_schema);
    return rc;
}

static const struct schema_home *home_of(const struct schema *s, const json_t *schema)
{
    struct schema_home key = {schema, NULL, NULL};
    return s->homes.n ? bsearch(&key, s->homes.at, s->homes.n, sizeof key, by_schema) : NULL;
}

/* ---- references ---------------------------------------------------------------------------- */

/* One step of a JSON pointer: percent-decoded, then ~0 and ~1. */
static int unescape(const char *p, size_t n, char *out, size_t cap)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned value = (uint8_t)p[i];
        if (p[i] == '%' && i + 2 < n && sscanf(p + i + 1, "%2x", &value) == 1)
            i += 2;
        else if (p[i] == '~' && i + 1 < n && (p[i + 1] == '0' || p[i + 1] == '1'))
            value = p[++i] == '0' ? '~' : '/';
        if (k + 1 >= cap)
            return -1;
        out[k++] = (char)value;
    }
    out[k] = '\0';
    return 0;
}

static const json_t *follow(const json_t *at, const char *pointer)
{
    char step[1024];
    while (at && *pointer == '/') {
        size_t n = strcspn(++pointer, "/");
        if (unescape(pointer, n, step, sizeof step))
            return NULL;
        pointer += n;
        if (json_is_array(at)) {
            char *end;
            unsigned long i = strtoul(step, &end, 10);
            at = *step && !*end ? json_array_get(at, i) : NULL;
        } else {
            at = json_object_get(at, step);
        }
    }
    return *pointer ? NULL : at;
}

static const json_t *anchored(const struct schema *s, const json_t *resource, const char *name)
{
    for (uint32_t i = 0; i < s->homes.n; i++) {
        const struct schema_home *h = GRAM_AT(s->homes, struct schema_home) + i;
        const char *a = json_string_value(json_object_get(h->schema, "$anchor")), *d = json_string_value(json_object_get(h->schema, "$dynamicAnchor"));
        if (h->resource == resource && ((a && !strcmp(a, name)) || (d && !strcmp(d, name))))
            return h->schema;
    }
    return NULL;
}

int schema_resolve(const struct schema *s, const json_t *at, const char *ref, const json_t **out)
{
    const struct schema_home *from = home_of(s, at);
    const json_t *resource = NULL;
    const char *fragment = strchr(ref, '#');
    if (!from)
        return schema_refuse(s, at, "$ref", "it stands where no schema is expected");
    const char *uri = absolute(s, from->uri, ref);
    if (!uri)
        return NUN_ENOMEM;
    if (ref[0] == '#' || !*ref)
        resource = from->resource;
    for (uint32_t i = 0; i < s->homes.n && !resource; i++) {
        const struct schema_home *h = GRAM_AT(s->homes, struct schema_home) + i;
        if (h->resource == h->schema && !strcmp(h->uri, uri))
            resource = h->schema;
    }
    if (!resource)
        return schema_refuse(s, at, "$ref", "it points out of the document, and nothing is fetched");
    fragment = fragment ? fragment + 1 : "";
    *out = *fragment && *fragment != '/' ? anchored(s, resource, fragment) : follow(resource, fragment);
    if (!*out || !(json_is_object(*out) || json_is_boolean(*out)))
        return schema_refuse(s, at, "$ref", "it points to no schema");
    if (json_is_object(*out) && !home_of(s, *out))
        return schema_refuse(s, at, "$ref", "it points to a place where no schema is expected");
    if (*fragment == '/' && json_is_object(*out) && home_of(s, *out)->resource != resource)
        return schema_refuse(s, at, "$ref", "its pointer crosses an $id");
    return 0;
}

/* A dynamic reference is a plain one where no second anchor of its name could catch it. */
int schema_resolve_dynamic(const struct schema *s, const json_t *at, const char *ref, const json_t **out)
{
    const char *name = strchr(ref, '#');
    uint32_t catchers = 0;
    for (uint32_t i = 0; i < s->homes.n && name; i++) {
        const char *d = json_string_value(json_object_get(GRAM_AT(s->homes, struct schema_home)[i].schema, "$dynamicAnchor"));
        catchers += d && !strcmp(d, name + 1);
    }
    TRY(schema_resolve(s, at, ref, out));
    const char *own = json_string_value(json_object_get(*out, "$dynamicAnchor"));
    if (own && name && !strcmp(own, name + 1) && catchers > 1)
        return schema_refuse(s, at, "$dynamicRef", "more than one $dynamicAnchor has its name");
    return 0;
}

/* ---- sentences ----------------------------------------------------------------------------- */

/* Depth first to `at`; the path grows with it. The document's depth is bounded. */
static bool find_path(const json_t *from, const json_t *at, struct buf *path)
{
    size_t len = path->len, i;
    const char *key;
    json_t *child;
    if (from == at)
        return true;
    json_object_foreach((json_t *)from, key, child) {
        buf_printf(path, "/%s", key);
        if (find_path(child, at, path))
            return true;
        path->len = len;
    }
    json_array_foreach(from, i, child) {
        buf_printf(path, "/%zu", i);
        if (find_path(child, at, path))
            return true;
        path->len = len;
    }
    return false;
}

static int set_place(const struct schema *s, const json_t *at, const char *key, const char *why, int code)
{
    struct buf path;
    buf_init(&path, MEM_TEXT, 4096);
    int n = find_path(s->root, at, &path) ? (int)path.len : 0;
    const char *slash = key ? "/" : "", *name = key ? key : "";
    int rc = why ? err_set(code, "%s: #%.*s%s%s: %s", s->place, n, buf_cstr(&path), slash, name, why)
                 : err_at(code, "%s: #%.*s%s%s", s->place, n, buf_cstr(&path), slash, name);
    buf_free(&path);
    return rc;
}

int schema_refuse(const struct schema *s, const json_t *at, const char *key, const char *why)
{
    return set_place(s, at, key, why, NUN_EUNSUP);
}

int schema_at(const struct schema *s, const json_t *at, const char *key, int code)
{
    return set_place(s, at, key, NULL, code);
}

int schema_count(const struct schema *s, const json_t *at, const char *key, uint64_t fallback, uint64_t *out)
{
    const json_t *v = json_object_get(at, key);
    double real = json_number_value(v);
    *out = fallback;
    if (!v)
        return 0;
    if (!json_is_number(v) || real < 0 || real > 1e9 || real != (double)(uint64_t)real)
        return schema_refuse(s, at, key, "expected a whole number from 0 to 10^9");
    *out = (uint64_t)real;
    return 0;
}
