/* A hash table of links inside their owners. A key is a text, or a pair of numbers. */
#ifndef LUMIGRID_COORDINATOR_SCHEDULER_TABLE_H
#define LUMIGRID_COORDINATOR_SCHEDULER_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct link {
    struct link *next;
    uint64_t hash;
    const char *text; /* NULL: the numbers are the key */
    uint64_t number[2];
    void *owner;
};

struct table {
    struct link **buckets;
    size_t bucket_count, count;
};

void table_free(struct table *table); /* the owners stay */
void table_add_text(struct table *table, struct link *link, const char *text, void *owner);
void table_add_numbers(struct table *table, struct link *link, uint64_t a, uint64_t b, void *owner);
void *table_find_text(const struct table *table, const char *text); /* the owner, or NULL */
void *table_find_numbers(const struct table *table, uint64_t a, uint64_t b);
void table_remove(struct table *table, struct link *link);

#endif
