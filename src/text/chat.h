/* Chat templates: a conversation as JSON rendered to the text that a model was trained on. Knows no
 * tokens and no models; the runtime and the command line call it. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H
#include <jansson.h>
#include "base/buf.h"
#include "base/span.h"

struct chat_template;

/* `place` begins error sentences. */
int chat_template_parse(struct span text, const char *place, struct chat_template **out);
void chat_template_free(struct chat_template *t); /* NULL is fine */
/* context: the object of the template's variables (messages, add_generation_prompt, bos_token, ...). */
int chat_render(const struct chat_template *t, const json_t *context, struct buf *out);

/* How a template takes a message's content, found by rendering a word both ways. */
enum chat_takes {
    CHAT_TAKES_STRING = 1, /* "content": "..." */
    CHAT_TAKES_PARTS = 2,  /* "content": [{"type": "text", "text": "..."}, ...] */
};
/* Bits of chat_takes; 0 when neither way shows the word. `specials`: bos_token and its like for templates
 * that need them; NULL: none. Negative when memory fails. */
int chat_takes(const struct chat_template *t, const json_t *specials);

/* Append the text of the template of a folder, a .gguf file, or a Jinja file; `name`: one of several
 * ("tool_use"), NULL: the default one. `place` becomes the path of the file that has it. 1: there is none. */
enum { CHAT_PATH = 4096 };
int chat_template_find(const char *path, const char *name, char place[CHAT_PATH], struct buf *text);
/* Add bos_token, eos_token, ... of that folder or file to the context, where it has none of that name. */
int chat_special_tokens(const char *path, json_t *context);

#endif
