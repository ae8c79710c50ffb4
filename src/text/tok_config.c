/* The facts of the files beside a tokenizer (tokenizer_config.json, special_tokens_map.json) where the ecosystem
 * applies them: listed tokens, roles, what goes around a text, a blank in front, blanks cleaned up. tok_source.c
 * calls it. */
/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "formats/json.h"
#include "text/tok_int.h"

static const char place[] = "tokenizer_config.json";
static const char *const role_keys[TOK_ROLE_COUNT] = {
    "bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token",
};

const char *tok_role_key(enum tok_role role)
{
    return role >= 0 && role < TOK_ROLE_COUNT ? role_keys[role] : NULL;
}

/* ---- reading ---- */

/* tokenizer_config.json with the roles of special_tokens_map.json where it has none; an empty object without files. */
int tok_config_read(const char *dir, json_t **out)
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json"};
    char path[4096];
    unsigned mark = json_mark();
    json_t *all = json_object();
    int rc = all ? 0 : NUN_ENOMEM;
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        json_t *one = NULL;
        rc = path_join(path, sizeof path, dir, names[i]);
        if (rc < 0 || !file_exists(path))
            continue;
        rc = json_load_file_limited(path, &one);
        if (rc == 0 && !json_is_object(one))
            rc = err_set(NUN_EFORMAT, "%s: expected an object", path);
        if (rc == 0) {
            json_object_update_missing(all, one);
            rc = json_check(mark);
        }
        json_decref(one);
    }
    if (rc < 0)
        json_decref(all);
    else
        *out = all;
    return rc;
}

/* ---- added tokens ---- */

/* A token in a config: "text" or {"content": "text", ...}. */
static struct span token_text(const json_t *v)
{
    return tok_json_str(json_is_object(v) ? json_object_get(v, "content") : v);
}

static json_t *find_listed(const json_t *added, struct span text)
{
    for (size_t i = 0; i < json_array_size(added); i++)
        if (span_eq(token_text(json_array_get(added, i)), text))
            return json_array_get(added, i);
    return NULL;
}

static const char *const switches[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};

/* The switches that `from` has go to `to`. */
static int copy_switches(json_t *to, const json_t *from)
{
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        json_t *v = json_object_get(from, switches[i]);
        if (v && json_object_set(to, switches[i], v))
            return NUN_ENOMEM;
    }
    return 0;
}

static int append_token(json_t *added, struct span text, json_int_t id, const json_t *from)
{
    bool special = json_is_true(json_object_get(from, "special")); /* by default not looked for in normalised text */
    json_t *o = json_pack("{s:I,s:s%,s:b}", "id", id, "content", text.ptr, text.len, "normalized", !special);
    if (!o || json_array_append_new(added, o))
        return NUN_ENOMEM;
    return copy_switches(o, from);
}

/* {"32000": {content, lstrip, ...}}: the config's word counts more than tokenizer.json's, but for the id. */
static int merge_listed(json_t *added, const json_t *decoder)
{
    const char *key;
    json_t *o;
    json_object_foreach((json_t *)decoder, key, o) {
        char *end;
        long id = strtol(key, &end, 10);
        struct span text = token_text(o);
        if (!text.len || *end || end == key)
            return err_set(NUN_EFORMAT, "%s: added_tokens_decoder.%s: expected an id with a token", place, key);
        json_t *known = find_listed(added, text);
        TRY(known ? copy_switches(known, o) : append_token(added, text, id, o));
    }
    return 0;
}

/* The id that a document's model gives a piece, -1 when it has none. */
static json_int_t model_id(const json_t *vocab, struct span text)
{
    const json_t *id = json_object_getn(vocab, text.ptr, text.len);
    for (size_t i = 0; i < json_array_size(vocab); i++)
        if (span_eq(tok_json_str(json_array_get(json_array_get(vocab, i), 0)), text))
            return (json_int_t)i;
    return json_is_integer(id) ? json_integer_value(id) : -1;
}

/* The first id behind all others. */
static json_int_t next_id(const json_t *vocab, const json_t *added)
{
    json_int_t next = (json_int_t)(json_object_size(vocab) + json_array_size(vocab));
    for (size_t i = 0; i < json_array_size(added); i++) {
        json_int_t id = json_integer_value(json_object_get(json_array_get(added, i), "id"));
        next = id >= next && id < INT32_MAX ? id + 1 : next;
    }
    return next;
}

/* What a config calls bos, eos, ... is special even when tokenizer.json does not say so; what no file knows gets
 * a new id. */
static int merge_special(json_t *doc, json_t *added, const json_t *token)
{
    const json_t *vocab = json_object_get(json_object_get(doc, "model"), "vocab");
    struct span text = token_text(token);
    json_t *known = text.len ? find_listed(added, text) : NULL;
    if (known) {
        TRY(copy_switches(known, token));
        return json_object_set_new(known, "special", json_true()) ? NUN_ENOMEM : 0;
    }
    if (!text.len)
        return 0;
    json_int_t id = model_id(vocab, text);
    TRY(append_token(added, text, id >= 0 ? id : next_id(vocab, added), token));
    json_t *o = json_array_get(added, json_array_size(added) - 1);
    int bad = json_object_get(token, "normalized") ? 0 : json_object_set_new(o, "normalized", json_false());
    return bad || json_object_set_new(o, "special", json_true()) ? NUN_ENOMEM : 0;
}

static int merge_all(json_t *doc, json_t *added, const json_t *config)
{
    const json_t *more = json_object_get(config, "additional_special_tokens");
    const char *key;
    json_t *o;
    TRY(merge_listed(added, json_object_get(config, "added_tokens_decoder")));
    for (int r = 0; r < TOK_ROLE_COUNT; r++)
        TRY(merge_special(doc, added, json_object_get(config, role_keys[r])));
    for (size_t i = 0; i < json_array_size(more); i++)
        TRY(merge_special(doc, added, json_array_get(more, i)));
    json_object_foreach(json_object_get(config, "extra_special_tokens"), key, o)
        TRY(merge_special(doc, added, o));
    return 0;
}

int tok_config_merge(json_t *doc, const json_t *config)
{
    unsigned mark = json_mark();
    json_t *added = json_object_get(doc, "added_tokens");
    if (json_object_size(config) == 0)
        return 0;
    if (!json_is_array(added)) {
        added = json_array();
        if (!added || json_object_set_new(doc, "added_tokens", added))
            return err_set(NUN_ENOMEM, "tokenizer: out of memory");
    }
    TRY(merge_all(doc, added, config));
    return json_check(mark);
}

/* ---- a blank in front ---- */

/* A ByteLevel pre-tokenizer that stands alone follows the config, which says no by saying nothing. */
int tok_config_prefix(json_t *doc, const json_t *config)
{
    json_t *splitter = json_object_get(doc, "pre_tokenizer");
    bool prefix = false;
    if (json_object_size(config) == 0 || !json_object_get(splitter, "add_prefix_space") ||
        !span_is(tok_json_str(json_object_get(splitter, "type")), "ByteLevel"))
        return 0;
    TRY(tok_json_bool(config, place, "add_prefix_space", &prefix));
    return json_object_set_new(splitter, "add_prefix_space", json_boolean(prefix)) ? NUN_ENOMEM : 0;
}

/* ---- around a text ---- */

/* Classes that write their post-processor themselves, from add_bos_token and add_eos_token: what they do unasked. */
static const struct { const char *name; bool bos, eos; const char *bos_text, *eos_text; } classes[] = {
    {"LlamaTokenizer", true, false, "<s>", "</s>"},
    {"CodeLlamaTokenizer", true, false, "<s>", "</s>"},
    {"GemmaTokenizer", true, false, "<bos>", "<eos>"},
    {"CohereTokenizer", true, false, "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"},
    {"GPTNeoXTokenizer", false, false, "<|endoftext|>", "<|endoftext|>"},
};

/* {"SpecialToken": ...}, and its entry among the special tokens. */
static int add_end(struct span text, int32_t id, json_t *form, json_t *specials)
{
    int bad = json_array_append_new(form, json_pack("{s:{s:s%,s:i}}", "SpecialToken", "id", text.ptr, text.len,
                                                    "type_id", 0));
    bad |= json_object_setn_new(specials, text.ptr, text.len,
                                json_pack("{s:s%,s:[i],s:[s%]}", "id", text.ptr, text.len, "ids", (int)id, "tokens",
                                          text.ptr, text.len));
    return bad ? NUN_ENOMEM : 0;
}

int tok_ends_json(const struct tok_ends *e, json_t **out)
{
    json_t *form = json_array(), *specials = json_object();
    int rc = !form || !specials ? NUN_ENOMEM : 0;
    if (rc == 0 && e->bos.len)
        rc = add_end(e->bos, e->bos_id, form, specials);
    if (rc == 0 && json_array_append_new(form, json_pack("{s:{s:s,s:i}}", "Sequence", "id", "A", "type_id", 0)))
        rc = NUN_ENOMEM;
    if (rc == 0 && e->eos.len)
        rc = add_end(e->eos, e->eos_id, form, specials);
    if (rc < 0) {
        json_decref(form);
        json_decref(specials);
        return rc;
    }
    *out = json_pack("{s:s,s:o,s:[{s:{s:s,s:i}},{s:{s:s,s:i}}],s:o}", "type", "TemplateProcessing", "single", form,
                     "pair", "Sequence", "id", "A", "type_id", 0, "Sequence", "id", "B", "type_id", 1, "special_tokens", specials);
    return *out ? 0 : NUN_ENOMEM;
}

static int end_token(const struct tokenizer *t, const json_t *config, enum tok_role role, const char *usual,
                     struct span *text, int32_t *id)
{
    struct span named = token_text(json_object_get(config, role_keys[role]));
    *text = named.len ? named : span_str(usual);
    *id = tokenizer_id_of(t, *text);
    if (*id >= 0)
        return 0;
    return err_set(NUN_EFORMAT, "%s: \"%.*s\" is to be put around texts and is not in the vocabulary", place,
                   (int)text->len, text->ptr);
}

static int write_ends(struct tokenizer *t, const json_t *config, size_t c)
{
    bool bos = classes[c].bos, eos = classes[c].eos;
    struct tok_ends ends = {0};
    json_t *post = NULL;
    TRY(tok_json_bool(config, place, "add_bos_token", &bos));
    TRY(tok_json_bool(config, place, "add_eos_token", &eos));
    if (bos)
        TRY(end_token(t, config, TOK_BOS, classes[c].bos_text, &ends.bos, &ends.bos_id));
    if (eos)
        TRY(end_token(t, config, TOK_EOS, classes[c].eos_text, &ends.eos, &ends.eos_id));
    TRY(tok_ends_json(&ends, &post));
    if (json_object_set_new(t->doc, "post_processor", post))
        return NUN_ENOMEM;
    tok_steps_free(&t->post);
    return tok_steps_parse(t, &tok_posts, post, &t->post);
}

static int apply_class(struct tokenizer *t, const json_t *config)
{
    struct span name = tok_json_str(json_object_get(config, "tokenizer_class"));
    if (span_ends(name, SPAN("Fast")))
        name.len -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (span_is(name, classes[i].name))
            return write_ends(t, config, i);
    return 0;
}

int tok_config_apply(struct tokenizer *t, json_t *config)
{
    unsigned mark = json_mark();
    for (int r = 0; r < TOK_ROLE_COUNT; r++) {
        struct span text = token_text(json_object_get(config, role_keys[r]));
        if (text.len && tokenizer_id_of(t, text) >= 0)
            t->role[r] = tokenizer_id_of(t, text);
    }
    t->config = json_incref(config);
    TRY(tok_json_bool(config, place, "clean_up_tokenization_spaces", &t->clean_up));
    TRY(apply_class(t, config));
    return json_check(mark);
}
