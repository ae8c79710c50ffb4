/* nunchi classify: what pictures show, a line a class: picture, probability, name. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/vision.h"

struct ranked { int id; float p; };

static int by_probability(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->id - y->id;
}

/* ---- labels -------------------------------------------------------------------------------- */

/* text in pieces between `mark`, without blanks around them; empty ones are none. list NULL: only counted. */
static size_t split(char *text, char mark, const char **list)
{
    size_t n = 0;
    for (char *at = text, *next; at; at = next) {
        if ((next = strchr(at, mark)))
            *next++ = '\0';
        at += strspn(at, " \t\r");
        size_t len = strlen(at);
        while (len && strchr(" \t\r", at[len - 1]))
            at[--len] = '\0';
        if (len)
            list[n++] = at;
    }
    return n;
}

static int set_labels(struct cli *c, struct nun_tower *t)
{
    const char *given = cli_text(c, OPT_labels);
    struct buf text;
    if (!given)
        return 0;
    buf_init(&text, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = 0;
    if (*given == '@')
        rc = ask_read(given + 1, &text);
    else
        buf_str(&text, given);
    rc = rc < 0 ? rc : buf_error(&text);
    const char **list = arena_array(c->arena, text.len / 2 + 1, sizeof *list);
    if (rc >= 0 && !list)
        rc = NUN_ENOMEM;
    if (rc >= 0)
        rc = nun_tower_set_labels(t, list, text.len ? split(text.ptr, *given == '@' ? '\n' : ',', list) : 0, cli_text(c, OPT_label_form));
    buf_free(&text);
    return rc;
}

/* ---- answers ------------------------------------------------------------------------------- */

static void show(struct cli *c, const struct nun_tower *t, const char *file, const struct ranked *best, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n && c->json; i++)
        json_array_append_new(list, json_pack("{s:i, s:s, s:f}", "id", best[i].id, "label", nun_tower_label(t, best[i].id),
                                              "probability", (double)best[i].p));
    if (c->json)
        cli_print_json(json_pack("{s:s, s:O}", "image", file, "labels", list), false);
    json_decref(list);
    for (int i = 0; i < n && !c->json; i++) {
        term_write(stdout, file, strlen(file));
        printf("\t%.6f\t", (double)best[i].p);
        term_write(stdout, nun_tower_label(t, best[i].id), strlen(nun_tower_label(t, best[i].id)));
        putchar('\n');
    }
    fflush(stdout);
}

static int classify(struct cli *c, struct nun_tower *t, const char *file, struct ranked *ranked, float *p, int classes)
{
    struct buf bytes;
    int top = cli_int(c, OPT_top);
    buf_init(&bytes, MEM_CLI, LIMIT_OF(image_file_bytes));
    int rc = ask_read(file, &bytes);
    if (rc >= 0 && (rc = nun_tower_classify(t, &(struct nun_image){NULL, bytes.ptr, bytes.len}, 1, p)) < 0)
        rc = err_at(rc, "%s", file);
    buf_free(&bytes);
    TRY(rc);
    for (int i = 0; i < classes; i++)
        ranked[i] = (struct ranked){i, p[i]};
    qsort(ranked, (size_t)classes, sizeof *ranked, by_probability);
    show(c, t, file, ranked, top < classes ? top : classes);
    return 0;
}

static int classify_all(struct cli *c, struct nun_tower *t)
{
    const struct cli_value *images = &c->value[OPT_image];
    struct nun_tower_info info;
    const char *word = cli_word(c);
    if (!images->count && !word)
        return err_set(NUN_EARG, "nunchi classify: expected a picture, found none; see nunchi classify -h");
    TRY(set_labels(c, t));
    nun_tower_info(t, &info);
    if (!info.classes)
        return err_set(NUN_EARG, "%s has no classes of its own: expected --labels", info.architecture);
    float *p = arena_array(c->arena, (size_t)info.classes, sizeof *p);
    struct ranked *ranked = arena_array(c->arena, (size_t)info.classes, sizeof *ranked);
    if (!p || !ranked)
        return NUN_ENOMEM;
    for (int i = 0; i < images->count; i++)
        TRY(classify(c, t, images->list[i], ranked, p, info.classes));
    for (; word; word = cli_word(c))
        TRY(classify(c, t, word, ranked, p, info.classes));
    return 0;
}

int cmd_classify(struct cli *c)
{
    const struct nun_model_options o = {.threads = cli_int(c, OPT_threads), .compute = (enum nun_compute)cli_int(c, OPT_compute)};
    struct nun_tower *t;
    const char *path;
    TRY(cli_model(c, &path));
    TRY(nun_tower_open(path, &o, &t));
    int rc = classify_all(c, t);
    nun_tower_close(t);
    return rc;
}
