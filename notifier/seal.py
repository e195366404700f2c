"""Sealing secrets: AES-256-GCM, bound to the record and field they belong to, with the key's id in the value.

A sealed secret is text: `sealed:<key id>:<base64url of nonce and ciphertext>`. The database, the `definitions` topic and
backups hold nothing else. Only api, runner, delivery and `notifier apply` have the key.
"""

import hashlib
import hmac
import os
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from tempfile import mkstemp

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notifier.errors import SecretError
from notifier.settings import Settings, variable

KEY_BYTES = 32
_NONCE_BYTES = 12
_PREFIX = "sealed"


def generate_key() -> str:
    """A new key: 32 random bytes in URL-safe base64."""
    return urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


class Seal:
    """Closes and opens secrets with one key, and opens what an older key closed. Its repr shows the key's id only."""

    def __init__(self, key: str, old_key: str | None = None) -> None:
        """Raises SecretError when a key is not 32 bytes in URL-safe base64."""
        self.key_id, self._aead, mark = _key(key, "secret_key")
        self._open = {self.key_id: self._aead}
        self._marks = [mark]
        if old_key is not None:
            old_id, aead, mark = _key(old_key, "secret_key_old")
            self._open.setdefault(old_id, aead)
            self._marks.append(mark)

    def __repr__(self) -> str:
        return f"Seal(key_id={self.key_id!r})"

    def mark(self, data: bytes) -> str:
        """A keyed hash, in hexadecimal: whoever has it and not the key cannot try out what the data was."""
        return self.marks(data)[0]

    def marks(self, data: bytes) -> tuple[str, ...]:
        """The mark under the current key, and after it the one that the old key made."""
        return tuple(hmac.digest(key, data, "sha256").hex() for key in self._marks)

    def close(self, secret: str, place: str) -> str:
        """Seals a secret for one place, `<kind>/<name>/<field>`; it opens only there."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._aead.encrypt(nonce, secret.encode(), place.encode())
        return f"{_PREFIX}:{self.key_id}:{urlsafe_b64encode(nonce + sealed).decode()}"

    def has_closed(self, sealed: str) -> bool:
        """Whether a sealed secret is under the current key, by what it says itself."""
        return sealed.startswith(f"{_PREFIX}:{self.key_id}:")

    def open(self, sealed: str, place: str) -> str:
        """The secret again. Raises SecretError when it is not sealed, its key is missing or the place is another."""
        prefix, _, rest = sealed.partition(":")
        key_id, _, text = rest.partition(":")
        if prefix != _PREFIX or not text:
            raise SecretError(f"the secret of {place} is not sealed")
        aead = self._open.get(key_id)
        if aead is None:
            raise SecretError(
                f"the secret of {place} was sealed with the key {key_id}, which is not here:"
                f" set {variable('secret_key')} or {variable('secret_key_old')} to it"
            )
        try:
            raw = urlsafe_b64decode(text)
            return aead.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode()
        except (ValueError, InvalidTag):
            raise SecretError(f"the secret of {place} was changed or moved, and cannot be opened") from None


def is_sealed(value: object) -> bool:
    """Whether a value is a sealed secret."""
    return isinstance(value, str) and value.startswith(_PREFIX + ":") and value.count(":") == 2


def _key(text: str, field: str) -> tuple[str, AESGCM, bytes]:
    """The key's id, the key for sealing, and one for `Seal.mark`, from which the other cannot be told."""
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise SecretError(f"{variable(field)} must be 32 bytes in URL-safe base64, as `notifier key` prints them")
    key_id = hashlib.sha256(b"notifier key id" + raw).hexdigest()[:8]
    return key_id, AESGCM(raw), hashlib.sha256(b"notifier mark" + raw).digest()


def key_file(settings: Settings) -> Path:
    """Where a generated key lies, with mode 0600."""
    return settings.data_dir / "secret.key"


def load_seal(settings: Settings) -> Seal:
    """The seal of the settings: NOTIFIER_SECRET_KEY, else the key in the data folder, else a new one there.

    A new key is made only where everything is embedded. Raises SecretError when a key is needed and none is given.
    """
    old = settings.secret_key_old.get_secret_value() if settings.secret_key_old else None
    if settings.secret_key is not None:
        return Seal(settings.secret_key.get_secret_value(), old)
    path = key_file(settings)
    if not path.exists():
        if not settings.embedded_broker or settings.server_database:
            raise SecretError(
                f"{variable('secret_key')} must be set once NOTIFIER_KAFKA or a server database is in use:"
                " make one with `notifier key` and give the same to api, runner, delivery and apply"
            )
        _make_key_file(path)
    try:
        return Seal(path.read_text().strip(), old)
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"the key in {path} cannot be read: {error}") from None
    except SecretError:
        if old is not None:
            Seal(old)  # raises, if that is the one at fault
        raise SecretError(
            f"{path} does not hold a key: put back the file that was there,"
            f" or set {variable('secret_key')} to the key that secrets were sealed with"
        ) from None


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(generate_key() + "\n")
            file.flush()
            os.fsync(descriptor)  # a key lost in a power cut would leave its secrets closed for ever
        os.link(temporary, path)  # atomic: a second process takes the first one's key
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
