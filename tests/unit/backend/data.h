/* What the backend's tests share: a backend, random numbers, host matrices and how they travel. */
#ifndef LUMIGRID_TESTS_UNIT_BACKEND_DATA_H
#define LUMIGRID_TESTS_UNIT_BACKEND_DATA_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/backend/backend.h"

struct backend *open_backend(int threads);

/* Repeatable numbers; the same sequence on every machine. */
void random_seed(uint64_t seed);
uint32_t random_bits(void);
size_t random_below(size_t bound);
float random_float(void); /* about normal, standard deviation 1 */

/* Host memory of exactly so many floats, so that a sanitizer sees what goes beyond. Freed by free. */
float *random_floats(size_t count);

/* A view of host values; the values are the caller's. */
struct tensor_view view_of(const void *data, enum dtype dtype, size_t rows, size_t width);

/* Scratch holding `values` [rows, width]. */
struct tensor put(struct backend *b, size_t rows, size_t width, const float *values);
/* A tensor's values, to be freed; fails the test when the backend failed. */
float *get(struct backend *b, struct tensor t);

struct weight *load_f32(struct backend *b, const float *values, size_t out, size_t in, const float *bias);

/* Fails unless |value - expected| <= tolerance, or both are NaN or the same infinity. */
void expect_near(double value, double expected, double tolerance, const char *what, size_t index);
void expect_same(const float *x, const float *y, size_t count, const char *what); /* bit for bit */

extern const struct CMUnitTest linear_tests[], rows_tests[], attention_tests[], select_tests[];
extern const size_t linear_test_count, rows_test_count, attention_test_count, select_test_count;

#endif
