//go:build !bgevl_static

#include "probe.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bge {
namespace {

// The least of several runs is what a device can do; others have the machine for some of them.
constexpr int runs = 3;

// The largest relative error of a row; not finite where something in one is not.
double row_error(const std::vector<float> &want, const std::vector<float> &got, int64_t row) {
    double largest = 0;
    for (size_t at = 0; at < want.size(); at += size_t(row)) {
        double off = 0, norm = 0;
        for (size_t i = at; i < at + size_t(row); i++) {
            off += std::pow(double(got[i]) - double(want[i]), 2);
            norm += std::pow(double(want[i]), 2);
        }
        const double error = std::sqrt(off / norm);
        if (!std::isfinite(error)) {
            return std::numeric_limits<double>::infinity();
        }
        largest = std::max(largest, error);
    }
    return largest;
}

template <class... Values> void set_why(bge_probe &p, bge_probe_outcome outcome, const char *format, Values... values) {
    p.outcome = outcome;
    std::snprintf(p.why, sizeof p.why, format, values...);
}

} // namespace

prober::prober(std::vector<probe_task> list, probe_clock clock) : tasks(std::move(list)), now(std::move(clock)) {
    for (const probe_task &t : tasks) {
        const prepared_work work = t.prepare(nullptr);
        wanted.push_back(work());
        seconds += measure(work, std::numeric_limits<double>::infinity());
    }
}

// The seconds of one run, the least of several: of fewer where the first took longer than `until`.
double prober::measure(const prepared_work &work, double until) const {
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < runs; i++) {
        const double start = now();
        work();
        least = std::min(least, now() - start);
        if (least > until) {
            break;
        }
    }
    return least;
}

bge_probe prober::try_device(const char *name) const {
    bge_probe p{};
    p.processor_seconds = seconds;
    for (size_t i = 0; i < tasks.size(); i++) {
        const probe_task &t = tasks[i];
        try {
            const prepared_work work = t.prepare(name);
            const std::vector<float> got = work();
            if (got.size() != wanted[i].size()) {
                fail(BGE_ERR_INTERNAL, "%zu values in place of %zu", got.size(), wanted[i].size());
            }
            const double error = row_error(wanted[i], got, t.row);
            if (!(error <= t.most_error)) {
                set_why(p, BGE_PROBE_WRONG, "%s: a row is off by %.2g of its length, and may be by %.2g", t.what, error,
                        t.most_error);
                break;
            }
            p.seconds += measure(work, seconds);
            p.outcome = BGE_PROBE_RIGHT;
        } catch (const failure &f) {
            set_why(p, BGE_PROBE_FAILED, "%s: %.160s", t.what, f.message);
            break;
        } catch (const std::bad_alloc &) {
            set_why(p, BGE_PROBE_FAILED, "%s: out of memory", t.what);
            break;
        } catch (const std::exception &e) {
            set_why(p, BGE_PROBE_FAILED, "%s: %.160s", t.what, e.what());
            break;
        }
    }
    if (p.outcome != BGE_PROBE_RIGHT) {
        p.seconds = 0;
    }
    return p;
}

int32_t fastest(const std::vector<bge_probe> &results) {
    int32_t best = -1;
    for (size_t i = 0; i < results.size(); i++) {
        const bge_probe &p = results[i];
        const double limit = best < 0 ? p.processor_seconds : results[size_t(best)].seconds;
        if (p.outcome == BGE_PROBE_RIGHT && p.seconds < limit) {
            best = int32_t(i);
        }
    }
    return best;
}

} // namespace bge
