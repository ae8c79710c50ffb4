/* The rows of tags.def, and tags as ids of a vocabulary. */
/* SPDX-License-Identifier: MIT */
#include "models/tags.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"

static void write_none(struct tag_place at, struct buf *out) {}
static void write_1d(struct tag_place at, struct buf *out) { buf_printf(out, "<tile_%d>", at.tile + 1); }
static void write_2d(struct tag_place at, struct buf *out) { buf_printf(out, "<tile_x%d_y%d>", at.x, at.y); }

static void write_box(struct tag_place at, struct buf *out)
{
    buf_printf(out, "<box> (%d, %d), (%d, %d) </box>", at.x * at.side, at.y * at.side, (at.x + 1) * at.side, (at.y + 1) * at.side);
}

#define TAGS(name, doc) {#name, write_##name},
static const struct { const char *name; void (*write)(struct tag_place at, struct buf *out); } rows[TAG_KINDS] = {
#include "models/tags.def"
};
#undef TAGS

void tag_write(enum tag_kind kind, struct tag_place at, struct buf *out)
{
    rows[kind].write(at, out);
}

/* One a tile, or one a place of the widest and the tallest grid together. */
int tag_count(enum tag_kind kind, int most)
{
    return kind == TAGS_none ? 0 : kind == TAGS_1d ? most : most * most;
}

bool tag_at(enum tag_kind kind, int most, int k, struct tag_place *at)
{
    at->tile = k;
    at->x = k % most;
    at->y = k / most;
    return kind == TAGS_1d || (at->x + 1) * (at->y + 1) <= most;
}

/* ---- ids ----------------------------------------------------------------------------------- */

struct tag_facts { enum tag_kind kind; int most, side; };

/* false: the config has its ids, or nothing looks at tags. */
static int needs_ids(const json_t *config, const char *place, struct tag_facts *out)
{
    const char *paradigm = "", *name = rows[TAGS_none].name;
    int64_t most = 6, side = 448;
    TRY(json_get_string(config, place, "paradigm", &paradigm));
    TRY(json_get_string(config, place, "tile_tags", &name));
    TRY(json_get_int(config, place, "vision_config.image_size", 1, 1 << 16, &side));
    TRY(json_get_int(config, place, "image_size", 1, 1 << 16, &side));
    TRY(json_get_int(config, place, "max_tiles", 1, TAG_MOST_TILES, &most));
    *out = (struct tag_facts){TAGS_none, (int)most, (int)side};
    for (int k = 0; k < TAG_KINDS; k++)
        if (!strcmp(rows[k].name, name))
            out->kind = (enum tag_kind)k;
    return !strcmp(paradigm, "hybrid") && out->kind != TAGS_none && !json_dig(config, "tile_tag_ids");
}

static int one_tag(const struct tokenizer *tok, const struct tag_facts *f, int k, json_t *list)
{
    struct buf text;
    struct ids ids = {0};
    struct tag_place at = {.side = f->side};
    int rc = 0;
    buf_init(&text, MEM_MODEL, LIMIT_OF(text_bytes));
    if (tag_at(f->kind, f->most, k, &at))
        tag_write(f->kind, at, &text);
    rc = buf_error(&text);
    if (rc >= 0 && text.len)
        rc = tokenizer_encode(tok, buf_view(&text), TOK_PARSE_SPECIAL, &ids);
    for (size_t i = 0; rc >= 0 && i < ids.n; i++)
        json_array_append_new(list, json_integer(ids.at[i]));
    ids_free(&ids);
    buf_free(&text);
    return rc;
}

int tags_fit(json_t *config, const char *place, const struct tokenizer *tok)
{
    struct tag_facts f;
    int needs = needs_ids(config, place, &f), rc = 0;
    if (needs <= 0)
        return needs;
    unsigned mark = json_mark();
    json_t *all = json_array();
    for (int k = 0; rc >= 0 && k < tag_count(f.kind, f.most); k++) {
        json_t *one = json_array();
        rc = one_tag(tok, &f, k, one);
        json_array_append_new(all, one);
    }
    json_object_set_new(config, "tile_tag_ids", all);
    return rc < 0 ? rc : json_check(mark);
}
