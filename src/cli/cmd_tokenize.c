/* nunchi tokenize: text to ids and back, for scripts and for comparison with other engines. One input
 * on stdin, or with --batch a JSON value a line in and out, flushed line by line. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

struct tool { struct nun_tokenizer *t; unsigned flags; bool decode, json; };

static int encode_line(const struct tool *k, const char *text, size_t len)
{
    int32_t *ids;
    size_t n;
    TRY(nun_tokenizer_encode(k->t, text, len, k->flags, &ids, &n));
    putchar('[');
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i ? ", " : "", ids[i]);
    puts("]");
    nun_free(ids);
    return 0;
}

static int decode_ids(const struct tool *k, const json_t *list)
{
    size_t n = json_array_size(list), len;
    char *text;
    if (!json_is_array(list))
        return err_set(NUN_EFORMAT, "tokenize: expected a JSON array of ids");
    int32_t *ids = mem_calloc(MEM_CLI, n + 1, sizeof *ids);
    if (!ids)
        return NUN_ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        const json_t *id = json_array_get(list, i);
        json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
        if (v < 0 || v > INT32_MAX)
            rc = err_set(NUN_EFORMAT, "tokenize: item %zu: expected an id, found something else", i);
        ids[i] = (int32_t)v;
    }
    if (rc >= 0)
        rc = nun_tokenizer_decode(k->t, ids, n, k->flags & NUN_TEXT_SKIP_SPECIAL, &text, &len);
    mem_free(ids);
    TRY(rc);
    if (k->json)
        cli_print_json(json_stringn(text, len), false);
    else
        term_write(stdout, text, len);
    nun_free(text);
    return 0;
}

static int parse(struct span text, json_t **out)
{
    json_error_t e;
    *out = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    return *out ? 0 : err_set(NUN_EFORMAT, "tokenize: expected JSON: %s at column %d", e.text, e.column);
}

static int batch_line(void *arg, struct span line)
{
    const struct tool *k = arg;
    json_t *v;
    TRY(parse(line, &v));
    int rc = k->decode ? decode_ids(k, v)
           : json_is_string(v) ? encode_line(k, json_string_value(v), json_string_length(v))
           : err_set(NUN_EFORMAT, "tokenize: expected a JSON string a line");
    json_decref(v);
    fflush(stdout);
    return rc;
}

static int single(const struct tool *k)
{
    struct buf text;
    json_t *v = NULL;
    buf_init(&text, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = ask_read("-", &text);
    if (rc >= 0 && k->decode)
        rc = parse(buf_view(&text), &v);
    if (rc >= 0)
        rc = k->decode ? decode_ids(k, v) : encode_line(k, buf_cstr(&text), text.len);
    json_decref(v);
    buf_free(&text);
    return rc;
}

int cmd_tokenize(struct cli *c)
{
    struct tool k = {.decode = cli_flag(c, OPT_decode), .json = c->json || cli_flag(c, OPT_batch)};
    const char *path;
    TRY(cli_model(c, &path));
    TRY(cli_no_more_words(c));
    k.flags = NUN_TEXT_SPECIAL | (cli_flag(c, OPT_no_special) ? NUN_TEXT_SKIP_SPECIAL : NUN_TEXT_ADD_SPECIAL);
    TRY(nun_tokenizer_open(path, &k.t));
    int rc = cli_flag(c, OPT_batch) ? ask_lines(batch_line, &k) : single(&k);
    nun_tokenizer_close(k.t);
    return rc;
}
