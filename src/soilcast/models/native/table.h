// The functions of one instruction set: WIDTH floats a vector, BLOCK rows a block of sums, TABLE and NAME of the engine. Where
// TILES is defined, products of bfloat16 numbers are those of tiles.h; elsewhere they are products of rounded floats.

#include "vectors.h"
#include "products.h"
#include "trunk.h"
#ifdef TILES
#include "tiles.h"
#endif

namespace {

bool is_supported() { return IS_SUPPORTED; }

// Panels and the turned U as the products read them: see Engine::prepare.
void prepare(const Shape &shape, const float *panels, float *rounded, float *turned, int64_t first, int64_t last) {
#ifdef TILES
    if (rounded) return prepare_tiles(shape, panels, rounded, turned, first, last);
#endif
    prepare_floats(shape, panels, rounded, turned, first, last);
}

void forward(const Shape &shape, const Inputs &inputs, const float *panels, const Activations &kept, int64_t count,
             bool bfloat16) {
#ifdef TILES
    if (bfloat16) return forward_tiles(shape, inputs, panels, kept, count);
#endif
    (void)count;
    forward_floats(shape, inputs, panels, kept, bfloat16);
}

void backward(const Shape &shape, const Inputs &inputs, const float *turned, const Activations &kept, const States &grad,
              float *gradients, bool bfloat16) {
#ifdef TILES
    if (bfloat16) return backward_tiles(shape, turned, kept, grad, gradients);
#endif
    backward_floats(shape, inputs, turned, kept, grad, gradients, bfloat16);
}

} // namespace

#include "sweep.h"
#include "head.h"
#include "step.h"

const Engine TABLE = {NAME, is_supported, WIDTH, sizes, needs, pack, unpack, prepare, forward, backward, infer, sweep, head_floats,
                      move_head, whole_vectors, learn};
