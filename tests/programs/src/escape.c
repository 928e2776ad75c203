// Every way out of a directory that a program can think of is refused. Exits with the number of ways
// that led somewhere.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int reached;

static void count(int ok, const char *how, const char *way) {
    if (ok) {
        printf("%s %s\n", how, way);
        reached++;
    }
}

// Looks for something at a path that leads out, and tries to make something there.
static void try(const char *way) {
    struct stat status;
    int fd = open(way, O_RDONLY);
    count(fd >= 0, "opened", way);
    if (fd >= 0) close(fd);
    count(!stat(way, &status), "saw", way);
    count(opendir(way) != 0, "listed", way);
    count(open(way, O_WRONLY | O_CREAT, 0666) >= 0, "wrote", way);
    count(!mkdir(way, 0777), "made", way);
    count(!rename("/box/file", way), "carried", way);
    count(!link("/box/file", way), "linked", way);
}

int main(void) {
    mkdir("/box/dir", 0777);
    FILE *file = fopen("/box/file", "w");
    fputs("inside\n", file);
    fclose(file);
    static const char *const ways[] = {
        "/box/..", "/box/../", "/box/../..", "/box/dir/../../..", "/box/../escape.wasm", "/etc/passwd",
        "/box/./../file", "/box//../../../../../../etc/passwd", "../../etc/passwd", "/box/dir/../../new",
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) try(ways[i]);

    static const char *const targets[] = {
        "..", "../..", "../../etc/passwd", "dir/../..", "../box", "./dir/../../new",
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char link[32], way[64];
        snprintf(link, sizeof link, "/box/link%zu", i);
        // An engine may refuse to make the link at all; then its name is a free one.
        if (symlink(targets[i], link)) continue;
        static const char *const endings[] = {"/", "/.", "/..", "/new", "/../new"};
        for (size_t j = 0; j < sizeof endings / sizeof *endings; j++) {
            snprintf(way, sizeof way, "%s%s", link, endings[j]);
            try(way);
        }
        int fd = open(link, O_RDONLY);
        count(fd >= 0, "opened", link);
    }
    printf("absolute link: %s\n", symlink("/etc", "/box/absolute") ? "refused" : "made");
    char bytes[16] = {0};
    file = fopen("/box/dir/../file", "r");
    printf("own file: %s", file && fgets(bytes, sizeof bytes, file) ? bytes : "lost\n");
    printf("%d ways out\n", reached);
    return reached != 0;
}
