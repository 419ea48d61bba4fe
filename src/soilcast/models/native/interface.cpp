// What Python calls (__init__.py): members, and parts of a batch, are shared among threads. Threads live as long as a call, so
// that a process that forks, or ends, finds none of them.

#include "engine.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#include <pthread.h>
#include <sched.h>

void soilcast_meet(Meeting &meeting) {
    if (meeting.size == 1) return;
    const int64_t round = __atomic_load_n(&meeting.round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&meeting.come, 1, __ATOMIC_ACQ_REL) == meeting.size) {
        meeting.come = 0;
        __atomic_store_n(&meeting.round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    // The others are some microseconds away; where they wait for a processor, they are given this one.
    for (int64_t looks = 0; __atomic_load_n(&meeting.round, __ATOMIC_ACQUIRE) == round; looks++) {
        if (looks > 4096) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#endif
    }
}

// A part of a batch has as many operations at least: where other processes want the processors too, threads that meet wait
// for each other longer than such a part takes.
extern "C" {
int64_t soilcast_least_operations = 10000000;
}

namespace {

const Engine *const ENGINES[] = {
    &soilcast_portable,
#if defined(__x86_64__)
    &soilcast_avx2, &soilcast_avx512,
#if defined(__linux__)
    &soilcast_amx,
#endif
#endif
};

constexpr int64_t MOST_THREADS = 256;
enum Outcome : int64_t { DONE, NO_MEMORY, NO_THREADS };

// Memory in whole lines of the cache, given back together.
class Memory {
  public:
    ~Memory() {
        while (blocks) {
            Block *before = blocks->before;
            std::free(blocks);
            blocks = before;
        }
    }
    template <typename Kind> void take(Kind *&where, int64_t count) {
        const int64_t bytes = (count * static_cast<int64_t>(sizeof(Kind)) + LINE - 1) / LINE * LINE + LINE;
        Block *block = static_cast<Block *>(std::aligned_alloc(LINE, bytes));
        where = nullptr;
        if (!block) {
            lacks = true;
            return;
        }
        block->before = blocks;
        blocks = block;
        where = reinterpret_cast<Kind *>(reinterpret_cast<char *>(block) + LINE);
    }
    template <typename Kind> void take_zeros(Kind *&where, int64_t count) {
        take(where, count);
        if (where) std::memset(where, 0, count * sizeof(Kind));
    }
    bool lacks = false;

  private:
    static constexpr int64_t LINE = 64;
    struct Block {
        Block *before;
    };
    Block *blocks = nullptr;
};

template <typename Work> struct Crew {
    const Work &work;
    int64_t items, taken, workers, order; // order: 0 to wait, 1 to begin, -1 to leave

    static void *serve(void *crew) {
        Crew &self = *static_cast<Crew *>(crew);
        while (__atomic_load_n(&self.order, __ATOMIC_ACQUIRE) == 0) sched_yield();
        if (self.order < 0) return nullptr;
        const int64_t worker = __atomic_fetch_add(&self.workers, 1, __ATOMIC_RELAXED);
        for (int64_t item; (item = __atomic_fetch_add(&self.taken, 1, __ATOMIC_RELAXED)) < self.items;)
            self.work(item, worker);
        return nullptr;
    }
};

// Calls work(item, number of the thread) for every item, in this thread and others. False, with nothing done, if all items need a thread at the
// same time and there are not as many.
template <typename Work> bool share(int64_t threads, int64_t items, bool all_at_once, const Work &work) {
    pthread_t others[MOST_THREADS];
    Crew<Work> crew = {work, items, 0, 0, 0};
    const int64_t wanted = (threads < items ? threads : items) - 1;
    int64_t started = 0;
    while (started < wanted && pthread_create(&others[started], nullptr, Crew<Work>::serve, &crew) == 0) started++;
    const bool begins = started >= wanted || !all_at_once;
    __atomic_store_n(&crew.order, begins ? 1 : -1, __ATOMIC_RELEASE);
    if (begins) Crew<Work>::serve(&crew);
    for (int64_t thread = 0; thread < started; thread++) pthread_join(others[thread], nullptr);
    return begins;
}

int64_t begin(int64_t count, int64_t part, int64_t parts) { return count * part / parts; }

Parameters moved(const Parameters &from, int64_t by) {
    return {from.inputs + by, from.output + by, from.bias_inputs + by, from.bias_output + by};
}

// How the batches of some members are shared among threads: each member to one, or a part of a member's batch.
struct Division {
    int64_t threads, members, parts;
    Division(int64_t threads, int64_t members, const Shape &shape) : threads(threads), members(members) {
        if (this->threads > MOST_THREADS) this->threads = MOST_THREADS;
        const int64_t most = operations(shape) / (soilcast_least_operations > 0 ? soilcast_least_operations : 1);
        parts = this->threads / members;
        if (parts > most) parts = most;
        if (parts > shape.samples) parts = shape.samples;
        if (parts < 1) parts = 1;
    }
    int64_t items() const { return members * parts; }

  private:
    // Of a step: each weight takes part in a product forward and in two back.
    static int64_t operations(const Shape &shape) {
        return 24 * shape.days * shape.samples * shape.hidden * (shape.features + shape.hidden);
    }
};

void take_activations(Memory &memory, const Engine &engine, const Shape &shape, bool bfloat16, Activations &where) {
    const Sizes size = engine.sizes(shape);
    memory.take(where.gates, shape.days * shape.samples * size.gates);
    for (float **one : {&where.cell, &where.bounded, &where.hidden}) memory.take(*one, shape.days * shape.samples * size.hidden);
    for (float **one : {&where.grad_hidden, &where.grad_cell}) memory.take(*one, (shape.samples + ROOM) * size.hidden);
    memory.take_zeros(where.tiles, bfloat16 ? engine.needs(shape).tiles : 0);
}

// A trunk whose head and loss are computed elsewhere: forward keeps what backward needs.
struct Trunk {
    const Engine &engine;
    const Shape shape;
    const Division division;
    const bool bfloat16;
    const Sizes size;
    const int64_t rounded_floats;
    Memory memory;
    float *panels = nullptr, *rounded = nullptr, *turned = nullptr, *gradients = nullptr;
    Activations *activations = nullptr; // (member, part)

    Trunk(const Engine &engine, const Shape &shape, const Division &division, bool bfloat16)
        : engine(engine), shape(shape), division(division), bfloat16(bfloat16), size(engine.sizes(shape)),
          rounded_floats(engine.needs(shape).rounded) {
        memory.take(panels, division.members * size.panels);
        if (bfloat16) memory.take(rounded, division.members * rounded_floats);
        memory.take(turned, division.members * size.turned);
        memory.take(gradients, division.items() * size.panels);
        memory.take(activations, division.items());
        for (int64_t item = 0; item < division.items() && !memory.lacks; item++)
            take_activations(memory, engine, shape_of(item), bfloat16, activations[item]);
    }
    int64_t first_of(int64_t item) const { return begin(shape.samples, item % division.parts, division.parts); }
    int64_t samples_of(int64_t item) const {
        return begin(shape.samples, item % division.parts + 1, division.parts) - first_of(item);
    }
    Shape shape_of(int64_t item) const { return {shape.days, samples_of(item), shape.features, shape.hidden}; }
    Inputs inputs_of(const Inputs &inputs, int64_t member_stride, int64_t item) const {
        return {inputs.values + item / division.parts * member_stride + first_of(item) * inputs.sample_stride,
                inputs.day_stride, inputs.sample_stride};
    }
    // Calls work(member, first tile, tile behind the last) for shares of each member's tiles.
    template <typename Work> void share_tiles(const Work &work) const {
        share(division.threads, division.items(), false, [&](int64_t item, int64_t) {
            const int64_t part = item % division.parts;
            work(item / division.parts, begin(size.tiles, part, division.parts), begin(size.tiles, part + 1, division.parts));
        });
    }
};

} // namespace

// Strides of a kind of arrays are the floats from those of one member to those of the next.
extern "C" {

int64_t soilcast_engines() { return sizeof ENGINES / sizeof *ENGINES; }
const char *soilcast_engine_name(int64_t engine) { return ENGINES[engine]->name; }
int64_t soilcast_engine_is_supported(int64_t engine) { return ENGINES[engine]->is_supported(); }

// Null where there is too little memory.
Trunk *soilcast_trunk_new(int64_t engine, int64_t threads, int64_t members, const Shape *shape, int64_t bfloat16) {
    Trunk *trunk = new (std::nothrow) Trunk(*ENGINES[engine], *shape, Division(threads, members, *shape), bfloat16);
    if (trunk && !trunk->memory.lacks) return trunk;
    delete trunk;
    return nullptr;
}

void soilcast_trunk_free(Trunk *trunk) { delete trunk; }

// states (member, count, sample, hidden).
void soilcast_trunk_forward(Trunk *trunk, const Inputs *inputs, int64_t inputs_stride, const Parameters *parameters,
                            int64_t parameters_stride, float *states, int64_t count) {
    const Trunk &self = *trunk;
    const Engine &engine = self.engine;
    const Shape &shape = self.shape;
    self.share_tiles([&](int64_t member, int64_t first, int64_t last) {
        float *panels = self.panels + member * self.size.panels;
        engine.pack(shape, moved(*parameters, member * parameters_stride), panels, first, last);
        engine.prepare(shape, panels, self.rounded ? self.rounded + member * self.rounded_floats : nullptr,
                       self.turned + member * self.size.turned, first, last);
    });
    share(self.division.threads, self.division.items(), false, [&](int64_t item, int64_t) {
        const int64_t member = item / self.division.parts, samples = self.samples_of(item);
        const float *panels = self.rounded ? self.rounded + member * self.rounded_floats : self.panels + member * self.size.panels;
        const Activations &kept = self.activations[item];
        engine.forward(self.shape_of(item), self.inputs_of(*inputs, inputs_stride, item), panels, kept, count, self.bfloat16);
        for (int64_t day = 0; day < count; day++)
            for (int64_t row = 0; row < samples; row++)
                std::memcpy(states + ((member * count + day) * shape.samples + self.first_of(item) + row) * shape.hidden,
                            kept.hidden + ((shape.days - count + day) * samples + row) * self.size.hidden,
                            sizeof(float) * shape.hidden);
    });
}

// grad, like states: of the loss with respect to them.
void soilcast_trunk_backward(Trunk *trunk, const Inputs *inputs, int64_t inputs_stride, const float *grad, int64_t count,
                             const Parameters *gradients, int64_t gradients_stride) {
    const Trunk &self = *trunk;
    const Shape &shape = self.shape;
    share(self.division.threads, self.division.items(), false, [&](int64_t item, int64_t) {
        const int64_t member = item / self.division.parts;
        const float *own = grad + (member * count * shape.samples + self.first_of(item)) * shape.hidden;
        const States states = {const_cast<float *>(own), count, shape.samples * shape.hidden, shape.hidden};
        self.engine.backward(self.shape_of(item), self.inputs_of(*inputs, inputs_stride, item),
                             self.turned + member * self.size.turned, self.activations[item], states,
                             self.gradients + item * self.size.panels, self.bfloat16);
    });
    self.share_tiles([&](int64_t member, int64_t first, int64_t last) {
        float *sums = self.gradients + member * self.division.parts * self.size.panels;
        for (int64_t part = 1; part < self.division.parts; part++)
            for (int64_t at = first * self.size.panel; at < last * self.size.panel; at++)
                sums[at] += sums[part * self.size.panels + at];
        self.engine.unpack(shape, sums, moved(*gradients, member * gradients_stride), first, last);
    });
}

// If `days` is not 0 the inputs are sequences (cell, day, feature) of so many days, whose windows of shape.days begin on every
// day; shape.samples are the cells then. states (member, count, sample, hidden), or of the last day (member, cell, window,
// hidden).
int64_t soilcast_infer(int64_t engine, int64_t threads, int64_t members, const Shape *shape, int64_t bfloat16,
                       const Inputs *inputs, int64_t inputs_stride, int64_t days, const Parameters *parameters,
                       int64_t parameters_stride, float *states, int64_t count) {
    const Engine &chosen = *ENGINES[engine];
    const Sizes size = chosen.sizes(*shape);
    const Needs needs = chosen.needs(*shape);
    constexpr int64_t SAMPLES = 96; // an item: enough to be worth its thread, few enough for all threads to have some
    const int64_t windows = days ? days - shape->days + 1 : 1, each = (SAMPLES + windows - 1) / windows;
    const int64_t blocks = (shape->samples + each - 1) / each;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    Memory memory;
    float *panels, *rounded = nullptr, *workspaces;
    memory.take(panels, members * size.panels);
    if (bfloat16) memory.take(rounded, members * needs.rounded);
    memory.take_zeros(workspaces, threads * needs.infer);
    if (memory.lacks) return NO_MEMORY;
    share(threads, members, false, [&](int64_t member, int64_t) {
        float *own = panels + member * size.panels;
        chosen.pack(*shape, moved(*parameters, member * parameters_stride), own, 0, size.tiles);
        if (bfloat16) chosen.prepare(*shape, own, rounded + member * needs.rounded, nullptr, 0, size.tiles);
    });
    share(threads, members * blocks, false, [&](int64_t item, int64_t worker) {
        const int64_t member = item / blocks, first = item % blocks * each;
        const int64_t samples = shape->samples - first < each ? shape->samples - first : each;
        const Shape part = {shape->days, samples, shape->features, shape->hidden};
        const float *read = bfloat16 ? rounded + member * needs.rounded : panels + member * size.panels;
        const float *own = inputs->values + member * inputs_stride;
        float *workspace = workspaces + worker * needs.infer;
        if (days) {
            const Sequences sequences = {own + first * days * shape->features, days};
            chosen.sweep(part, sequences, read, workspace, states + (member * shape->samples + first) * windows * shape->hidden,
                         bfloat16);
        } else {
            const Inputs given = {own + first * inputs->sample_stride, inputs->day_stride, inputs->sample_stride};
            const States to = {states + (member * count * shape->samples + first) * shape->hidden, count,
                               shape->samples * shape->hidden, shape->hidden};
            chosen.infer(part, given, read, workspace, to, bfloat16);
        }
    });
    return DONE;
}

// weights, mean and square of all members, `stride` floats from one member to the next.
struct State {
    Parameters trunk;
    float *head, *bias;
};

int64_t soilcast_learn(int64_t engine, int64_t threads, const Shape *shape, int64_t bfloat16, const Lesson *lesson,
                       const State *weights, const State *mean, const State *square, int64_t stride) {
    const Engine &chosen = *ENGINES[engine];
    const Sizes size = chosen.sizes(*shape);
    const Head &head = lesson->head;
    const Division division(threads, lesson->members, *shape);
    const int64_t whole = size.panels + chosen.head_floats(head, shape->hidden);
    const int64_t feature = chosen.feature_floats(shape->hidden + head.skipped);
    Memory memory;
    Member *every;
    memory.take(every, lesson->members);
    for (int64_t number = 0; number < lesson->members && !memory.lacks; number++) {
        Member &member = every[number];
        member.number = number;
        member.shape = *shape;
        for (float **one : {&member.weights, &member.mean, &member.square}) memory.take(*one, whole);
        member.rounded = nullptr;
        if (bfloat16) memory.take(member.rounded, chosen.needs(*shape).rounded);
        memory.take(member.turned, size.turned);
        member.meeting = {division.parts, 0, 0};
        member.parts = division.parts;
        memory.take(member.part, division.parts);
        for (int64_t part = 0; part < division.parts && !memory.lacks; part++) {
            Part &own = member.part[part];
            own.first = begin(shape->samples, part, division.parts);
            own.samples = begin(shape->samples, part + 1, division.parts) - own.first;
            const int64_t forecasts = own.samples * head.leads;
            take_activations(memory, chosen, {shape->days, own.samples, shape->features, shape->hidden}, bfloat16, own.activations);
            memory.take(own.gradients, whole);
            memory.take(own.features, forecasts * feature);
            memory.take(own.grad_feature, feature);
            memory.take(own.grad_outputs, forecasts * head.layers * head.numbers);
            memory.take(own.grad_water, forecasts * head.layers);
            memory.take(own.grad_states, head.states * own.samples * shape->hidden);
        }
    }
    if (memory.lacks) return NO_MEMORY;
    const bool begun = share(division.threads, division.items(), division.parts > 1, [&](int64_t item, int64_t) {
        const int64_t number = item / division.parts, part = item % division.parts;
        Member &member = every[number];
        const int64_t first = begin(size.tiles, part, division.parts), last = begin(size.tiles, part + 1, division.parts);
        const State *const states[] = {weights, mean, square};
        float *const packed[] = {member.weights, member.mean, member.square};
        const auto move = [&](bool into) {
            for (int one = 0; one < 3; one++) {
                const Parameters trunk = moved(states[one]->trunk, number * stride);
                if (into) chosen.pack(*shape, trunk, packed[one], first, last);
                else chosen.unpack(*shape, packed[one], trunk, first, last);
                if (part == 0)
                    chosen.move_head(head, shape->hidden, states[one]->head + number * stride,
                                     states[one]->bias + number * stride, packed[one] + size.panels, into);
            }
        };
        move(true);
        chosen.learn(member, *lesson, part);
        move(false);
    });
    return begun ? DONE : NO_THREADS;
}
}
