/* Declarations of the rows that families.def lists; each is defined in a family_*.c or stack_*.c. */
/* SPDX-License-Identifier: MIT */
#ifndef MODELS_FAMILIES_H
#define MODELS_FAMILIES_H
#include "models/family.h"

#define STACK(row) extern const struct stack_row row;
#define FAMILY(row) extern const struct family_row row;
#include "models/families.def"
#undef STACK
#undef FAMILY

/* Shared by stacks: activation names, and keys that never change the arithmetic. */
extern const struct json_name family_acts[];
extern const char *const family_harmless[];

/* Field row shorthands into struct nn_facts. */
#define FACT_INT(key, member, def, max) {key, JSON_KIND_INT, offsetof(struct nn_facts, member), false, 1, max, def, NULL, NULL, 0, 0}
#define FACT_FLOAT(key, member, def) {key, JSON_KIND_FLOAT, offsetof(struct nn_facts, member), false, 0, 1e12, def, NULL, NULL, 0, 0}
#define FACT_BOOL(key, member, def) {key, JSON_KIND_BOOL, offsetof(struct nn_facts, member), false, 0, 0, def, NULL, NULL, 0, 0}
#define FACT_ACT(def) {"hidden_act", JSON_KIND_ENUM, offsetof(struct nn_facts, act), false, 0, 0, def, NULL, family_acts, 0, 0}

enum { MAX_WIDTH = 1 << 20, MAX_LAYERS = 4096, MAX_VOCAB = 1 << 22 };

/* rope_scaling / rope_parameters and partial defaults of the Llama line. */
int family_llama_finish(const json_t *config, const char *place, struct nn_facts *f);

#endif
