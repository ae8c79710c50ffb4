/* The register tile of a matrix product, written once and included by each vector file with its own
 * vectors and dot step; no include guard. The includer defines, as macros or inline functions:
 *
 *   TILE(name)           name with the variant's suffix
 *   TILE_MAX_ROWS        most rows; TILE_ROWS(X) lists them: X(1) X(2) ...
 *   TILE_PANELS(m)       most panels for m rows, of 1, 2, 4, 8
 *   TILE_STEP_K          elements of k a step takes: 1, or 2 for bf16 pairs
 *   TILE_ROW_BYTES       from row to row of a row-major strip
 *   TILE_STEP_BYTES      from step to step in it; of a k-major strip TILE_MAJOR_BYTES
 *   TILE_PAIR_BYTES      from the even to the odd element of a pair in it; k-major TILE_MAJOR_PAIR
 *   TILE_PINNED          1 when TILE_ENTER() and TILE_LEAVE() change the floating-point control
 *   vec, LANES, vec_zero vec_load vec_store vec_add
 *   TILE(b_vec), TILE(b_load)(p), TILE(dot)(acc, a, pair_bytes, b)
 *
 * Strips: row-major, element i of row r at r * TILE_ROW_BYTES + i/TILE_STEP_K * TILE_STEP_BYTES: the
 * constant stride lets every broadcast be a memory operand with a displacement, so that packing A
 * never transposes. k-major (A transposed): step s of row r at s * TILE_MAJOR_BYTES + 4 r. */
/* SPDX-License-Identifier: MIT */

enum { TILE(VPP) = GEMM_PANEL / LANES };

#define UNROLL _Pragma("GCC unroll 32")

static inline __attribute__((always_inline)) void TILE(add_rows)(vec acc[][TILE_MAX_VECS], const float *x,
                                                                 ptrdiff_t ld, const int m, const int vecs)
{
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int v = 0; v < vecs; v++)
            acc[r][v] = vec_add(acc[r][v], vec_load(x + r * ld + v * LANES));
}

/* Where the chain changes the rounding control, arithmetic must not move across the change. */
static inline __attribute__((always_inline)) void TILE(pin)(vec acc[][TILE_MAX_VECS], const int m, const int vecs)
{
    if (TILE_PINNED)
        UNROLL for (int r = 0; r < m; r++)
            UNROLL for (int v = 0; v < vecs; v++)
                __asm__ volatile("" : "+v"(acc[r][v]));
}

/* Whole panels only; m, panels and the strip's strides are constants at every call. */
static inline __attribute__((always_inline)) void TILE(body)(const struct gemm_tile *t, const int m, const int panels,
                                                             const int row_bytes, const int step_bytes,
                                                             const int pair_bytes)
{
    enum { VPP = TILE(VPP) };
    const int vecs = panels * VPP;
    vec acc[TILE_MAX_ROWS][TILE_MAX_VECS];
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int v = 0; v < vecs; v++)
            acc[r][v] = t->in ? vec_load(t->in + r * t->ld_in + v * LANES) : vec_zero();

    const char *a = t->a, *b = t->b, *next = t->next;
    const ptrdiff_t panel_bytes = (ptrdiff_t)t->panel_bytes;
    TILE_ENTER();
    TILE(pin)(acc, m, vecs);
    for (int s = (t->k + TILE_STEP_K - 1) / TILE_STEP_K; s > 0; s--) {
        TILE(b_vec) bv[TILE_MAX_VECS];
        UNROLL for (int v = 0; v < vecs; v++)
            bv[v] = TILE(b_load)(b + (v / VPP) * panel_bytes + (v % VPP) * LANES * 4);
        UNROLL for (int p = 0; p < panels; p++)
            _mm_prefetch(next + p * panel_bytes, _MM_HINT_T1);
        UNROLL for (int r = 0; r < m; r++)
            UNROLL for (int v = 0; v < vecs; v++)
                acc[r][v] = TILE(dot)(acc[r][v], a + r * row_bytes, pair_bytes, bv[v]);
        a += step_bytes;
        b += GEMM_PANEL * 4;
        next += GEMM_PANEL * 4;
    }
    TILE(pin)(acc, m, vecs);
    TILE_LEAVE();
    TILE(pin)(acc, m, vecs);

    if (t->bias)
        TILE(add_rows)(acc, t->bias, 0, m, vecs);
    if (t->residual)
        TILE(add_rows)(acc, t->residual, t->ld_residual, m, vecs);
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int v = 0; v < vecs; v++)
            vec_store(t->out + r * t->ld_out + v * LANES, acc[r][v]);
}

#define VARIANT(m, p)                                                                                       \
    static void TILE(rows##m##x##p)(const struct gemm_tile *t)                                              \
    {                                                                                                       \
        TILE(body)(t, m, p <= TILE_PANELS(m) ? p : 1, TILE_ROW_BYTES, TILE_STEP_BYTES, TILE_PAIR_BYTES);    \
    }                                                                                                       \
    static void TILE(major##m##x##p)(const struct gemm_tile *t)                                             \
    {                                                                                                       \
        TILE(body)(t, m, p <= TILE_PANELS(m) ? p : 1, 4, TILE_MAJOR_BYTES, TILE_MAJOR_PAIR);                \
    }
#define VARIANTS(m) VARIANT(m, 1) VARIANT(m, 2) VARIANT(m, 4) VARIANT(m, 8)
TILE_ROWS(VARIANTS)

/* [k_major][rows][log2 of panels]; what TILE_PANELS rules out is never called. */
static void (*const TILE(variants)[2][TILE_MAX_ROWS + 1][4])(const struct gemm_tile *) = {
#define ROW(m) [m] = {TILE(rows##m##x1), TILE(rows##m##x2), TILE(rows##m##x4), TILE(rows##m##x8)},
    {TILE_ROWS(ROW)},
#undef ROW
#define ROW(m) [m] = {TILE(major##m##x1), TILE(major##m##x2), TILE(major##m##x4), TILE(major##m##x8)},
    {TILE_ROWS(ROW)},
#undef ROW
};
#undef VARIANTS
#undef VARIANT

static int TILE(panels)(int m, bool k_major, int left)
{
    static const unsigned char most[TILE_MAX_ROWS + 1] = {
#define ROW(m) [m] = TILE_PANELS(m),
        TILE_ROWS(ROW)
#undef ROW
    };
    int p = most[m];
    while (p > left)
        p /= 2;
    return p;
}

static void TILE(tile)(const struct gemm_tile *t)
{
    gemm_whole_panels(t, TILE(variants)[t->k_major][t->m][__builtin_ctz((unsigned)t->panels)]);
}
#undef UNROLL
