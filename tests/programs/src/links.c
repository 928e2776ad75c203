// Renaming and linking, symbolic and hard, and what the numbers of links say.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed;

static void check(int ok, const char *what) {
    printf("%s %s\n", ok ? "ok  " : "FAIL", what);
    failed |= !ok;
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static int has(const char *path, const char *text) {
    char bytes[64] = {0};
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t count = fread(bytes, 1, sizeof bytes - 1, file);
    fclose(file);
    return count == strlen(text) && !strcmp(bytes, text);
}

int main(void) {
    struct stat a, b;
    put("one", "1");
    check(link("one", "two") == 0, "hard link");
    check(!stat("one", &a) && !stat("two", &b) && a.st_ino == b.st_ino && b.st_nlink == 2, "same file");
    put("two", "22");
    check(has("one", "22"), "same contents");
    check(link("one", "two") < 0 && errno == EEXIST, "no link over a file");
    check(unlink("one") == 0 && has("two", "22"), "one name left");

    check(symlink("two", "soft") == 0 && has("soft", "22"), "symbolic link");
    check(!lstat("soft", &a) && S_ISLNK(a.st_mode), "lstat sees the link");
    check(!stat("soft", &a) && S_ISREG(a.st_mode), "stat sees the file");
    char target[8];
    check(readlink("soft", target, sizeof target) == 3 && !memcmp(target, "two", 3), "readlink");
    check(open("soft", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP, "O_NOFOLLOW");
    check(rename("soft", "softer") == 0 && has("softer", "22"), "renaming the link");
    check(symlink("round", "round") == 0 && open("round", O_RDONLY) < 0 && errno == ELOOP, "a loop");

    put("new", "new");
    check(rename("new", "two") == 0 && has("softer", "new"), "rename over a file");
    check(access("new", F_OK) < 0 && errno == ENOENT, "the old name is gone");
    check(mkdir("dir", 0777) == 0 && mkdir("dir/sub", 0777) == 0, "directories");
    check(rename("two", "dir") < 0 && errno == EISDIR, "no file over a directory");
    check(rename("dir", "two") < 0 && errno == ENOTDIR, "no directory over a file");
    check(rename("dir", "dir/sub/dir") < 0 && errno == EINVAL, "no directory into itself");
    check(rename("two", "dir/sub/two") == 0 && has("dir/sub/two", "new"), "into a directory");
    check(rmdir("dir") < 0 && errno == ENOTEMPTY, "not empty");
    check(rename("dir", "moved/") == 0 && has("moved/sub/two", "new"), "a directory moved");
    check(unlink("moved/sub/two/") < 0 && errno == ENOTDIR, "a file is no directory");
    check(unlink("moved") < 0 && errno == EISDIR, "unlink of a directory");
    check(access("softer", F_OK) < 0 && !lstat("softer", &a), "dangling");
    return failed;
}
