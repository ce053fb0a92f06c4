/* The score tool as a program of its own: `lumigrid-score score --metrics …`, as `lumigrid-worker score …`.
 */
#include <stdio.h>
#include <string.h>

#include "worker/metrics/score_tool.h"

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "score") != 0) {
        (void)fprintf(stderr, "usage: lumigrid-score score …\n");
        return 2;
    }
    return score_tool_run(argc - 1, argv + 1, NULL);
}
