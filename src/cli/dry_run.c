/* What a prompt would take, without computing it: run --dry-run. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "base/err.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

static json_t *picture_json(const struct nun_picture_measure *p)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:i, s:i, s:I, s:I, s:I}", "width", p->width, "height", p->height, "frames", p->frames,
                     "tiles", p->tiles, "columns", p->columns, "rows", p->rows, "overview", p->overview, "tile_width", p->tile_width,
                     "tile_height", p->tile_height, "tokens", (json_int_t)p->tokens, "position", (json_int_t)p->position,
                     "beside", (json_int_t)p->beside);
}

static void print_picture(size_t i, const struct nun_picture_measure *p)
{
    printf("picture %zu    %d x %d", i + 1, p->width, p->height);
    if (p->frames > 1)
        printf(", %d frames", p->frames);
    if (p->tiles == p->frames)
        printf(" as %d x %d", p->tile_width, p->tile_height);
    else
        printf(" as %d tiles of %d x %d (%d x %d%s)", p->tiles, p->tile_width, p->tile_height, p->columns, p->rows,
               p->overview ? " and the whole" : "");
    printf(": %zu tokens", p->tokens);
    if (p->beside)
        printf(", %zu rows beside the text", p->beside);
    printf("\n");
}

static void print_memory(const struct nun_measure *m)
{
    char weights[32], state[32], encoder[32];
    printf("tokens       %zu, %zu of them of pictures; room for %zu\n", m->tokens, m->picture_tokens, m->context);
    printf("memory       weights %s, state %s, picture encoder %s\n", term_bytes((double)m->weight_bytes, weights),
           term_bytes((double)m->state_bytes, state), term_bytes((double)m->encoder_bytes, encoder));
}

int dry_run(struct cli *c, struct nun_timeline *t)
{
    struct nun_measure m;
    TRY(nun_timeline_measure(t, &m));
    json_t *pictures = json_array();
    for (size_t i = 0; i < m.pictures; i++) {
        struct nun_picture_measure p;
        TRY(nun_timeline_picture(t, i, &p));
        json_array_append_new(pictures, picture_json(&p));
        if (!c->json)
            print_picture(i, &p);
    }
    if (c->json)
        cli_print_json(json_pack("{s:I, s:I, s:I, s:O, s:{s:I, s:I, s:I}}", "prompt_tokens", (json_int_t)m.tokens, "picture_tokens",
                                 (json_int_t)m.picture_tokens, "context", (json_int_t)m.context, "pictures", pictures, "memory", "weights",
                                 (json_int_t)m.weight_bytes, "state", (json_int_t)m.state_bytes, "encoder", (json_int_t)m.encoder_bytes),
                       false);
    else
        print_memory(&m);
    json_decref(pictures);
    return 0;
}
