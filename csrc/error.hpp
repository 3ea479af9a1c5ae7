// How C++ inside csrc reports failure, and how that becomes a bge_error at the C boundary.
#pragma once

#include "bge.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

namespace bge {

// Thrown inside csrc only; guarded() turns it into the caller's bge_error.
struct failure {
    bge_code code;
    char message[sizeof(bge_error::message)];
};

[[noreturn]]
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3))) // after the other, or clang refuses both
#endif
inline void
fail(bge_code code, const char *format, ...) {
    failure f{code, {}};
    va_list args;
    va_start(args, format);
    std::vsnprintf(f.message, sizeof f.message, format, args);
    va_end(args);
    throw f;
}

inline int32_t report(bge_error *err, bge_code code, const char *message) noexcept {
    if (err != nullptr) {
        err->code = code;
        std::snprintf(err->message, sizeof err->message, "%s", message);
    }
    return code;
}

// Runs the body of an exported function: nothing thrown leaves it.
template <class Body> int32_t guarded(bge_error *err, Body &&body) noexcept {
    try {
        body();
        if (err != nullptr) {
            err->code = BGE_OK;
            err->message[0] = '\0';
        }
        return BGE_OK;
    } catch (const failure &f) {
        return report(err, f.code, f.message);
    } catch (const std::bad_alloc &) {
        return report(err, BGE_ERR_MEMORY,
                      "out of memory: free some, or use a smaller batch or a smaller type of weights");
    } catch (const std::exception &e) {
        return report(err, BGE_ERR_INTERNAL, e.what());
    } catch (...) {
        return report(err, BGE_ERR_INTERNAL, "an unknown exception");
    }
}

} // namespace bge
