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

/* false: nothing looks at tags. */
static int looks_at_tags(const json_t *config, const char *place, struct tag_facts *out)
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
    return !strcmp(paradigm, "hybrid") && out->kind != TAGS_none;
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

/* A list of ids for each tag; *out is the caller's, also after an error. */
static int all_tags(const struct tokenizer *tok, const struct tag_facts *f, json_t **out)
{
    unsigned mark = json_mark();
    *out = json_array();
    for (int k = 0; k < tag_count(f->kind, f->most); k++) {
        json_t *one = json_array();
        json_array_append_new(*out, one);
        TRY(one_tag(tok, f, k, one));
    }
    return json_check(mark);
}

int tags_fit(json_t *config, const char *place, const struct tokenizer *tok)
{
    struct tag_facts f;
    json_t *all;
    int looks = looks_at_tags(config, place, &f);
    if (looks <= 0 || json_dig(config, "tile_tag_ids"))
        return looks < 0 ? looks : 0;
    int rc = all_tags(tok, &f, &all);
    json_object_set_new(config, "tile_tag_ids", all);
    return rc;
}

static int differs(const char *place, size_t k, const json_t *says, const json_t *given)
{
    struct buf a, b;
    buf_init(&a, MEM_MODEL, LIMIT_OF(text_bytes));
    buf_init(&b, MEM_MODEL, LIMIT_OF(text_bytes));
    int rc = json_write(says, JSON_LINE, &a);
    if (rc >= 0 && given)
        rc = json_write(given, JSON_LINE, &b);
    if (rc >= 0)
        rc = err_set(NUN_EFORMAT, "%s: tile_tag_ids[%zu]: expected %.200s, as the tokenizer spells the tag, found %.200s", place, k,
                     buf_cstr(&a), given ? buf_cstr(&b) : "nothing");
    buf_free(&a);
    buf_free(&b);
    return rc;
}

int tags_check(const json_t *config, const char *place, const struct tokenizer *tok)
{
    struct tag_facts f;
    json_t *all;
    const json_t *given = json_dig(config, "tile_tag_ids");
    int looks = given ? looks_at_tags(config, place, &f) : 0;
    if (looks <= 0)
        return looks;
    int rc = all_tags(tok, &f, &all);
    for (size_t k = 0; rc >= 0 && k < json_array_size(all); k++) {
        const json_t *says = json_array_get(all, k), *has = json_array_get(given, k);
        if (json_array_size(says) && !json_equal(says, has)) /* none: no grid has that place */
            rc = differs(place, k, says, has);
    }
    json_decref(all);
    return rc;
}
