"""Names: the forms that names of definitions, users and time zones may have."""

import re  # for our own constant patterns; never for a person's
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated
from unicodedata import category
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo

from notifier.definition.spec import is_written
from notifier.errors import FieldError, InputError
from notifier.folded import composed, folded, is_name_character
from notifier.group import PREFIX, group_named
from notifier.outcome import Kind

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
# Of a schema, for any regular-expression engine: within ASCII exactly the allowed signs, beyond it more (see `is_username`).
USERNAME_PATTERN = r"^[^\x00-*,/:-?\[-^`{-\x7f]{1,150}$"
RECIPIENT_PATTERN = rf"{USERNAME_PATTERN}|^{PREFIX}{NAME_PATTERN.removeprefix('^')}"
MAX_USERNAME = 150
_NAME_RULE = "1 to 63 lower-case letters, digits and hyphens, not at the ends"
_USERNAME_RULE = "1 to 150 letters (with their accents and vowel signs), digits and the signs @ . + - _"


def _has_form(pattern: str, rule: str) -> AfterValidator:
    # Pydantic's own check of a pattern answers with the pattern, which few people can read.
    form = re.compile(pattern.removeprefix("^").removesuffix("$"))

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"must be {rule}; got {text[:200]!r}")
        return text

    return AfterValidator(check)


def is_username(text: str) -> bool:
    """Whether a user may have the name, in the form in which it is stored."""
    name = composed(text)
    if not 0 < len(name) <= MAX_USERNAME or category(name[0]).startswith("M"):
        return False
    return all(map(is_name_character, name))


def _check_username(text: str) -> str:
    # As it was written: which stored name it means is known where all names are (`control_api`).
    if not is_username(text):
        raise ValueError(f"must be {_USERNAME_RULE}; got {text[:200]!r}")
    return text


def _check_recipient(text: str) -> str:
    group = group_named(text)
    if group is None:
        return _check_username(text)
    if not re.fullmatch(NAME_PATTERN.removeprefix("^").removesuffix("$"), group):
        raise ValueError(f"must be {PREFIX} and the name of a group ({_NAME_RULE}); got {text[:200]!r}")
    return text


Name = Annotated[
    str, _has_form(NAME_PATTERN, _NAME_RULE), Field(json_schema_extra={"pattern": NAME_PATTERN, "maxLength": 63})
]
Username = Annotated[
    str,
    AfterValidator(_check_username),
    Field(json_schema_extra={"pattern": USERNAME_PATTERN, "maxLength": 150}),
]
Recipient = Annotated[
    str,
    AfterValidator(_check_recipient),
    Field(json_schema_extra={"pattern": RECIPIENT_PATTERN, "maxLength": 150}),
]
Title = Annotated[str, StringConstraints(max_length=200)]


def check_unique(names: Sequence[str], info: ValidationInfo) -> Sequence[str]:
    """The names, if none is there twice, in whatever form. Raises ValueError.

    Of what is stored only the same code points count: an older program kept two forms apart.
    """
    form = folded if is_written(info) else str
    counts = Counter(map(form, names))
    twice = sorted({name for name in names if counts[form(name)] > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} {'is' if len(twice) == 1 else 'are'} named twice")
    return names


Names = Annotated[tuple[Name, ...], AfterValidator(check_unique)]
Usernames = Annotated[tuple[Username, ...], AfterValidator(check_unique)]
Recipients = Annotated[tuple[Recipient, ...], AfterValidator(check_unique)]


@lru_cache(maxsize=1000)
def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; "" and "../x" are ValueErrors
        raise ValueError(f"{name[:200]!r} is not a time zone; write an IANA name such as Europe/Berlin") from None
    return name


Zone = Annotated[str, AfterValidator(_check_zone)]


def check_name(kind: Kind, name: object) -> str:
    """The name, as it is stored, if one of that kind may have it. Raises InputError."""
    if isinstance(name, str):
        if kind == "user" and is_username(name):
            return composed(name)
        if kind != "user" and re.fullmatch(NAME_PATTERN.removeprefix("^").removesuffix("$"), name):
            return name
    field = "username" if kind == "user" else "name"
    if not isinstance(name, str):
        raise InputError(FieldError(f"/{field}", "must be text; put it in quotes"))
    rule = _USERNAME_RULE if kind == "user" else _NAME_RULE
    raise InputError(FieldError(f"/{field}", f"must be {rule}; got {name[:200]!r}"))
