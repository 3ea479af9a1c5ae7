// Which device computes where none is named: each is tried with small pieces of work, whose results are compared with
// those of the processor's kernels, and the fastest of those that are right is the default.
#pragma once

#include "bge.h"
#include "error.hpp"

#include <functional>
#include <string>
#include <vector>

namespace bge {

// A piece of work that is ready on one device: every call computes it once. Throws what computing throws.
using prepared_work = std::function<std::vector<float>()>;

// A piece of work. Its result is rows of `row` floats.
struct probe_task {
    const char *what; // in words, for messages
    int64_t row;
    double most_error; // by which a device may differ from the processor: |got - want| / |want| of any row

    // Makes it ready on a device of bge_device_get, or on the processor with this project's kernels (NULL).
    std::function<prepared_work(const char *device)> prepare;
};

// Seconds of some clock that never goes back.
using probe_clock = std::function<double()>;

// Tries devices with the same tasks. For one thread.
class prober {
  public:
    // Computes the tasks on the processor. Throws what that throws.
    prober(std::vector<probe_task> tasks, probe_clock now);

    // Tries a device. Throws nothing but bad_alloc: what the device throws is its result.
    bge_probe try_device(const char *name) const;

    double processor_seconds() const { return seconds; }

  private:
    std::vector<probe_task> tasks;
    probe_clock now;
    std::vector<std::vector<float>> wanted; // of each task
    double seconds = 0;                     // of all tasks, on the processor

    double measure(const prepared_work &work, double until) const;
};

// The index of the fastest that is right and faster than the processor; -1 where none is.
int32_t fastest(const std::vector<bge_probe> &results);

// The tasks that tell devices apart: transformer layers as this project's models have them. For n_threads threads.
std::vector<probe_task> probe_tasks(int32_t n_threads);

} // namespace bge
