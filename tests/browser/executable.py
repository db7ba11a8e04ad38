"""Where Chromium is."""

from __future__ import annotations

import shutil

# The shell draws the same page without a window around it, which costs a quarter of the time.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """Return the Chromium of this machine; ``make chromium`` installs one."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "the page is tested in Chromium; `make chromium` installs it"
    return found
