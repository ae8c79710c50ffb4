/* Sequences: appending checks everything before anything changes, computing walks in chunks. */
/* SPDX-License-Identifier: MIT */
#include "runtime/timeline.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"

/* ---- making -------------------------------------------------------------------------------- */

int nun_timeline_create(struct nun_model *m, struct nun_timeline **out)
{
    if (!m->model->text.facts.layers || m->model->family->kind != FAMILY_DECODER)
        return err_set(NUN_EUNSUP, "%s: this model does not write text", m->model->family->architecture);
    struct nun_timeline *t = mem_calloc(MEM_RUNTIME, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    t->m = m;
    buf_init(&t->text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    *out = t;
    return 0;
}

void nun_timeline_free(struct nun_timeline *t)
{
    if (!t)
        return;
    engine_lock(t->m);
    page_table_free(&t->table, &t->m->pages);
    page_table_free(&t->side, &t->m->sides);
    state_free(&t->state, &t->m->states);
    for (size_t i = 0; i < t->n_placed; i++)
        picture_drop(t->placed[i].picture);
    engine_unlock(t->m);
    mem_free(t->placed);
    mem_free(t->place);
    mem_free(t->logits);
    ids_free(&t->ids);
    buf_free(&t->text);
    mem_free(t);
}

static int need_placed(struct nun_timeline *t, size_t more)
{
    size_t need = t->n_placed + more;
    if (need <= t->cap_placed)
        return 0;
    struct placed *grown = mem_realloc(MEM_RUNTIME, t->placed, 2 * need * sizeof *grown);
    if (!grown)
        return NUN_ENOMEM;
    t->placed = grown;
    t->cap_placed = 2 * need;
    return 0;
}

int timeline_need_logits(struct nun_timeline *t)
{
    if (!t->logits)
        t->logits = mem_alloc(MEM_RUNTIME, (size_t)t->m->model->text.facts.vocab * sizeof *t->logits);
    return t->logits ? 0 : NUN_ENOMEM;
}

static int fork_into(const struct nun_timeline *t, struct nun_timeline *f)
{
    TRY(ids_reserve(&f->ids, t->ids.n));
    memcpy(f->ids.at, t->ids.at, t->ids.n * sizeof *t->ids.at);
    f->ids.n = t->ids.n;
    TRY(need_placed(f, t->n_placed));
    TRY(places_fork(t, f));
    TRY(page_table_share(&f->table, &t->table, &t->m->pages, t->computed));
    state_share(&f->state, &t->state, &t->m->states, t->computed, t->computed);
    f->computed = t->computed;
    f->regime = t->regime;
    for (size_t i = 0; i < t->n_placed; i++) {
        f->placed[i] = t->placed[i];
        f->placed[i].picture->refs++;
    }
    f->n_placed = t->n_placed;
    TRY(look_share(f, t, t->looked));
    if (!t->has_logits)
        return 0;
    TRY(timeline_need_logits(f));
    memcpy(f->logits, t->logits, (size_t)t->m->model->text.facts.vocab * sizeof *t->logits);
    f->has_logits = true;
    return 0;
}

int nun_timeline_fork(const struct nun_timeline *t, struct nun_timeline **out)
{
    struct nun_timeline *f = NULL;
    TRY(nun_timeline_create(t->m, &f));
    engine_lock(t->m);
    int rc = fork_into(t, f);
    engine_unlock(t->m);
    if (rc < 0) {
        nun_timeline_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

/* ---- appending ----------------------------------------------------------------------------- */

int timeline_room(const struct nun_timeline *t, size_t more)
{
    size_t have = (size_t)t->m->context;
    if (more > have || t->ids.n > have - more)
        return err_set(NUN_ECONTEXT, "context: %zu tokens are needed, %zu positions are there", t->ids.n + more, have);
    return 0;
}

static bool is_placeholder(const struct model *m, int32_t id)
{
    return (id == m->facts.image_token && id >= 0) || (id == m->facts.video_token && id > 0);
}

static int check_ids(const struct nun_timeline *t, const int32_t *ids, size_t n, struct picture *const *pictures, size_t n_pictures)
{
    const struct model *m = t->m->model;
    size_t found = 0, wanted = 0;
    for (size_t i = 0; i < n; i++) {
        if ((ids[i] < 0 || ids[i] >= nn_ids(&m->text.facts)) && !model_is_behind(m, ids[i]))
            return err_set(NUN_EARG, "token %zu: id %d is outside the vocabulary of %d", i, ids[i], nn_ids(&m->text.facts));
        found += is_placeholder(m, ids[i]);
    }
    for (size_t i = 0; i < n_pictures; i++)
        wanted += (size_t)pictures[i]->n_tokens;
    if (found != wanted)
        return err_set(NUN_EARG, "pictures: %zu given, which take %zu placeholder%s; the text has %zu", n_pictures, wanted,
                       wanted == 1 ? "" : "s", found);
    return 0;
}

/* At the end of the ids. */
static void place_next(struct nun_timeline *t, struct picture *picture)
{
    const struct placed *before = t->n_placed ? &t->placed[t->n_placed - 1] : NULL;
    struct placed p = {.at = (int64_t)t->ids.n, .picture = picture};
    p.row = p.group = before ? before->row + before->picture->side.shown : 0;
    if (before && (t->m->model->family->sight->looks_back || before->end == p.at))
        p.group = before->group;
    t->placed[t->n_placed++] = p;
}

/* The ids, and the pictures' places among them. Counts are checked already. */
static int lay_ids(struct nun_timeline *t, const int32_t *ids, size_t n, struct picture *const *pictures)
{
    const struct model *m = t->m->model;
    int left = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_placeholder(m, ids[i]) && !left) {
            place_next(t, *pictures);
            left = (*pictures++)->n_tokens;
        }
        if (is_placeholder(m, ids[i])) {
            struct placed *last = &t->placed[t->n_placed - 1];
            if (ids[i] != last->picture->token)
                return err_set(NUN_EARG, "token %zu: expected placeholder %d of picture %zu, found %d", i, last->picture->token,
                               t->n_placed - 1, ids[i]);
            last->end = (int64_t)t->ids.n + 1;
            left--;
        }
        t->ids.at[t->ids.n++] = ids[i];
    }
    return 0;
}

static int append(struct nun_timeline *t, const int32_t *ids, size_t n, struct picture *const *pictures, size_t n_pictures)
{
    size_t old = t->ids.n, old_placed = t->n_placed;
    TRY(check_ids(t, ids, n, pictures, n_pictures));
    TRY(timeline_room(t, n));
    TRY(ids_reserve(&t->ids, n));
    TRY(need_placed(t, n_pictures));
    TRY(places_reserve(t, n));
    int rc = lay_ids(t, ids, n, pictures);
    if (rc >= 0) {
        places_lay(t, old, old_placed);
        return 0;
    }
    t->ids.n = old;
    t->n_placed = old_placed;
    return rc;
}

int timeline_append(struct nun_timeline *t, const int32_t *ids, size_t n, struct picture *const *pictures, size_t n_pictures)
{
    int rc = append(t, ids, n, pictures, n_pictures);
    for (size_t i = 0; rc < 0 && i < n_pictures; i++)
        picture_drop(pictures[i]);
    return rc;
}

int timeline_push(struct nun_timeline *t, int32_t id)
{
    TRY(places_reserve(t, 1));
    TRY(ids_push(&t->ids, id));
    places_lay(t, t->ids.n - 1, t->n_placed);
    return 0;
}

int nun_timeline_ids(struct nun_timeline *t, const int32_t *ids, size_t n)
{
    return timeline_append(t, ids, n, NULL, 0);
}

int nun_timeline_text(struct nun_timeline *t, const char *text, size_t len, unsigned flags)
{
    int32_t *ids;
    size_t n;
    TRY(nun_encode(t->m, text, len, flags, &ids, &n));
    int rc = timeline_append(t, ids, n, NULL, 0);
    mem_free(ids);
    return rc;
}

/* The picture as the family spells it. */
static int picture_ids(const struct nun_timeline *t, const struct picture *p, struct ids *out)
{
    struct buf text;
    int rc = 0;
    for (int i = 0; !t->m->tokenizer && i < p->n_tokens && rc >= 0; i++)
        rc = ids_push(out, p->token);
    if (!t->m->tokenizer)
        return rc;
    buf_init(&text, MEM_RUNTIME, LIMIT_OF(text_bytes));
    rc = picture_spell(t->m, p, (int)t->n_placed, (int)t->n_placed + 1, &text);
    if (rc >= 0)
        rc = tokenizer_encode(t->m->tokenizer, buf_view(&text), TOK_PARSE_SPECIAL | (t->ids.n ? TOK_GOES_ON : 0u), out);
    buf_free(&text);
    return rc;
}

static int append_picture(struct nun_timeline *t, struct picture *p)
{
    struct ids ids = {0};
    int rc = picture_ids(t, p, &ids);
    if (rc < 0)
        picture_drop(p);
    else
        rc = timeline_append(t, ids.at, ids.n, &p, 1);
    ids_free(&ids);
    return rc;
}

int nun_timeline_image_file(struct nun_timeline *t, const char *path)
{
    struct picture *p = NULL;
    TRY(picture_from_files(t->m, &path, 1, 0, 1, NULL, &p));
    return append_picture(t, p);
}

int nun_timeline_image_bytes(struct nun_timeline *t, const void *bytes, size_t n)
{
    struct picture *p = NULL;
    const char *place = "picture";
    struct span file = span_of(bytes, n);
    TRY(picture_make(t->m, &(struct picture_source){&file, &place, 1, 0, 1, {0}}, &p));
    return append_picture(t, p);
}

/* ---- looking ------------------------------------------------------------------------------- */

size_t nun_timeline_length(const struct nun_timeline *t)
{
    return t->ids.n;
}

const int32_t *nun_timeline_tokens(const struct nun_timeline *t, size_t *n)
{
    *n = t->ids.n;
    return t->ids.at;
}

const struct placed *timeline_picture_before(const struct nun_timeline *t, int64_t position)
{
    size_t lo = 0, hi = t->n_placed;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->placed[mid].at <= position)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &t->placed[lo - 1] : NULL;
}

const struct placed *timeline_placed(const struct nun_timeline *t, int64_t position)
{
    return t->n_placed && t->place[position].feature >= 0 ? timeline_picture_before(t, position) : NULL;
}

void timeline_uncompute(struct nun_timeline *t, int64_t n)
{
    n = state_reach(&t->state, &t->m->states, t->computed, n);
    state_back(&t->state, &t->m->states, t->computed, n);
    page_table_cut(&t->table, &t->m->pages, n);
    t->computed = n;
    t->has_logits = false;
}

void timeline_follow_length(struct nun_timeline *t)
{
    int64_t regime = nn_rope_regime(&t->m->model->text.facts, (int64_t)t->ids.n);
    look_follow(t);
    if (regime == t->regime)
        return;
    if (t->computed)
        timeline_uncompute(t, 0);
    t->regime = regime;
}

int nun_timeline_rewind(struct nun_timeline *t, size_t n)
{
    if (n > t->ids.n)
        return err_set(NUN_EARG, "rewind: to %zu positions, there are %zu", n, t->ids.n);
    const struct placed *cut = n && n < t->ids.n ? timeline_picture_before(t, (int64_t)n - 1) : NULL;
    if (cut && cut->end > (int64_t)n)
        return err_set(NUN_EARG, "rewind: position %zu is inside the picture that begins at %lld", n, (long long)cut->at);
    if (n == t->ids.n)
        return 0;
    engine_lock(t->m);
    while (t->n_placed && t->placed[t->n_placed - 1].at >= (int64_t)n)
        picture_drop(t->placed[--t->n_placed].picture);
    t->ids.n = n;
    places_cut(t, n);
    look_cut(t);
    if (t->computed > (int64_t)n)
        timeline_uncompute(t, (int64_t)n);
    engine_unlock(t->m);
    return 0;
}

size_t nun_timeline_common(const struct nun_timeline *a, const struct nun_timeline *b)
{
    size_t n = 0, pictures = 0;
    while (n < a->ids.n && n < b->ids.n && a->ids.at[n] == b->ids.at[n])
        n++;
    while (pictures < a->n_placed && pictures < b->n_placed && a->placed[pictures].at == b->placed[pictures].at &&
           !memcmp(&a->placed[pictures].picture->identity, &b->placed[pictures].picture->identity, sizeof(struct digest)))
        pictures++;
    size_t a_next = pictures < a->n_placed ? (size_t)a->placed[pictures].at : SIZE_MAX;
    size_t b_next = pictures < b->n_placed ? (size_t)b->placed[pictures].at : SIZE_MAX;
    size_t next = a_next < b_next ? a_next : b_next; /* the first picture that differs */
    return n < next ? n : next;
}

/* The features of pictures that `past` has encoded and t has too. */
static void adopt_pictures(struct nun_timeline *t, const struct nun_timeline *past, size_t n)
{
    for (size_t i = 0; i < t->n_placed && t->placed[i].at < (int64_t)n; i++) {
        if (t->placed[i].picture->features || !past->placed[i].picture->features)
            continue;
        picture_drop(t->placed[i].picture);
        t->placed[i].picture = past->placed[i].picture;
        t->placed[i].picture->refs++;
    }
}

static size_t pictures_before(const struct nun_timeline *t, int64_t n)
{
    size_t k = 0;
    while (k < t->n_placed && t->placed[k].at < n)
        k++;
    return k;
}

static int adopt(struct nun_timeline *t, const struct nun_timeline *past, int64_t n)
{
    struct page_table table = {0};
    int rc = page_table_share(&table, &past->table, &t->m->pages, n);
    if (rc < 0) {
        page_table_free(&table, &t->m->pages);
        return rc;
    }
    page_table_free(&t->table, &t->m->pages);
    t->table = table;
    page_table_free(&t->side, &t->m->sides);
    t->looked = t->computed = 0;
    TRY(look_share(t, past, pictures_before(past, n)));
    state_free(&t->state, &t->m->states);
    state_share(&t->state, &past->state, &t->m->states, past->computed, n);
    t->computed = n;
    t->regime = past->regime;
    t->has_logits = false;
    adopt_pictures(t, past, (size_t)n);
    if (n < past->computed || !past->has_logits)
        return 0;
    TRY(timeline_need_logits(t));
    memcpy(t->logits, past->logits, (size_t)t->m->model->text.facts.vocab * sizeof *t->logits);
    t->has_logits = true;
    return 0;
}

int nun_timeline_adopt(struct nun_timeline *t, const struct nun_timeline *past)
{
    if (t->m != past->m)
        return err_set(NUN_EARG, "adopt: the timelines are of two models");
    int64_t n = places_common(t, past, (int64_t)nun_timeline_common(t, past));
    n = state_reach(&past->state, &past->m->states, past->computed, n);
    bool apart = past->regime != nn_rope_regime(&t->m->model->text.facts, (int64_t)t->ids.n) || look_apart(t, past);
    if (n <= t->computed || t == past || apart)
        return 0;
    engine_lock(t->m);
    int rc = adopt(t, past, n);
    engine_unlock(t->m);
    return rc;
}

/* ---- computing ----------------------------------------------------------------------------- */

int timeline_compute(struct nun_timeline *t, int64_t leave)
{
    int64_t end = (int64_t)t->ids.n - leave;
    timeline_follow_length(t);
    TRY(timeline_need_logits(t));
    TRY(timeline_see(t, end));
    while (t->computed < end) {
        int64_t to = timeline_chunk_end(t, t->computed, t->m->chunk);
        to = to < end ? to : end;
        struct engine_span s = {t, t->computed, to, to == end ? t->logits : NULL, NULL};
        TRY(engine_run(t->m, &s, 1));
    }
    return 0;
}

int timeline_check_logits(const float *logits, int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(logits[i]))
            return err_set(NUN_ENUMERIC, "logits: id %d has %f; weights or arithmetic are broken", i, (double)logits[i]);
    return 0;
}

int nun_timeline_prefill(struct nun_timeline *t)
{
    engine_lock(t->m);
    int rc = timeline_compute(t, 0);
    engine_unlock(t->m);
    return rc;
}

/* The last position once more, after a rewind took its logits away. */
static int refresh(struct nun_timeline *t)
{
    if (t->computed == (int64_t)t->ids.n && !t->has_logits)
        timeline_uncompute(t, t->computed - 1);
    return timeline_compute(t, 0);
}

int nun_timeline_logits(struct nun_timeline *t, const float **logits, size_t *n)
{
    if (!t->ids.n)
        return err_set(NUN_EARG, "logits: the timeline is empty");
    engine_lock(t->m);
    int rc = refresh(t);
    engine_unlock(t->m);
    TRY(rc);
    TRY(timeline_check_logits(t->logits, t->m->model->text.facts.vocab));
    *logits = t->logits;
    *n = (size_t)t->m->model->text.facts.vocab;
    return 0;
}
