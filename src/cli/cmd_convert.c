/* nunchi convert, quantize, init: models in, models out. */
/* SPDX-License-Identifier: MIT */
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
static int two_words(struct cli *c, const char *command, const char *what, const char **in, const char **out)
{
    *in = cli_word(c);
    *out = cli_word(c);
    if (!*in || !*out)
        return err_set(NUN_EARG, "%s: expected %s and where to put it", command, what);
    return 0;
}

int cmd_convert(struct cli *c)
{
    const char *in, *out;
    struct nun_convert_options o = options_of(c);
    TRY(two_words(c, "convert", "a model", &in, &out));
    TRY(cli_no_more_words(c));
    int rc = nun_convert(in, out, &o);
    term_bar_end();
    return rc;
}

int cmd_quantize(struct cli *c)
{
    const char *in, *out;
    struct nun_convert_options o = options_of(c);
    TRY(two_words(c, "quantize", "a model", &in, &out));
    o.type = cli_word(c);
    o.format = "gguf";
    if (!o.type)
        return err_set(NUN_EARG, "quantize: expected a type behind %s, as Q4_K_M", out);
    TRY(cli_no_more_words(c));
    int rc = nun_convert(in, out, &o);
    term_bar_end();
    return rc;
}

int cmd_init(struct cli *c)
{
    const char *in, *out;
    struct nun_convert_options o = options_of(c);
    TRY(two_words(c, "init", "a shape or a config.json", &in, &out));
    TRY(cli_no_more_words(c));
    int rc = nun_init_model(in, out, (uint64_t)c->value[OPT_seed].number, &o);
    term_bar_end();
    return rc;
}
