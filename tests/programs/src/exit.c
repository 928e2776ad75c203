// Ends with the status of its first argument, after what is registered has run.
#include <stdio.h>
#include <stdlib.h>

static void last_words(void) { puts("last words"); }

int main(int argc, char **argv) {
    atexit(last_words);
    printf("leaving with %s", argc > 1 ? argv[1] : "0");
    puts("");
    exit(argc > 1 ? atoi(argv[1]) : 0);
}
