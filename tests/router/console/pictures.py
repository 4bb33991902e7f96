"""Takes the pictures of the console that the documentation shows: made-up traffic, as in tests.

python -m tests.router.console.pictures docs/images
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from telemetry.store import Store
from tests.router.console.conftest import open_site
from tests.router.console.traffic import fill
from tests.router.upstream import StubUpstream

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 800}
WIDTH = 1000
"""Of a picture, in pixels, at most."""

TAKEN: dict[str, tuple[str, dict[str, int], Any, int]] = {
    "overview": ("", DESK, "light", 1300),
    "task": ("/task?name=support-triage", DESK, "dark", 1320),
    "exchange": ("/exchange?id=req_support-triage-3-1", DESK, "light", 1300),
    "phone": ("", PHONE, "light", 1700),
}
"""Path, window, theme, and pixels from the top of the picture at most."""


def main(folder: Path) -> None:
    upstream = StubUpstream().start()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        data = Path(place) / "data"
        store = Store(data)
        fill(store, data, time.time())
        store.close()
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        with open_site(upstream, Path(place)) as server:
            for name in TAKEN:
                take(browser, server.url.removesuffix("/v1"), name, folder)
        browser.close()
    upstream.stop()


def take(browser: Browser, root: str, name: str, folder: Path) -> None:
    path, window, theme, most = TAKEN[name]
    page = browser.new_page(viewport=window, color_scheme=theme)  # type: ignore[arg-type]
    page.goto(f"{root}/console{path}")
    # The live figures come a second later.
    page.wait_for_timeout(2500)
    file = folder / f"console-{name}.png"
    page.screenshot(path=file, full_page=True)
    page.close()
    shot = Image.open(file).convert("RGB")
    if shot.width > WIDTH:
        shot = shot.resize((WIDTH, shot.height * WIDTH // shot.width), Image.Resampling.LANCZOS)
    shot = shot.crop((0, 0, shot.width, min(shot.height, most)))
    shot.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
