/* The report of a training as an HTML file with SVG curves. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_CURVES_H
#define TRAIN_CURVES_H
#include "base/buf.h"

/* log: the trainer's lines of JSON. Links to samples.html beside it. */
int train_curves(const char *path, const char *name, struct span log, uint64_t steps);

#endif
