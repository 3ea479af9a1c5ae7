// Which device becomes the default, with devices that are made up: right, slow, wrong, broken, out of memory. Build:
//
//     cd tests/probe
//     c++ -std=c++17 -O2 -I../../csrc probe_test.cpp ../../csrc/probe.cpp -o probe
//     ./probe
//
// It ends with 0 where all is well, 1 where not.
#include "probe.hpp"

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <stdexcept>

namespace {

using bge::prepared_work;

double clock_now = 0; // which the devices below move

void require(bool ok, const char *what) {
    if (!ok) {
        std::printf("FAIL: %s\n", what);
        std::exit(1);
    }
}

// A device that takes so many seconds for a task, and what it makes of it.
struct device {
    double seconds;
    std::function<std::vector<float>(std::vector<float> right)> compute;
};

std::vector<float> as_it_is(std::vector<float> v) {
    return v;
}

std::function<std::vector<float>(std::vector<float>)> with_value(size_t at, float value) {
    return [=](std::vector<float> v) {
        v[at] = value;
        return v;
    };
}

const std::map<std::string, device> devices = {
    {"right", {0.5, as_it_is}},
    {"rounded", {0.4, with_value(3, 4.001f)}},
    {"fast", {0.1, as_it_is}},
    {"as fast", {0.1, as_it_is}},
    {"slow", {3, as_it_is}},
    {"level", {1, as_it_is}},
    {"wrong", {0.01, with_value(3, 5)}},
    {"opposite",
     {0.01,
      [](std::vector<float> v) {
          return std::vector<float>{-v[0], -v[1], -v[2], -v[3]};
      }}},
    {"zero", {0.01, [](const std::vector<float> &v) { return std::vector<float>(v.size()); }}},
    {"nan", {0.01, with_value(0, std::numeric_limits<float>::quiet_NaN())}},
    {"infinite", {0.01, with_value(1, std::numeric_limits<float>::infinity())}},
    {"short", {0.01, [](const std::vector<float> &) { return std::vector<float>(1); }}},
    {"full", {0.01, [](const std::vector<float> &) -> std::vector<float> { throw std::bad_alloc(); }}},
    {"lost", {0.01, [](const std::vector<float> &) -> std::vector<float> { throw std::runtime_error("device lost"); }}},
    {"refusing",
     {0.01, [](const std::vector<float> &) -> std::vector<float> { bge::fail(BGE_ERR_UNSUPPORTED, "no shader"); }}},
};

// Rows of two values. `breaks` is a device that cannot even be made ready for it.
bge::probe_task task(const char *what, std::vector<float> right, const char *breaks) {
    return {what, 2, 0.01, [=](const char *name) -> prepared_work {
                if (name == nullptr) {
                    return [=] {
                        clock_now += 1;
                        return right;
                    };
                }
                if (std::string(breaks) == name) {
                    bge::fail(BGE_ERR_MEMORY, "no room");
                }
                const device &d = devices.at(name);
                return [=, &d] {
                    clock_now += d.seconds;
                    return d.compute(right);
                };
            }};
}

bge::prober make_prober(const char *breaks) {
    return bge::prober({task("first", {1, 2, 3, 4}, ""), task("second", {5, 6, 7, 8}, breaks)},
                       [] { return clock_now; });
}

void expect(const bge::prober &prober, const char *name, bge_probe_outcome outcome, const char *why) {
    const bge_probe p = prober.try_device(name);
    require(p.outcome == outcome && p.processor_seconds == 2, name);
    require((p.seconds > 0) == (outcome == BGE_PROBE_RIGHT), name);
    require(std::string(p.why).find(why) != std::string::npos && (p.why[0] == 0) == (*why == 0), p.why);
}

void choose(const bge::prober &prober, std::vector<const char *> names, int32_t want, const char *what) {
    std::vector<bge_probe> results;
    for (const char *name : names) {
        results.push_back(name != nullptr ? prober.try_device(name) : bge_probe{});
    }
    require(bge::fastest(results) == want, what);
}

} // namespace

int main() {
    const bge::prober prober = make_prober("");
    require(prober.processor_seconds() == 2, "the processor's time is that of one run of each task");
    for (const char *name : {"right", "fast", "slow", "level"}) {
        expect(prober, name, BGE_PROBE_RIGHT, "");
    }
    for (const char *name : {"wrong", "opposite", "zero", "nan", "infinite"}) {
        expect(prober, name, BGE_PROBE_WRONG, "first: a row is off by ");
    }
    expect(prober, "short", BGE_PROBE_FAILED, "1 values in place of 4");
    expect(prober, "full", BGE_PROBE_FAILED, "first: out of memory");
    expect(prober, "lost", BGE_PROBE_FAILED, "first: device lost");
    expect(prober, "refusing", BGE_PROBE_FAILED, "first: no shader");
    expect(make_prober("fast"), "fast", BGE_PROBE_FAILED, "second: no room");

    choose(prober, {}, -1, "nothing to choose from");
    choose(prober, {nullptr}, -1, "a device that was not tried");
    choose(prober, {"slow"}, -1, "slower than the processor");
    choose(prober, {"level"}, -1, "no faster than the processor");
    choose(prober, {"right", "fast", "slow"}, 1, "the fastest");
    choose(prober, {"fast", "as fast"}, 0, "of equal ones the first");
    choose(prober, {"wrong", "nan", "full", "lost", "right"}, 4, "the only one that is right");
    choose(prober, {"wrong", "zero", "lost"}, -1, "none that is right");
    std::printf("ok\n");
    return 0;
}
