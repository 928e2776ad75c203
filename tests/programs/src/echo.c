// Standard input to standard output, unchanged, whatever bytes; a count to standard error.
#include <stdio.h>
#include <unistd.h>

int main(void) {
    static char bytes[1 << 16];
    long total = 0;
    ssize_t count;
    while ((count = read(0, bytes, sizeof bytes)) > 0) {
        for (ssize_t done = 0; done < count;) {
            ssize_t written = write(1, bytes + done, count - done);
            if (written < 0) return 2;
            done += written;
        }
        total += count;
    }
    fprintf(stderr, "%ld bytes\n", total);
    return count < 0;
}
