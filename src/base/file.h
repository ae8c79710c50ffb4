/* Files: whole reads with a maximum, read-only maps, durable writes (aside, fsync, rename, fsync of
 * the folder). */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <stdbool.h>
#include "base/buf.h"
#include "base/span.h"

struct file_map { const unsigned char *ptr; size_t len; int fd; };

/* Map a regular file read-only. An empty file maps to ptr "" and len 0. */
int file_map(const char *path, struct file_map *out);
void file_unmap(struct file_map *m);

/* Append the whole file to `out`; more than out->max bytes is NUN_ELIMIT with both numbers. */
int file_read(const char *path, struct buf *out);
/* Write a file so that after a crash either the old or the new one is there, whole. */
int file_write_durable(const char *path, const void *p, size_t n);
int file_fsync_dir(const char *dir);
int file_mkdirs(const char *path);   /* like mkdir -p */
bool file_exists(const char *path);
bool file_is_dir(const char *path);
int64_t file_size(const char *path); /* -1 when there is none */
int file_remove_tree(const char *path);
/* Names (not paths) in a folder, sorted bytewise, in one block: names[i]; free with mem_free. */
int file_list(const char *dir, char ***names, size_t *count);
/* "dir/name" into out; NUN_ELIMIT when it does not fit. */
int path_join(char *out, size_t cap, const char *dir, const char *name);
/* The part after the last '/'. Borrowed. */
const char *path_base(const char *path);

#endif
