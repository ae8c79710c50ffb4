/* nunchi merge: a model and its adapters as one folder, for engines that know no adapters. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

int cmd_merge(struct cli *c)
{
    const char *model, *word, *words[CLI_LIST_MAX];
    size_t n = 0;
    TRY(cli_model(c, &model));
    while ((word = cli_word(c)))
        words[n++] = word;
    if (n < 2)
        return err_set(NUN_EARG, "merge: expected MODEL LORA... OUT, found %zu words after the model", n);
    struct nun_lora *loras = arena_array(c->arena, n, sizeof *loras);
    if (!loras)
        return NUN_ENOMEM;
    for (size_t i = 0; i + 1 < n; i++)
        TRY(ask_lora(c, words[i], &loras[i]));
    TRY(nun_merge(model, loras, n - 1, words[n - 1]));
    if (c->json)
        cli_print_json(json_pack("{s:s, s:i}", "model", words[n - 1], "adapters", (int)n - 1), false);
    else
        cli_say(c, "%s: %s with %zu adapter%s\n", words[n - 1], model, n - 1, n > 2 ? "s" : "");
    return 0;
}
