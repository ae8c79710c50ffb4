/* verify/train.json: loss, every gradient and ten AdamW steps against the reference. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_VERIFY_TRAIN_H
#define TRAIN_VERIFY_TRAIN_H
#include "runtime/verify_int.h"

int verify_train(struct verify *v, const char *path);

#endif
