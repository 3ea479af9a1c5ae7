// Making a model from a list of tensors: every weight is looked up by name, its shape compared, and anything small
// expanded to f32. Repacking is left to the first use of a tower.
#include "model.hpp"

#include <algorithm>
#include <cinttypes>
#include <system_error>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace bge {
namespace {

constexpr size_t cache_line = 64;

std::string shape_text(const int64_t *ne, size_t n) {
    std::string s;
    for (size_t i = n; i-- > 0;) {
        s += std::to_string(ne[i]);
        s += i > 0 ? "x" : "";
    }
    return s;
}

// Looks tensors up by name for a model that is being made.
class loader {
  public:
    loader(bge_model &model, const bge_tensor *tensors, int64_t n) : model(model) {
        for (int64_t i = 0; i < n; i++) {
            if (tensors[i].name == nullptr || tensors[i].data == nullptr) {
                fail(BGE_ERR_ARGUMENT, "tensor %" PRId64 " has no name or no data", i);
            }
            by_name[tensors[i].name] = &tensors[i];
        }
        // Twice: a table expanded to f32 has a header of its own, and the class embedding joins one.
        const ggml_init_params params{ggml_tensor_overhead() * (2 * size_t(n) + 8), nullptr, true};
        model.tensors = ggml_init(params);
        if (model.tensors == nullptr) {
            throw std::bad_alloc();
        }
    }

    // A weight of the shape given, used where it stands.
    ggml_tensor *matrix(const std::string &name, std::initializer_list<int64_t> shape) {
        const bge_tensor &t = find(name, shape);
        return header(name, ggml_type(t.type), shape, const_cast<void *>(t.data));
    }

    // A small weight, expanded to f32.
    ggml_tensor *table(const std::string &name, std::initializer_list<int64_t> shape) {
        const bge_tensor &t = find(name, shape);
        int64_t n = 1;
        for (const int64_t d : shape) {
            n *= d;
        }
        std::vector<float> &values = model.tables.emplace_back(size_t(n));
        if (t.type == GGML_TYPE_F32) {
            std::memcpy(values.data(), t.data, values.size() * sizeof(float));
        } else {
            ggml_get_type_traits(ggml_type(t.type))->to_float(t.data, values.data(), n);
        }
        return header(name, GGML_TYPE_F32, shape, values.data());
    }

    norm_weight norm(const std::string &name, int64_t n) {
        return {table(name + ".weight", {n}), table(name + ".bias", {n})};
    }

    linear_weight linear(const std::string &name, int64_t n_in, int64_t n_out, bool bias) {
        linear_weight l;
        l.w = matrix(name + ".weight", {n_in, n_out});
        l.bias = bias ? table(name + ".bias", {n_out}) : nullptr;
        return l;
    }

    // A convolution over patches is a linear layer over the pixels of a patch.
    linear_weight patches(const std::string &name, int64_t patch, int64_t n_out) {
        const bge_tensor &t = find(name + ".weight", {patch, patch, 3, n_out});
        const int64_t n_in = patch * patch * 3;
        if (ggml_blck_size(ggml_type(t.type)) > 1) {
            fail(BGE_ERR_ARGUMENT, "tensor %s.weight: its type is quantised; convert it as f16 or f32", name.c_str());
        }
        linear_weight l;
        l.w = header(name + ".weight", ggml_type(t.type), {n_in, n_out}, const_cast<void *>(t.data));
        return l;
    }

  private:
    bge_model &model;
    std::unordered_map<std::string, const bge_tensor *> by_name;

    const bge_tensor &find(const std::string &name, std::initializer_list<int64_t> shape) {
        const auto at = by_name.find(name);
        if (at == by_name.end()) {
            fail(BGE_ERR_ARGUMENT, "tensor %s is missing", name.c_str());
        }
        const bge_tensor &t = *at->second;
        check_type(t);
        int64_t want[GGML_MAX_DIMS] = {1, 1, 1, 1};
        std::copy(shape.begin(), shape.end(), want);
        if (!std::equal(want, want + GGML_MAX_DIMS, t.ne)) {
            fail(BGE_ERR_ARGUMENT, "tensor %s: want %s, got %s", name.c_str(), shape_text(want, shape.size()).c_str(),
                 shape_text(t.ne, GGML_MAX_DIMS).c_str());
        }
        const uint64_t size = ggml_row_size(ggml_type(t.type), t.ne[0]) * uint64_t(t.ne[1] * t.ne[2] * t.ne[3]);
        if (t.size != size) {
            fail(BGE_ERR_ARGUMENT, "tensor %s: want %" PRIu64 " bytes, got %" PRIu64, name.c_str(), size, t.size);
        }
        return t;
    }

    static void check_type(const bge_tensor &t) {
        const bool known = t.type >= 0 && t.type < GGML_TYPE_COUNT && ggml_blck_size(ggml_type(t.type)) > 0 &&
                           (t.type == GGML_TYPE_F32 || ggml_get_type_traits(ggml_type(t.type))->to_float != nullptr);
        if (!known) {
            fail(BGE_ERR_ARGUMENT, "tensor %s: type %d holds no weights that can be computed with", t.name, t.type);
        }
        if (t.ne[0] % ggml_blck_size(ggml_type(t.type)) != 0) {
            fail(BGE_ERR_ARGUMENT, "tensor %s: rows of %" PRId64 " are no multiple of the block of type %s", t.name,
                 t.ne[0], ggml_type_name(ggml_type(t.type)));
        }
    }

    ggml_tensor *header(const std::string &name, ggml_type type, std::initializer_list<int64_t> shape, void *data) {
        ggml_tensor *t = ggml_new_tensor(model.tensors, type, int(shape.size()), shape.begin());
        t->data = data;
        ggml_set_name(t, name.c_str());
        return t;
    }
};

void check_tower(const bge_tower &t, const char *name) {
    constexpr int32_t most = 1 << 20; // no transformer's width or depth comes near, and products stay far from int64's
    const auto in_range = [](int32_t v) { return v > 0 && v <= most; };
    if (!in_range(t.n_layer) || !in_range(t.n_embd) || !in_range(t.n_ff) || !in_range(t.n_head) ||
        t.n_embd % t.n_head != 0) {
        fail(BGE_ERR_ARGUMENT, "%s tower: %d layers of width %d, %d heads, feed-forward %d make no transformer", name,
             t.n_layer, t.n_embd, t.n_head, t.n_ff);
    }
    if (!(t.eps > 0 && t.eps < 1)) {
        fail(BGE_ERR_ARGUMENT, "%s tower: layer norm epsilon %g is not between 0 and 1", name, double(t.eps));
    }
}

void load_tower(loader &load, encoder &e, const bge_tower &p, const std::string &prefix, const std::string &projection,
                int64_t n_proj) {
    e.p = p;
    e.layers.resize(size_t(p.n_layer));
    for (size_t i = 0; i < e.layers.size(); i++) {
        const std::string at = prefix + ".blk." + std::to_string(i) + ".";
        encoder_layer &l = e.layers[i];
        l.ln1 = load.norm(at + "ln1", p.n_embd);
        l.ln2 = load.norm(at + "ln2", p.n_embd);
        l.q = load.linear(at + "attn_q", p.n_embd, p.n_embd, true);
        l.k = load.linear(at + "attn_k", p.n_embd, p.n_embd, true);
        l.v = load.linear(at + "attn_v", p.n_embd, p.n_embd, true);
        l.out = load.linear(at + "attn_out", p.n_embd, p.n_embd, true);
        l.up = load.linear(at + "ffn_up", p.n_embd, p.n_ff, true);
        l.down = load.linear(at + "ffn_down", p.n_ff, p.n_embd, true);
    }
    e.post = load.norm(prefix + ".post_ln", p.n_embd);
    e.projection = load.linear(projection, p.n_embd, n_proj, false);
}

void load_clip(bge_model &model, const bge_clip_params &p, loader &load) {
    clip_model &c = model.clip;
    c.image_size = p.image_size;
    c.patch_size = p.patch_size;
    c.n_proj = p.n_proj;
    load_tower(load, c.text, p.text, "t", "text_projection", p.n_proj);
    load_tower(load, c.vision, p.vision, "v", "visual_projection", p.n_proj);
    c.token_embd = load.matrix("t.token_embd.weight", {p.text.n_embd, p.n_vocab});
    c.text_pos = load.table("t.position_embd.weight", {p.text.n_embd, p.n_ctx});
    c.vision.patch = load.patches("v.patch_embd", p.patch_size, p.vision.n_embd);
    c.pre = load.norm("v.pre_ln", p.vision.n_embd);
    c.vision_pos = load.table("v.position_embd.weight", {p.vision.n_embd, 1 + c.n_patch()});
    // The class token's patch is all zeros, so its embedding can sit in the table that is added to every patch.
    const ggml_tensor *cls = load.table("v.class_embd", {p.vision.n_embd});
    for (int64_t i = 0; i < p.vision.n_embd; i++) {
        static_cast<float *>(c.vision_pos->data)[i] += static_cast<const float *>(cls->data)[i];
    }
}

void check_clip(const bge_clip_params &p) {
    check_tower(p.text, "text");
    check_tower(p.vision, "vision");
    if (p.n_vocab <= 0 || p.n_ctx <= 0 || p.n_proj <= 0) {
        fail(BGE_ERR_ARGUMENT, "vocabulary of %d, %d positions and projection to %d: each must be at least 1",
             p.n_vocab, p.n_ctx, p.n_proj);
    }
    constexpr int32_t largest = 16384;
    if (p.patch_size <= 0 || p.image_size <= 0 || p.image_size > largest || p.image_size % p.patch_size != 0) {
        fail(BGE_ERR_ARGUMENT, "images of %d pixels a side are no whole number of patches of %d", p.image_size,
             p.patch_size);
    }
}

const bge_kernels *choose_kernels(const char *name) {
    const char *asked = name != nullptr && *name != '\0' ? name : std::getenv("BGEVL_CPU");
    if (asked != nullptr && std::strcmp(asked, "ggml") == 0) {
        return nullptr;
    }
    bge_kernels_status status = BGE_KERNELS_OK;
    const bge_kernels *k = bge_kernels_select(name, &status);
    if (k == nullptr) {
        const bool unknown = status == BGE_KERNELS_UNKNOWN;
        fail(BGE_ERR_UNSUPPORTED, "kernels %s (BGEVL_CPU): %s", asked != nullptr ? asked : "",
             unknown ? "no instruction set of that name is known" : "this processor or build cannot run them");
    }
    return k;
}

// Tells the system that the pages of a mapped weight are not needed any more.
void give_back(const ggml_tensor *t) {
#if defined(__unix__) || defined(__APPLE__)
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (uintptr_t(t->data) + page - 1) / page * page;
    const uintptr_t end = (uintptr_t(t->data) + ggml_nbytes(t)) / page * page;
    if (begin < end) {
        madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED); // advice: a refusal changes nothing
    }
#else
    (void)t;
#endif
}

void pack(bge_model &model, linear_weight &l) {
    if (l.packed != nullptr) {
        return; // by an earlier call that ran out of memory further on
    }
    const ggml_type type = l.w->type;
    const int64_t size = bge_linear_pack_size(model.kernels, type, l.n_in(), l.n_out());
    if (size <= 0) {
        return;
    }
    const size_t rounded = (size_t(size) + cache_line - 1) / cache_line * cache_line;
    l.packed.reset(std::aligned_alloc(cache_line, rounded));
    if (l.packed == nullptr) {
        throw std::bad_alloc();
    }
    bge_linear_pack(model.kernels, type, type, l.n_in(), l.n_out(), l.w->data, l.packed.get(), 0, 1);
    model.packed_bytes += int64_t(rounded);
    if (model.file_mapped) {
        give_back(l.w);
    }
}

std::vector<linear_weight *> linear_weights(encoder &e) {
    std::vector<linear_weight *> all;
    for (encoder_layer &l : e.layers) {
        all.insert(all.end(), {&l.q, &l.k, &l.v, &l.out, &l.up, &l.down});
    }
    if (e.patch.w != nullptr) {
        all.push_back(&e.patch);
    }
    all.push_back(&e.projection);
    return all;
}

} // namespace

void make_ready(bge_model &model, encoder &tower, int n_threads) {
    if (model.kernels == nullptr || tower.ready.load(std::memory_order_acquire)) {
        return;
    }
    const std::lock_guard<std::mutex> hold(tower.packing);
    if (tower.ready.load(std::memory_order_relaxed)) {
        return;
    }
    const std::vector<linear_weight *> weights = linear_weights(tower);
    std::atomic<size_t> next{0};
    std::atomic<bool> out_of_memory{false};
    const auto work = [&] {
        for (size_t i; !out_of_memory && (i = next++) < weights.size();) {
            try {
                pack(model, *weights[i]);
            } catch (const std::bad_alloc &) {
                out_of_memory = true;
            }
        }
    };
    std::vector<std::thread> threads;
    try {
        for (int i = 1; i < n_threads; i++) {
            threads.emplace_back(work);
        }
    } catch (const std::system_error &) {
        // No more threads to be had: those there are do the work.
    }
    work();
    for (std::thread &t : threads) {
        t.join();
    }
    if (out_of_memory) {
        throw std::bad_alloc();
    }
    tower.ready.store(true, std::memory_order_release);
}

void retain(bge_model *model) {
    model->refs.fetch_add(1, std::memory_order_relaxed);
}

void release(bge_model *model) {
    if (model != nullptr && model->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete model;
    }
}

} // namespace bge

int32_t bge_clip_new(const bge_clip_params *params, const bge_tensor *tensors, int64_t n_tensors, bge_model **out,
                     bge_error *err) noexcept {
    return bge::guarded(err, [&] {
        if (params == nullptr || out == nullptr || tensors == nullptr || n_tensors <= 0 ||
            params->struct_size != sizeof(bge_clip_params)) {
            bge::fail(BGE_ERR_ARGUMENT, "bge_clip_new: params, tensors and out are needed, of this version of bge.h");
        }
        bge::check_clip(*params);
        auto model = std::make_unique<bge_model>();
        model->kernels = bge::choose_kernels(params->kernels);
        model->file_mapped = params->file_mapped != 0;
        bge::loader load(*model, tensors, n_tensors);
        bge::load_clip(*model, *params, load);
        *out = model.release();
    });
}

void bge_model_free(bge_model *model) noexcept {
    bge::release(model);
}

int64_t bge_model_bytes(const bge_model *model) noexcept {
    int64_t n = model->packed_bytes.load();
    for (const std::vector<float> &t : model->tables) {
        n += int64_t(t.size() * sizeof(float));
    }
    return n;
}

const char *bge_model_kernels(const bge_model *model) noexcept {
    return model->kernels == nullptr ? "ggml" : model->kernels->name;
}

const char *bge_cpu_kernels(void) noexcept {
    try {
        const bge_kernels *k = bge::choose_kernels(nullptr);
        return k == nullptr ? "ggml" : k->name;
    } catch (const bge::failure &) {
        return nullptr;
    }
}
