/* The loaded model: weights packed for the kernels, the plans of every shape seen so far, the pages of
 * all sequences, and what the folder says about text and pictures. engine.c runs rows; timeline.h holds
 * sequences; the public doors stand on both. Must not know servers, files of requests, or sampling. */
/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_ENGINE_H
#define RUNTIME_ENGINE_H
#include <pthread.h>
#include "base/hash.h"
#include "graph/exec.h"
#include "media/preprocess.h"
#include "models/model.h"
#include "nunchi/nunchi.h"
#include "runtime/feature_cache.h"
#include "runtime/pages.h"
#include "runtime/state.h"
#include "text/chat.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

enum { ENGINE_ENDS = 16, ENGINE_CHUNK = 512, ENGINE_PICTURES = 8 };

/* One shape of the decoder's graph, with its staging memory. rows: padded to a bucket. */
struct engine_plan {
    struct engine_plan *next;
    int rows, picks;
    bool images;                 /* rows of pictures in the sequence; */
    bool looks;                  /* pictures beside it */
    struct graph *graph;
    struct plan *plan;
    struct kv_row *kv;           /* [rows] */
    struct kv_step step;
    int32_t *ids, *pos, *pick;   /* [rows], [rows], [picks] */
    int32_t *image_rows;         /* [rows] */
    struct nn_sight sight;
    int32_t *lit;                /* [rows] */
    float *freq, *inv_freq;      /* [rows, rotated pairs] where they depend on the row; [rotated pairs] */
    float *features;             /* [rows, feature width] */
    struct g_tensor *logits;     /* [picks, vocab] */
};

struct engine_chat {
    struct chat_template *template; /* NULL: none */
    int takes;                   /* bits of chat_takes */
};

/* What generation_config.json says about answers. */
struct engine_defaults {
    struct nun_generate_options options; /* texts and lists are borrowed from here */
    json_t *config;              /* NULL: there is no such file */
    const char **stop;           /* [options.n_stop] */
    struct nun_logit_bias *bias; /* [options.sampling.n_bias] */
};

struct nun_model {
    struct model *model;
    struct tokenizer *tokenizer; /* NULL: ids only */
    struct tokenizer *told;      /* of what pictures are told of the prompt; NULL: nothing */
    struct engine_chat chat, tool_chat, video_chat; /* for conversations with tools, with videos, where there is one */
    json_t *specials;            /* bos_token and its like, for templates */
    struct engine_defaults defaults;
    struct gram_vocab *words, *first_words; /* texts of tokens, sorted at the first grammar; first_words: at the beginning of an answer, where they differ */
    bool has_preprocess;
    struct preprocess_facts preprocess, video_preprocess;
    struct nun_media_budget media; /* of every picture */
    struct pool *pool;
    enum gemm_format compute;
    int threads, context, chunk;
    int32_t ends[ENGINE_ENDS];
    int n_ends;
    pthread_mutex_t lock;        /* over all that follows, and over replays */
    struct engine_plan *plans;
    struct image_plan *image_plans;
    struct feature_cache features;
    struct look_plan *look_plans;
    enum dtype cache_k, cache_v; /* formats of the pages */
    struct page_pool pages, sides; /* of sequences; of pictures beside them */
    struct state_pool states;    /* of recurrent layers */
};

struct nun_timeline;
struct picture;

/* Positions [from, to) of a sequence to compute. Where the logits go: */
struct engine_span {
    struct nun_timeline *t;
    int64_t from, to;
    float *last;                 /* [vocab] of position to - 1; NULL: not wanted */
    float *all;                  /* [to - from, vocab]; NULL: not wanted */
};

/* Everything but the folder: for tests that make a model of their own. Takes the model over. */
int engine_create(struct model *model, const struct nun_model_options *options, struct nun_model **out);
/* For prompts of a model that learns: what the folder says about text and pictures, and nothing prepared to compute. The
 * model is lent; it is told the placeholder that only the vocabulary knows. Closed by its own function. */
int engine_open_prompts(struct model *model, const char *folder, struct nun_model **out);
void engine_close_prompts(struct nun_model *m); /* NULL is fine */
/* Compute the spans, at most m->chunk rows together; each one's sequence must have been computed up to
 * `from`. The lock is held. Sequences are distinct. Nothing has advanced when it fails. */
int engine_run(struct nun_model *m, const struct engine_span *spans, int n);
/* Encode those pictures of the list that are not (picture.c). The lock is held. */
int engine_encode(struct nun_model *m, struct picture *const *pictures, int n);
void engine_plans_free(struct nun_model *m);
void engine_image_plans_free(struct nun_model *m);
void engine_look_plans_free(struct nun_model *m);

static inline void engine_lock(const struct nun_model *m) { pthread_mutex_lock((pthread_mutex_t *)(uintptr_t)&m->lock); }
static inline void engine_unlock(const struct nun_model *m) { pthread_mutex_unlock((pthread_mutex_t *)(uintptr_t)&m->lock); }

#endif
