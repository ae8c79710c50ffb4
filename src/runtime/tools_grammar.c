/* Grammars through the public door: read one, and try texts on it. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "formats/json.h"
#include "nunchi/tools.h"
#include "text/grammar.h"

static int from_schema(struct span text, const char *place, struct grammar **out)
{
    json_t *schema;
    TRY(json_parse_span(text, place, &schema));
    int rc = grammar_from_schema(schema, place, out);
    json_decref(schema);
    return rc;
}

static int (*const readers[])(struct span text, const char *place, struct grammar **out) = {
    [NUN_GRAMMAR_SCHEMA] = from_schema, [NUN_GRAMMAR_GBNF] = grammar_from_gbnf, [NUN_GRAMMAR_REGEX] = grammar_from_regex};

int nun_grammar_open(enum nun_grammar_kind kind, const char *text, size_t len, const char *place, struct nun_grammar **out)
{
    struct grammar *g;
    if ((size_t)kind >= sizeof readers / sizeof *readers)
        return err_set(NUN_EARG, "grammar: there is no kind %d", (int)kind);
    TRY(readers[kind](span_of(text, len), place ? place : "grammar", &g));
    *out = (struct nun_grammar *)g;
    return 0;
}

void nun_grammar_close(struct nun_grammar *g)
{
    grammar_free((struct grammar *)g);
}

int nun_grammar_accepts(const struct nun_grammar *g, const char *text, size_t len)
{
    struct gram_run *r;
    TRY(gram_run_create((const struct grammar *)g, true, &r));
    int rc = gram_run_feed(r, span_of(text, len));
    if (rc > 0)
        rc = gram_run_may_end(r);
    gram_run_free(r);
    return rc;
}
