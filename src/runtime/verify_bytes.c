/* Byte models: entropies, the patches that they cut, logits; greedy bytes by whole runs. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "runtime/verify_int.h"

enum { PATCHER_ROWS = 8 }; /* that the reference keeps */

static int run(struct verify_case *c, const int32_t *ids, int n, struct arena *arena, struct model_bytes *out)
{
    return model_bytes_run(c->m->model, c->m->compute, c->m->pool, c->m->threads, ids, n, arena, out);
}

static int check_patches(const struct verify_case *c, const struct model_bytes *got)
{
    const json_t *want = json_object_get(c->json, "patch_lengths");
    bool same = (size_t)got->patches == json_array_size(want);
    for (int i = 0; same && i < got->patches; i++)
        same = json_integer_value(json_array_get(want, (size_t)i)) == got->lengths[i];
    return same || !want ? 0 : err_set(NUN_EFORMAT, "patch_lengths: the %d patches differ from the %zu expected", got->patches, json_array_size(want));
}

static int32_t best(const float *logits, int n)
{
    int32_t at = 0;
    for (int i = 1; i < n; i++)
        at = logits[i] > logits[at] ? i : at;
    return at;
}

static int greedy(struct verify_case *c, const int32_t *ids, int n, int vocab, struct arena *arena)
{
    const json_t *list = json_object_get(c->json, "greedy"), *id;
    size_t count = json_array_size(list), i;
    char key[256];
    int32_t *all = arena_array(arena, (size_t)n + count, sizeof *all);
    int64_t *got = arena_array(arena, count + 1, sizeof *got);
    if (!all || !got)
        return NUN_ENOMEM;
    memcpy(all, ids, (size_t)n * sizeof *ids);
    c->r.greedy_total = (int)count;
    json_array_foreach(list, i, id) {
        struct model_bytes out;
        int length = n + (int)i;
        TRY(run(c, all, length, arena, &out));
        got[i] = all[length] = best(out.logits + (size_t)(length - 1) * (size_t)vocab, vocab);
        c->r.greedy_same += got[i] == json_integer_value(id);
    }
    snprintf(key, sizeof key, "%s/greedy", c->r.name);
    return c->fast || !count ? 0 : verify_dump(c->v, key, DT_I64, SHAPE1((int64_t)count), got);
}

int verify_bytes(struct verify_case *c, struct arena *arena)
{
    struct model_bytes out;
    int vocab = c->m->model->more[3].facts.vocab, rows, n;
    int32_t *ids;
    TRY(verify_ids(json_object_get(c->json, "input_ids"), c->r.name, arena, &ids, &rows, &n));
    if (rows != 1)
        return err_set(NUN_EUNSUP, "%s: %d rows of ids", c->r.name, rows);
    TRY(run(c, ids, n, arena, &out));
    TRY(check_patches(c, &out));
    TRY(verify_check(c, "entropies", out.entropy, (size_t)n));
    TRY(verify_check(c, "patcher_logits", out.patcher,
                     (size_t)(n < PATCHER_ROWS ? n : PATCHER_ROWS) * (size_t)c->m->model->more[0].facts.vocab));
    TRY(verify_check(c, "logits", out.logits, (size_t)n * (size_t)vocab));
    return greedy(c, ids, n, vocab, arena);
}
