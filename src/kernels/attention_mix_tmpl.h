/* The two products of attention_tmpl.h, for one width of lanes: ATTN_W is the prefix of its vector type
 * and operations (wide: sixteen lanes; half: eight, for tiles of few rows, as when decoding), ATTN_J the
 * keys of a score tile and the dimensions of a result tile. Included once for each width. */
/* SPDX-License-Identifier: MIT */
#define ATTN_PASTE2(w, name) w##_##name
#define ATTN_PASTE(w, name) ATTN_PASTE2(w, name)
#define L(name) ATTN_PASTE(ATTN_W, name)

/* out[j][lane] = chain over d of qt[d][lane] * k[j][d]: nk keys, nq vectors */
ATTN_STEP void L(score_keys)(const int nk, const int nq, int D, const float *qt, const float *k, ptrdiff_t stride, int ld,
                             float *out)
{
    L(vec) s[ATTN_J][ATTN_NQ];
    UNROLL for (int j = 0; j < nk; j++)
        UNROLL for (int v = 0; v < nq; v++)
            s[j][v] = L(set)(0);
    for (int d = 0; d < D; d++) {
        L(vec) q[ATTN_NQ];
        UNROLL for (int v = 0; v < nq; v++)
            q[v] = L(load)(qt + d * ld + v * VEC);
        UNROLL for (int j = 0; j < nk; j++) {
            L(vec) b = L(set)(k[j * stride + d]);
            UNROLL for (int v = 0; v < nq; v++)
                s[j][v] = L(fma)(q[v], b, s[j][v]);
        }
    }
    UNROLL for (int j = 0; j < nk; j++)
        UNROLL for (int v = 0; v < nq; v++)
            L(store)(out + j * ld + v * VEC, s[j][v]);
}

ATTN_STEP void L(score_run)(const int nq, int n, int D, const float *qt, const float *k, ptrdiff_t stride, int ld, float *out)
{
    for (; n >= ATTN_J; n -= ATTN_J, k += ATTN_J * stride, out += ATTN_J * ld)
        L(score_keys)(ATTN_J, nq, D, qt, k, stride, ld, out);
#define SCORE(nk) if (nk < ATTN_J) L(score_keys)(nk, nq, D, qt, k, stride, ld, out)
    CASES(n, SCORE)
#undef SCORE
}

/* Vectors of lanes from v on: as many at once as make a tile. Returns how many. */
static int L(score)(const struct attn_tile *t, const struct attn_piece *p, int v, const float *qt, const struct attn_rows *k,
                    float *out)
{
    out += p->slot * t->ld + v * VEC;
    if (ATTN_NQ > 1 && t->nq - v >= ATTN_NQ) {
        L(score_run)(ATTN_NQ, p->n, t->a->D, qt + v * VEC, k->at, k->stride, t->ld, out);
        return ATTN_NQ;
    }
    L(score_run)(1, p->n, t->a->D, qt + v * VEC, k->at, k->stride, t->ld, out);
    return 1;
}

/* What a result tile reads: pieces [from, to), weights by slot, the pieces' rows. */
#ifndef ATTN_MIX_STRUCT
#define ATTN_MIX_STRUCT
struct attn_mix {
    const struct attn_tile *t;
    int from, to;
    const float *w;
    struct attn_rows rows[ATTN_PIECES]; /* [to - from] */
    int v;                       /* first vector of lanes */
    bool begin;                  /* results start at zero */
};
#endif

/* ot[d][lane] += chain over the slots of w[slot][lane] * x[slot][d] where the lane attends: nd dimensions */
ATTN_STEP void L(mix_dims)(const int nd, const int nq, const struct attn_mix *m, int d)
{
    const int ld = m->t->ld;
    float *ot = m->t->ot + d * ld + m->v * VEC;
    L(vec) o[ATTN_J][ATTN_NQ];
    UNROLL for (int i = 0; i < nd; i++)
        UNROLL for (int v = 0; v < nq; v++)
            o[i][v] = m->begin ? L(set)(0) : L(load)(ot + i * ld + v * VEC);
    for (int n = m->from; n < m->to; n++) {
        const struct attn_piece *p = &m->t->piece[n];
        const struct attn_rows *x = &m->rows[n - m->from];
        const float *row = x->at + d, *w = m->w + p->slot * ld + m->v * VEC;
        const uint16_t *mask = m->t->mask + p->slot * 2 + m->v;
        for (int j = 0; p->full && j < p->n; j++, row += x->stride, w += ld)
            UNROLL for (int i = 0; i < nd; i++)
                UNROLL for (int v = 0; v < nq; v++)
                    o[i][v] = L(fma)(L(load)(w + v * VEC), L(set)(row[i]), o[i][v]);
        for (int j = 0; !p->full && j < p->n; j++, row += x->stride, w += ld, mask += 2)
            UNROLL for (int v = 0; v < nq; v++) {
                L(mask) attends = L(mask_of)(mask[v]);
                L(vec) a = L(load)(w + v * VEC);
                UNROLL for (int i = 0; i < nd; i++)
                    o[i][v] = L(fma_if)(attends, a, L(set)(row[i]), o[i][v]);
            }
    }
    UNROLL for (int i = 0; i < nd; i++)
        UNROLL for (int v = 0; v < nq; v++)
            L(store)(ot + i * ld + v * VEC, o[i][v]);
}

ATTN_STEP void L(mix_run)(const int nq, const struct attn_mix *m)
{
    int d = 0, D = m->t->a->D;
    for (; D - d >= ATTN_J; d += ATTN_J)
        L(mix_dims)(ATTN_J, nq, m, d);
#define MIX(nd) if (nd < ATTN_J) L(mix_dims)(nd, nq, m, d)
    CASES(D - d, MIX)
#undef MIX
}

static int L(mix)(const struct attn_mix *m)
{
    if (ATTN_NQ > 1 && m->t->nq - m->v >= ATTN_NQ) {
        L(mix_run)(ATTN_NQ, m);
        return ATTN_NQ;
    }
    L(mix_run)(1, m);
    return 1;
}

#undef L
#undef ATTN_PASTE
#undef ATTN_PASTE2
