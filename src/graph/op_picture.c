/* Operations on pictures and patch grids: patches, resampled position tables, pooling. Resampling follows
 * torch.nn.functional.interpolate. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "graph/op_shape.h"

/* ---- unfold ---- */

struct patches { size_t c, h, w, p, gh, gw; }; /* channels, picture, patch, grid */

static struct patches patches_of(const struct g_tensor *t)
{
    const int64_t *d = t->in[0]->shape.d;
    size_t p = (size_t)t->attr.unfold.patch;
    return (struct patches){(size_t)d[1], (size_t)d[2], (size_t)d[3], p, (size_t)d[2] / p, (size_t)d[3] / p};
}

int shape_unfold(struct g_tensor *t)
{
    const struct shape *s = &t->in[0]->shape;
    int64_t p = t->attr.unfold.patch;
    if (t->in[0]->dt != DT_F32 || s->n != 4 || p < 1 || s->d[2] % p || s->d[3] % p)
        return op_bad(t, 0, "F32 pictures [B, C, H, W], H and W multiples of the patch");
    t->dt = DT_F32;
    t->shape = SHAPE2(s->d[0] * (s->d[2] / p) * (s->d[3] / p), s->d[1] * p * p);
    return 0;
}
void cost_unfold(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){.bytes = 2.0 * (double)g_bytes(t)};
}
/* Copies patches [r.lo, r.hi) between pictures [B,C,H,W] and rows [B gh gw, C p p]. */
static void copy_patches(struct patches s, struct op_range r, float *pictures, float *rows, bool to_rows)
{
    for (size_t i = r.lo; i < r.hi; i++) {
        size_t b = i / (s.gh * s.gw), y = i / s.gw % s.gh * s.p, x = i % s.gw * s.p;
        float *row = rows + i * s.c * s.p * s.p;
        for (size_t c = 0; c < s.c; c++)
            for (size_t k = 0; k < s.p; k++, row += s.p) {
                float *line = pictures + ((b * s.c + c) * s.h + y + k) * s.w + x;
                memcpy(to_rows ? row : line, to_rows ? line : row, s.p * sizeof *row);
            }
    }
}
void run_unfold(const struct g_tensor *t, const struct g_env *env)
{
    copy_patches(patches_of(t), op_share(env, t->shape.d[0], 1), g_f32(t->in[0]), g_f32(t), true);
}
void grad_unfold(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_unfold_dx, &t->attr, 2, OP_IN(t->in[0], op_as(g, dt, t))));
}

/* Patches do not overlap and cover the picture: putting them back is the whole gradient. */
int shape_unfold_dx(struct g_tensor *t)
{
    TRY(shape_unfold(t));
    if (t->in[1]->dt != DT_F32 || !shape_eq(&t->shape, &t->in[1]->shape))
        return op_bad(t, 1, "F32 patches of the pictures");
    return op_like(t, 0);
}
void cost_unfold_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_unfold(g, t, out);
}
void run_unfold_dx(const struct g_tensor *t, const struct g_env *env)
{
    copy_patches(patches_of(t), op_share(env, t->in[1]->shape.d[0], 1), g_f32(t), g_f32(t->in[1]), false);
}

/* ---- interpolate ---- */

struct tap { int at; float weight; };
/* One axis: point i of `out` is the sum of its n[i] taps, at taps[i * most]. In the scratch, made by all. */
struct axis { int in, out, most; struct tap *taps; int *n; };

static float triangle(float x)
{
    x = fabsf(x);
    return x < 1.0f ? 1.0f - x : 0.0f;
}
/* Keys' cubic; a is -0.75 for plain resampling and -0.5 with antialias. */
static float cubic(float x, float a)
{
    x = fabsf(x);
    if (x <= 1.0f)
        return ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
    return x < 2.0f ? ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a : 0.0f;
}

/* Plain: 2 or 4 neighbours, those outside taken from the edge. */
static int taps_plain(const struct g_tensor *t, const struct axis *ax, int i, struct tap *taps)
{
    bool four = t->attr.interpolate.bicubic;
    float x = (float)ax->in / (float)ax->out * ((float)i + 0.5f) - 0.5f;
    if (t->attr.interpolate.align_corners)
        x = (ax->out > 1 ? (float)(ax->in - 1) / (float)(ax->out - 1) : 0.0f) * (float)i;
    if (!four && x < 0.0f)
        x = 0.0f;
    int base = (int)floorf(x) - (four ? 1 : 0), n = four ? 4 : 2;
    float first = x - (float)base;
    for (int k = 0; k < n; k++) {
        int at = base + k;
        taps[k].at = at < 0 ? 0 : at >= ax->in ? ax->in - 1 : at;
        taps[k].weight = four ? cubic(first - (float)k, -0.75f) : triangle(first - (float)k);
    }
    return n;
}

static float aa_scale(const struct g_tensor *t, const struct axis *ax)
{
    if (t->attr.interpolate.align_corners)
        return ax->out > 1 ? (float)(ax->in - 1) / (float)(ax->out - 1) : 0.0f;
    return (float)ax->in / (float)ax->out;
}
static float aa_support(const struct g_tensor *t, const struct axis *ax)
{
    float scale = aa_scale(t, ax), half = t->attr.interpolate.bicubic ? 2.0f : 1.0f;
    return scale > 1.0f ? half * scale : half;
}
/* Antialias: the filter is widened by the scale when that shrinks, cut at the edges, and normalised. */
static int taps_antialias(const struct g_tensor *t, const struct axis *ax, int i, struct tap *taps)
{
    float scale = aa_scale(t, ax), support = aa_support(t, ax), sum = 0.0f;
    float center = scale * ((float)i + 0.5f), inverse = scale > 1.0f ? 1.0f / scale : 1.0f;
    int from = (int)(center - support + 0.5f), to = (int)(center + support + 0.5f);
    from = from < 0 ? 0 : from;
    to = to > ax->in ? ax->in : to;
    int n = to - from < ax->most ? to - from : ax->most;
    for (int k = 0; k < n; k++) {
        float x = ((float)(k + from) - center + 0.5f) * inverse;
        taps[k].at = from + k;
        taps[k].weight = t->attr.interpolate.bicubic ? cubic(x, -0.5f) : triangle(x);
        sum += taps[k].weight;
    }
    for (int k = 0; k < n; k++)
        taps[k].weight /= sum;
    return n;
}

static struct axis axis_of(const struct g_tensor *t, bool vertical)
{
    struct axis ax = {.in = vertical ? t->attr.interpolate.gh : t->attr.interpolate.gw,
                      .out = vertical ? t->attr.interpolate.h : t->attr.interpolate.w, .most = 4};
    if (t->attr.interpolate.antialias)
        ax.most = 2 * (int)ceilf(aa_support(t, &ax)) + 1;
    return ax;
}
static size_t axis_bytes(const struct axis *ax)
{
    return (size_t)ax->out * ((size_t)ax->most * sizeof(struct tap) + sizeof(int));
}
static void axis_make(const struct g_tensor *t, const struct g_env *env, struct axis *ax, char *memory)
{
    struct op_range r = op_share(env, ax->out, 1);
    ax->taps = (struct tap *)memory;
    ax->n = (int *)(memory + (size_t)ax->out * (size_t)ax->most * sizeof(struct tap));
    for (int i = (int)r.lo; i < (int)r.hi; i++) {
        struct tap *taps = ax->taps + (size_t)i * (size_t)ax->most;
        ax->n[i] = (t->attr.interpolate.antialias ? taps_antialias : taps_plain)(t, ax, i, taps);
    }
}
static void axes_make(const struct g_tensor *t, const struct g_env *env, struct axis *y, struct axis *x)
{
    *y = axis_of(t, true);
    *x = axis_of(t, false);
    axis_make(t, env, y, env->scratch);
    axis_make(t, env, x, (char *)env->scratch + axis_bytes(y));
    par_barrier(&env->par);
}

static int interpolate_ok(const struct g_tensor *t, int rows, int cols)
{
    const int size[] = {t->attr.interpolate.gh, t->attr.interpolate.gw, t->attr.interpolate.h, t->attr.interpolate.w};
    for (int i = 0; i < 4; i++)
        if (size[i] < 1 || size[i] > 1 << 15)
            return err_set(NUN_EARG, "interpolate: from %dx%d to %dx%d", size[0], size[1], size[2], size[3]);
    if (t->in[0]->dt != DT_F32 || t->in[0]->shape.n != 2 || t->in[0]->shape.d[0] != (int64_t)rows * cols)
        return op_bad(t, 0, "F32, a row a point of the grid");
    return 0;
}
static void interpolate_cost(const struct g_tensor *t, double points, struct g_cost *out)
{
    struct axis y = axis_of(t, true), x = axis_of(t, false);
    op_cost(t, 0, out);
    out->flops = 2.0 * points * (double)g_last(t) * (y.most * x.most + y.most);
    out->scratch = axis_bytes(&y) + axis_bytes(&x);
}

int shape_interpolate(struct g_tensor *t)
{
    TRY(interpolate_ok(t, t->attr.interpolate.gh, t->attr.interpolate.gw));
    TRY(op_like(t, 0));
    t->shape.d[0] = (int64_t)t->attr.interpolate.h * t->attr.interpolate.w;
    return 0;
}
void cost_interpolate(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    interpolate_cost(t, (double)t->shape.d[0], out);
}
/* n <= 64 columns of one point: along x for every tap of y, then along y. */
static void resample(const float *table, size_t d, const struct axis *ay, int oy, const struct axis *ax, int ox,
                     size_t n, float *y)
{
    const struct tap *ty = ay->taps + (size_t)oy * (size_t)ay->most, *tx = ax->taps + (size_t)ox * (size_t)ax->most;
    float sum[64] = {0};
    for (int a = 0; a < ay->n[oy]; a++) {
        float line[64] = {0};
        for (int b = 0; b < ax->n[ox]; b++) {
            const float *row = table + ((size_t)ty[a].at * (size_t)ax->in + (size_t)tx[b].at) * d;
            for (size_t k = 0; k < n; k++)
                line[k] += row[k] * tx[b].weight;
        }
        for (size_t k = 0; k < n; k++)
            sum[k] += line[k] * ty[a].weight;
    }
    memcpy(y, sum, n * sizeof *y);
}
void run_interpolate(const struct g_tensor *t, const struct g_env *env)
{
    struct axis ay, ax;
    axes_make(t, env, &ay, &ax);
    size_t d = (size_t)g_last(t);
    struct op_range r = op_share(env, t->shape.d[0], 1);
    for (size_t i = r.lo; i < r.hi; i++)
        for (size_t k = 0; k < d; k += 64)
            resample(g_f32(t->in[0]) + k, d, &ay, (int)i / ax.out, &ax, (int)i % ax.out, d - k < 64 ? d - k : 64,
                     g_f32(t) + i * d + k);
}
void grad_interpolate(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_interpolate_dx, &t->attr, 1, OP_IN(op_as(g, dt, t))));
}

int shape_interpolate_dx(struct g_tensor *t)
{
    TRY(interpolate_ok(t, t->attr.interpolate.h, t->attr.interpolate.w));
    TRY(op_like(t, 0));
    t->shape.d[0] = (int64_t)t->attr.interpolate.gh * t->attr.interpolate.gw;
    return 0;
}
void cost_interpolate_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    interpolate_cost(t, (double)t->in[0]->shape.d[0], out);
}
/* Every point adds to its taps, in order; threads share the columns. */
void run_interpolate_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct axis ay, ax;
    axes_make(t, env, &ay, &ax);
    size_t d = (size_t)g_last(t);
    struct op_range c = op_share(env, (int64_t)d, 16);
    for (int64_t i = 0; i < t->shape.d[0]; i++)
        memset(g_f32(t) + (size_t)i * d + c.lo, 0, (c.hi - c.lo) * sizeof(float));
    for (int i = 0; i < ay.out * ax.out; i++) {
        const struct tap *ty = ay.taps + (size_t)(i / ax.out) * (size_t)ay.most;
        const struct tap *tx = ax.taps + (size_t)(i % ax.out) * (size_t)ax.most;
        const float *dy = g_f32(t->in[0]) + (size_t)i * d;
        for (int a = 0; a < ay.n[i / ax.out]; a++)
            for (int b = 0; b < ax.n[i % ax.out]; b++) {
                float weight = ty[a].weight * tx[b].weight;
                float *to = g_f32(t) + ((size_t)ty[a].at * (size_t)ax.in + (size_t)tx[b].at) * d;
                for (size_t k = c.lo; k < c.hi; k++)
                    to[k] += weight * dy[k];
            }
    }
}

/* ---- mean_pool ---- */

int shape_mean_pool(struct g_tensor *t)
{
    const struct shape *s = &t->in[0]->shape;
    if (t->in[0]->dt != DT_F32 || s->n != 3 || s->d[1] < 1)
        return op_bad(t, 0, "F32 [B, T, D]");
    t->dt = DT_F32;
    t->shape = SHAPE2(s->d[0], s->d[2]);
    return 0;
}
void cost_mean_pool(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, (double)t->in[0]->shape.d[1], out);
}
void run_mean_pool(const struct g_tensor *t, const struct g_env *env)
{
    size_t b = (size_t)t->shape.d[0], d = (size_t)t->shape.d[1], rows = (size_t)t->in[0]->shape.d[1];
    struct op_range c = op_share(env, (int64_t)d, 16);
    size_t n = c.hi - c.lo;
    for (size_t i = 0; i < b; i++) {
        const float *x = g_f32(t->in[0]) + i * rows * d + c.lo;
        float *y = g_f32(t) + i * d + c.lo;
        memcpy(y, x, n * sizeof *y);
        for (size_t r = 1; r < rows; r++)
            env->kernels->add_map(n, y, x + r * d, y);
        env->kernels->scale_map(n, y, 1.0f / (float)rows, y);
    }
}
/* dt / T, repeated before the batch and then moved behind it. */
void grad_mean_pool(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    int64_t b = t->shape.d[0], d = t->shape.d[1], rows = t->in[0]->shape.d[1];
    if (!g_wants(t->in[0]) || !dt)
        return;
    struct g_tensor *share = g_reshape(g, g_scale(g, dt, 1.0f / (float)rows), SHAPE2(1, b * d));
    share = g_reshape(g, g_repeat_rows(g, share, rows), SHAPE3(rows, b, d));
    op_give(g, t, 0, g_transpose(g, share, (const int[4]){1, 0, 2, 3}));
}
