#include "coordinator/api/metric_table.h"

#include <stdio.h>
#include <string.h>

static const struct metric_entry METRICS[] = {
    {"rouge", true},
    {"meteor", true},
    {"bertscore", true},
    {"bleu", true},
    {"chrf", true},
    {"ter", true},
    {"exact_match", true},
    {"token_length", true},
    {"length", false},
    {"compression_ratio", false},
    {"copied_ngrams", false},
};

const struct metric_entry *metric_table_find(const char *name)
{
    for (size_t i = 0; i < sizeof(METRICS) / sizeof(METRICS[0]); i++)
        if (strcmp(METRICS[i].name, name) == 0)
            return &METRICS[i];
    return NULL;
}

void metric_table_names(char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof(METRICS) / sizeof(METRICS[0]) && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", METRICS[i].name);
}
