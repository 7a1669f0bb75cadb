"""A real browser without a window, for what a reader of a page sees; tests are skipped where there is none."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Debian's names, and those of others.
_BROWSERS, _DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver", "chromium.chromedriver")
#: No window, no sandbox (tests may run as root), and nothing that a browser does by itself over the network.
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-default-apps --disable-dev-shm-usage --hide-scrollbars"
)


def _found(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


BROWSER, DRIVER = _found(_BROWSERS), _found(_DRIVERS)
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER and importlib.util.find_spec("selenium")),
    reason="needs Chromium and its driver (apt-get install chromium chromium-driver), and selenium",
)


class Page:
    """A page in the browser."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Show the file in a window of that size, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(path.resolve().as_uri())

    def run(self, script: str, *arguments):
        """What a script returns."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def find(self, selector: str):
        """The elements of a CSS selector."""
        return self.driver.find_elements("css selector", selector)

    def complaints(self) -> list[str]:
        """What the browser has written to its console since it was asked last: errors, and what a policy forbids."""
        return [each["message"] for each in self.driver.get_log("browser")]

    def picture(self) -> bytes:
        """The whole page as a PNG file."""
        import base64

        shot = {"captureBeyondViewport": True, "format": "png"}
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with a profile of its own in ``folder``."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in _OPTIONS.split():
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()
