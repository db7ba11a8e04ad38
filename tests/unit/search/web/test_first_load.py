"""What the page needs at once is asked for at once: its document names every such module."""

from __future__ import annotations

import re
from pathlib import Path

WEB = Path(__file__).parents[4] / "search/web"
IMPORT = r'^(?:import|export)\b[^;]*?"\./(\w+\.js)";'


def reached(name: str, found: set[str]) -> set[str]:
    """A module, and all that it imports statically."""
    if name not in found:
        found.add(name)
        for other in re.findall(IMPORT, (WEB / "js" / name).read_text(), re.MULTILINE):
            reached(other, found)
    return found


def test_every_module_of_the_first_load_is_preloaded_and_no_other() -> None:
    document = (WEB / "index.html").read_text()
    listed = re.findall(r'<link rel="modulepreload" href="js/(\w+\.js)">', document)
    needed = reached("main.js", set())
    assert 15 < len(needed) < len(list((WEB / "js").glob("*.js")))
    assert sorted(listed) == sorted(needed - {"main.js"})
