//go:build !bgevl_static

// The variants of jpeg.h, the choice among them, and what all of them share.
#include <stddef.h>

#include "cpu.h"
#include "jpeg_impl.h"

static const bge_jpeg *const variants[] = {
#if defined(__x86_64__)
    &bge_jpeg_avx2,
#endif
    &bge_jpeg_plain,
};

const bge_jpeg *bge_jpeg_at(int32_t i) {
    const unsigned have = bge_cpu_features();
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++)
        if ((have & variants[v]->needs) == variants[v]->needs && i-- == 0)
            return variants[v];
    return NULL;
}

const char *bge_jpeg_name(const bge_jpeg *j) {
    return j->name;
}

// What a transform makes of a block whose first coefficient alone isn't 0.
static void flat_block(int32_t dc, uint8_t *dst, int64_t stride) {
    const uint32_t sum = ((uint32_t)dc << BGE_DCT_PASS) + (1u << (BGE_DCT_PASS + 2));
    const uint8_t v = bge_clamp8(((int32_t)sum >> (BGE_DCT_PASS + 3)) + BGE_DCT_LEVEL);
    for (int y = 0; y < 8; y++)
        memset(dst + y * stride, v, 8);
}

void bge_jpeg_blocks(const bge_jpeg *j, int32_t *coeffs, uint8_t *kinds, int64_t n, uint8_t *dst, int64_t stride) {
    for (int64_t i = 0; i < n; i++) {
        int32_t *b = coeffs + 64 * i;
        if (kinds[i] == BGE_BLOCK_FLAT) {
            flat_block(b[0], dst + 8 * i, stride);
            b[0] = 0;
        } else if (kinds[i] == BGE_BLOCK_WHOLE) {
            j->block(b, dst + 8 * i, stride);
            memset(b, 0, 64 * sizeof *b);
        }
        kinds[i] = BGE_BLOCK_NONE;
    }
}

// The narrowest plane that libjpeg interpolates across.
enum { MIN_FANCY_WIDTH = 3 };

static int64_t row_bytes(const bge_jpeg_plane *p) {
    return (int64_t)p->width * p->h;
}

static int64_t widest(const bge_jpeg_join_args *a) {
    int64_t most = 0;
    for (int32_t i = 0; i < a->n_planes; i++)
        most = a->plane[i].width > most ? a->plane[i].width : most;
    return most;
}

// Scratch: the sums of a row, and a row of each plane.
int64_t bge_jpeg_scratch(const bge_jpeg_join_args *a) {
    int64_t bytes = widest(a) * (int64_t)sizeof(uint16_t);
    for (int32_t i = 0; i < a->n_planes; i++)
        bytes += row_bytes(&a->plane[i]);
    return bytes;
}

static const uint8_t *plane_row(const bge_jpeg_plane *p, int32_t y) {
    y = y < 0 ? 0 : y >= p->height ? p->height - 1 : y;
    return p->pix + y * p->stride;
}

// Row y of the image, of one plane: the plane's own or made in buf.
static const uint8_t *full_row(const bge_jpeg *j, const bge_jpeg_plane *p, int32_t y, uint8_t *buf, uint16_t *sums) {
    const uint8_t *in = plane_row(p, y / p->v);
    const uint8_t *far = plane_row(p, y / 2 - 1 + y % 2 * 2); // the second nearest row where v is 2
    if (p->h == 1 && p->v == 1)
        return in;
    if (p->h == 2 && p->v == 1 && p->width >= MIN_FANCY_WIDTH)
        j->h2v1(buf, in, p->width);
    else if (p->h == 2 && p->v == 2 && p->width >= MIN_FANCY_WIDTH)
        j->h2v2(buf, in, far, p->width, sums);
    else if (p->h == 1 && p->v == 2)
        j->h1v2(buf, in, far, p->width, 1 + y % 2);
    else
        for (int32_t i = 0; i < p->width; i++)
            memset(buf + (int64_t)i * p->h, in[i], (size_t)p->h);
    return buf;
}

// Inks are the complement of the colours.
static void cmyk(uint8_t *out, const uint8_t *const row[BGE_JPEG_PLANES], int32_t n) {
    for (int32_t i = 0; i < n; i++, out += 4) {
        bge_ycc_pixel(out, row[0][i], row[1][i], row[2][i]);
        for (int c = 0; c < 3; c++)
            out[c] = (uint8_t)(255 - out[c]);
        out[3] = row[3][i];
    }
}

static void interleave(uint8_t *out, const uint8_t *const row[BGE_JPEG_PLANES], int32_t planes, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        for (int32_t p = 0; p < planes; p++)
            *out++ = row[p][i];
}

void bge_jpeg_join(const bge_jpeg *j, const bge_jpeg_join_args *a, void *scratch) {
    uint16_t *sums = scratch;
    uint8_t *rows = (uint8_t *)(sums + widest(a));
    for (int32_t y = 0; y < a->height; y++) {
        const uint8_t *row[BGE_JPEG_PLANES] = {NULL};
        uint8_t *buf = rows;
        for (int32_t i = 0; i < a->n_planes; i++) {
            row[i] = full_row(j, &a->plane[i], y, buf, sums);
            buf += row_bytes(&a->plane[i]);
        }
        uint8_t *out = a->dst + (int64_t)y * a->width * a->n_planes;
        if (a->n_planes == 1)
            memcpy(out, row[0], (size_t)a->width);
        else if (a->n_planes == 3 && a->ycc)
            j->rgb(out, row[0], row[1], row[2], a->width);
        else if (a->n_planes == 4 && a->ycc)
            cmyk(out, row, a->width);
        else
            interleave(out, row, a->n_planes, a->width);
    }
}
