/* The network of the hub: libcurl behind one function. http and https only, certificates checked, redirects counted,
 * a stalled transfer given up. The token goes to the host that was asked and to no other. */
/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "runtime/hub_int.h"

enum { REDIRECTS = 5, CONNECT_S = 30, STALLED_S = 60 };

struct transfer {
    CURL *curl;
    const struct hub_request *r;
    struct hub_answer *a;
    int rc;                      /* of take */
};

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- headers --------------------------------------------------------------------------------------------- */

static void copy_text(struct span v, char *out, size_t cap)
{
    size_t n = v.len < cap ? v.len : 0; /* too long: as if it were absent */
    memcpy(out, v.ptr, n);
    out[n] = '\0';
}

/* W/"abc" and "abc" are abc */
static void copy_etag(struct span v, char *out, size_t cap)
{
    if (span_starts(v, SPAN("W/")))
        v = span_from(v, 2);
    if (v.len >= 2 && v.ptr[0] == '"' && v.ptr[v.len - 1] == '"')
        v = span_of(v.ptr + 1, v.len - 2);
    copy_text(v, out, cap);
}

static int64_t number(struct span v)
{
    int64_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9' || n > INT64_MAX / 10 - 1)
            return -1;
        n = 10 * n + (v.ptr[i] - '0');
    }
    return v.len ? n : -1;
}

static void on_length(struct hub_answer *a, struct span v) { a->length = number(v); }
static void on_linked_size(struct hub_answer *a, struct span v) { a->linked_size = number(v); }
static void on_etag(struct hub_answer *a, struct span v) { copy_etag(v, a->etag, sizeof a->etag); }
static void on_linked_etag(struct hub_answer *a, struct span v) { copy_etag(v, a->linked_etag, sizeof a->linked_etag); }
static void on_commit(struct hub_answer *a, struct span v) { copy_text(v, a->commit, sizeof a->commit); }
static void on_location(struct hub_answer *a, struct span v) { copy_text(v, a->location, sizeof a->location); }

/* "bytes 100-199/200" */
static void on_range(struct hub_answer *a, struct span v)
{
    const char *dash = span_starts(v, SPAN("bytes ")) ? memchr(v.ptr, '-', v.len) : NULL;
    a->from = dash ? number(span_of(v.ptr + 6, (size_t)(dash - v.ptr) - 6)) : -1;
}

static const struct header { const char *name; void (*take)(struct hub_answer *a, struct span v); } headers[] = {
    {"content-length", on_length}, {"x-linked-size", on_linked_size}, {"etag", on_etag}, {"x-linked-etag", on_linked_etag},
    {"x-repo-commit", on_commit}, {"location", on_location}, {"content-range", on_range}};

static struct span trimmed(struct span v)
{
    while (v.len && strchr(" \t\r\n", *v.ptr))
        v = span_from(v, 1);
    while (v.len && strchr(" \t\r\n", v.ptr[v.len - 1]))
        v.len--;
    return v;
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct span line = span_of(p, n);
    const char *colon = memchr(p, ':', n);
    if (span_starts(line, SPAN("HTTP/"))) /* of the next answer in a row of redirects */
        *t->a = (struct hub_answer){.length = -1, .linked_size = -1};
    for (size_t i = 0; colon && i < sizeof headers / sizeof headers[0]; i++)
        if ((size_t)(colon - p) == strlen(headers[i].name) && !strncasecmp(p, headers[i].name, strlen(headers[i].name)))
            headers[i].take(t->a, trimmed(span_from(line, (size_t)(colon - p) + 1)));
    return size * n;
}

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->a->status);
    bool good = t->a->status == 200 || t->a->status == 206;
    if (good && t->r->take)
        t->rc = t->r->take(t->r->arg, t->a, p, size * n);
    return t->rc < 0 ? 0 : size * n;
}

/* ---- requests --------------------------------------------------------------------------------------------- */

static void set_options(struct transfer *t, const char *url)
{
    CURL *c = t->curl;
    bool secure = !strncasecmp(url, "https:", 6);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, t->r->head ? 0L : 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "nunchi");
    curl_easy_setopt(c, CURLOPT_NOBODY, t->r->head ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    if (t->r->token) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, t->r->token);
    }
    if (t->r->from > 0) { /* as a range: a server may send the whole all the same */
        char range[32];
        snprintf(range, sizeof range, "%lld-", (long long)t->r->from);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

static int perform(const struct hub_request *r, const char *url, struct hub_answer *a)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    struct transfer t = {curl_easy_init(), r, a, 0};
    *a = (struct hub_answer){.length = -1, .linked_size = -1};
    if (!t.curl)
        return err_nomem(0);
    set_options(&t, url);
    CURLcode code = curl_easy_perform(t.curl);
    curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_cleanup(t.curl);
    if (t.rc < 0)
        return t.rc;
    return code == CURLE_OK ? 0 : err_set(NUN_EIO, "%s: %s", url, curl_easy_strerror(code));
}

/* A HEAD follows redirects within the host (a repository that was renamed); one to elsewhere is the answer itself. */
int hub_http(const struct hub_request *r, struct hub_answer *a)
{
    char url[HUB_PATH];
    if (snprintf(url, sizeof url, "%s", r->url) >= (int)sizeof url)
        return err_set(NUN_ELIMIT, "%.100s...: the address is longer than %zu bytes", r->url, sizeof url);
    for (int i = 0; i < REDIRECTS; i++) {
        TRY(perform(r, url, a));
        if (!r->head || a->status < 300 || a->status > 399 || a->location[0] != '/' || a->location[1] == '/')
            return 0;
        const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
        size_t keep = path ? (size_t)(path - url) : strlen(url);
        if (keep + strlen(a->location) >= sizeof url)
            return err_set(NUN_ELIMIT, "%.100s...: the address is longer than %zu bytes", url, sizeof url);
        snprintf(url + keep, sizeof url - keep, "%s", a->location);
    }
    return err_set(NUN_EIO, "%s: more than %d redirects", r->url, REDIRECTS);
}

static int append(void *arg, const struct hub_answer *a, const void *p, size_t n)
{
    buf_append(arg, p, n);
    return buf_error(arg);
}

int hub_http_text(const char *url, const char *token, struct buf *out)
{
    struct hub_answer a;
    const struct hub_request r = {.url = url, .token = token, .take = append, .arg = out};
    TRY(hub_http(&r, &a));
    if (a.status == 200)
        return 0;
    return err_set(NUN_EIO, "%s: the server answered %ld%s", url, a.status,
                   a.status == 401 || a.status == 403 ? ": it may want a token (HF_TOKEN)" : a.status == 404 ? ": there is no such model or revision" : "");
}

void hub_escape(const char *path, struct buf *out)
{
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~/", c);
        if (plain)
            buf_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}
