// Clocks run forward, sleeping takes its time, dates are of this century.
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static long long now(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time)) return -1;
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(void) {
    struct timespec resolution;
    int failed = 0;
    long long before = now(CLOCK_MONOTONIC), date = now(CLOCK_REALTIME);
    for (int count = 0; count < 1000; count++) {
        long long next = now(CLOCK_MONOTONIC);
        failed |= next < before;
        before = next;
    }
    puts(failed ? "went back" : "never back");
    failed |= clock_getres(CLOCK_MONOTONIC, &resolution) || clock_getres(CLOCK_REALTIME, &resolution);
    failed |= date < 1600000000LL * 1000000000LL;
    puts(failed ? "strange date" : "fine date");
    struct timespec span = {0, 30000000};
    before = now(CLOCK_MONOTONIC);
    failed |= nanosleep(&span, 0) != 0;
    long long slept = now(CLOCK_MONOTONIC) - before;
    failed |= slept < 30000000;
    puts(slept < 30000000 ? "woke early" : "slept");
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    failed |= clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, 0) != 0;
    puts(failed ? "failed" : "done");
    return failed;
}
