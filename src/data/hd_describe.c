/* A large picture in words, in a fixed spelling: the text-only twin that every question can be answered from.
 * Also the text to train a tokenizer on. Knows no pixels. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "data/hd.h"
#include "data/scenes_words.h"

static void separate(struct buf *out, size_t start)
{
    if (out->len > start)
        buf_str(out, " ; ");
}

static void describe_bars(const struct hd_chart *c, struct buf *out)
{
    bool said[HD_MAX_BARS] = {false};
    buf_str(out, "bars");
    for (int n = 0; n < c->count; n++) {
        int best = -1;
        for (int i = 0; i < c->count; i++)
            if (!said[i] && (best < 0 || c->bar[i].height > c->bar[best].height))
                best = i;
        said[best] = true;
        buf_printf(out, " %s", scene_colours[c->bar[best].colour].name);
    }
}

int hd_describe(const struct hd_scene *s, struct buf *out)
{
    size_t start = out->len;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *o = &s->object[i];
        char noun[PHRASE];
        thing_phrase(noun, thing_said(o, (struct say){true, true, true}), false);
        separate(out, start);
        buf_printf(out, "%s %s", noun, scene_position_names[hd_position(s, o->x, o->y)]);
    }
    for (int i = 0; i < s->words; i++) {
        const struct hd_word *w = &s->word[i];
        separate(out, start);
        buf_printf(out, "%s %s plate %s", w->inside ? "on" : "next to", scene_colours[w->colour].name, w->print.chars);
    }
    if (s->heading.chars[0]) {
        separate(out, start);
        buf_printf(out, "heading %s", s->heading.chars);
    }
    if (s->chart.count) {
        separate(out, start);
        describe_bars(&s->chart, out);
    }
    return buf_error(out);
}

int hd_corpus(const struct hd_config *cfg, uint64_t seed, int n, struct buf *out)
{
    enum { PER_PICTURE = 12 };
    TRY(hd_config_check(cfg));
    struct scene_qa qa[PER_PICTURE];
    for (int i = 0; i < n; i++) {
        struct hd_scene s;
        hd_make(cfg, seed, (uint64_t)i, &s);
        TRY(hd_describe(&s, out));
        buf_char(out, '\n');
        int m = hd_questions(cfg, &s, qa, PER_PICTURE);
        for (int k = 0; k < m; k++)
            buf_printf(out, "%s\n%s\n", qa[k].question, qa[k].answer);
    }
    return buf_error(out);
}
