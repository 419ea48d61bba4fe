// The sources of AVX-512 without its instructions: vectors of sixteen, by which processors that lack them can test all but the
// instructions.
#define WIDTH 16
#define BLOCK 6
#define TABLE soilcast_avx512
#define NAME "as wide as AVX-512"
#define IS_SUPPORTED true
#include "../../../src/soilcast/models/native/table.h"
