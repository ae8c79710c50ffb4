/* tiny.c: a multimodal language model in one file, to be read from top to bottom.
 *
 * It loads the bundled model (a LLaVA: SigLIP tower, two-layer connector, Llama decoder), turns a PNG and a
 * question into an answer, and takes training steps with a backward pass written by hand. No SIMD, no
 * threads, no tricks: every loop is the formula. The engine is tested against this file and this file
 * against the engine, so neither can go stale.
 *
 *   cc -O2 docs/tour/tiny.c -o tiny -lpng -lm
 *   ./tiny models/scenes examples/stars.png "Is there a red circle?"
 *   ./tiny models/scenes examples/stars.png "Is there a red circle?" --teach "no" 20
 *
 * Shapes: T rows (tokens or patches), H width, D head width, V vocabulary. Row-major, last index fastest.
 * The order of understanding: 1 memory, 2 JSON, 3 weights, 4 tokens, 5 pictures, 6 the five layers and their
 * gradients, 7 a block, 8 the model, 9 answering, 10 learning, 11 main. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <png.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- 1. memory: this is a script, so it stops at the first thing that goes wrong ------------------- */

static void die(const char *what, const char *which)
{
    fprintf(stderr, "tiny: %s %s\n", what, which);
    exit(2);
}

static void *make(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p)
        die("out of memory", "");
    return p;
}

static float *floats(size_t n)
{
    return make(n, sizeof(float));
}

/* The whole file, with a zero behind it. */
static char *slurp(const char *dir, const char *name, size_t *len)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        die("cannot open", path);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *p = make((size_t)n + 1, 1);
    if (n < 0 || fread(p, 1, (size_t)n, f) != (size_t)n)
        die("cannot read", path);
    fclose(f);
    if (len)
        *len = (size_t)n;
    return p;
}

/* ---- 2. JSON: a cursor that finds keys and steps over values -------------------------------------- */

static const char *blank(const char *s)
{
    while (*s == ' ' || *s == '\n' || *s == '\t' || *s == '\r' || *s == ',' || *s == ':')
        s++;
    return s;
}

/* Behind the value that starts at s. */
static const char *skip_value(const char *s)
{
    int depth = 0;
    s = blank(s);
    do {
        if (*s == '"') {
            for (s++; *s && *s != '"'; s++)
                if (*s == '\\')
                    s++;
            s++;
        } else if (*s == '{' || *s == '[') {
            depth++;
            s++;
        } else if (*s == '}' || *s == ']') {
            depth--;
            s++;
        } else {
            while (*s && !strchr(",}] \n", *s))
                s++;
        }
        if (depth)
            s = blank(s);
    } while (depth && *s);
    return s;
}

/* A string's bytes, escapes undone, into out; returns the place behind it. */
static const char *string(const char *s, char *out, size_t cap)
{
    size_t n = 0;
    for (s++; *s && *s != '"'; s++) {
        unsigned c = (unsigned char)*s;
        if (c == '\\') {
            s++;
            c = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s == 'r' ? '\r' : (unsigned char)*s;
            if (*s == 'u') {
                c = (unsigned)strtoul((char[5]){s[1], s[2], s[3], s[4], 0}, NULL, 16);
                s += 4;
            }
        }
        if (c >= 0x80 && s[0] && (unsigned char)*s < 0x80 && n + 3 < cap) { /* an escape: as UTF-8 */
            if (c >= 0x800)
                out[n++] = (char)(0xe0 | c >> 12);
            out[n++] = (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6);
            c = 0x80 | (c & 0x3f);
        }
        if (n + 1 < cap)
            out[n++] = (char)c;
    }
    out[n] = 0;
    return s + 1;
}

/* The value of `key` in the object at s; NULL when it is not there. */
static const char *get(const char *s, const char *key)
{
    char name[256];
    s = blank(s);
    if (*s != '{')
        return NULL;
    for (s = blank(s + 1); *s && *s != '}'; s = blank(skip_value(s))) {
        s = blank(string(s, name, sizeof name));
        if (!strcmp(name, key))
            return s;
    }
    return NULL;
}

static double number(const char *object, const char *key)
{
    const char *v = get(object, key);
    if (!v)
        die("config.json lacks", key);
    return strtod(v, NULL);
}

/* ---- 3. weights: safetensors is 8 bytes of length, a JSON header, then the values ------------------ */

struct tensor {
    char name[128];
    int rows, cols;       /* everything after the first dimension is columns; a vector is one row */
    float *w, *g, *m, *v; /* values, gradient, Adam's two moments */
};

static float from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static void read_tensor(struct tensor *t, const char *entry, const char *values)
{
    const char *dtype = get(entry, "dtype"), *shape = get(entry, "shape"), *at = get(entry, "data_offsets");
    long dims[8] = {0}, n = 0, count = 1;
    for (const char *s = blank(shape + 1); *s != ']'; s = blank(s)) {
        dims[n] = strtol(s, (char **)&s, 10);
        count *= dims[n++];
    }
    const char *from = values + strtol(at + 1, NULL, 10);
    t->rows = n > 1 ? (int)dims[0] : 1;
    t->cols = (int)(count / t->rows);
    t->w = floats((size_t)count);
    t->g = floats((size_t)count);
    t->m = floats((size_t)count);
    t->v = floats((size_t)count);
    for (long i = 0; i < count; i++) {
        if (!strncmp(dtype, "\"BF16", 5))
            t->w[i] = from_bf16(((const uint16_t *)(const void *)from)[i]);
        else
            memcpy(&t->w[i], from + 4 * i, 4);
    }
}

static struct tensor *read_weights(const char *dir, int *count)
{
    size_t len;
    char *file = slurp(dir, "model.safetensors", &len), *header = make(len, 1);
    uint64_t n;
    memcpy(&n, file, 8);
    memcpy(header, file + 8, (size_t)n);
    struct tensor *all = make(1024, sizeof *all);
    *count = 0;
    for (const char *s = blank(header + 1); *s && *s != '}'; s = blank(skip_value(s))) {
        struct tensor *t = &all[*count];
        s = blank(string(s, t->name, sizeof t->name));
        if (strcmp(t->name, "__metadata__")) {
            read_tensor(t, s, file + 8 + n);
            ++*count;
        }
    }
    free(header);
    free(file);
    return all;
}

/* ---- 4. tokens: byte-level BPE -------------------------------------------------------------------- */

enum { MAX_VOCAB = 2048, MAX_TEXT = 1024 };

struct tokenizer {
    char *piece[MAX_VOCAB];      /* as the file spells them: bytes as printable characters */
    int n;
    char *left[MAX_VOCAB], *right[MAX_VOCAB]; /* merges, best first */
    int merges;
};

/* GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on. */
static int alphabet(int byte)
{
    static int map[256], ready;
    for (int b = 0, next = 256; !ready && b < 256; b++)
        map[b] = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++;
    ready = 1;
    return map[byte];
}

static void spell(const unsigned char *bytes, int n, char *out)
{
    for (int i = 0; i < n; i++) {
        int c = alphabet(bytes[i]);
        if (c < 0x80) {
            *out++ = (char)c;
        } else {
            *out++ = (char)(0xc0 | c >> 6);
            *out++ = (char)(0x80 | (c & 0x3f));
        }
    }
    *out = 0;
}

static char *copy(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(make(n, 1), s, n);
}

static void read_merge(struct tokenizer *t, const char *s)
{
    char a[256], b[256];
    if (*s == '[') {
        s = blank(string(blank(s + 1), a, sizeof a));
        string(s, b, sizeof b);
    } else {
        string(s, a, sizeof a);
        char *space = strchr(a, ' ');
        memcpy(b, space + 1, strlen(space + 1) + 1);
        *space = 0;
    }
    t->left[t->merges] = copy(a);
    t->right[t->merges++] = copy(b);
}

static void read_tokenizer(struct tokenizer *t, const char *dir)
{
    char name[256], *file = slurp(dir, "tokenizer.json", NULL);
    const char *model = get(file, "model"), *s;
    for (s = blank(get(model, "vocab") + 1); *s != '}';) {
        s = blank(string(s, name, sizeof name));
        int id = (int)strtol(s, (char **)&s, 10);
        t->piece[id] = copy(name);
        t->n = id >= t->n ? id + 1 : t->n;
        s = blank(s);
    }
    for (s = blank(get(model, "merges") + 1); *s != ']'; s = blank(skip_value(s)))
        read_merge(t, s);
    for (s = blank(get(file, "added_tokens") + 1); *s != ']'; s = blank(skip_value(s))) {
        int id = (int)number(s, "id");
        string(get(s, "content"), name, sizeof name);
        free(t->piece[id]); /* a vocabulary may list it too */
        t->piece[id] = copy(name);
        t->n = id >= t->n ? id + 1 : t->n;
    }
    free(file);
}

static int id_of(const struct tokenizer *t, const char *piece)
{
    for (int i = 0; i < t->n; i++)
        if (t->piece[i] && !strcmp(t->piece[i], piece))
            return i;
    return -1;
}

static bool upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool lower(char c) { return c >= 'a' && c <= 'z'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Length of the next word of the bundled tokenizer's pattern:
 * [A-Z](?![a-z])|[0-9]| ?[A-Z]?[a-z]+| ?[^\sA-Za-z0-9]+|\s+ */
static int word(const char *s)
{
    if ((upper(*s) && !lower(s[1])) || digit(*s))
        return 1;
    int n = *s == ' ', m = n + (upper(s[n]) && lower(s[n + 1]));
    if (lower(s[m])) {
        while (lower(s[m]))
            m++;
        return m;
    }
    m = n;
    while (s[m] && !space(s[m]) && !upper(s[m]) && !lower(s[m]) && !digit(s[m]))
        m++;
    if (m > n)
        return m;
    for (n = 0; space(s[n]);)
        n++;
    return n ? n : 1;
}

/* One word: start from single characters, apply the best merge until none is left. */
static int encode_word(const struct tokenizer *t, const char *s, int len, int *ids)
{
    char part[MAX_TEXT][64];
    int n = 0;
    for (int i = 0; i < len && n < MAX_TEXT; i++)
        spell((const unsigned char *)s + i, 1, part[n++]);
    for (;;) {
        int best = t->merges, where = -1;
        for (int i = 0; i + 1 < n; i++)
            for (int k = 0; k < best; k++)
                if (!strcmp(part[i], t->left[k]) && !strcmp(part[i + 1], t->right[k])) {
                    best = k;
                    where = i;
                }
        if (where < 0)
            break;
        size_t used = strlen(part[where]), more = strlen(part[where + 1]) + 1;
        if (used + more <= sizeof part[0])
            memmove(part[where] + used, part[where + 1], more);
        memmove(part[where + 1], part[where + 2], (size_t)(n - where - 2) * sizeof part[0]);
        n--;
    }
    for (int i = 0; i < n; i++)
        ids[i] = id_of(t, part[i]);
    return n;
}

static int encode(const struct tokenizer *t, const char *text, int *ids)
{
    int n = 0;
    while (*text) {
        int len = word(text);
        n += encode_word(t, text, len, ids + n);
        text += len;
    }
    return n;
}

/* A piece's bytes to stdout. */
static void print_token(const struct tokenizer *t, int id)
{
    const unsigned char *s = (const unsigned char *)t->piece[id];
    while (*s) {
        int c = *s < 0x80 ? *s : (*s & 0x1f) << 6 | (s[1] & 0x3f);
        s += *s < 0x80 ? 1 : 2;
        for (int b = 0; b < 256; b++)
            if (alphabet(b) == c)
                putchar(b);
    }
    fflush(stdout);
}

/* ---- 5. pictures: a PNG of the tower's size to [3, side, side] in -1..1 ----------------------------- */

static float *read_picture(const char *path, int side)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&png, path))
        die("cannot read the picture", path);
    png.format = PNG_FORMAT_RGB;
    if ((int)png.width != side || (int)png.height != side)
        die("tiny.c does not resize; the picture must have the tower's size:", path);
    unsigned char *rgb = make(PNG_IMAGE_SIZE(png), 1);
    if (!png_image_finish_read(&png, NULL, rgb, 0, NULL))
        die("cannot decode", path);
    float *x = floats(3 * (size_t)side * (size_t)side);
    for (int i = 0; i < side * side; i++)
        for (int c = 0; c < 3; c++)
            x[c * side * side + i] = ((float)(rgb[3 * i + c] * (1.0 / 255.0)) - 0.5f) / 0.5f;
    free(rgb);
    return x;
}

/* ---- 6. five layers, each forward and backward ----------------------------------------------------- */
/* Backward functions add to gradients: dx, and the parameter's g. A NULL dx is not wanted. */

/* y[T,N] = x[T,K] w[N,K]^T + b[N] */
static void linear(float *y, const float *x, const struct tensor *w, const struct tensor *b, int T)
{
    int N = w->rows, K = w->cols;
    for (int t = 0; t < T; t++)
        for (int n = 0; n < N; n++) {
            float s = b ? b->w[n] : 0;
            for (int k = 0; k < K; k++)
                s += x[t * K + k] * w->w[n * K + k];
            y[t * N + n] = s;
        }
}

static void linear_back(float *dx, const float *dy, const float *x, struct tensor *w, struct tensor *b, int T)
{
    int N = w->rows, K = w->cols;
    for (int t = 0; t < T; t++)
        for (int n = 0; n < N; n++) {
            float d = dy[t * N + n];
            if (b)
                b->g[n] += d;
            for (int k = 0; k < K; k++) {
                w->g[n * K + k] += d * x[t * K + k];
                if (dx)
                    dx[t * K + k] += d * w->w[n * K + k];
            }
        }
}

/* RMS norm without b, layer norm with: y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * w + b */
static void norm(float *y, const float *x, const struct tensor *w, const struct tensor *b, float eps, int T)
{
    int H = w->cols;
    for (int t = 0; t < T; t++) {
        const float *row = x + t * H;
        double mean = 0, var = 0;
        for (int i = 0; b && i < H; i++)
            mean += row[i] / (double)H;
        for (int i = 0; i < H; i++)
            var += (row[i] - mean) * (row[i] - mean) / H;
        double scale = 1 / sqrt(var + eps);
        for (int i = 0; i < H; i++)
            y[t * H + i] = (float)((row[i] - mean) * scale) * w->w[i] + (b ? b->w[i] : 0);
    }
}

static void norm_back(float *dx, const float *dy, const float *x, struct tensor *w, struct tensor *b, float eps, int T)
{
    int H = w->cols;
    for (int t = 0; t < T; t++) {
        const float *row = x + t * H, *d = dy + t * H;
        double mean = 0, var = 0, sum = 0, dot = 0;
        for (int i = 0; b && i < H; i++)
            mean += row[i] / (double)H;
        for (int i = 0; i < H; i++)
            var += (row[i] - mean) * (row[i] - mean) / H;
        double scale = 1 / sqrt(var + eps);
        for (int i = 0; i < H; i++) {
            double xhat = (row[i] - mean) * scale, dxhat = (double)d[i] * w->w[i];
            w->g[i] += (float)(d[i] * xhat);
            if (b)
                b->g[i] += d[i];
            sum += dxhat / H;
            dot += dxhat * xhat / H;
        }
        for (int i = 0; i < H; i++) {
            double xhat = (row[i] - mean) * scale;
            dx[t * H + i] += (float)(scale * ((double)d[i] * w->w[i] - (b ? sum : 0) - xhat * dot));
        }
    }
}

/* Rotary positions: the pairs (i, i + D/2) of each head turn by pos * theta^(-2i/D); sign -1 turns back. */
static void rope(float *x, int T, int heads, int D, float theta, float sign)
{
    for (int t = 0; t < T; t++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < D / 2; i++) {
                float *a = x + (t * heads + h) * D + i, *b = a + D / 2;
                float angle = (float)t * (1.0f / powf(theta, (float)(2 * i) / (float)D));
                float c = cosf(angle), s = sign * sinf(angle), u = *a, v = *b;
                *a = u * c - v * s;
                *b = v * c + u * s;
            }
}

/* p[heads,T,T] = softmax(q k^T / sqrt(D)) over the keys a row may see; y[T,heads*D] = p v */
static void attention(float *y, float *p, const float *q, const float *k, const float *v, int T, int heads, int D, bool causal)
{
    float scale = 1 / sqrtf((float)D);
    int W = heads * D;
    for (int h = 0; h < heads; h++)
        for (int t = 0; t < T; t++) {
            float *row = p + (h * T + t) * T, most = -INFINITY, sum = 0;
            int seen = causal ? t + 1 : T;
            for (int j = 0; j < seen; j++) {
                row[j] = 0;
                for (int i = 0; i < D; i++)
                    row[j] += q[t * W + h * D + i] * k[j * W + h * D + i];
                row[j] *= scale;
                most = fmaxf(most, row[j]);
            }
            for (int j = 0; j < seen; j++)
                sum += row[j] = expf(row[j] - most);
            for (int j = 0; j < seen; j++) {
                row[j] /= sum;
                for (int i = 0; i < D; i++)
                    y[t * W + h * D + i] += row[j] * v[j * W + h * D + i];
            }
        }
}

static void attention_back(float *dq, float *dk, float *dv, const float *dy, const float *p, const float *q, const float *k,
                           const float *v, int T, int heads, int D, bool causal)
{
    float scale = 1 / sqrtf((float)D), *dp = floats((size_t)T);
    int W = heads * D;
    for (int h = 0; h < heads; h++)
        for (int t = 0; t < T; t++) {
            const float *row = p + (h * T + t) * T;
            float mean = 0;
            int seen = causal ? t + 1 : T;
            for (int j = 0; j < seen; j++) {
                dp[j] = 0;
                for (int i = 0; i < D; i++) {
                    dp[j] += dy[t * W + h * D + i] * v[j * W + h * D + i];
                    dv[j * W + h * D + i] += row[j] * dy[t * W + h * D + i];
                }
                mean += row[j] * dp[j];
            }
            for (int j = 0; j < seen; j++) {
                float ds = row[j] * (dp[j] - mean) * scale; /* through the softmax */
                for (int i = 0; i < D; i++) {
                    dq[t * W + h * D + i] += ds * k[j * W + h * D + i];
                    dk[j * W + h * D + i] += ds * q[t * W + h * D + i];
                }
            }
        }
    free(dp);
}

/* Activations and their derivatives. */
enum kind { SILU, GELU, GELU_TANH };

static float act(enum kind kind, float x)
{
    if (kind == SILU)
        return x / (1 + expf(-x));
    if (kind == GELU)
        return 0.5f * x * (1 + erff(x * 0.70710678f));
    return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
}

static float act_slope(enum kind kind, float x)
{
    if (kind == SILU) {
        float s = 1 / (1 + expf(-x));
        return s * (1 + x * (1 - s));
    }
    if (kind == GELU)
        return 0.5f * (1 + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
    float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456f * (1 + 3 * 0.044715f * x * x);
}

/* ---- 7. a block: x + attention(norm(x)), then x + mlp(norm(x)) -------------------------------------- */
/* Tower and decoder differ in facts: layer or RMS norm, biases, rope, causality, a gated MLP. */

struct facts { int hidden, layers, heads, D, mlp; float eps, theta; bool causal; enum kind act; };

enum { N1W, N1B, QW, QB, KW, KB, VW, VB, OW, OB, N2W, N2B, GW, UW, UB, DW, DB, ROLES };
struct block { struct tensor *w[ROLES]; };

/* What the backward pass needs of one block's forward pass. */
struct kept { float *x, *h1, *q, *k, *v, *p, *y, *x2, *h2, *gate, *up, *mid; };

static void add(float *to, const float *from, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += from[i];
}

static struct kept keep(const struct facts *f, int T)
{
    size_t n = (size_t)T * (size_t)f->hidden, m = (size_t)T * (size_t)f->mlp;
    struct kept c = {floats(n), floats(n), floats(n), floats(n), floats(n), floats((size_t)f->heads * (size_t)T * (size_t)T),
                     floats(n), floats(n), floats(n), floats(m), floats(m), floats(m)};
    return c;
}

static void drop(struct kept *c)
{
    float *all[] = {c->x, c->h1, c->q, c->k, c->v, c->p, c->y, c->x2, c->h2, c->gate, c->up, c->mid};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* x[T,H] in place. */
static void block(const struct facts *f, const struct block *b, struct kept *c, float *x, int T)
{
    int H = f->hidden, n = T * H, m = T * f->mlp;
    float *out = floats((size_t)n);
    struct tensor *const *w = b->w;
    *c = keep(f, T);
    memcpy(c->x, x, (size_t)n * 4);
    norm(c->h1, x, w[N1W], w[N1B], f->eps, T);
    linear(c->q, c->h1, w[QW], w[QB], T);
    linear(c->k, c->h1, w[KW], w[KB], T);
    linear(c->v, c->h1, w[VW], w[VB], T);
    if (f->theta > 0) {
        rope(c->q, T, f->heads, f->D, f->theta, 1);
        rope(c->k, T, f->heads, f->D, f->theta, 1);
    }
    attention(c->y, c->p, c->q, c->k, c->v, T, f->heads, f->D, f->causal);
    linear(out, c->y, w[OW], w[OB], T);
    add(x, out, n);
    memcpy(c->x2, x, (size_t)n * 4);
    norm(c->h2, x, w[N2W], w[N2B], f->eps, T);
    linear(c->up, c->h2, w[UW], w[UB], T);
    if (w[GW])
        linear(c->gate, c->h2, w[GW], NULL, T);
    for (int i = 0; i < m; i++)
        c->mid[i] = w[GW] ? act(f->act, c->gate[i]) * c->up[i] : act(f->act, c->up[i]);
    linear(out, c->mid, w[DW], w[DB], T);
    add(x, out, n);
    free(out);
}

/* d[T,H]: the gradient of the block's output in, of its input out. */
static void block_back(const struct facts *f, const struct block *b, struct kept *c, float *d, int T)
{
    int H = f->hidden, n = T * H, m = T * f->mlp;
    struct tensor *const *w = b->w;
    float *dmid = floats((size_t)m), *dgate = floats((size_t)m), *dh = floats((size_t)n), *dy = floats((size_t)n);
    float *dq = floats((size_t)n), *dk = floats((size_t)n), *dv = floats((size_t)n), *dh1 = floats((size_t)n);
    linear_back(dmid, d, c->mid, w[DW], w[DB], T);
    for (int i = 0; i < m; i++) {
        if (w[GW]) {
            dgate[i] = dmid[i] * c->up[i] * act_slope(f->act, c->gate[i]);
            dmid[i] *= act(f->act, c->gate[i]);
        } else {
            dmid[i] *= act_slope(f->act, c->up[i]);
        }
    }
    linear_back(dh, dmid, c->h2, w[UW], w[UB], T);
    if (w[GW])
        linear_back(dh, dgate, c->h2, w[GW], NULL, T);
    norm_back(d, dh, c->x2, w[N2W], w[N2B], f->eps, T); /* adds to d: the residual's path is already there */
    linear_back(dy, d, c->y, w[OW], w[OB], T);
    attention_back(dq, dk, dv, dy, c->p, c->q, c->k, c->v, T, f->heads, f->D, f->causal);
    if (f->theta > 0) {
        rope(dq, T, f->heads, f->D, f->theta, -1);
        rope(dk, T, f->heads, f->D, f->theta, -1);
    }
    linear_back(dh1, dq, c->h1, w[QW], w[QB], T);
    linear_back(dh1, dk, c->h1, w[KW], w[KB], T);
    linear_back(dh1, dv, c->h1, w[VW], w[VB], T);
    norm_back(d, dh1, c->x, w[N1W], w[N1B], f->eps, T);
    float *all[] = {dmid, dgate, dh, dy, dq, dk, dv, dh1};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* ---- 8. the model ----------------------------------------------------------------------------------- */

enum { MAX_LAYERS = 64 };

struct model {
    struct tensor *tensors;
    int n_tensors, side, patch, image_token, vocab, patches;
    struct facts tower, decoder;
    struct block towers[MAX_LAYERS], decoders[MAX_LAYERS];
    struct tensor *patch_w, *patch_b, *place, *c1w, *c1b, *c2w, *c2b, *embed, *last;
    struct tokenizer tok;
};

static struct tensor *find(struct model *m, const char *prefix, int layer, const char *name)
{
    char full[256];
    if (layer < 0)
        snprintf(full, sizeof full, "%s%s", prefix, name);
    else
        snprintf(full, sizeof full, "%s%d.%s", prefix, layer, name);
    for (int i = 0; i < m->n_tensors; i++)
        if (!strcmp(m->tensors[i].name, full))
            return &m->tensors[i];
    return NULL;
}

static const char *const tower_names[ROLES] = {
    "layer_norm1.weight", "layer_norm1.bias", "self_attn.q_proj.weight", "self_attn.q_proj.bias", "self_attn.k_proj.weight",
    "self_attn.k_proj.bias", "self_attn.v_proj.weight", "self_attn.v_proj.bias", "self_attn.out_proj.weight",
    "self_attn.out_proj.bias", "layer_norm2.weight", "layer_norm2.bias", NULL, "mlp.fc1.weight", "mlp.fc1.bias",
    "mlp.fc2.weight", "mlp.fc2.bias"};
static const char *const decoder_names[ROLES] = {
    "input_layernorm.weight", NULL, "self_attn.q_proj.weight", NULL, "self_attn.k_proj.weight", NULL, "self_attn.v_proj.weight",
    NULL, "self_attn.o_proj.weight", NULL, "post_attention_layernorm.weight", NULL, "mlp.gate_proj.weight",
    "mlp.up_proj.weight", NULL, "mlp.down_proj.weight", NULL};

static void bind(struct model *m, struct block *blocks, int layers, const char *prefix, const char *const *names)
{
    for (int i = 0; i < layers; i++)
        for (int r = 0; r < ROLES; r++)
            if (names[r] && !(blocks[i].w[r] = find(m, prefix, i, names[r])))
                die("a weight is missing:", names[r]);
}

static struct facts read_facts(const char *config, enum kind act)
{
    struct facts f = {.hidden = (int)number(config, "hidden_size"), .layers = (int)number(config, "num_hidden_layers"),
                      .heads = (int)number(config, "num_attention_heads"), .mlp = (int)number(config, "intermediate_size"), .act = act};
    f.D = f.hidden / f.heads;
    return f;
}

static void load(struct model *m, const char *dir)
{
    char *config = slurp(dir, "config.json", NULL);
    const char *vision = get(config, "vision_config"), *text = get(config, "text_config");
    memset(m, 0, sizeof *m);
    m->tensors = read_weights(dir, &m->n_tensors);
    read_tokenizer(&m->tok, dir);
    m->tower = read_facts(vision, GELU_TANH);
    m->tower.eps = (float)number(vision, "layer_norm_eps");
    m->decoder = read_facts(text, SILU);
    m->decoder.eps = (float)number(text, "rms_norm_eps");
    m->decoder.theta = (float)number(text, "rope_theta");
    m->decoder.causal = true;
    if (number(text, "num_key_value_heads") != m->decoder.heads)
        die("tiny.c has no grouped heads;", "the engine does");
    m->side = (int)number(vision, "image_size");
    m->patch = (int)number(vision, "patch_size");
    m->patches = m->side / m->patch * (m->side / m->patch);
    m->image_token = (int)number(config, "image_token_index");
    m->vocab = (int)number(text, "vocab_size");
    const char *v = "vision_tower.vision_model.", *c = "multi_modal_projector.", *l = "language_model.model.";
    bind(m, m->towers, m->tower.layers, "vision_tower.vision_model.encoder.layers.", tower_names);
    bind(m, m->decoders, m->decoder.layers, "language_model.model.layers.", decoder_names);
    struct { struct tensor **to; const char *prefix, *name; } rows[] = {
        {&m->patch_w, v, "embeddings.patch_embedding.weight"}, {&m->patch_b, v, "embeddings.patch_embedding.bias"},
        {&m->place, v, "embeddings.position_embedding.weight"}, {&m->c1w, c, "linear_1.weight"}, {&m->c1b, c, "linear_1.bias"},
        {&m->c2w, c, "linear_2.weight"}, {&m->c2b, c, "linear_2.bias"}, {&m->embed, l, "embed_tokens.weight"},
        {&m->last, l, "norm.weight"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(*rows[i].to = find(m, rows[i].prefix, -1, rows[i].name)))
            die("a weight is missing:", rows[i].name);
    free(config);
}

/* One pass over a picture and a text, with all that the way back needs. */
struct pass {
    int T, *ids;
    float *patches;  /* [P, 3*patch*patch] */
    float *seen;     /* [P, H] out of the tower */
    float *c1, *c1a; /* connector: before and after its activation */
    float *x, *h, *logits; /* [T, H] out of the blocks, normed; [T, V] */
    struct kept tower[MAX_LAYERS], decoder[MAX_LAYERS];
};

/* pixels[3,side,side] -> patches in raster order, each channel by channel */
static void unfold(const struct model *m, const float *pixels, float *out)
{
    int g = m->side / m->patch;
    for (int p = 0; p < g * g; p++)
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < m->patch; y++)
                for (int x = 0; x < m->patch; x++)
                    *out++ = pixels[(c * m->side + p / g * m->patch + y) * m->side + p % g * m->patch + x];
}

/* The picture as decoder rows: tower, then connector. */
static float *see(struct model *m, struct pass *s, const float *pixels)
{
    int P = m->patches, H = m->tower.hidden, W = m->decoder.hidden;
    s->patches = floats((size_t)P * (size_t)m->patch_w->cols);
    unfold(m, pixels, s->patches);
    s->seen = floats((size_t)P * (size_t)H);
    linear(s->seen, s->patches, m->patch_w, m->patch_b, P);
    add(s->seen, m->place->w, P * H);
    for (int i = 0; i < m->tower.layers; i++)
        block(&m->tower, &m->towers[i], &s->tower[i], s->seen, P);
    s->c1 = floats((size_t)P * (size_t)W);
    s->c1a = floats((size_t)P * (size_t)W);
    linear(s->c1, s->seen, m->c1w, m->c1b, P);
    for (int i = 0; i < P * W; i++)
        s->c1a[i] = act(GELU, s->c1[i]);
    float *rows = floats((size_t)P * (size_t)W);
    linear(rows, s->c1a, m->c2w, m->c2b, P);
    return rows;
}

/* ids[T], in which the picture's tokens stand P times, to logits[T,V]. */
static void forward(struct model *m, struct pass *s, const float *pixels, const int *ids, int T)
{
    int H = m->decoder.hidden;
    memset(s, 0, sizeof *s);
    s->T = T;
    s->ids = make((size_t)T, sizeof(int));
    memcpy(s->ids, ids, (size_t)T * sizeof(int));
    float *rows = see(m, s, pixels);
    s->x = floats((size_t)T * (size_t)H);
    for (int t = 0, p = 0; t < T; t++)
        memcpy(s->x + t * H, ids[t] == m->image_token ? rows + H * p++ : m->embed->w + ids[t] * H, (size_t)H * 4);
    for (int i = 0; i < m->decoder.layers; i++)
        block(&m->decoder, &m->decoders[i], &s->decoder[i], s->x, T);
    s->h = floats((size_t)T * (size_t)H);
    s->logits = floats((size_t)T * (size_t)m->vocab);
    norm(s->h, s->x, m->last, NULL, m->decoder.eps, T);
    linear(s->logits, s->h, m->embed, NULL, T); /* tied: the embedding is the head */
    free(rows);
}

static void forget(struct model *m, struct pass *s)
{
    float *all[] = {s->patches, s->seen, s->c1, s->c1a, s->x, s->h, s->logits};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    for (int i = 0; i < m->tower.layers; i++)
        drop(&s->tower[i]);
    for (int i = 0; i < m->decoder.layers; i++)
        drop(&s->decoder[i]);
    free(s->ids);
}

/* ---- 9. answering ------------------------------------------------------------------------------------ */

/* <s> <|user|> picture question <|assistant|> */
static int prompt(const struct model *m, const char *question, int *ids)
{
    int n = 0;
    ids[n++] = id_of(&m->tok, "<s>");
    ids[n++] = id_of(&m->tok, "<|user|>");
    for (int i = 0; i < m->patches; i++)
        ids[n++] = m->image_token;
    n += encode(&m->tok, question, ids + n);
    ids[n++] = id_of(&m->tok, "<|assistant|>");
    return n;
}

static int best(const float *row, int V)
{
    int at = 0;
    for (int i = 1; i < V; i++)
        if (row[i] > row[at])
            at = i;
    return at;
}

/* Greedy, and without a cache: the whole text again for each token. */
static void answer(struct model *m, const float *pixels, const char *question)
{
    int ids[MAX_TEXT], n = prompt(m, question, ids), end = id_of(&m->tok, "</s>");
    for (int made = 0; made < 64 && n < MAX_TEXT; made++) {
        struct pass s;
        forward(m, &s, pixels, ids, n);
        int next = best(s.logits + (n - 1) * m->vocab, m->vocab);
        forget(m, &s);
        if (next == end)
            break;
        print_token(&m->tok, next);
        ids[n++] = next;
    }
    putchar('\n');
}

/* ---- 10. learning ------------------------------------------------------------------------------------- */

/* Mean cross-entropy of the tokens from `first` on; dlogits[T,V] gets its gradient. */
static double loss_of(const struct model *m, const struct pass *s, int first, float *dlogits)
{
    double loss = 0;
    int V = m->vocab, count = s->T - first;
    for (int t = first; t < s->T; t++) {
        const float *row = s->logits + (t - 1) * V;
        double most = row[best(row, V)], sum = 0;
        for (int i = 0; i < V; i++)
            sum += exp(row[i] - most);
        loss += (log(sum) + most - row[s->ids[t]]) / count;
        for (int i = 0; i < V; i++)
            dlogits[(t - 1) * V + i] = (float)((exp(row[i] - most) / sum - (i == s->ids[t])) / count);
    }
    return loss;
}

/* From dlogits back to every weight, the way that forward came. */
static void backward(struct model *m, struct pass *s, const float *dlogits)
{
    int T = s->T, H = m->decoder.hidden, P = m->patches;
    float *dh = floats((size_t)T * (size_t)H), *dx = floats((size_t)T * (size_t)H);
    linear_back(dh, dlogits, s->h, m->embed, NULL, T);
    norm_back(dx, dh, s->x, m->last, NULL, m->decoder.eps, T);
    for (int i = m->decoder.layers - 1; i >= 0; i--)
        block_back(&m->decoder, &m->decoders[i], &s->decoder[i], dx, T);
    float *drows = floats((size_t)P * (size_t)H), *dc1 = floats((size_t)P * (size_t)H);
    float *dseen = floats((size_t)P * (size_t)m->tower.hidden);
    for (int t = 0, p = 0; t < T; t++)
        add(s->ids[t] == m->image_token ? drows + H * p++ : m->embed->g + s->ids[t] * H, dx + t * H, H);
    linear_back(dc1, drows, s->c1a, m->c2w, m->c2b, P);
    for (int i = 0; i < P * H; i++)
        dc1[i] *= act_slope(GELU, s->c1[i]);
    linear_back(dseen, dc1, s->seen, m->c1w, m->c1b, P);
    for (int i = m->tower.layers - 1; i >= 0; i--)
        block_back(&m->tower, &m->towers[i], &s->tower[i], dseen, P);
    add(m->place->g, dseen, P * m->tower.hidden);
    linear_back(NULL, dseen, s->patches, m->patch_w, m->patch_b, P);
    float *all[] = {dh, dx, drows, dc1, dseen};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* AdamW, then gradients back to zero. */
static void update(struct model *m, float lr, int step)
{
    for (int k = 0; k < m->n_tensors; k++) {
        struct tensor *t = &m->tensors[k];
        for (int i = 0; i < t->rows * t->cols; i++) {
            t->m[i] = 0.9f * t->m[i] + 0.1f * t->g[i];
            t->v[i] = 0.999f * t->v[i] + 0.001f * t->g[i] * t->g[i];
            float mean = t->m[i] / (1 - powf(0.9f, (float)step)), var = t->v[i] / (1 - powf(0.999f, (float)step));
            t->w[i] -= lr * mean / (sqrtf(var) + 1e-8f);
            t->g[i] = 0;
        }
    }
}

/* Loss and gradients for one question and the answer that it should have. */
static double learn_once(struct model *m, const float *pixels, const char *question, const char *right)
{
    int ids[MAX_TEXT], first = prompt(m, question, ids), n = first;
    n += encode(&m->tok, right, ids + n);
    ids[n++] = id_of(&m->tok, "</s>");
    struct pass s;
    forward(m, &s, pixels, ids, n);
    float *dlogits = floats((size_t)n * (size_t)m->vocab);
    double loss = loss_of(m, &s, first, dlogits);
    backward(m, &s, dlogits);
    free(dlogits);
    forget(m, &s);
    return loss;
}

/* ---- 11. main ------------------------------------------------------------------------------------------ */

#ifndef TINY_NO_MAIN
int main(int argc, char **argv)
{
    static struct model m;
    if (argc != 4 && !(argc == 7 && !strcmp(argv[4], "--teach")))
        die("usage: tiny MODEL PICTURE.png QUESTION [--teach ANSWER STEPS]", "");
    load(&m, argv[1]);
    float *pixels = read_picture(argv[2], m.side);
    answer(&m, pixels, argv[3]);
    for (int step = 1; argc == 7 && step <= strtol(argv[6], NULL, 10); step++) {
        printf("step %d loss %.4f\n", step, learn_once(&m, pixels, argv[3], argv[5]));
        update(&m, 1e-4f, step);
    }
    if (argc == 7)
        answer(&m, pixels, argv[3]);
    free(pixels);
    return 0;
}
#endif
