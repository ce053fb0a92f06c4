/* Compiles WordNet's dictionary files into the one file of wordnet_format.h. Runs on the build machine.
 *
 * usage: wordnet_compile DIR OUT      (DIR holds index.*, data.* and *.exc, as in Debian's wordnet-base) */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/metrics/wordnet_format.h"

#define KINDS (2 * WORDNET_PARTS)
#define SLOTS (1u << 19)

static const char *const parts[WORDNET_PARTS] = {"noun", "verb", "adj", "adv"};

struct list {
    uint32_t *items;
    uint32_t count, capacity;
};

struct word {
    char *name;
    struct list lists[KINDS];
    bool has[KINDS]; /* an exception's list may be empty and still hide the rules */
};

static struct word *words;
static uint32_t word_count, word_capacity;
static uint32_t slots[SLOTS];

static _Noreturn void die(const char *what, const char *name)
{
    fprintf(stderr, "wordnet_compile: %s: %s\n", name, what);
    exit(1);
}

static void *grow(void *items, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 4;
    items = realloc(items, *capacity * size);
    if (!items)
        die("out of memory", "words");
    return items;
}

static uint32_t intern(const char *name)
{
    size_t len = strlen(name);
    uint32_t slot = wordnet_hash(name, len) & (SLOTS - 1);
    while (slots[slot]) {
        if (strcmp(words[slots[slot] - 1].name, name) == 0)
            return slots[slot] - 1;
        slot = (slot + 1) & (SLOTS - 1);
    }
    if (len > WORDNET_NAME_MAX || word_count >= SLOTS / 2)
        die("too long a word or too many words", name);
    words = grow(words, word_count, &word_capacity, sizeof *words);
    words[word_count] = (struct word){.name = strdup(name)};
    if (!words[word_count].name)
        die("out of memory", name);
    slots[slot] = ++word_count;
    return word_count - 1;
}

/* Adds an item to a list of a word, once. */
static void add(uint32_t word, unsigned kind, uint32_t item)
{
    struct list *list = &words[word].lists[kind];
    words[word].has[kind] = true;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i] == item)
            return;
    list->items = grow(list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = item;
}

static char *read_file(const char *dir, const char *prefix, const char *suffix, size_t *size)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/%s%s", dir, prefix, suffix);
    if (len < 0 || (size_t)len >= sizeof path)
        die("the path is too long", dir);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        die(strerror(errno), path);
    long end = ftell(file);
    rewind(file);
    char *text = end < 0 ? NULL : malloc((size_t)end + 1);
    if (!text || fread(text, 1, (size_t)end, file) != (size_t)end)
        die("cannot read it", path);
    (void)fclose(file); /* opened for reading: nothing can be lost */
    text[end] = '\0';
    *size = (size_t)end;
    return text;
}

/* Cuts the next field out of *line, which ends at '\n'; NULL at its end. */
static char *next_field(char **line)
{
    char *field = *line + strspn(*line, " ");
    size_t len = strcspn(field, " \n");
    if (len == 0)
        return NULL;
    *line = field + len + (field[len] == ' ');
    field[len] = '\0';
    return field;
}

static unsigned long number_field(char **line, int base, const char *where)
{
    char *field = next_field(line);
    char *end = NULL;
    unsigned long value = field ? strtoul(field, &end, base) : 0;
    if (!field || *end != '\0')
        die("a number is missing", where);
    return value;
}

/* Moves over `count` fields without cutting: data lines are read more than once. */
static const char *skip_fields(const char *line, int count)
{
    for (; count > 0; count--) {
        line += strcspn(line, " \n");
        line += strspn(line, " ");
    }
    return line;
}

static bool is_plain(const char *name)
{
    for (; *name; name++)
        if (*name == '_' || (*name >= 'A' && *name <= 'Z'))
            return false;
    return true;
}

/* Adds the names of the synset at `line` of a data file: "offset file type count name id name id ...". An
 * adjective's marker, "(p)", is no part of its name. */
static void add_names(uint32_t word, unsigned part, const char *line, const char *where)
{
    const char *at = skip_fields(line, 3);
    unsigned long count = strtoul(at, NULL, 16);
    words[word].has[part] = true;
    at = skip_fields(at, 1);
    for (; count > 0; count--, at = skip_fields(at, 2)) {
        char name[WORDNET_NAME_MAX + 1];
        size_t len = strcspn(at, " (\n");
        if (len == 0 || len > WORDNET_NAME_MAX)
            die("a synset has a bad name", where);
        memcpy(name, at, len);
        name[len] = '\0';
        if (is_plain(name))
            add(word, part, intern(name));
    }
}

/* "lemma pos synsets pointers pointer... senses tagged offset..." */
static void read_index(const char *dir, unsigned part)
{
    size_t size;
    size_t data_size;
    char *text = read_file(dir, "index.", parts[part], &size);
    char *data = read_file(dir, "data.", parts[part], &data_size);
    for (char *line = text; *line;) {
        char *next = line + strcspn(line, "\n");
        next += *next == '\n';
        if (*line != ' ') {
            uint32_t word = intern(next_field(&line));
            next_field(&line);
            unsigned long synsets = number_field(&line, 10, words[word].name);
            for (unsigned long p = number_field(&line, 10, words[word].name); p > 0; p--)
                next_field(&line);
            next_field(&line);
            next_field(&line);
            for (; synsets > 0; synsets--) {
                unsigned long offset = number_field(&line, 10, words[word].name);
                if (offset >= data_size || strtoul(data + offset, NULL, 10) != offset)
                    die("an offset does not lead to its synset", words[word].name);
                add_names(word, part, data + offset, words[word].name);
            }
        }
        line = next;
    }
    free(data);
    free(text);
}

/* "form base base ..."; a later line for the same form replaces the earlier one. */
static void read_exceptions(const char *dir, unsigned part)
{
    size_t size;
    char *text = read_file(dir, parts[part], ".exc", &size);
    for (char *line = text; *line;) {
        char *next = line + strcspn(line, "\n");
        next += *next == '\n';
        char *form = next_field(&line);
        if (form) {
            uint32_t word = intern(form);
            words[word].lists[WORDNET_PARTS + part].count = 0;
            words[word].has[WORDNET_PARTS + part] = true;
            for (char *base = next_field(&line); base; base = next_field(&line))
                add(word, WORDNET_PARTS + part, intern(base));
        }
        line = next;
    }
    free(text);
}

static void put(FILE *out, const void *data, size_t size)
{
    if (size > 0 && fwrite(data, 1, size, out) != size)
        die("cannot write", "output");
}

/* Fills the words' table and counts what follows it. */
static struct wordnet_word *lay_out(struct wordnet_header *header)
{
    struct wordnet_word *table = calloc(word_count, sizeof *table);
    if (!table)
        die("out of memory", "output");
    for (uint32_t w = 0; w < word_count; w++) {
        size_t len = strlen(words[w].name);
        table[w].name = header->name_bytes;
        table[w].name_len = (uint8_t)len;
        table[w].lists = header->list_count;
        header->name_bytes += (uint32_t)len;
        for (unsigned k = 0; k < KINDS; k++)
            if (words[w].has[k]) {
                table[w].kinds |= (uint8_t)(1u << k);
                header->list_count += 1 + words[w].lists[k].count;
            }
    }
    return table;
}

static void write_file(const char *path)
{
    struct wordnet_header header = {
        .byte_order = WORDNET_BYTE_ORDER, .slot_count = SLOTS, .word_count = word_count};
    memcpy(header.magic, WORDNET_MAGIC, sizeof header.magic);
    struct wordnet_word *table = lay_out(&header);
    FILE *out = fopen(path, "wb");
    if (!out)
        die(strerror(errno), path);
    put(out, &header, sizeof header);
    put(out, slots, sizeof slots);
    put(out, table, word_count * sizeof *table);
    for (uint32_t w = 0; w < word_count; w++)
        for (unsigned k = 0; k < KINDS; k++)
            if (words[w].has[k]) {
                put(out, &words[w].lists[k].count, sizeof(uint32_t));
                put(out, words[w].lists[k].items, words[w].lists[k].count * sizeof(uint32_t));
            }
    for (uint32_t w = 0; w < word_count; w++)
        put(out, words[w].name, strlen(words[w].name));
    if (fclose(out) != 0)
        die(strerror(errno), path);
    free(table);
}

static void free_words(void)
{
    for (uint32_t w = 0; w < word_count; w++) {
        free(words[w].name);
        for (unsigned k = 0; k < KINDS; k++)
            free(words[w].lists[k].items);
    }
    free(words);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: wordnet_compile DIR OUT\n");
        return 2;
    }
    for (unsigned part = 0; part < WORDNET_PARTS; part++) {
        read_index(argv[1], part);
        read_exceptions(argv[1], part);
    }
    write_file(argv[2]);
    free_words();
    return 0;
}
