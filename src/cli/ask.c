/* What the commands that ask a model share: opening it, the sampling options, reading a prompt or a
 * picture from a file or stdin. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
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

void ask_cache(const struct cli *c, struct nun_model_options *o)
{
    enum cli_option_id k = cli_given(c, OPT_cache_type_k) ? OPT_cache_type_k : OPT_cache_type;
    enum cli_option_id v = cli_given(c, OPT_cache_type_v) ? OPT_cache_type_v : OPT_cache_type;
    o->cache_k = (enum nun_cache)cli_int(c, k);
    o->cache_v = (enum nun_cache)cli_int(c, v);
}

int ask_open(struct cli *c, const char *path, int context, struct nun_model **out)
{
    const char *template_path = cli_text(c, OPT_chat_template);
    struct buf template;
    buf_init(&template, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = template_path ? ask_read(template_path, &template) : 0;
    struct nun_model_options o = {
        .threads = cli_int(c, OPT_threads), .compute = (enum nun_compute)cli_int(c, OPT_compute), .context = context,
        .chat_template = template_path ? buf_cstr(&template) : NULL, .mmproj = cli_text(c, OPT_mmproj)};
    if (c->command == COMMAND_run || c->command == COMMAND_chat)
        o.media = (struct nun_media_budget){cli_int(c, OPT_media_tokens), cli_int(c, OPT_max_pixels), (enum nun_detail)cli_int(c, OPT_detail)};
    ask_cache(c, &o);
    if (rc >= 0)
        rc = ask_loras(c, &o);
    if (rc >= 0)
        rc = nun_model_open(path, &o, out);
    buf_free(&template);
    return rc;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Options that are one number of nun_sampling. */
static const struct { enum cli_option_id id; size_t offset; bool whole; } numbers[] = {
    {OPT_temp, offsetof(struct nun_sampling, temperature), false},
    {OPT_top_k, offsetof(struct nun_sampling, top_k), true},
    {OPT_top_p, offsetof(struct nun_sampling, top_p), false},
    {OPT_min_p, offsetof(struct nun_sampling, min_p), false},
    {OPT_typical_p, offsetof(struct nun_sampling, typical_p), false},
    {OPT_epsilon_cutoff, offsetof(struct nun_sampling, epsilon), false},
    {OPT_eta_cutoff, offsetof(struct nun_sampling, eta), false},
    {OPT_min_keep, offsetof(struct nun_sampling, min_keep), true},
    {OPT_top_n_sigma, offsetof(struct nun_sampling, top_n_sigma), false},
    {OPT_xtc_probability, offsetof(struct nun_sampling, xtc_probability), false},
    {OPT_xtc_threshold, offsetof(struct nun_sampling, xtc_threshold), false},
    {OPT_repeat_penalty, offsetof(struct nun_sampling, repeat_penalty), false},
    {OPT_presence_penalty, offsetof(struct nun_sampling, presence_penalty), false},
    {OPT_frequency_penalty, offsetof(struct nun_sampling, frequency_penalty), false},
    {OPT_repeat_last_n, offsetof(struct nun_sampling, penalty_last), true},
    {OPT_no_repeat_ngram, offsetof(struct nun_sampling, no_repeat_ngram), true},
    {OPT_dry_multiplier, offsetof(struct nun_sampling, dry_multiplier), false},
    {OPT_dry_base, offsetof(struct nun_sampling, dry_base), false},
    {OPT_dry_allowed_length, offsetof(struct nun_sampling, dry_allowed_length), true},
    {OPT_dry_last_n, offsetof(struct nun_sampling, dry_last), true},
    {OPT_mirostat, offsetof(struct nun_sampling, mirostat), true},
    {OPT_mirostat_ent, offsetof(struct nun_sampling, mirostat_tau), false},
    {OPT_mirostat_lr, offsetof(struct nun_sampling, mirostat_eta), false},
};

static void take_numbers(const struct cli *c, struct nun_sampling *s)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char *at = (char *)s + numbers[i].offset;
        if (!cli_given(c, numbers[i].id))
            continue;
        if (numbers[i].whole)
            *(int *)(void *)at = cli_int(c, numbers[i].id);
        else
            *(float *)(void *)at = (float)cli_real(c, numbers[i].id);
    }
    if (cli_given(c, OPT_repeat_last_n) && cli_int(c, OPT_repeat_last_n) == 0) /* to the library 0 is its default */
        s->repeat_penalty = s->presence_penalty = s->frequency_penalty = 0;
}

/* "15+2.5" or "15-1": an id and what is added to its logit. */
static int take_bias(struct cli *c, struct nun_sampling *s)
{
    const struct cli_value *given = &c->value[OPT_logit_bias];
    struct nun_logit_bias *all = arena_array(c->arena, s->n_bias + (size_t)given->count + 1, sizeof *all);
    if (!all)
        return NUN_ENOMEM;
    for (size_t i = 0; i < s->n_bias; i++)
        all[i] = s->bias[i];
    for (int i = 0; i < given->count; i++) {
        char *number, *end;
        long id = strtol(given->list[i], &number, 10);
        double bias = *number == '+' || *number == '-' ? strtod(number, &end) : 0;
        if (number == given->list[i] || (*number != '+' && *number != '-') || end == number || *end || id < 0 || id > INT32_MAX)
            return err_set(NUN_EARG, "--logit-bias: expected an id and a number as 15+2.5 or 15-1, found \"%s\"", given->list[i]);
        all[s->n_bias++] = (struct nun_logit_bias){(int32_t)id, (float)bias};
    }
    s->bias = all;
    return 0;
}

/* Strings that end an answer: the model's and the line's. */
static int take_stops(struct cli *c, struct nun_generate_options *o)
{
    const struct cli_value *given = &c->value[OPT_stop];
    const char **all = arena_array(c->arena, o->n_stop + (size_t)given->count + 1, sizeof *all);
    if (!all)
        return NUN_ENOMEM;
    for (size_t i = 0; i < o->n_stop; i++)
        all[i] = o->stop[i];
    for (int i = 0; i < given->count; i++)
        all[o->n_stop++] = given->list[i];
    o->stop = all;
    return 0;
}

int ask_options(struct cli *c, const struct nun_model *m, struct nun_generate_options *out)
{
    struct nun_sampling *s = &out->sampling;
    nun_model_defaults(m, out);
    take_numbers(c, s);
    s->seed = (uint64_t)c->value[OPT_seed].number;
    s->chain = cli_text(c, OPT_samplers);
    if (c->value[OPT_dry_sequence_breaker].count) {
        s->dry_breakers = c->value[OPT_dry_sequence_breaker].list;
        s->n_dry_breakers = (size_t)c->value[OPT_dry_sequence_breaker].count;
    }
    if (cli_given(c, OPT_predict)) {
        out->max_tokens = cli_int(c, OPT_predict);
        out->max_length = 0;
    }
    out->ignore_eos = cli_flag(c, OPT_ignore_eos);
    out->logprobs = cli_int(c, OPT_logprobs);
    TRY(take_bias(c, s));
    TRY(ask_constraint(c, out));
    return take_stops(c, out);
}

/* ---- input ----------------------------------------------------------------------------------- */

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

int ask_lines(int (*each)(void *arg, struct span line), void *arg)
{
    struct buf line;
    int ch, rc = 0;
    buf_init(&line, MEM_CLI, LIMIT_OF(text_bytes));
    do {
        ch = getchar();
        if (ch != '\n' && ch != EOF) {
            buf_char(&line, (char)ch);
            continue;
        }
        rc = buf_error(&line);
        if (rc >= 0 && line.len)
            rc = each(arg, buf_view(&line));
        buf_reset(&line);
    } while (ch != EOF && rc >= 0);
    buf_free(&line);
    return rc;
}
