/* Between hub.c (fetching), hub_cache.c (where things lie) and hub_http.c (the network). */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_HUB_INT_H
#define RUNTIME_HUB_INT_H
#include "base/buf.h"
#include "nunchi/hub.h"

enum { HUB_PATH = 4096, HUB_NAME = 256 };

/* ---- names from outside ---- */

/* "org/name" or "name", of letters, digits, '-', '_', '.'. */
bool hub_repo_ok(const char *repo);
/* A relative path that stays inside. */
bool hub_file_ok(const char *name);
bool hub_commit_ok(const char *commit); /* 40 hex digits */
bool hub_etag_ok(const char *etag);
bool hub_revision_ok(const char *revision);

/* ---- the cache ---- */

/* <cache>/models--org--name/<what>/<name>; name NULL: the folder. */
int hub_path(const char *cache, const char *repo, const char *what, const char *name, char out[HUB_PATH]);
int hub_mkdir_of(const char *path); /* the folder that the file lies in */
/* The commit that a ref names; 1: no such ref. */
int hub_read_ref(const char *cache, const char *repo, const char *revision, char out[64]);

/* ---- one request ---- */

struct hub_answer {
    long status;
    int64_t length;              /* of the body, -1 unknown */
    int64_t from;                /* Content-Range begins here; 0 without one */
    int64_t linked_size;         /* X-Linked-Size; -1 without one */
    char etag[HUB_NAME], linked_etag[HUB_NAME]; /* without quotes */
    char commit[64], location[HUB_PATH];
};

struct hub_request {
    const char *url, *token;
    bool head;                   /* only headers, and no redirect to another host is followed */
    int64_t from;                /* ask for the rest from here */
    /* Bytes of a good answer, whose headers are known. Negative ends the request with that code. */
    int (*take)(void *arg, const struct hub_answer *a, const void *p, size_t n);
    void *arg;
};

/* NUN_EIO when there was no answer; any status is an answer. */
int hub_http(const struct hub_request *r, struct hub_answer *a);
/* The whole body into out. NUN_EIO for any status but 200. */
int hub_http_text(const char *url, const char *token, struct buf *out);
void hub_escape(const char *path, struct buf *out); /* for URLs; slashes stay */

#endif
