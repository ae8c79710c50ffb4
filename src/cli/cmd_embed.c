/* nunchi embed: one vector a text or picture, the texts being words of the command or lines of stdin. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/vision.h"

/* Of a model of texts, or of pictures (and texts beside them): one of the two is there. */
struct embedding { struct cli *c; struct nun_embedder *e; struct nun_tower *t; bool normalize; float *vector; int width; };

static void show(const struct embedding *k, const char *what, struct span name, size_t tokens)
{
    if (k->c->json) {
        json_t *values = json_array();
        for (int i = 0; i < k->width; i++)
            json_array_append_new(values, json_real(k->vector[i]));
        json_t *out = json_pack("{s:o}", what, json_stringn(name.ptr, name.len));
        if (tokens)
            json_object_set_new(out, "tokens", json_integer((json_int_t)tokens));
        json_object_set_new(out, "embedding", values);
        cli_print_json(out, false);
    } else {
        for (int i = 0; i < k->width; i++)
            printf("%s%.9g", i ? " " : "", k->vector[i]);
        putchar('\n');
    }
    fflush(stdout);
}

static int embed_text(void *arg, struct span text)
{
    const struct embedding *k = arg;
    size_t tokens;
    if (k->t)
        TRY(nun_tower_embed_text(k->t, text.ptr, text.len, k->normalize, k->vector, &tokens));
    else
        TRY(nun_embed(k->e, text.ptr, text.len, k->vector, &tokens));
    show(k, "text", text, tokens);
    return 0;
}

static int embed_image(const struct embedding *k, const char *file)
{
    struct buf bytes;
    buf_init(&bytes, MEM_CLI, LIMIT_OF(image_file_bytes));
    int rc = ask_read(file, &bytes);
    if (rc >= 0 && (rc = nun_tower_embed(k->t, &(struct nun_image){NULL, bytes.ptr, bytes.len}, 1, k->normalize, k->vector)) < 0)
        rc = err_at(rc, "%s", file);
    buf_free(&bytes);
    TRY(rc);
    show(k, "image", span_str(file), 0);
    return 0;
}

static int embed_all(struct embedding *k)
{
    const struct cli_value *images = &k->c->value[OPT_image];
    const char *word = cli_word(k->c);
    k->vector = arena_array(k->c->arena, (size_t)k->width, sizeof *k->vector);
    if (!k->vector)
        return NUN_ENOMEM;
    if (!word && !images->count)
        return ask_lines(embed_text, k);
    for (int i = 0; i < images->count; i++)
        TRY(embed_image(k, images->list[i]));
    for (; word; word = cli_word(k->c))
        TRY(embed_text(k, span_str(word)));
    return 0;
}

/* Vectors of a pair are compared by their angle: of length 1 unless told otherwise. */
static int embed_seen(struct embedding *k, const char *path, const struct nun_model_options *o)
{
    const char *normalize = cli_text(k->c, OPT_normalize);
    struct nun_tower_info info;
    if (cli_given(k->c, OPT_pooling) || cli_given(k->c, OPT_prompt_name) || cli_given(k->c, OPT_truncate))
        return err_set(NUN_EARG, "nunchi embed: --pooling, --prompt-name and --truncate are for models of texts alone");
    TRY(nun_tower_open(path, o, &k->t));
    nun_tower_info(k->t, &info);
    k->width = info.width;
    k->normalize = strcmp(normalize, "auto") ? !strcmp(normalize, "yes") : info.reads;
    int rc = embed_all(k);
    nun_tower_close(k->t);
    return rc;
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
    if (c->value[OPT_image].count)
        return embed_seen(&k, path, &o.model);
    int rc = nun_embedder_open(path, &o, &k.e);
    if (rc == NUN_EUNSUP) { /* the texts of a pair? */
        const char *why = arena_strdup(c->arena, nun_error());
        rc = embed_seen(&k, path, &o.model);
        return rc == NUN_EUNSUP && !k.t ? err_set(rc, "%s", why ? why : "") : rc;
    }
    TRY(rc);
    k.width = nun_embedder_width(k.e);
    rc = embed_all(&k);
    nun_embedder_close(k.e);
    return rc;
}
