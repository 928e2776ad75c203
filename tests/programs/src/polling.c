// poll: a timeout, standard input that is ready, standard output that takes more.
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    int failed = 0;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    failed |= poll(0, 0, 20) != 0;
    clock_gettime(CLOCK_MONOTONIC, &after);
    long long waited = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    printf("timeout: %s\n", waited >= 20000000 ? "waited" : "too early");

    struct pollfd both[2] = {{0, POLLIN, 0}, {1, POLLOUT, 0}};
    int ready = poll(both + 1, 1, 10000);
    printf("output: %d %s\n", ready, both[1].revents & POLLOUT ? "ready" : "not ready");

    ready = poll(both, 1, 10000);
    printf("input: %d %s\n", ready, both[0].revents & POLLIN ? "ready" : "not ready");
    char bytes[16];
    printf("%zd bytes\n", read(0, bytes, sizeof bytes));
    return failed;
}
