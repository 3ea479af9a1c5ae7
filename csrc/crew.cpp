//go:build !bgevl_static

#include "crew.hpp"

namespace bge {
namespace {

// How often a thread looks for work, or for the others to be done, before it lets the processor go.
constexpr int watch = 4000;

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause(); // without the header of all intrinsics, which is half of this file's compilation
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

struct ticket_parts {
    uint64_t run;
    int pieces, next;
};

ticket_parts parts_of(uint64_t t) {
    return {t >> 32, int(t >> 16 & 0xffff), int(t & 0xffff)};
}

} // namespace

crew::crew(int n_threads) {
    try {
        for (int i = 1; i < n_threads; i++) {
            helpers.emplace_back([this] { help(); });
        }
    } catch (...) {
        finish();
        throw;
    }
}

crew::~crew() {
    finish();
}

void crew::finish() {
    {
        const std::lock_guard<std::mutex> hold(mutex);
        stop = true;
    }
    wake.notify_all();
    for (std::thread &t : helpers) {
        t.join();
    }
}

bool crew::has_work() const {
    const ticket_parts t = parts_of(ticket.load());
    return t.next < t.pieces;
}

bool crew::take(int *piece) {
    uint64_t t = ticket.load();
    for (;;) {
        const ticket_parts parts = parts_of(t);
        if (parts.next >= parts.pieces) {
            return false;
        }
        if (ticket.compare_exchange_weak(t, t + 1)) {
            *piece = parts.next;
            return true;
        }
    }
}

void crew::help() {
    for (int idle = 0; !stop;) {
        int piece = 0;
        if (take(&piece)) {
            (*work)(piece);
            done.fetch_add(1, std::memory_order_release);
            idle = 0;
        } else if (++idle < watch) {
            relax();
        } else {
            std::unique_lock<std::mutex> hold(mutex);
            sleeping++;
            wake.wait(hold, [this] { return stop || has_work(); });
            sleeping--;
            idle = 0;
        }
    }
}

void crew::run(int n, const piece_function &piece) {
    if (n == 1 || helpers.empty()) {
        for (int i = 0; i < n; i++) {
            piece(i);
        }
        return;
    }
    work = &piece;
    done.store(0, std::memory_order_relaxed);
    ticket.store(((parts_of(ticket.load()).run + 1) << 32) | uint64_t(n) << 16);
    if (sleeping.load() > 0) {
        const std::lock_guard<std::mutex> hold(mutex); // so that nobody is between looking and sleeping
        wake.notify_all();
    }
    for (int i = 0; take(&i);) {
        piece(i);
        done.fetch_add(1, std::memory_order_release);
    }
    for (int idle = 0; done.load(std::memory_order_acquire) < n; idle++) {
        if (idle < watch) {
            relax();
        } else {
            std::this_thread::yield();
        }
    }
}

} // namespace bge
