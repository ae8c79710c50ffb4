/* One conversation as it is learnt: what serving would make of it, answer by answer. The assistant's tokens are those by which
 * the conversation grows from "open the answer" to "it is given", so a template says itself where they are. */
/* SPDX-License-Identifier: MIT */
#include "train/talk.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "runtime/prompt.h"

/* ---- the sample as messages -------------------------------------------------------------------- */

struct speech {
    struct arena arena;
    struct nun_chat chat;
    struct nun_message *message;
    int system;                /* messages before the first question */
};

/* Pictures of a question stand before its text. */
static int ask(struct speech *v, const struct dataset *d, const struct data_sample *s, const struct data_turn *turn, int first)
{
    enum { PATH = 4096 };
    struct nun_part *part = arena_array(&v->arena, (size_t)turn->images + 1, sizeof *part);
    if (!part)
        return NUN_ENOMEM;
    for (int i = 0; i < turn->images; i++) {
        char path[PATH];
        TRY(dataset_image_path(d, s, first + i, path, sizeof path));
        part[i] = (struct nun_part){.kind = NUN_PART_IMAGE_FILE, .text = arena_strdup(&v->arena, path)};
        if (!part[i].text)
            return NUN_ENOMEM;
    }
    part[turn->images] = (struct nun_part){.text = turn->question};
    v->message[v->chat.n_messages++] = (struct nun_message){.role = "user", .parts = part, .n_parts = (size_t)turn->images + 1};
    return 0;
}

static int say(struct speech *v, const char *role, const char *text)
{
    struct nun_part *part = arena_array(&v->arena, 1, sizeof *part);
    if (!part)
        return NUN_ENOMEM;
    *part = (struct nun_part){.text = text};
    v->message[v->chat.n_messages++] = (struct nun_message){.role = role, .parts = part, .n_parts = 1};
    return 0;
}

static int make_speech(const struct dataset *d, const struct data_sample *s, int turns, struct speech *v)
{
    int picture = 0;
    arena_init(&v->arena, MEM_TRAIN, 0);
    if (!(v->message = arena_array(&v->arena, 2 * (size_t)turns + 1, sizeof *v->message)))
        return NUN_ENOMEM;
    v->chat = (struct nun_chat){.messages = v->message, .no_generation_prompt = true};
    if (s->system)
        TRY(say(v, "system", s->system));
    v->system = (int)v->chat.n_messages;
    for (int i = 0; i < turns; i++) {
        TRY(ask(v, d, s, &s->turn[i], picture));
        TRY(say(v, "assistant", s->turn[i].answer));
        picture += s->turn[i].images;
    }
    return 0;
}

/* ---- which tokens are the assistant's ------------------------------------------------------------ */

/* The conversation as ids, and of each turn: where its answer begins, ends, and how long the conversation is with it. */
struct spoken { struct ids whole, part; struct { size_t from, to, length; } *turn; };

static bool is_end(const struct nun_model *m, int32_t id)
{
    bool end = id == tokenizer_role(m->tokenizer, TOK_EOS);
    for (int i = 0; i < m->n_ends; i++)
        end = end || id == m->ends[i];
    return end;
}

static size_t common(const struct ids *a, const struct ids *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->at[n] == b->at[n])
        n++;
    return n;
}

/* The ids of the first n messages; open: and what opens the next answer. */
static int ids_of(struct prompt *p, size_t n, bool open, struct ids *out)
{
    const struct nun_chat *all = p->chat;
    struct nun_chat part = *all;
    part.n_messages = n;
    part.no_generation_prompt = !open;
    p->chat = &part;
    out->n = 0;
    int rc = prompt_ids(p, true, out);
    p->chat = all;
    return rc;
}

/* Where turn i is answered. Of what came before an answer the last tokens may grow together with it; a template that writes an
 * old answer in another way than a new one must close it with a token that says so. */
static int find_answer(struct prompt *p, const struct speech *v, int i, bool last, struct spoken *out)
{
    enum { JOINED = 2 };
    const struct ids *whole = &out->whole;
    size_t question = (size_t)(v->system + 2 * i + 1);
    TRY(ids_of(p, question, true, &out->part));
    size_t from = common(&out->part, whole), to = whole->n, length = whole->n;
    if (from + JOINED < out->part.n)
        return err_set(NUN_EUNSUP, "answer %d: the chat template opens it with %zu tokens, of which the finished conversation has the first %zu",
                       i + 1, out->part.n, from);
    if (!last) {
        TRY(ids_of(p, question + 1, false, &out->part));
        to = common(&out->part, whole);
        length = out->part.n;
    }
    bool grows = last || to + JOINED >= length;
    size_t end = from;
    while (end < (grows ? to : whole->n) && !is_end(p->m, whole->at[end]))
        end++;
    bool ended = end < (grows ? to : whole->n);
    if (!grows && !ended)
        return err_set(NUN_EUNSUP, "answer %d: the chat template writes it otherwise once more follows, and no token ends it", i + 1);
    out->turn[i].from = from;
    out->turn[i].to = ended ? end + 1 : to;
    out->turn[i].length = length;
    return 0;
}

static bool is_blank(const struct nun_model *m, int32_t id)
{
    char bytes[8];
    struct buf text;
    buf_init(&text, MEM_TRAIN, sizeof bytes);
    bool blank = !tokenizer_is_special(m->tokenizer, id) && tokenizer_bytes(m->tokenizer, tokenizer_plain_token(m->tokenizer), id, &text) >= 0 &&
                 text.len && strspn(buf_cstr(&text), " \n\t") == text.len;
    buf_free(&text);
    return blank;
}

/* Behind the last answer a template may write no end: then the model would never learn to stop. */
static int close_answer(const struct nun_model *m, int last, struct spoken *v)
{
    struct ids *ids = &v->whole;
    int32_t eos = tokenizer_role(m->tokenizer, TOK_EOS);
    eos = eos < 0 && m->n_ends ? m->ends[0] : eos;
    if (eos < 0 || v->turn[last].to < ids->n || (ids->n && is_end(m, ids->at[ids->n - 1])))
        return 0;
    while (ids->n > v->turn[last].from && is_blank(m, ids->at[ids->n - 1]))
        ids->n--;
    TRY(ids_push(ids, eos));
    v->turn[last].to = v->turn[last].length = ids->n;
    return 0;
}

static int find_answers(struct prompt *p, const struct speech *v, int turns, struct spoken *out)
{
    TRY(ids_of(p, v->chat.n_messages, false, &out->whole));
    for (int i = 0; i < turns; i++)
        TRY(find_answer(p, v, i, i + 1 == turns, out));
    return close_answer(p->m, turns - 1, out);
}

/* Where features depend on what is asked, a picture reads what stands in its question, as when it is served: its first prompt. */
static int tell_pictures(const struct prompt *p, const struct data_sample *s, int turns)
{
    struct buf text;
    size_t k = 0;
    int rc = 0;
    buf_init(&text, MEM_TRAIN, LIMIT_OF(text_bytes));
    for (int i = 0; i < turns && rc >= 0; i++) {
        buf_reset(&text);
        buf_str(&text, i || !s->system ? "" : s->system);
        buf_str(&text, s->turn[i].question);
        rc = buf_error(&text);
        for (int n = 0; n < s->turn[i].images && rc >= 0; n++)
            rc = picture_tell(p->m, p->picture[k++], buf_view(&text));
    }
    buf_free(&text);
    return rc;
}

/* ---- the sequence -------------------------------------------------------------------------------- */

/* The first prompt is laid as one, as it is when it is served: its tokens may see each other. */
static int lay(struct nun_timeline *line, struct prompt *p, const struct ids *ids, size_t first, size_t pictures)
{
    struct picture **behind = p->picture + pictures;
    size_t rest = p->pictures - pictures;
    p->pictures = 0; /* taken over */
    int rc = timeline_append(line, ids->at, first, p->picture, pictures);
    if (rc >= 0)
        return timeline_append(line, ids->at + first, ids->n - first, behind, rest);
    while (rest)
        picture_drop(behind[--rest]);
    return rc;
}

static int make_line(struct nun_model *m, struct prompt *p, const struct spoken *v, int turns, size_t pictures, struct talk *out)
{
    TRY(nun_timeline_create(m, &out->line));
    TRY(lay(out->line, p, &v->whole, v->turn[0].from, pictures));
    out->tokens = (int)v->whole.n;
    if (!(out->learnt = mem_calloc(MEM_TRAIN, v->whole.n, sizeof *out->learnt)))
        return NUN_ENOMEM;
    for (int i = 0; i < turns; i++)
        for (size_t k = v->turn[i].from ? v->turn[i].from : 1; k < v->turn[i].to; k++, out->labels++)
            out->learnt[k] = true;
    return 0;
}

/* fit: how many turns would fit when not all do. */
static int make(struct nun_model *m, const struct dataset *d, const struct data_sample *s, int turns, int most, struct talk *out, int *fit)
{
    struct speech v = {0};
    struct spoken spoken = {0};
    struct prompt p;
    int rc = make_speech(d, s, turns, &v);
    prompt_init(&p, m, &v.chat);
    if (rc >= 0)
        rc = prompt_load(&p);
    if (rc >= 0 && !(spoken.turn = arena_array(&v.arena, (size_t)turns, sizeof *spoken.turn)))
        rc = NUN_ENOMEM;
    if (rc >= 0)
        rc = find_answers(&p, &v, turns, &spoken);
    *fit = turns;
    while (rc >= 0 && *fit && spoken.turn[*fit - 1].length > (size_t)most)
        --*fit;
    if (rc >= 0 && *fit < turns)
        snprintf(out->cut, sizeof out->cut, "%zu tokens, room for %d", spoken.whole.n, most);
    if (rc >= 0 && *fit == turns && m->told)
        rc = tell_pictures(&p, s, turns);
    if (rc >= 0 && *fit == turns)
        rc = make_line(m, &p, &spoken, turns, (size_t)s->turn[0].images, out);
    ids_free(&spoken.whole);
    ids_free(&spoken.part);
    prompt_free(&p);
    arena_free(&v.arena);
    return rc;
}

int talk_make(struct nun_model *m, const struct dataset *d, const struct data_sample *s, int most, struct talk *out)
{
    int turns = s->turns, fit = 0, rc = 0;
    *out = (struct talk){0};
    do { /* what fits of a long one is made anew: pictures that come together may be cut otherwise */
        rc = make(m, d, s, turns, most, out, &fit);
        bool done = fit == turns;
        turns = fit;
        if (done)
            break;
    } while (rc >= 0 && turns);
    if (rc >= 0 && turns < s->turns) {
        char why[64];
        snprintf(why, sizeof why, "%.63s", out->cut);
        snprintf(out->cut, sizeof out->cut, "line %zu, sample %.48s: %s: %d of %d questions are left out", s->line, s->id, why,
                 s->turns - turns, s->turns);
    }
    if (rc < 0) {
        talk_free(out);
        return err_at(rc, "%s:%zu: sample %s", dataset_path(d), s->line, s->id);
    }
    return 0;
}

void talk_free(struct talk *t)
{
    nun_timeline_free(t->line);
    mem_free(t->learnt);
    *t = (struct talk){0};
}
