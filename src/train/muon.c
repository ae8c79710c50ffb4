/* X <- aX + (bA + cA^2) X with A = X X^T, five times, rows <= cols; the coefficients are Jordan's. Every
 * intermediate is rounded to bfloat16, as torch.optim.Muon does. */
/* SPDX-License-Identifier: MIT */
#include "train/muon.h"

#include <math.h>
#include <string.h>

#include "tensor/dtype.h"

enum { STEPS = 5 };

struct dims { int rows, cols, small, large; }; /* of the weight as a matrix; small <= large */

static struct dims dims_of(const struct g_param *p)
{
    struct dims d = {.rows = (int)p->shape.d[0], .cols = 1};
    for (int i = 1; i < p->shape.n; i++)
        d.cols *= (int)p->shape.d[i];
    d.small = d.rows < d.cols ? d.rows : d.cols;
    d.large = d.rows < d.cols ? d.cols : d.rows;
    return d;
}

struct work { float *x, *y, *a, *b; void *panels, *scratch; };

static size_t up(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static size_t layout(const struct dims *d, char *at, struct work *w)
{
    size_t s = (size_t)d->small, l = (size_t)d->large, used = 0;
    size_t sizes[] = {4 * s * l, 4 * s * l, 4 * s * s, 4 * s * s, gemm_b_bytes(GEMM_BF16, d->large, d->small) +
                      gemm_b_bytes(GEMM_BF16, d->small, d->large) + gemm_b_bytes(GEMM_BF16, d->small, d->small),
                      gemm_scratch_bytes(GEMM_BF16, d->small, d->large, d->large, 1)};
    void **slots[] = {(void **)&w->x, (void **)&w->y, (void **)&w->a, (void **)&w->b, &w->panels, &w->scratch};
    for (int i = 0; i < 6; i++) {
        if (at)
            *slots[i] = at + used;
        used += up(sizes[i]);
    }
    return used;
}

size_t muon_scratch(const struct g_param *p)
{
    struct dims d = dims_of(p);
    struct work w;
    return layout(&d, NULL, &w);
}

static void round_all(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = dtype_bf16_to_f32(dtype_f32_to_bf16(x[i]));
}

/* c[m,n] = a[m,k] * b, b as [n,k] when transposed, else [k,n]; rounded to bfloat16 */
static void product(const struct work *w, int m, int n, int k, const float *a, const float *b, bool b_transposed, float *c)
{
    struct par alone = {0, 1, NULL};
    gemm_pack_b(GEMM_BF16, k, n, b, false, b_transposed ? k : n, b_transposed, w->panels, &alone);
    struct gemm g = {.M = m, .N = n, .K = k, .A = a, .lda = k, .B = {GEMM_BF16, k, n, w->panels}, .C = c, .ldc = n,
                     .scratch = w->scratch};
    gemm_run(&g, &alone);
    round_all(c, (size_t)m * (size_t)n);
}

static void newton_schulz(const struct dims *d, struct work *w)
{
    const float ka = 3.4445f, kb = -4.7750f, kc = 2.0315f;
    int s = d->small, l = d->large;
    size_t ss = (size_t)s * (size_t)s, sl = (size_t)s * (size_t)l;
    for (int step = 0; step < STEPS; step++) {
        product(w, s, s, l, w->x, w->x, true, w->a);
        product(w, s, s, s, w->a, w->a, false, w->b);
        for (size_t i = 0; i < ss; i++)
            w->b[i] = kb * w->a[i] + kc * w->b[i];
        round_all(w->b, ss);
        product(w, s, l, s, w->b, w->x, false, w->y);
        for (size_t i = 0; i < sl; i++)
            w->x[i] = ka * w->x[i] + w->y[i];
        round_all(w->x, sl);
    }
}

/* update [rows, cols] -> w->x [small, large], normed to 1 */
static void load(const struct dims *d, const float *u, struct work *w)
{
    size_t n = (size_t)d->rows * (size_t)d->cols;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)u[i] * u[i];
    float inv = 1.0f / fmaxf((float)sqrt(sum), 1e-7f);
    for (int r = 0; r < d->rows; r++)
        for (int c = 0; c < d->cols; c++) {
            size_t to = d->rows > d->cols ? (size_t)c * (size_t)d->rows + (size_t)r : (size_t)r * (size_t)d->cols + (size_t)c;
            w->x[to] = u[(size_t)r * (size_t)d->cols + (size_t)c] * inv;
        }
    round_all(w->x, n);
}

void muon_update(const struct g_param *p, float *weights, const float *g, float *const *state,
                 const struct optim_settings *s, int64_t t, void *scratch)
{
    struct dims d = dims_of(p);
    struct work w;
    layout(&d, scratch, &w);
    size_t n = (size_t)d.rows * (size_t)d.cols;
    float *m = state[0], *u = w.y;
    for (size_t i = 0; i < n; i++) {
        m[i] += (1.0f - s->momentum) * (g[i] - m[i]);
        u[i] = s->nesterov ? g[i] + s->momentum * (m[i] - g[i]) : m[i];
    }
    load(&d, u, &w);
    newton_schulz(&d, &w);
    float shape = s->muon_scale > 0 ? s->muon_scale * sqrtf((float)d.large)
                                    : sqrtf(fmaxf(1.0f, (float)d.rows / (float)d.cols));
    float keep = 1.0f - s->lr * s->weight_decay, rate = s->lr * shape;
    for (int r = 0; r < d.rows; r++)
        for (int c = 0; c < d.cols; c++) {
            size_t at = (size_t)r * (size_t)d.cols + (size_t)c;
            size_t from = d.rows > d.cols ? (size_t)c * (size_t)d.rows + (size_t)r : at;
            weights[at] = weights[at] * keep - rate * w.x[from];
        }
}
