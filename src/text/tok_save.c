/* Writing a tokenizer as the three files that the ecosystem reads. Everything but vocabulary, merges and added tokens
 * is the document that was read. */
/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "formats/json.h"
#include "text/tok_int.h"

static int set(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) ? NUN_ENOMEM : 0;
}

static json_t *text_json(struct span s)
{
    return json_stringn(s.ptr, s.len);
}

static json_t *added_json(const struct tokenizer *t, const struct tok_added *a, bool with_id)
{
    json_t *o = json_object();
    int rc = o && with_id ? set(o, "id", json_integer(a->id)) : 0;
    rc |= set(o, "content", text_json(a->content));
    rc |= set(o, "single_word", json_boolean(a->single_word));
    rc |= set(o, "lstrip", json_boolean(a->lstrip));
    rc |= set(o, "rstrip", json_boolean(a->rstrip));
    rc |= set(o, "normalized", json_boolean(a->normalized));
    rc |= set(o, "special", json_boolean(t->vocab[a->id].special));
    if (rc == 0)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *vocab_json(const struct tokenizer *t)
{
    json_t *vocab = t->model->scored ? json_array() : json_object();
    int bad = !vocab;
    for (size_t i = 0; !bad && i < t->n_vocab; i++) {
        const struct tok_entry *e = &t->vocab[i];
        if (!e->in_model)
            continue;
        bad = t->model->scored ? json_array_append_new(vocab, json_pack("[s%f]", e->text.ptr, e->text.len, e->score))
                               : json_object_setn_new(vocab, e->text.ptr, e->text.len, json_integer((json_int_t)i));
    }
    if (!bad)
        return vocab;
    json_decref(vocab);
    return NULL;
}

static json_t *added_list(const struct tokenizer *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n_added; i++)
        if (json_array_append_new(list, added_json(t, &t->added[i], true))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *model_json(const struct tokenizer *t)
{
    json_t *model = json_copy(json_object_get(t->doc, "model"));
    int rc = set(model, "type", json_string(t->model->type));
    rc |= set(model, "vocab", vocab_json(t));
    if (rc == 0 && t->model->save)
        rc = t->model->save(t, model);
    if (rc == 0)
        return model;
    json_decref(model);
    return NULL;
}

static json_t *or_null(const json_t *v)
{
    return v ? json_incref((json_t *)v) : json_null();
}

static int document(const struct tokenizer *t, json_t *doc)
{
    static const char *const kept[] = {"normalizer", "pre_tokenizer", "post_processor", "decoder"};
    TRY(set(doc, "version", json_string("1.0")));
    TRY(set(doc, "truncation", or_null(json_object_get(t->doc, "truncation"))));
    TRY(set(doc, "padding", or_null(json_object_get(t->doc, "padding"))));
    TRY(set(doc, "added_tokens", added_list(t)));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        TRY(set(doc, kept[i], or_null(json_object_get(t->doc, kept[i]))));
    return set(doc, "model", model_json(t));
}

/* The roles as texts, "bos_token": "<s>". */
static int roles(const struct tokenizer *t, json_t *o)
{
    for (int r = 0; r < TOK_ROLE_COUNT; r++)
        if (t->role[r] >= 0)
            TRY(set(o, tok_role_key((enum tok_role)r), text_json(tokenizer_token(t, t->role[r]))));
    return 0;
}

static int config(const struct tokenizer *t, json_t *o)
{
    if (t->config && json_object_update(o, t->config))
        return NUN_ENOMEM;
    if (!json_object_get(o, "tokenizer_class"))
        TRY(set(o, "tokenizer_class", json_string("PreTrainedTokenizerFast")));
    if (!json_object_get(o, "model_input_names")) /* else that class gives token_type_ids too, which models refuse */
        TRY(set(o, "model_input_names", json_pack("[s,s]", "input_ids", "attention_mask")));
    if (!json_object_get(o, "clean_up_tokenization_spaces"))
        TRY(set(o, "clean_up_tokenization_spaces", json_false()));
    json_t *decoder = json_object();
    TRY(set(o, "added_tokens_decoder", decoder));
    for (size_t i = 0; i < t->n_added; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", t->added[i].id);
        TRY(set(decoder, id, added_json(t, &t->added[i], false)));
    }
    return roles(t, o);
}

int tokenizer_save(const struct tokenizer *t, const char *dir)
{
    static const struct { const char *name; int (*fill)(const struct tokenizer *t, json_t *o); } files[] = {
        {"tokenizer.json", document},
        {"tokenizer_config.json", config},
        {"special_tokens_map.json", roles},
    };
    char path[4096];
    TRY(file_mkdirs(dir));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TRY(path_join(path, sizeof path, dir, files[i].name));
        unsigned mark = json_mark();
        json_t *o = json_object();
        int rc = o ? files[i].fill(t, o) : NUN_ENOMEM;
        if (rc == 0)
            rc = json_check(mark);
        if (rc == 0)
            rc = json_write_file(path, o);
        json_decref(o);
        if (rc < 0)
            return rc == NUN_ENOMEM ? err_set(rc, "%s: out of memory", path) : rc;
    }
    return 0;
}
