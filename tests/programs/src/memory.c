// Grows its memory to 200 MB, uses all of it, lets it go, and finds it again.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    const size_t size = 200u << 20;
    for (int round = 0; round < 2; round++) {
        uint32_t *words = malloc(size);
        if (!words) return puts("no memory"), 1;
        for (size_t index = 0; index < size / 4; index += 512) words[index] = index * 2654435761u;
        uint32_t sum = 0;
        for (size_t index = 0; index < size / 4; index += 512) sum += words[index] >> 8;
        printf("round %d: %u\n", round, sum);
        free(words);
    }
    return 0;
}
