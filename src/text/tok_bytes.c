/* The byte-level alphabet of GPT-2: printable Latin-1 bytes stand for themselves, the 68 others for
 * U+0100 and up in order, so that any bytes are a string of visible characters. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_int.h"

static bool is_plain(uint32_t b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

/* The bytes that are not plain, in order: 0x00-0x20, 0x7f-0xa0, 0xad. */
uint32_t tok_byte_char(unsigned char byte)
{
    if (is_plain(byte))
        return byte;
    return 0x100u + (byte <= 0x20 ? byte : byte <= 0xa0 ? byte - 0x7f + 0x21u : 0x43u);
}

int tok_char_byte(uint32_t cp)
{
    if (cp < 0x100)
        return is_plain(cp) ? (int)cp : -1;
    if (cp > 0x143)
        return -1;
    uint32_t k = cp - 0x100;
    return k <= 0x20 ? (int)k : k < 0x43 ? (int)(k - 0x21 + 0x7f) : 0xad;
}

void tok_byte_ids(const struct tokenizer *t, int32_t ids[256])
{
    for (int i = 0; i < 256; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", i);
        int32_t id = tokenizer_id_of(t, span_str(text));
        ids[i] = id >= 0 && t->vocab[id].in_model ? id : -1;
    }
}
