/* Decoders: logits through the runtime's own pages and chunks, greedy ids through its own generation. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "runtime/timeline.h"
#include "runtime/verify_int.h"

/* A timeline with the case's ids and pictures queued. */
static int case_timeline(struct verify_case *c, const json_t *list, struct arena *arena, struct nun_timeline **out)
{
    struct verify_sight sight;
    int32_t *ids;
    int rows, length;
    TRY(verify_ids(list, c->r.name, arena, &ids, &rows, &length));
    if (rows != 1)
        return err_set(NUN_EUNSUP, "%s: %d rows of ids", c->r.name, rows);
    TRY(verify_see(c, ids, length, arena, &sight));
    int rc = nun_timeline_create(c->m, out);
    if (rc >= 0) {
        int prefix = verify_prefix(c, length);
        rc = timeline_append(*out, ids, (size_t)prefix, sight.at, (size_t)sight.n);
        sight.n = 0;
        if (rc >= 0 && prefix < length)
            rc = timeline_append(*out, ids + prefix, (size_t)(length - prefix), NULL, 0);
        if (rc >= 0)
            rc = verify_places(c, *out, arena);
        if (rc < 0)
            nun_timeline_free(*out);
    }
    while (sight.n)
        picture_drop(sight.at[--sight.n]);
    return rc;
}

static int all_logits(struct verify_case *c, struct arena *arena, struct nun_timeline *t, const char *name)
{
    size_t vocab = (size_t)c->m->model->text.facts.vocab, length = t->ids.n;
    float *logits = arena_array(arena, length * vocab, sizeof *logits);
    if (!logits)
        return NUN_ENOMEM;
    timeline_follow_length(t);
    TRY(timeline_need_logits(t));
    TRY(timeline_see(t, (int64_t)length));
    while (t->computed < (int64_t)length) {
        int64_t from = t->computed, to = timeline_chunk_end(t, from, c->m->chunk);
        struct engine_span s = {t, from, to, t->logits, logits + (size_t)from * vocab};
        TRY(engine_run(c->m, &s, 1));
    }
    return verify_check(c, name, logits, length * vocab);
}

static int greedy(struct verify_case *c, struct arena *arena, struct nun_timeline *t)
{
    const json_t *list = json_object_get(c->json, "greedy"), *id;
    size_t n = json_array_size(list), from = t->ids.n, i;
    char key[256];
    if (!n)
        return 0;
    int64_t *got = arena_array(arena, n, sizeof *got);
    struct nun_generate_options o = {.max_tokens = (int)n, .ignore_eos = true};
    if (!got)
        return NUN_ENOMEM;
    TRY(nun_generate(t, &o, NULL));
    c->r.greedy_total = (int)n;
    json_array_foreach(list, i, id) {
        got[i] = from + i < t->ids.n ? t->ids.at[from + i] : -1;
        c->r.greedy_same += got[i] == json_integer_value(id);
    }
    snprintf(key, sizeof key, "%s/greedy", c->r.name);
    return c->fast ? 0 : verify_dump(c->v, key, DT_I64, SHAPE1((int64_t)n), got);
}

int verify_logits(struct verify_case *c, const json_t *ids, const char *name, struct arena *arena)
{
    struct nun_timeline *t;
    TRY(case_timeline(c, ids, arena, &t));
    engine_lock(c->m);
    int rc = all_logits(c, arena, t, name);
    engine_unlock(c->m);
    nun_timeline_free(t);
    return rc;
}

int verify_decoder(struct verify_case *c, struct arena *arena)
{
    struct nun_timeline *t;
    TRY(case_timeline(c, json_object_get(c->json, "input_ids"), arena, &t));
    engine_lock(c->m);
    int rc = verify_watch(c, t, arena);
    if (rc >= 0)
        rc = all_logits(c, arena, t, "logits");
    engine_unlock(c->m);
    if (rc >= 0)
        rc = verify_base_logits(c, arena);
    if (rc >= 0)
        rc = greedy(c, arena, t);
    nun_timeline_free(t);
    return rc;
}
