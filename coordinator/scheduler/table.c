#include "coordinator/scheduler/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

void table_free(struct table *table)
{
    free(table->buckets);
    *table = (struct table){0};
}

/* FNV-1a, then mixed: ids of one prefix must not share buckets. */
static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037U;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211U;
    return hash ^ (hash >> 29);
}

static uint64_t hash_numbers(uint64_t a, uint64_t b)
{
    uint64_t hash = (a ^ (b * 0x9e3779b97f4a7c15U)) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ (hash >> 31)) * 0x94d049bb133111ebU;
    return hash ^ (hash >> 30);
}

static struct link **bucket(const struct table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static void grow(struct table *table)
{
    struct table larger = {
        .bucket_count = table->bucket_count ? table->bucket_count * 2 : 16, .count = table->count};
    larger.buckets = alloc_zero(larger.bucket_count, sizeof(struct link *));
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct link *link = table->buckets[i], *next; link; link = next) {
            next = link->next;
            struct link **slot = bucket(&larger, link->hash);
            link->next = *slot;
            *slot = link;
        }
    }
    free(table->buckets);
    *table = larger;
}

static void add(struct table *table, struct link *link)
{
    if (table->count >= table->bucket_count)
        grow(table);
    struct link **slot = bucket(table, link->hash);
    link->next = *slot;
    *slot = link;
    table->count++;
}

void table_add_text(struct table *table, struct link *link, const char *text, void *owner)
{
    *link = (struct link){.hash = hash_text(text), .text = text, .owner = owner};
    add(table, link);
}

void table_add_numbers(struct table *table, struct link *link, uint64_t a, uint64_t b, void *owner)
{
    *link = (struct link){.hash = hash_numbers(a, b), .number = {a, b}, .owner = owner};
    add(table, link);
}

void *table_find_text(const struct table *table, const char *text)
{
    if (!table->count || !text)
        return NULL;
    uint64_t hash = hash_text(text);
    for (struct link *link = *bucket(table, hash); link; link = link->next)
        if (link->hash == hash && strcmp(link->text, text) == 0)
            return link->owner;
    return NULL;
}

void *table_find_numbers(const struct table *table, uint64_t a, uint64_t b)
{
    if (!table->count)
        return NULL;
    for (struct link *link = *bucket(table, hash_numbers(a, b)); link; link = link->next)
        if (link->number[0] == a && link->number[1] == b)
            return link->owner;
    return NULL;
}

void table_remove(struct table *table, struct link *link)
{
    struct link **at = bucket(table, link->hash);
    while (*at != link) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = link->next;
    table->count--;
}
