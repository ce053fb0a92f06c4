/* Feeds every file of the directories (or single files) named on the command line to the fuzz entry, without
 * a fuzzer. Fails when there was none. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    long len = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        len = ftell(file);
    uint8_t *bytes = len < 0 ? NULL : malloc((size_t)len + 1);
    bool ok = bytes != NULL;
    if (ok) {
        rewind(file);
        ok = fread(bytes, 1, (size_t)len, file) == (size_t)len;
    }
    /* A block of exactly the input's size, so that reading past it is noticed. */
    uint8_t *exact = ok ? realloc(bytes, len > 0 ? (size_t)len : 1) : NULL;
    if (exact != NULL)
        LLVMFuzzerTestOneInput(exact, (size_t)len);
    else
        fprintf(stderr, "cannot read %s\n", path);
    free(exact != NULL ? exact : bytes);
    if (file != NULL)
        fclose(file);
    return exact != NULL;
}

static int replay_directory(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return replay_file(path) ? 1 : 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char name[4096];
        struct stat st;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (stat(name, &st) == 0 && S_ISREG(st.st_mode) && replay_file(name))
            count++;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    printf("%d inputs\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
