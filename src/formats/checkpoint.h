/* The checkpoint store: a folder of steps that survives a crash at any write. A step is written aside
 * (step-00001000.tmp), checksummed, synced, read back, renamed, and only then are older ones removed;
 * two good ones are always kept. Knows no tensors: files come as bytes or through a sink. The trainer
 * calls it. Any failure leaves the good checkpoints as they were, so training may go on. */
/* SPDX-License-Identifier: MIT */
#ifndef FORMATS_CHECKPOINT_H
#define FORMATS_CHECKPOINT_H
#include <stdint.h>
#include "formats/sink.h"

#define CKPT_MIN_KEEP 2
#define CKPT_TEXT 129 /* room for a fingerprint or hash, with its NUL */
#define CKPT_PATH 4096

struct ckpt_store;
struct ckpt; /* one being written */

/* What a resuming run compares before it trusts the files. Printable ASCII, at most 128 characters. */
struct ckpt_facts {
    const char *data_fingerprint; /* NULL is "" */
    const char *config_hash;
    int world_size;               /* 0 is 1 */
};

struct ckpt_info {
    uint64_t step;
    char path[CKPT_PATH]; /* the step's folder */
    char data_fingerprint[CKPT_TEXT], config_hash[CKPT_TEXT];
    int world_size;
};

/* Make the folder if need be and remove what a crash left behind. keep: at least 2. One writer at a time. */
int ckpt_open(const char *dir, int keep, struct ckpt_store **out);
void ckpt_close(struct ckpt_store *store); /* NULL is fine */

/* Start step `step`, of about `bytes` bytes in all: NUN_EIO when less than 1.1 times that is free,
 * NUN_EARG when a good checkpoint of that step is there already. */
int ckpt_begin(struct ckpt_store *store, uint64_t step, uint64_t bytes, struct ckpt **out);
/* A file of the step; `name` is a plain file name. After a failure the rest is skipped and ckpt_commit
 * returns the failure. */
int ckpt_add_file(struct ckpt *c, const char *name, int (*emit)(void *arg, struct sink *out), void *arg);
int ckpt_add_bytes(struct ckpt *c, const char *name, const void *p, size_t n);
/* Both end `c`. When commit returns 0 the step is on the disk. */
int ckpt_commit(struct ckpt *c, const struct ckpt_facts *facts);
void ckpt_abort(struct ckpt *c); /* NULL is fine */

/* The newest checkpoint whose every checksum holds; each bad one on the way is skipped with a loud log
 * line. 1 when there is none. */
int ckpt_latest(const struct ckpt_store *store, struct ckpt_info *out);
/* The same without opening for writing: nothing is removed. */
int ckpt_latest_in(const char *dir, struct ckpt_info *out);
/* Every file of one step's folder against its manifest: NUN_EFORMAT says what differs. `out` may be NULL. */
int ckpt_verify(const char *step_dir, struct ckpt_info *out);

#endif
