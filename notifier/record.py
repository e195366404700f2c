"""How every record is written to and read from a topic: UTF-8 JSON objects with a version, decoded strictly.

A record class is a frozen, keyword-only struct derived from `Record`. `decode` refuses data that is not UTF-8, not JSON (NaN,
lone surrogates and deep nesting included) or does not fit, and names the field; times and numbers beyond `notifier.bounds` do
not fit. It ignores unknown fields, so that a newer writer of the same version does not stop an older reader.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self, TypeAlias

import msgspec
from msgspec import inspect

from notifier.bounds import OUT_OF_RANGE, Number, in_range
from notifier.errors import InvalidRecord, UnsupportedVersion

Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]  # RFC 3339, always with a zone, `in_range`
JsonObject: TypeAlias = dict[str, Any]

_encoder = msgspec.json.Encoder()


class _Version(msgspec.Struct):
    v: Number = 1


_version = msgspec.json.Decoder(_Version)


def always(value: Any) -> Any:
    """The default of a field that is written even where it holds that default, so that every reader of the topic finds it."""
    return msgspec.field(default_factory=lambda: value)  # msgspec leaves out no default that a function makes


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all records. `VERSION` is the newest version of the class that this program reads and the one it writes."""

    VERSION: ClassVar[int] = 1

    v: Number = 1  # version of the record's schema; absent on the wire means 1

    def encode(self) -> bytes:
        """The record as UTF-8 JSON; fields that hold their default are left out, but for those of `always`."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads a record.

        Raises UnsupportedVersion for a `v` this program does not know and InvalidRecord for anything else that does not
        fit; both hold the data.
        """
        decoder: msgspec.json.Decoder[Self] = _decoders.get(cls) or _decoder(cls)
        try:
            if not data.isascii():
                data.decode()  # msgspec checks only the texts it keeps, and the whole record is passed on
            record = decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _explain(cls, data, error) from None
        if record.v != cls.VERSION:
            raise UnsupportedVersion(_version_text(cls, record.v), data)
        try:
            return record.checked()
        except InvalidRecord as error:
            error.data = data
            raise

    @classmethod
    def from_object(cls, value: object) -> Self:
        """Reads a record from parsed JSON; raises as `decode` does."""
        try:
            record = msgspec.convert(value, cls, strict=True)
            record.encode()  # Python's own JSON reader lets lone surrogates through, which no record can hold
        except msgspec.ValidationError as error:
            raise InvalidRecord(str(error)) from None
        except UnicodeEncodeError:
            raise InvalidRecord("a text holds a lone surrogate, which is not Unicode") from None
        except RecursionError:
            raise InvalidRecord("nested too deeply") from None
        if record.v != cls.VERSION:
            raise UnsupportedVersion(_version_text(cls, record.v))
        return record.checked()

    def checked(self) -> Self:
        """The record, if its times are `in_range`; else raises InvalidRecord that names the field. Readers of records call it."""
        for name in _times(type(self)):
            time = getattr(self, name)
            if time is not None and not in_range(time):
                raise InvalidRecord(f"{OUT_OF_RANGE} - at `$.{name}`")
        return self


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def _decoder(cls: type) -> msgspec.json.Decoder[Any]:
    decoder = _decoders[cls] = msgspec.json.Decoder(cls)
    return decoder


@lru_cache(maxsize=100)
def _times(cls: type[Record]) -> tuple[str, ...]:
    """The names of the fields that hold a time."""
    found = inspect.type_info(cls)
    assert isinstance(found, inspect.StructType)
    return tuple(field.name for field in found.fields if _is_time(field.type))


def _is_time(found: inspect.Type) -> bool:
    if isinstance(found, inspect.UnionType):
        return any(_is_time(one) for one in found.types)
    return isinstance(found, inspect.DateTimeType)


def _version_text(cls: type[Record], version: object) -> str:
    return f"version {version} of {cls.__name__} is not known here (this program knows {cls.VERSION})"


def _explain(cls: type[Record], data: bytes, error: Exception) -> InvalidRecord | UnsupportedVersion:
    if isinstance(error, UnicodeDecodeError):
        return InvalidRecord(f"not UTF-8 at byte {error.start}", data)
    if isinstance(error, RecursionError):
        return InvalidRecord("nested too deeply", data)
    if isinstance(error, msgspec.ValidationError):
        try:
            version = _version.decode(data).v
        except (msgspec.DecodeError, RecursionError):
            pass  # `v` itself cannot be read; the first error names it
        else:
            if version != cls.VERSION:
                return UnsupportedVersion(_version_text(cls, version), data)
        return InvalidRecord(str(error), data)
    return InvalidRecord(f"not JSON: {error}", data)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def kafka_time(timestamp_ms: int | None) -> datetime | None:
    """The time of a Kafka record, which is in milliseconds since 1970; None where it has none or one that is not `in_range`."""
    if timestamp_ms is None or timestamp_ms < 0:
        return None
    try:
        time = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # a client may write any 64-bit number
        return None
    return time if in_range(time) else None


def rfc3339(time: datetime) -> str:
    """A time in its one canonical form, in UTC with `Z`: `2026-11-23T09:00:00Z`; equal times give equal texts.

    Raises ValueError for a time without a zone, or so near to the first or last year that UTC has no year for it.
    """
    if time.utcoffset() is None:
        raise ValueError(f"a time needs a zone: {time.isoformat()}")
    try:
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(f"not a time in UTC: {time.isoformat()}") from None
