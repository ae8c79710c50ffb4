/* Optimisers against torch.optim's own numbers: ../shared/fixtures/optim, skipped where it is absent. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "train/optim.h"

#define FIXTURE "../shared/fixtures/optim/verify/expected.safetensors"
enum { STEPS = 10, MAX_VALUES = 240 };

struct optim_case {
    const char *name;
    enum optim_kind kind;
    struct optim_settings settings;
    double clip, atol; /* clip 0: none */
};

static const struct optim_case cases[] = {
    {"adamw", OPTIM_ADAMW, {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f}, 0, 1e-5},
    {"adamw_clip1", OPTIM_ADAMW, {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f}, 1.0, 1e-5},
    {"sgd_momentum", OPTIM_SGD, {.lr = 0.01f, .momentum = 0.9f, .weight_decay = 0.01f}, 0, 1e-5},
    {"sgd_nesterov", OPTIM_SGD, {.lr = 0.01f, .momentum = 0.9f, .nesterov = true}, 0, 1e-5},
    {"lion", OPTIM_LION, {.lr = 0.003f, .beta1 = 0.9f, .beta2 = 0.99f, .weight_decay = 0.1f}, 0, 1e-5},
    {"muon", OPTIM_MUON, {.lr = 0.02f, .momentum = 0.95f, .weight_decay = 0.1f, .nesterov = true}, 0, 1e-3},
    {"muon_match_rms_adamw", OPTIM_MUON,
     {.lr = 0.02f, .momentum = 0.95f, .weight_decay = 0.1f, .nesterov = true, .muon_scale = 0.2f}, 0, 1e-3},
};

static const float *values(struct safetensors *st, const char *group, const char *part, int *n, int *dims, int64_t d[3])
{
    char name[96];
    snprintf(name, sizeof name, "%s/%s", group, part);
    const struct st_tensor *t = st_find(st, span_str(name));
    if (!t)
        return NULL;
    *dims = t->shape.n;
    *n = 1;
    for (int i = 0; i < t->shape.n; i++) {
        d[i] = t->shape.d[i];
        *n *= (int)t->shape.d[i];
    }
    return t->data;
}

struct part { struct g_param p; float w[MAX_VALUES], g[MAX_VALUES], state[2][MAX_VALUES]; const float *grads, *want; int n; };

static bool part_open(struct safetensors *st, const struct optim_case *c, const char *name, struct part *out)
{
    int n = 0, dims = 0, all = 0;
    int64_t d[3];
    memset(out, 0, sizeof *out);
    if (!(out->want = values(st, c->name, name, &all, &dims, d)))
        return false;
    out->grads = values(st, "gradients", name, &all, &dims, d);
    const float *start = values(st, "start", name, &n, &dims, d);
    out->n = n;
    out->p = (struct g_param){.name = name, .shape = {dims, {d[0], dims > 1 ? d[1] : 0}}, .trainable = true, .data = out->w};
    memcpy(out->w, start, (size_t)n * 4);
    return true;
}

static void check_case(struct safetensors *st, const struct optim_case *c)
{
    static struct part parts[2];
    _Alignas(64) static char scratch[1 << 20];
    int n = part_open(st, c, "w", &parts[0]);
    assert_int_equal(n, 1);
    n += part_open(st, c, "b", &parts[1]);
    for (int t = 0; t < STEPS; t++) {
        double sum = 0;
        for (int k = 0; k < n; k++)
            for (int i = 0; i < parts[k].n; i++) {
                parts[k].g[i] = parts[k].grads[t * parts[k].n + i];
                sum += (double)parts[k].g[i] * parts[k].g[i];
            }
        float factor = c->clip > 0 && sqrt(sum) > c->clip ? (float)(c->clip / (sqrt(sum) + 1e-6)) : 1;
        for (int k = 0; k < n; k++) {
            struct part *p = &parts[k];
            for (int i = 0; i < p->n; i++)
                p->g[i] *= factor;
            float *state[2] = {p->state[0], p->state[1]};
            optim_rows[c->kind].update(&p->p, p->w, p->g, state, &c->settings, t + 1, scratch);
            for (int i = 0; i < p->n; i++) {
                double want = p->want[t * p->n + i];
                if (fabs(p->w[i] - want) > c->atol + 1e-4 * fabs(want))
                    fail_msg("%s/%s step %d value %d: expected %.8g, found %.8g", c->name, p->p.name, t + 1, i, want, (double)p->w[i]);
            }
        }
    }
}

static void optimisers_equal_torch(void **state)
{
    struct safetensors *st;
    if (!file_exists(FIXTURE))
        skip();
    assert_int_equal(st_open(FIXTURE, &st), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(st, &cases[i]);
    st_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(optimisers_equal_torch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
