/* Normalizers: text in, text out, one row a type. They see the text between added tokens. */
/* SPDX-License-Identifier: MIT */
#include <utf8proc.h>
#include "text/tok_int.h"

static int run_prepend(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    if (in.len)
        buf_span(out, s->a);
    buf_span(out, in);
    return 0;
}

static int parse_prepend(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    return tok_json_text(t, o, path, "prepend", &s->a);
}

static int run_replace(const struct tok_step *s, struct tok_work *w, struct span in, struct buf *out)
{
    size_t done = 0;
    for (size_t from, to, at = 0; at <= in.len; at = to > from ? to : to + 1) {
        int rc = tok_find(s, w, in, at, &from, &to);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        buf_append(out, in.ptr + done, from - done);
        buf_span(out, s->b);
        done = to;
    }
    buf_span(out, span_from(in, done));
    return 0;
}

static int parse_replace(struct tokenizer *t, struct tok_step *s, const json_t *o, const char *path)
{
    TRY(tok_json_pattern(t, o, path, s));
    return tok_json_text(t, o, path, "content", &s->b);
}

static const struct tok_row rows[] = {
    {"Sequence", NULL, NULL, {0}},
    {"Prepend", "prepend", parse_prepend, {.normalize = run_prepend}},
    {"Replace", "pattern content", parse_replace, {.normalize = run_replace}},
    {NULL},
};
const struct tok_stage tok_normalizers = {"normalizer", "normalizers", rows};

int tok_normalize(const struct tok_steps *steps, struct tok_work *w, struct span in, struct span *out)
{
    struct buf b;
    int rc = 0;
    buf_init(&b, MEM_TEXT, 4 * LIMIT_OF(text_bytes));
    for (size_t i = 0; rc == 0 && i < steps->n; i++) {
        buf_reset(&b);
        rc = steps->at[i].row->run.normalize(&steps->at[i], w, in, &b);
        if (rc == 0)
            rc = buf_error(&b);
        char *kept = rc == 0 ? arena_strndup(&w->mem, buf_cstr(&b), b.len) : NULL;
        if (rc == 0 && !kept)
            rc = NUN_ENOMEM;
        in = span_of(kept, b.len);
    }
    buf_free(&b);
    if (rc == 0)
        *out = in;
    return rc;
}
