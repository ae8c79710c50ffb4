/* The public door to chat templates alone (nunchi/tools.h): rendered for scripts and for comparison with
 * other engines. Thin: text/chat.h does the work. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "nunchi/tools.h"
#include "text/chat.h"

#define PUBLIC __attribute__((visibility("default")))

struct nun_template {
    struct chat_template *of;
    json_t *specials; /* NULL: none */
};

PUBLIC void nun_template_close(struct nun_template *t)
{
    if (t) {
        chat_template_free(t->of);
        json_decref(t->specials);
    }
    mem_free(t);
}

PUBLIC int nun_template_parse(const char *text, size_t len, const char *place, struct nun_template **out)
{
    struct nun_template *t = mem_calloc(MEM_RUNTIME, 1, sizeof *t);
    int rc = t ? chat_template_parse(span_of(text, len), place, &t->of) : NUN_ENOMEM;
    if (rc < 0)
        nun_template_close(t);
    else
        *out = t;
    return rc;
}

static int open_specials(const char *path, struct nun_template *t)
{
    unsigned mark = json_mark();
    t->specials = json_object();
    if (!t->specials)
        return err_nomem(0);
    TRY(chat_special_tokens(path, t->specials));
    return json_check(mark);
}

PUBLIC int nun_template_open(const char *path, const char *name, struct nun_template **out)
{
    char place[CHAT_PATH];
    struct nun_template *t = NULL;
    struct buf text;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = chat_template_find(path, name, place, &text);
    if (rc > 0)
        rc = err_set(NUN_EFORMAT, "%s: there is no chat template%s%s", path, name ? " called " : "", name ? name : "");
    else if (rc == 0 && !text.len)
        rc = err_set(NUN_EFORMAT, "%s: this chat template is empty", place);
    if (rc >= 0)
        rc = nun_template_parse(buf_cstr(&text), text.len, place, &t);
    if (rc >= 0)
        rc = open_specials(path, t);
    buf_free(&text);
    if (rc < 0)
        nun_template_close(t);
    else
        *out = t;
    return rc;
}

/* What the context does not have comes from the model. */
static int add_specials(const struct nun_template *t, json_t *context)
{
    if (!json_is_object(context))
        return err_set(NUN_EARG, "context: expected a JSON object");
    return t->specials && json_object_update_missing(context, t->specials) ? err_nomem(0) : 0;
}

PUBLIC int nun_template_render(const struct nun_template *t, const char *context, size_t context_len, char **text, size_t *len)
{
    json_t *parsed;
    struct buf b;
    TRY(json_parse_span(span_of(context, context_len), "context", &parsed));
    buf_init(&b, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = add_specials(t, parsed);
    if (rc >= 0)
        rc = chat_render(t->of, parsed, &b);
    json_decref(parsed);
    buf_append(&b, "", 0);
    if (rc >= 0)
        rc = buf_error(&b);
    size_t n = b.len;
    char *bytes = rc >= 0 ? buf_take(&b) : NULL;
    buf_free(&b);
    if (rc < 0 || !bytes)
        return rc < 0 ? rc : NUN_ENOMEM;
    *text = bytes;
    if (len)
        *len = n;
    return 0;
}
