// The functions of one instruction set: WIDTH floats a vector, BLOCK rows a block of sums, TABLE and NAME of the engine.

#include "vectors.h"
#include "products.h"
#include "trunk.h"
#include "sweep.h"
#include "head.h"
#include "step.h"

namespace {
bool is_supported() { return IS_SUPPORTED; }
} // namespace

const Engine TABLE = {NAME, is_supported, WIDTH, sizes, pack, unpack, prepare, forward, backward, infer, sweep, head_floats, move_head,
                      whole_vectors, learn};
