//go:build !bgevl_static

// The fast linear layer: cache blocks and work sharing around the small products of an instruction set. Build: see
// kernels.h.
//
// W is cut into panels (16 or 32 rows of W, columns of y) and x into blocks of rows. A unit of work is one panel for
// one block; a thread takes many neighbouring units at once while there is much left and few towards the end, so that
// slices of x are fetched seldom and threads still finish together. Within what it took, a thread goes
//
//     for each group of panels:            sums of the group stay in the second cache
//       for each slice of the sums:        this slice of x, which lies in one piece: second cache
//         for each panel of the group:     this slice of the panel is widened or expanded: first cache
//           for each tile of rows:         the product in registers
//
// and a tile whose last slice is done gets its bias, activation and residual while it is still in the first cache.
#include "kernels_simd.h"

enum {
    BLOCK_ROWS = 144, // rows of x in one go: a slice of them takes 288 KiB of the second cache at most
    CODE_ROWS = 192,  // the same where x is codes, of a quarter or half the size
    SUMS = 24 * 1024, // floats of a group's sums: 96 KiB
    PLAIN_TILES = 4,  // up to as many tiles of rows floats are read where they stand
    ALIGN = 64,
};

// What all threads agree on.
typedef struct plan {
    const bge_linear_args *a;
    const bge_kernels *k;
    const bge_simd *simd;
    int64_t slice;  // terms of a sum in one go
    int64_t block;  // rows of a block
    int64_t blocks; // of rows
    int64_t panels; // of all parts
} plan;

// One thread's buffers, in the order of the scratch memory.
typedef struct buffers {
    uint16_t *x;   // [mr][n_in] of bf16, for few rows
    float *rows;   // [panel][slice], weights as they stand in the file, expanded
    float *w;      // [slice][panel], weights as the product reads them
    float *sums;   // [panels of a group][block][panel]
    float *scales; // of codes: d and m as [blocks][panel]
} buffers;

// A run of panels of one part for one block of rows.
typedef struct segment {
    const bge_linear_part *part;
    int64_t row, rows;
    int64_t panel, panels;
    int32_t kind;        // BGE_B_* that the product reads
    int32_t expand;      // 1: w goes through buffers.w
    bge_code_type codes; // of its type, where kind is one of codes
} segment;

static int reads_codes(const segment *s) {
    return s->kind >= BGE_B_U4;
}

static int64_t tiles_of(int64_t rows, int64_t mr) {
    return bge_ceil_div(rows, mr);
}

static int dot(const bge_simd *simd, const bge_linear_args *a, const bge_linear_part *part) {
    return a->allow_bf16 && part->packed && part->type == BGE_TYPE_BF16 && simd->gemm[BGE_B_DOT];
}

int32_t bge_linear_reads(const bge_kernels *k, const bge_linear_args *a, int32_t i) {
    const bge_simd *simd = k->simd;
    const bge_linear_part *part = &a->part[i];
    if (!simd)
        return BGE_X_PLAIN;
    if (part->packed && bge_block_of(part->type).values)
        return bge_x_of(simd->code_type[part->type].b);
    const int64_t tiles = tiles_of(a->m, simd->mr);
    if (dot(simd, a, part))
        return tiles > 1 ? BGE_X_BF16 : BGE_X_PLAIN;
    return tiles > PLAIN_TILES ? BGE_X_FLOAT : BGE_X_PLAIN;
}

static plan make_plan(const bge_kernels *k, const bge_linear_args *a) {
    plan p = {.a = a, .k = k, .simd = k->simd};
    p.slice = bge_encoded_slice(k, a->n_in);
    const int codes = a->encoded[BGE_X_INT8] || a->encoded[BGE_X_INT16] || a->encoded[BGE_X_INT8_VNNI];
    p.blocks = bge_ceil_div(a->m, codes ? CODE_ROWS : BLOCK_ROWS);
    p.block = bge_round_up(bge_ceil_div(a->m, p.blocks), p.simd->mr);
    for (int32_t i = 0; i < a->n_parts; i++)
        p.panels += bge_ceil_div(a->part[i].n_out, p.simd->panel);
    return p;
}

static int64_t group_of(const plan *p) {
    return SUMS / (p->block * p->simd->panel); // at least 1: CODE_ROWS * BGE_MAX_PANEL <= SUMS
}

// Lays the buffers out from `base` on and returns the bytes they take.
static int64_t lay_out(const bge_kernels *k, const bge_linear_args *a, char *base, buffers *b) {
    const bge_simd *simd = k->simd;
    const plan p = make_plan(k, a);
    const int64_t f = sizeof(float);
    const int64_t x = simd->gemm[BGE_B_DOT] ? bge_round_up(simd->mr * (a->n_in + 1) * 2, ALIGN) : 0;
    const int64_t w = bge_round_up(simd->panel * p.slice * f, ALIGN);
    base += (ALIGN - (uintptr_t)base % ALIGN) % ALIGN;
    *b = (buffers){(uint16_t *)base, (float *)(base + x), (float *)(base + x + w), (float *)(base + x + 3 * w),
                   (float *)(base + x + 2 * w)};
    return ALIGN + x + 3 * w + SUMS * f;
}

int64_t bge_simd_linear_scratch(const bge_kernels *k, const bge_linear_args *a) {
    char none[1];
    buffers unused;
    return a->m > 0 ? lay_out(k, a, none, &unused) : 0;
}

// The terms from l on of a packed panel.
static const char *packed_at(const plan *p, const bge_linear_part *part, int64_t panel, int64_t l) {
    return (const char *)part->w + panel * bge_panel_bytes(p->k, part->type, p->a->n_in) +
           bge_panel_bytes(p->k, part->type, l);
}

// The n terms from l on of one panel's weights as codes, and their scales behind b->scales.
static void expand(const plan *p, const segment *s, const buffers *b, int64_t panel, int64_t l, int64_t n,
                   bge_tile *t) {
    float *d = b->scales, *m = d + p->simd->panel * (n / s->codes.block);
    p->simd->expand_panel(s->part->type, packed_at(p, s->part, panel, l), n, b->w, d, m);
    t->b = b->w;
    t->b_scale = d;
    t->b_min = m;
}

// This block's rows of x from term l on, as the product reads them.
static void activations(const plan *p, const segment *s, int64_t l, int64_t n, bge_tile *t) {
    const bge_linear_args *a = p->a;
    const int32_t as = bge_x_of(s->kind);
    if (!a->encoded[as]) { // few rows of floats
        t->a = a->x + s->row * a->x_stride + l;
        t->a_row = a->x_stride;
        return;
    }
    const int64_t bytes = bge_encoded_bytes(as, n);
    const char *row = (const char *)a->encoded[as] + a->m * bge_encoded_bytes(as, l) + s->row * bytes;
    t->a = row;
    t->a_row = as == BGE_X_FLOAT ? n : as == BGE_X_BF16 ? bge_round_up(n, 2) : bytes;
    if (reads_codes(s)) {
        const bge_code_floats f = bge_floats_of_codes(row, as, n);
        t->a_scale = f.scale;
        t->a_sum = s->codes.block == 32 ? f.sum32 : f.sum16;
    }
}

// The n terms from l on of one panel's weights, as the product reads them.
static const void *weights(const plan *p, const segment *s, const buffers *b, int64_t panel, int64_t l, int64_t n) {
    const bge_linear_part *part = s->part;
    const int64_t width = p->simd->panel, n_in = p->a->n_in;
    if (part->packed) {
        const char *w = packed_at(p, part, panel, l);
        if (!s->expand)
            return w;
        if (part->type == BGE_TYPE_F16)
            p->simd->widen((const uint16_t *)w, n * width, b->w);
        else
            p->simd->widen_pairs((const uint16_t *)w, bge_round_up(n, 2), b->w);
        return b->w;
    }
    const int64_t first = panel * width, rows = bge_min(width, part->n_out - first);
    const int plain = part->type == BGE_TYPE_F32 || part->type == BGE_TYPE_F16 || part->type == BGE_TYPE_BF16;
    const int64_t before = plain ? l * bge_type_size(part->type) : part->row_bytes * l / n_in; // bytes
    for (int64_t r = 0; r < rows; r++) {
        const char *row = (const char *)part->w + (first + r) * part->row_bytes;
        bge_row_to_float(part, row + before, b->rows + r * n, n);
    }
    bge_transpose_floats(b->rows, rows, n, b->w, width);
    return b->w;
}

static void finish(const plan *p, const segment *s, int64_t panel, int64_t row, int64_t rows, const float *c) {
    const bge_linear_part *part = s->part;
    const int64_t width = p->simd->panel, col = panel * width;
    row += s->row;
    const bge_finish f = {
        .rows = rows,
        .cols = bge_min(width, part->n_out - col),
        .c = c,
        .bias = part->bias ? part->bias + col : NULL,
        .residual = part->residual ? part->residual + row * part->residual_stride + col : NULL,
        .residual_stride = part->residual_stride,
        .y = part->y + row * part->y_stride + col,
        .y_stride = part->y_stride,
        .act = part->act,
    };
    p->simd->finish(&f);
}

// n terms of one row of x as a product reads them.
static void encode_slice(const bge_simd *simd, int32_t as, const float *x, int64_t n, void *to) {
    switch (as) {
    case BGE_X_FLOAT:
        memcpy(to, x, (size_t)n * sizeof(float));
        break;
    case BGE_X_BF16:
        simd->to_bf16(x, n, to);
        if (n % 2)
            ((uint16_t *)to)[n] = 0;
        break;
    default:
        simd->encode_row[as](x, n, to);
    }
}

// Few rows: each panel is read once, from its first to its last term, several panels side by side.
static void stream(const plan *p, const segment *s, const buffers *b) {
    const bge_gemms *gemms = p->simd->gemm[s->kind];
    const int64_t width = p->simd->panel, n_in = p->a->n_in;
    bge_tile t = {.n = n_in, .a_col = 1, .b_step = width};
    t.b_panel = bge_panel_bytes(p->k, s->part->type, n_in);
    t.a = p->a->x + s->row * p->a->x_stride;
    t.a_row = p->a->x_stride;
    if (s->kind == BGE_B_DOT) {
        t.n = t.a_row = bge_round_up(n_in, 2);
        for (int64_t i = 0; i < s->rows; i++)
            encode_slice(p->simd, BGE_X_BF16, (const float *)t.a + i * p->a->x_stride, n_in, b->x + i * t.a_row);
        t.a = b->x;
    }
    t.c = b->sums;
    t.c_row = width;
    t.c_panel = s->rows * width;
    const int64_t wide = gemms->wide[s->rows] ? gemms->wide_panels[s->rows] : 1;
    for (int64_t i = 0; i < s->panels;) {
        const int64_t step = i + wide <= s->panels ? wide : 1;
        t.b = weights(p, s, b, s->panel + i, 0, n_in);
        (step > 1 ? gemms->wide : gemms->one)[s->rows](&t);
        for (int64_t j = 0; j < step; j++)
            finish(p, s, s->panel + i + j, 0, s->rows, t.c + j * t.c_panel);
        i += step;
    }
}

static int64_t tile_rows(const plan *p, const segment *s) {
    return reads_codes(s) ? p->simd->code_mr : p->simd->mr;
}

// What a product will read next, fetched a little with each tile of rows: a panel's slices lie so far apart that the
// processor does not foresee them.
typedef struct ahead {
    const char *at, *end;
    int64_t step;
} ahead;

// What follows panel i of a segment in the slice of n terms from l on.
static ahead look_ahead(const plan *p, const segment *s, int64_t i, int64_t l, int64_t n) {
    if (++i == s->panels) {
        i = 0;
        l += n;
    }
    n = bge_min(p->slice, p->a->n_in - l);
    if (!s->part->packed || n <= 0)
        return (ahead){NULL, NULL, 0};
    const char *at = packed_at(p, s->part, s->panel + i, l);
    const int64_t bytes = bge_panel_bytes(p->k, s->part->type, n);
    return (ahead){at, at + bytes, bge_round_up(bge_ceil_div(bytes, tiles_of(s->rows, tile_rows(p, s))), ALIGN)};
}

static void fetch(ahead *next) {
    const char *end = next->at + bge_min(next->step, next->end - next->at);
    for (; next->at < end; next->at += ALIGN)
        __builtin_prefetch(next->at, 0, 2);
}

// One panel times all rows, for the terms l .. l+n-1.
static void panel_rows(const plan *p, const segment *s, bge_tile t, int64_t panel, int last, ahead next) {
    const bge_gemm *gemm = p->simd->gemm[s->kind]->one;
    const int codes = reads_codes(s);
    const int64_t row_bytes = t.a_row * (codes ? 1 : s->kind == BGE_B_DOT ? 2 : 4);
    for (int64_t i = 0, rows; i < s->rows; i += rows) {
        rows = bge_min(tile_rows(p, s), s->rows - i);
        while (!gemm[rows])
            rows--;
        const int64_t step = rows * row_bytes;
        fetch(&next);
        gemm[rows](&t);
        if (last)
            finish(p, s, panel, i, rows, t.c);
        t.a = (const char *)t.a + step;
        if (codes) {
            t.a_scale = (const float *)(const void *)((const char *)t.a_scale + step);
            t.a_sum = (const float *)(const void *)((const char *)t.a_sum + step);
        }
        t.c += rows * t.c_row;
    }
}

static void blocked(const plan *p, const segment *s, const buffers *b) {
    const int64_t width = p->simd->panel, n_in = p->a->n_in;
    for (int64_t l = 0; l < n_in; l += p->slice) {
        const int64_t n = bge_min(p->slice, n_in - l);
        bge_tile t = {.n = n, .a_col = 1, .b_step = width, .c_row = width, .add = l > 0};
        activations(p, s, l, n, &t);
        if (s->kind == BGE_B_DOT)
            t.n = bge_round_up(n, 2);
        for (int64_t i = 0; i < s->panels; i++) {
            if (reads_codes(s))
                expand(p, s, b, s->panel + i, l, n, &t);
            else
                t.b = weights(p, s, b, s->panel + i, l, n);
            t.c = b->sums + i * s->rows * width;
            panel_rows(p, s, t, s->panel + i, l + n == n_in, look_ahead(p, s, i, l, n));
        }
    }
}

// Decides how a segment's weights are read.
static void choose(const plan *p, segment *s) {
    const bge_linear_part *part = s->part;
    const int half = part->packed && (part->type == BGE_TYPE_F16 || part->type == BGE_TYPE_BF16);
    const int64_t tiles = tiles_of(s->rows, p->simd->mr);
    s->expand = !part->packed || (half && tiles > p->simd->widen_tiles[part->type == BGE_TYPE_BF16]);
    s->kind = BGE_B_F32;
    if (half && !s->expand)
        s->kind = part->type == BGE_TYPE_F16 ? BGE_B_F16 : BGE_B_BF16;
    if (dot(p->simd, p->a, part)) {
        s->expand = 0;
        s->kind = BGE_B_DOT;
    }
    if (part->packed && bge_block_of(part->type).values) {
        s->codes = p->simd->code_type[part->type];
        s->kind = s->codes.b;
    }
}

static void run_segment(const plan *p, segment s, const buffers *b) {
    choose(p, &s);
    if (tiles_of(s.rows, p->simd->mr) == 1 && s.part->packed && !reads_codes(&s)) {
        stream(p, &s, b);
        return;
    }
    const int64_t group = group_of(p), end = s.panel + s.panels;
    for (; s.panel < end; s.panel += group) {
        s.panels = bge_min(group, end - s.panel);
        blocked(p, &s, b);
    }
}

// The units first .. first+n-1, cut where a block or a part ends.
static void run_units(const plan *p, const buffers *b, int64_t first, int64_t n) {
    while (n > 0) {
        int64_t panel = first % p->panels, row = first / p->panels * p->block;
        const bge_linear_part *part = p->a->part;
        for (; panel >= bge_ceil_div(part->n_out, p->simd->panel); part++)
            panel -= bge_ceil_div(part->n_out, p->simd->panel);
        segment s = {.part = part, .row = row, .rows = bge_min(p->block, p->a->m - row), .panel = panel};
        s.panels = bge_min(n, bge_ceil_div(part->n_out, p->simd->panel) - panel);
        run_segment(p, s, b);
        first += s.panels;
        n -= s.panels;
    }
}

void bge_simd_linear(const bge_kernels *k, bge_linear_args *a, void *scratch, int32_t ith, int32_t nth) {
    (void)ith;
    if (a->m > 0) {
        const plan p = make_plan(k, a);
        const int64_t least = tiles_of(a->m, p.simd->mr) == 1 ? 4 : 1; // the widest product is of 4 panels
        buffers b;
        lay_out(k, a, scratch, &b);
        int64_t first, n;
        while ((n = bge_work_take(&a->work, p.blocks * p.panels, least, INT64_MAX, nth, &first)) > 0)
            run_units(&p, &b, first, n);
    }
    bge_work_end(&a->work, nth);
}

void bge_simd_encode(const bge_kernels *k, const bge_encode_args *a, int32_t ith, int32_t nth) {
    const int64_t slice = bge_encoded_slice(k, a->n), first = a->m * ith / nth, end = a->m * (ith + 1) / nth;
    for (int64_t l = 0; l < a->n; l += slice) {
        const int64_t n = bge_min(slice, a->n - l), bytes = bge_encoded_bytes(a->as, n);
        char *to = (char *)a->to + a->m * bge_encoded_bytes(a->as, l);
        for (int64_t i = first; i < end; i++)
            encode_slice(k->simd, a->as, a->x + i * a->x_stride + l, n, to + i * bytes);
    }
}
