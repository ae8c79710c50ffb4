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

/* Append the text of a folder's template: chat_template.jinja, chat_template.json or tokenizer_config.json,
 * the first that has it; `name`: one of several ("tool_use"), NULL: the default one. `place` becomes the
 * file's path. 1: there is none. */
enum { CHAT_PATH = 4096 };
int chat_template_find(const char *folder, const char *name, char place[CHAT_PATH], struct buf *text);
/* Add bos_token, eos_token, ... of the folder's tokenizer to the context, where it has none of that name. */
int chat_special_tokens(const char *folder, json_t *context);

#endif
