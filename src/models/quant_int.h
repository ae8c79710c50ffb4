/* Between quant_folder.c, which finds the row, and the readers of quant_packed.c and quant_scaled.c. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_QUANT_INT_H
#define MODELS_QUANT_INT_H
#include "models/quant_folder.h"

/* Settings, as far as a method has them. */
struct quant_settings {
    int bits;
    int group;                 /* inputs that share a scale; 0: all of them */
    int zero_shift;            /* GPTQ v1 stores zero - 1 */
    int block[2];              /* [rows, columns] that share a scale; 0: all */
};

/* One weight on its way. */
struct quant_job {
    const struct safetensors *st;
    const struct quant_settings *s;
    const char *name;          /* "model.layers.0.mlp.up_proj.weight" */
    const char *stem;          /* what the names of its parts start with */
    struct arena *scratch;     /* freed when it is done */
    struct shape shape;        /* of the weight; set by size */
    float *out;                /* room for it, when decode runs */
};

/* A way in which one weight is stored. */
struct quant_form {
    const char *marker;        /* the part that is there exactly when a weight is stored so */
    const char *const *parts;  /* all of them; NULL-terminated; after the stem */
    bool whole;                /* the stem is the weight's whole name, not the module's */
    int (*size)(struct quant_job *j);   /* the weight's shape, from the parts' proved shapes */
    int (*decode)(struct quant_job *j); /* checks every part, then fills out */
};

extern const struct quant_form quant_gptq, quant_awq, quant_ct_pack, quant_mxfp4;
extern const struct quant_form quant_bnb_nf4, quant_bnb_fp4, quant_bnb_int8;
extern const struct quant_form quant_scale, quant_scale_inv;

/* The part `tail`, of this type (DT_COUNT: any) and shape (NULL: any). */
int quant_part(const struct quant_job *j, const char *tail, enum dtype dt, const struct shape *shape,
               const struct st_tensor **out);
bool quant_has_part(const struct quant_job *j, const char *tail);
/* The same as float32. */
int quant_floats(const struct quant_job *j, const char *tail, const struct shape *shape, const float **out);
int quant_ints(const struct quant_job *j, const char *tail, int64_t count, const int32_t **out);
/* "name: tail: " in front of a refusal */
int quant_refuse(const struct quant_job *j, const char *tail, const char *why);

#endif
