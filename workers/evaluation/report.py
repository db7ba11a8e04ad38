"""What an evaluation found, as plain values, Markdown and HTML. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workers.evaluation.judging import Kinds, ModalityPair, SubjectJudgement
from workers.evaluation.measures import Interval
from workers.evaluation.plot import Bar, plot

NAMES = {
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "ndcg_at_10": "nDCG@10",
    "mrr": "MRR",
}
"""How people write the figures."""

NOTES = {
    "list": "The queries come from the list.",
    "names": "Each file is found by the text of the same name, and each text by its file.",
    "classes": "The queries are the names of folders; each file in one is relevant.",
    "synthetic": "The queries were generated from the files (rare words of texts, words of names): "
    "good for comparing models, but easier than real queries.",
}
_METHOD = (
    "R@k is the share of a query's relevant files (k at most) among the first k hits. Each mean is "
    "followed by its 95 % interval (bootstrap of 2,000 draws over groups of queries with the same "
    "answers). The gain is in nDCG@10 over the first row, query by query. Ties count against a "
    "model. Only vectors are judged: no words, names or filters."
)
_STYLE = (
    "body{font:15px system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}"
)


def as_json(source: str, origin: str, judgements: Sequence[SubjectJudgement]) -> dict[str, Any]:
    """All figures as plain values."""
    return {
        "source": source,
        "questions": origin,
        "subjects": [
            {
                "name": judgement.name,
                "cpu_s": round(judgement.cpu_s, 3),
                "failed": dict(judgement.failed),
                "pairs": [
                    {"query": str(kinds[0]), "target": str(kinds[1]), **_facts(pair)}
                    for kinds, pair in judgement.pairs.items()
                ],
            }
            for judgement in judgements
        ],
    }


def _facts(pair: ModalityPair) -> dict[str, Any]:
    return {
        "n_queries": pair.n_queries,
        "n_candidates": pair.n_candidates,
        **{name: _rounded(value) for name, value in pair.figures.items()},
        "gain": _rounded(pair.gain) if pair.gain else None,
    }


def _rounded(interval: Interval) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(interval).items()}


def _kinds(judgements: Sequence[SubjectJudgement]) -> list[Kinds]:
    return sorted({kinds for judgement in judgements for kinds in judgement.pairs})


def plots(judgements: Sequence[SubjectJudgement]) -> dict[str, str]:
    """An SVG picture of nDCG@10 for each pair of modalities, by the name of a file."""
    return {
        f"{kinds[0]}-{kinds[1]}.svg": plot(
            f"{kinds[0]} → {kinds[1]}: nDCG@10",
            [
                _bar(judgement.name, judgement.pairs[kinds])
                for judgement in judgements
                if kinds in judgement.pairs
            ],
        )
        for kinds in _kinds(judgements)
    }


def _bar(name: str, pair: ModalityPair) -> Bar:
    ndcg = pair.figures["ndcg_at_10"]
    return Bar(name, ndcg.mean, ndcg.low, ndcg.high)


def _rows(judgements: Sequence[SubjectJudgement], kinds: Kinds) -> Iterator[list[str]]:
    for judgement in judgements:
        if pair := judgement.pairs.get(kinds):
            figures = [_shown(pair.figures[name]) for name in NAMES]
            gain = _shown(pair.gain, "+.3f") if pair.gain else ""
            yield [judgement.name, *figures, gain, f"{judgement.cpu_s:.1f}"]


def _shown(interval: Interval, form: str = ".3f") -> str:
    return f"{interval.mean:{form}} ({interval.low:{form}} – {interval.high:{form}})"


_HEAD = ["", *NAMES.values(), "gain", "CPU-s"]


def tables(judgements: Sequence[SubjectJudgement]) -> Iterator[tuple[str, list[list[str]]]]:
    """For each pair of modalities a title, and rows of cells, the first with the headings."""
    for kinds in _kinds(judgements):
        yield _title(judgements, kinds), [_HEAD, *_rows(judgements, kinds)]


def _title(judgements: Sequence[SubjectJudgement], kinds: Kinds) -> str:
    pair = next(judgement.pairs[kinds] for judgement in judgements if kinds in judgement.pairs)
    return f"{kinds[0]} → {kinds[1]}: {pair.n_queries} queries, {pair.n_candidates} candidates"


def _failures(judgements: Sequence[SubjectJudgement]) -> Iterator[tuple[str, str]]:
    for judgement in judgements:
        for content, reason in judgement.failed.items():
            yield f"{judgement.name}: {content[:200]}", reason


def as_markdown(source: str, origin: str, judgements: Sequence[SubjectJudgement]) -> str:
    """A report with its pictures in files next to it; see `plots`."""
    lines = [f"# {_escaped(source)}", "", NOTES[origin], "", _METHOD, ""]
    for (title, (head, *rows)), picture in zip(tables(judgements), plots(judgements), strict=True):
        lines += [f"## {title}", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        lines += [_line(list(map(_escaped, row))) for row in rows]
        lines += ["", f"![nDCG@10]({picture})", ""]
    if failed := list(_failures(judgements)):
        lines += ["## Left out", ""]
        lines += [f"- {_escaped(what)}: {_escaped(reason)}" for what, reason in failed]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return " ".join(html.escape(text, quote=False).replace("|", "\\|").split())


def as_html(source: str, origin: str, judgements: Sequence[SubjectJudgement]) -> str:
    """The same as one self-contained page."""
    drawn: Mapping[str, str] = plots(judgements)
    parts = [f"<h1>{html.escape(source)}</h1><p>{NOTES[origin]}</p><p>{_METHOD}</p>"]
    for (title, table), picture in zip(tables(judgements), drawn.values(), strict=True):
        body = "".join(_cells("td", row) for row in table[1:])
        parts.append(f"<h2>{html.escape(title)}</h2>{picture}")
        parts.append(f"<table>{_cells('th', table[0])}{body}</table>")
    if failed := list(_failures(judgements)):
        items = (f"<li>{html.escape(w)}: {html.escape(why)}</li>" for w, why in failed)
        parts.append(f"<h2>Left out</h2><ul>{''.join(items)}</ul>")
    head = f"<meta charset=utf-8><title>{html.escape(source)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _cells(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
