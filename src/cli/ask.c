/* What the commands that ask a model share: opening it, the sampling options, reading a prompt or a
 * picture from a file or stdin. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

int ask_lora(struct cli *c, const char *text, struct nun_lora *out)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    double scale = colon && colon[1] ? strtod(colon + 1, &end) : 1;
    bool scaled = end && !*end && isfinite(scale);
    const char *folder = scaled ? arena_strndup(c->arena, text, (size_t)(colon - text)) : text;
    *out = (struct nun_lora){folder, scaled ? (float)scale : 1};
    return folder ? 0 : NUN_ENOMEM;
}

static int ask_loras(struct cli *c, struct nun_model_options *o)
{
    const struct cli_value *given = &c->value[OPT_lora];
    struct nun_lora *list = arena_array(c->arena, (size_t)given->count + 1, sizeof *list);
    if (!list)
        return NUN_ENOMEM;
    for (int i = 0; i < given->count; i++)
        TRY(ask_lora(c, given->list[i], &list[i]));
    o->loras = list;
    o->n_loras = (size_t)given->count;
    return 0;
}

int ask_open(struct cli *c, const char *path, int context, struct nun_model **out)
{
    const char *template_path = cli_text(c, OPT_chat_template);
    struct buf template;
    buf_init(&template, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = template_path ? ask_read(template_path, &template) : 0;
    struct nun_model_options o = {
        .threads = cli_int(c, OPT_threads), .compute = (enum nun_compute)cli_int(c, OPT_compute), .context = context,
        .chat_template = template_path ? buf_cstr(&template) : NULL};
    if (rc >= 0)
        rc = ask_loras(c, &o);
    if (rc >= 0)
        rc = nun_model_open(path, &o, out);
    buf_free(&template);
    return rc;
}

int ask_options(struct cli *c, struct nun_generate_options *out)
{
    int last = cli_int(c, OPT_repeat_last_n);
    *out = (struct nun_generate_options){
        .sampling = {.temperature = (float)cli_real(c, OPT_temp), .top_k = cli_int(c, OPT_top_k),
                     .top_p = (float)cli_real(c, OPT_top_p), .min_p = (float)cli_real(c, OPT_min_p),
                     .repeat_penalty = (float)cli_real(c, OPT_repeat_penalty),
                     .presence_penalty = (float)cli_real(c, OPT_presence_penalty),
                     .frequency_penalty = (float)cli_real(c, OPT_frequency_penalty),
                     .penalty_last = last, .seed = (uint64_t)c->value[OPT_seed].number},
        .max_tokens = cli_int(c, OPT_predict), .stop = c->value[OPT_stop].list,
        .n_stop = (size_t)c->value[OPT_stop].count, .ignore_eos = cli_flag(c, OPT_ignore_eos),
        .logprobs = cli_int(c, OPT_logprobs)};
    if (last == 0) /* the library takes 0 as its default; the line means none */
        out->sampling.repeat_penalty = out->sampling.presence_penalty = out->sampling.frequency_penalty = 0;
    return 0;
}

static int read_stdin(struct buf *out)
{
    char block[1 << 16];
    ssize_t n;
    while ((n = seam_get()->read(STDIN_FILENO, block, sizeof block)) > 0)
        buf_append(out, block, (size_t)n);
    if (n < 0)
        return err_errno("stdin");
    int rc = buf_error(out);
    return rc < 0 ? err_at(rc, "stdin") : 0;
}

int ask_read(const char *path, struct buf *out)
{
    return strcmp(path, "-") ? file_read(path, out) : read_stdin(out);
}
