/* Conversations to prompts: messages to the template's variables, the rendered text to ids, with what
 * people typed kept apart from what the template wrote. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_PROMPT_H
#define RUNTIME_PROMPT_H
#include "runtime/timeline.h"

/* The template of models whose folder has none but whose vocabulary has these two tokens. */
extern const char prompt_plain_template[];

/* Does the template take a message's content as a list of parts, or as one string? */
bool prompt_wants_parts(struct span template_text);

#endif
