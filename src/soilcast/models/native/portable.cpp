// Whatever the compiler makes of vectors of four: SSE2 on x86-64, NEON on ARM, plain arithmetic elsewhere.
#define WIDTH 4
#if defined(__aarch64__)
#define BLOCK 6
#else
#define BLOCK 3
#endif
#define TABLE soilcast_portable
#define NAME "portable"
#define IS_SUPPORTED true
#include "table.h"
