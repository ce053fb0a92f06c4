#include "worker/backend/cpu/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* About 20 microseconds of watching before a thread sleeps. */
enum { WATCH_ROUNDS = 1000 };

struct threads {
    int count;
    int started;
    pthread_t *handles;
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    atomic_uint generation; /* of the loop; changes when one begins */
    atomic_int sleeping;    /* helpers waiting for `wake` */
    atomic_int working;     /* helpers that have not finished this loop */
    atomic_bool waiting;    /* the caller waits for `done` */
    atomic_size_t next;
    size_t total;
    void (*run)(void *context, size_t index, size_t thread);
    void *context;
    bool stop;
};

struct helper {
    struct threads *threads;
    size_t index;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_part(struct threads *t, size_t thread)
{
    size_t index;
    while ((index = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed)) < t->total)
        t->run(t->context, index, thread);
}

static unsigned wait_for_loop(struct threads *t, unsigned seen)
{
    unsigned now;
    for (int i = 0; i < WATCH_ROUNDS; i++) {
        if ((now = atomic_load(&t->generation)) != seen)
            return now;
        pause_briefly();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->sleeping, 1);
    while ((now = atomic_load(&t->generation)) == seen)
        pthread_cond_wait(&t->wake, &t->mutex);
    atomic_fetch_sub(&t->sleeping, 1);
    pthread_mutex_unlock(&t->mutex);
    return now;
}

static void *help(void *argument)
{
    struct helper helper = *(struct helper *)argument;
    struct threads *t = helper.threads;
    free(argument);
    for (unsigned seen = 0;;) {
        seen = wait_for_loop(t, seen);
        if (t->stop)
            return NULL;
        take_part(t, helper.index);
        if (atomic_fetch_sub(&t->working, 1) == 1 && atomic_load(&t->waiting)) {
            pthread_mutex_lock(&t->mutex);
            pthread_cond_signal(&t->done);
            pthread_mutex_unlock(&t->mutex);
        }
    }
}

/* Everything before is visible to helpers that see the new generation. */
static void begin(struct threads *t)
{
    atomic_fetch_add(&t->generation, 1);
    if (atomic_load(&t->sleeping) > 0) {
        pthread_mutex_lock(&t->mutex);
        pthread_cond_broadcast(&t->wake);
        pthread_mutex_unlock(&t->mutex);
    }
}

static void wait_for_helpers(struct threads *t)
{
    for (int i = 0; i < WATCH_ROUNDS; i++) {
        if (atomic_load(&t->working) == 0)
            return;
        pause_briefly();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_store(&t->waiting, true);
    while (atomic_load(&t->working) > 0)
        pthread_cond_wait(&t->done, &t->mutex);
    atomic_store(&t->waiting, false);
    pthread_mutex_unlock(&t->mutex);
}

void threads_run(
    struct threads *t, size_t total, void (*run)(void *context, size_t index, size_t thread), void *context)
{
    if (t->count == 1 || total <= 1) {
        for (size_t i = 0; i < total; i++)
            run(context, i, 0);
        return;
    }
    t->run = run;
    t->context = context;
    t->total = total;
    atomic_store_explicit(&t->next, 0, memory_order_relaxed);
    atomic_store(&t->working, t->count - 1);
    begin(t);
    take_part(t, 0);
    wait_for_helpers(t);
}

int threads_count(const struct threads *t)
{
    return t->count;
}

static bool start_helper(struct threads *t, struct error *err)
{
    struct helper *helper = malloc(sizeof *helper);
    if (!helper)
        return error_set(err, ERROR_MEMORY, "no memory for a thread");
    *helper = (struct helper){.threads = t, .index = (size_t)t->started + 1};
    sigset_t all, old;
    sigfillset(&all); /* signals go to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int status = pthread_create(&t->handles[t->started], NULL, help, helper);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (status != 0) {
        free(helper);
        return error_set(err, ERROR_UNAVAILABLE, "starting a thread: %s", strerror(status));
    }
    t->started++;
    return true;
}

bool threads_open(int count, struct threads **out, struct error *err)
{
    struct threads *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERROR_MEMORY, "no memory for threads");
    t->count = count;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->done, NULL);
    t->handles = calloc((size_t)count, sizeof *t->handles);
    if (!t->handles) {
        threads_close(t);
        return error_set(err, ERROR_MEMORY, "no memory for threads");
    }
    while (t->started < count - 1)
        if (!start_helper(t, err)) {
            threads_close(t);
            return false;
        }
    *out = t;
    return true;
}

void threads_close(struct threads *t)
{
    if (!t)
        return;
    t->stop = true;
    begin(t);
    for (int i = 0; i < t->started; i++)
        pthread_join(t->handles[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_cond_destroy(&t->done);
    pthread_mutex_destroy(&t->mutex);
    free(t->handles);
    free(t);
}
