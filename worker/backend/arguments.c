#include "worker/backend/arguments.h"

#include <assert.h>
#include <math.h>

/* ---- tensors of files ---- */

const char *view_name(const struct tensor_view *view)
{
    return view->name ? view->name : "(unnamed)";
}

size_t view_elements(const struct tensor_view *view)
{
    size_t count = 1;
    for (int i = 0; i < view->rank; i++)
        count *= view->shape[i] > 0 ? (size_t)view->shape[i] : 0;
    return count;
}

bool view_check_vector(const struct tensor_view *view, size_t count, struct error *err)
{
    size_t bytes, value_bytes = view->dtype == DTYPE_F32 ? 4 : 2;
    if ((view->dtype != DTYPE_F32 && view->dtype != DTYPE_F16 && view->dtype != DTYPE_BF16) ||
        __builtin_mul_overflow(count, value_bytes, &bytes))
        return error_set(
            err, ERROR_UNSUPPORTED, "tensor %s: its data type cannot be used for a vector", view_name(view));
    if (view_elements(view) != count || bytes != view->bytes)
        return error_set(err, ERROR_INVALID, "tensor %s has %zu values, not %zu", view_name(view),
            view_elements(view), count);
    return true;
}

/* ---- attention ---- */

void attention_args_check(const struct attention_args *args, const struct kv_cache_args *cache)
{
    assert(args->kv_heads > 0 && args->heads % args->kv_heads == 0);
    assert(args->q.width == args->heads * args->head_dim && args->out.width == args->heads * args->value_dim);
    if (cache) {
        assert(args->layer < cache->layers && args->kv_heads == cache->kv_heads);
        assert(args->head_dim == cache->head_dim && args->value_dim == cache->value_dim);
    } else {
        assert(args->k.width == args->kv_heads * args->head_dim);
        assert(args->v.width == args->kv_heads * args->value_dim);
    }
    for (size_t i = 0; i < args->sequence_count; i++) {
        const struct attention_sequence *s = &args->sequences[i];
        assert(s->q_row + s->q_rows <= args->q.rows && s->q_row + s->q_rows <= args->out.rows);
        assert(s->q_position >= 0 && s->k_rows <= INT32_MAX / 2 && s->q_rows <= INT32_MAX / 2);
        assert(cache || (s->k_row + s->k_rows <= args->k.rows && s->k_row + s->k_rows <= args->v.rows));
        if (cache)
            for (size_t p = 0; p < (s->k_rows + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS; p++)
                assert(s->pages[p] >= 0 && (size_t)s->pages[p] < cache->pages);
    }
}

int32_t attention_relative_bucket(int32_t distance, bool bidirectional, int32_t buckets, int32_t max_distance)
{
    int32_t base = 0;
    if (bidirectional) {
        buckets /= 2;
        base = distance > 0 ? buckets : 0;
        distance = distance < 0 ? -distance : distance;
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    int32_t exact = buckets / 2;
    if (distance < exact || exact == 0)
        return base + (distance < buckets ? distance : buckets - 1);
    float ratio = logf((float)distance / (float)exact) / (float)log((double)max_distance / (double)exact);
    int32_t large = exact + (int32_t)(ratio * (float)(buckets - exact));
    return base + (large < buckets - 1 ? large : buckets - 1);
}

int32_t attention_disentangled_bucket(int32_t distance, int32_t buckets, int32_t max_distance)
{
    int32_t middle = buckets / 2;
    if (buckets <= 0 || max_distance <= 0 || (distance < middle && distance > -middle))
        return distance;
    int32_t size = distance < 0 ? -distance : distance;
    float scaled = ceilf(logf((float)size / (float)middle) / logf((float)(max_distance - 1) / (float)middle) *
                         (float)(middle - 1));
    int32_t large = (int32_t)scaled + middle;
    return distance < 0 ? -large : large;
}
