/* nunchi help: a command in full, or the pages made of the rows. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/cli.h"

static int find(const char *word, int *out)
{
    const char *names[COMMAND_COUNT + 1];
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = cli_commands[i].name;
        if (!strcmp(names[i], word)) {
            *out = i;
            return 0;
        }
    }
    names[COMMAND_COUNT] = NULL;
    const char *near = cli_suggest(word, names);
    return err_set(NUN_EARG, "help: unknown command %s%s%s%s", word, near ? ": did you mean " : "", near ? near : "",
                   near ? "?" : "");
}

int cmd_help(struct cli *c)
{
    const char *word = cli_word(c);
    int command = -1;
    TRY(cli_no_more_words(c));
    if (word)
        TRY(find(word, &command));
    if (c->json) {
        help_json(command);
        return 0;
    }
    if (cli_flag(c, OPT_man))
        return help_man(stdout);
    if (cli_flag(c, OPT_markdown))
        return help_markdown(stdout);
    if (cli_text(c, OPT_completions))
        return help_completions(stdout, cli_text(c, OPT_completions));
    if (word)
        help_command(stdout, (enum cli_command_id)command, true);
    else
        help_overview(stdout);
    return 0;
}
