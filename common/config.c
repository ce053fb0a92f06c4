#include "common/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

enum { FILE_LINE_MAX = 4096, SOURCE_BYTES = 300 };

struct value {
    char **texts;
    size_t count;
    char source[SOURCE_BYTES]; /* empty: the default */
};

struct config {
    const struct config_option *table;
    size_t count;
    struct value *values;
    const char **arguments;
    size_t argument_count;
    bool help, version;
};

static size_t table_count(const struct config_option *table)
{
    size_t count = 0;
    while (table[count].name)
        count++;
    return count;
}

static const struct config_option *find(
    const struct config *config, const char *name, size_t len, size_t *index)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strncmp(config->table[i].name, name, len) == 0 && config->table[i].name[len] == '\0') {
            *index = i;
            return &config->table[i];
        }
    }
    return NULL;
}

static const struct value *value_of(const struct config *config, const char *name)
{
    size_t index = 0;
    const struct config_option *option = find(config, name, strlen(name), &index);
    assert(option);
    (void)option;
    return &config->values[index];
}

static void add_text(struct value *value, const char *text, size_t len)
{
    value->texts = alloc_resize(value->texts, value->count + 1, sizeof(*value->texts));
    value->texts[value->count++] = alloc_copy(text, len);
}

/* Environment and file give a repeatable option all its values in one text. */
static void set_from_text(struct config *config, size_t index, const char *text, const char *source)
{
    struct value *value = &config->values[index];
    snprintf(value->source, sizeof(value->source), "%s", source);
    if (!config->table[index].repeatable) {
        add_text(value, text, strlen(text));
        return;
    }
    while (*text) {
        size_t len = strcspn(text, ",");
        if (len > 0)
            add_text(value, text, len);
        text += len + (text[len] == ',');
    }
}

static bool parse_flag(struct config *config, int argc, char **argv, int *at, struct error *err)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    const char *inline_value = name[len] == '=' ? name + len + 1 : NULL;
    size_t index = 0;
    const struct config_option *option = find(config, name, len, &index);
    if (!option) {
        error_set(err, ERROR_INVALID, "unknown option --%.*s", (int)(len > 100 ? 100 : len), name);
        return error_hint(err, "--help lists the options");
    }
    struct value *value = &config->values[index];
    if (!option->argument && inline_value)
        return error_set(err, ERROR_INVALID, "--%s takes no value", option->name);
    if (option->argument && !inline_value && *at + 1 >= argc)
        return error_set(err, ERROR_INVALID, "--%s needs a value: %s", option->name, option->argument);
    if (value->count > 0 && !option->repeatable && option->argument)
        return error_set(err, ERROR_INVALID, "--%s is given twice", option->name);
    const char *text = !option->argument ? "true" : inline_value ? inline_value : argv[++*at];
    snprintf(value->source, sizeof(value->source), "flag");
    if (value->count == 0 || option->repeatable)
        add_text(value, text, strlen(text));
    return true;
}

static bool parse_arguments(
    struct config *config, int argc, char **argv, const char **file, struct error *err)
{
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (!options || text[0] != '-' || text[1] == '\0') {
            config->arguments[config->argument_count++] = text;
        } else if (strcmp(text, "--") == 0) {
            options = false;
        } else if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            config->help = true;
        } else if (strcmp(text, "--version") == 0) {
            config->version = true;
        } else if (strncmp(text, "--config=", 9) == 0) {
            *file = text + 9;
        } else if (strcmp(text, "--config") == 0) {
            if (i + 1 >= argc)
                return error_set(err, ERROR_INVALID, "--config needs a value: FILE");
            *file = argv[++i];
        } else if (text[1] != '-') {
            error_set(err, ERROR_INVALID, "unknown option %.60s: options are long", text);
            return error_hint(err, "--help lists the options");
        } else if (!parse_flag(config, argc, argv, &i, err)) {
            return false;
        }
    }
    return true;
}

static void read_environment(struct config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        char name[128] = "LUMIGRID_";
        size_t used = strlen(name);
        for (const char *p = config->table[i].name; *p && used < sizeof(name) - 1; p++)
            name[used++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        name[used] = '\0';
        const char *text = getenv(name);
        if (text && *text && config->values[i].count == 0) /* containers pass what is not set as empty */
            set_from_text(config, i, text, name);
    }
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
    return text;
}

static bool read_line(struct config *config, char *line, bool ours, const char *source, struct error *err)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return error_set(err, ERROR_INVALID, "%s: not \"name = value\" or \"[section]\"", source);
    *equals = '\0';
    char *name = trim(line);
    char *text = trim(equals + 1);
    size_t index = 0;
    if (!ours)
        return true;
    if (!find(config, name, strlen(name), &index))
        return error_set(err, ERROR_INVALID, "%s: unknown option %.60s", source, name);
    if (config->values[index].count == 0)
        set_from_text(config, index, text, source);
    return true;
}

/* Options at the top of the file are for every program, so a name that this one does not know is passed over
 * there and an error in its own section. */
static bool read_file(struct config *config, const char *path, const char *section, struct error *err)
{
    char line[FILE_LINE_MAX];
    char where[SOURCE_BYTES];
    bool top = true, ours = false, ok = true;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, ERROR_NOT_FOUND, "configuration file %s: %s", path, strerror(errno));
    for (int number = 1; ok && fgets(line, sizeof(line), file); number++) {
        char *text = trim(line);
        snprintf(where, sizeof(where), "%s:%d", path, number);
        if (*text == '\0' || *text == '#' || *text == ';')
            continue;
        size_t len = strlen(text);
        if (*text == '[' && text[len - 1] == ']') {
            top = false;
            ours = strlen(section) == len - 2 && strncmp(text + 1, section, len - 2) == 0;
            continue;
        }
        size_t index;
        size_t name_len = strcspn(text, " \t=");
        if (!top || find(config, text, name_len, &index))
            ok = read_line(config, text, top || ours, where, err);
    }
    fclose(file);
    return ok;
}

bool config_parse(const struct config_option *table, const char *section, int argc, char **argv,
    struct config **out, struct error *err)
{
    struct config *config = alloc_zero(1, sizeof(*config));
    const char *file = NULL;
    config->table = table;
    config->count = table_count(table);
    config->values = alloc_zero(config->count, sizeof(*config->values));
    config->arguments = alloc_zero((size_t)argc + 1, sizeof(*config->arguments));
    bool ok = parse_arguments(config, argc, argv, &file, err);
    if (ok) {
        read_environment(config);
        if (!file)
            file = getenv("LUMIGRID_CONFIG");
        ok = !file || read_file(config, file, section, err);
    }
    if (!ok) {
        config_free(config);
        return false;
    }
    *out = config;
    return true;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->count; i++) {
        for (size_t k = 0; k < config->values[i].count; k++)
            free(config->values[i].texts[k]);
        free(config->values[i].texts);
    }
    free(config->values);
    free(config->arguments);
    free(config);
}

bool config_wants_help(const struct config *config)
{
    return config->help;
}

bool config_wants_version(const struct config *config)
{
    return config->version;
}

const char *config_text(const struct config *config, const char *name)
{
    size_t index = 0;
    const struct value *value = value_of(config, name);
    if (value->count > 0)
        return value->texts[0];
    return find(config, name, strlen(name), &index)->default_value;
}

bool config_switch(const struct config *config, const char *name)
{
    const char *text = config_text(config, name);
    return text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || strcmp(text, "yes") == 0 ||
                       strcmp(text, "on") == 0);
}

bool config_given(const struct config *config, const char *name)
{
    return value_of(config, name)->count > 0;
}

bool config_integer(
    const struct config *config, const char *name, int64_t min, int64_t max, int64_t *out, struct error *err)
{
    const char *text = config_text(config, name);
    char *end = NULL;
    errno = 0;
    long long number = text ? strtoll(text, &end, 10) : 0;
    if (!text || end == text || *end != '\0' || errno == ERANGE || number < min || number > max)
        return error_set(err, ERROR_INVALID, "--%s takes a whole number from %lld to %lld, not \"%.60s\"",
            name, (long long)min, (long long)max, text ? text : "");
    *out = number;
    return true;
}

bool config_number(
    const struct config *config, const char *name, double min, double max, double *out, struct error *err)
{
    const char *text = config_text(config, name);
    char *end = NULL;
    double number = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end != '\0' || !(number >= min && number <= max))
        return error_set(err, ERROR_INVALID, "--%s takes a number from %g to %g, not \"%.60s\"", name, min,
            max, text ? text : "");
    *out = number;
    return true;
}

bool config_bytes(const struct config *config, const char *name, uint64_t *out, struct error *err)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1}, {"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"KiB", 1024.0},
        {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}};
    const char *text = config_text(config, name);
    char *end = NULL;
    double number = text ? strtod(text, &end) : -1;
    while (end && *end == ' ')
        end++;
    for (size_t i = 0; end && end != text && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0 && number >= 0 && number * units[i].factor < 9e18) {
            *out = (uint64_t)(number * units[i].factor);
            return true;
        }
    }
    return error_set(
        err, ERROR_INVALID, "--%s takes a size such as 50MB or 4GiB, not \"%.60s\"", name, text ? text : "");
}

size_t config_count(const struct config *config, const char *name)
{
    const struct value *value = value_of(config, name);
    return value->count > 0 ? value->count : config_text(config, name) != NULL;
}

const char *config_text_at(const struct config *config, const char *name, size_t index)
{
    const struct value *value = value_of(config, name);
    assert(index < config_count(config, name));
    return value->count > 0 ? value->texts[index] : config_text(config, name);
}

size_t config_argument_count(const struct config *config)
{
    return config->argument_count;
}

const char *config_argument(const struct config *config, size_t index)
{
    return index < config->argument_count ? config->arguments[index] : NULL;
}

void config_print_help(const struct config_option *table, FILE *to)
{
    enum { WIDTH = 34 };
    for (const struct config_option *option = table; option->name; option++) {
        char left[256];
        snprintf(left, sizeof(left), "  --%s%s%s%s", option->name, option->argument ? " " : "",
            option->argument ? option->argument : "", option->repeatable ? " …" : "");
        fprintf(to, "%-*s  %s", WIDTH + (option->repeatable ? 2 : 0), left, option->help);
        if (option->default_value)
            fprintf(to, "  [%s]", option->default_value);
        fputc('\n', to);
    }
    fprintf(to, "%-*s  %s\n", WIDTH, "  --config FILE", "read options from an INI file (LUMIGRID_CONFIG)");
    fprintf(to, "%-*s  %s\n", WIDTH, "  --help, --version", "print this, or the version, and end");
}

void config_print(const struct config *config, FILE *to)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct config_option *option = &config->table[i];
        const struct value *value = &config->values[i];
        fprintf(to, "%s = ", option->name);
        for (size_t k = 0; k < value->count; k++)
            fprintf(to, "%s%s", k ? "," : "", option->secret ? "(secret)" : value->texts[k]);
        if (value->count == 0)
            fprintf(to, "%s", option->default_value ? option->default_value : "");
        fprintf(to, "  # %s\n", value->count ? value->source : "default");
    }
}
