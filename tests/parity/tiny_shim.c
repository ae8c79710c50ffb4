/* docs/tour/tiny.c as a library: its names collide with the engine's, so it lives in a file of its own. */
/* SPDX-License-Identifier: MIT */
#define TINY_NO_MAIN
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wshadow"
#include "../../docs/tour/tiny.c"

#include "tiny_shim.h"

static struct model tiny;

void tiny_open(const char *dir)
{
    load(&tiny, dir);
}

int tiny_encode(const char *text, int *ids)
{
    return encode(&tiny.tok, text, ids);
}

double tiny_learn(const float *pixels, const int *ids, int T, int first, float *logits)
{
    struct pass s;
    forward(&tiny, &s, pixels, ids, T);
    memcpy(logits, s.logits, (size_t)T * (size_t)tiny.vocab * sizeof(float));
    float *d = floats((size_t)T * (size_t)tiny.vocab);
    double loss = loss_of(&tiny, &s, first, d);
    backward(&tiny, &s, d);
    free(d);
    forget(&tiny, &s);
    return loss;
}

const float *tiny_grad(const char *name)
{
    struct tensor *t = find(&tiny, "", -1, name);
    return t ? t->g : NULL;
}
