"""Running: the tests of files, tried by the definitions of the same files. Pure: nothing is read but the files.

documents ─► catalog, secrets closed ─► Judge and ways, as a router decides ─► what is expected?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from control_api.definitions.closed import catalog_of
from control_api.definitions.documents import load_with_tests
from control_api.explain.explainer import Question, explain
from control_api.explain.ways import ways
from control_api.file_tests.file_test import ExpectedDrop, ExpectedProblem, FileTest, read_tests
from control_api.registry import load_registry
from filters.decision import Judge, Judgement
from notifier.catalog import Catalog
from notifier.errors import FieldError, InputError
from notifier.record import now
from notifier.registry import Registry

Told = tuple[str | None, str]  # recipient, and consumer

# Nobody gets a message that names what is not there, so a test with a misspelt name would pass.
_MISTAKES = ("unknown_producer", "unknown_configuration", "unknown_receiver", "ambiguous_receiver")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a test ended. `why` has a line for each thing that is not as expected; empty: it passed."""

    test: FileTest
    why: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.why


def run_tests(path: Path, registry: Registry | None = None) -> list[Outcome]:
    """Tries the tests of a YAML file, or of all below a folder.

    Raises InputError for what cannot be read, and for definitions that name what the files do not have.
    """
    documents, written = load_with_tests(path)
    catalog = catalog_of(documents, Catalog(registry=registry or load_registry()))
    tests = read_tests(written)
    _check_names(catalog, tests)
    return [Outcome(test=test, why=_run(catalog, test)) for test in tests]


def _check_names(catalog: Catalog, tests: Sequence[FileTest]) -> None:
    """Raises InputError where a test expects something of what is not there: it could only fail, or pass for no reason."""
    wrong = []
    for test in tests:
        names = [("configuration", test.configuration, "/configuration")]
        if isinstance(test.expect, ExpectedDrop):
            names.append(("filter", test.expect.dropped_by, "/expect/dropped_by"))
        elif not isinstance(test.expect, ExpectedProblem):
            for place, one in enumerate(test.expect):
                names += [("user", one.recipient, f"/expect/{place}/recipient")]
                names += [("consumer", one.consumer, f"/expect/{place}/consumer")]
        wrong += [
            FieldError(f"{test.place} test {test.name} {pointer}", f"there is no {kind} {name!r} in these files")
            for kind, name, pointer in names
            if name is not None and name not in getattr(catalog, f"{kind}s")
        ]
    if wrong:
        raise InputError(wrong)


def _run(catalog: Catalog, test: FileTest) -> list[str]:
    at, expected = test.at or now(), test.expect
    decision = Judge(catalog).decide(test.told.message, at)
    if isinstance(expected, ExpectedProblem):
        as_expected = decision.problem == expected.reason
        return [] if as_expected else [f"{expected.reason} was expected: {_explained(catalog, test, at, None)}"]
    if decision.problem in _MISTAKES:
        return [f"{decision.text}; where that is meant, write `expect: {{reason: {decision.problem}}}`"]
    judged = [one for one in decision.judgements if test.configuration in (None, one.configuration.name)]
    failed = [f"{one.failure.filter} cannot judge it: {one.failure}" for one in judged if one.failure is not None]
    got = _told(catalog, judged, to_all=decision.receiver is None)
    if isinstance(expected, ExpectedDrop):
        name = expected.dropped_by
        if got:
            people = ", ".join(_in_words(one) for one in sorted(got, key=str))
            return [f"{name} was expected to drop it, but it goes to {people}: {_explained(catalog, test, at, None)}"]
        is_dropped = name in {drop.filter for one in judged for drop in one.dropped}
        return failed or (
            [] if is_dropped else [f"{name} was expected to drop it: {_explained(catalog, test, at, None)}"]
        )
    wanted = {(one.recipient, one.consumer) for one in expected}
    missing = sorted(wanted - got, key=str)
    extra = sorted(got - wanted, key=str)
    lines = [f"{_in_words(one)} was expected: {_explained(catalog, test, at, one[0])}" for one in missing]
    lines += [f"{_in_words(one)} was not expected: {_explained(catalog, test, at, one[0])}" for one in extra]
    return lines or failed  # nobody gets what a filter cannot judge, which no test means


def _told(catalog: Catalog, judged: Sequence[Judgement], *, to_all: bool) -> set[Told]:
    """Who gets the message, and how. A delivery to everyone at once counts for each of them."""
    found: set[Told] = set()
    for judgement in judged:
        for way in ways(catalog, judgement.configuration, judgement.passed, to_all=to_all):
            if way.lane is not None:
                one = None if way.recipient is None else way.recipient.username
                found |= {(name, way.consumer) for name in way.recipients or [one]}
    return found


def _explained(catalog: Catalog, test: FileTest, at: datetime, recipient: str | None) -> str:
    question = Question(told=test.told, at=at, receiver=recipient, configuration=test.configuration)
    return explain(catalog, question).explanation.text


def _in_words(one: Told) -> str:
    recipient, consumer = one
    return f"{recipient or 'everyone'} by {consumer}"
