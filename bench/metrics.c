/* Speed of the text metrics: pairs per second of the score tool, files and threads included, on 60-word
 * pairs, beside rouge-score and NLTK in the same run where there is a Python that has them
 * ($LUMIGRID_ORACLES/bin/python3, else python3). Prints one JSON line last.
 *
 * usage: metrics [--pairs N] */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "worker/metrics/metric.h"
#include "worker/metrics/score_tool.h"

#define WORDS_A_SENTENCE 12
#define SENTENCES 5
#define TEXTS 400

struct bench {
    long pairs;
    char dir[64];
    char input[96], output[96];
    char texts[TEXTS][1024];
    uint64_t random;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t pick(struct bench *b, size_t count)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(b->random >> 33) % count;
}

/* Five sentences of twelve invented words; words repeat between texts, so that all stages have work. */
static void make_text(struct bench *b, char *out, size_t size)
{
    static const char *const begin[] = {"re", "un", "pre", "de", "con", "inter", "over", "out", "mis", "dis"};
    static const char *const end[] = {"view", "mail", "thread", "box", "tell", "post", "place", "code",
        "form", "play", "load", "turn", "read", "sort"};
    size_t used = 0;
    for (size_t s = 0; s < SENTENCES; s++)
        for (size_t w = 0; w < WORDS_A_SENTENCE; w++) {
            int len = snprintf(out + used, size - used, "%s%s%s", begin[pick(b, 10)], end[pick(b, 14)],
                w + 1 < WORDS_A_SENTENCE ? " "
                : s + 1 < SENTENCES      ? ". "
                                         : ".");
            if (w == 0)
                out[used] = (char)(out[used] - 'a' + 'A');
            used += (size_t)len;
        }
}

static bool write_pairs(struct bench *b)
{
    for (size_t i = 0; i < TEXTS; i++)
        make_text(b, b->texts[i], sizeof b->texts[i]);
    FILE *file = fopen(b->input, "wb");
    if (!file)
        return false;
    for (long i = 0; i < b->pairs; i++)
        (void)fprintf(file, "{\"id\":%ld,\"prediction\":\"%s\",\"reference\":\"%s\",\"source\":\"%s\"}\n", i,
            b->texts[pick(b, TEXTS)], b->texts[pick(b, TEXTS)], b->texts[pick(b, TEXTS)]);
    return fclose(file) == 0;
}

/* Pairs per second of the tool; the best of three runs, to leave out what else the machine does. */
static double measure(struct bench *b, const char *metric)
{
    double best = 0;
    for (int run = 0; run < 3; run++) {
        char *argv[] = {
            "score", "--metrics", (char *)metric, "--input", b->input, "--output", b->output, NULL};
        double start = now_s();
        if (score_tool_run(7, argv, NULL) != 0)
            return 0;
        double rate = (double)b->pairs / (now_s() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

/* Runs metrics_peers.py; NULL when there is no Python or no peer. */
static json_t *measure_peers(const struct bench *b)
{
    char command[1024];
    const char *oracles = getenv("LUMIGRID_ORACLES");
    int len =
        oracles ? snprintf(command, sizeof command,
                      "NLTK_DATA='%s/nltk_data' '%s/bin/python3' '%s' '%s' 2>/dev/null", oracles, oracles,
                      METRICS_PEERS, b->input)
                : snprintf(command, sizeof command, "python3 '%s' '%s' 2>/dev/null", METRICS_PEERS, b->input);
    if (len < 0 || (size_t)len >= sizeof command)
        return NULL;
    FILE *pipe =
        popen(command, "r"); /* NOLINT(cert-env33-c): the shell finds python3 on the user's own path */
    if (!pipe)
        return NULL;
    json_t *peers = json_loadf(pipe, 0, NULL);
    pclose(pipe);
    if (peers && json_object_size(peers) > 0)
        return peers;
    json_decref(peers);
    return NULL;
}

static json_t *run(struct bench *b)
{
    json_t *result = json_object();
    json_t *own = json_object();
    json_t *peers = measure_peers(b);
    for (const struct metric *const *m = metric_all(); *m; m++)
        json_object_set_new(own, (*m)->name, json_real(measure(b, (*m)->name)));
    json_object_set_new(result, "pairs", json_integer(b->pairs));
    json_object_set(result, "pairs_per_s", own);
    if (peers) {
        json_t *ratios = json_object();
        const char *name;
        json_t *rate;
        json_object_foreach(peers, name, rate)
        {
            double ratio = json_real_value(json_object_get(own, name)) / json_real_value(rate);
            json_object_set_new(ratios, name, json_real(ratio));
        }
        json_object_set(result, "peer_pairs_per_s", peers);
        json_object_set_new(result, "ratio", ratios);
    } else {
        json_object_set_new(result, "peers", json_string("absent: no Python with rouge-score or NLTK"));
    }
    json_decref(peers);
    json_decref(own);
    return result;
}

static bool parse(int argc, char **argv, struct bench *b)
{
    if (argc == 1)
        return true;
    char *end = NULL;
    if (argc == 3 && strcmp(argv[1], "--pairs") == 0)
        b->pairs = strtol(argv[2], &end, 10);
    return end && end != argv[2] && *end == '\0' && b->pairs >= 100 && b->pairs <= 10000000;
}

int main(int argc, char **argv)
{
    static struct bench b = {.pairs = 10000, .random = 1, .dir = "/tmp/lumigrid-bench-XXXXXX"};
    if (!parse(argc, argv, &b)) {
        (void)fprintf(stderr, "usage: metrics [--pairs N]   (100 to 10000000, default 10000)\n");
        return 2;
    }
    if (!mkdtemp(b.dir)) {
        (void)fprintf(stderr, "metrics: cannot make a folder in /tmp: %s\n", strerror(errno));
        return 1;
    }
    (void)snprintf(b.input, sizeof b.input, "%s/pairs.jsonl", b.dir);
    (void)snprintf(b.output, sizeof b.output, "%s/scores.jsonl", b.dir);
    json_t *result = write_pairs(&b) ? run(&b) : NULL;
    unlink(b.input);
    unlink(b.output);
    rmdir(b.dir);
    if (!result) {
        (void)fprintf(stderr, "metrics: cannot write the pairs to %s\n", b.dir);
        return 1;
    }
    json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(result);
    return 0;
}
