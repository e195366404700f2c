"""The messages of a body, one after another: what is found, and what hostile bodies cost."""

import itertools
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_api.http.media_type import JSON, NDJSON
from control_api.http.problems import Problem, problem_of
from control_api.intake.occasion import Occasion
from control_api.rest import items, pushed
from control_api.rest.items import MAX_ITEMS, Elements, Lines
from control_api.rest.pushed import Reader, read
from notifier.errors import NotifierError
from notifier.message import MAX_BYTES
from notifier.record import now

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
SPACE = st.sampled_from(["", " ", "\n", "\r\n\t "])


@given(st.lists(VALUES, max_size=6), SPACE, st.booleans())
def test_the_elements_of_any_array_are_found_as_they_were_written(
    values: list[object], space: str, ascii_: bool
) -> None:
    parts = [json.dumps(value, ensure_ascii=ascii_, indent=1 if space else None) for value in values]
    body = f"{space}[{space}" + f"{space},{space}".join(parts) + f"{space}]{space}"
    try:
        data = body.encode()
    except UnicodeEncodeError:
        return
    assert list(Elements().feed(data, last=True)) == [part.encode() for part in parts]


@given(st.text(alphabet='[]{},"\\a1 \n', max_size=30))
def test_what_is_no_array_of_json_is_refused_or_its_elements_are(text: str) -> None:
    """The splitter does not judge elements; together with their own check it accepts what is JSON, and nothing else."""
    body = f"[{text}".encode()
    try:
        for element in Elements().feed(body, last=True):
            json.loads(element)
        accepted = True
    except (Problem, ValueError):
        accepted = False
    try:
        json.loads(body)
        right = True
    except ValueError:
        right = False
    assert accepted == right


def test_lines_are_found_between_blank_ones() -> None:
    assert [line for _, line in Lines().feed(b"\n\n a \r\n\n  \n{}\r\nb", last=True)] == [b"a", b"{}", b"b"]


MESSAGES = st.sampled_from(
    [
        '{"producer":"ci","content":"x"}',
        '{"producer":"ci","content":"\\"]},{["}',
        '{"producer":"ci","content":"ä\\n","labels":{}}',
    ]
)
PIECES = (
    MESSAGES
    | VALUES.map(json.dumps)
    | st.sampled_from(["[", "]", ",", "\n", " ", "\x0b", "{", "}", '"', "1", "nul", "\\"])
)
BODIES = st.lists(MESSAGES, max_size=4).map(lambda some: f"[{','.join(some)}]") | st.lists(PIECES, max_size=8).map(
    "".join
)


@settings(max_examples=300)
@given(BODIES | BODIES.map(lambda body: f"[{body}") | BODIES.map(lambda body: f"\x0b\n {body} \x0b"), st.data())
@pytest.mark.parametrize("most", [MAX_BYTES, 40])  # bytes of a message
@pytest.mark.parametrize("media_type", [JSON, NDJSON])
def test_a_body_in_pieces_is_read_as_the_whole_of_it(
    media_type: str, most: int, body: str, data: st.DataObject
) -> None:
    """And is refused no later than its end, for the same reason, wherever it is cut."""
    whole = body.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in itertools.pairwise([0, *cuts, len(whole)])]
    occasion = Occasion(now(), "seed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "MAX_BYTES", most)
        patch.setattr(pushed, "MAX_BYTES", most)
        assert outcome(media_type, pieces, occasion) == outcome(media_type, [whole], occasion)


def outcome(media_type: str, pieces: list[bytes], occasion: Occasion) -> Any:
    reader = Reader(media_type, occasion)
    try:
        for number, piece in enumerate(pieces, 1):
            reader.feed(piece, last=number == len(pieces))
    except (Problem, NotifierError) as error:
        return problem_of(error).response().body
    return reader.checked


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b'[{"producer":"ci","content":"x"} 1'),
        (JSON, b"[,"),
        (JSON, b'[{"a":tru}'),
        (JSON, b'{"producer":"ci","content":"x"}'.join([b"[", *[b","] * MAX_ITEMS, b""])),
        (JSON, b"[" + b"[" * 100),
        (JSON, b"[" + b"1," * 100),
        (JSON, b'["' + b"x" * 900_010),
        (NDJSON, b"{}\n" * 100),
        (NDJSON, b"{\n"),
    ],
)
def test_what_is_refused_is_refused_before_the_rest_has_come(media_type: str, body: bytes) -> None:
    with pytest.raises((Problem, NotifierError)):
        Reader(media_type, Occasion(now())).feed(body, last=False)


MIB = 1024 * 1024
GOOD = b'{"producer":"ci","content":"x"}'
HOSTILE: dict[str, tuple[str, Callable[[], bytes], int]] = {
    "objects": (JSON, lambda: b"[" + b"{}," * (5 * MIB) + b"{}]", 422),
    "numbers": (JSON, lambda: b"[" + b"1," * (8 * MIB - 2) + b"1]", 422),
    "lines of objects": (NDJSON, lambda: b"{}\n" * (5 * MIB), 422),
    "lines of a character": (NDJSON, lambda: b"1\n" * (8 * MIB), 422),
    "blank lines": (NDJSON, lambda: b"\n" * (16 * MIB - 1) + b"1", 422),
    "brackets": (JSON, lambda: b"[" * (8 * MIB), 400),
    "braces": (JSON, lambda: b'[{"a":' * MIB, 400),
    "a message of 100,000 labels": (
        JSON,
        lambda: (
            b'{"producer":"ci","content":"x","labels":{' + b",".join(b'"%d":""' % n for n in range(100_000)) + b"}}"
        ),
        413,
    ),
    "a message of lists": (JSON, lambda: b'[{"producer":"ci","content":"x","a":[' + b"[]," * 290_000 + b"1]}]", 413),
    "a large message": (JSON, lambda: b'{"producer":"ci","content":"' + b"x" * (15 * MIB) + b'"}', 413),
    "a text without end": (JSON, lambda: b'["' + b'\\"' * (7 * MIB), 400),
    "commas and a text without end": (JSON, lambda: b'{"a":[' + b"1," * 210_000 + b'"' + b'\\"' * 200_000, 413),
    "no element": (JSON, lambda: b"[" + b"," * (8 * MIB), 400),
    "too many messages": (JSON, lambda: b"[" + GOOD + (b"," + GOOD) * MAX_ITEMS + b"]", 413),
    "too many lines": (NDJSON, lambda: (GOOD + b"\n") * (MAX_ITEMS + 1), 413),
}


@pytest.mark.parametrize(("media_type", "make", "status"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_refused_for_no_more_memory_than_an_honest_one(
    media_type: str, make: Callable[[], bytes], status: int
) -> None:
    body = make()
    tracemalloc.start()
    try:
        with pytest.raises((Problem, NotifierError)) as caught:
            read(media_type, body, Occasion(now()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problem_of(caught.value).status == status
    assert peak < 40 * MIB
    if "too many" in str(caught.value):
        assert str(MAX_ITEMS) in str(caught.value)


def test_as_many_messages_as_there_may_be_are_read() -> None:
    whole = read(JSON, b"[" + b",".join([GOOD] * MAX_ITEMS) + b"]", Occasion(now()))
    assert len(whole) == MAX_ITEMS
    assert len({one.id for one in whole}) == MAX_ITEMS
