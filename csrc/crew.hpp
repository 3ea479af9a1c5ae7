// The threads that run a context's kernels.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace bge {

// A fixed number of threads, the caller of run() among them.
//
// Work comes in pieces that any thread may take. No piece waits for a thread that is not running: what the others do
// not take the caller does itself, so that on a busy machine, where a thread may be off the processor for milliseconds,
// a run waits for no more than a piece that was begun. (ggml's threads meet after every operation, and spin until all
// are there.)
//
// One run at a time. Idle threads watch for work for some microseconds, as between the operations of a graph, and then
// sleep.
class crew {
  public:
    explicit crew(int n_threads); // throws std::system_error where the system has no more threads
    ~crew();
    crew(const crew &) = delete;
    crew &operator=(const crew &) = delete;

    int size() const { return int(helpers.size()) + 1; }

    // Calls piece(i) for i from 0 to n - 1, each once, and returns when all have returned. n is at most `most`.
    using piece_function = std::function<void(int)>;
    static constexpr int most = 0xffff;
    void run(int n, const piece_function &piece);

  private:
    // What there is to do, in one word so that it is taken in one step: the number of the run, how many pieces it has,
    // and which is next.
    std::atomic<uint64_t> ticket{0};
    const piece_function *work = nullptr; // of the run; read by who has taken a piece of it
    std::atomic<int> done{0};             // pieces of the run that have returned
    std::atomic<bool> stop{false};
    std::atomic<int> sleeping{0};
    std::mutex mutex;
    std::condition_variable wake;
    std::vector<std::thread> helpers;

    bool take(int *piece);
    bool has_work() const;
    void help();
    void finish();
};

} // namespace bge
