#include "worker/model/tokenizer/unicode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

struct class_run {
    uint32_t first;
    uint32_t flags;
};
struct combining_run {
    uint32_t first, last;
    uint8_t combining_class;
};
struct mapping {
    uint32_t code_point;
    uint8_t compatible;
    uint8_t count;
    uint16_t at;
};
struct composition {
    uint32_t first, second, composed;
};
struct lower_pair {
    uint32_t upper, lower;
};

#include "worker/model/tokenizer/unicode_data.inc"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
enum { POINTS = 0x110000, KINDS_MAX = 256, HANGUL = 0xAC00, HANGUL_COUNT = 11172 };

static uint8_t kinds[POINTS];
static uint32_t flags[KINDS_MAX];
const uint8_t *unicode_kinds = kinds;
const uint32_t *unicode_flags = flags;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void expand(void)
{
    size_t kind_count = 0;
    for (size_t i = 0; i < COUNT(class_runs); i++) {
        uint32_t last = i + 1 < COUNT(class_runs) ? class_runs[i + 1].first : POINTS;
        size_t kind = 0;
        while (kind < kind_count && flags[kind] != class_runs[i].flags)
            kind++;
        if (kind == KINDS_MAX)
            abort(); /* the generated table outgrew a byte; a test would have seen it */
        if (kind == kind_count)
            flags[kind_count++] = class_runs[i].flags;
        memset(kinds + class_runs[i].first, (int)kind, last - class_runs[i].first);
    }
}

void unicode_open(void)
{
    pthread_once(&once, expand);
}

bool unicode_ranges(
    uint32_t classes, bool (*each)(uint32_t first, uint32_t last, void *context), void *context)
{
    for (size_t i = 0; i < COUNT(class_runs); i++) {
        if ((class_runs[i].flags & classes) != classes)
            continue;
        size_t end = i + 1;
        while (end < COUNT(class_runs) && (class_runs[end].flags & classes) == classes)
            end++;
        uint32_t last = (end < COUNT(class_runs) ? class_runs[end].first : POINTS) - 1;
        if (!each(class_runs[i].first, last, context))
            return false;
        i = end;
    }
    return true;
}

uint32_t unicode_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    size_t low = 0, high = COUNT(lower_pairs);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lower_pairs[middle].upper < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(lower_pairs) && lower_pairs[low].upper == c ? lower_pairs[low].lower : c;
}

bool unicode_append_lower(struct buffer *out, uint32_t c, struct error *err)
{
    if (c == 0x130)
        return buffer_append(out, "i\xCC\x87", 3, err);
    return buffer_append_code_point(out, unicode_lower(c), err);
}

static uint8_t combining_class(uint32_t c)
{
    if (c < 0x300)
        return 0;
    size_t low = 0, high = COUNT(combining_runs);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (combining_runs[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(combining_runs) && combining_runs[low].first <= c ? combining_runs[low].combining_class
                                                                         : 0;
}

/* The full decomposition of one code point; 0: it stands for itself. */
static size_t decompose(uint32_t c, bool compatible, uint32_t hangul[3], const uint32_t **out)
{
    if (c >= HANGUL && c < HANGUL + HANGUL_COUNT) {
        uint32_t index = c - HANGUL;
        hangul[0] = 0x1100 + index / 588;
        hangul[1] = 0x1161 + index % 588 / 28;
        hangul[2] = 0x11A7 + index % 28;
        *out = hangul;
        return index % 28 ? 3 : 2;
    }
    size_t low = 0, high = COUNT(mappings);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mappings[middle].code_point < c)
            low = middle + 1;
        else
            high = middle;
    }
    /* A compatible mapping, where there is one, follows the canonical one. */
    const struct mapping *found = NULL;
    for (; low < COUNT(mappings) && mappings[low].code_point == c; low++) {
        if (compatible || !mappings[low].compatible)
            found = &mappings[low];
    }
    if (!found)
        return 0;
    *out = mapping_pool + found->at;
    return found->count;
}

static uint32_t compose(uint32_t a, uint32_t b)
{
    if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176)
        return HANGUL + ((a - 0x1100) * 21 + (b - 0x1161)) * 28;
    if (a >= HANGUL && a < HANGUL + HANGUL_COUNT && (a - HANGUL) % 28 == 0 && b > 0x11A7 && b < 0x11C3)
        return a + (b - 0x11A7);
    size_t low = 0, high = COUNT(compositions);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct composition *at = &compositions[middle];
        if (at->first < a || (at->first == a && at->second < b))
            low = middle + 1;
        else
            high = middle;
    }
    if (low < COUNT(compositions) && compositions[low].first == a && compositions[low].second == b)
        return compositions[low].composed;
    return 0;
}

struct point {
    uint32_t code_point;
    uint8_t combining_class;
    bool marked; /* came from before the caller's mark */
};

struct points {
    struct point *items;
    size_t count, capacity;
};

static bool push(struct points *points, uint32_t c, bool marked, struct error *err)
{
    struct point *items =
        array_grow(points->items, &points->capacity, points->count + 1, sizeof(*items), err);
    if (!items)
        return false;
    points->items = items;
    items[points->count++] = (struct point){c, combining_class(c), marked};
    return true;
}

static int compare_class(const void *a, const void *b)
{
    /* The sort must be stable: positions break ties. */
    const struct point *const *x = a, *const *y = b;
    if ((*x)->combining_class != (*y)->combining_class)
        return (*x)->combining_class < (*y)->combining_class ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

/* A run of marks is normally two or three long; a hostile one may be the whole text. */
static bool sort_run(struct point *run, size_t count, struct error *err)
{
    if (count < 32) {
        for (size_t i = 1; i < count; i++) {
            struct point held = run[i];
            size_t j = i;
            for (; j > 0 && run[j - 1].combining_class > held.combining_class; j--)
                run[j] = run[j - 1];
            run[j] = held;
        }
        return true;
    }
    struct point **order = malloc(count * sizeof(struct point *));
    struct point *sorted = malloc(count * sizeof(*sorted));
    if (!order || !sorted) {
        free(order);
        free(sorted);
        return error_set(err, ERROR_MEMORY, "no memory to normalise a text");
    }
    for (size_t i = 0; i < count; i++)
        order[i] = &run[i];
    qsort(order, count, sizeof(struct point *), compare_class);
    for (size_t i = 0; i < count; i++)
        sorted[i] = *order[i];
    memcpy(run, sorted, count * sizeof(*run));
    free(order);
    free(sorted);
    return true;
}

static bool sort_marks(struct points *points, struct error *err)
{
    for (size_t i = 0; i < points->count;) {
        if (!points->items[i].combining_class) {
            i++;
            continue;
        }
        size_t begin = i;
        while (i < points->count && points->items[i].combining_class)
            i++;
        if (i - begin > 1 && !sort_run(points->items + begin, i - begin, err))
            return false;
    }
    return true;
}

/* Canonical composition (UAX 15): a mark joins the last starter unless one of its own class stands between.
 */
static void compose_all(struct points *points)
{
    struct point *items = points->items;
    size_t used = 0, starter = SIZE_MAX;
    uint8_t last_class = 0;
    for (size_t i = 0; i < points->count; i++) {
        struct point p = items[i];
        bool adjacent = starter != SIZE_MAX && used == starter + 1;
        if (starter != SIZE_MAX && (adjacent || (last_class && last_class < p.combining_class))) {
            uint32_t joined = compose(items[starter].code_point, p.code_point);
            if (joined) {
                items[starter].code_point = joined;
                continue;
            }
        }
        if (!p.combining_class)
            starter = used;
        last_class = p.combining_class;
        items[used++] = p;
    }
    points->count = used;
}

static bool plain_ascii(const char *text, size_t len)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, sizeof(word));
        if (word & 0x8080808080808080u)
            return false;
    }
    for (; i < len; i++) {
        if ((unsigned char)text[i] >= 0x80)
            return false;
    }
    return true;
}

static bool decompose_all(enum unicode_form form, const char *text, size_t len, size_t mark,
    struct points *points, struct error *err)
{
    bool compatible = form == FORM_NFKC || form == FORM_NFKD;
    for (size_t i = 0; i < len;) {
        uint32_t c, hangul[3];
        const uint32_t *parts = &c;
        bool marked = i < mark;
        i += text_decode(text + i, len - i, &c);
        size_t count = c < 0xA0 ? 0 : decompose(c, compatible, hangul, &parts);
        if (!count) {
            parts = &c;
            count = 1;
        }
        for (size_t k = 0; k < count; k++) {
            if (!push(points, parts[k], marked, err))
                return false;
        }
    }
    return sort_marks(points, err);
}

bool unicode_normalize(
    enum unicode_form form, const char *text, size_t len, struct buffer *out, size_t *mark, struct error *err)
{
    if (plain_ascii(text, len))
        return buffer_append(out, text, len, err);
    struct points points = {0};
    bool ok = decompose_all(form, text, len, mark ? *mark : 0, &points, err);
    if (ok && (form == FORM_NFC || form == FORM_NFKC))
        compose_all(&points);
    size_t begin = out->len, marked = 0;
    for (size_t i = 0; ok && i < points.count; i++) {
        ok = buffer_append_code_point(out, points.items[i].code_point, err);
        if (points.items[i].marked)
            marked = out->len - begin;
    }
    if (mark)
        *mark = marked;
    free(points.items);
    return ok;
}
