/* Student's t by the incomplete beta function, and the intervals of proportions. */
/* SPDX-License-Identifier: MIT */
#include "train/study_stats.h"

#include <math.h>

#include "nunchi/eval.h"

const char *const study_interval_names[INTERVAL_COUNT] = {"none", "student", "wilson", "newcombe"};

/* Lentz's evaluation of the continued fraction of the incomplete beta function (DLMF 8.17.22). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double h = d;
    for (int m = 1; m < 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        const double term[2] = {even, odd};
        double last = 1;
        for (int k = 0; k < 2; k++) {
            d = 1 + term[k] * d;
            c = 1 + term[k] / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            last = c * d;
            h *= last;
        }
        if (fabs(last - 1) < 1e-15)
            break;
    }
    return h;
}

static double beta_share(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x > 0;
    if (x > (a + 1) / (a + b + 2)) /* the fraction converges fast on the other side only */
        return 1 - beta_share(b, a, 1 - x);
    return exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) * beta_fraction(a, b, x) / a;
}

/* P(|T| > t) is I_{v/(v+t^2)}(v/2, 1/2); it falls with t. */
double study_t95(int freedom)
{
    double v = freedom, low = 0, high = 1000;
    for (int i = 0; i < 200; i++) {
        double t = (low + high) / 2;
        if (beta_share(v / 2, 0.5, v / (v + t * t)) > 0.05)
            low = t;
        else
            high = t;
    }
    return (low + high) / 2;
}

struct study_estimate study_mean(const double *x, int n)
{
    struct study_estimate e = {.n = n, .mean = NAN, .low = NAN, .high = NAN};
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    if (n)
        e.mean = sum / n;
    for (int i = 0; i < n; i++)
        squares += (x[i] - e.mean) * (x[i] - e.mean);
    if (n < 2)
        return e;
    double half = study_t95(n - 1) * sqrt(squares / (n - 1) / n);
    e.low = e.mean - half;
    e.high = e.mean + half;
    e.how = INTERVAL_STUDENT;
    return e;
}

struct study_estimate study_share(double right, double asked)
{
    if (asked <= 0)
        return study_mean(0, 0);
    struct nun_eval_share s = nun_eval_wilson((int)right, (int)asked);
    return (struct study_estimate){.n = 1, .mean = s.share, .low = s.low, .high = s.high, .how = INTERVAL_WILSON};
}

struct study_estimate study_share_gain(struct study_estimate a, struct study_estimate b)
{
    if (a.how != INTERVAL_WILSON || b.how != INTERVAL_WILSON)
        return study_mean(0, 0);
    double d = a.mean - b.mean;
    return (struct study_estimate){.n = 1, .mean = d, .how = INTERVAL_NEWCOMBE,
                                   .low = d - hypot(a.mean - a.low, b.high - b.mean),
                                   .high = d + hypot(a.high - a.mean, b.mean - b.low)};
}
