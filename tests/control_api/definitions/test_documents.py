"""Documents: YAML read strictly, faults named by place, and what is dumped read back."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from control_api.definitions.apply import apply
from control_api.definitions.documents import dump, load
from control_api.definitions.plan import Planner
from control_api.models import DefinitionRow
from notifier.database import Database
from notifier.errors import InputError, NotifierError
from notifier.record import JsonObject
from notifier.seal import Seal, generate_key
from tests.rigs.definitions_rig import REGISTRY, rows, write_files

pytest_plugins = ["tests.rigs.databases"]


WRONG_FILES = [
    ("not YAML", "users: [", r"d\.yaml:\d+: is not YAML"),
    ("key twice", "users: []\nusers: []\n", r"d\.yaml:2: the field 'users' is there already, in line 1"),
    ("field twice", "users:\n  - username: a\n    on_leave: true\n    on_leave: false\n", r"d\.yaml:4: the field 'on_leave'"),
    ("deep field twice", "users: [{username: a, additional_info: {x: {y: 1, y: 2}}}]", r"d\.yaml:1: the field 'y'"),
    ("unknown kind", "user: []\n", r"'user' is not a kind of definition; did you mean 'users'\?"),
    ("unknown field", "users: [{username: a, onleave: true}]", r"d\.yaml:1 user a /onleave: is not a field here"),
    ("name twice", "users:\n- {username: a}\n- {username: a}\n", r"d\.yaml:3: the user 'a' is there already, at d\.yaml:2"),
    ("case only", "users:\n- {username: a}\n- {username: A}\n", r"d\.yaml:3: the user 'A' would differ from 'a'"),
    ("no name", "users:\n- {on_leave: true}\n", r"d\.yaml:2 user /username: is required"),
    ("number as name", "users:\n- {username: 7}\n", r"/username: must be 1 to 150"),
    ("no list", "users: {username: a}", "users must be a list"),
    ("no object", "- users", "must be an object with users"),
    ("text item", "users: [alice]", r"d\.yaml:1 user : must be an object|d\.yaml:1 user"),
    ("tag", "users: [{username: !!python/object/apply:os.system [x]}]", "the tag .* is not read here"),
    ("binary", "users: [{username: a, additional_info: {x: {y: !!binary aGk=}}}]", "the tag .* is not read here"),
    ("key not text", "users: [{username: a, additional_info: {1: {}}}]", "a field's name must be text"),
    ("alias to itself", "users: [{username: a, additional_info: &x {y: *x}}]", "an alias must not hold itself"),
    ("not a number", "users: [{username: a, additional_info: {x: {y: .nan}}}]", r"/additional_info/x/y: must be a number"),
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


def test_aliases_cannot_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_api.definitions.documents.MAX_VALUES", 10_000)
    lines = ["users: [{username: a, additional_info: {x: &a0 {y: 1}"]
    lines += [f", x{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}, s: *a{n - 1}}}" for n in range(1, 20)]
    (tmp_path / "bomb.yaml").write_text("".join(lines) + "}}]\n")
    with pytest.raises(InputError, match="more than 10000 values"):
        load(tmp_path / "bomb.yaml")


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
