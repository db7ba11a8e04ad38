"""``anymodal models eval``."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from workers.cli.options import apply_options, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from workers.config import Settings
    from workers.evaluation.judging import SubjectJudgement
    from workers.evaluation.questions import QuestionSet
    from workers.evaluation.subjects import Subject

_Origin = Literal["names", "classes", "synthetic"]


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
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for the report: eval.html, eval.md with its plots, and eval.json.",
)
@json_option
def eval_models(
    source: Path,
    models: Sequence[str],
    precisions: Sequence[str],
    gates: Sequence[str],
    questions: _Origin | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure how well models search your own files.

    SET is a CSV file with the columns query (or query_file), file and perhaps relevance; JSON lines
    with query (or query_file) and files; or a folder: of pairs such as photo.jpg and photo.txt, of
    subfolders named after what they hold, or of any files, for which queries are generated.

    R@k, nDCG@10 and MRR come with 95 % intervals, for each pair of modalities.
    """
    apply_options()
    from workers.cli.output import print_json, wants_json
    from workers.config import current_settings
    from workers.evaluation import report
    from workers.evaluation.reading import read_questions

    question_set = read_questions(source, current_settings().ingest, questions)
    judgements = _judged(question_set, models, precisions, gates)
    facts = (source.name or str(source), question_set.origin, judgements)
    if out:
        _write(out, facts)
    if wants_json(as_json):
        print_json(report.as_json(*facts))
    else:
        _show(judgements, out)


def _judged(
    question_set: QuestionSet,
    models: Sequence[str],
    precisions: Sequence[str],
    gates: Sequence[str],
) -> list[SubjectJudgement]:
    from workers.config import current_settings
    from workers.evaluation.subjects import subjects

    settings = current_settings()
    judgements: list[SubjectJudgement] = []
    for subject in subjects(models or [settings.encoder.model], precisions, gates):
        judgements.append(
            _one(subject, question_set, settings, judgements[0] if judgements else None)
        )
        gc.collect()  # one model in memory at a time
    return judgements


def _one(
    subject: Subject, question_set: QuestionSet, settings: Settings, first: SubjectJudgement | None
) -> SubjectJudgement:
    from workers.cli.output import progress_bar
    from workers.evaluation.judging import judge
    from workers.serving.resources import Resources

    with progress_bar("contents") as bar:
        task = bar.add_task(str(subject), total=None, note="")

        def progress(n_done: int, n_all: int) -> None:
            bar.update(task, completed=n_done, total=n_all)

        files = Resources(settings).ingest_config
        encoder = subject.open(settings.encoder)
        return judge(str(subject), encoder, question_set, files, first, progress)


def _write(out: Path, facts: tuple[str, str, Sequence[SubjectJudgement]]) -> None:
    import json

    from workers.evaluation import report

    out.mkdir(parents=True, exist_ok=True)
    pages = {
        "eval.html": report.as_html(*facts),
        "eval.md": report.as_markdown(*facts),
        "eval.json": json.dumps(report.as_json(*facts), ensure_ascii=False, indent=2) + "\n",
        **report.plots(facts[2]),
    }
    for name, text in pages.items():
        (out / name).write_text(text, encoding="utf-8")


def _table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    from workers.cli.output import marked

    table = Table(title=marked(title), title_justify="left")
    for heading in rows[0]:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows[1:]:
        table.add_row(*map(marked, row))
    return table


def _show(judgements: Sequence[SubjectJudgement], out: Path | None) -> None:
    from workers.cli.output import console, marked
    from workers.evaluation import report

    screen = console()
    for title, rows in report.tables(judgements):
        screen.print(_table(title, rows))
    for judgement in judgements:
        for content, reason in judgement.failed.items():
            screen.print(f"[yellow]left out[/] {marked(content[:200])}: {marked(reason)}")
    if out:
        screen.print(f"Wrote {marked(str(out / 'eval.html'))}")
