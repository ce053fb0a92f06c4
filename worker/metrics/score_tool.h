/* `lumigrid-worker score`: per-sample metrics of a JSON Lines file, without a cluster. */
#ifndef LUMIGRID_WORKER_METRICS_SCORE_TOOL_H
#define LUMIGRID_WORKER_METRICS_SCORE_TOOL_H

/* Runs the tool; argv[0] is "score". Reads {"id","prediction","reference"?,"source"?} lines and writes, in
 * the same order, {"id", key: value…}; a metric that has no value for a sample is named in the line's "error"
 * instead. All cores work; memory does not grow with the file. Returns the exit status: 0 done, 1 failed, 2
 * wrong usage; errors are one line on stderr. */
int score_tool_run(int argc, char **argv);

#endif
