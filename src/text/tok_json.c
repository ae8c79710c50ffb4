/* Reading tokenizer JSON: every getter checks the type and names the place, unknown keys are refused.
 * Knows JSON only, nothing of what the values mean. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

static bool listed(const char *keys, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = keys; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (len == n && memcmp(p, key, n) == 0)
            return true;
        p += len;
    }
    return false;
}

int tok_json_keys(const json_t *o, const char *path, const char *keys)
{
    if (!json_is_object(o))
        return err_set(NUN_EFORMAT, "%s: expected an object", path);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o, key, value)
        if (!listed(keys, key))
            return err_set(NUN_EUNSUP, "%s.%s: unknown key", path, key);
    return 0;
}

static const json_t *get(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

int tok_json_bool(const json_t *o, const char *path, const char *key, bool *out)
{
    const json_t *v = get(o, key);
    if (v && !json_is_boolean(v))
        return err_set(NUN_EFORMAT, "%s.%s: expected true or false", path, key);
    if (v)
        *out = json_is_true(v);
    return 0;
}

int tok_json_size(const json_t *o, const char *path, const char *key, size_t *out)
{
    const json_t *v = get(o, key);
    if (v && (!json_is_integer(v) || json_integer_value(v) < 0))
        return err_set(NUN_EFORMAT, "%s.%s: expected a whole number from 0", path, key);
    if (v && ck_cast((uint64_t)json_integer_value(v), out))
        return err_set(NUN_ELIMIT, "%s.%s: too large", path, key);
    return 0;
}

struct span tok_json_str(const json_t *s)
{
    return json_is_string(s) ? span_of(json_string_value(s), json_string_length(s)) : (struct span){0};
}

int tok_json_span(const json_t *o, const char *path, const char *key, struct span *out)
{
    const json_t *v = get(o, key);
    if (v && !json_is_string(v))
        return err_set(NUN_EFORMAT, "%s.%s: expected a string", path, key);
    if (v)
        *out = tok_json_str(v);
    return 0;
}

int tok_copy(struct tokenizer *t, struct span in, struct span *out)
{
    char *p = arena_strndup(&t->mem, in.ptr ? in.ptr : "", in.len);
    if (!p)
        return NUN_ENOMEM;
    *out = span_of(p, in.len);
    return 0;
}

int tok_json_text(struct tokenizer *t, const json_t *o, const char *path, const char *key, struct span *out)
{
    struct span s = {0};
    TRY(tok_json_span(o, path, key, &s));
    if (!s.ptr)
        return err_set(NUN_EFORMAT, "%s.%s: expected a string, found none", path, key);
    return tok_copy(t, s, out);
}

int tok_json_pattern(struct tokenizer *t, const json_t *o, const char *path, struct tok_step *s)
{
    char at[TOK_PATH];
    snprintf(at, sizeof at, "%s.pattern", path);
    const json_t *p = json_object_get(o, "pattern");
    TRY(tok_json_keys(p, at, "String Regex"));
    if (json_object_size(p) != 1)
        return err_set(NUN_EFORMAT, "%s: expected one of String and Regex", at);
    if (json_object_get(p, "String"))
        return tok_json_text(t, p, at, "String", &s->a);
    struct span source = {0};
    TRY(tok_json_span(p, at, "Regex", &source));
    if (!source.ptr)
        return err_set(NUN_EFORMAT, "%s.Regex: expected a string", at);
    return tok_regex_add(t, source, at, &s->regex);
}

int tok_json_word(const json_t *o, const char *path, const char *key, const char *const *words, int *out)
{
    struct span s = {0};
    TRY(tok_json_span(o, path, key, &s));
    if (!s.ptr)
        return 0;
    for (int i = 0; words[i]; i++)
        if (span_is(s, words[i])) {
            *out = i;
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s.%s: unknown value \"%.*s\"", path, key, (int)s.len, s.ptr);
}
