/* nunchi embed: one vector a text, the texts being words of the command or lines of stdin. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

struct embedding { struct cli *c; struct nun_embedder *e; float *vector; int width; };

static int embed_text(void *arg, struct span text)
{
    const struct embedding *k = arg;
    size_t tokens;
    TRY(nun_embed(k->e, text.ptr, text.len, k->vector, &tokens));
    if (k->c->json) {
        json_t *values = json_array();
        for (int i = 0; i < k->width; i++)
            json_array_append_new(values, json_real(k->vector[i]));
        cli_print_json(json_pack("{s:o, s:I, s:o}", "text", json_stringn(text.ptr, text.len), "tokens", (json_int_t)tokens,
                                 "embedding", values), false);
    } else {
        for (int i = 0; i < k->width; i++)
            printf("%s%.9g", i ? " " : "", k->vector[i]);
        putchar('\n');
    }
    fflush(stdout);
    return 0;
}

static int embed_all(struct embedding *k)
{
    const char *word = cli_word(k->c);
    k->width = nun_embedder_width(k->e);
    k->vector = arena_array(k->c->arena, (size_t)k->width, sizeof *k->vector);
    if (!k->vector)
        return NUN_ENOMEM;
    if (!word)
        return ask_lines(embed_text, k);
    for (; word; word = cli_word(k->c))
        TRY(embed_text(k, span_str(word)));
    return 0;
}

int cmd_embed(struct cli *c)
{
    const char *path, *pooling = cli_text(c, OPT_pooling), *normalize = cli_text(c, OPT_normalize);
    struct embedding k = {.c = c};
    TRY(cli_model(c, &path));
    struct nun_embed_options o = {
        .model = {.threads = cli_int(c, OPT_threads), .compute = (enum nun_compute)cli_int(c, OPT_compute)},
        .pooling = strcmp(pooling, "auto") ? pooling : NULL, .prompt = cli_text(c, OPT_prompt_name),
        .normalize = !strcmp(normalize, "yes") ? 1 : !strcmp(normalize, "no") ? -1 : 0, .truncate = cli_flag(c, OPT_truncate)};
    TRY(nun_embedder_open(path, &o, &k.e));
    int rc = embed_all(&k);
    nun_embedder_close(k.e);
    return rc;
}
