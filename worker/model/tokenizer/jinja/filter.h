/* Filters over sequences, for filter.c's table. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_FILTER_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_FILTER_H

#include "worker/model/tokenizer/jinja/run.h"

typedef bool (*filter_function)(
    struct run *r, struct value input, const struct arguments *arguments, struct value *out);

bool filter_first(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_last(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_join(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_list(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_map(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_select(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_reject(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_selectattr(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_rejectattr(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_reverse(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_sort(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_dictsort(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_unique(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_sum(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_min(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_max(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_groupby(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_batch(struct run *r, struct value input, const struct arguments *a, struct value *out);
bool filter_items(struct run *r, struct value input, const struct arguments *a, struct value *out);

#endif
