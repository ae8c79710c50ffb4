/* GGUF as another spelling of the same models. Rows say how an architecture's metadata and tensor names
 * correspond to a config.json and to the names in a Hugging Face folder; both directions are driven by
 * them, so that a GGUF file is loaded by the tables of the family, and a folder is written as GGUF,
 * without either knowing the other. Only gguf_*.c of this room include this. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_GGUF_MAP_H
#define MODELS_GGUF_MAP_H
#include "base/arena.h"
#include "formats/gguf.h"
#include "formats/gguf_write.h"
#include "formats/json.h"

/* Rows leave out the columns at their end that are zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* How values lie in GGUF, where it is not as in the folder. */
enum gguf_layout {
    GL_AS_IS,
    GL_ROPE_Q, GL_ROPE_K, /* rows of a head: halves (folder) as pairs (GGUF), where the architecture has it so */
    GL_NEOX_QKV,          /* rows (head, part, value) as (part, head, value) */
    GL_PLUS_ONE,          /* norms that the folder stores as the difference from 1 */
    GL_NEG_EXP,           /* A_log as A = -exp(A_log) */
    GL_NEG_EXP_COLUMN,    /* the same, [n] as [n, 1] */
    GL_COLUMN,            /* [n] as [n, 1] */
    GL_GROUPS,            /* [n] as [groups, n / groups] */
    GL_CONV,              /* [channels, 1, kernel] as [channels, kernel] */
    GL_TRANSPOSED,        /* [in, out] as [out, in] */
    GL_MLA_K, GL_MLA_V,   /* [heads * (nope + v), rank] as [heads, rank, nope] and [heads, v, rank] */
};

/* A name without .weight or .bias stands for both. One %d is the layer; a second one in `hf` is the
 * expert, all of which are one tensor in GGUF unless it has a second %d too. */
struct gguf_name { const char *gguf, *hf; enum gguf_layout layout; };

enum gguf_fact_kind {
    GF_INT, GF_FLOAT, GF_BOOL,
    GF_SHARE,     /* an integer as a share of the head width: rope dimensions */
    GF_HEADS,     /* an integer that is the number of heads where it is not there */
    GF_ROWS,      /* rows of the tensor that `gguf` names; written as metadata "vocab_size" too */
    GF_PRESENT,   /* is there such a tensor? */
    GF_ABSENT,
};

/* A config key and a metadata key (after "<architecture>."). `def`: what a folder means that does not
 * have the key; NAN: nothing then. */
struct gguf_fact { const char *gguf, *hf; enum gguf_fact_kind kind; double def; };

struct gguf_names { const struct gguf_name *at; size_t n; };
struct gguf_facts { const struct gguf_fact *at; size_t n; };
enum { GGUF_SETS = 6 };

/* A GGUF file on its way to a config, or a folder on its way to GGUF: what the tables cannot say. */
struct gguf_in { const struct gguf *g; const struct gguf_arch *arch; const char *place; json_t *config; };
struct gguf_extra { const char *name; int n; float at[1024]; }; /* rope factors: tensors that no folder has */
struct gguf_out { const struct gguf_arch *arch; const char *place; const json_t *config; struct gguf_meta *meta;
                  struct gguf_extra extra[2]; int n_extra; };

/* A length of the processor that the tower's file says: its key, and the processor's, itself or inside an object. */
struct gguf_side { const char *gguf, *key, *inner; };

/* A tower in a file of its own: what it needs to become a model with its decoder's. */
struct gguf_sight {
    const char *decoders[5];           /* architectures of the decoder's file alone; NULL behind the last */
    const char *text_key;              /* of the decoder's config in the whole; NULL: text_config */
    const char *text_from, *text_to;   /* how names of the decoder begin, alone and in the whole */
    const char *token[3], *token_key[3]; /* placeholders of pictures and videos, and what stands around them, with the config keys of their ids */
    bool untold;                       /* token[0] may lack in the vocabulary: its id is then the one behind the last */
    const char *lifted[3];             /* facts of the tower's file that are the whole's */
    const char *whole;                 /* config keys of the whole of which no file speaks, as JSON; may be NULL. Where it has a
                                        * model_type, the row's is the tower's */
    const char *width_of;              /* the tensor one of whose sides is the decoder's width, */
    int width_at;                      /* and which */
    const char *processor[2];          /* for pictures and videos, as JSON; colours are in the file */
    struct gguf_side sides[6];
};
/* In names that a tower's rows give: features of inner layers, and the second frame of a patch. */
#define GGUF_DEEP "deepstack_merger_list"
#define GGUF_SECOND_FRAME ".second_frame"

struct gguf_arch {
    const char *name;            /* general.architecture */
    const char *architecture, *model_type; /* of the config */
    const char *when;            /* "key" there and not 0, "!key" the opposite, "key=text", "@name": such a tensor; NULL: always. The first row that fits */
    bool pairs;                  /* rows of q and k lie in pairs */
    const char *constants;       /* config keys of which the format does not speak, as JSON */
    struct gguf_facts facts[GGUF_SETS];
    struct gguf_names names[GGUF_SETS];
    int (*read)(struct gguf_in *in);   /* may be NULL */
    int (*write)(struct gguf_out *out);
    const struct gguf_sight *sight; /* NULL: a model of its own */
};
extern const struct gguf_arch gguf_archs[];
extern const size_t gguf_arch_count;

/* ---- facts: gguf_facts.c, gguf_hooks.c ------------------------------------------------------- */

int gguf_arch_of_file(const struct gguf *g, const char *place, const struct gguf_arch **out);
int gguf_arch_of_config(const json_t *config, const char *place, const struct gguf_arch **out);
/* A config.json for the file; the caller's. */
int gguf_to_config(const struct gguf *g, const struct gguf_arch *arch, const char *place, json_t **out);
/* Metadata of the model (not of the tokenizer) for a config. */
int gguf_from_config(struct gguf_out *out);

/* "<architecture>.<key>" */
const char *gguf_key(const struct gguf_arch *arch, const char *key, char out[128]);
/* A float32 as the JSON number with the fewest digits. */
json_t *gguf_real(float x);
int64_t gguf_config_int(const json_t *config, const char *key, int64_t fallback);

int gguf_read_rope(struct gguf_in *in), gguf_write_rope(struct gguf_out *out);
int gguf_read_window_layers(struct gguf_in *in), gguf_write_window_layers(struct gguf_out *out);
int gguf_read_gemma2(struct gguf_in *in), gguf_write_gemma2(struct gguf_out *out);
int gguf_read_gemma3(struct gguf_in *in), gguf_write_gemma3(struct gguf_out *out);
int gguf_read_sections(struct gguf_in *in), gguf_read_woven_sections(struct gguf_in *in);
int gguf_read_window_tower(struct gguf_in *in), gguf_read_deep_tower(struct gguf_in *in);
int gguf_read_clip_tower(struct gguf_in *in), gguf_read_intern_tower(struct gguf_in *in);
int gguf_read_pixtral_tower(struct gguf_in *in), gguf_read_gemma3_tower(struct gguf_in *in);
int gguf_read_gpt2(struct gguf_in *in), gguf_write_gpt2(struct gguf_out *out);
int gguf_read_phi3(struct gguf_in *in), gguf_write_phi3(struct gguf_out *out);
int gguf_read_smollm3(struct gguf_in *in), gguf_write_smollm3(struct gguf_out *out);
int gguf_read_deepseek(struct gguf_in *in), gguf_write_deepseek(struct gguf_out *out);
int gguf_read_mamba(struct gguf_in *in), gguf_write_mamba(struct gguf_out *out);
int gguf_read_mamba2(struct gguf_in *in), gguf_write_mamba2(struct gguf_out *out);
int gguf_read_jamba(struct gguf_in *in), gguf_write_jamba(struct gguf_out *out);

/* ---- values: gguf_layout.c ------------------------------------------------------------------- */

/* The numbers that layouts depend on. */
struct gguf_sizes { int heads, kv_heads, groups, nope, v_dim; bool pairs; };
int gguf_sizes_of(const json_t *config, const struct gguf_arch *arch, struct gguf_sizes *out);

/* A tensor of one side as made from those of the other: several when experts are stacked. */
struct gguf_piece {
    enum gguf_layout layout;
    bool to_gguf;
    struct gguf_sizes sizes;
    const struct st_tensor *const *src; /* [n_src], equal shapes unless MLA: k, v */
    size_t n_src;
    struct shape shape;                 /* of what is made */
};
/* Sets the shape; refuses what does not fit. */
int gguf_piece_init(struct gguf_piece *p, const char *name);
size_t gguf_piece_rows(const struct gguf_piece *p);
size_t gguf_piece_cols(const struct gguf_piece *p);
/* Where row i lies whole, in the source's format; NULL when its values are computed. */
const void *gguf_piece_raw(const struct gguf_piece *p, size_t row);
/* Row i as floats [cols]. Any thread. */
int gguf_piece_row(const struct gguf_piece *p, size_t row, float *scratch, float *out);
size_t gguf_piece_scratch(const struct gguf_piece *p); /* floats */

/* Does `name` fit? Fills the numbers and what follows: "", ".weight" or ".bias". */
bool gguf_name_fits(const char *pattern, struct span name, int n[2], struct span *rest);
/* Numbers and rest put in. */
int gguf_name_make(const char *pattern, const int n[2], struct span rest, char *out, size_t cap);
int gguf_name_holes(const char *pattern);

#endif
