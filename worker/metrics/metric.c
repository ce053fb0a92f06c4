#include "worker/metrics/metric.h"

#include <stdio.h>
#include <string.h>

#include "worker/metrics/registry.h"

static const struct metric *const all[] = {
    &metric_rouge,
    &metric_meteor,
    &metric_bertscore,
    &metric_bleu,
    &metric_chrf,
    &metric_ter,
    &metric_token_length,
    &metric_exact_match,
    &metric_length,
    &metric_compression,
    &metric_copied_ngrams,
    NULL,
};

const struct metric *const *metric_all(void)
{
    return all;
}

static const struct metric *find(const char *name, size_t len)
{
    for (const struct metric *const *m = all; *m; m++)
        if (strlen((*m)->name) == len && memcmp((*m)->name, name, len) == 0)
            return *m;
    return NULL;
}

const struct metric *metric_find(const char *name)
{
    return find(name, strlen(name));
}

static bool unknown(const char *name, size_t len, struct error *err)
{
    char known[200] = "";
    size_t used = 0;
    for (const struct metric *const *m = all; *m && used < sizeof known; m++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", m == all ? "" : ", ", (*m)->name);
    error_set(err, ERROR_INVALID, "there is no metric '%.*s'", len > 100 ? 100 : (int)len, name);
    return error_hint(err, "the metrics are: %s", known);
}

bool metric_list_parse(
    const char *names, const struct metric **out, size_t capacity, size_t *count, struct error *err)
{
    *count = 0;
    for (const char *p = names;; p++) {
        p += strspn(p, " ");
        size_t len = strcspn(p, ",");
        const char *end = p + len;
        while (len > 0 && p[len - 1] == ' ')
            len--;
        const struct metric *metric = find(p, len);
        if (!metric)
            return unknown(p, len, err);
        size_t i = 0;
        while (i < *count && out[i] != metric)
            i++;
        if (i == *count && i == capacity)
            return error_set(err, ERROR_TOO_LARGE, "more than %zu metrics are asked for", capacity);
        if (i == *count)
            out[(*count)++] = metric;
        p = end;
        if (*p == '\0')
            return true;
    }
}

bool metric_require_reference(const struct metric_sample *sample, struct error *err)
{
    return sample->reference || error_set(err, ERROR_INVALID, "the sample has no reference text");
}

bool metric_require_source(const struct metric_sample *sample, struct error *err)
{
    return sample->source || error_set(err, ERROR_INVALID, "the sample has no source text");
}
