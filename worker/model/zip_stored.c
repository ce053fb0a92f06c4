#include "worker/model/zip_stored.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_HEADER_BYTES = 30,
    CENTRAL_HEADER_BYTES = 46,
    END_BYTES = 22,
    END64_LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    COMMENT_BYTES_MAX = 65535,
    EXTRA_ZIP64 = 1,
    FLAG_ENCRYPTED = 1,
    ENTRIES_MAX = 1 << 20,
};

static const uint8_t local_magic[] = {'P', 'K', 3, 4};
static const uint8_t central_magic[] = {'P', 'K', 1, 2};
static const uint8_t end_magic[] = {'P', 'K', 5, 6};
static const uint8_t end64_magic[] = {'P', 'K', 6, 6};
static const uint8_t locator_magic[] = {'P', 'K', 6, 7};

struct archive {
    const char *name;
    const uint8_t *bytes;
    size_t len;
};

/* Where the central directory lies. */
struct directory {
    uint64_t offset, bytes, count;
};

static uint64_t number(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool damaged(const struct archive *zip, const char *what, struct error *err)
{
    error_set(err, ERROR_INVALID, "%s: damaged zip archive: %s", zip->name, what);
    return error_hint(err, "it may be cut off: download it again");
}

bool zip_stored_detect(const uint8_t *bytes, size_t len)
{
    return len >= sizeof local_magic && memcmp(bytes, local_magic, sizeof local_magic) == 0;
}

static bool find_directory64(
    const struct archive *zip, size_t end_at, struct directory *out, struct error *err)
{
    if (end_at < END64_LOCATOR_BYTES)
        return damaged(zip, "no zip64 locator", err);
    const uint8_t *locator = zip->bytes + end_at - END64_LOCATOR_BYTES;
    if (memcmp(locator, locator_magic, sizeof locator_magic) != 0)
        return damaged(zip, "no zip64 locator", err);
    uint64_t at = number(locator + 8, 8);
    if (zip->len < END64_BYTES || at > zip->len - END64_BYTES ||
        memcmp(zip->bytes + at, end64_magic, sizeof end64_magic) != 0)
        return damaged(zip, "no zip64 end record", err);
    out->count = number(zip->bytes + at + 32, 8);
    out->bytes = number(zip->bytes + at + 40, 8);
    out->offset = number(zip->bytes + at + 48, 8);
    return true;
}

/* The end record is the last one whose comment reaches exactly to the end of the file. */
static bool find_directory(const struct archive *zip, struct directory *out, struct error *err)
{
    if (zip->len < END_BYTES)
        return damaged(zip, "too short", err);
    for (size_t comment = 0; comment <= COMMENT_BYTES_MAX && comment + END_BYTES <= zip->len; comment++) {
        size_t at = zip->len - END_BYTES - comment;
        const uint8_t *end = zip->bytes + at;
        if (memcmp(end, end_magic, sizeof end_magic) != 0 || number(end + 20, 2) != comment)
            continue;
        out->count = number(end + 10, 2);
        out->bytes = number(end + 12, 4);
        out->offset = number(end + 16, 4);
        if (out->count == 0xffff || out->bytes == 0xffffffff || out->offset == 0xffffffff)
            return find_directory64(zip, at, out, err);
        return true;
    }
    return damaged(zip, "no end record", err);
}

/* Takes 64-bit sizes and offset from the zip64 extra field, for those that the header leaves to it. */
static bool read_zip64(
    const uint8_t *extra, size_t extra_len, uint64_t *size, uint64_t *stored, uint64_t *offset)
{
    uint64_t *fields[] = {size, stored, offset};
    for (size_t at = 0; at + 4 <= extra_len;) {
        size_t id = (size_t)number(extra + at, 2), len = (size_t)number(extra + at + 2, 2);
        at += 4;
        if (len > extra_len - at)
            return false;
        size_t used = at;
        for (int i = 0; id == EXTRA_ZIP64 && i < 3; i++) {
            if (*fields[i] != 0xffffffff)
                continue;
            if (used + 8 > at + len)
                return false;
            *fields[i] = number(extra + used, 8);
            used += 8;
        }
        at += len;
    }
    return true;
}

/* Finds an entry's data by its local header, whose name and extra field have lengths of their own. */
static bool locate(
    const struct archive *zip, uint64_t offset, uint64_t size, struct zip_entry *entry, struct error *err)
{
    if (zip->len < LOCAL_HEADER_BYTES || offset > zip->len - LOCAL_HEADER_BYTES ||
        memcmp(zip->bytes + offset, local_magic, sizeof local_magic) != 0)
        return damaged(zip, "an entry's header is not where the directory says", err);
    const uint8_t *local = zip->bytes + offset;
    uint64_t start = offset + LOCAL_HEADER_BYTES + number(local + 26, 2) + number(local + 28, 2);
    if (start > zip->len || size > zip->len - start)
        return damaged(zip, "an entry reaches past the end of the file", err);
    entry->data = zip->bytes + start;
    entry->len = (size_t)size;
    return true;
}

/* Reads the directory entry at *at and moves *at behind it. */
static bool read_entry(
    const struct archive *zip, size_t *at, size_t end, struct zip_entry *entry, struct error *err)
{
    if (end - *at < CENTRAL_HEADER_BYTES ||
        memcmp(zip->bytes + *at, central_magic, sizeof central_magic) != 0)
        return damaged(zip, "the directory is cut off", err);
    const uint8_t *header = zip->bytes + *at;
    size_t name_len = (size_t)number(header + 28, 2), extra_len = (size_t)number(header + 30, 2);
    size_t whole = CENTRAL_HEADER_BYTES + name_len + extra_len + (size_t)number(header + 32, 2);
    if (end - *at < whole)
        return damaged(zip, "the directory is cut off", err);
    uint64_t stored = number(header + 20, 4), size = number(header + 24, 4), offset = number(header + 42, 4);
    if (!read_zip64(header + CENTRAL_HEADER_BYTES + name_len, extra_len, &size, &stored, &offset))
        return damaged(zip, "a zip64 field is cut off", err);
    if ((number(header + 8, 2) & FLAG_ENCRYPTED) != 0 || number(header + 10, 2) != 0 || size != stored) {
        error_set(err, ERROR_UNSUPPORTED, "%s: the archive's entries are compressed or encrypted", zip->name);
        return error_hint(
            err, "load the file with torch and save it again: torch stores weights uncompressed");
    }
    entry->name = (const char *)header + CENTRAL_HEADER_BYTES;
    entry->name_len = name_len;
    *at += whole;
    return locate(zip, offset, size, entry, err);
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_names(const void *a, const void *b)
{
    const struct zip_entry *x = a, *y = b;
    return compare_bytes(x->name, x->name_len, y->name, y->name_len);
}

static int compare_data(const void *a, const void *b)
{
    const struct zip_entry *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->len > y->len) - (x->len < y->len);
}

static bool check_entries(const struct archive *zip, struct zip_stored *out, struct error *err)
{
    qsort(out->entries, out->count, sizeof *out->entries, compare_data);
    for (size_t i = 1; i < out->count; i++) {
        if (out->entries[i - 1].data + out->entries[i - 1].len > out->entries[i].data)
            return damaged(zip, "entries overlap", err);
    }
    qsort(out->entries, out->count, sizeof *out->entries, compare_names);
    for (size_t i = 1; i < out->count; i++) {
        if (compare_names(&out->entries[i - 1], &out->entries[i]) == 0)
            return damaged(zip, "an entry's name occurs twice", err);
    }
    return true;
}

bool zip_stored_open(
    const char *name, const uint8_t *bytes, size_t len, struct zip_stored *out, struct error *err)
{
    struct archive zip = {.name = name, .bytes = bytes, .len = len};
    struct directory directory = {0};
    memset(out, 0, sizeof *out);
    if (!find_directory(&zip, &directory, err))
        return false;
    if (directory.offset > len || directory.bytes > len - directory.offset ||
        directory.count > directory.bytes / CENTRAL_HEADER_BYTES || directory.count > ENTRIES_MAX)
        return damaged(&zip, "the directory does not fit the file", err);
    out->entries = calloc((size_t)directory.count + 1, sizeof *out->entries);
    if (out->entries == NULL)
        return error_set(err, ERROR_MEMORY, "%s: no memory for the archive's directory", name);
    size_t at = (size_t)directory.offset, end = at + (size_t)directory.bytes;
    for (; out->count < directory.count; out->count++) {
        if (!read_entry(&zip, &at, end, &out->entries[out->count], err))
            goto fail;
    }
    if (!check_entries(&zip, out, err))
        goto fail;
    return true;
fail:
    zip_stored_close(out);
    return false;
}

void zip_stored_close(struct zip_stored *zip)
{
    free(zip->entries);
    memset(zip, 0, sizeof *zip);
}

const struct zip_entry *zip_stored_find(const struct zip_stored *zip, const char *name, size_t name_len)
{
    if (zip->count == 0)
        return NULL;
    struct zip_entry key = {.name = name, .name_len = name_len};
    return bsearch(&key, zip->entries, zip->count, sizeof key, compare_names);
}
