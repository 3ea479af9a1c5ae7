// The threads that run kernels: every piece of every run once, whoever takes it. Build, under ThreadSanitizer too:
//
//     cd tests/crew
//     c++ -std=c++17 -O2 -I../../csrc crew_test.cpp ../../csrc/crew.cpp -lpthread -o crew
//     ./crew
//
// It ends with 0 where all is well, 1 where not.
#include "crew.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

void require(bool ok, const char *what, int n_threads, int n) {
    if (!ok) {
        std::printf("FAIL: %s: %d threads, %d pieces\n", what, n_threads, n);
        std::exit(1);
    }
}

// Each run counts up what the one before has left, without atomics: a piece that is missing, that ran twice or that was
// still at work when the run returned is seen, the last by ThreadSanitizer.
void many_runs(int n_threads) {
    bge::crew crew(n_threads);
    require(crew.size() == n_threads, "the size is wrong", n_threads, 0);
    for (const int n : {1, 2, 3, n_threads, 2 * n_threads + 1, 64}) {
        std::vector<int> count(static_cast<size_t>(n));
        for (int run = 1; run <= 300; run++) {
            crew.run(n, [&](int piece) { count[static_cast<size_t>(piece)]++; });
            for (const int c : count) {
                require(c == run, "a piece did not run once", n_threads, n);
            }
        }
    }
}

// Threads that went to sleep wake up.
void after_sleep() {
    bge::crew crew(2);
    for (int i = 0; i < 3; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        std::atomic<int> inside{0};
        crew.run(2, [&](int) {
            inside++;
            while (inside.load() < 2) { // until the other piece runs, in the other thread
                std::this_thread::yield();
            }
        });
    }
}

// A piece that takes long holds nobody up but the end of the run.
void slow_piece() {
    bge::crew crew(3);
    std::atomic<int> others{0};
    crew.run(10, [&](int piece) {
        if (piece != 0) {
            others++;
            return;
        }
        while (others.load() < 9) {
            std::this_thread::yield();
        }
    });
}

} // namespace

int main() {
    for (const int n_threads : {1, 2, 3, 8}) {
        many_runs(n_threads);
    }
    after_sleep();
    slow_piece();
    std::printf("ok\n");
    return 0;
}
