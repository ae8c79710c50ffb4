/* Chat templates over the Jinja engine, and what they take: content as one string, as a list of parts, or
 * either. No file says that, so a word is rendered both ways and looked for in the result. */
/* SPDX-License-Identifier: MIT */
#include "text/chat.h"

#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "text/jinja.h"

struct chat_template { struct jinja *jinja; };

int chat_template_parse(struct span text, const char *place, struct chat_template **out)
{
    struct chat_template *t = mem_calloc(MEM_TEXT, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    int rc = jinja_parse(text, place, &t->jinja);
    if (rc < 0) {
        mem_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void chat_template_free(struct chat_template *t)
{
    if (t)
        jinja_free(t->jinja);
    mem_free(t);
}

int chat_render(const struct chat_template *t, const json_t *context, struct buf *out)
{
    return jinja_render(t->jinja, context, out);
}

/* ---- what a template takes ------------------------------------------------------------------------------ */

#define PROBE "zqxprobe"

/* {"messages": [{"role": "user", "content": content}], ...}; takes `content`. */
static json_t *probe_context(json_t *content, const json_t *specials)
{
    json_t *context = json_pack("{s:[{s:s, s:o}], s:b, s:n, s:n}", "messages", "role", "user", "content", content,
                                "add_generation_prompt", 1, "tools", "documents");
    if (context && specials)
        json_object_update(context, (json_t *)(uintptr_t)specials);
    return context;
}

/* Is the word there, and not inside a printed dict? */
static bool shows_word(struct span text)
{
    static const char *const dicts[] = {"'" PROBE "'", "\"" PROBE "\""};
    for (size_t i = 0; i < sizeof dicts / sizeof dicts[0]; i++)
        if (memmem(text.ptr, text.len, dicts[i], strlen(dicts[i])))
            return false;
    return text.len && memmem(text.ptr, text.len, PROBE, sizeof PROBE - 1);
}

/* 1: this content came out. A template's refusal is an answer; memory that fails is not. */
static int probe(const struct chat_template *t, json_t *content, const json_t *specials)
{
    struct buf out;
    unsigned mark = json_mark();
    json_t *context = probe_context(content, specials);
    int rc = context ? json_check(mark) : err_nomem(0);
    buf_init(&out, MEM_TEXT, LIMIT_OF(text_bytes));
    if (rc >= 0)
        rc = chat_render(t, context, &out);
    bool shown = rc >= 0 && shows_word(buf_view(&out));
    buf_free(&out);
    json_decref(context);
    if (rc == NUN_ENOMEM)
        return rc;
    if (rc < 0)
        err_clear();
    return shown;
}

int chat_takes(const struct chat_template *t, const json_t *specials)
{
    int string = probe(t, json_string(PROBE), specials);
    TRY(string);
    int parts = probe(t, json_pack("[{s:s, s:s}]", "type", "text", "text", PROBE), specials);
    TRY(parts);
    return (string ? CHAT_TAKES_STRING : 0) | (parts ? CHAT_TAKES_PARTS : 0);
}
