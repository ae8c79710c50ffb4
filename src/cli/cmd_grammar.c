/* nunchi grammar: does a text fit? One text on stdin and an exit status, or with --batch a JSON object a line
 * with a grammar and its inputs, and one a line out, flushed line by line. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

/* ---- one text -------------------------------------------------------------------------------- */

static int try_text(const char *text, size_t len, const char *place, enum nun_grammar_kind kind, struct span input)
{
    struct nun_grammar *g;
    TRY(nun_grammar_open(kind, text, len, place, &g));
    int rc = nun_grammar_accepts(g, input.ptr, input.len);
    nun_grammar_close(g);
    return rc;
}

static int single(struct cli *c)
{
    struct buf source, input;
    enum nun_grammar_kind kind;
    const char *place;
    buf_init(&source, MEM_CLI, LIMIT_OF(text_bytes));
    buf_init(&input, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = ask_grammar(c, &source, &kind, &place);
    if (rc == 0)
        rc = cli_missing(c, "--json-schema, --grammar-file, --regex or --batch");
    if (rc > 0)
        rc = ask_read("-", &input);
    if (rc >= 0)
        rc = try_text(buf_cstr(&source), source.len, place, kind, span_of(buf_cstr(&input), input.len));
    buf_free(&source);
    buf_free(&input);
    if (rc >= 0 && c->json)
        cli_print_json(json_pack("{s:b}", "accept", rc), false);
    return rc < 0 ? rc : !rc;
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* Which grammar a line has, as text; the caller frees what json_dumps made. */
static int source_of(const json_t *line, enum nun_grammar_kind *kind, char **text, size_t *len)
{
    static const char *const keys[] = {[NUN_GRAMMAR_SCHEMA] = "schema", [NUN_GRAMMAR_GBNF] = "grammar", [NUN_GRAMMAR_REGEX] = "regex"};
    const json_t *found = NULL;
    for (int i = 0; i < 3; i++) {
        const json_t *v = json_object_get(line, keys[i]);
        if (v && found)
            return err_set(NUN_EARG, "grammar: expected one of schema, grammar, regex, found two");
        if (v) {
            found = v;
            *kind = (enum nun_grammar_kind)i;
        }
    }
    if (!found)
        return err_set(NUN_EARG, "grammar: expected a line with schema, grammar or regex");
    if (*kind != NUN_GRAMMAR_SCHEMA && !json_is_string(found))
        return err_set(NUN_EARG, "grammar: %s: expected a string", keys[*kind]);
    bool as_text = json_is_string(found); /* a schema may come as text too */
    *text = as_text ? mem_strndup(MEM_CLI, json_string_value(found), json_string_length(found)) : json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!*text)
        return NUN_ENOMEM;
    *len = as_text ? json_string_length(found) : strlen(*text);
    if (as_text)
        return 0;
    char *copy = mem_strndup(MEM_CLI, *text, *len);
    json_free_t free_text;
    json_get_alloc_funcs(NULL, &free_text);
    free_text(*text);
    *text = copy;
    return copy ? 0 : NUN_ENOMEM;
}

static int try_inputs(const struct nun_grammar *g, const json_t *inputs, json_t *accept)
{
    if (!json_is_array(inputs))
        return err_set(NUN_EARG, "grammar: inputs: expected a list of strings");
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *text = json_array_get(inputs, i);
        if (!json_is_string(text))
            return err_set(NUN_EARG, "grammar: inputs: expected a list of strings");
        int fits = nun_grammar_accepts(g, json_string_value(text), json_string_length(text));
        TRY(fits);
        json_array_append_new(accept, json_boolean(fits));
    }
    return 0;
}

static int answer_line(struct span line, json_t *accept)
{
    enum nun_grammar_kind kind = NUN_GRAMMAR_SCHEMA;
    struct nun_grammar *g = NULL;
    json_error_t e;
    char *text = NULL;
    size_t len = 0;
    json_t *v = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL, &e);
    int rc = v ? source_of(v, &kind, &text, &len) : err_set(NUN_EFORMAT, "grammar: expected a JSON object: %s at column %d", e.text, e.column);
    if (rc >= 0)
        rc = nun_grammar_open(kind, text, len, "grammar", &g);
    if (rc >= 0)
        rc = try_inputs(g, json_object_get(v, "inputs"), accept);
    nun_grammar_close(g);
    mem_free(text);
    json_decref(v);
    return rc;
}

/* A line that fails is an answer, too. */
static int one_line(void *arg, struct span line)
{
    json_t *accept = json_array();
    if (answer_line(line, accept) < 0)
        cli_print_json(json_pack("{s:s}", "error", nun_error()), false);
    else
        cli_print_json(json_pack("{s:O}", "accept", accept), false);
    json_decref(accept);
    fflush(stdout);
    return 0;
}

int cmd_grammar(struct cli *c)
{
    TRY(cli_no_more_words(c));
    return cli_flag(c, OPT_batch) ? ask_lines(one_line, NULL) : single(c);
}
