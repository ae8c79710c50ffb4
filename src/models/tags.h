/* Tags of tiles: ordinary text that says which tile of a picture follows (arXiv:2409.11402). Rows of tags.def. Ways of seeing
 * spell prompts with them; whoever makes a config from a tokenizer lets it say what they are in the vocabulary. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_TAGS_H
#define MODELS_TAGS_H
#include "base/buf.h"
#include "formats/json.h"
#include "text/tokenizer.h"

#define TAGS(name, doc) TAGS_##name,
enum tag_kind {
#include "models/tags.def"
    TAG_KINDS
};
#undef TAGS

enum { TAG_MOST_TILES = 64 };
#define TAG_WHOLE "<tile_global>" /* of the whole picture, small, whatever the kind but none */

struct tag_place { int tile, x, y, side; }; /* its number, column and row, from 0; side of a tile in pixels */

void tag_write(enum tag_kind kind, struct tag_place at, struct buf *out);
/* Tags that a picture of up to `most` tiles can need, and where tag k stands; false: no grid reaches it. */
int tag_count(enum tag_kind kind, int most);
bool tag_at(enum tag_kind kind, int most, int k, struct tag_place *at);
/* tile_tag_ids of a config that needs them (its layers look at tags) and does not have them. */
int tags_fit(json_t *config, const char *place, const struct tokenizer *tok);
/* Are those that it has what the tokenizer makes of the tags? Where they are not, layers would look at other words than it learnt with. */
int tags_check(const json_t *config, const char *place, const struct tokenizer *tok);

#endif
