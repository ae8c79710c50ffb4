/* Conversations to prompts: messages to the template's variables, the rendered text to ids, with what
 * people typed kept apart from what the template wrote by marks. prompt_render.c makes the text, prompt.c the ids. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_PROMPT_H
#define RUNTIME_PROMPT_H
#include "base/arena.h"
#include "runtime/timeline.h"

/* Templates of models whose folder has none: of those whose vocabulary has these two tokens, and of LLaVA 1.5. */
extern const char prompt_plain_template[], prompt_llava_template[];

/* What the text of a template looks like, for those that refuse to be tried out. Bits of chat_takes. */
int prompt_guess_takes(struct span template_text);

enum prompt_marks {
    PROMPT_PLAIN,   /* pictures behind marks, text as it was typed */
    PROMPT_ESCAPED, /* and special strings in what was typed */
    PROMPT_WHOLE,   /* and every text part as a whole */
};
/* What stands behind a mark: a picture's part, or text that is to stay text. */
struct prompt_piece { const struct nun_part *picture; struct span text; };

/* How the vocabulary spells a token; empty without a tokenizer. */
struct span prompt_token_text(const struct nun_model *m, int32_t id);
/* What a template writes where a picture, or a video, is to stand; empty: the model takes none. */
struct span prompt_mark_text(const struct nun_model *m, bool video);

struct prompt {
    const struct nun_model *m;
    const struct nun_chat *chat;
    enum prompt_marks marks;
    struct prompt_piece *piece; /* [n], by number */
    size_t n, cap;
    struct picture **picture;   /* [pictures] of the conversation, in order; chat may be a part of it, from the beginning */
    size_t pictures, found;     /* found: places for one in the last rendering */
    struct arena arena;         /* texts of pieces */
};

void prompt_init(struct prompt *p, const struct nun_model *m, const struct nun_chat *chat);
void prompt_free(struct prompt *p);
size_t prompt_count(const struct nun_chat *chat); /* pictures */
/* Decode and preprocess the pictures of the chat. prompt_free drops them. */
int prompt_load(struct prompt *p);
/* Append the ids of the chat, or of the part of it that p->chat has been set to. first: nothing stands before it. */
int prompt_ids(struct prompt *p, bool first, struct ids *out);
/* Append the rendered conversation. Pieces of an earlier rendering are forgotten. */
int prompt_render(struct prompt *p, enum prompt_marks marks, struct buf *out);
/* The first mark of `s`: its offset (s.len: none), its length and its piece. */
size_t prompt_next_mark(const struct prompt *p, struct span s, size_t *len, const struct prompt_piece **out);

#endif
