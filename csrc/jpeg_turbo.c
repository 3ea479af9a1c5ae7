//go:build bgevl_libjpeg && !bgevl_static

// libjpeg reports errors by a callback that must not return: it jumps back to the function that called libjpeg.
#include "jpeg_turbo.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#ifndef LIBJPEG_TURBO_VERSION
#error "want libjpeg-turbo: other libjpegs interpolate chroma differently"
#endif

// A progressive file may repeat scans without end, each costing a pass over the whole image. Encoders write about ten.
#define MAX_SCANS 500

typedef struct decoder {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    bge_error *err;
} decoder;

static int32_t fail(bge_error *err, int32_t code, const char *message) {
    if (err != NULL) {
        err->code = code;
        snprintf(err->message, sizeof err->message, "%s", message);
    }
    return code;
}

static void on_error(j_common_ptr common) {
    decoder *d = common->client_data;
    char message[JMSG_LENGTH_MAX];
    (*common->err->format_message)(common, message);
    fail(d->err, common->err->msg_code == JERR_OUT_OF_MEMORY ? BGE_ERR_MEMORY : BGE_ERR_ARGUMENT, message);
    longjmp(d->failed, 1);
}

// Warnings are counted by libjpeg and printed nowhere.
static void on_message(j_common_ptr common, int level) {
    if (level < 0) {
        common->err->num_warnings++;
    }
}

static void on_output(j_common_ptr common) {
    (void)common;
}

static void on_progress(j_common_ptr common) {
    decoder *d = common->client_data;
    if (d->cinfo.input_scan_number > MAX_SCANS) {
        fail(d->err, BGE_ERR_ARGUMENT, "the file has more than 500 scans");
        longjmp(d->failed, 1);
    }
}

static void source_none(j_decompress_ptr cinfo) {
    (void)cinfo;
}

// The whole file is in the buffer from the start, so that being asked for more means that it was cut short.
static boolean source_fill(j_decompress_ptr cinfo) {
    decoder *d = cinfo->client_data;
    fail(d->err, BGE_ERR_ARGUMENT, "the file is truncated");
    longjmp(d->failed, 1);
    return FALSE;
}

static void source_skip(j_decompress_ptr cinfo, long count) {
    if (count <= 0) {
        return;
    }
    if ((size_t)count > cinfo->src->bytes_in_buffer) {
        source_fill(cinfo);
    }
    cinfo->src->next_input_byte += count;
    cinfo->src->bytes_in_buffer -= (size_t)count;
}

// Sets up what can fail only by on_error; setjmp has been called.
static void start(decoder *d, const uint8_t *data, int64_t size) {
    jpeg_create_decompress(&d->cinfo);
    d->cinfo.client_data = d;
    d->source.next_input_byte = data;
    d->source.bytes_in_buffer = (size_t)size;
    d->source.init_source = source_none;
    d->source.fill_input_buffer = source_fill;
    d->source.skip_input_data = source_skip;
    d->source.resync_to_restart = jpeg_resync_to_restart;
    d->source.term_source = source_none;
    d->cinfo.src = &d->source;
    d->progress.progress_monitor = on_progress;
    d->cinfo.progress = &d->progress;
    jpeg_read_header(&d->cinfo, TRUE);
    switch (d->cinfo.num_components) {
    case 1:
        d->cinfo.out_color_space = JCS_GRAYSCALE;
        break;
    case 3:
        d->cinfo.out_color_space = JCS_RGB;
        break;
    case 4:
        d->cinfo.out_color_space = JCS_CMYK;
        break;
    default:
        fail(d->err, BGE_ERR_UNSUPPORTED, "the number of components is none of 1, 3 and 4");
        longjmp(d->failed, 1);
    }
}

// Clears d and hangs in the callbacks.
static void prepare(decoder *d, bge_error *err) {
    memset(d, 0, sizeof *d);
    d->err = err;
    d->cinfo.err = jpeg_std_error(&d->errors);
    d->cinfo.client_data = d;
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    d->errors.output_message = on_output;
}

// Reads the header. d is its caller's, so that nothing of this function changes between setjmp and the jump.
static int32_t header(decoder *d, const uint8_t *data, int64_t size, bge_jpeg_info *info) {
    if (setjmp(d->failed)) {
        return d->err->code;
    }
    start(d, data, size);
    info->width = (int32_t)d->cinfo.image_width;
    info->height = (int32_t)d->cinfo.image_height;
    info->channels = d->cinfo.num_components;
    return BGE_OK;
}

// Decodes, as header does.
static int32_t decode(decoder *d, const uint8_t *data, int64_t size, uint8_t *dst, int64_t dst_size) {
    if (setjmp(d->failed)) {
        return d->err->code;
    }
    start(d, data, size);
    int64_t stride = (int64_t)d->cinfo.image_width * d->cinfo.num_components;
    if (dst_size != stride * d->cinfo.image_height) {
        return fail(d->err, BGE_ERR_ARGUMENT, "the room for the pixels has another size than the image");
    }
    jpeg_start_decompress(&d->cinfo);
    while (d->cinfo.output_scanline < d->cinfo.output_height) {
        JSAMPROW row = dst + (int64_t)d->cinfo.output_scanline * stride;
        jpeg_read_scanlines(&d->cinfo, &row, 1);
    }
    jpeg_finish_decompress(&d->cinfo);
    return BGE_OK;
}

int32_t bge_jpeg_header(const uint8_t *data, int64_t size, bge_jpeg_info *info, bge_error *err) BGE_NOEXCEPT {
    if (data == NULL || size <= 0 || info == NULL) {
        return fail(err, BGE_ERR_ARGUMENT, "want the bytes of a file");
    }
    decoder d;
    bge_error local;
    prepare(&d, err != NULL ? err : &local);
    int32_t code = header(&d, data, size, info);
    jpeg_destroy_decompress(&d.cinfo);
    return code;
}

int32_t bge_jpeg_decode(const uint8_t *data, int64_t size, uint8_t *dst, int64_t dst_size,
                        bge_error *err) BGE_NOEXCEPT {
    if (data == NULL || size <= 0 || dst == NULL) {
        return fail(err, BGE_ERR_ARGUMENT, "want the bytes of a file and room for its pixels");
    }
    decoder d;
    bge_error local;
    prepare(&d, err != NULL ? err : &local);
    int32_t code = decode(&d, data, size, dst, dst_size);
    jpeg_destroy_decompress(&d.cinfo);
    return code;
}
