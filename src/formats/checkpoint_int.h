/* What the two halves of the checkpoint store share: the manifest and the names of steps. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_CHECKPOINT_INT_H
#define FORMATS_CHECKPOINT_INT_H
#include <stdbool.h>
#include "base/span.h"
#include "formats/checkpoint.h"
#include "formats/json.h"

#define CKPT_MANIFEST "MANIFEST.json"
#define CKPT_ASIDE ".tmp"

/* Step folders of a store, oldest first; *steps is the caller's (mem_free). */
int ckpt_steps(const char *dir, uint64_t **steps, size_t *count);
int ckpt_step_path(const char *dir, uint64_t step, const char *suffix, char out[CKPT_PATH]);
bool ckpt_plain_name(const char *name);
/* BLAKE2b of the manifest without its own "checksum", as 64 hex digits. */
int ckpt_manifest_checksum(const json_t *manifest, char hex[65]);
/* ckpt_verify; sizes alone when !contents. */
int ckpt_check(const char *step_dir, bool contents, struct ckpt_info *out);

#endif
