/* nunchi list: what the hub's cache holds. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "cli/cli.h"
#include "nunchi/hub.h"

struct listing { json_t *all; size_t n; };

static void on_entry(void *arg, const struct nun_hub_entry *e)
{
    struct listing *l = arg;
    char size[32];
    l->n++;
    if (l->all)
        json_array_append_new(l->all, json_pack("{s:s, s:s, s:s, s:I}", "model", e->repo, "revision", e->revision, "folder", e->folder,
                                             "bytes", (json_int_t)e->bytes));
    else
        printf("%-48s %-14s %10s\n", e->repo, e->revision, term_bytes((double)e->bytes, size));
}

int cmd_list(struct cli *c)
{
    const char *cache = hub_cache(c);
    TRY(cli_no_more_words(c));
    if (!cache)
        return err_set(NUN_EARG, "list: no place for the cache: set HF_HUB_CACHE");
    struct listing l = {c->json ? json_array() : NULL, 0};
    int rc = nun_hub_list(cache, on_entry, &l);
    if (rc >= 0 && c->json)
        cli_print_json(l.all, true);
    else
        json_decref(l.all);
    if (rc >= 0 && !l.n)
        cli_say(c, "no models in %s; nunchi pull ORG/NAME fetches them\n", cache);
    return rc;
}
