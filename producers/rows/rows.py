"""Rows: makes messages of rows, as many as a run may tell. No I/O; asking for rows is the producers' own.

Whatever a value is, its row becomes a message, and costs none of its neighbours: what does not fit its field is left out, what is
too long is cut.
"""

from collections.abc import Iterable, Sequence

from notifier import JsonObject
from notifier.errors import FieldError, InputError
from producers.payload_mapping.fitting import content_of, fitted, id_of, name_of
from producers.payload_mapping.moment import moment
from producers.rows.parameters import PLACE, FieldName, RowParameters
from producers.rows.told import Told, sum_of
from producers.rows.value import labels_of, moment_of, plain, text

MAX_CHARACTERS = 16_000_000  # of all messages of a run
MAX_RECEIVERS = 100  # of a row
_MAX_TEXT = 1_000_000  # characters that are made of a text with columns; a content is cut before that
_SHOWN_CHARACTERS = 2000  # of a value, where the content is the whole row
_SHOWN_COLUMNS = 20  # in an error
_FIELDS: tuple[FieldName, ...] = ("content", "title", "receiver", "sender", "severity", "url", "id")
_TIMES: tuple[FieldName, ...] = ("occurred_at", "not_before", "expires_at")


class Rows:
    """The messages of the rows of one answer, which are added in their order."""

    def __init__(self, parameters: RowParameters, columns: Sequence[str], told: Told | None = None) -> None:
        """`columns`: their names. Raises InputError for a parameter that names one that is not there."""
        self.messages: list[JsonObject] = []
        self.cut: str | None = None  # why rows are not told that are there; None: all are
        self._parameters = parameters
        self._columns = list(columns)
        self._told = told
        self._places = {name: self._place(f"columns/{name}", column) for name, column in parameters.columns.items()}
        self._places |= {
            name: self._columns.index(name)
            for name in (*_FIELDS, *_TIMES, "labels")
            if name in self._columns and name not in self._places
        }
        self._labels = {name: self._place(f"labels/{name}", column) for name, column in parameters.labels.items()}
        self._texts = {name: self._pieces(name, given) for name, given in parameters.texts.items()}
        self._severities = {word.casefold(): severity for word, severity in parameters.severities.items()}
        self._cursor = None if told is None else self._place("cursor_column", told.column)
        self._rows = 0
        self._characters = 0
        self._ids: set[str] = set()
        self._problem = ""
        self._problems = 0

    def add(self, values: Sequence[object]) -> bool:
        """Adds a row, unless it was told before. False: there is no room for it, nor for any other."""
        sum_ = sum_of(self._own_id(values) or _whole(values))
        if self._told is not None and self._told.has(sum_):
            return True
        if self._rows >= self._parameters.limit:
            self.cut = f"there are more rows than the limit of {self._parameters.limit:,}"
            return False
        message, receivers = self._message(values)
        size = sum(len(part) for part in message.values() if isinstance(part, str)) + 200
        if self._rows and self._characters + size > MAX_CHARACTERS:
            self.cut = f"the rows are longer than {MAX_CHARACTERS:,} characters together"
            return False
        if self._told is not None and self._cursor is not None:
            self._told.add(values[self._cursor], sum_)
        self._rows += 1
        self._characters += size * max(len(receivers), 1)
        self._send(message, receivers, self._own_id(values) or sum_)
        return True

    def notice(self) -> str | None:
        """What people should know of the rows, in a line: that they were cut, and what did not fit. None: nothing."""
        found = []
        if self.cut is not None:
            then = "the next run goes on behind them" if self._told is not None else "the others are not told"
            found.append(f"cut: {self.cut}; the first {self._rows:,} are told, and {then}")
        if self._problem:
            others = f" (and {self._problems - 1} more)" if self._problems > 1 else ""
            found.append(f"{self._problem}{others}")
        return "; ".join(found) or None

    def _message(self, values: Sequence[object]) -> tuple[JsonObject, list[str]]:
        found: dict[str, object] = {name: self._found(name, values) for name in _FIELDS}
        found["occurred_at"] = moment_of(self._found("occurred_at", values))
        labels = labels_of(values[self._places["labels"]]) if "labels" in self._places else {}
        found["labels"] = labels | {name: _label(values[place]) for name, place in self._labels.items()}
        problems: list[str] = []
        message = fitted(found, self._severities, problems)
        for name in _TIMES[1:]:
            if (time := moment(moment_of(self._found(name, values)))) is not None:
                message[name] = time
        message["content"] = content_of(found["content"]) or content_of(self._shown(values)) or "(an empty row)"
        if problems:
            self._problem = self._problem or f"row {self._rows + 1}: {problems[0]}"
            self._problems += len(problems)
        given = found["receiver"]
        names = [name_of(one) for one in (given if isinstance(given, list) else [given])]
        return message, list(dict.fromkeys(name for name in names if name is not None))[:MAX_RECEIVERS]

    def _send(self, message: JsonObject, receivers: Sequence[str], id_: str) -> None:
        if not receivers:
            self.messages.append({**message, "id": self._free(id_)})
        for receiver in receivers:
            own = id_ if len(receivers) == 1 else f"{id_}-{receiver}"
            self.messages.append({**message, "receiver": receiver, "id": self._free(id_of(own) or own)})

    def _free(self, id_: str) -> str:
        """The id, marked where another row has it: two messages of one id would be one."""
        number, own = 2, id_
        while own in self._ids:
            own, number = f"{id_}~{number}", number + 1
        self._ids.add(own)
        return own

    def _own_id(self, values: Sequence[object]) -> str | None:
        return id_of(self._found("id", values))

    def _found(self, name: FieldName, values: Sequence[object]) -> object:
        if (pieces := self._texts.get(name)) is not None:
            return _joined(piece if isinstance(piece, str) else text(values[piece]) for piece in pieces)
        place = self._places.get(name)
        if place is None:
            return None
        value = values[place]
        if name == "receiver" and isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return (
            plain(value) if isinstance(value, int | float | str | None) and not isinstance(value, bool) else text(value)
        )

    def _shown(self, values: Sequence[object]) -> str:
        pairs = zip(self._columns, values, strict=False)
        return "\n".join(f"{name}: {_short(value)}" for name, value in pairs if value is not None)

    def _pieces(self, name: str, given: str) -> list[str | int]:
        """A text as its pieces: texts, and places of columns."""
        pieces: list[str | int] = []
        at = 0
        for found in PLACE.finditer(given):
            pieces.append(given[at : found.start()])
            pieces.append(found[0][0] if found[1] is None else self._place(f"texts/{name}", found[1]))
            at = found.end()
        return [*pieces, given[at:]]

    def _place(self, field: str, column: str) -> int:
        """Which column it is: by its name, else by its name in any case."""
        if column in self._columns:
            return self._columns.index(column)
        folded = [known.casefold() for known in self._columns]
        if column.casefold() in folded:
            return folded.index(column.casefold())
        known = ", ".join(self._columns[:_SHOWN_COLUMNS]) or "none"
        more = ", …" if len(self._columns) > _SHOWN_COLUMNS else ""
        raise InputError(FieldError(f"/parameters/{field}", f"there is no column {column!r}; there are {known}{more}"))


def _joined(parts: Iterable[str]) -> str:
    """The parts as one text, without those behind what is more than a field takes: one column may stand in many places."""
    found: list[str] = []
    left = _MAX_TEXT
    for part in parts:
        found.append(part)
        left -= len(part)
        if left < 0:
            break
    return "".join(found)


def _label(value: object) -> object:
    return value if isinstance(value, list) else text(value)


def _short(value: object) -> str:
    shown = text(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}… (cut)"


def _whole(values: Sequence[object]) -> str:
    return "\0".join("\1" if value is None else text(value) for value in values)
