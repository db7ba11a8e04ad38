"""Pages of text with known words: screens and scans, made with Pillow from a seed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Kind = Literal["screen", "scan"]

FONTS = {
    ("screen", "latin"): ("DejaVuSans.ttf", "InterVariable.ttf"),
    ("scan", "latin"): ("DejaVuSerif.ttf", "DejaVuSans.ttf"),
    ("screen", "cjk"): ("NotoSansCJK-Regular.ttc",),
    ("scan", "cjk"): ("NotoSerifCJK-Regular.ttc", "NotoSansCJK-Regular.ttc"),
}
"""From Debian's fonts-dejavu, fonts-inter-variable and fonts-noto-cjk."""

FONTS_FOLDER = Path("/usr/share/fonts")
_PACKAGES = "fonts-dejavu, fonts-inter-variable and fonts-noto-cjk"

_CJK_SIMPLIFIED = 2
"""The face of Noto's collections for simplified Chinese."""

_SIZES_PX = {"screen": (14, 20), "scan": (23, 30)}
_PAGES = {"screen": (1280, 800), "scan": (1240, 1754)}
_THEMES = ((255, 20), (245, 50), (30, 220), (18, 180))
"""Paper and ink of screens, light and dark."""


def check_fonts(fonts: Path) -> None:
    """Check that all fonts exist, before pages are read for minutes.

    Raises:
        FileNotFoundError: fonts are missing below the folder; names them.
    """
    missing = sorted(
        {name for of_kind in FONTS.values() for name in of_kind if not [*fonts.rglob(name)]}
    )
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)} in {fonts}: install {_PACKAGES}")


def page(
    kind: Kind, text: str, language: str, seed: int, fonts: Path
) -> tuple[NDArray[np.uint8], str]:
    """A page, uint8 RGB, and the text that fits on it, line by line."""
    rng = np.random.default_rng(seed)
    face = _font(kind, language, rng, fonts)
    width, height = _PAGES[kind]
    paper, ink = _THEMES[rng.integers(len(_THEMES))] if kind == "screen" else (248, 30)
    margin = int(rng.integers(40, 120))
    image = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(image)
    step = round(face.size * float(rng.uniform(1.35, 1.7)))
    lines = _wrapped(text, face, width - 2 * margin, spaced=language != "zh")
    lines = lines[: (height - 2 * margin) // step]
    for row, line in enumerate(lines):
        draw.text((margin, margin + row * step), line, fill=ink, font=face)
    picture = image.convert("RGB")
    if kind == "scan":
        picture = _scanned(picture, rng)
    return np.asarray(picture), "\n".join(lines)


def _font(
    kind: Kind, language: str, rng: np.random.Generator, fonts: Path
) -> ImageFont.FreeTypeFont:
    script = "cjk" if language == "zh" else "latin"
    names = FONTS[kind, script]
    name = names[rng.integers(len(names))]
    low, high = _SIZES_PX[kind]
    (path,) = fonts.rglob(name)
    index = _CJK_SIMPLIFIED if script == "cjk" else 0
    return ImageFont.truetype(str(path), int(rng.integers(low, high + 1)), index=index)


def _wrapped(text: str, face: ImageFont.FreeTypeFont, width: int, *, spaced: bool) -> list[str]:
    parts: Sequence[str] = text.split() if spaced else [c for c in text if not c.isspace()]
    joint = " " if spaced else ""
    lines = [""]
    for part in parts:
        longer = lines[-1] + joint + part if lines[-1] else part
        if face.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _scanned(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turned a little, blurred, unevenly lit, noisy, and through JPEG."""
    turned = picture.rotate(
        float(rng.uniform(-1.5, 1.5)), Image.Resampling.BICUBIC, fillcolor=(248, 248, 248)
    )
    blurred = np.asarray(
        turned.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.0)))), np.float32
    )
    light = np.linspace(1.0, float(rng.uniform(0.8, 1.0)), blurred.shape[1])[None, :, None]
    noise = rng.normal(0, float(rng.uniform(4, 10)), blurred.shape[:2])[..., None]
    rough = np.clip(blurred * light + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(rough).save(file, "JPEG", quality=int(rng.integers(50, 85)))
    return Image.open(file).convert("RGB")
