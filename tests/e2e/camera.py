"""Pictures of the pages for docs/images, taken only where DARBAN_SCREENSHOTS names a folder (`make screenshots`)."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

DESKTOP, PHONE = (1280, 800), (390, 844)
_COLOURS = 64


@dataclass(frozen=True)
class Camera:
    """`language` ends the names of its files."""

    language: str

    def take(self, page: Page, name: str, size: tuple[int, int] = DESKTOP, *, whole: bool = False) -> None:
        """What a screen of this size shows, or the whole page; the page has its own size again afterwards."""
        folder = os.environ.get("DARBAN_SCREENSHOTS")
        if not folder:
            return
        before = page.viewport_size
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_load_state("networkidle")
        seen = Image.open(io.BytesIO(page.screenshot(full_page=whole, animations="disabled", caret="hide")))
        few = seen.convert("RGB").quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(Path(folder) / f"{name}-{self.language}.png", optimize=True)
        if before:
            page.set_viewport_size(before)
