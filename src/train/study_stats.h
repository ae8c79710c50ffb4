/* Intervals over seeds and over counts: Student's t, Wilson, Newcombe. Knows numbers only. */
/* SPDX-License-Identifier: MIT */
#ifndef TRAIN_STUDY_STATS_H
#define TRAIN_STUDY_STATS_H

enum study_interval { INTERVAL_NONE, INTERVAL_STUDENT, INTERVAL_WILSON, INTERVAL_NEWCOMBE, INTERVAL_COUNT };
extern const char *const study_interval_names[INTERVAL_COUNT];

struct study_estimate {
    int n;                   /* seeds that it is the mean of; 0: nothing is known */
    double mean, low, high;  /* low and high: NaN without an interval */
    enum study_interval how;
};

/* The t that P(|T| <= t) = 0.95 for, of `freedom` >= 1 degrees. */
double study_t95(int freedom);
/* Mean of n values; from two on with Student's 95 % interval. */
struct study_estimate study_mean(const double *x, int n);
/* One proportion, with Wilson's interval. */
struct study_estimate study_share(double right, double asked);
/* a - b of two shares by Newcombe's method 10. */
struct study_estimate study_share_gain(struct study_estimate a, struct study_estimate b);

#endif
