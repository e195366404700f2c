"""Output of a script that is taken while it runs: in batches, each line for itself, whatever becomes of the script later."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.errors import InvalidRecord, ScriptFailed
from notifier.record import JsonObject
from notifier.sandbox import Sandbox, Usage, detect_sandbox
from notifier.settings import load_settings
from producers.script import Script, ScriptParameters
from producers.script_stream import BATCH, ScriptStream
from tests.rigs.plugin_world import context_with_script

A, B = {"content": "a"}, {"content": "b"}


class Emitted:
    """Takes what is handed on."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.some = asyncio.Event()

    @property
    def items(self) -> list[Any]:
        """All that was handed on; of what is no message its error."""
        items = [item for batch in self.batches for item in batch]
        return [str(item) if isinstance(item, InvalidRecord) else item for item in items]

    async def take(self, items: Sequence[JsonObject | InvalidRecord]) -> None:
        """`Context.emit`."""
        self.batches.append(list(items))
        self.some.set()


async def streamed(*pieces: bytes, whole: bool = True) -> tuple[ScriptStream, list[Any]]:
    """What is handed on of output that comes in these pieces."""
    emitted = Emitted()
    stream = ScriptStream(emitted.take)
    writing = asyncio.create_task(stream.write())
    for piece in pieces:
        stream.take(piece)
        await asyncio.sleep(0)
    stream.end(whole=whole)
    await writing
    return stream, emitted.items


@pytest.mark.parametrize(
    ("printed", "items"),
    [
        (b'{"content": "a"}\n{"content": "b"}\n', [A, B]),
        (b'{"content": "a"}\r\n\r\n{"content": "b"}', [A, B]),
        (b'\xef\xbb\xbf\n{"content": "a"}\n', [A]),
        (b'\xef\xbb\xbf{"content": "a"}\n', [A]),
        (b'{"content": "a"}\n[1]\n{"content": "b"}\n', [A, [1], B]),
        ('{"content": "\u2028"}\n'.encode(), [{"content": "\u2028"}]),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_lines_are_handed_on_in_whatever_pieces_they_come(printed: bytes, items: list[Any], size: int) -> None:
    stream, found = await streamed(*(printed[place : place + size] for place in range(0, len(printed), size)))
    assert (stream.streams, found) == (True, items)


@pytest.mark.parametrize(
    "printed", [b"", b"[]", b'[{"content": "a"}]\n', b'{\n "content": "a"\n}\n', b'{"content": "a"}', b"well\n{}\n"]
)
async def test_what_is_no_json_lines_is_left_for_the_end(printed: bytes) -> None:
    stream, found = await streamed(printed)
    assert not stream.streams
    assert found == []


async def test_a_line_that_is_none_costs_itself_alone() -> None:
    deep = b"[" * 100_000
    _, found = await streamed(b'{"content": "a"}\nwell\n\xff\n' + deep + b'\n{"content": "b"}\n')
    assert [found[0], found[4]] == [A, B]
    assert found[1].startswith("line 2 of the output is not JSON")
    assert found[1].endswith("'well'")
    assert found[2].startswith("line 3")
    assert "nested too deeply" in found[3]
    assert all(len(each) < 400 for each in found[1:4])


async def test_a_script_that_was_ended_has_printed_no_whole_last_line() -> None:
    assert (await streamed(b'{"content": "a"}\n{"content": "b"}', whole=False))[1] == [A]


async def test_batches_are_bounded() -> None:
    emitted = Emitted()
    stream = ScriptStream(emitted.take)
    stream.take(b'{"content": "a"}\n' * (2 * BATCH + 1))
    stream.end(whole=True)
    await stream.write()
    assert [len(batch) for batch in emitted.batches] == [BATCH, BATCH, 1]


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The best sandbox there is here; without any, scripts of these tests run all the same."""
    return detect_sandbox(load_settings(env_file=None, data_dir=tmp_path_factory.mktemp("data"), script_sandbox="off"))


TOLD = """echo "{\\"content\\": \\"$NOTIFIER_PROTOCOL $NOTIFIER_PRODUCER $NOTIFIER_DUE\\"}"; """


async def test_items_are_handed_on_while_the_script_runs(sandbox: Sandbox) -> None:
    emitted = Emitted()
    due = datetime(2026, 11, 23, 9, tzinfo=UTC)
    context = replace(context_with_script("checks", sandbox, TOLD + "sleep 600"), emit=emitted.take, due=due)
    run = asyncio.create_task(Script(ScriptParameters(script="work", timeout_s=600)).produce(context))
    await emitted.some.wait()  # long before the script ends
    assert emitted.items == [{"content": "1 checks 2026-11-23T09:00:00Z"}]
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_what_was_handed_on_stays_when_the_script_fails_and_its_use_is_told(sandbox: Sandbox) -> None:
    emitted = Emitted()
    used: list[Usage] = []
    fails = """echo '{"content": "a"}'; echo -n '{"content": "torn'; exit 3"""
    context = replace(context_with_script("checks", sandbox, fails), emit=emitted.take, measured=used.append)
    with pytest.raises(ScriptFailed, match="exit status 3"):
        await Script(ScriptParameters(script="work")).produce(context)
    assert emitted.items == [A]
    (usage,) = used
    assert usage.elapsed_s > 0
    assert usage.cpu_s is not None
    assert usage.cpu_s > 0
    assert (usage.memory_mb or 0) > 0.1


async def test_an_array_is_taken_as_a_whole(sandbox: Sandbox) -> None:
    emitted = Emitted()
    context = replace(context_with_script("checks", sandbox, f"echo '{json.dumps([A])}'"), emit=emitted.take)
    assert await Script(ScriptParameters(script="work")).produce(context) == [A]
    assert emitted.batches == []


async def test_output_that_comes_byte_by_byte_is_the_same() -> None:
    emitted = Emitted()
    stream = ScriptStream(emitted.take)
    writing = asyncio.create_task(stream.write())
    long = {"content": "x" * 1_000_000}
    for byte in json.dumps(A).encode() + b"\n" + json.dumps(long).encode() + b"\n\n" + json.dumps(B).encode():
        stream.take(bytes([byte]))
    stream.end(whole=True)
    await writing
    assert emitted.items == [A, long, B]
