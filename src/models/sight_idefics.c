/* Idefics 2: tiles of any shape, latents that look at them. Idefics 3 and SmolVLM: rows of tiles and the whole picture,
 * each behind a tag; a video's frames, each behind its time. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/sight.h"
#include "nn/connector.h"
#include "nn/perceiver.h"

#define FAKE "<fake_token_around_image>"

static void put_tokens(const struct sight_text *t, int n, struct buf *out)
{
    for (int i = 0; i < n; i++)
        buf_span(out, t->token);
}

/* ---- Idefics 2 ----------------------------------------------------------------------------- */

/* Whole patches of picture: what is padded does not count, so that neighbours do not matter. */
struct patches { int rows, cols; };
static struct patches patches_of(const struct nn_facts *f, const struct preprocess_plan *p, int tile)
{
    bool quarter = p->columns * p->rows > 1 && tile != p->overview;
    int width = quarter ? p->quarter[tile][0] : p->inside_width, height = quarter ? p->quarter[tile][1] : p->inside_height;
    return (struct patches){height / f->patch, width / f->patch};
}

static int latents_features(const struct model *m, const struct preprocess_plan *p)
{
    for (int i = 0; i < p->tiles; i++) {
        struct patches n = patches_of(&m->vision.facts, p, i);
        if (n.rows < 1 || n.cols < 1)
            return 0;
    }
    return p->tiles * m->more[0].facts.positions;
}

/* Row or column i of n lies at floor(i * side / n) of the learned grid. */
static struct g_tensor *positions(struct graph *g, const struct nn_stack *s, struct patches n)
{
    int side = (int)lround(sqrt(s->facts.positions));
    int32_t *at = arena_array(&g->arena, (size_t)n.rows * (size_t)n.cols, sizeof *at);
    for (int i = 0; at && i < n.rows * n.cols; i++)
        at[i] = i / n.cols * side / n.rows * side + i % n.cols * side / n.cols;
    return at ? g_gather_rows(g, g_param(g, s->w[NN_pos_w]), g_const(g, DT_I32, SHAPE1(n.rows * n.cols), at, true)) : NULL;
}

/* One tile: pixels [1, 3, H, W] -> [latents, hidden]. */
static struct g_tensor *latents_tile(struct graph *g, const struct model *m, struct g_tensor *pixels, struct patches n)
{
    const struct nn_stack *v = &m->vision;
    const struct nn_facts *f = &v->facts;
    struct nn_seq seq = nn_seq_full(g, 1, n.rows * n.cols);
    pixels = g_slice(g, g_slice(g, pixels, 2, 0, (int64_t)n.rows * f->patch), 3, 0, (int64_t)n.cols * f->patch);
    struct g_tensor *x = nn_linear(g, v->w[NN_patch_w], v->w[NN_patch_b], g_unfold(g, pixels, f->patch), NULL, ACT_NONE);
    x = nn_blocks(g, v, g_add(g, x, positions(g, v, n)), &seq, 0, f->layers);
    x = nn_norm(g, f, v->w[NN_post_norm_w], v->w[NN_post_norm_b], x);
    struct g_tensor *gate = nn_linear(g, m->w[NN_conn_gate_w], NULL, x, NULL, ACT_NONE);
    x = g_glu(g, gate, nn_linear(g, m->w[NN_conn_up_w], NULL, x, NULL, ACT_NONE), (enum act_kind)m->text.facts.act);
    x = nn_linear(g, m->w[NN_conn_down_w], NULL, x, NULL, ACT_NONE);
    return nn_resample(g, &m->more[0], x, 1, n.rows * n.cols);
}

static struct g_tensor *latents_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    struct g_tensor *all = NULL;
    for (int i = 0; i < n * p->tiles && !g->error; i++) {
        struct g_tensor *tile = n * p->tiles == 1 ? pixels : g_slice(g, pixels, 0, i, i + 1);
        struct g_tensor *both[] = {all, latents_tile(g, m, tile, patches_of(&m->vision.facts, p, i % p->tiles))};
        all = all ? g_concat(g, 0, 2, both) : both[1];
    }
    return all;
}

/* Neighbours share the token between them. */
static int latents_spell(const struct sight_text *t, struct buf *out)
{
    struct span fake = SPAN(FAKE), before = buf_view(out);
    bool shared = before.len >= fake.len && !memcmp(before.ptr + before.len - fake.len, fake.ptr, fake.len);
    buf_span(out, shared ? (struct span){0} : fake);
    for (int i = 0; i < t->plan->tiles; i++) {
        put_tokens(t, t->features / t->plan->tiles, out);
        buf_span(out, fake);
    }
    return buf_error(out);
}

const struct sight_row sight_latents = {
    "latents", "native shape, a few latents that look at the patches", latents_features, latents_build, .mark = "<image>",
    .spell = latents_spell};

/* ---- Idefics 3 ----------------------------------------------------------------------------- */

static int split_features(const struct model *m, const struct preprocess_plan *p)
{
    const struct nn_facts *f = &m->vision.facts;
    int side = f->image_size / f->patch, step = m->facts.merge;
    bool fits = p->tile_width == f->image_size && p->tile_height == f->image_size && side % step == 0;
    return fits ? p->tiles * (side / step) * (side / step) : 0;
}

static struct g_tensor *split_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    int tokens, tiles = n * p->tiles, step = m->facts.merge;
    struct g_tensor *x = sight_tower(g, m, pixels, &tokens);
    int side = (int)lround(sqrt(tokens));
    x = nn_squares(g, x, tiles, side, side, step, false);
    x = g_reshape(g, x, SHAPE2((int64_t)tiles * tokens / (step * step), (int64_t)step * step * m->vision.facts.hidden));
    return nn_linear(g, m->w[NN_conn_1_w], NULL, x, NULL, ACT_NONE);
}

static int split_spell(const struct sight_text *t, struct buf *out)
{
    const struct preprocess_plan *p = t->plan;
    int each = t->features / p->tiles;
    for (int y = 0; y < p->rows && p->tiles > 1; y++) {
        for (int x = 0; x < p->columns; x++) {
            buf_printf(out, FAKE "<row_%d_col_%d>", y + 1, x + 1);
            put_tokens(t, each, out);
        }
        buf_str(out, "\n");
    }
    buf_str(out, p->tiles > 1 ? "\n" FAKE "<global-img>" : FAKE "<global-img>");
    put_tokens(t, each, out);
    buf_str(out, FAKE);
    return buf_error(out);
}

const struct sight_row sight_split_tiles = {
    "split_tiles", "rows of tiles, then the whole picture, each behind a tag in text", split_features, split_build, .mark = "<image>",
    .spell = split_spell};

/* ---- SmolVLM's videos ---------------------------------------------------------------------- */

/* n below 1000, in words. */
static void put_hundreds(int n, struct buf *out)
{
    static const char *const small[] = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
                                        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
    static const char *const tens[] = {"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};
    int rest = n % 100;
    if (n >= 100)
        buf_printf(out, "%s hundred%s", small[n / 100], rest ? " and " : "");
    if (rest >= 20)
        buf_printf(out, "%s%s%s", tens[rest / 10], rest % 10 ? "-" : "", rest % 10 ? small[rest % 10] : "");
    else if (rest || !n)
        buf_str(out, small[rest]);
}

/* n below a million. */
static void put_words(int n, struct buf *out)
{
    int rest = n % 1000;
    if (n >= 1000) {
        put_hundreds(n / 1000, out);
        buf_str(out, !rest ? " thousand" : rest < 100 ? " thousand and " : " thousand, ");
    }
    if (rest || n < 1000)
        put_hundreds(rest, out);
}

static void put_length(int64_t seconds, struct buf *out)
{
    int days = (int)(seconds / 86400), rest = (int)(seconds % 86400);
    if (days)
        buf_printf(out, "%d day%s, ", days, days > 1 ? "s" : "");
    buf_printf(out, "%d:%02d:%02d", rest / 3600, rest / 60 % 60, rest % 60);
}

/* The length is the last frame's time, as the original has it of frames without a file. */
static int timed_spell(const struct sight_text *t, struct buf *out)
{
    int frames = t->plan->frames, each = t->features / frames;
    double fps = t->seconds > 0 ? 1 / t->seconds : 0;
    if (!t->plan->video)
        return split_spell(t, out);
    buf_str(out, "You are provided the following series of ");
    put_words(frames, out);
    buf_str(out, " frames from a ");
    put_length((int64_t)((frames - 1) / fps), out);
    buf_str(out, " [H:MM:SS] video.\n");
    for (int i = 0; i < frames; i++) {
        int64_t at = (int64_t)(i / fps);
        buf_printf(out, "\nFrame from %02d:%02d:" FAKE "<global-img>", (int)(at / 60), (int)(at % 60));
        put_tokens(t, each, out);
        buf_str(out, FAKE);
    }
    buf_str(out, "\n\n");
    return buf_error(out);
}

const struct sight_row sight_timed_tiles = {
    "timed_tiles", "the same, and videos whose frames are a tile each, behind their time in text", split_features, split_build,
    .mark = "<image>", .video_mark = "<video>", .spell = timed_spell, .videos_alike = true,
    .video_template =
        "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
        "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
        "{% else %}<{{ part['type'] }}>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"};
