/* Where the hub's cache lies for this user, and names like org/model in place of a folder. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include "nunchi/hub.h"

static const char *env_of(const struct cli *c, const char *name)
{
    const char *value = c->env ? c->env(name) : NULL;
    return value && *value ? value : NULL;
}

/* As huggingface_hub looks for it. */
const char *hub_cache(struct cli *c)
{
    static const struct { const char *name, *tail; } places[] = {
        {"HF_HUB_CACHE", ""}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HOME", "/hub"}, {"XDG_CACHE_HOME", "/huggingface/hub"},
        {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (env_of(c, places[i].name))
            return arena_printf(c->arena, "%s%s", env_of(c, places[i].name), places[i].tail);
    return NULL;
}

const char *hub_variable(const struct cli *c, const char *name)
{
    return env_of(c, name);
}

int hub_resolve(struct cli *c, const char **model)
{
    enum { PATH_BYTES = 4096 };
    const char *name = *model, *cache = hub_cache(c);
    char found[PATH_BYTES];
    if (file_exists(name) || !strchr(name, '/') || !cache)
        return 0;
    int rc = nun_hub_find(cache, name, found, sizeof found);
    if (rc)
        return rc < 0 ? rc : 0; /* whoever opens it says that there is nothing */
    *model = arena_strdup(c->arena, found);
    return *model ? 0 : NUN_ENOMEM;
}
