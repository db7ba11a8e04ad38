"""``anymodal models eval``."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import RenderableType

from workers.cli.options import json_option, settings_options
from workers.cli.output import marked, progress, show, table

_NAMES = {
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "ndcg_at_10": "nDCG@10",
    "mrr": "MRR",
}


@click.command("eval")
@click.argument("source", metavar="SET", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help="A model to measure. Repeatable; the others are compared with the first. "
    "[default: from the settings]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="A precision to run each model in: none, int8, int4, bf16, auto or a folder. Repeatable.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    help="A gate to run each model with: true, false, auto or a file. Repeatable.",
)
@click.option(
    "--questions",
    type=click.Choice(["names", "classes", "synthetic"]),
    help="Where the queries of a folder come from. [default: the first of these that it has]",
)
@settings_options()
@json_option
def eval_models(
    source: Path,
    models: Sequence[str],
    precisions: Sequence[str],
    gates: Sequence[str],
    questions: Literal["names", "classes", "synthetic"] | None,
) -> None:
    """Measure how well models search your own files.

    SET is a CSV file with the columns query (or query_file), file and perhaps relevance; or a
    folder: of pairs such as photo.jpg and photo.txt, of subfolders named after what they hold, or
    of any files, for which queries are generated.

    R@k, nDCG@10 and MRR come with 95 % intervals, for each pair of modalities.
    """
    from encoder import MultiModalEncoder
    from workers.config import current_settings
    from workers.evaluation.judging import SubjectJudgement, judge
    from workers.evaluation.questions import read_questions
    from workers.serving.resources import Resources

    settings = current_settings()
    question_set = read_questions(source, settings.ingest, questions)
    judgements: list[SubjectJudgement] = []
    for model, precision, gate in product(
        models or [settings.encoder.model], precisions or (None,), gates or (None,)
    ):
        words = (model, precision, f"gate {gate}" if gate else "")
        chosen = {"model": model, "quantization": precision, "enable_dsre": gate}
        update = {name: value for name, value in chosen.items() if value is not None}
        config = type(settings.encoder)(**{**settings.encoder.model_dump(), **update})
        name, first = ", ".join(filter(None, words)), judgements[0] if judgements else None
        with progress(name, "contents") as bar:
            encoder = MultiModalEncoder(config=config)
            files = Resources(settings).ingest_config
            judgements.append(judge(name, encoder, question_set, files, first, bar))
        del encoder
        gc.collect()  # one model in memory at a time
    answer = {
        "source": source.name or str(source),
        "questions": question_set.origin,
        "subjects": [judgement.as_json() for judgement in judgements],
    }
    show(answer, _lines)


def _lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    """For each pair of modalities a table with a row for each model; then what was left out."""
    pairs_of = {
        subject["name"]: {(pair["query"], pair["target"]): pair for pair in subject["pairs"]}
        for subject in answer["subjects"]
    }
    for query, target in sorted({kinds for pairs in pairs_of.values() for kinds in pairs}):
        rows, title = [], ""
        for subject in answer["subjects"]:
            if pair := pairs_of[subject["name"]].get((query, target)):
                figures = [_interval(pair[name]) for name in _NAMES]
                gain = _interval(pair["gain"], "+.3f") if pair["gain"] else ""
                rows.append((subject["name"], *figures, gain, f"{subject['cpu_s']:.1f}"))
                title = f"{pair['n_queries']} queries, {pair['n_candidates']} candidates"
        headings = ("", *_NAMES.values(), "gain", "CPU-s")
        yield table(headings, rows, f"{query} → {target}: {title}")
    for subject in answer["subjects"]:
        for content, reason in subject["failed"].items():
            yield f"[yellow]left out[/] {marked(content[:200])}: {marked(reason)}"


def _interval(figure: Mapping[str, float], form: str = ".3f") -> str:
    return f"{figure['mean']:{form}} ({figure['low']:{form}} – {figure['high']:{form}})"
