/* Where tokens stand in sequences of models that see: which row of a picture's features a token is, which tokens see
 * each other, and where a token turns in time, rows and columns. Text has a place of its own; a picture's tokens
 * begin where the text before them ended, and text goes on behind the greatest of them (arXiv:2409.12191). */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/sight.h"
#include "runtime/timeline.h"

static bool has_places(const struct nun_timeline *t)
{
    return t->m->model->family->sight != NULL;
}

int places_reserve(struct nun_timeline *t, size_t more)
{
    size_t need = t->ids.n + more;
    if (!has_places(t) || need <= t->cap_place)
        return 0;
    struct token_place *grown = mem_realloc(MEM_RUNTIME, t->place, 2 * need * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    t->place = grown;
    t->cap_place = 2 * need;
    return 0;
}

int places_fork(const struct nun_timeline *t, struct nun_timeline *f)
{
    if (!t->ids.n || !has_places(t))
        return 0;
    f->place = mem_alloc(MEM_RUNTIME, t->ids.n * sizeof *f->place);
    if (!f->place)
        return NUN_ENOMEM;
    memcpy(f->place, t->place, t->ids.n * sizeof *f->place);
    f->cap_place = t->ids.n;
    f->next_at = t->next_at;
    return 0;
}

/* ---- laying -------------------------------------------------------------------------------- */

static void turn_as_text(struct nun_timeline *t, struct token_place *p)
{
    p->at[0] = p->at[1] = p->at[2] = t->next_at++;
}

/* A run of a picture's tokens [i, end), the first of them row `feature`: each turns from `base` on. */
static void turn_run(struct nun_timeline *t, int64_t i, int64_t end, const int32_t (*at)[3])
{
    int32_t base = t->next_at;
    for (int32_t feature = t->place[i].feature; i < end; i++, feature++)
        for (int d = 0; d < 3; d++) {
            int32_t to = base + at[feature][d];
            t->place[i].at[d] = to;
            t->next_at = to >= t->next_at ? to + 1 : t->next_at;
        }
}

static void lay_picture(struct nun_timeline *t, const struct placed *p)
{
    const struct sight_row *row = t->m->model->family->sight;
    int32_t feature = 0;
    for (int64_t i = p->at, end; i < p->end; i = end) {
        for (end = i; end < p->end && t->ids.at[end] == p->picture->token; end++)
            t->place[end].feature = p->picture->n_features ? feature++ : -1;
        for (int64_t k = i; k < end && row->both_ways; k++) {
            t->place[k].first = (int32_t)i;
            t->place[k].last = (int32_t)end;
        }
        if (p->picture->places && i < end)
            turn_run(t, i, end, (const int32_t(*)[3])p->picture->places);
        for (; !p->picture->places && i < end; i++)
            turn_as_text(t, &t->place[i]);
        for (; end < p->end && t->ids.at[end] != p->picture->token; end++)
            turn_as_text(t, &t->place[end]);
    }
}

void places_lay(struct nun_timeline *t, size_t from, size_t picture)
{
    if (!has_places(t))
        return;
    bool prefix = t->m->model->family->sight->prefix && from == 0;
    for (size_t i = from; i < t->ids.n; i++)
        t->place[i] = (struct token_place){.feature = -1, .last = prefix ? (int32_t)t->ids.n : 0};
    for (size_t i = from; i < t->ids.n;) {
        if (picture < t->n_placed && t->placed[picture].at == (int64_t)i) {
            lay_picture(t, &t->placed[picture]);
            i = (size_t)t->placed[picture++].end;
        } else {
            turn_as_text(t, &t->place[i++]);
        }
    }
}

void places_cut(struct nun_timeline *t, size_t n)
{
    t->next_at = 0;
    for (size_t i = 0; i < n && has_places(t); i++)
        for (int d = 0; d < 3; d++)
            t->next_at = t->place[i].at[d] >= t->next_at ? t->place[i].at[d] + 1 : t->next_at;
}

/* ---- what may not be cut ------------------------------------------------------------------- */

/* n, or the beginning of the run of tokens that see each other and that n would cut. */
static int64_t before_run(const struct nun_timeline *t, int64_t n)
{
    if (!has_places(t) || n <= 0)
        return n;
    const struct token_place *last = &t->place[n - 1];
    return last->last > n ? last->first : n;
}

int64_t places_common(const struct nun_timeline *a, const struct nun_timeline *b, int64_t n)
{
    for (int64_t old = -1; n != old;) {
        old = n;
        n = before_run(a, n);
        n = before_run(b, n);
    }
    return n;
}

int64_t timeline_chunk_end(const struct nun_timeline *t, int64_t from, int64_t most)
{
    int64_t end = (int64_t)t->ids.n, to = end - from > most ? from + most : end;
    int64_t whole = before_run(t, to);
    return whole > from || !has_places(t) ? whole : t->place[to - 1].last;
}
