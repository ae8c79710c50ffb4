/* Jinja templates, as chat templates use them: the language of jinja2 3.1 in the environment that the
 * transformers library gives it (trimmed blocks, loop controls, generation blocks, its tojson,
 * strftime_now and raise_exception). Bounded in depth, steps, memory and output; what it does not know
 * is refused when the template is read. Knows nothing of models; chat.c calls it. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_JINJA_H
#define TEXT_JINJA_H
#include <jansson.h>
#include "base/buf.h"
#include "base/span.h"

struct jinja;

/* `place` begins error sentences ("place:line:column: ..."); it and the source are copied. */
int jinja_parse(struct span source, const char *place, struct jinja **out);
/* Append the rendered text to `out`, whose maximum bounds it; context is a JSON object. On failure
 * what was appended is taken back. A template may be rendered by several threads at once. */
int jinja_render(const struct jinja *t, const json_t *context, struct buf *out);
void jinja_free(struct jinja *t); /* NULL is fine */

#endif
