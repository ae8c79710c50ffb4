/* HTML that the reports of training and evaluation share: escapes, data URLs, one style for all. Knows nothing
 * of their subject. */
/* SPDX-License-Identifier: MIT */
#include "base/html.h"

void html_text(struct buf *b, const char *text)
{
    static const struct { char from; const char *to; } table[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"},
    };
    for (; *text; text++) {
        const char *as = NULL;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (*text == table[i].from)
                as = table[i].to;
        if (as)
            buf_str(b, as);
        else
            buf_char(b, *text);
    }
}

void html_base64(struct buf *b, const unsigned char *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0u) | (left > 2 ? p[i + 2] : 0u);
        char four[4] = {digit[v >> 18], digit[v >> 12 & 63], left > 1 ? digit[v >> 6 & 63] : '=',
                        left > 2 ? digit[v & 63] : '='};
        buf_append(b, four, 4);
    }
}

static const char style[] =
    "<style>\n"
    "body{font:16px/1.45 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#222}\n"
    "svg{width:100%;font-size:14px}.bar{fill:#5b8fd6}.all{fill:#2f5d9e}.whisker{stroke:#111;fill:none}\n"
    ".grid{stroke:#ddd}.dim{fill:#777;color:#777}table{border-collapse:collapse}\n"
    "td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}\n"
    "td:first-child,th:first-child{text-align:left}.answers{display:flex;flex-wrap:wrap;gap:1em}\n"
    "figure{width:200px;margin:0;padding:8px;border-radius:8px;border:2px solid #cfe6cf;font-size:14px}\n"
    "figure.wrong{border-color:#e8b4b4}figcaption{overflow-wrap:anywhere}\n"
    "img{width:100%;image-rendering:pixelated;border-radius:4px}\n"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ddd}.grid{stroke:#444}\n"
    ".whisker{stroke:#eee}td,th{border-color:#444}}\n</style>\n";

void html_begin(struct buf *b, const char *title)
{
    buf_str(b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
               "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    html_text(b, title);
    buf_printf(b, "</title>\n%s", style);
}
