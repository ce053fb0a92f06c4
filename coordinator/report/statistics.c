#include "coordinator/report/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double NORMAL_975 = 1.959963984540054; /* 97.5th percentile of the standard normal */

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014): small, and the same in any language. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* An index below `count` (< 2^32), from the upper half of a draw. */
static size_t next_index(uint64_t *state, size_t count)
{
    return (size_t)(((next_random(state) >> 32) * (uint64_t)count) >> 32);
}

size_t statistics_resamples(size_t count)
{
    size_t resamples = STATISTICS_DRAWS_MAX / (count ? count : 1);
    if (resamples > STATISTICS_RESAMPLES_MAX)
        return STATISTICS_RESAMPLES_MAX;
    return resamples < STATISTICS_RESAMPLES_MIN ? 0 : resamples;
}

static double mean_of(const double *values, size_t count)
{
    double sum = 0, lost = 0; /* Kahan: ten million terms */
    for (size_t i = 0; i < count; i++) {
        double term = values[i] - lost, total = sum + term;
        lost = (total - sum) - term;
        sum = total;
    }
    return sum / (double)count;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Equal values have an interval of no width, although sums taken in different ways differ in their last bits.
 */
static double snapped(double bound, double mean)
{
    return fabs(bound - mean) <= 1e-14 * (1 + fabs(mean)) ? mean : bound;
}

static double percentile(const double *sorted, size_t count, double q)
{
    double position = q * (double)(count - 1);
    size_t below = (size_t)position;
    if (below + 1 >= count)
        return sorted[count - 1];
    double weight = position - (double)below;
    return sorted[below] + (sorted[below + 1] - sorted[below]) * weight;
}

/* Means of resamples, unsorted; NULL: no memory. The caller frees. */
static double *resampled_means(const double *values, size_t count, size_t resamples)
{
    double *means = malloc(resamples * sizeof(*means));
    uint64_t state = STATISTICS_SEED;
    if (!means)
        return NULL;
    for (size_t r = 0; r < resamples; r++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += values[next_index(&state, count)];
        means[r] = sum / (double)count;
    }
    return means;
}

static double standard_error(const double *values, size_t count, double mean)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (values[i] - mean) * (values[i] - mean);
    return count > 1 ? sqrt(sum / (double)(count - 1) / (double)count) : 0;
}

static void normal_interval(const double *values, size_t count, struct statistics_interval *out)
{
    double error = standard_error(values, count, out->mean);
    out->low = out->mean - NORMAL_975 * error;
    out->high = out->mean + NORMAL_975 * error;
}

bool statistics_mean_interval(const double *values, size_t count, struct statistics_interval *out)
{
    size_t resamples = statistics_resamples(count);
    out->mean = mean_of(values, count);
    if (resamples == 0) {
        normal_interval(values, count, out);
        return true;
    }
    double *means = resampled_means(values, count, resamples);
    if (!means)
        return false;
    qsort(means, resamples, sizeof(*means), ascending);
    out->low = snapped(percentile(means, resamples, 0.025), out->mean);
    out->high = snapped(percentile(means, resamples, 0.975), out->mean);
    free(means);
    return true;
}

static double normal_p(double mean, double error)
{
    if (error == 0)
        return mean == 0 ? 1 : 0;
    return erfc(fabs(mean) / error / sqrt(2));
}

bool statistics_paired(const double *differences, size_t count, struct statistics_pair *out)
{
    size_t resamples = statistics_resamples(count);
    *out = (struct statistics_pair){0};
    for (size_t i = 0; i < count; i++) {
        out->wins += differences[i] > 0;
        out->ties += differences[i] == 0;
        out->losses += differences[i] < 0;
    }
    double mean = out->difference.mean = mean_of(differences, count);
    if (resamples == 0) {
        normal_interval(differences, count, &out->difference);
        out->p = normal_p(mean, standard_error(differences, count, mean));
        return true;
    }
    double *means = resampled_means(differences, count, resamples);
    if (!means)
        return false;
    /* A resample of the shifted differences has the mean of the unshifted one, less the mean seen. The slack
     * keeps rounding from deciding whether a tie is "at least as far". */
    size_t as_far = 1;
    double limit = fabs(mean) - 1e-12 * (1 + fabs(mean));
    for (size_t r = 0; r < resamples; r++)
        as_far += fabs(means[r] - mean) >= limit;
    out->p = (double)as_far / (double)(resamples + 1);
    qsort(means, resamples, sizeof(*means), ascending);
    out->difference.low = snapped(percentile(means, resamples, 0.025), mean);
    out->difference.high = snapped(percentile(means, resamples, 0.975), mean);
    free(means);
    return true;
}

void statistics_holm(const double *p, size_t count, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = -1;
    double running = 0;
    for (size_t step = 0; step < count; step++) {
        size_t least = count;
        for (size_t i = 0; i < count; i++)
            if (out[i] < 0 && (least == count || p[i] < p[least]))
                least = i;
        double corrected = p[least] * (double)(count - step);
        if (corrected > running)
            running = corrected;
        out[least] = running > 1 ? 1 : running;
    }
}

double statistics_correlation(const double *a, const double *b, size_t count)
{
    if (count < 2)
        return NAN;
    double ma = mean_of(a, count), mb = mean_of(b, count), aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < count; i++) {
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
        ab += (a[i] - ma) * (b[i] - mb);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}
