/* generation_config.json: how a model wants to be asked. What it says about sampling, lengths and ends becomes
 * the defaults of nun_model_defaults, as the transformers library would apply it; what would change answers
 * and is not done here is told on stderr. open.c calls it; the command line asks for the result. */
/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "formats/json.h"
#include "runtime/open.h"
#include "runtime/sampler.h"

/* ---- the file as numbers --------------------------------------------------------------------------- */

enum { TOP_K_ABSENT = -1, TOP_K_SAMPLING = 50 }; /* the library's own default when it samples */

struct settings {
    bool do_sample;
    float temperature, top_p, min_p, typical_p, epsilon, eta, repetition_penalty;
    int top_k, no_repeat_ngram, max_new_tokens, max_length, min_new_tokens;
    const json_t *stop, *suppress, *bad_words, *bias;
};

#define ROW(key_, kind_, member, lo, hi, def_) \
    {.key = key_, .kind = JSON_KIND_##kind_, .offset = offsetof(struct settings, member), .min = lo, .max = hi, .def = def_}
static const struct json_field rows[] = {
    ROW("do_sample", BOOL, do_sample, 0, 0, 0),
    ROW("temperature", FLOAT, temperature, 0, 100, 1),
    ROW("top_k", INT, top_k, 0, INT32_MAX, TOP_K_ABSENT),
    ROW("top_p", FLOAT, top_p, 0, 1, 1),
    ROW("min_p", FLOAT, min_p, 0, 1, 0),
    ROW("typical_p", FLOAT, typical_p, 0, 1, 1),
    ROW("epsilon_cutoff", FLOAT, epsilon, 0, 1, 0),
    ROW("eta_cutoff", FLOAT, eta, 0, 1, 0),
    ROW("repetition_penalty", FLOAT, repetition_penalty, 0, 100, 1),
    ROW("no_repeat_ngram_size", INT, no_repeat_ngram, 0, INT32_MAX, 0),
    ROW("max_new_tokens", INT, max_new_tokens, 0, INT32_MAX, 0),
    ROW("max_length", INT, max_length, 0, INT32_MAX, 0),
    ROW("min_new_tokens", INT, min_new_tokens, 0, INT32_MAX, 0),
    {.key = "stop_strings", .kind = JSON_KIND_NODE, .offset = offsetof(struct settings, stop)},
    {.key = "suppress_tokens", .kind = JSON_KIND_NODE, .offset = offsetof(struct settings, suppress)},
    {.key = "bad_words_ids", .kind = JSON_KIND_NODE, .offset = offsetof(struct settings, bad_words)},
    {.key = "sequence_bias", .kind = JSON_KIND_NODE, .offset = offsetof(struct settings, bias)},
};

/* Keys that change no answer: facts repeated elsewhere, how the library keeps its state, and what belongs to
 * searches that are not asked for. */
static const char *const harmless[] = {
    "_*", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "use_cache",
    "cache_*", "output_*", "return_dict_in_generate", "return_legacy_cache", "low_memory", "early_stopping", "length_penalty",
    "is_assistant", "num_assistant_tokens*", "assistant_*", "prompt_lookup_*", "max_matching_ngram_size", "target_lookbehind",
    "remove_invalid_values", "renormalize_logits", "compile_config", "disable_compile", "trust_remote_code", "chat_format",
    "max_window_size", NULL};

/* Keys of what is not done here, with the number that asks for nothing. */
static const struct { const char *key; double neutral; } neutral[] = {
    {"num_beams", 1}, {"num_beam_groups", 1}, {"num_return_sequences", 1}, {"guidance_scale", 1},
    {"encoder_repetition_penalty", 1}};

static bool asks_for_nothing(const char *key, const json_t *value)
{
    double nothing = 0;
    for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++)
        if (span_is(span_str(key), neutral[i].key))
            nothing = neutral[i].neutral;
    if (json_is_number(value))
        return json_number_value(value) == nothing;
    return json_is_null(value) || json_is_false(value) || ((json_is_array(value) || json_is_object(value)) &&
           json_array_size(value) + json_object_size(value) == 0);
}

static void report(void *path, const char *key, const json_t *value)
{
    if (!asks_for_nothing(key, value))
        log_warn("%s: %s is not followed: answers may differ from the reference's", (const char *)path, key);
}

/* ---- lists ------------------------------------------------------------------------------------------- */

/* A list of one id as that id; -1 for anything else. */
static int64_t lone_id(const json_t *v)
{
    if (json_is_array(v) && json_array_size(v) == 1)
        v = json_array_get(v, 0);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

static void add_bias(struct nun_model *m, int64_t id, double bias)
{
    struct engine_defaults *d = &m->defaults;
    if (id < m->model->text.facts.vocab) /* ids beyond never come */
        d->bias[d->options.sampling.n_bias++] = (struct nun_logit_bias){(int32_t)id, (float)bias};
}

/* Ids that must not come: [id, ...] or [[id], ...]; and [[[id], bias], ...]. Runs of several are told. */
static int read_bias(struct nun_model *m, const struct settings *s, char *path)
{
    const struct { const char *key; const json_t *list; bool pairs; } lists[] = {
        {"suppress_tokens", s->suppress, false}, {"bad_words_ids", s->bad_words, false}, {"sequence_bias", s->bias, true}};
    size_t most = json_array_size(s->suppress) + json_array_size(s->bad_words) + json_array_size(s->bias), k;
    const json_t *item;
    m->defaults.bias = mem_calloc(MEM_RUNTIME, most + 1, sizeof *m->defaults.bias);
    if (!m->defaults.bias)
        return NUN_ENOMEM;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        json_array_foreach(lists[i].list, k, item) {
            int64_t id = lone_id(lists[i].pairs ? json_array_get(item, 0) : item);
            double bias = lists[i].pairs ? json_number_value(json_array_get(item, 1)) : (double)SAMPLE_DEAD;
            if (id >= 0)
                add_bias(m, id, bias < (double)SAMPLE_DEAD ? (double)SAMPLE_DEAD : bias);
            else
                report(path, lists[i].key, json_true());
        }
    m->defaults.options.sampling.bias = m->defaults.bias;
    return 0;
}

static int read_stops(struct nun_model *m, const struct settings *s, const char *path)
{
    size_t n = json_is_array(s->stop) ? json_array_size(s->stop) : s->stop != NULL;
    m->defaults.stop = mem_calloc(MEM_RUNTIME, n + 1, sizeof *m->defaults.stop);
    if (!m->defaults.stop)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_array(s->stop) ? json_array_get(s->stop, i) : s->stop);
        if (!text || !*text)
            return err_set(NUN_EFORMAT, "%s: stop_strings: expected texts that are not empty", path);
        m->defaults.stop[i] = text;
    }
    m->defaults.options.stop = m->defaults.stop;
    m->defaults.options.n_stop = n;
    return 0;
}

/* ---- ids that end an answer ---------------------------------------------------------------------------- */

static void add_end(struct nun_model *m, int64_t id)
{
    for (int i = 0; i < m->n_ends; i++)
        if (m->ends[i] == id)
            return;
    if (id >= 0 && id < m->model->text.facts.vocab && m->n_ends < ENGINE_ENDS)
        m->ends[m->n_ends++] = (int32_t)id;
}

static int ends_from(struct nun_model *m, const json_t *config, const char *place, const char *key)
{
    int ids[ENGINE_ENDS], n = 0;
    TRY(json_get_ints(config, place, key, -1, INT32_MAX, ids, ENGINE_ENDS, &n));
    for (int i = 0; i < n; i++)
        add_end(m, ids[i]);
    return 0;
}

static int open_ends(struct nun_model *m, const char *folder, const char *path)
{
    if (m->defaults.config)
        TRY(ends_from(m, m->defaults.config, path, "eos_token_id"));
    if (!m->n_ends && m->model->config)
        TRY(ends_from(m, m->model->config, folder, "eos_token_id"));
    if (!m->n_ends && m->model->config && json_dig(m->model->config, "text_config"))
        TRY(ends_from(m, m->model->config, folder, "text_config.eos_token_id"));
    if (m->tokenizer)
        add_end(m, tokenizer_role(m->tokenizer, TOK_EOS));
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static float unless_one(float p)
{
    return p < 1 ? p : 0;
}

static void set_options(const struct settings *s, struct nun_generate_options *o)
{
    int top_k = s->top_k != TOP_K_ABSENT ? s->top_k : s->do_sample ? TOP_K_SAMPLING : 0;
    o->sampling = (struct nun_sampling){
        .temperature = s->do_sample ? s->temperature : 0, .top_k = top_k, .top_p = unless_one(s->top_p), .min_p = s->min_p,
        .typical_p = unless_one(s->typical_p), .epsilon = unless_one(s->epsilon), .eta = unless_one(s->eta),
        .repeat_penalty = s->repetition_penalty, .penalty_last = -1, .no_repeat_ngram = s->no_repeat_ngram};
    o->max_tokens = s->max_new_tokens;
    o->max_length = s->max_new_tokens ? 0 : s->max_length;
    o->min_tokens = s->min_new_tokens;
}

static int read_settings(struct nun_model *m, char *path)
{
    struct settings s = {0};
    const struct json_unknown unknown = {.ignore = harmless, .report = report, .arg = path};
    TRY(json_load_file_limited(path, &m->defaults.config));
    TRY(json_read(m->defaults.config, path, "", rows, sizeof rows / sizeof rows[0], &s, &unknown));
    set_options(&s, &m->defaults.options);
    TRY(read_bias(m, &s, path));
    return read_stops(m, &s, path);
}

int open_defaults(struct nun_model *m, const char *folder)
{
    char path[4096];
    TRY(path_join(path, sizeof path, folder, "generation_config.json"));
    if (file_exists(path))
        TRY(read_settings(m, path));
    return open_ends(m, folder, path);
}

void close_defaults(struct nun_model *m)
{
    json_decref(m->defaults.config);
    mem_free(m->defaults.bias);
    mem_free((void *)(uintptr_t)m->defaults.stop);
}

void nun_model_defaults(const struct nun_model *m, struct nun_generate_options *out)
{
    *out = m->defaults.options;
}
