// Arguments and environment as they were given, sorted where order means nothing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv) {
    for (int index = 1; index < argc; index++) printf("arg %d: [%s]\n", index, argv[index]);
    size_t count = 0;
    while (environ[count]) count++;
    qsort(environ, count, sizeof *environ, by_text);
    for (size_t index = 0; index < count; index++) printf("env: [%s]\n", environ[index]);
    printf("EMPTY is %s\n", getenv("EMPTY") ? "set" : "not set");
    printf("NONE is %s\n", getenv("NONE") ? "set" : "not set");
    return 0;
}
