"""Values that expressions see: message, recipient and sender, as protobuf messages, whose fields the checker knows.

A text that is not there is empty, and `has(…)` says whether it is there. Only what an expression names is copied.
"""

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2

from notifier.message import Message
from notifier.plugin import Candidate
from notifier.user import User

_TEXTS = ("producer", "id", "sender", "receiver", "title", "content", "url", "severity", "configuration")
_TIMES = ("occurred_at", "not_before", "expires_at")
_FIELD = descriptor_pb2.FieldDescriptorProto


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="notifier.proto",
        package="notifier",
        syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name, struct_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="Message")
    for name in _TEXTS:
        _add(message, name, _FIELD.TYPE_STRING)
    for name in _TIMES:
        _add(message, name, _FIELD.TYPE_MESSAGE, ".google.protobuf.Timestamp")
    entry = message.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    _add(entry, "key", _FIELD.TYPE_STRING)
    _add(entry, "value", _FIELD.TYPE_STRING)
    _add(message, "labels", _FIELD.TYPE_MESSAGE, ".notifier.Message.LabelsEntry").label = _FIELD.LABEL_REPEATED
    person = file.message_type.add(name="Person")
    for name in ("username", "language", "timezone"):
        _add(person, name, _FIELD.TYPE_STRING)
    for name in ("on_leave", "working"):
        _add(person, name, _FIELD.TYPE_BOOL)
    _add(person, "additional_info", _FIELD.TYPE_MESSAGE, ".google.protobuf.Struct")
    return file


def _add(message: descriptor_pb2.DescriptorProto, name: str, kind: Any, of: str | None = None) -> Any:
    return message.field.add(name=name, number=len(message.field) + 1, type=kind, label=1, type_name=of)


POOL = descriptor_pool.DescriptorPool()
for _file in (timestamp_pb2.DESCRIPTOR.serialized_pb, struct_pb2.DESCRIPTOR.serialized_pb):
    POOL.AddSerializedFile(_file)
POOL.AddSerializedFile(_described().SerializeToString())
_Message: Any = message_factory.GetMessageClass(POOL.FindMessageTypeByName("notifier.Message"))
_Person: Any = message_factory.GetMessageClass(POOL.FindMessageTypeByName("notifier.Person"))


def message_value(message: Message, names: Set[str]) -> Any:
    """The message, with the fields that are among the names."""
    value = _Message(**{name: getattr(message, name) for name in _TEXTS if name in names})
    for name in _TIMES:
        at = getattr(message, name) if name in names else None
        if at is not None:
            getattr(value, name).FromDatetime(at)
    if "labels" in names:
        value.labels.update(message.labels)
    return value


def values_of(candidate: Candidate, names: Set[str]) -> Mapping[str, Any]:
    """What the variables among the names stand for."""
    values: dict[str, Any] = {}
    if "message" in names:
        values["message"] = message_value(candidate.message, names)
    if "recipient" in names:
        values["recipient"] = _person(candidate.receiver, candidate.at, names)
    if "sender" in names:
        values["sender"] = _person(candidate.sender, candidate.at, names)
    if "now" in names:
        values["now"] = candidate.at
    return values


def _person(user: User | None, at: datetime, names: Set[str]) -> Any:
    """A person; without a username where there is none."""
    if user is None:
        return _Person(timezone="UTC")
    hours = user.working_time
    value = _Person(
        username=user.username,
        language=user.language,
        timezone="UTC" if hours is None else hours.timezone,
        on_leave=user.on_leave,
        working="working" in names and user.works_at(at),
    )
    if "additional_info" in names:
        value.additional_info.update(user.additional_info)
    return value


def size_of(message: Message, names: Set[str]) -> int:
    """How many bytes the texts among the names have."""
    size = 0
    for name in _TEXTS:
        if name in names:
            size += _size(getattr(message, name) or "")
    if "labels" in names:
        for label, value in message.labels.items():
            size += _size(label) + _size(value)
    return size


def info_size_of(candidate: Candidate, names: Set[str]) -> int:
    """How many characters the JSON of the people among the names has, and at most twice as many as there are items in it."""
    if "additional_info" not in names:
        return 0
    people = {"recipient": candidate.receiver, "sender": candidate.sender}
    return sum(len(str(user.additional_info)) for name, user in people.items() if user is not None and name in names)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
