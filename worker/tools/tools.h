/* The worker's offline subcommands: what a node and a model can do, without a cluster.
 *
 * Each is a file with one function; tools.c has the table. Exit status: 0 done, 1 failed, 2 wrong usage, 3
 * not found, 4 not allowed, 5 unreachable. Errors are one line on stderr. */
#ifndef LUMIGRID_WORKER_TOOLS_TOOLS_H
#define LUMIGRID_WORKER_TOOLS_TOOLS_H

/* Runs argv[1]. Returns the process's exit status. */
int tools_run(int argc, char **argv);

#endif
