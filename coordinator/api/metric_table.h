/* The metrics that can be asked for. Private to the api room.
 *
 * The coordinator links no metric: a submission is checked against this table (so that a typo is found even
 * while no worker is connected), and then against what the connected workers say that they compute. */
#ifndef LUMIGRID_COORDINATOR_API_METRIC_TABLE_H
#define LUMIGRID_COORDINATOR_API_METRIC_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct metric_entry {
    const char *name;
    bool needs_reference; /* a ground truth */
};

const struct metric_entry *metric_table_find(const char *name);

/* "rouge, meteor, …" */
void metric_table_names(char *out, size_t size);

#endif
