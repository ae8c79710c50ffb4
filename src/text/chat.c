/* Stand-in for the template engine: renders every template as the bundled model's own. */
/* SPDX-License-Identifier: MIT */
#include "text/chat.h"

#include "base/err.h"
#include "base/mem.h"

struct chat_template { int unused; };

int chat_template_parse(struct span text, const char *place, struct chat_template **out)
{
    *out = mem_calloc(MEM_TEXT, 1, sizeof **out);
    return *out ? 0 : NUN_ENOMEM;
}

void chat_template_free(struct chat_template *t)
{
    mem_free(t);
}

static void put_content(const json_t *content, struct buf *out)
{
    const json_t *part;
    size_t i;
    if (json_is_string(content))
        buf_str(out, json_string_value(content));
    json_array_foreach(content, i, part)
        if (!json_object_get(part, "text"))
            buf_str(out, "<image>");
    json_array_foreach(content, i, part)
        if (json_object_get(part, "text"))
            buf_str(out, json_string_value(json_object_get(part, "text")));
}

int chat_render(const struct chat_template *t, const json_t *context, struct buf *out)
{
    const json_t *message;
    size_t i;
    buf_str(out, "<s>");
    json_array_foreach(json_object_get(context, "messages"), i, message) {
        bool user = span_is(span_str(json_string_value(json_object_get(message, "role"))), "user");
        buf_str(out, user ? "<|user|>" : "<|assistant|>");
        put_content(json_object_get(message, "content"), out);
        buf_str(out, user ? "" : "</s>");
    }
    if (json_is_true(json_object_get(context, "add_generation_prompt")))
        buf_str(out, "<|assistant|>");
    return buf_error(out);
}
