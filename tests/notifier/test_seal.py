"""Sealing, rotation, and where the key comes from."""

import stat
from pathlib import Path
from typing import Any

import pytest

from notifier.errors import SecretError
from notifier.seal import Seal, generate_key, is_sealed, key_file, load_seal
from notifier.settings import load_settings


def test_a_sealed_secret_opens_only_in_its_place() -> None:
    seal = Seal(generate_key())
    sealed = seal.close("pass wörd", "consumer/chat/token")
    assert is_sealed(sealed)
    assert "pass" not in sealed
    assert seal.open(sealed, "consumer/chat/token") == "pass wörd"
    assert seal.close("pass wörd", "consumer/chat/token") != sealed
    with pytest.raises(SecretError, match="the secret of consumer/other/token was changed or moved"):
        seal.open(sealed, "consumer/other/token")


def test_a_sealed_secret_that_was_changed_does_not_open() -> None:
    seal = Seal(generate_key())
    sealed = seal.close("password", "p")
    for position in range(sealed.rindex(":") + 1, len(sealed) - 2):
        other = "A" if sealed[position] != "A" else "B"
        with pytest.raises(SecretError, match="changed or moved"):
            seal.open(sealed[:position] + other + sealed[position + 1 :], "p")
    for shorter in (sealed[:-4], sealed[: sealed.rindex(":") + 5], sealed + "ü"):
        with pytest.raises(SecretError, match="changed or moved"):
            seal.open(shorter, "p")


@pytest.mark.parametrize("text", ["", "password", "sealed:", "sealed:12345678:", "open:12345678:abcd"])
def test_what_is_not_sealed_does_not_open(text: str) -> None:
    with pytest.raises(SecretError, match="is not sealed"):
        Seal(generate_key()).open(text, "p")


def test_keys_can_be_rotated() -> None:
    old_key, new_key = generate_key(), generate_key()
    old = Seal(old_key)
    sealed = old.close("password", "p")
    rotated = Seal(new_key, old_key)
    assert rotated.open(sealed, "p") == "password"
    again = rotated.close("password", "p")
    assert Seal(new_key).open(again, "p") == "password"
    with pytest.raises(
        SecretError, match=f"sealed with the key {old.key_id}, which is not here: set NOTIFIER_SECRET_KEY"
    ):
        Seal(new_key).open(sealed, "p")
    assert Seal(new_key, new_key).open(again, "p") == "password"


def test_a_seal_shows_the_key_id_only() -> None:
    key = generate_key()
    seal = Seal(key)
    assert repr(seal) == f"Seal(key_id='{seal.key_id}')"
    assert key not in repr(seal)
    assert Seal(key.rstrip("=")).key_id == seal.key_id


@pytest.mark.parametrize("key", ["", "short", "ü" * 43, "A" * 43 + "=AAAA", "A" * 42 + "\n\nA"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY must be 32 bytes"):
        Seal(key)
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY_OLD must be 32 bytes") as caught:
        Seal(generate_key(), key or "x")
    assert not key or key not in str(caught.value)


def test_the_key_is_made_once_where_everything_is_embedded(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "var")
    first = load_seal(settings)
    assert load_seal(settings).key_id == first.key_id
    assert stat.S_IMODE(key_file(settings).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret.key"]
    # It then does with a server's database too.
    served = load_settings(data_dir=tmp_path / "var", kafka="kafka:9092", database_url="postgresql+asyncpg://db/n")
    assert load_seal(served).key_id == first.key_id
    given_ = load_settings(data_dir=tmp_path / "var", secret_key=generate_key())
    assert load_seal(given_).key_id != first.key_id


@pytest.mark.parametrize("overrides", [{"kafka": "kafka:9092"}, {"database_url": "postgresql+asyncpg://db/n"}])
def test_no_key_is_made_where_others_would_need_it_too(
    overrides: dict[str, Any], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY must be set"):
        load_seal(load_settings(data_dir=tmp_path, **overrides))
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_beside_a_database_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_seal(load_settings(data_dir=tmp_path, database_url="sqlite:///n.sqlite3"))


@pytest.mark.parametrize("content", [b"", b"half a k", b"\xff\xfe"])
def test_a_broken_key_file_is_named(content: bytes, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    key_file(settings).write_bytes(content)
    with pytest.raises(SecretError, match=r"secret\.key"):
        load_seal(settings)
    assert key_file(settings).read_bytes() == content
