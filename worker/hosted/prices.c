#include "worker/hosted/prices.h"

#include <ctype.h>
#include <string.h>

extern const unsigned char embedded_prices_json[];
extern const size_t embedded_prices_json_size;

static bool check(const char *file, const char *model, const json_t *price, struct error *err)
{
    for (size_t i = 0; i < 2; i++)
        if (json_array_size(price) != 2 || !json_is_number(json_array_get(price, i)) ||
            !(json_number_value(json_array_get(price, i)) >= 0))
            return error_set(err, ERROR_INVALID,
                "%s: the price of \"%.60s\" is not [dollars per million prompt tokens, generated tokens]",
                file, model);
    return true;
}

json_t *prices_open(const char *file, struct error *err)
{
    json_error_t where;
    const char *model;
    json_t *price;
    json_t *table = file ? json_load_file(file, JSON_REJECT_DUPLICATES, &where)
                         : json_loadb((const char *)embedded_prices_json, embedded_prices_json_size,
                               JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(table)) {
        error_set(err, ERROR_INVALID, "%s: the price table is no JSON object: %s",
            file ? file : "prices.json", table ? "it is something else" : where.text);
        json_decref(table);
        return NULL;
    }
    json_object_foreach(table, model, price)
    {
        if (strcmp(model, "note") != 0 && !check(file ? file : "prices.json", model, price, err)) {
            json_decref(table);
            return NULL;
        }
    }
    return table;
}

/* What may follow a name in the name of one of its versions: "-latest", or "-" and a date or number. */
static bool version(const char *rest)
{
    return !*rest || strcmp(rest, "-latest") == 0 || (rest[0] == '-' && isdigit((unsigned char)rest[1]));
}

double prices_of(const json_t *table, const char *model, uint32_t prompt_tokens, uint32_t new_tokens)
{
    const char *name;
    json_t *price, *best = NULL;
    size_t best_len = 0;
    json_object_foreach((json_t *)table, name, price)
    {
        size_t len = strlen(name);
        if (len > best_len && json_is_array(price) && strncmp(model, name, len) == 0 &&
            version(model + len)) {
            best = price;
            best_len = len;
        }
    }
    if (!best)
        return -1;
    return (json_number_value(json_array_get(best, 0)) * prompt_tokens +
               json_number_value(json_array_get(best, 1)) * new_tokens) /
           1e6;
}
