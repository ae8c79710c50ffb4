/* nunchi pull: a model folder from a hub into the cache that other programs use too. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "nunchi/hub.h"

static void on_bytes(void *arg, const struct nun_hub_file *f)
{
    char done[32], size[32], text[160];
    if (cli_flag(arg, OPT_quiet) || f->size <= 0)
        return;
    snprintf(text, sizeof text, "%.80s %s of %s", f->name, term_bytes((double)f->done, done), term_bytes((double)f->size, size));
    term_bar((double)f->done / (double)f->size, text);
}

int cmd_pull(struct cli *c)
{
    enum { PATH_BYTES = 4096 };
    const char *repo = cli_word(c), *revision = cli_text(c, OPT_revision), *offline = hub_variable(c, "HF_HUB_OFFLINE");
    char folder[PATH_BYTES];
    const struct nun_hub_options o = {
        .cache = hub_cache(c), .endpoint = hub_variable(c, "HF_ENDPOINT"), .token = hub_variable(c, "HF_TOKEN"),
        .revision = revision, .include = c->value[OPT_include].list, .n_include = (size_t)c->value[OPT_include].count,
        .progress = on_bytes, .arg = c};
    if (!repo)
        return cli_missing(c, "a model, as org/name");
    TRY(cli_no_more_words(c));
    if (!o.cache)
        return err_set(NUN_EARG, "pull: no place for the cache: set HF_HUB_CACHE");
    if (offline && strcmp(offline, "0"))
        return err_set(NUN_EIO, "pull: HF_HUB_OFFLINE is set");
    int rc = nun_hub_pull(repo, &o, folder, sizeof folder);
    term_bar_end();
    TRY(rc);
    if (c->json)
        cli_print_json(json_pack("{s:s, s:s}", "model", repo, "folder", folder), false);
    else
        puts(folder);
    return 0;
}
