/* Model folders from a hub, in the cache that huggingface_hub keeps: blobs by their hash, snapshots of links to
 * them, refs to commits. Either program finds what the other fetched. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_HUB_H
#define NUNCHI_HUB_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

struct nun_hub_file { const char *name; int64_t done, size; }; /* of the file being fetched */

struct nun_hub_options {
    const char *cache;               /* the folder "hub" */
    const char *endpoint;            /* NULL: https://huggingface.co */
    const char *token;               /* sent to the endpoint only; NULL: none */
    const char *revision;            /* branch, tag or commit; NULL: main */
    const char *const *include;      /* [n_include] globs of files; none: config, tokenizer and safetensors */
    size_t n_include;
    void (*progress)(void *arg, const struct nun_hub_file *file); /* may be NULL */
    void *arg;
};

/* Fetch what is not there yet of "org/name"; broken off, it goes on where it was. The folder of the snapshot goes to
 * out [capacity]. */
int nun_hub_pull(const char *repo, const struct nun_hub_options *options, char *out, size_t capacity);
/* The snapshot of "org/name" or "org/name@revision" in the cache: 0, or 1 when there is none. No network. */
int nun_hub_find(const char *cache, const char *repo, char *out, size_t capacity);

/* One snapshot of the cache. */
struct nun_hub_entry { const char *repo, *revision, *folder; uint64_t bytes; }; /* revision: names of refs, else the commit */
int nun_hub_list(const char *cache, void (*emit)(void *arg, const struct nun_hub_entry *entry), void *arg);

#ifdef __cplusplus
}
#endif
#endif
