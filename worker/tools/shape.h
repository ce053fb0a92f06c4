/* Models of a true shape with random weights, for measuring speed and memory without a download. */
#ifndef LUMIGRID_WORKER_TOOLS_SHAPE_H
#define LUMIGRID_WORKER_TOOLS_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* Writes config.json and model.safetensors (float32, values of a fixed seed) of a known shape ("bart-large",
 * "bart-base", …) into a new directory below TMPDIR; `dir` receives its path. `empty`: the values are zeros
 * that take no room, for what never reads them. ERROR_INVALID lists the shapes. */
bool shape_write(const char *name, bool empty, char *dir, size_t dir_size, struct error *err);
void shape_remove(const char *dir); /* what shape_write made; mapped files stay readable */

#endif
