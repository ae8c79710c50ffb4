/* nunchi template: a conversation to the text that a model reads, for scripts and for comparison with other
 * engines. One context on stdin, or with --batch a JSON object a line in and out, flushed line by line. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

/* Text of a model as JSON: only UTF-8 has a form there. */
static int text_json(const char *text, size_t len, json_t **out)
{
    *out = json_pack("{s:s%}", "text", text, len);
    return *out ? 0 : err_set(NUN_EFORMAT, "the rendered text is not UTF-8");
}

static int single(const struct cli *c, const struct nun_template *t)
{
    struct buf context;
    char *text;
    size_t len;
    buf_init(&context, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = ask_read("-", &context);
    if (rc >= 0)
        rc = nun_template_render(t, buf_cstr(&context), context.len, &text, &len);
    buf_free(&context);
    TRY(rc);
    json_t *answer = NULL;
    if (c->json)
        rc = text_json(text, len, &answer);
    else
        term_write(stdout, text, len);
    if (answer)
        cli_print_json(answer, false);
    nun_free(text);
    return rc;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The line's own template, or the one that was opened. */
static int render(const struct nun_template *opened, const json_t *line, const char *context, size_t len, json_t **out)
{
    const json_t *source = json_object_get(line, "template");
    struct nun_template *own = NULL;
    char *text;
    size_t n;
    if (json_is_string(source))
        TRY(nun_template_parse(json_string_value(source), json_string_length(source), "template", &own));
    else if (!opened)
        return err_set(NUN_EARG, "expected \"template\" in the line, or a model before --batch");
    int rc = nun_template_render(own ? own : opened, context, len, &text, &n);
    nun_template_close(own);
    TRY(rc);
    rc = text_json(text, n, out);
    nun_free(text);
    return rc;
}

static int to_buf(const char *bytes, size_t n, void *arg)
{
    buf_append(arg, bytes, n);
    return 0;
}

static int render_line(const struct nun_template *opened, struct span line, json_t **out)
{
    json_error_t e;
    struct buf context;
    json_t *v = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL, &e);
    if (!v)
        return err_set(NUN_EFORMAT, "expected a JSON object: %s at column %d", e.text, e.column);
    buf_init(&context, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = json_object_get(v, "context") ? 0 : err_set(NUN_EARG, "expected \"context\" in the line");
    if (rc >= 0) {
        json_dump_callback(json_object_get(v, "context"), to_buf, &context, JSON_COMPACT | JSON_ENCODE_ANY);
        rc = buf_error(&context);
    }
    if (rc >= 0)
        rc = render(opened, v, buf_cstr(&context), context.len, out);
    buf_free(&context);
    json_decref(v);
    return rc;
}

/* A line that fails is an answer, too. */
static int batch_line(void *arg, struct span line)
{
    json_t *answer;
    if (render_line(arg, line, &answer) < 0)
        answer = json_pack("{s:s}", "error", nun_error());
    cli_print_json(answer, false);
    fflush(stdout);
    return 0;
}

int cmd_template(struct cli *c)
{
    struct nun_template *t = NULL;
    const char *path = NULL;
    bool batch = cli_flag(c, OPT_batch);
    if (!batch || c->n_words || cli_given(c, OPT_model))
        TRY(cli_model(c, &path));
    TRY(cli_no_more_words(c));
    if (path)
        TRY(nun_template_open(path, cli_text(c, OPT_template_name), &t));
    int rc = batch ? ask_lines(batch_line, t) : single(c, t);
    nun_template_close(t);
    return rc;
}
