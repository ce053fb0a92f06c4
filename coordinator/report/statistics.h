/* Resampling statistics. Pure functions; any thread; no allocation unless said.
 *
 * The bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals (chapter
 * 13) and tests (chapter 16). Percentiles interpolate linearly between order statistics, as numpy does by
 * default. */
#ifndef LUMIGRID_COORDINATOR_REPORT_STATISTICS_H
#define LUMIGRID_COORDINATOR_REPORT_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STATISTICS_RESAMPLES_MAX = 10000,
    STATISTICS_RESAMPLES_MIN = 1000,
    STATISTICS_DRAWS_MAX = 20 * 1000 * 1000, /* per interval: fewer resamples for larger samples … */
    /* … and where not even the fewest fit, the normal approximation, which is then exact to the digits shown.
     */
};
#define STATISTICS_SEED 0x6C756D6967726964u

/* How many resamples an interval over `count` values takes; 0: the normal approximation. */
size_t statistics_resamples(size_t count);

struct statistics_interval {
    double mean, low, high;
};

/* Mean of `count` > 0 finite values and its 95% interval. False: no memory. */
bool statistics_mean_interval(const double *values, size_t count, struct statistics_interval *out);

struct statistics_pair {
    struct statistics_interval difference; /* of a - b */
    double p;                              /* two-sided, of "the mean difference is 0"; never 0 */
    size_t wins, ties, losses;             /* of a */
};

/* `differences` holds a - b of each sample, count > 0. p: the differences are shifted to mean 0 and
 * resampled; the share of resamples at least as far from 0 as what was seen, counting what was seen as one of
 * them. */
bool statistics_paired(const double *differences, size_t count, struct statistics_pair *out);

/* Holm's step-down correction of `count` p-values, in place of nothing: out[i] belongs to p[i]. */
void statistics_holm(const double *p, size_t count, double *out);

/* Pearson's r; NaN when either is constant or count < 2. */
double statistics_correlation(const double *a, const double *b, size_t count);

#endif
