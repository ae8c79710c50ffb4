/* The walk over runs of consecutive tokens; see op_recur.h. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

int recur_floats(const struct g_tensor *t)
{
    for (int i = 0; i < t->n_in; i++)
        if (i != 1 && t->in[i] && t->in[i]->dt != DT_F32)
            return op_bad(t, i, "F32");
    return 0;
}

int recur_shape(const struct g_tensor *t)
{
    const struct g_tensor *seq = recur_seq(t);
    bool carried = t->attr.recur.at >= 0;
    if (!seq || seq->dt != DT_I32 || (!carried && g_count(seq) != recur_rows(t)))
        return err_set(NUN_EARG, "%s: expected %s", op_table[t->op].name,
                       carried ? "a state to carry" : "a position I32 for each row");
    return 0;
}

size_t recur_scratch(const struct g_tensor *t, size_t floats)
{
    return t->attr.recur.at >= 0 ? 0 : floats;
}

struct recur recur_begin(const struct g_tensor *t, float *own, int state_rows, struct op_range mine)
{
    size_t width = (size_t)g_last(t);
    return (struct recur){.seq = recur_seq(t), .at = t->attr.recur.at, .own = own, .state_rows = state_rows, .width = width,
                          .lo = mine.lo, .hi = mine.hi, .y = g_f32(t), .y_width = width, .y_lo = mine.lo, .y_hi = mine.hi};
}

static void fill(const struct recur *r, float x)
{
    for (int i = r->from; i < r->to; i++)
        for (size_t c = r->y_lo; c < r->y_hi; c++)
            r->y[(size_t)i * r->y_width + c] = x;
}

static void forget(const struct recur *r)
{
    for (int k = 0; k < r->state_rows; k++)
        memset(r->state + (size_t)k * r->width + r->lo, 0, (r->hi - r->lo) * sizeof(float));
}

/* Rows of positions: a run ends where the next sequence begins. false: broken. */
static bool next_positions(struct recur *r)
{
    const int32_t *pos = g_i32(r->seq);
    int n = (int)g_count(r->seq);
    bool whole = pos[r->from] == 0;
    for (r->to = r->from + 1; r->to < n && pos[r->to] != 0; r->to++)
        whole = whole && pos[r->to] == pos[r->to - 1] + 1;
    r->first = true;
    r->state = r->own;
    return whole;
}

/* Rows of a step: a run ends with its sequence. */
static bool next_carried(struct recur *r)
{
    const struct kv_step *step = r->seq->data;
    const struct kv_row *row = &step->rows[r->from];
    bool whole = true;
    for (r->to = r->from + 1; r->to < step->n_rows; r->to++) {
        const struct kv_row *next = &step->rows[r->to];
        if ((next->position < 0) != (row->position < 0) || (row->position >= 0 && next->state != row->state))
            break;
        whole = whole && (row->position < 0 || next->position == step->rows[r->to - 1].position + 1);
    }
    r->first = row->position == 0;
    r->state = row->position >= 0 && row->state ? row->state + r->at : NULL;
    return whole;
}

bool recur_next(struct recur *r)
{
    bool carried = r->at >= 0;
    int n = carried ? ((const struct kv_step *)r->seq->data)->n_rows : (int)g_count(r->seq);
    while (r->to < n) {
        r->from = r->to;
        bool whole = carried ? next_carried(r) : next_positions(r);
        bool padding = carried && ((const struct kv_step *)r->seq->data)->rows[r->from].position < 0;
        if (whole && r->state) {
            if (r->first)
                forget(r);
            return true;
        }
        fill(r, padding ? 0.0f : __builtin_nanf(""));
    }
    return false;
}
