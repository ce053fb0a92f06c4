/* The numbered migrations, built into the program from migrations/NNNN_name.sql. */
#ifndef LUMIGRID_COORDINATOR_STORE_MIGRATIONS_H
#define LUMIGRID_COORDINATOR_STORE_MIGRATIONS_H

struct migration {
    int number;
    const char *name;
    const char *sql;
};

extern const struct migration migrations[]; /* ascending; ends with number 0 */

#endif
