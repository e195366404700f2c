"""Named templates as definitions: what they are referred to by, what they may not lead to, and how files have them."""

from pathlib import Path

import pytest

from consumers.text.includes import MAX_DEPTH
from control_api.access.actor import COMMAND_LINE
from control_api.definitions.apply import export
from control_api.definitions.services import Services
from notifier.database import Database
from notifier.errors import InputError, StillReferenced, UnknownReference
from notifier.seal import Seal
from tests.rigs.definitions_rig import EDITOR, REGISTRY, Apply, write_files

pytest_plugins = ["tests.rigs.databases"]


def including(*names: str) -> str:
    return "".join(f'{{% include "{name}" %}}' for name in names) or "{{ message.content }}"


async def _create(services: Services, name: str, *names: str) -> None:
    await services.create(EDITOR, "template", {"name": name, "content": including(*names)})


async def test_what_is_included_must_be_there_and_stays(services: Services) -> None:
    await _create(services, "footer")
    for kind, field in (("template", "content"), ("configuration", "template")):
        with pytest.raises(UnknownReference) as unknown:
            await services.create(EDITOR, kind, {"name": "x", field: including("footer", "head")})  # type: ignore[arg-type]  # a kind
        assert [(one.pointer, one.detail) for one in unknown.value.errors] == [
            (f"/{field}", "there is no template 'head'")
        ]
    await _create(services, "text", "footer", "footer")
    await services.create(EDITOR, "configuration", {"name": "all", "template": including("text")})
    assert await services.referrers("configuration", "template", ["text"]) == {"text": ["all"]}
    for name, user in (("footer", "template/text"), ("text", "configuration/all")):
        with pytest.raises(StillReferenced, match=user):
            await services.delete(EDITOR, "template", name)
    await services.patch(EDITOR, "configuration", "all", {"template": None})
    await services.delete(EDITOR, "template", "text")
    await services.delete(EDITOR, "template", "footer")


async def test_no_template_leads_back_to_itself(services: Services) -> None:
    await _create(services, "a")
    await _create(services, "b", "a")
    await _create(services, "c", "b")
    await _create(services, "d", "c", "a")  # two ways to one template are no circle
    for name, others in (("a", ["a"]), ("a", ["c"]), ("b", ["a", "c"])):
        with pytest.raises(InputError, match="leads back to it") as refused:
            await services.patch(EDITOR, "template", name, {"content": including(*others)})
        assert refused.value.errors[0].pointer == "/content"
    assert (await services.get("template", "a")).document["content"] == including()


async def test_templates_lie_within_one_another_only_so_deep(services: Services) -> None:
    await _create(services, "t0")
    for number in range(1, MAX_DEPTH):
        await _create(services, f"t{number}", f"t{number - 1}")
    with pytest.raises(InputError, match="makes 9 templates within one another; 8 are possible"):
        await _create(services, "above", f"t{MAX_DEPTH - 1}")
    await _create(services, "below")
    with pytest.raises(InputError, match="makes 9"):
        await services.patch(EDITOR, "template", "t0", {"content": including("below")})
    await _create(services, "beside", f"t{MAX_DEPTH - 2}")


async def test_a_file_may_hold_them_and_one_change_is_checked_as_a_whole(
    applied: Apply, services: Services, store: Database, seal: Seal, tmp_path: Path
) -> None:
    written = """\
        configurations:
          - {name: all, template: '{% include "text" %}'}
        templates:
          - {name: text, title: The text, content: '{% include "footer" %}'}
          - {name: footer, file: footer.j2}
    """
    folder = write_files(tmp_path / "files", d_yaml=written)
    (folder / "footer.j2").write_bytes(b"\xef\xbb\xbfSee {{ message.url }}\r\n")
    await applied(folder)
    assert (await services.get("template", "footer")).document == {
        "name": "footer", "team": None, "title": None, "content": "See {{ message.url }}\r\n"
    }  # fmt: skip
    async with store.read() as session:
        exported = await export(session, REGISTRY)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "d.yaml").write_text(exported)
    assert not (await applied(tmp_path / "again")).edits
    circle = """\
        templates:
          - {name: footer, content: '{% include "text" %}'}
    """
    with pytest.raises(InputError, match="leads back"):
        await applied(write_files(tmp_path / "circle", d_yaml=circle))
    turned = """\
        templates:
          - {name: text, content: x}
          - {name: footer, content: '{% include "text" %}'}
    """
    await applied(write_files(tmp_path / "turned", d_yaml=turned))
    with pytest.raises(StillReferenced):
        await services.delete(COMMAND_LINE, "template", "text")
    users = "users: [{username: alice}]"
    await applied(write_files(tmp_path / "users", d_yaml=users), prune=True)
    assert (await services.list("template")).items == []
