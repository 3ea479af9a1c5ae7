//go:build !bgevl_static

#include "placement.hpp"

#include <algorithm>
#include <cinttypes>

namespace bge {
namespace {

// What a device's memory is left for beside weights when their number is chosen by it: the buffers of a long input,
// which are 0.6 GB for a picture at Mistral's width, and as much for the driver and for others.
constexpr int64_t left_free = int64_t(1200) << 20;
constexpr int64_t share_left = 4; // and never more than this part of a small device

struct unit {
    const std::vector<ggml_tensor *> *tensors;
    int64_t bytes;
    bool wanted;
};

int64_t bytes_of(const std::vector<ggml_tensor *> &tensors, ggml_backend_buffer_type *buft) {
    int64_t n = 0;
    for (const ggml_tensor *t : tensors) {
        n += int64_t(ggml_backend_buft_get_alloc_size(buft, t));
    }
    return n;
}

// Whether memory is that of a small weight which the loader expanded.
bool is_table(const bge_model &model, const void *data) {
    return std::any_of(model.tables.begin(), model.tables.end(),
                       [data](const std::vector<float> &t) { return t.data() == data; });
}

int64_t room_on(ggml_backend_device *device) {
    size_t free_bytes = 0, total_bytes = 0;
    ggml_backend_dev_memory(device, &free_bytes, &total_bytes);
    const int64_t left = std::min(left_free, int64_t(total_bytes) / share_left);
    return std::max<int64_t>(0, int64_t(free_bytes) - left);
}

// The device of each unit, -1 for the processor: from the last unit back, each device takes what is in proportion to
// its room, so that several fill evenly.
std::vector<int> assign(const std::vector<unit> &units, const std::vector<int64_t> &room, bool automatic) {
    int64_t all_room = 0, all_bytes = 0;
    for (const int64_t r : room) {
        all_room += r;
    }
    std::vector<int> device(units.size(), -1);
    for (size_t i = units.size(); i-- > 0;) {
        if (automatic && all_bytes + units[i].bytes > all_room) {
            break;
        }
        if (automatic || units[i].wanted) {
            all_bytes += units[i].bytes;
            device[i] = 0;
        }
    }
    double until = 0; // where the share of device d ends, as bytes of all that is placed
    size_t at = 0;
    int64_t placed = 0;
    for (size_t d = 0; d < room.size(); d++) {
        until += all_room > 0 ? double(all_bytes) * double(room[d]) / double(all_room)
                              : double(all_bytes) / double(room.size());
        for (; at < units.size(); at++) {
            if (device[at] < 0) {
                continue;
            }
            const bool last_device = d + 1 == room.size();
            if (!last_device && double(placed) + double(units[at].bytes) / 2 > until) {
                break;
            }
            device[at] = int(d);
            placed += units[at].bytes;
        }
    }
    return device;
}

// Weights on their way to devices, and where they were: until keep() is called, its end puts them back.
class moves {
  public:
    explicit moves(bge_model &model) : model(model) {}
    moves(const moves &) = delete;
    moves &operator=(const moves &) = delete;
    ~moves() {
        for (const auto &[tensor, data] : from) {
            tensor->data = data;
            tensor->buffer = nullptr;
        }
    }

    void keep() { from.clear(); }

    // Gives tensors memory of a buffer type and copies what they hold there. Throws bad_alloc where there is too
    // little.
    buffer move(const std::vector<ggml_tensor *> &tensors, ggml_backend_buffer_type *buft,
                ggml_backend_buffer_usage usage);

  private:
    bge_model &model;
    std::vector<std::pair<ggml_tensor *, void *>> from;
};

buffer moves::move(const std::vector<ggml_tensor *> &tensors, ggml_backend_buffer_type *buft,
                   ggml_backend_buffer_usage usage) {
    const size_t first = from.size();
    for (ggml_tensor *t : tensors) {
        from.emplace_back(t, t->data);
        t->data = nullptr; // which is what ggml gives memory to
    }
    buffer b(ggml_backend_alloc_ctx_tensors_from_buft(model.tensors, buft));
    if (b == nullptr) {
        throw std::bad_alloc();
    }
    ggml_backend_buffer_set_usage(b.get(), usage);
    for (size_t i = 0; i < tensors.size(); i++) {
        const void *data = from[first + i].second;
        const size_t size = ggml_nbytes(tensors[i]);
        ggml_backend_tensor_set(tensors[i], data, 0, size);
        if (model.file_mapped && !is_table(model, data)) {
            give_back(data, size);
        }
    }
    return b;
}

// Moves each device's units there.
void fill(bge_model &model, const std::vector<unit> &units, const std::vector<int> &device, moves &to) {
    for (size_t d = 0; d < model.devices.size(); d++) {
        std::vector<ggml_tensor *> tensors;
        device_part &part = model.devices[d];
        for (size_t i = 0; i < units.size(); i++) {
            if (device[i] == int(d)) {
                tensors.insert(tensors.end(), units[i].tensors->begin(), units[i].tensors->end());
                part.bytes += units[i].bytes;
                part.n_layers++;
            }
        }
        if (!tensors.empty()) {
            part.weights =
                to.move(tensors, ggml_backend_dev_buffer_type(part.device), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        }
    }
}

// Moves to devices what `device` says. Whether it did: not where one has no room and the model may do without.
bool fill_or_not(bge_model &model, const std::vector<unit> &units, const std::vector<int> &device) {
    try {
        moves to(model);
        fill(model, units, device, to);
        to.keep();
        return true;
    } catch (const std::bad_alloc &) {
        for (device_part &part : model.devices) {
            part.weights.reset();
            part.bytes = part.n_layers = 0;
        }
        if (!model.devices_optional) {
            throw;
        }
        return false;
    }
}

// Puts the tables that stay the processor's into a buffer: a graph that is split between devices may want one
// elsewhere, and ggml copies between buffers only.
void move_tables(bge_model &model) {
    std::vector<ggml_tensor *> tables;
    for (ggml_tensor *t = ggml_get_first_tensor(model.tensors); t != nullptr;
         t = ggml_get_next_tensor(model.tensors, t)) {
        if (t->buffer == nullptr && is_table(model, t->data)) {
            tables.push_back(t);
        }
    }
    if (!tables.empty()) {
        moves to(model);
        model.host_tables = to.move(tables, ggml_backend_cpu_buffer_type(), GGML_BACKEND_BUFFER_USAGE_ANY);
        to.keep();
    }
    model.tables.clear();
}

} // namespace

void place(bge_model &model, const std::vector<tower_tensors> &towers, int32_t wanted) {
    for (const tower_tensors &t : towers) {
        model.n_layers += int32_t(t.size());
    }
    if (model.devices.empty()) {
        return;
    }
    if (wanted < -1) {
        fail(BGE_ERR_ARGUMENT, "%" PRId32 " layers on devices: want a number, or -1 for as many as fit", wanted);
    }
    std::vector<int64_t> room;
    for (const device_part &d : model.devices) {
        room.push_back(room_on(d.device));
    }
    std::vector<unit> units;
    for (const tower_tensors &t : towers) {
        for (size_t i = 0; i < t.size(); i++) {
            const int64_t bytes = bytes_of(t[i], ggml_backend_dev_buffer_type(model.devices[0].device));
            units.push_back({&t[i], bytes, int64_t(t.size() - i) <= wanted});
        }
    }
    if (fill_or_not(model, units, assign(units, room, wanted == -1))) {
        move_tables(model);
    }
}

} // namespace bge
