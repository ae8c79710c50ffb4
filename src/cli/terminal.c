/* Manners towards terminals: sizes, harmless output, progress bars, pictures, interrupts. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

bool term_is(FILE *f)
{
    return isatty(fileno(f));
}

int term_columns(FILE *f)
{
    struct winsize w;
    if (ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_col > 20)
        return w.ws_col;
    return 80;
}

void term_write(FILE *f, const char *text, size_t len)
{
    if (!term_is(f)) {
        fwrite(text, 1, len, f);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)text[i];
        if ((ch < 0x20 && ch != '\n' && ch != '\t') || ch == 0x7f)
            fprintf(f, "^%c", ch ^ 0x40);
        else if (ch == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0)
            fputs("^?", f), i++; /* C1 controls */
        else
            fputc(ch, f);
    }
}

void cli_say(const struct cli *c, const char *fmt, ...)
{
    if (cli_flag(c, OPT_quiet))
        return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

void cli_print_json(json_t *value, bool indented)
{
    json_dumpf(value, stdout, JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY | (indented ? JSON_INDENT(2) : 0));
    putchar('\n');
    json_decref(value);
}

/* ---- pictures -------------------------------------------------------------------------------- */

/* Terminals by what they say of themselves, in order of preference; the last row is for all others. */
static const struct { const char *variable, *part, *style; } terminals[] = {
    {"TERM", "kitty", "kitty"},       {"TERM", "ghostty", "kitty"},      {"KITTY_WINDOW_ID", "", "kitty"},
    {"TERM", "sixel", "sixel"},       {"TERM", "mlterm", "sixel"},       {"TERM", "foot", "sixel"},
    {"TERM", "contour", "sixel"},     {"TERM", "yaft", "sixel"},         {"COLORTERM", "truecolor", "blocks"},
    {"COLORTERM", "24bit", "blocks"}, {"TERM", "direct", "blocks"},      {"TERM", "256", "blocks256"},
    {"TERM", "", "ascii"},
};

/* NULL: nothing to be shown. */
static const char *preview_style(const struct cli *c)
{
    const char *asked = cli_text(c, OPT_preview), *term = c->env("TERM");
    if (asked && strcmp(asked, "auto") != 0)
        return strcmp(asked, "none") ? asked : NULL;
    if (!term_is(stderr) || !term || !strcmp(term, "dumb") || c->json || cli_flag(c, OPT_quiet))
        return NULL;
    for (size_t i = 0; i < sizeof terminals / sizeof *terminals; i++) {
        const char *value = c->env(terminals[i].variable);
        if (value && strstr(value, terminals[i].part))
            return terminals[i].style;
    }
    return NULL;
}

void term_preview(const struct cli *c, const void *bytes, size_t n)
{
    enum { COLUMNS = 28 };
    const char *style = preview_style(c);
    char *text;
    size_t len;
    if (!style || nun_image_preview(bytes, n, style, COLUMNS, &text, &len) < 0)
        return; /* asking the model will tell what is wrong with the picture */
    fwrite(text, 1, len, stderr);
    nun_free(text);
}

/* ---- progress -------------------------------------------------------------------------------- */

void term_bar(double share, const char *text)
{
    enum { CELLS = 24 };
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (!term_is(stderr))
        return;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    int parts = (int)(share * CELLS * 8), room = term_columns(stderr) - CELLS - 10;
    fprintf(stderr, "\r\033[K%3.0f %% ", floor(share * 100));
    for (int i = 0; i < CELLS; i++)
        fputs(i < parts / 8 ? "█" : i == parts / 8 && parts % 8 ? eighths[parts % 8] : "·", stderr);
    fprintf(stderr, " %.*s", room > 0 ? room : 0, text);
    fflush(stderr);
}

void term_bar_end(void)
{
    if (term_is(stderr))
        fputs("\r\033[K", stderr);
}

const char *term_duration(double seconds, char out[32])
{
    long s = (long)(seconds + 0.5);
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(out, 32, "?");
    else if (seconds < 10)
        snprintf(out, 32, "%.1f s", seconds);
    else if (s < 3600)
        snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    return out;
}

const char *term_bytes(double bytes, char out[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    for (; bytes >= 1000 && unit + 1 < sizeof units / sizeof *units; unit++)
        bytes /= 1000;
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static volatile sig_atomic_t interrupted;

static void note_interrupt(int sig)
{
    interrupted = 1;
    signal(sig, SIG_DFL); /* the next one kills */
}

static void on_interrupt(void (*handler)(int))
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

void term_catch_interrupt(void)
{
    interrupted = 0;
    on_interrupt(note_interrupt);
}

bool term_interrupted(void) { return interrupted; }

void term_uncatch_interrupt(void)
{
    on_interrupt(SIG_DFL);
}
