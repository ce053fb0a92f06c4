#include "worker/metrics/wordnet.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/metrics/wordnet_format.h"

#define FILE_NAME "wordnet.bin"

struct wordnet {
    void *map;
    size_t size;
    struct wordnet_header header;
    const uint32_t *slots;
    const struct wordnet_word *words;
    const uint32_t *lists;
    const char *names;
};

/* ---- opening ---- */

static bool lay_out(struct wordnet *w, const char *path, struct error *err)
{
    if (w->size < sizeof w->header)
        return error_set(err, ERROR_INVALID, "%s is not a compiled WordNet: too short", path);
    memcpy(&w->header, w->map, sizeof w->header);
    const struct wordnet_header *h = &w->header;
    if (memcmp(h->magic, WORDNET_MAGIC, sizeof h->magic) != 0 || h->byte_order != WORDNET_BYTE_ORDER)
        return error_set(err, ERROR_INVALID, "%s is not a compiled WordNet of this version", path);
    uint64_t slots = sizeof *h;
    uint64_t words = slots + (uint64_t)h->slot_count * sizeof *w->slots;
    uint64_t lists = words + (uint64_t)h->word_count * sizeof *w->words;
    uint64_t names = lists + (uint64_t)h->list_count * sizeof *w->lists;
    bool power_of_two = h->slot_count > 0 && (h->slot_count & (h->slot_count - 1)) == 0;
    if (names + h->name_bytes != w->size || !power_of_two || h->word_count >= h->slot_count)
        return error_set(err, ERROR_INVALID, "%s: its sections do not add up to its size", path);
    const char *base = w->map;
    w->slots = (const uint32_t *)(const void *)(base + slots);
    w->words = (const struct wordnet_word *)(const void *)(base + words);
    w->lists = (const uint32_t *)(const void *)(base + lists);
    w->names = base + names;
    return true;
}

static bool map_file(const char *path, struct wordnet *w, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERROR_NOT_FOUND, "cannot open %s: %s", path, strerror(errno));
    struct stat info;
    bool ok = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    if (!ok)
        error_set(err, ERROR_INVALID, "%s is not a file", path);
    w->size = ok ? (size_t)info.st_size : 0;
    w->map = ok && w->size > 0 ? mmap(NULL, w->size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (ok && w->size == 0)
        return error_set(err, ERROR_INVALID, "%s is empty", path);
    if (ok && w->map == MAP_FAILED) {
        w->map = NULL;
        return error_set(err, ERROR_MEMORY, "cannot map %s: %s", path, strerror(errno));
    }
    return ok;
}

bool wordnet_open(const char *path, struct wordnet **out, struct error *err)
{
    struct wordnet *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, ERROR_MEMORY, "not enough memory to open %s", path);
    if (!map_file(path, w, err) || !lay_out(w, path, err)) {
        wordnet_close(w);
        return false;
    }
    *out = w;
    return true;
}

void wordnet_close(struct wordnet *wordnet)
{
    if (!wordnet)
        return;
    if (wordnet->map)
        munmap(wordnet->map, wordnet->size);
    free(wordnet);
}

/* ---- the shared one ---- */

static struct wordnet *shared;
static struct error shared_error;
static pthread_once_t shared_once = PTHREAD_ONCE_INIT;

/* Tries DIR/SUBDIR/wordnet.bin; false when there is no file there, to go on looking. */
static bool try_folder(const char *dir, const char *subdir)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s%s/%s", dir, subdir, FILE_NAME);
    if (len < 0 || (size_t)len >= sizeof path || access(path, F_OK) != 0)
        return false;
    wordnet_open(path, &shared, &shared_error);
    return true;
}

static bool program_folder(char *out, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", out, size - 1);
    if (len <= 0)
        return false;
    out[len] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

static void open_shared(void)
{
    char dir[3072];
    const char *data = getenv("LUMIGRID_SHARE");
    if (data && *data) {
        if (!try_folder(data, ""))
            error_set(
                &shared_error, ERROR_NOT_FOUND, "there is no %s in LUMIGRID_SHARE (%s)", FILE_NAME, data);
        return;
    }
    if (program_folder(dir, sizeof dir) &&
        (try_folder(dir, "") || try_folder(dir, "/../worker") || try_folder(dir, "/../share/lumigrid")))
        return;
    if (try_folder(LUMIGRID_DATA_DIR, ""))
        return;
    error_set(&shared_error, ERROR_NOT_FOUND, "%s, which METEOR needs, is not installed", FILE_NAME);
    error_hint(&shared_error, "set LUMIGRID_SHARE to the folder that holds it");
}

const struct wordnet *wordnet_shared(struct error *err)
{
    pthread_once(&shared_once, open_shared);
    if (!shared && err)
        *err = shared_error;
    return shared;
}

/* ---- reading ---- */

/* The file is not trusted to be free of errors: whatever points outside of it is taken as absent. */
static bool has_name(const struct wordnet *w, uint32_t word, const char *name, size_t len)
{
    if (word >= w->header.word_count)
        return false;
    const struct wordnet_word *entry = &w->words[word];
    return entry->name_len == len && entry->name <= w->header.name_bytes &&
           w->header.name_bytes - entry->name >= len && memcmp(w->names + entry->name, name, len) == 0;
}

uint32_t wordnet_find(const struct wordnet *wordnet, const char *name, size_t len)
{
    uint32_t mask = wordnet->header.slot_count - 1;
    uint32_t slot = wordnet_hash(name, len) & mask;
    for (uint32_t probes = 0; probes <= mask && wordnet->slots[slot]; probes++, slot = (slot + 1) & mask)
        if (has_name(wordnet, wordnet->slots[slot] - 1, name, len))
            return wordnet->slots[slot] - 1;
    return WORDNET_NONE;
}

/* The list of one kind (a bit number) of a word; false when it has none. */
static bool find_list(
    const struct wordnet *w, uint32_t word, unsigned kind, const uint32_t **list, uint32_t *count)
{
    if (word >= w->header.word_count || !(w->words[word].kinds >> kind & 1))
        return false;
    uint64_t at = w->words[word].lists;
    for (unsigned k = 0; at < w->header.list_count; k++) {
        if (!(w->words[word].kinds >> k & 1))
            continue;
        *count = w->lists[at];
        if (w->header.list_count - at - 1 < *count)
            return false;
        *list = w->lists + at + 1;
        if (k == kind)
            return true;
        at += 1 + (uint64_t)*count;
    }
    return false;
}

struct substitution {
    const char *ending, *with;
    size_t ending_len, with_len;
};
#define SUBSTITUTE(ending, with)                                                                             \
    {                                                                                                        \
        ending, with, sizeof(ending) - 1, sizeof(with) - 1                                                   \
    }
static const struct substitution substitutions[WORDNET_PARTS][10] = {
    {SUBSTITUTE("s", ""), SUBSTITUTE("ses", "s"), SUBSTITUTE("ves", "f"), SUBSTITUTE("xes", "x"),
        SUBSTITUTE("zes", "z"), SUBSTITUTE("ches", "ch"), SUBSTITUTE("shes", "sh"), SUBSTITUTE("men", "man"),
        SUBSTITUTE("ies", "y")},
    {SUBSTITUTE("s", ""), SUBSTITUTE("ies", "y"), SUBSTITUTE("es", "e"), SUBSTITUTE("es", ""),
        SUBSTITUTE("ed", "e"), SUBSTITUTE("ed", ""), SUBSTITUTE("ing", "e"), SUBSTITUTE("ing", "")},
    {SUBSTITUTE("er", ""), SUBSTITUTE("est", ""), SUBSTITUTE("er", "e"), SUBSTITUTE("est", "e")},
    {{NULL, NULL, 0, 0}},
};

struct visitor {
    void (*visit)(void *context, uint32_t word);
    void *context;
};

static void visit_names(const struct wordnet *w, uint32_t word, unsigned part, const struct visitor *v)
{
    const uint32_t *list;
    uint32_t count;
    if (word == WORDNET_NONE || !find_list(w, word, part, &list, &count))
        return;
    for (uint32_t i = 0; i < count; i++)
        v->visit(v->context, list[i]);
}

/* The form without its ending, in each way the part of speech knows. */
static void visit_regular(
    const struct wordnet *w, const char *form, size_t len, unsigned part, const struct visitor *v)
{
    char base[WORDNET_NAME_MAX + 8];
    for (const struct substitution *s = substitutions[part]; s->ending; s++) {
        if (len < s->ending_len || form[len - 1] != s->ending[s->ending_len - 1] ||
            memcmp(form + len - s->ending_len, s->ending, s->ending_len) != 0)
            continue;
        size_t stem_len = len - s->ending_len;
        memcpy(base, form, stem_len);
        memcpy(base + stem_len, s->with, s->with_len);
        visit_names(w, wordnet_find(w, base, stem_len + s->with_len), part, v);
    }
}

void wordnet_visit_synonyms(const struct wordnet *wordnet, const char *form, size_t len,
    void (*visit)(void *context, uint32_t word), void *context)
{
    struct visitor v = {visit, context};
    if (len == 0 || len > WORDNET_NAME_MAX)
        return;
    uint32_t word = wordnet_find(wordnet, form, len);
    for (unsigned part = 0; part < WORDNET_PARTS; part++) {
        const uint32_t *bases;
        uint32_t count;
        visit_names(wordnet, word, part, &v);
        if (word != WORDNET_NONE && find_list(wordnet, word, WORDNET_PARTS + part, &bases, &count)) {
            for (uint32_t i = 0; i < count; i++)
                visit_names(wordnet, bases[i], part, &v);
        } else {
            visit_regular(wordnet, form, len, part, &v);
        }
    }
}
