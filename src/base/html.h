/* Pieces of HTML that reports share: text made safe, bytes as data URLs. Knows nothing of their subject. */
/* SPDX-License-Identifier: MIT */
#ifndef BASE_HTML_H
#define BASE_HTML_H
#include "base/buf.h"

void html_text(struct buf *b, const char *text); /* with & < > " as entities */
void html_base64(struct buf *b, const unsigned char *p, size_t n);
/* <!doctype html>, head with the title and the style that all reports share, up to <body>'s first child. */
void html_begin(struct buf *b, const char *title);

#endif
