#include "worker/model/tokenizer/jinja/filter.h"

#include <string.h>

bool filter_first(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_list *items;
    (void)a;
    if (!run_iterate(r, input, &items))
        return false;
    *out = items->count ? items->items[0] : value_undefined("the first item of nothing");
    return true;
}

bool filter_last(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_list *items;
    (void)a;
    if (!run_iterate(r, input, &items))
        return false;
    *out = items->count ? items->items[items->count - 1] : value_undefined("the last item of nothing");
    return true;
}

/* "a.b.0" looked up step by step. */
static bool lookup(struct run *r, struct value item, struct value path, struct value *out)
{
    *out = item;
    if (path.type == VALUE_INT)
        return run_index(r, item, path, out);
    if (path.type != VALUE_STRING)
        return run_fail(r, "names an attribute by %s", value_type_name(path));
    const char *at = path.string->data, *end = at + path.string->len;
    while (at <= end) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        size_t len = dot ? (size_t)(dot - at) : (size_t)(end - at);
        struct value key;
        bool digits = len > 0 && len < 10;
        int64_t index = 0;
        for (size_t i = 0; i < len && digits; i++) {
            digits = at[i] >= '0' && at[i] <= '9';
            index = index * 10 + (at[i] - '0');
        }
        if (digits)
            key = value_int(index);
        else if (!value_string(r->arena, at, len, &key))
            return false;
        if (!run_index(r, *out, key, out))
            return false;
        if (!dot)
            break;
        at = dot + 1;
    }
    return true;
}

bool filter_join(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_string by = run_argument_text(a, 0, "d", "");
    struct value attribute = run_argument(a, 1, "attribute");
    struct value_list *items;
    struct buffer text = {0};
    bool ok = run_iterate(r, input, &items);
    for (size_t i = 0; ok && i < items->count; i++) {
        struct value item = items->items[i];
        ok = (attribute.type == VALUE_UNDEFINED || lookup(r, item, attribute, &item)) &&
             (!i || buffer_append(&text, by.data, by.len, r->err)) && value_print(item, &text, r->err);
    }
    ok = ok && value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

static bool copy_list(struct run *r, struct value input, struct value *out)
{
    struct value_list *items;
    if (!run_iterate(r, input, &items) || !value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        if (!value_push(r->arena, out->list, items->items[i]))
            return false;
    }
    return true;
}

bool filter_list(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    return copy_list(r, input, out);
}

/* The arguments past the first `skip`. */
static struct arguments rest_of(const struct arguments *a, size_t skip)
{
    struct arguments rest = *a;
    size_t cut = skip < rest.positional.count ? skip : rest.positional.count;
    rest.positional.items = cut ? rest.positional.items + cut : rest.positional.items;
    rest.positional.count -= cut;
    return rest;
}

bool filter_map(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value attribute = run_argument(a, SIZE_MAX, "attribute"),
                 otherwise = run_argument(a, SIZE_MAX, "default");
    struct value_list *items;
    if (!run_iterate(r, input, &items) || !value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        struct value item;
        if (attribute.type != VALUE_UNDEFINED) {
            if (!lookup(r, items->items[i], attribute, &item))
                return false;
            if (item.type == VALUE_UNDEFINED && otherwise.type != VALUE_UNDEFINED)
                item = otherwise;
        } else {
            struct value_string name = run_argument_text(a, 0, NULL, "");
            struct arguments rest = rest_of(a, 1);
            if (!run_filter(r, &name, items->items[i], &rest, &item))
                return false;
        }
        if (!run_step(r) || !value_push(r->arena, out->list, item))
            return false;
    }
    return true;
}

/* select, reject, selectattr, rejectattr. */
static bool sift(struct run *r, struct value input, const struct arguments *a, bool by_attribute, bool keep,
    struct value *out)
{
    struct value_list *items;
    size_t skip = by_attribute ? 1 : 0;
    struct value_string test = run_argument_text(a, skip, NULL, NULL);
    struct arguments rest = rest_of(a, skip + 1);
    if (!run_iterate(r, input, &items) || !value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        struct value item = items->items[i];
        bool passes;
        if (by_attribute && !lookup(r, item, run_argument(a, 0, NULL), &item))
            return false;
        if (!test.data)
            passes = value_truth(item);
        else if (!run_test(r, &test, item, &rest, &passes))
            return false;
        if (!run_step(r) || (passes == keep && !value_push(r->arena, out->list, items->items[i])))
            return false;
    }
    return true;
}

bool filter_select(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return sift(r, input, a, false, true, out);
}

bool filter_reject(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return sift(r, input, a, false, false, out);
}

bool filter_selectattr(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return sift(r, input, a, true, true, out);
}

bool filter_rejectattr(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return sift(r, input, a, true, false, out);
}

static void reverse_items(struct value_list *list)
{
    for (size_t i = 0; i + 1 < list->count - i; i++) {
        struct value kept = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = kept;
    }
}

bool filter_reverse(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    if (!copy_list(r, input, out))
        return false;
    reverse_items(out->list);
    if (input.type != VALUE_STRING)
        return true;
    struct arguments none = {0};
    return filter_join(r, *out, &none, out);
}

/* What an item is sorted by: itself or an attribute, strings without case unless asked for. */
static bool sort_key(
    struct run *r, struct value item, struct value attribute, bool with_case, struct value *key)
{
    static const struct value_string lower = {"lower", 5};
    struct arguments none = {0};
    *key = item;
    if (attribute.type != VALUE_UNDEFINED && attribute.type != VALUE_NONE && !lookup(r, item, attribute, key))
        return false;
    return with_case || key->type != VALUE_STRING || run_filter(r, &lower, *key, &none, key);
}

/* Merge sort: stable, and comparing may fail. */
static bool sort_items(struct run *r, struct value *items, struct value *keys, size_t count, bool descending)
{
    if (count < 2)
        return true;
    size_t half = count / 2;
    struct value *sorted = arena_take(r->arena, count * sizeof(*sorted));
    struct value *sorted_keys = sorted ? arena_take(r->arena, count * sizeof(*sorted_keys)) : NULL;
    if (!sorted_keys || !sort_items(r, items, keys, half, descending) ||
        !sort_items(r, items + half, keys + half, count - half, descending))
        return false;
    for (size_t i = 0, k = half, n = 0; n < count; n++) {
        bool right = i == half;
        if (i < half && k < count) {
            int order;
            if (!run_step(r) || !value_compare(keys[k], keys[i], 0, &order, r->err))
                return false;
            right = descending ? order > 0 : order < 0;
        }
        size_t from = right ? k++ : i++;
        sorted[n] = items[from];
        sorted_keys[n] = keys[from];
    }
    memcpy(items, sorted, count * sizeof(*items));
    memcpy(keys, sorted_keys, count * sizeof(*keys));
    return true;
}

static bool sort_by(
    struct run *r, struct value_list *list, struct value attribute, bool with_case, bool descending)
{
    struct value *keys = arena_take(r->arena, (list->count + 1) * sizeof(*keys));
    if (!keys)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (!sort_key(r, list->items[i], attribute, with_case, &keys[i]))
            return false;
    }
    return sort_items(r, list->items, keys, list->count, descending);
}

bool filter_sort(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return copy_list(r, input, out) &&
           sort_by(r, out->list, run_argument(a, 2, "attribute"),
               value_truth(run_argument(a, 1, "case_sensitive")), value_truth(run_argument(a, 0, "reverse")));
}

bool filter_items(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    if (input.type == VALUE_UNDEFINED)
        return value_list(r->arena, VALUE_LIST, out);
    if (input.type != VALUE_DICT)
        return run_fail(r, "asks for the items of %s", value_type_name(input));
    return run_method(r, input, "items", a, out);
}

bool filter_dictsort(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_string by = run_argument_text(a, 1, "by", "key");
    struct arguments none = {0};
    return filter_items(r, input, &none, out) &&
           sort_by(r, out->list, value_int(name_is(&by, "value")),
               value_truth(run_argument(a, 0, "case_sensitive")), value_truth(run_argument(a, 2, "reverse")));
}

bool filter_unique(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_list *items;
    struct value seen;
    bool with_case = value_truth(run_argument(a, 0, "case_sensitive"));
    if (!run_iterate(r, input, &items) || !value_list(r->arena, VALUE_LIST, out) ||
        !value_list(r->arena, VALUE_LIST, &seen))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        struct value key;
        bool found;
        if (!run_step(r) || !sort_key(r, items->items[i], run_argument(a, 1, "attribute"), with_case, &key) ||
            !run_contains(r, seen, key, &found))
            return false;
        if (!found &&
            (!value_push(r->arena, seen.list, key) || !value_push(r->arena, out->list, items->items[i])))
            return false;
    }
    return true;
}

bool filter_sum(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    static const struct value_string plus = {"+", 1};
    struct value attribute = run_argument(a, 0, "attribute"), start = run_argument(a, 1, "start");
    struct value_list *items;
    *out = start.type == VALUE_UNDEFINED ? value_int(0) : start;
    if (!run_iterate(r, input, &items))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        struct value item = items->items[i];
        if ((attribute.type == VALUE_STRING && !lookup(r, item, attribute, &item)) ||
            !run_binary(r, &plus, *out, item, out))
            return false;
    }
    return true;
}

static bool extreme(
    struct run *r, struct value input, const struct arguments *a, int wanted, struct value *out)
{
    struct value_list *items;
    bool with_case = value_truth(run_argument(a, 0, "case_sensitive"));
    struct value attribute = run_argument(a, 1, "attribute"), best;
    if (!run_iterate(r, input, &items))
        return false;
    *out = value_undefined("the extreme of nothing");
    for (size_t i = 0; i < items->count; i++) {
        struct value key;
        int order = wanted;
        if (!sort_key(r, items->items[i], attribute, with_case, &key) ||
            (i && !value_compare(key, best, 0, &order, r->err)))
            return false;
        if (i == 0 || (wanted < 0 ? order < 0 : order > 0)) {
            best = key;
            *out = items->items[i];
        }
    }
    return true;
}

bool filter_min(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return extreme(r, input, a, -1, out);
}

bool filter_max(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    return extreme(r, input, a, 1, out);
}

/* Pairs of key and items, in order of key. */
bool filter_groupby(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value attribute = run_argument(a, 0, "attribute"), sorted, group = value_none(),
                 last = value_none();
    if (!copy_list(r, input, &sorted) || !sort_by(r, sorted.list, attribute, false, false) ||
        !value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < sorted.list->count; i++) {
        struct value key, pair;
        if (!lookup(r, sorted.list->items[i], attribute, &key))
            return false;
        if (!i || !value_equal(key, last, 0)) {
            if (!value_list(r->arena, VALUE_LIST, &group) || !value_list(r->arena, VALUE_TUPLE, &pair) ||
                !value_push(r->arena, pair.list, key) || !value_push(r->arena, pair.list, group) ||
                !value_push(r->arena, out->list, pair))
                return false;
            last = key;
        }
        if (!value_push(r->arena, group.list, sorted.list->items[i]))
            return false;
    }
    return true;
}

bool filter_batch(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    int64_t size = run_argument_int(a, 0, "linecount", 0);
    struct value fill = run_argument(a, 1, "fill_with"), line = value_none();
    struct value_list *items;
    if (size < 1)
        return run_fail(r, "makes batches of no items");
    if (!run_iterate(r, input, &items) || !value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        if (i % (uint64_t)size == 0 &&
            (!value_list(r->arena, VALUE_LIST, &line) || !value_push(r->arena, out->list, line)))
            return false;
        if (!value_push(r->arena, line.list, items->items[i]))
            return false;
    }
    while (fill.type != VALUE_UNDEFINED && line.type == VALUE_LIST && line.list->count < (uint64_t)size) {
        if (!run_step(r) || !value_push(r->arena, line.list, fill))
            return false;
    }
    return true;
}
