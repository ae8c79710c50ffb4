/* nunchi: run a multimodal language model. The main door.
 *
 *   struct nun_model *m;  struct nun_timeline *t;  struct nun_result r;
 *   nun_model_open("models/scenes", NULL, &m);
 *   nun_timeline_create(m, &t);
 *   nun_timeline_chat(t, &chat);                  // messages: text and pictures
 *   nun_generate(t, &options, &r);                // pieces of text go to options.piece
 *   nun_timeline_free(t);  nun_model_close(m);
 *
 * Functions return 0 or a negative nun_code; nun_error() has the sentence. A `const` pointer is borrowed
 * for the call; a `T **out` is the caller's on success and untouched on failure. All text is UTF-8 with a
 * length. Freeing NULL is fine. Options may be NULL or zeroed: that means the defaults stated here.
 *
 * The law: the same request gives the same bytes, whatever else runs beside it, however the prompt was
 * cut, on however many threads.
 *
 * Threads: any thread may call on any object, one at a time per timeline or generation; calls that
 * compute take turns on the model. A model must outlive its timelines, a timeline its generations. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_NUNCHI_H
#define NUNCHI_NUNCHI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

struct nun_model;      /* weights and facts, shared by all sequences */
struct nun_timeline;   /* one sequence: tokens, pictures, their state */
struct nun_grammar;    /* which texts an answer may be, see tools.h */
struct nun_generation; /* one answer being made on a timeline */

/* ---- models -------------------------------------------------------------------------------- */

/* Keys and values of the past. A row is packed by itself: what is smaller costs accuracy, never sameness. */
enum nun_cache { NUN_CACHE_F32, NUN_CACHE_BF16, NUN_CACHE_Q8_0, NUN_CACHE_Q4_0 };

enum nun_compute { NUN_BF16, NUN_F32 }; /* matrix products; everything else is float32 */

/* A LoRA folder as PEFT writes it. */
struct nun_lora { const char *folder; float scale; }; /* scale 1: as trained */

/* What pictures may take, of one model or of one part. A family keeps it by its own rule (fewer tiles, a smaller size)
 * or, where it has none, refuses with both numbers. Zeroed: no bound. */
enum nun_detail { NUN_DETAIL_AUTO, NUN_DETAIL_LOW, NUN_DETAIL_HIGH };
struct nun_media_budget {
    int tokens;               /* of one picture or video in the prompt */
    int64_t pixels;           /* that the tower sees of it, all tiles and frames together */
    enum nun_detail detail;   /* LOW: one tile, or 512 x 512 pixels where sizes are native */
};

struct nun_model_options {
    int threads;              /* 0: all CPUs this process may use */
    enum nun_compute compute; /* default NUN_BF16 */
    int context;              /* most positions of a timeline; 0: what the model was made for */
    int prefill_chunk;        /* most rows computed at once; 0: 512. Never changes a result */
    enum nun_cache cache_k, cache_v;
    size_t state_bytes;       /* most memory for key/value pages of all timelines; 0: no limit but memory */
    const char *chat_template; /* Jinja text to use instead of the folder's; NULL: the folder's */
    struct nun_media_budget media; /* of every picture whose part has none of its own */
    const struct nun_lora *loras; /* [n_loras]: adapters added to the weights */
    size_t n_loras;
    const char *mmproj;       /* of a GGUF model: the GGUF file of its vision tower; NULL: none */
    bool facts_only;          /* prepare no weights and read no tokenizer: nothing but nun_model_info may be asked */
};

/* Open a Hugging Face folder. NUN_EFORMAT or NUN_EUNSUP name the file, the key and both values. */
int nun_model_open(const char *folder, const struct nun_model_options *options, struct nun_model **out);
void nun_model_close(struct nun_model *m);

struct nun_model_info {
    const char *folder, *architecture; /* borrowed from the model */
    uint64_t parameters;
    uint64_t token_parameters;         /* weights of the products that one token of text goes through, head included */
    size_t weight_bytes;               /* as stored */
    size_t prepared_bytes;             /* as the kernels read them: memory that opening takes beside the file */
    int context;                       /* most positions of a timeline */
    int trained_context;               /* what config.json says */
    int vocab;                         /* rows of logits */
    int layers, hidden;
    int image_tokens, image_size;      /* tokens a picture takes, its side in pixels; 0: no pictures */
    size_t state_bytes_per_token;      /* of key/value pages */
    bool has_tokenizer, has_chat_template;
    int threads;
    enum nun_compute compute;
};
void nun_model_info(const struct nun_model *m, struct nun_model_info *out);

/* Which instruction sets kernels may use, as "avx2", "-amx", "all": see `nunchi --help`. Before any
 * model computes. NULL asks nothing; the active list is written to `active` (may be NULL). */
int nun_isa(const char *list, char *active, size_t capacity);

/* ---- text ---------------------------------------------------------------------------------- */

enum nun_text_flags {
    NUN_TEXT_SPECIAL = 1,     /* special strings in the text become special tokens; without it never */
    NUN_TEXT_ADD_SPECIAL = 2, /* put the tokenizer's own first and last tokens around */
    NUN_TEXT_SKIP_SPECIAL = 4 /* when decoding: leave special tokens out */
};

/* A buffer that the library allocates: free with nun_free. */
int nun_encode(const struct nun_model *m, const char *text, size_t len, unsigned flags, int32_t **ids, size_t *n);
/* Always valid UTF-8, NUL-terminated; *len may be NULL. */
int nun_decode(const struct nun_model *m, const int32_t *ids, size_t n, unsigned flags, char **text, size_t *len);
void nun_free(void *p);
/* The id of a piece as the vocabulary spells it, -1 when there is none. */
int32_t nun_token_id(const struct nun_model *m, const char *piece);
/* Does this id end an answer? */
bool nun_token_ends(const struct nun_model *m, int32_t id);

/* ---- timelines ----------------------------------------------------------------------------- */

int nun_timeline_create(struct nun_model *m, struct nun_timeline **out);
/* A second timeline with the same past. Shares its state until either one writes: cheap at any length. */
int nun_timeline_fork(const struct nun_timeline *t, struct nun_timeline **out);
void nun_timeline_free(struct nun_timeline *t);

/* Appending checks and queues; computing waits until logits are wanted. What fails appends nothing.
 * NUN_ECONTEXT tells how many positions were asked for and how many there are: nothing is truncated. */
int nun_timeline_text(struct nun_timeline *t, const char *text, size_t len, unsigned flags);
int nun_timeline_ids(struct nun_timeline *t, const int32_t *ids, size_t n);
int nun_timeline_image_file(struct nun_timeline *t, const char *path);
int nun_timeline_image_bytes(struct nun_timeline *t, const void *bytes, size_t n);

enum nun_part_kind { NUN_PART_TEXT, NUN_PART_IMAGE_FILE, NUN_PART_IMAGE_BYTES, NUN_PART_FRAME_FILES };
struct nun_part {
    enum nun_part_kind kind;
    const char *text;         /* TEXT: what is said, IMAGE_FILE: the path; borrowed */
    const void *bytes;        /* IMAGE_BYTES: the file's bytes */
    size_t len;               /* of text or bytes; 0 with text: NUL-terminated */
    const char *const *files; /* FRAME_FILES: pictures of one size, the frames of a video */
    size_t n_files;
    double fps;               /* of them, a second */
    struct nun_media_budget media; /* what is not zero wins over the model's */
};
struct nun_message {
    const char *role;         /* "system", "user", "assistant", "tool" */
    const struct nun_part *parts;
    size_t n_parts;
    const char *more_json;    /* further keys for the template (tool_calls, name, ...), a JSON object; or NULL */
};
struct nun_chat {
    const struct nun_message *messages;
    size_t n_messages;
    bool no_generation_prompt; /* do not open the answer */
    const char *tools_json;   /* JSON array for the template; or NULL */
    const char *more_json;    /* further template variables, a JSON object; or NULL */
};
/* Render the chat template and append the result. What the user typed never becomes a special token
 * or a picture: pictures come from parts alone. The timeline should be empty. */
int nun_timeline_chat(struct nun_timeline *t, const struct nun_chat *chat);
/* Text as it stands, without a template: n pictures (IMAGE_FILE, IMAGE_BYTES) take the places of the model's mark for one, whose number
 * must be theirs; where it has none they come before it. The text's other special strings stay text. */
int nun_timeline_marked(struct nun_timeline *t, const char *text, size_t len, const struct nun_part *pictures, size_t n);
/* The rendered text alone, as the template gives it. The caller's (nun_free). */
int nun_chat_render(const struct nun_model *m, const struct nun_chat *chat, char **text, size_t *len);

size_t nun_timeline_length(const struct nun_timeline *t); /* positions, computed or queued */
/* The ids so far (picture positions hold the placeholder id). Borrowed, until the next call that appends. */
const int32_t *nun_timeline_tokens(const struct nun_timeline *t, size_t *n);
/* What stands in a timeline, before anything of it is computed. */
struct nun_measure {
    size_t tokens, picture_tokens;     /* all; of them, places of pictures */
    size_t pictures, context;          /* how many; most positions */
    size_t weight_bytes, state_bytes;  /* as stored; key/value pages of these tokens, and of pictures beside them */
    size_t encoder_bytes;              /* buffers of the picture encoder while it runs; 0: nothing is left to encode */
};
int nun_timeline_measure(struct nun_timeline *t, struct nun_measure *out);
/* Picture i of the timeline, from 0: its own size, what its processor makes of it, and where its tokens begin. */
struct nun_picture_measure {
    int width, height, frames;
    int tiles, columns, rows;          /* all that the tower sees; the grid */
    bool overview;                     /* the whole picture beside the grid */
    int tile_width, tile_height;
    size_t tokens, position;
    size_t beside;                     /* rows beside the sequence, for layers that look at them */
    bool encoded;
};
int nun_timeline_picture(const struct nun_timeline *t, size_t i, struct nun_picture_measure *out);
/* Keep the first n positions and forget the rest. */
int nun_timeline_rewind(struct nun_timeline *t, size_t n);
/* Positions from the beginning whose state both timelines could share: same ids, same pictures. */
size_t nun_timeline_common(const struct nun_timeline *a, const struct nun_timeline *b);
/* Take over the computed state of the beginning that `past` shares (nun_timeline_common), so that only the
 * rest is computed: for prompts that repeat an earlier one. Never changes a result. */
int nun_timeline_adopt(struct nun_timeline *t, const struct nun_timeline *past);
/* Compute what is queued. */
int nun_timeline_prefill(struct nun_timeline *t);
/* Compute what is queued; the last position's logits [*n = vocab], valid until the next call on this
 * timeline. NUN_ENUMERIC when one is not finite, NUN_EARG when the timeline is empty. */
int nun_timeline_logits(struct nun_timeline *t, const float **logits, size_t *n);
/* Append ids[0..n) and compute; out[i] = log probability of ids[i] given all before it. */
int nun_timeline_score(struct nun_timeline *t, const int32_t *ids, size_t n, float *out);

/* ---- answers ------------------------------------------------------------------------------- */

struct nun_logit_bias { int32_t id; float bias; };

/* What happens to logits before one is drawn: rows of the table that nun_sampler_rows() lists, in the order
 * of `chain`. A zeroed struct is greedy. Each row with its own number left at 0 is off. */
struct nun_sampling {
    float temperature;         /* 0: greedy */
    int top_k;                 /* exact; what equals the k-th stays too */
    float top_p, min_p, typical_p, epsilon, eta;
    int min_keep;              /* top_p, min_p, typical_p, epsilon, eta leave at least so many; 0: 1 */
    float top_n_sigma;         /* standard deviations below the largest logit that stay */
    float xtc_probability, xtc_threshold;
    float repeat_penalty;      /* 0 or 1: off */
    float presence_penalty, frequency_penalty;
    int penalty_last;          /* tokens that repeat, presence and frequency look back on; 0: 64; -1: all */
    int no_repeat_ngram;       /* no run of n tokens comes twice */
    float dry_multiplier, dry_base; /* base 0: 1.75 */
    int dry_allowed_length;    /* runs as long as this cost something; 0: 2 */
    int dry_last;              /* tokens that dry looks back on; 0: all */
    const char *const *dry_breakers; /* [n_dry_breakers]: tokens with one of these strings end a run; */
    size_t n_dry_breakers;     /*   NULL: newline, colon, quotation mark, asterisk */
    int mirostat;              /* 1 or 2: the version of its paper or its simpler second */
    float mirostat_tau, mirostat_eta; /* surprise aimed at, in bits, 0: 5; learning rate, 0: 0.1 */
    uint64_t seed;             /* token i of an answer depends on (seed, i) and its logits alone, and with
                                  mirostat on the answer before it */
    const struct nun_logit_bias *bias;
    size_t n_bias;
    const char *chain;         /* names separated by ','; NULL: all rows in the table's order */
};

/* The rows, in default order. Returns how many; *rows is static. */
struct nun_sampler_row { const char *name, *fields, *doc; };
size_t nun_sampler_rows(const struct nun_sampler_row **rows);

struct nun_alternative { int32_t id; float logprob; };
struct nun_token {             /* for the token callback */
    int32_t id;
    size_t index;              /* in the answer */
    float logprob;             /* under the model, before the chain */
    const struct nun_alternative *top; /* most probable first */
    size_t n_top;
};

struct nun_generate_options {
    struct nun_sampling sampling;
    int max_tokens;            /* 0: until the context is full */
    int min_tokens;            /* the model cannot end its answer before so many */
    int max_length;            /* most tokens of prompt and answer together; 0: what the context holds */
    const char *const *stop;   /* strings that end the answer and are not part of it */
    size_t n_stop;
    bool ignore_eos;
    const struct nun_grammar *grammar; /* what the answer must be (tools.h); it ends only where it is whole; NULL: anything */
    const char *thinking_end;  /* the grammar holds behind the first such text, "</think>"; NULL: from the beginning */
    int logprobs;              /* alternatives per token for `token`; 0: none */
    /* Text as it becomes certain: whole characters, never a part of a stop string. Non-zero cancels. */
    int (*piece)(void *arg, const char *text, size_t len);
    int (*token)(void *arg, const struct nun_token *token); /* every token, also the one that ends; non-zero cancels */
    void *arg;
};

/* What the model's generation_config.json asks for, as transformers reads it: a start for options of one's
 * own. Without such a file, or where it says do_sample false, greedy. Strings and lists are the model's. */
void nun_model_defaults(const struct nun_model *m, struct nun_generate_options *out);

enum nun_finish {
    NUN_FINISH_NONE,           /* not finished */
    NUN_FINISH_STOP,           /* the model ended its answer, or a stop string came */
    NUN_FINISH_LENGTH,         /* max_tokens or max_length */
    NUN_FINISH_CONTEXT,        /* the context is full */
    NUN_FINISH_CANCEL,         /* a callback said so */
    NUN_FINISH_ERROR           /* `code` and `error` tell */
};
const char *nun_finish_name(enum nun_finish f);

struct nun_result {
    enum nun_finish finish;
    int code;                  /* NUN_FINISH_ERROR */
    const char *error;         /* its sentence; "" */
    const char *stop;          /* the stop string that matched; NULL */
    const char *text;          /* the answer; borrowed from the generation or (nun_generate) the timeline */
    size_t text_len;
    size_t prompt_tokens, cached_tokens, generated_tokens; /* cached: their state was there already */
    double image_s, prefill_s, decode_s;
    size_t decode_steps;       /* decode_s is theirs */
};

/* Answer on a timeline: the new tokens become part of it (the ending one too, but not computed).
 * `result` may be NULL. Returns 0 for every finish but ERROR, whose code it returns. */
int nun_generate(struct nun_timeline *t, const struct nun_generate_options *options, struct nun_result *result);

/* The same, a step at a time and many together. `options` is copied, but strings in it are borrowed
 * until the generation is freed. The timeline must not be used by others meanwhile. */
int nun_generation_start(struct nun_timeline *t, const struct nun_generate_options *options, struct nun_generation **out);
void nun_generation_free(struct nun_generation *g);
/* Advance every unfinished one: a chunk of its prompt, or one token. Generations of one model, each
 * its own timeline. Returns how many are unfinished still, or a negative code when nothing could run;
 * what concerns one generation alone finishes that one with NUN_FINISH_ERROR. */
int nun_batch_step(struct nun_model *m, struct nun_generation *const *g, size_t n);
/* State so far; strings are borrowed until the next step. */
void nun_generation_result(const struct nun_generation *g, struct nun_result *out);
void nun_generation_cancel(struct nun_generation *g); /* at the next step */

/* ---- texts as vectors -------------------------------------------------------------------------- */

/* A text encoder, or a decoder whose states stand for its texts. One thread at a time. */
struct nun_embedder;

struct nun_embed_options {
    struct nun_model_options model;
    const char *pooling;       /* "mean", "cls", "last", "max", "mean_sqrt_len", "weightedmean"; NULL: as the folder says
                                  (sentence-transformers' modules.json), else mean for encoders and last for decoders */
    int normalize;             /* to length 1: 1 yes, -1 no, 0: as the folder says, else no */
    const char *prompt;        /* name of one of the folder's prompts, put before each text; NULL: its default */
    bool truncate;             /* cut texts that are too long, instead of refusing them */
};

int nun_embedder_open(const char *folder, const struct nun_embed_options *options, struct nun_embedder **out);
void nun_embedder_close(struct nun_embedder *e); /* NULL is fine */
int nun_embedder_width(const struct nun_embedder *e);
/* out [width]; *tokens (may be NULL): how many the text took. A text's vector depends on nothing but the text. */
int nun_embed(struct nun_embedder *e, const char *text, size_t len, float *out, size_t *tokens);

#ifdef __cplusplus
}
#endif
#endif
