#include "coordinator/report/columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/report/report.h"
#include "coordinator/store/store.h"

/* Groups whose name is not simply the key itself. A key may also say its group: "bertscore/f1". */
static const struct {
    const char *value_key, *group, *key, *mean_key;
} NAMES[] = {
    {"rouge1", "rouge", "rouge1", "rouge1_mean"},
    {"rouge2", "rouge", "rouge2", "rouge2_mean"},
    {"rougeL", "rouge", "rougeL", "rougeL_mean"},
    {"rougeLsum", "rouge", "rougeLsum", "rougeLsum_mean"},
    {"precision", "bertscore", "precision", "precision_mean"},
    {"recall", "bertscore", "recall", "recall_mean"},
    {"f1", "bertscore", "f1", "f1_mean"},
    {"ref_token_length", "token_length", "ref_token_length", "ref_token_length_mean"},
    {"pred_token_length", "token_length", "pred_token_length", "pred_token_length_mean"},
};

static void place(struct column *c, const char *value_key)
{
    snprintf(c->value_key, sizeof(c->value_key), "%s", value_key);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strcmp(NAMES[i].value_key, value_key) != 0)
            continue;
        snprintf(c->group, sizeof(c->group), "%s", NAMES[i].group);
        snprintf(c->key, sizeof(c->key), "%s", NAMES[i].key);
        snprintf(c->mean_key, sizeof(c->mean_key), "%s", NAMES[i].mean_key);
        return;
    }
    const char *slash = strchr(value_key, '/');
    size_t group_len = slash ? (size_t)(slash - value_key) : strlen(value_key);
    snprintf(c->group, sizeof(c->group), "%.*s", (int)group_len, value_key);
    snprintf(c->key, sizeof(c->key), "%s", slash ? slash + 1 : value_key);
    snprintf(c->mean_key, sizeof(c->mean_key), "%.63s_mean", c->key);
}

struct column *columns_of(const struct store_job *job, size_t *count)
{
    size_t n = job->metric_key_count;
    struct column *all = alloc_zero(n, sizeof(*all)), *ordered = alloc_zero(n, sizeof(*ordered));
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        place(&all[i], job->metric_keys[i]);
        all[i].index = i;
    }
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen = seen || strcmp(all[k].group, all[i].group) == 0;
        for (size_t k = i; !seen && k < n; k++)
            if (strcmp(all[k].group, all[i].group) == 0)
                ordered[used++] = all[k];
    }
    free(all);
    *count = used;
    return ordered;
}

json_t *report_means(const json_t *keys, const json_t *means)
{
    json_t *flat = json_object(), *key;
    size_t i;
    json_array_foreach(keys, i, key)
    {
        struct column c;
        char name[160];
        json_t *mean = json_object_get(means, json_string_value(key));
        place(&c, json_string_value(key));
        bool named = strncmp(c.mean_key, c.group, strlen(c.group)) == 0;
        snprintf(name, sizeof(name), "%s%s%s", named ? "" : c.group, named ? "" : "_", c.mean_key);
        json_object_set_new(flat, name, mean ? json_incref(mean) : json_null());
    }
    return flat;
}
