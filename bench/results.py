"""Runs a row's columns in turn and keeps what came of it; tells it as tables for people and as JSON."""

import math
import signal
import statistics
import subprocess
import sys
import time

from benchlib import print_rows
from rows.row import AWAKE, AWAKE_WORDS

# A column that takes longer than this for one run hangs, or is of no use to compare with.
RUN_LIMIT_SECONDS = 600
FAILURES = (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError)


class Result:
    """Of one row: single runs, who was left out, who failed, and why."""

    def __init__(self, row):
        self.row = row
        self.names = {}
        self.runs = {}
        self.absent = {}
        self.failed = {}
        self.answers = {}
        self.environment = None  # Session.environment() of the run that it is of

    def medians(self):
        """{figure: {column: median}} of the columns that gave right answers."""
        found = {}
        for figure in self.row.figures:
            values = {key: self.values(figure, key) for key in self.runs}
            found[figure.key] = {key: statistics.median(of_one) for key, of_one in values.items() if of_one}
        return found

    def values(self, figure, column):
        return [run[figure.key] for run in self.runs[column] if figure.key in run]

    def judged(self):
        """(figure, target, the median, its bound, whether it is met; None: there is nothing to compare with).

        A column that failed, or could not do what the figure is of, has not met it."""
        medians = self.medians()
        for figure in self.row.figures:
            for target in figure.targets:
                median = medians[figure.key].get(target.column)
                bound = target.bound(medians)
                there = target.column in self.names and target.column not in self.absent
                met = None if bound is None or not there else median is not None and median <= bound
                yield figure, target, median, bound, met


def on_alarm(number, frame):
    raise RuntimeError(f"took more than {RUN_LIMIT_SECONDS} s")


def progress(words):
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def run_rows(rows, rounds, place):
    """Yields results, each printed when it is there. A row whose inputs cannot be made is named and left out."""
    for row in rows:
        begin = time.monotonic()
        try:
            result = run_row(row, rounds, place)
        except FAILURES as error:
            progress("")
            print(f"\n== {row.number}: {row.title}\n  left out: {error}")
            place.clear()
            continue
        progress("")
        print_result(result)
        print(f"  took {time.monotonic() - begin:.0f} s", flush=True)
        yield result


def run_row(row, rounds, place):
    """Every column once a round, another one first in each. What fails is left out from then on, with its reason."""
    result = Result(row)
    columns = {}
    signal.signal(signal.SIGALRM, on_alarm)
    try:
        row.prepare()
        for key, column in row.columns().items():
            result.names[key] = column.name
            reason = column.absent()
            if reason:
                result.absent[key] = reason
                continue
            if attempt(result, key, place, lambda column=column: row.warm_up(column)):
                columns[key] = column
                result.runs[key] = []
        for number in range(row.rounds(rounds)):
            run_round(row, result, columns, number, place)
    finally:
        row.close()
    return result


def attempt(result, key, place, work):
    """Whether it succeeded; when not, the reason is kept and what it left mounted is taken down."""
    signal.alarm(RUN_LIMIT_SECONDS)
    try:
        work()
        return True
    except FAILURES as error:
        result.failed[key] = str(error) or type(error).__name__
        return False
    finally:
        signal.alarm(0)
        if key in result.failed:
            place.clear()


def run_round(row, result, columns, number, place):
    keys = [key for key in columns if key not in result.failed]
    if not keys:
        return
    first = number % len(keys)
    for key in keys[first:] + keys[:first]:
        progress(f"row {row.number}, round {number + 1}: {result.names[key]}")

        def work(key=key):
            figures, answer = row.measure(columns[key], number == 0)
            result.runs[key].append(figures)
            if answer is not None:
                result.answers[key] = answer

        attempt(result, key, place, work)
    if number == 0:
        refuse_wrong_answers(row, result)


def refuse_wrong_answers(row, result):
    """The answer is that of overlayfs, of the native file system, or of the first column that has one."""
    reference = next((key for key in (row.baseline, "native", *result.answers) if key in result.answers), None)
    for key, answer in result.answers.items():
        if answer != result.answers[reference]:
            result.failed[key] = f"wrong answer: {answer}; {result.names[reference]} says {result.answers[reference]}"
            result.runs[key] = []


def verdict(met):
    return "?" if met is None else "met" if met else "MISSED"


def print_result(result):
    row = result.row
    medians = result.medians()
    print(f"\n== {row.number}: {row.title}")
    rows = [("figure", "file system", "median", "range", "runs", "x " + result.names.get(row.baseline, row.baseline), "x best peer")]
    for figure in row.figures:
        rows += figure_rows(result, figure, medians[figure.key])
    print_rows(f"{max((len(runs) for runs in result.runs.values()), default=0)} rounds", rows, left=2)
    for figure, target, median, bound, met in result.judged():
        measured = "-" if median is None else f"{figure.shown(median)} {figure.unit}".strip()
        allowed = "-" if bound is None else f"{figure.shown(bound)} {figure.unit}".strip()
        who = "" if target.column == "varvefs" else f" ({result.names.get(target.column, target.column)})"
        print(f"  target, {figure.title}{who}: {target.words}: {measured} of {allowed}: {verdict(met)}")
    for kind, reasons in (("left out", result.absent), ("failed", result.failed)):
        for key, reason in reasons.items():
            print(f"  {result.names[key]}: {kind}: {reason}")
    for note in row.notes:
        print(f"  {note}")


def ratio(value, base):
    if not base:
        return ""
    found = value / base
    return f"{found:.4f}" if found < 0.1 else f"{found:.2f}" if found < 100 else f"{found:.0f}"


def is_ours(key):
    return key.startswith("varve")


def figure_rows(result, figure, medians):
    peers = [median for key, median in medians.items() if not is_ours(key)]
    for number, key in enumerate(key for key in result.runs if key in medians):
        values = result.values(figure, key)
        base = medians.get(result.row.baseline)
        yield (
            figure.heading if number == 0 else "",
            result.names[key],
            figure.shown(medians[key]),
            f"{figure.shown(min(values))}-{figure.shown(max(values))}",
            str(len(values)),
            ratio(medians[key], base),
            ratio(medians[key], min(peers, default=None)),
        )


def print_summary(results):
    """One line for each target."""
    rows = [("row", "figure", "varvefs", "overlayfs", "best peer", "target", "allowed", "")]
    for result in results:
        medians = result.medians()
        for figure, target, median, bound, met in result.judged():
            of_figure = medians[figure.key]
            peers = [value for key, value in of_figure.items() if not is_ours(key)]
            shown = [figure.shown(value) if value is not None else "-"
                     for value in (median, of_figure.get("ovl"), min(peers, default=None))]  # fmt: skip
            rows.append((result.row.number, figure.heading, *shown, target.words,
                         "-" if bound is None else figure.shown(bound), verdict(met)))  # fmt: skip
    print_rows("All targets", rows, left=2)


def environment_words(told):
    """On what it was measured, in a line."""
    return ", ".join([
        told["date"][:10],
        f"commit {told['commit'][:7]}" + (" and changes" if told["uncommitted"] else ""),
        f"Linux {told['kernel']}",
        f"{told['processors']} processors ({told['processor']})",
        f"{told['memory_kib'] / (1 << 20):.0f} GiB",
        *(f"{package} {version}" for package, version in told["packages"].items() if version),
    ])  # fmt: skip


def environment_lines(results):
    """Which rows were measured on what; those of one run together."""
    rows_of = {}
    for result in results:
        if result.environment:
            rows_of.setdefault(environment_words(result.environment), []).append(result.row.number)
    return [f"Rows {', '.join(rows)}: {words}." for words, rows in rows_of.items()]


def write_markdown(path, results):
    """One line for each target, those of wakeup_us=0 beside those of the default; then on what it was measured."""
    head = ("Row", "Figure", "varvefs", "overlayfs", "best peer", "goal", "", "`wakeup_us=0`")
    lines = [head, ("---",) * len(head)]
    for result in results:
        medians = result.medians()
        judged = list(result.judged())
        awake = {(figure.key, target.words): (median, met) for figure, target, median, _, met in judged if target.column == AWAKE}
        for figure, target, median, _, met in judged:
            if target.column == AWAKE:
                continue
            of_figure = medians[figure.key]
            best = min((key for key in of_figure if not is_ours(key)), key=of_figure.get, default=None)
            values = result.values(figure, target.column) if median is not None else []
            spread = f" ({figure.shown(min(values))}-{figure.shown(max(values))})" if values else ""
            who = "" if target.column == "varvefs" else f"{result.names.get(target.column, target.column)}: "
            beside = awake.get((figure.key, f"{AWAKE_WORDS}{target.words}"))
            lines.append((
                result.row.number,
                who + figure.heading,
                "-" if median is None else figure.shown(median) + spread,
                figure.shown(of_figure["ovl"]) if "ovl" in of_figure else "",
                f"{figure.shown(of_figure[best])}, {result.names[best]}" if best else "",
                target.words,
                "**missed**" if met is False else verdict(met),
                f"{figure.shown(beside[0])} ({verdict(beside[1]).lower()})" if beside and beside[0] is not None else "",
            ))  # fmt: skip
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"| {' | '.join(line)} |\n" for line in lines)
        file.writelines(f"\n{line}\n" for line in environment_lines(results))


def from_json(row, told):
    """What as_json() told of a row."""
    result = Result(row)
    row.title = told["title"]
    for name in ("names", "runs", "absent", "failed"):
        setattr(result, name, told[name])
    row.notes = told["notes"]
    result.environment = told.get("environment")
    return result


def as_json(result):
    row = result.row
    medians = result.medians()
    return {
        "row": row.number,
        "title": row.title,
        "figures": {figure.key: {"title": figure.title, "shown_in": figure.unit or "count"} for figure in row.figures},
        "names": result.names,
        "runs": result.runs,
        "medians": medians,
        "targets": [
            {"figure": figure.key, "column": target.column, "words": target.words, "median": median, "met": met,
             "bound": None if bound is None or math.isinf(bound) else bound}
            for figure, target, median, bound, met in result.judged()
        ],  # fmt: skip
        "absent": result.absent,
        "failed": result.failed,
        "notes": row.notes,
        "environment": result.environment,
    }
