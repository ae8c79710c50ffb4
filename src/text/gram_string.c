/* Strings of JSON Schema as automata over their characters: patterns, formats, lengths, constants. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_schema.h"

#define DAY "(?:0[1-9]|[12]\\d|3[01])"
#define LEAP "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
#define DATE "(?:\\d{4}-(?:(?:0[13578]|1[02])-" DAY "|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|" LEAP "-02-29)"
#define TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define BYTE "(?:\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])"
#define IPV4 BYTE "\\." BYTE "\\." BYTE "\\." BYTE
#define H16 "[0-9A-Fa-f]{1,4}"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"

/* Each within what its standard allows; what is rare in it may be left out, nothing is added. */
static const struct { const char *name, *regex; } formats[] = {
    {"date", DATE}, {"time", TIME}, {"date-time", DATE "[Tt]" TIME},
    {"duration", "P(?:\\d+W|\\d+Y(?:\\d+M)?(?:\\d+D)?(?:T\\d+S)?|\\d+M(?:\\d+D)?|\\d+D|(?:\\d+D)?T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))"},
    {"uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"},
    {"ipv4", IPV4},
    {"ipv6", "(?:" H16 ":){7}" H16 "|(?:" H16 ":){1,7}:|(?:" H16 ":){1,6}:" H16 "|(?:" H16 ":){1,5}(?::" H16 "){1,2}|(?:" H16
             ":){1,4}(?::" H16 "){1,3}|(?:" H16 ":){1,3}(?::" H16 "){1,4}|(?:" H16 ":){1,2}(?::" H16 "){1,5}|" H16 ":(?::" H16
             "){1,6}|:(?::" H16 "){1,7}|::|::(?:ffff:)?" IPV4},
    {"hostname", LABEL "(?:\\." LABEL ")*"},
    {"email", ATOM "(?:\\." ATOM ")*@" LABEL "(?:\\." LABEL ")*"},
    {"uri", "[A-Za-z][A-Za-z0-9+.-]*:(?://(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*"
            "(?:#(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"},
    {"json-pointer", "(?:/(?:[^/~]|~[01])*)*"},
    {"relative-json-pointer", "(?:0|[1-9]\\d*)(?:#|(?:/(?:[^/~]|~[01])*)*)"},
};

const char *schema_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(name, formats[i].name))
            return formats[i].regex;
    return NULL;
}

/* An expression of its own builder keeps off the grammar's list of expressions: only the automaton stays. */
int schema_regex(struct schema *s, struct span text, const char *place, bool search, struct dfa *out)
{
    struct gram_builder b = {.g = s->b.g};
    struct gram_expr *e;
    TRY(regex_parse(&b, text, place, &e));
    return dfa_of_expr(s->arena, s->b.g, e, search, out);
}

static int pattern_strings(struct schema *s, const json_t *at, const json_t *v, struct dfa *out)
{
    if (!json_is_string(v))
        return schema_refuse(s, at, "pattern", "expected a string");
    int rc = schema_regex(s, span_of(json_string_value(v), json_string_length(v)), "pattern", true, out);
    return rc < 0 ? schema_at(s, at, "pattern", rc) : 0;
}

static int format_strings(struct schema *s, const json_t *at, const json_t *v, struct dfa *out)
{
    const char *name = json_string_value(v), *regex = name ? schema_format(name) : NULL;
    if (!regex)
        return schema_refuse(s, at, "format", "this format is not known");
    return schema_regex(s, span_str(regex), "format", false, out);
}

static int keyword_strings(struct schema *s, const struct fact *f, struct dfa *out)
{
    const json_t *v = json_object_get(f->json, f->key);
    uint64_t n;
    if (!strcmp(f->key, "pattern"))
        return pattern_strings(s, f->json, v, out);
    if (!strcmp(f->key, "format"))
        return format_strings(s, f->json, v, out);
    TRY(schema_count(s, f->json, f->key, 0, &n));
    if (n >= LIMIT_OF(grammar_dfa))
        return schema_refuse(s, f->json, f->key, "it is too great beside other keywords of strings");
    return !strcmp(f->key, "minLength") ? dfa_length(s->arena, n, UINT64_MAX, out) : dfa_length(s->arena, 0, n, out);
}

static int constant_strings(struct schema *s, const struct fact *f, struct dfa *out)
{
    size_t n = f->kind == FACT_ONE_OF ? json_array_size(f->json) : 1, k = 0;
    struct span *words = arena_array(s->arena, n + 1, sizeof *words);
    if (!words)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = f->kind == FACT_ONE_OF ? json_array_get(f->json, i) : f->json;
        if (json_is_string(v))
            words[k++] = span_of(json_string_value(v), json_string_length(v));
    }
    return dfa_words(s->arena, words, k, out);
}

int schema_string(struct schema *s, const struct branch *b, struct dfa *out, bool *any)
{
    struct dfa one;
    *any = true;
    *out = s->any_text;
    for (const struct fact *f = b->facts; f; f = f->next) {
        if (f->kind == FACT_STRING)
            TRY(keyword_strings(s, f, &one));
        else if (f->kind == FACT_IS || f->kind == FACT_ONE_OF)
            TRY(constant_strings(s, f, &one));
        else
            continue;
        *any = false;
        TRY(dfa_product(s->arena, out, &one, f->negative ? DFA_MINUS : DFA_AND, out));
    }
    return 0;
}

int schema_strings(struct schema *s, const struct lit *lits, size_t n, struct dfa *out)
{
    struct branches list = {{NULL, 0, 0}};
    struct dfa one;
    bool any;
    int rc = schema_unfold(s, lits, n, &list);
    *out = (struct dfa){NULL, NULL, 0, 0};
    for (uint32_t i = 0; i < list.list.n && rc >= 0; i++) {
        const struct branch *b = GRAM_AT(list.list, struct branch) + i;
        if (!(b->types & T_STRING))
            continue;
        rc = schema_string(s, b, &one, &any);
        if (rc >= 0)
            rc = dfa_product(s->arena, out, &one, DFA_OR, out);
    }
    mem_free(list.list.at);
    return rc;
}
