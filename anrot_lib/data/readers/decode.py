"""From an encoded image, of any kind that people have, to uint8 pixels of one size.

The rule, for all of them: the first frame; turned upright as its EXIF tag says; 16-bit grey to 8
bits by x / 257 (16-bit colour by its upper byte); transparency laid on white; RGB (or grey, for 1
channel); then the centred square, whose side is the shorter side, resampled to the size by
antialiased bicubic interpolation. This is the same as making the shorter side `size` long and
cutting out the centre. Images that have the size already keep their pixels.
"""

import contextlib
import functools
import importlib
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

DECODER = 1  # raise it when the rule changes: half-done packings then start over
# raster formats only: PIL would hand a disguised EPS file to an interpreter
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "HEIF")
MAX_PIXELS = 89_478_485  # 256 MiB as RGB; the limit at which PIL starts to warn of decompression bombs


class BadImage(Exception):
    """An image that cannot be read; the message says why, without naming the file."""


def decode(raw: bytes | np.ndarray, size: int, channels: int = 3, turn: int = 0) -> np.ndarray:
    """One image as uint8 (size, size, channels).

    Args:    raw: an encoded image, or pixels uint8 (H, W) or (H, W, 1 or 3).
             channels: 3 for RGB, 1 for grey.   turn: 0, 90, 180 or 270 degrees anticlockwise.
    Raises:  BadImage, with the reason.
    """
    return decode_counting(raw, size, channels, turn)[0]


def decode_counting(raw: bytes | np.ndarray, size: int, channels: int, turn: int) -> tuple[np.ndarray, str]:
    """`decode`, and the kind of image if it needed a conversion: "CMYK", "animated" ..., or ""."""
    if isinstance(raw, np.ndarray):
        grey = raw.ndim == 3 and raw.shape[2] == 1
        if raw.dtype != np.uint8 or raw.ndim not in (2, 3) or 0 in raw.shape or raw.shape[2:] not in ((), (1,), (3,)):
            raise BadImage(f"its pixels must be uint8 (H, W, 3), not {raw.dtype} {raw.shape}")
        image, kind = Image.fromarray(np.ascontiguousarray(raw[..., 0] if grey else raw)), ""
    else:
        image, kind = open_image(raw)
    image = _resize(image.convert("L" if channels == 1 else "RGB"), size)
    pixels = np.asarray(image).reshape(size, size, channels)
    return np.ascontiguousarray(np.rot90(pixels, turn // 90)), kind


def open_image(raw: bytes) -> tuple[Image.Image, str]:
    """An 8-bit grey or RGB image of encoded bytes, and the kind of conversion; BadImage, with the reason."""
    if not raw:
        raise BadImage("the file is empty")
    try:
        image: Image.Image = Image.open(io.BytesIO(raw), formats=_formats())
        if image.width * image.height > MAX_PIXELS:
            raise BadImage(f"{image.width} x {image.height} pixels are too many")
        kind = "animated" if getattr(image, "n_frames", 1) > 1 and image.format not in ("MPO", "HEIF") else ""
        image.load()
        image = ImageOps.exif_transpose(image)
        return _eight_bit(image, kind)
    except BadImage:
        raise
    except UnidentifiedImageError:
        if is_heic(raw) and "HEIF" not in _formats():
            raise BadImage(
                "it is a HEIC photo: install pillow-heif (pip install pillow-heif), or save it as JPEG"
            ) from None
        raise BadImage("its content is not that of an image") from None
    except Image.DecompressionBombError:
        raise BadImage("it has too many pixels") from None
    except Exception as error:  # damaged files make PIL's readers fail in almost any way
        raise BadImage(f"it is damaged: {error or type(error).__name__}") from None


def is_heic(raw: bytes) -> bool:
    """Whether the bytes begin as those of a HEIC or HEIF file do (AVIF is a sibling with another mark)."""
    return raw[4:8] == b"ftyp" and raw[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@functools.cache
def _formats() -> list[str]:
    """The formats that can be read here; HEIF with the optional library pillow-heif."""
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _eight_bit(image: Image.Image, kind: str) -> tuple[Image.Image, str]:
    mode = image.mode
    if mode.startswith("I"):
        return _reduce_sixteen_bit(image), kind or "16-bit"
    if mode == "F":
        raise BadImage("floating-point pixels have no known range")
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB"), kind or "alpha"
    if mode in ("L", "1", "RGB"):
        return image, kind
    return image.convert("RGB"), kind or {"P": "palette"}.get(mode, mode)


def _reduce_sixteen_bit(image: Image.Image) -> Image.Image:
    """Grey values 0..65535 to 0..255, rounded: 257 is one step of 8 bits, exactly."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage("32-bit pixels have no known range")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _resize(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
