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

#endif
