/* nunchi convert, quantize, init: models in, models out. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "cli/cli.h"
#include "nunchi/tools.h"

static void progress(void *arg, size_t done, size_t of, const char *tensor)
{
    term_bar((double)done / (double)(of ? of : 1), tensor);
}

static struct nun_convert_options options_of(struct cli *c)
{
    return (struct nun_convert_options){.format = cli_text(c, OPT_to), .type = cli_text(c, OPT_dtype), .threads = cli_int(c, OPT_threads),
                                        .progress = cli_flag(c, OPT_quiet) ? NULL : progress, .arg = c};
}

/* Two words, in and out, and `what` the first is. */
static int two_words(struct cli *c, const char *what, const char **in, const char **out)
{
    *in = cli_word(c);
    *out = cli_word(c);
    return *in && *out ? hub_resolve(c, in) : cli_missing(c, *in ? "where to put it" : what);
}

static int finish(struct cli *c, int rc, const char *out)
{
    term_bar_end();
    if (rc >= 0 && c->json)
        cli_print_json(json_pack("{s:s}", "model", out), false);
    return rc;
}

int cmd_convert(struct cli *c)
{
    const char *in, *out;
    struct nun_convert_options o = options_of(c);
    TRY(two_words(c, "a model and where to put it", &in, &out));
    TRY(cli_no_more_words(c));
    return finish(c, nun_convert(in, out, &o), out);
}

int cmd_quantize(struct cli *c)
{
    const char *in, *out;
    struct nun_convert_options o = options_of(c);
    TRY(two_words(c, "a model, where to put it and a type, as Q4_K_M", &in, &out));
    o.type = cli_word(c);
    o.format = "gguf";
    if (!o.type)
        return cli_missing(c, "a type, as Q4_K_M");
    TRY(cli_no_more_words(c));
    return finish(c, nun_convert(in, out, &o), out);
}

int cmd_init(struct cli *c)
{
    const char *in, *out;
    struct nun_convert_options o = options_of(c);
    TRY(two_words(c, "a shape or a config.json and where to put it", &in, &out));
    TRY(cli_no_more_words(c));
    return finish(c, nun_init_model(in, out, (uint64_t)c->value[OPT_seed].number, &o), out);
}
