"""The script producer: what a script prints becomes messages or a clear error, with real scripts in the real sandbox."""

import logging

import pytest
from pydantic import ValidationError

from notifier.errors import ScriptFailed, ScriptTimeout, UnknownName
from notifier.sandbox import Sandbox, detect_sandbox
from notifier.script import Executor
from notifier.settings import Settings, load_settings
from producers.script import Script, ScriptParameters, read_output
from tests.rigs.plugin_world import context_with_script


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The best sandbox there is here; without any, scripts of these tests run all the same."""
    settings: Settings = load_settings(env_file=None, data_dir=tmp_path_factory.mktemp("data"), script_sandbox="off")
    return detect_sandbox(settings)


@pytest.mark.predecessor("S-49")
@pytest.mark.parametrize(
    ("printed", "items"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" \n\t\n", [], id="white space"),
        pytest.param("[]", [], id="an empty array"),
        pytest.param('[{"content": "a"}, {"content": "b"}]', [{"content": "a"}, {"content": "b"}], id="an array"),
        pytest.param('{"content": "a"}\n{"content": "b"}\n', [{"content": "a"}, {"content": "b"}], id="JSON Lines"),
        pytest.param(
            '\n{"content": "a"}\r\n\r\n{"content": "b"}', [{"content": "a"}, {"content": "b"}], id="blank lines"
        ),
        pytest.param('{\n "content": "a"\n}', [{"content": "a"}], id="one object on several lines"),
        pytest.param(
            '{"content": "a\u2028b"}\n{"content": "c"}', [{"content": "a\u2028b"}, {"content": "c"}], id="U+2028"
        ),
        pytest.param('\ufeff[{"content": "a"}]', [{"content": "a"}], id="a byte order mark"),
        pytest.param(
            '[{"content": "a", "more": {"x": [1]}}]', [{"content": "a", "more": {"x": [1]}}], id="unknown fields"
        ),
    ],
)
def test_output_is_read(printed: str, items: list[object]) -> None:
    assert read_output(printed.encode()) == items


@pytest.mark.predecessor("S-49")
@pytest.mark.parametrize(
    ("printed", "error"),
    [
        pytest.param(b"all is well", "line 1 of the output is not JSON", id="plain text"),
        pytest.param(b'{"content": "a"}\n\n{"content": ', "line 3 of the output is not JSON", id="a torn line"),
        pytest.param(b'[{"content": "a"}, ', "the output is not a JSON array", id="a torn array"),
        pytest.param(b'[{"content": NaN}]', "the output is not a JSON array", id="NaN"),
        pytest.param(b'[{"content": "a"}, 5]', "item 2: must be an object", id="a number among objects"),
        pytest.param(b'"text"', "item 1: must be an object", id="a lone text"),
        pytest.param(b'{"content": "a"}\n[1]', "item 2: must be an object", id="an array among lines"),
        pytest.param(b'[{"content": "\xff"}]', "not UTF-8 at byte 14", id="not UTF-8"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep nesting"),
    ],
)
def test_output_that_is_not_the_protocol_is_refused(printed: bytes, error: str) -> None:
    with pytest.raises(ScriptFailed, match=error) as raised:
        read_output(printed, "what it said")
    assert raised.value.stderr == "what it said"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "script"),
        ({"script": "Not A Name"}, "script"),
        ({"script": "it", "timeout_s": 0}, "timeout_s"),
        ({"script": "it", "timeout_s": 3601}, "timeout_s"),
        ({"script": "it", "memory_mb": 1}, "memory_mb"),
        ({"script": "it", "write": ["out"]}, "write"),
        ({"script": "it", "write": ["/srv/../etc"]}, "write"),
        ({"script": "it", "retries": 3}, "retries"),
    ],
)
def test_wrong_parameters_of_a_script_name_the_field(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ScriptParameters.model_validate(parameters)
    assert [error["loc"][0] for error in raised.value.errors()] == [field]


@pytest.mark.predecessor("S-48", "S-49")
@pytest.mark.parametrize(
    ("executor", "content"),
    [
        pytest.param(
            "bash",
            """read -r line; echo "[{\\"receiver\\": \\"alice\\", \\"content\\": \\"got '$line'\\"}]" """,
            id="bash",
        ),
        pytest.param(
            "python",
            "import json, sys\nprint(json.dumps([{'receiver': 'alice', 'content': f'got {sys.stdin.read()!r}'}]))",
            id="python",
        ),
    ],
)
async def test_a_script_gets_no_input_and_its_output_is_the_messages(
    sandbox: Sandbox, executor: Executor, content: str
) -> None:
    produced = await Script(ScriptParameters(script="work")).produce(
        context_with_script("checks", sandbox, content, executor)
    )
    assert produced == [{"receiver": "alice", "content": "got ''"}]


@pytest.mark.predecessor("S-51")
async def test_what_a_script_writes_on_standard_error_is_logged_when_it_ends_well(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        produced = await Script(ScriptParameters(script="work")).produce(
            context_with_script("checks", sandbox, """echo "beware" >&2; echo '{"content": "a"}'""")
        )
    assert produced == [{"content": "a"}]
    assert "beware" in caplog.text


@pytest.mark.predecessor("S-51")
@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param("""echo '[{"content": "a"}]'; echo "it broke" >&2; exit 3""", "3", id="exit status"),
        pytest.param("""echo "no JSON"; echo "it broke" >&2""", "not JSON", id="output"),
    ],
)
async def test_a_script_that_fails_says_why_with_its_standard_error(sandbox: Sandbox, content: str, error: str) -> None:
    with pytest.raises(ScriptFailed, match=error) as raised:
        await Script(ScriptParameters(script="work")).produce(context_with_script("checks", sandbox, content))
    assert "it broke" in raised.value.stderr


@pytest.mark.predecessor("S-48")
async def test_a_script_that_hangs_is_ended_at_its_time_limit(sandbox: Sandbox) -> None:
    with pytest.raises(ScriptTimeout):
        await Script(ScriptParameters(script="work", timeout_s=0.5)).produce(
            context_with_script("checks", sandbox, "sleep 600")
        )


async def test_a_script_that_does_not_exist_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(UnknownName, match="other"):
        await Script(ScriptParameters(script="other")).produce(context_with_script("checks", sandbox, "true"))
