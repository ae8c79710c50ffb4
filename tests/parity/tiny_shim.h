/* What the parity test asks of docs/tour/tiny.c. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_TINY_SHIM_H
#define TESTS_TINY_SHIM_H

void tiny_open(const char *dir);
int tiny_encode(const char *text, int *ids);
/* Logits [T, V] out, gradients inside; returns the mean loss of tokens first..T-1. */
double tiny_learn(const float *pixels, const int *ids, int T, int first, float *logits);
const float *tiny_grad(const char *name); /* NULL: no such weight */

#endif
