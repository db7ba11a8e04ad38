"""Source code: its lines, and what is defined there."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.unread import is_prose
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

_SUFFIXES = {
    "Assembly": ".asm .s",
    "Awk": ".awk",
    "Batch": ".bat .cmd",
    "C": ".c .h",
    "C#": ".cs",
    "C++": ".cc .cpp .cxx .hh .hpp .hxx",
    "CMake": ".cmake",
    "CSS": ".css .less .scss",
    "CUDA": ".cu .cuh",
    "Clojure": ".clj .cljs",
    "Cython": ".pxd .pyx",
    "D": ".d",
    "Dart": ".dart",
    "Elixir": ".ex .exs",
    "Elm": ".elm",
    "Emacs Lisp": ".el",
    "Erlang": ".erl .hrl",
    "F#": ".fs .fsx",
    "Fortran": ".f .f90 .f95 .for",
    "GLSL": ".frag .glsl .vert",
    "Go": ".go",
    "Groovy": ".gradle .groovy",
    "Haskell": ".hs",
    "JavaScript": ".cjs .js .jsx .mjs",
    "Java": ".java",
    "Julia": ".jl",
    "Kotlin": ".kt .kts",
    "LaTeX": ".cls .sty .tex",
    "Lisp": ".cl .lisp .lsp",
    "Lua": ".lua",
    "Nim": ".nim",
    "OCaml": ".ml .mli",
    "Objective-C": ".m .mm",
    "PHP": ".php",
    "Pascal": ".dpr .pas",
    "Perl": ".pl .pm",
    "PowerShell": ".ps1 .psm1",
    "Prolog": ".pro",
    "Protocol Buffers": ".proto",
    "Python": ".py .pyi .pyw",
    "R": ".r",
    "Ruby": ".gemspec .rake .rb",
    "Rust": ".rs",
    "SQL": ".sql",
    "Scala": ".sc .scala",
    "Scheme": ".scm",
    "Shell": ".bash .fish .ksh .sh .zsh",
    "Svelte": ".svelte",
    "Swift": ".swift",
    "SystemVerilog": ".sv .v",
    "TOML": ".toml",
    "Tcl": ".tcl",
    "Terraform": ".hcl .tf",
    "TypeScript": ".ts .tsx",
    "VHDL": ".vhd .vhdl",
    "Vim script": ".vim",
    "Visual Basic": ".bas .vb .vbs",
    "Vue": ".vue",
    "YAML": ".yaml .yml",
    "Zig": ".zig",
}
SUFFIXES = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
"""The language of each suffix."""

_NAMES = {
    "CMakeLists.txt": "CMake",
    "Dockerfile": "Dockerfile",
    "Jenkinsfile": "Groovy",
    "Makefile": "Makefile",
    "Rakefile": "Ruby",
}
_PROGRAMS = {
    "awk": "Awk",
    "bash": "Shell",
    "dash": "Shell",
    "gawk": "Awk",
    "ksh": "Shell",
    "lua": "Lua",
    "node": "JavaScript",
    "perl": "Perl",
    "php": "PHP",
    "python": "Python",
    "ruby": "Ruby",
    "sh": "Shell",
    "tclsh": "Tcl",
    "wish": "Tcl",
    "zsh": "Shell",
    "Rscript": "R",
}
_FIRST_LINE = re.compile(
    rb"#! *(?:\S{0,100}/)?(?:env +(?:-\S{1,100} +)*)?(?:\S{0,100}/)?([A-Za-z]+)"
)
_DEFINITION = re.compile(
    r"(?m)^[ \t]{0,8}(?:(?:export|default|pub(?:\(\w+\))?|public|private|protected|static|async|"
    r"abstract|final|inline|local|unsafe) +)*(?:class|def|defn?|enum|fn|func|fun|function|impl|"
    r"interface|module|namespace|package|proc|record|sub|struct|trait|type) +([\w.:$]+)"
)


def language_of_code(name: str, start: bytes) -> str:
    """The language of a source file; empty if it is not one.

    >>> language_of_code("a.rs", b""), language_of_code("run", b"#!/usr/bin/env python3")
    ('Rust', 'Python')
    """
    path = PurePath(name)
    if language := _NAMES.get(path.name) or SUFFIXES.get(path.suffix.lower()):
        return language
    first = _FIRST_LINE.match(start)
    return _PROGRAMS.get(first[1].decode(), "") if first else ""


def definitions(code: str) -> list[tuple[int, str]]:
    """Where functions, classes and the like begin, and what they are called."""
    return [(match.start(), match[1]) for match in _DEFINITION.finditer(code)]


class Code(Kind):
    """Text whose name or first line shows that it is a program."""

    name = "code"
    modality = TEXT
    formats = ("source code",)
    media_types = frozenset({"text/x-source"})
    suffixes = tuple(SUFFIXES)

    def sniff(self, head: Head) -> Match | None:
        if not is_prose(head) or not language_of_code(head.name, head.start):
            return None
        return Match("text/x-source", 0.7)

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the file's name; ``code``: the language."""
        return {"title": path.name, "code": language_of_code(path.name, read_bytes(path, 200))}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows with their lines, and the last definition that begins before or in them."""
        text = decode_bytes(read_bytes(path)).replace("\r\n", "\n")
        defined = definitions(text)
        starts = [at for at, _ in defined]
        for segment in text_segments(asset, path, [Section(text, counted="lines")], config):
            begin, end = segment.char_start or 0, segment.char_end or 0
            number = bisect_left(starts, begin + 1) - 1
            if number < 0 and starts and starts[0] < end:
                number = 0
            if number < 0:
                yield segment
                continue
            place = {"symbol": defined[number][1][:100], **json.loads(segment.place)}
            yield replace(segment, place=json.dumps(place, ensure_ascii=False))
