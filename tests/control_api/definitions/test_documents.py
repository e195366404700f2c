"""Documents: YAML read strictly, faults named by place, and what is dumped read back."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from control_api.definitions.apply import apply
from control_api.definitions.documents import dump, load
from control_api.definitions.includes import with_secrets
from control_api.definitions.plan import Planner
from control_api.models import DefinitionRow
from notifier.database import Database
from notifier.definition import ScriptSpec, read_spec
from notifier.errors import InputError, NotifierError
from notifier.record import JsonObject
from notifier.seal import Seal, generate_key
from tests.rigs.definitions_rig import REGISTRY, rows, write_files

pytest_plugins = ["tests.rigs.databases"]


WRONG_FILES = [
    ("not YAML", "users: [", r"d\.yaml:\d+: is not YAML"),
    ("key twice", "users: []\nusers: []\n", r"d\.yaml:2: the field 'users' is there already, in line 1"),
    ("field twice", "users:\n  - username: a\n    on_leave: true\n    on_leave: false\n", r"d\.yaml:4: the field 'on_leave'"),
    ("merged field twice", "x-a: &a\n  on_leave: true\n  on_leave: false\nusers:\n- {<<: *a, username: a}\n",
     r"d\.yaml:3: the field 'on_leave' is there already, in line 2"),
    ("merged twice", "x-a: &a {}\nusers:\n- <<: *a\n  <<: *a\n", r"d\.yaml:4: the field '<<' is there already, in line 3"),
    ("merged text", "users:\n- {username: a, <<: b}\n", r"d\.yaml:2: `<<` merges an object or a list of objects"),
    ("merged list of texts", "x-a: &a {}\nusers:\n- {username: a, <<: [*a, b]}\n", r"d\.yaml:3: `<<` merges an object"),
    ("merged nothing", "users:\n- {username: a, <<: }\n", r"d\.yaml:2: `<<` merges an object"),
    ("merged itself", "users:\n- &a {username: a, <<: *a}\n", r"d\.yaml:2: an alias must not hold itself"),
    ("merged below itself", "users:\n- &a {username: a, additional_info: {<<: *a}}\n", r"d\.yaml:2: an alias must not hold"),
    ("merged round and round", "users:\n- &a {username: a, <<: &b {on_leave: true, <<: *a}}\n", r"an alias must not hold itself"),
    ("merged unknown field", "x-a: &a {onleave: true}\nusers:\n- {<<: *a, username: a}\n",
     r"d\.yaml:3 user a /onleave: is not a field here"),
    ("an x- below the top", "users: [{username: a, x-note: hi}]", r"d\.yaml:1 user a /x-note: is not a field here"),
    ("merged chain", "x-a: [&a0 {}" + "".join(f", &a{n} {{<<: *a{n - 1}}}" for n in range(1, 300))
     + "]\nusers:\n- {username: a, <<: *a299}\n", r"d\.yaml:1: merges what merges too many others"),
    ("deep field twice", "users: [{username: a, additional_info: {x: {y: 1, y: 2}}}]", r"d\.yaml:1: the field 'y'"),
    ("unknown kind", "user: []\n", r"'user' is not a kind of definition; did you mean 'users'\?"),
    ("unknown field", "users: [{username: a, onleave: true}]", r"d\.yaml:1 user a /onleave: is not a field here"),
    ("name twice", "users:\n- {username: a}\n- {username: a}\n", r"d\.yaml:3: the user 'a' is there already, at d\.yaml:2"),
    ("case only", "users:\n- {username: a}\n- {username: A}\n", r"d\.yaml:3: the user 'A' would differ from 'a'"),
    ("no name", "users:\n- {on_leave: true}\n", r"d\.yaml:2 user /username: is required"),
    ("number as name", "users:\n- {username: 7}\n", r"/username: must be text; put it in quotes"),
    ("no list", "users: {username: a}", "users must be a list"),
    ("no object", "- users", "must be an object with users"),
    ("text item", "users: [alice]", r"d\.yaml:1 user : must be an object|d\.yaml:1 user"),
    ("tag", "users: [{username: !!python/object/apply:os.system [x]}]", "the tag .* is not read here"),
    ("binary", "users: [{username: a, additional_info: {x: {y: !!binary aGk=}}}]", "the tag .* is not read here"),
    ("key not text", "users: [{username: a, additional_info: {1: {}}}]", "a field's name must be text"),
    ("alias to itself", "users: [{username: a, additional_info: &x {y: *x}}]", "an alias must not hold itself"),
    ("not a number", "users: [{username: a, additional_info: {x: {y: .nan}}}]", r"/additional_info/x/y: must be a number"),
    ("name a number", "users: [{username: 12345}]", r"d\.yaml:1 user /username: must be text; put it in quotes"),
    ("name nothing", "scripts: [{name: Null, content: x}]", r"script /name: must be text; put it in quotes"),
    ("name a power", "producers: [{name: 1e3, type: feed}]", r"producer /name: must be text; put it in quotes"),
    ("world's name a power", "users: [{username: a, additional_info: {default: {username: 1e5}}}]",
     r"user a /additional_info/default/username: must be text; put it in quotes"),
    ("world's name with zeros", "users: [{username: a, additional_info: {default: {username: 00123}}}]",
     r"user /additional_info/default/username: '00123' would lose its zeros as a number; put it in quotes"),
    ("world's second name", "users: [{username: a, additional_info: {x: [{username: b}, {username: true}]}}]",
     r"/additional_info/x/1/username: must be text; put it in quotes"),
    ("world's name octal", "users: [{username: a, additional_info: {x: {username: 0o17}}}]", "/x/username: must be text; put"),
    ("world's name nothing", "users: [{username: a, additional_info: {x: {username: ~}}}]", "/x/username: must be text; put"),
    ("world's name long", "users: [{username: a, additional_info: {x: {username: 99999999999999999999}}}]",
     "/x/username: is too large a number; put a text in quotes"),
    ("id a power", "users: [{username: a, additional_info: {x: {id: 1e5}}}]", "/x/id: must be a whole number or text"),
    ("id a truth", "users: [{username: a, additional_info: {x: {id: true}}}]", "/x/id: must be a whole number or text"),
    ("a name in a list", "configurations: [{name: c, users: [a, 1e3]}]", "/users/1: must be text; put it in quotes"),
    ("a truth for a zone", "users: [{username: a, working_time: {start: '9:00', end: '10:00', timezone: true}}]",
     "/working_time/timezone: must be text; put it in quotes"),
    ("a number for a template", "configurations: [{name: c, template: 0x1F}]", "/template: must be text; put it in quotes"),
    ("a number for a secret", "producers: [{name: p, type: feed, parameters: {url: x, token: 123456}}]",
     "/parameters/token: must be text; put it in quotes"),
    ("missing variable", "producers: [{name: p, type: feed, parameters: {url: x, token: '${NO_SUCH}'}}]",
     r"d\.yaml:1 producer p /parameters/token: the environment variable NO_SUCH is not set"),
    ("odd variable", "producers: [{name: p, type: feed, parameters: {url: x, token: '${a-b}'}}]",
     r"/parameters/token: 'a-b' is neither the name of a variable nor file:PATH"),
    ("secret file outside", "producers: [{name: p, type: feed, parameters: {url: x, token: '${file:../outside.txt}'}}]",
     r"/parameters/token: '../outside.txt' is outside the folder"),
    ("secret file missing", "producers: [{name: p, type: feed, parameters: {url: x, token: '${file:none}'}}]",
     r"/parameters/token: there is no file 'none'"),
    ("script outside", "scripts: [{name: s, file: ../outside.txt}]", r"d\.yaml:1 script /file: '../outside.txt' is outside"),
    ("script by a link outside", "scripts: [{name: s, file: link.sh}]", "is outside the folder"),
    ("script absolute", "scripts: [{name: s, file: /etc/hostname}]", "is outside the folder"),
    ("script is a folder", "scripts: [{name: s, file: .}]", "is not a file"),
    ("script not there", "scripts: [{name: s, file: none.sh}]", "there is no file 'none.sh'"),
    ("script not UTF-8", "scripts: [{name: s, file: latin.sh}]", "is not UTF-8"),
    ("file and content", "scripts: [{name: s, file: a.sh, content: x}]", "keep one"),
    ("file elsewhere", "users: [{username: a, file: a.sh}]", "/file: is not a field here"),
    ("required secret", "producers: [{name: p, type: feed, parameters: {url: x}}]",
     r"d\.yaml:1 producer p /parameters/token: is required"),
    ("unknown type", "producers: [{name: p, type: fee}]", r"d\.yaml:1 producer p /type: there is no producer type 'fee'"),
    ("reference", "configurations: [{name: c, users: [x]}]", r"d\.yaml:1 configuration c /users/0: there is no user 'x'"),
    ("script reference", "consumers: [{name: c, type: program, parameters: {script: x}}]",
     r"d\.yaml:1 consumer c /parameters/script: there is no script 'x'"),
]  # fmt: skip


@pytest.mark.predecessor("S-59")
@pytest.mark.parametrize(
    ("content", "expected"), [case[1:] for case in WRONG_FILES], ids=[case[0] for case in WRONG_FILES]
)
async def test_a_wrong_file_is_refused_whole_naming_the_place(
    offline: Database, tmp_path: Path, content: str, expected: str
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("x")
    (folder / "link.sh").symlink_to(tmp_path / "outside.txt")
    (folder / "latin.sh").write_bytes(b"\xe9")
    (folder / "a.yaml").write_text("users: [{username: good}]\n")
    (folder / "d.yaml").write_text(content)
    planner = Planner(registry=REGISTRY, seal=Seal(generate_key()), environment={})
    with pytest.raises(NotifierError, match=expected) as caught:
        await apply(offline, load(folder), planner)
    assert "\n" not in str(caught.value)
    assert await rows(offline, DefinitionRow) == []


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    write_files(tmp_path, a_yaml="users: [{}]\nscript: []\n", b__c_yaml="users: [\n", _hidden__d_yaml="users: [{}]")
    (tmp_path / "_hidden").rename(tmp_path / ".hidden")
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert len(caught.value.errors) == 3
    assert "b/c.yaml" in str(caught.value)
    assert ".hidden" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no file that ends in \.yaml"):
        load(tmp_path / "empty")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode(encoding))

    write("s.py", "#!/usr/bin/env python3\nprint('é')\n")
    write("secret.txt", "sécret\n")
    write("d.yaml", "scripts:\n- name: s\n  file: s.py\nproducers:\n- name: p\n  type: feed\n  title: é\n")
    script, producer = load(tmp_path / "d.yaml")
    spec = read_spec("script", script.value)
    assert isinstance(spec, ScriptSpec)
    assert (spec.executor, spec.content) == ("python", "#!/usr/bin/env python3\nprint('é')\n")
    assert producer.value["title"] == "é"
    read = with_secrets({"parameters": {"token": "${file:secret.txt}"}}, tmp_path, frozenset({"token"}), {})
    assert read["parameters"]["token"].rstrip("\r\n") == "sécret"


def test_dates_sexagesimals_and_the_country_of_norway_are_text(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "users: [{username: 2026-11-23, additional_info: {x: {username: NO}, y: {username: 12:30:45}, z: {username: 1_000}}}]"
    )
    (document,) = load(tmp_path / "d.yaml")
    assert document.name == "2026-11-23"
    assert document.value["additional_info"] == {
        "x": {"username": "NO"},
        "y": {"username": "12:30:45"},
        "z": {"username": "1_000"},
    }


def test_faults_of_names_and_of_fields_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "users:\n- {username: 5}\n- {username: a, additional_info: {x: {username: 1e5, id: 007}}}\n"
        "- {username: b, on_leave: 1e5, additional_info: {x: {username: true}}}\n"
    )
    with pytest.raises(InputError) as caught:
        load(tmp_path / "d.yaml")
    assert [error.pointer for error in caught.value.errors] == [
        "d.yaml:2 user /username",
        "d.yaml:3 user /additional_info/x/id",
        "d.yaml:4 user b /on_leave",
        "d.yaml:4 user b /additional_info/x/username",
    ]


def test_aliases_cannot_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_api.definitions.documents.MAX_VALUES", 10_000)
    lines = ["users: [{username: a, additional_info: {x: &a0 {y: 1}"]
    lines += [f", x{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}, s: *a{n - 1}}}" for n in range(1, 20)]
    (tmp_path / "bomb.yaml").write_text("".join(lines) + "}}]\n")
    with pytest.raises(InputError, match="more than 10000 values"):
        load(tmp_path / "bomb.yaml")


@pytest.mark.parametrize("leaf", ["{}", "{y: 1}"])
def test_merge_keys_cannot_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaf: str) -> None:
    monkeypatch.setattr("control_api.definitions.documents.MAX_VALUES", 10_000)
    lines = [f"x-a: [&a0 {leaf}"]
    lines += [f", &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    (tmp_path / "bomb.yaml").write_text("".join(lines) + "]\nusers:\n- {username: a, additional_info: {<<: *a39}}\n")
    with pytest.raises(InputError, match="more than 10000 values"):
        load(tmp_path / "bomb.yaml")


def test_merge_keys_and_extensions_are_those_of_compose_files(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        d_yaml="""\
            x-common: &common
              type: chat
              parameters: &parameters {chat_id: 1, title: merged}
            x-hours: &hours {start: "09:00", end: "17:00"}
            x-anything: !vault [1, {2: 3}]
            consumers:
              - {name: a, <<: *common}
              - name: b
                <<: [{type: first}, *common]
                parameters: {<<: *parameters, title: own}
              - {name: c, <<: *common, parameters: {"<<": text}}
            users:
              - {username: d, working_time: {<<: *hours, end: "18:00"}}
            """,
    )
    found = {document.name: document.value for document in load(tmp_path)}
    assert found == {
        "a": {"type": "chat", "parameters": {"chat_id": 1, "title": "merged"}},
        "b": {"type": "first", "parameters": {"chat_id": 1, "title": "own"}},
        "c": {"type": "chat", "parameters": {"<<": "text"}},
        "d": {"working_time": {"start": "09:00", "end": "18:00"}},
    }


def test_a_field_that_looks_like_a_merge_key_is_dumped_in_quotes(tmp_path: Path) -> None:
    text = dump({"user": [("a", {"additional_info": {"<<": {"username": "x"}}})]})
    (tmp_path / "d.yaml").write_text(text)
    assert load(tmp_path)[0].value == {"additional_info": {"<<": {"username": "x"}}}


def test_aliases_and_several_documents_are_read(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "users:\n- {username: a, working_time: &hours {start: 09:00, end: 18:00}}\n"
        "- {username: b, working_time: *hours}\n---\nusers: [{username: c}]\n---\n"
    )
    documents = load(tmp_path / "d.yaml")
    assert [document.name for document in documents] == ["a", "b", "c"]
    assert documents[1].value == {"working_time": {"start": "09:00", "end": "18:00"}}
    assert documents[2].place == "d.yaml:5"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["on", "18:00", "1e5", "0o7", "~", "", "a\n b\n", "\n", " x\ny"]),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), below, max_size=4),
    max_leaves=12,
)  # fmt: skip


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON_VALUES, max_size=5))
def test_what_is_dumped_is_read_back_the_same(tmp_path: Path, info: JsonObject) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(dump({"user": [("alice", {"additional_info": info})]}).encode())
    (document,) = load(path)
    assert document.value == {"additional_info": info}
    assert json.dumps(document.value) == json.dumps({"additional_info": info})
