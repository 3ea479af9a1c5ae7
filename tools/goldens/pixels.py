"""Make the pictures of internal/pixels/testdata and their goldens, with Pillow 13 as the reference.

    python pixels.py make OUT                    write pictures and golden.json into OUT
    python pixels.py hash DIRECTORY OUT.json     golden.json for the pictures of a directory

golden.json holds one entry a file: what Pillow says of it (mode, size), SHA-256 sums of the decoded bytes, of
convert("RGB"), and of copies resized to each of SIZES by each filter; or "error" where Pillow refuses the file. "clip" is the sum of the float32 pixels
of transformers' CLIPImageProcessor with its defaults. The tests need neither Python nor this script. cjpeg (of
libjpeg-turbo) makes the JPEG files with samplings that Pillow cannot write.
"""
import hashlib
import io
import json
import pathlib
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
from PIL import Image

W, H = 37, 29
SIZES = [(16, 16), (50, 23), (37, 12), (20, 60)]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def raw(im):
    """The bytes that package pixels keeps for an image of this mode."""
    a = np.array(im)
    if im.mode == "1":
        a = a.astype(np.uint8) * 255
    if im.mode == "I;16":
        a = a.astype("<u2")
    return a.tobytes()


def clip(im):
    from transformers import CLIPImageProcessor
    a = CLIPImageProcessor()(images=im.convert("RGB"), return_tensors="np", input_data_format="channels_last")
    return sha(np.ascontiguousarray(a["pixel_values"][0], dtype="<f4").tobytes())


def golden(path, sizes=SIZES, with_clip=False):
    try:
        im = Image.open(path)
        im.load()
    except Exception:
        return {"error": True}
    resized = hashlib.sha256()
    for w, h in sizes:
        for f in range(6):
            resized.update(raw(im.resize((w, h), f)))
    g = {"mode": im.mode, "width": im.width, "height": im.height, "raw": sha(raw(im)),
         "rgb": sha(raw(im.convert("RGB"))), "resized": resized.hexdigest()}
    if with_clip:
        g["clip"] = clip(im)
    return g


def scene(w=W, h=H):
    """A picture with edges, ramps and noise."""
    y, x = np.mgrid[0:h, 0:w]
    rng = np.random.RandomState(7)
    a = np.stack([x * 255 // max(1, w - 1), y * 255 // max(1, h - 1), (x * 7 + y * 13) % 256], -1).astype(np.uint8)
    a[h // 4:h // 2, w // 4:w // 2] = (250, 20, 30)
    a[h // 2:, w // 2:] = rng.randint(0, 256, (h - h // 2, w - w // 2, 3))
    return Image.fromarray(a)


def alpha(w=W, h=H):
    y, x = np.mgrid[0:h, 0:w]
    return Image.fromarray(((x * 9 + y * 5) % 256).astype(np.uint8))


# --- PNG, written chunk by chunk so that every depth and oddity can be had ---

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples, depth, colour, extra=b"", interlace=0, w=W, h=H):
    """samples: an array [h, w, channels] of integers below 2**depth."""
    def rows(a):
        out = b""
        for r in a:
            flat = r.reshape(-1)
            if depth == 16:
                line = flat.astype(">u2").tobytes()
            elif depth == 8:
                line = flat.astype(np.uint8).tobytes()
            else:
                bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(-1).astype(np.uint8)
                line = np.packbits(bits).tobytes()
            out += b"\0" + line
        return out
    if interlace:
        body = b""
        for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                               (0, 1, 1, 2)):
            part = samples[y0::dy, x0::dx]
            if part.size:
                body += rows(part)
    else:
        body = rows(samples)
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(body, 9))
            + chunk(b"IEND", b""))


def make_png(put):
    rng = np.random.RandomState(11)
    grey = np.asarray(scene().convert("L")).astype(int)[..., None]
    rgb = np.asarray(scene()).astype(int)
    al = np.asarray(alpha()).astype(int)[..., None]
    wide = lambda a: a * 256 + rng.randint(0, 256, a.shape)  # 16 bits whose low bytes matter
    for d in (1, 2, 4, 8):
        put(f"grey{d}.png", png(grey >> (8 - d), d, 0))
        put(f"grey{d}_trns.png", png(grey >> (8 - d), d, 0, chunk(b"tRNS", struct.pack(">H", 1))))
    put("grey16.png", png(wide(grey), 16, 0))
    put("grey16_low.png", png(grey * 3, 16, 0))
    put("grey16_trns.png", png(wide(grey), 16, 0, chunk(b"tRNS", struct.pack(">H", 500))))
    put("rgb8.png", png(rgb, 8, 2))
    put("rgb8_trns.png", png(rgb, 8, 2, chunk(b"tRNS", struct.pack(">HHH", 250, 20, 30))))
    put("rgb16.png", png(wide(rgb), 16, 2))
    put("rgb16_trns.png", png(wide(rgb), 16, 2, chunk(b"tRNS", struct.pack(">HHH", 250, 20, 30))))
    put("la8.png", png(np.concatenate([grey, al], -1), 8, 4))
    put("la16.png", png(wide(np.concatenate([grey, al], -1)), 16, 4))
    put("rgba8.png", png(np.concatenate([rgb, al], -1), 8, 6))
    put("rgba16.png", png(wide(np.concatenate([rgb, al], -1)), 16, 6))
    put("rgba8_interlaced.png", png(np.concatenate([rgb, al], -1), 8, 6, interlace=1))
    put("grey4_interlaced.png", png(grey >> 4, 4, 0, interlace=1))
    for d in (1, 2, 4, 8):
        n = 1 << d
        pal = rng.randint(0, 256, (n, 3)).astype(np.uint8).tobytes()
        put(f"palette{d}.png", png(grey >> (8 - d), d, 3, chunk(b"PLTE", pal)))
    pal = rng.randint(0, 256, (256, 3)).astype(np.uint8).tobytes()
    put("palette_trns.png", png(grey, 8, 3, chunk(b"PLTE", pal) + chunk(b"tRNS", bytes(range(0, 256, 2)))))
    put("palette_trns_one.png", png(grey, 8, 3, chunk(b"PLTE", pal) + chunk(b"tRNS", b"\xff\xff\0")))
    put("palette_short.png", png(grey % 100, 8, 3, chunk(b"PLTE", pal[:300])))
    put("palette_over.png", png(grey, 8, 3, chunk(b"PLTE", pal[:300])))
    put("one.png", png(rgb[:1, :1], 8, 2, w=1, h=1))
    put("row.png", png(rgb[:1], 8, 2, w=W, h=1))
    put("column.png", png(rgb[:, :1], 8, 2, w=1, h=H))


# --- JPEG ---

def cjpeg(im, *args):
    ppm = io.BytesIO()
    im.save(ppm, "PPM")
    return subprocess.run(["cjpeg", *args], input=ppm.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def adobe(data, transform):
    """The same file with an Adobe marker after its start, and no JFIF marker."""
    if data[2:4] == b"\xff\xe0":
        n = struct.unpack(">H", data[4:6])[0]
        data = data[:2] + data[4 + n:]
    return data[:2] + b"\xff\xee\0\x0eAdobe\0d\0\0\0\0" + bytes([transform]) + data[2:]


def make_jpeg(put):
    im = scene()
    for name, sub in (("444", 0), ("422", 1), ("420", 2)):
        for q in (30, 75, 95):
            b = io.BytesIO()
            im.save(b, "JPEG", quality=q, subsampling=sub)
            put(f"{name}_q{q}.jpg", b.getvalue())
        b = io.BytesIO()
        im.save(b, "JPEG", quality=80, subsampling=sub, progressive=True)
        put(f"{name}_progressive.jpg", b.getvalue())
    for sample in ("1x2", "4x1", "4x2", "1x4", "2x4", "3x1", "1x3"):
        put(f"sample_{sample}.jpg", cjpeg(im, "-quality", "80", "-sample", sample))
    put("sample_1x2_progressive.jpg", cjpeg(im, "-quality", "80", "-sample", "1x2", "-progressive"))
    # Chroma of different samplings: 2x2, 2x1, 1x2.
    put("sample_mixed.jpg", cjpeg(im, "-quality", "80", "-sample", "2x2,2x1,1x2"))
    put("restart.jpg", cjpeg(im, "-quality", "80", "-restart", "1"))
    put("restart_blocks.jpg", cjpeg(im, "-quality", "80", "-restart", "2B", "-sample", "2x1"))
    put("restart_progressive.jpg", cjpeg(im, "-quality", "80", "-restart", "3B", "-progressive"))
    put("optimized.jpg", cjpeg(im, "-quality", "60", "-optimize"))
    put("rgb.jpg", cjpeg(im, "-quality", "80", "-rgb"))
    for k, v in (("grey", "L"), ("cmyk", "CMYK")):
        for prog in (False, True):
            b = io.BytesIO()
            im.convert(v).save(b, "JPEG", quality=80, progressive=prog)
            put(f"{k}{'_progressive' if prog else ''}.jpg", b.getvalue())
    b = io.BytesIO()
    Image.merge("CMYK", (*im.split(), alpha())).save(b, "JPEG", quality=80)
    put("cmyk_ink.jpg", b.getvalue())
    put("ycck.jpg", adobe(b.getvalue(), 2) if b.getvalue()[2:4] != b"\xff\xee" else
        b.getvalue()[:17] + b"\x02" + b.getvalue()[18:])
    put("adobe_ycc.jpg", adobe(cjpeg(im, "-quality", "80"), 1))
    put("adobe_rgb.jpg", adobe(cjpeg(im, "-quality", "80", "-sample", "1x1"), 0))
    put("adobe_rgb_420.jpg", adobe(cjpeg(im, "-quality", "80"), 0))
    put("grey_sampled.jpg", cjpeg(im, "-quality", "80", "-grayscale", "-sample", "2x2"))
    for w, h in ((1, 1), (2, 2), (3, 5), (4, 1), (5, 4), (8, 8), (16, 16), (17, 15), (1, 40), (40, 1), (33, 17)):
        for name, sub in (("422", 1), ("420", 2)):
            b = io.BytesIO()
            scene(w, h).save(b, "JPEG", quality=85, subsampling=sub)
            put(f"size_{w}x{h}_{name}.jpg", b.getvalue())
        put(f"size_{w}x{h}_440.jpg", cjpeg(scene(w, h), "-quality", "85", "-sample", "1x2"))
    rng = np.random.RandomState(3)
    noise = Image.fromarray(rng.randint(0, 256, (H, W, 3)).astype(np.uint8))
    for q in (5, 50, 100):
        b = io.BytesIO()
        noise.save(b, "JPEG", quality=q)
        put(f"noise_q{q}.jpg", b.getvalue())
    b = io.BytesIO()
    noise.save(b, "JPEG", quality=1, progressive=True)
    put("noise_q1_progressive.jpg", b.getvalue())


# --- the rest ---

def gif(frames, w, h, palette=None, background=0, tail=b";"):
    flags = 0x80 | 7 if palette else 0
    return (b"GIF89a" + struct.pack("<HHBBB", w, h, flags, background, 0) + (palette or b"") + b"".join(frames) + tail)


def gif_frame(a, x=0, y=0, palette=None, interlace=False, transparent=None):
    h, w = a.shape
    out = b""
    if transparent is not None:
        out += b"!\xf9\x04" + bytes([1, 0, 0, transparent]) + b"\0"
    flags = (0x80 | 7 if palette else 0) | (0x40 if interlace else 0)
    if interlace:
        order = [r for s, d in ((0, 8), (4, 8), (2, 4), (1, 2)) for r in range(s, h, d)]
        a = a[order]
    # Codes of 9 bits, with a clear before the table would grow.
    bits, codes = [], []
    for i, v in enumerate(a.reshape(-1)):
        if i % 250 == 0:
            codes.append(256)
        codes.append(int(v))
    codes.append(257)
    for c in codes:
        bits += [(c >> k) & 1 for k in range(9)]
    data = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    blocks = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))
    return out + b"," + struct.pack("<HHHHB", x, y, w, h, flags) + (palette or b"") + b"\x08" + blocks + b"\0"


def make_gif(put):
    rng = np.random.RandomState(5)
    pal = rng.randint(0, 256, 768).astype(np.uint8).tobytes()
    pal2 = rng.randint(0, 256, 768).astype(np.uint8).tobytes()
    ramp = bytes(i // 3 for i in range(768))
    a = np.asarray(scene().convert("L"))
    put("global.gif", gif([gif_frame(a)], W, H, pal))
    put("local.gif", gif([gif_frame(a, palette=pal2)], W, H, pal))
    put("ramp.gif", gif([gif_frame(a)], W, H, ramp))
    put("no_palette.gif", gif([gif_frame(a)], W, H))
    put("transparent.gif", gif([gif_frame(a, transparent=77)], W, H, pal))
    put("offset.gif", gif([gif_frame(a[:10, :12], 5, 7)], W, H, pal, background=9))
    put("offset_transparent.gif", gif([gif_frame(a[:10, :12], 5, 7, transparent=77)], W, H, pal, background=9))
    put("larger.gif", gif([gif_frame(a, 3, 2)], 20, 20, pal))
    put("interlaced.gif", gif([gif_frame(a, interlace=True)], W, H, pal))
    put("two_frames.gif", gif([gif_frame(a), gif_frame(a[:9, :9], 4, 4, palette=pal2)], W, H, pal))
    put("no_trailer.gif", gif([gif_frame(a)], W, H, pal, tail=b""))
    b = io.BytesIO()
    scene(120, 90).quantize(256).save(b, "GIF")
    put("full_table.gif", b.getvalue())


def bmp(bits, rows, w, h, header=40, compression=0, palette=b"", masks=b"", colours=0, down=False, extra=b""):
    if header == 12:
        dib = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        dib = struct.pack("<IiiHHIIiiII", header, w, -h if down else h, 1, bits, compression, len(rows), 0, 0, colours, 0)
        if header > 40:
            dib += masks.ljust(header - 40, b"\0")
            masks = b""
    offset = 14 + len(dib) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + dib + masks + palette + rows + extra


def bmp_rows(a, bits):
    out = b""
    for r in a[::-1]:
        if bits < 8:
            b = ((r.reshape(-1)[:, None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(-1).astype(np.uint8)
            line = np.packbits(b).tobytes()
        else:
            line = r.tobytes()
        out += line + b"\0" * (-len(line) % 4)
    return out


def make_bmp(put):
    rng = np.random.RandomState(6)
    rgb, grey = np.asarray(scene()), np.asarray(scene().convert("L"))
    al = np.asarray(alpha())[..., None]
    bgra = np.concatenate([rgb[..., ::-1], al], -1)
    quad = lambda n: rng.randint(0, 256, (n, 4)).astype(np.uint8).tobytes()
    ramp = b"".join(bytes([i, i, i, 0]) for i in range(256))
    for d in (1, 4, 8):
        put(f"palette{d}.bmp", bmp(d, bmp_rows(grey >> (8 - d), d), W, H, palette=quad(1 << d)))
    put("palette_few.bmp", bmp(8, bmp_rows(grey % 40, 8), W, H, palette=quad(40), colours=40))
    put("palette_over.bmp", bmp(8, bmp_rows(grey, 8), W, H, palette=quad(40), colours=40))
    put("palette_os2.bmp", bmp(8, bmp_rows(grey, 8), W, H, header=12,
                               palette=rng.randint(0, 256, 768).astype(np.uint8).tobytes()))
    put("ramp8.bmp", bmp(8, bmp_rows(grey, 8), W, H, palette=ramp))
    put("black_white.bmp", bmp(1, bmp_rows(grey >> 7, 1), W, H, palette=b"\0\0\0\0\xff\xff\xff\0"))
    put("white_black.bmp", bmp(1, bmp_rows(grey >> 7, 1), W, H, palette=b"\xff\xff\xff\0\0\0\0\0"))
    put("rgb24.bmp", bmp(24, bmp_rows(rgb[..., ::-1], 24), W, H))
    put("rgb24_os2.bmp", bmp(24, bmp_rows(rgb[..., ::-1], 24), W, H, header=12))
    put("rgb24_down.bmp", bmp(24, bmp_rows(rgb[::-1, :, ::-1], 24), W, H, down=True))
    put("rgb32.bmp", bmp(32, bmp_rows(bgra, 32), W, H))
    put("rgba32_v4.bmp", bmp(32, bmp_rows(bgra, 32), W, H, header=108, compression=3,
                             masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)))
    put("rgba32_v5.bmp", bmp(32, bmp_rows(bgra[..., [2, 1, 0, 3]], 32), W, H, header=124, compression=3,
                             masks=struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)))
    put("rgb32_masks.bmp", bmp(32, bmp_rows(bgra, 32), W, H, compression=3,
                               masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)))
    put("rgb32_masks_high.bmp", bmp(32, bmp_rows(bgra, 32), W, H, compression=3,
                                    masks=struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00)))
    for i, m in enumerate([(0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0),
                           (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0),
                           (0xFF0000, 0xFF00, 0xFF, 0)]):
        put(f"masks_{i}.bmp", bmp(32, bmp_rows(bgra[:9, :11], 32), 11, 9, header=56, compression=3,
                                  masks=struct.pack("<IIII", *m)))
    put("masks_24.bmp", bmp(24, bmp_rows(rgb[:9, :11], 24), 11, 9, header=108, compression=3,
                            masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0)))
    put("masks_16_odd.bmp", bmp(16, bytes(12 * 9 * 2), 11, 9, header=108, compression=3,
                                masks=struct.pack("<IIII", 0xF000, 0xF00, 0xF0, 0)))
    put("masks_odd.bmp", bmp(32, bmp_rows(bgra, 32), W, H, compression=3,
                             masks=struct.pack("<III", 0xFF00, 0xFF, 0xFF0000)))
    v = rng.randint(0, 65536, (H, W)).astype("<u2")
    put("rgb555.bmp", bmp(16, bmp_rows(v[..., None].view(np.uint8), 16), W, H))
    put("rgb565.bmp", bmp(16, bmp_rows(v[..., None].view(np.uint8), 16), W, H, compression=3,
                          masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)))
    rle = b"".join(bytes([5, i, 0, 4, 1, 2, 3, i, W - 9, 7 * i % 256, 0, 0]) for i in range(H - 3))
    rle += bytes([0, 2, 3, 1, 4, 200, 0, 0, W, 9, 0, 1])
    put("rle8.bmp", bmp(8, rle, W, H, compression=1, palette=quad(256)))
    rle4 = b"".join(bytes([5, (i * 16 + 3) % 256, 0, 5, 0x12, 0x34, 0x50, 0, W - 10, 0x7A, 0, 0]) for i in range(H))
    put("rle4.bmp", bmp(4, rle4 + b"\0\1", W, H, compression=2, palette=quad(16)))


def make_tiff(put):
    rgb, grey = scene(), scene().convert("L")

    def save(name, im, **kw):
        b = io.BytesIO()
        im.save(b, "TIFF", **kw)
        put(name, b.getvalue())
    rgba = Image.merge("RGBA", (*rgb.split(), alpha()))
    for c in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"):
        save(f"rgb_{c}.tiff", rgb, compression=c)
        save(f"grey_{c}.tiff", grey, compression=c)
    save("rgba.tiff", rgba, compression="tiff_lzw")
    save("rgba_raw.tiff", rgba)
    save("la.tiff", Image.merge("LA", (grey, alpha())), compression="tiff_lzw")
    save("palette.tiff", rgb.quantize(64), compression="tiff_lzw")
    save("bilevel.tiff", rgb.convert("1"))
    for c in ("group3", "group4", "packbits"):
        save(f"bilevel_{c}.tiff", rgb.convert("1"), compression=c)
    g16 = Image.fromarray((np.asarray(grey).astype(np.uint16) * 201))
    save("grey16.tiff", g16)
    save("grey16_lzw.tiff", g16, compression="tiff_lzw")
    save("cmyk.tiff", rgb.convert("CMYK"))
    save("cmyk_lzw.tiff", rgb.convert("CMYK"), compression="tiff_lzw")
    save("predictor.tiff", rgb, compression="tiff_lzw", tiffinfo={317: 2})
    save("strips.tiff", scene(60, 50), compression="tiff_lzw", tiffinfo={278: 7})
    save("two_pages.tiff", rgb, save_all=True, append_images=[grey])
    for o in range(1, 9):
        save(f"orientation{o}.tiff", scene(11, 7), tiffinfo={274: o})
    save("orientation6_lzw.tiff", scene(11, 7), tiffinfo={274: 6}, compression="tiff_lzw")
    make_tiff_by_hand(put)


def tiff(a, bits, photo, big=False, extra=(), tile=None, planar=False, palette=None, fill=1, compression=1,
         predictor=1):
    """a: an array [h, w, samples] of integers below 2**bits."""
    e = ">" if big else "<"
    h, w, n = a.shape

    def rows(p):
        out = b""
        for r in p:
            flat = r.reshape(-1)
            if bits == 16:
                out += flat.astype(e + "u2").tobytes()
            elif bits == 8:
                out += flat.astype(np.uint8).tobytes()
            else:
                b = ((flat[:, None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(-1).astype(np.uint8)
                line = np.packbits(b)
                if fill == 2:
                    line = np.packbits(np.unpackbits(line).reshape(-1, 8)[:, ::-1])
                out += line.tobytes()
        return out
    parts = []
    for plane in ([a[..., k:k + 1] for k in range(n)] if planar else [a]):
        if tile:
            th, tw = tile
            full = np.zeros((-(-h // th) * th, -(-w // tw) * tw, plane.shape[2]), a.dtype)
            full[:h, :w] = plane
            parts += [rows(full[y:y + th, x:x + tw]) for y in range(0, h, th) for x in range(0, w, tw)]
        else:
            parts += [rows(plane[y:y + 8]) for y in range(0, h, 8)]
    if compression == 8:
        parts = [zlib.compress(p) for p in parts]
    tags = {256: [w], 257: [h], 258: [bits] * n, 259: [compression], 262: [photo], 266: [fill], 277: [n],
            284: [2 if planar else 1]}
    if predictor != 1:
        tags[317] = [predictor]
    if extra:
        tags[338] = list(extra)
    if palette is not None:
        tags[320] = [int(v) for v in palette]
    at, offsets = 8, []
    for p in parts:
        offsets.append(at)
        at += len(p) + len(p) % 2
    if tile:
        tags.update({322: [tile[1]], 323: [tile[0]], 324: offsets, 325: [len(p) for p in parts]})
    else:
        tags.update({273: offsets, 278: [8], 279: [len(p) for p in parts]})
    body = b"".join(p + b"\0" * (len(p) % 2) for p in parts)
    entries, more = b"", b""
    extra_at = at + 2 + 12 * len(tags) + 4
    for t in sorted(tags):
        v = tags[t]
        kind, code = (4, "I") if t in (273, 279, 324, 325) else (3, "H")
        packed = struct.pack(e + str(len(v)) + code, *v)
        if len(packed) <= 4:
            packed = packed.ljust(4, b"\0")
        else:
            more += packed
            packed = struct.pack(e + "I", extra_at + len(more) - len(packed))
        entries += struct.pack(e + "HHI", t, kind, len(v)) + packed
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "I", at)
    return head + body + struct.pack(e + "H", len(tags)) + entries + b"\0" * 4 + more


def make_tiff_by_hand(put):
    rng = np.random.RandomState(12)
    rgb = np.asarray(scene()).astype(int)
    grey = np.asarray(scene().convert("L")).astype(int)[..., None]
    al = np.asarray(alpha()).astype(int)[..., None]
    al[:5] = 0
    rgba = np.concatenate([rgb, al], -1)
    cmyk = np.concatenate([rgb, al // 3], -1)
    wide = lambda a: a * 256 + rng.randint(0, 256, a.shape)
    pal = rng.randint(0, 65536, 768)
    for big in (False, True):
        o = "big" if big else "little"
        put(f"hand_rgb_{o}.tiff", tiff(rgb, 8, 2, big))
        put(f"hand_rgb16_{o}.tiff", tiff(wide(rgb), 16, 2, big))
        put(f"hand_palette_{o}.tiff", tiff(grey, 8, 3, big, palette=pal))
        for d in (1, 2, 4, 8):
            put(f"hand_grey{d}_{o}.tiff", tiff(grey >> (8 - d), d, 1, big))
            put(f"hand_white{d}_{o}.tiff", tiff(grey >> (8 - d), d, 0, big))
    put("hand_grey16.tiff", tiff(wide(grey), 16, 1))
    put("hand_grey4_fill.tiff", tiff(grey >> 4, 4, 1, fill=2))
    put("hand_bilevel_fill.tiff", tiff(grey >> 7, 1, 1, fill=2))
    put("hand_palette4.tiff", tiff(grey >> 4, 4, 3, palette=pal[:48]))
    for x in (0, 1, 2):
        put(f"hand_rgb_extra{x}.tiff", tiff(rgba, 8, 2, extra=[x]))
        put(f"hand_rgb_extra{x}_deflate.tiff", tiff(rgba, 8, 2, extra=[x], compression=8))
    put("hand_rgba16.tiff", tiff(wide(rgba), 16, 2, extra=[2]))
    put("hand_rgba16_premultiplied.tiff", tiff(wide(rgba), 16, 2, extra=[1]))
    put("hand_grey_extra0.tiff", tiff(np.concatenate([grey, al], -1), 8, 1, extra=[0]))
    put("hand_la.tiff", tiff(np.concatenate([grey, al], -1), 8, 1, extra=[2]))
    put("hand_cmyk.tiff", tiff(cmyk, 8, 5))
    put("hand_cmyk16.tiff", tiff(wide(cmyk), 16, 5))
    put("hand_tiles.tiff", tiff(rgb, 8, 2, tile=(16, 32)))
    put("hand_tiles_deflate.tiff", tiff(rgb, 8, 2, tile=(16, 16), compression=8))
    put("hand_planar.tiff", tiff(rgb, 8, 2, planar=True))
    put("hand_planar_deflate.tiff", tiff(rgba, 8, 2, extra=[2], planar=True, compression=8))
    put("hand_planar_tiles.tiff", tiff(rgb, 8, 2, planar=True, tile=(16, 16), compression=8))
    step = lambda a, m: np.concatenate([a[:, :1], np.diff(a, axis=1) % m], 1)
    put("hand_predictor.tiff", tiff(step(rgb, 256), 8, 2, compression=8, predictor=2))
    put("hand_predictor16.tiff", tiff(step(wide(rgb), 65536), 16, 2, compression=8, predictor=2))
    put("hand_predictor16_big.tiff", tiff(step(wide(rgb), 65536), 16, 2, True, compression=8, predictor=2))


def make_webp(put):
    rgb = scene(61, 47)
    rgba = Image.merge("RGBA", (*rgb.split(), alpha(61, 47)))

    def save(name, im, **kw):
        b = io.BytesIO()
        im.save(b, "WEBP", **kw)
        put(name, b.getvalue())
    for q in (10, 50, 80, 100):
        save(f"lossy_q{q}.webp", rgb, quality=q)
    save("lossy_alpha.webp", rgba, quality=70)
    save("lossy_alpha_raw.webp", rgba, quality=70, alpha_quality=40)
    save("lossy_metadata.webp", rgb, quality=70, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    save("lossless.webp", rgb, lossless=True)
    save("lossless_alpha.webp", rgba, lossless=True)
    save("lossless_exact.webp", rgba, lossless=True, exact=True)
    save("lossless_palette.webp", rgb.quantize(8).convert("RGB"), lossless=True)
    save("animated.webp", rgb, save_all=True, append_images=[rgb.rotate(90)], duration=50, quality=60)
    save("animated_alpha.webp", rgba, save_all=True, append_images=[rgba.rotate(90)], duration=50, lossless=True)
    for w, h in ((1, 1), (2, 2), (3, 3), (1, 9), (9, 1), (16, 16), (17, 18)):
        save(f"size_{w}x{h}.webp", scene(w, h), quality=75)


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1] == "hash":
        src, out = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
        files = sorted(p for p in src.rglob("*") if p.is_file())
        entries = {str(p.relative_to(src)): golden(p, [(224, 224)], True) for p in files}
        out.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
        return
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    names = []

    def put(name, data):
        (out / name).write_bytes(data)
        names.append(name)
    for make in (make_png, make_jpeg, make_gif, make_bmp, make_tiff, make_webp):
        make(put)
    entries = {n: golden(out / n) for n in names}
    (out / "golden.json").write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
    print(len(names), "pictures")


if __name__ == "__main__":
    main()
