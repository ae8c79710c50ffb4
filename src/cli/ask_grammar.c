/* What --json-schema, --grammar-file and --regex say, for the commands that have them. */
/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

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
