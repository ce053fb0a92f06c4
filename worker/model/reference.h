/* Model references, taken apart and checked. */
#ifndef LUMIGRID_WORKER_MODEL_REFERENCE_H
#define LUMIGRID_WORKER_MODEL_REFERENCE_H

#include <stdbool.h>

#include "common/error.h"

enum reference_kind {
    REFERENCE_HUB,       /* hf://org/name[@revision][/file.gguf] */
    REFERENCE_DIRECTORY, /* file:///dir */
    REFERENCE_GGUF,      /* gguf:///file.gguf */
};

enum { REFERENCE_TEXT_MAX = 1024 };

struct reference {
    enum reference_kind kind;
    char repository[200]; /* hub: "org/name", or "name" for the hub's oldest models */
    char revision[200];   /* hub: branch, tag or commit; "main" when none is named */
    char file[256];       /* hub: a .gguf file, with folders; empty: the whole model */
    char path[1024];      /* directory and gguf: absolute */
};

/* Parses `text`. Anything else than the three forms is ERROR_INVALID with what is allowed as the hint. No
 * part of the result can leave its directory: names and revisions hold no "..", no empty part, no leading
 * dot. */
bool reference_parse(const char *text, struct reference *out, struct error *err);

/* Whether `path` lies in one of the colon-separated directories, after resolving links; NULL allows all. */
bool reference_path_allowed(const char *path, const char *allow_dirs, struct error *err);

#endif
