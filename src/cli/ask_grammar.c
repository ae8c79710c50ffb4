/* What --json-schema, --grammar-file and --regex say, for the commands that have them. */
/* SPDX-License-Identifier: MIT */
#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

int ask_grammar(struct cli *c, struct buf *text, enum nun_grammar_kind *kind, const char **place)
{
    static const struct { enum cli_option_id id; enum nun_grammar_kind kind; } ways[] = {
        {OPT_json_schema, NUN_GRAMMAR_SCHEMA}, {OPT_grammar_file, NUN_GRAMMAR_GBNF}, {OPT_regex, NUN_GRAMMAR_REGEX}};
    const char *given = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const char *value = cli_text(c, ways[i].id);
        if (value && given)
            return err_set(NUN_EARG, "expected one of --json-schema, --grammar-file and --regex, found two");
        if (value) {
            given = value;
            *kind = ways[i].kind;
        }
    }
    if (!given)
        return 0;
    bool itself = *kind == NUN_GRAMMAR_REGEX || (*kind == NUN_GRAMMAR_SCHEMA && *given == '{');
    *place = itself ? *kind == NUN_GRAMMAR_REGEX ? "--regex" : "--json-schema" : given;
    buf_str(text, itself ? given : "");
    TRY(itself ? buf_error(text) : ask_read(given, text));
    return 1;
}

int ask_constraint(struct cli *c, struct nun_generate_options *out)
{
    struct buf text;
    enum nun_grammar_kind kind;
    const char *place;
    buf_init(&text, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = c->grammar ? 0 : ask_grammar(c, &text, &kind, &place);
    if (rc > 0)
        rc = nun_grammar_open(kind, buf_cstr(&text), text.len, place, &c->grammar);
    buf_free(&text);
    out->grammar = c->grammar;
    out->thinking_end = cli_text(c, OPT_thinking_end);
    if (rc >= 0 && out->thinking_end && !c->grammar)
        return err_set(NUN_EARG, "--thinking-end: there is no schema, grammar or regex that it could end the thinking for");
    return rc < 0 ? rc : 0;
}
