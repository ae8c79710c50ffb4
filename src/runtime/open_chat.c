/* A model's chat templates: the default one, one for tools where the model has it, and the special tokens
 * that they write. open.c calls it; prompt_render.c uses what it finds. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "formats/json.h"
#include "models/sight.h"
#include "runtime/open.h"
#include "runtime/prompt.h"

/* What the folder says, and for what it leaves out what the tokenizer knows. */
static int open_specials(struct nun_model *m, const char *folder)
{
    static const struct { const char *name; enum tok_role role; } rows[] = {
        {"bos_token", TOK_BOS}, {"eos_token", TOK_EOS}, {"pad_token", TOK_PAD}, {"unk_token", TOK_UNK}};
    unsigned mark = json_mark();
    m->specials = json_object();
    if (!m->specials)
        return err_nomem(0);
    TRY(chat_special_tokens(folder, m->specials));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && m->tokenizer; i++) {
        int32_t id = tokenizer_role(m->tokenizer, rows[i].role);
        struct span piece = id >= 0 ? tokenizer_token(m->tokenizer, id) : (struct span){0};
        if (piece.ptr && !json_object_get(m->specials, rows[i].name))
            json_object_set_new(m->specials, rows[i].name, json_stringn(piece.ptr, piece.len));
    }
    return json_check(mark);
}

static int set_template(const struct nun_model *m, struct span text, const char *place, struct engine_chat *out)
{
    TRY(chat_template_parse(text, place, &out->template));
    int takes = chat_takes(out->template, m->specials);
    TRY(takes);
    out->takes = takes ? takes : prompt_guess_takes(text);
    return 0;
}

/* 1: there is none of that name. */
static int find_template(const struct nun_model *m, const char *folder, const char *name, struct engine_chat *out)
{
    char place[CHAT_PATH];
    struct buf text;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    int rc = chat_template_find(folder, name, place, &text);
    if (rc == 0)
        rc = set_template(m, buf_view(&text), place, out);
    buf_free(&text);
    return rc;
}

int open_chat(struct nun_model *m, const char *folder, const char *own)
{
    TRY(open_specials(m, folder));
    const struct sight_row *row = m->model->family->sight;
    if (!own && row && row->video_template)
        TRY(set_template(m, span_str(row->video_template), "the family's template of videos", &m->video_chat));
    if (own)
        return set_template(m, span_str(own), "chat template", &m->chat);
    int rc = find_template(m, folder, NULL, &m->chat);
    if (rc == 0)
        rc = find_template(m, folder, "tool_use", &m->tool_chat);
    else if (rc > 0 && row && row->template)
        rc = set_template(m, span_str(row->template), "the family's template", &m->chat);
    else if (rc > 0 && model_is_behind(m->model, m->model->facts.image_token))
        rc = set_template(m, span_str(prompt_llava_template), "LLaVA's template", &m->chat);
    else if (rc > 0 && nun_token_id(m, "<|user|>") >= 0 && nun_token_id(m, "<|assistant|>") >= 0)
        rc = set_template(m, span_str(prompt_plain_template), "plain template", &m->chat);
    return rc < 0 ? rc : 0;
}

void close_chat(struct nun_model *m)
{
    chat_template_free(m->chat.template);
    chat_template_free(m->tool_chat.template);
    chat_template_free(m->video_chat.template);
    json_decref(m->specials);
}
