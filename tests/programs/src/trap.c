// Writes a line, then divides by zero.
#include <unistd.h>

volatile int hundred = 100, zero;

int main(void) {
    write(1, "before\n", 7);
    return hundred / zero;
}
