/* What every device checks of its arguments and derives from them before it computes. Private to the backend
 * room. */
#ifndef LUMIGRID_WORKER_BACKEND_ARGUMENTS_H
#define LUMIGRID_WORKER_BACKEND_ARGUMENTS_H

#include "worker/backend/backend.h"

/* For messages; never NULL. */
const char *view_name(const struct tensor_view *view);
size_t view_elements(const struct tensor_view *view);
/* `count` values of float32, float16 or bfloat16, as many bytes as that takes. */
bool view_check_vector(const struct tensor_view *view, size_t count, struct error *err);

/* Asserts that shapes fit each other. `cache` is the shape of args->cache; NULL without one. */
void attention_args_check(const struct attention_args *args, const struct kv_cache_args *cache);

/* T5's bucket of key position - query position, as the reference computes it, in float32. */
int32_t attention_relative_bucket(
    int32_t distance, bool bidirectional, int32_t buckets, int32_t max_distance);
/* DeBERTa's signed distance on a scale that is exact up to half of `buckets`, logarithmic beyond. */
int32_t attention_disentangled_bucket(int32_t distance, int32_t buckets, int32_t max_distance);

#endif
