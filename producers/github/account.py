"""Account: the login of a person, a bot or an organization, where GitHub's JSON has one."""

from notifier.errors import FieldError, InputError
from notifier.pointer import pointer
from producers.github.payload import kind_of, text_at

MAX_LOGIN = 400  # characters; GitHub's own limit is far below


def login_in(value: object, *place: str) -> str | None:
    """The login of an account; None: nobody. Raises InputError where there is something else in its place."""
    if value is None:
        return None
    login = value.get("login") if isinstance(value, dict) else value
    if isinstance(value, dict) and login is None:
        return None
    if not isinstance(value, dict) or not isinstance(login, str):
        raise InputError(FieldError(pointer(place), f"must be an account with a `login`, not {kind_of(login)}"))
    if not _is_login(login):
        raise InputError(
            FieldError(pointer((*place, "login")), f"must have 1 to {MAX_LOGIN} characters, none of them NUL")
        )
    return login


def known_login(value: object) -> str | None:
    """The login of an account that is only mentioned; None where there is none that can be read."""
    login = text_at(value, "login")
    return login if login is not None and _is_login(login) else None


def _is_login(login: str) -> bool:
    return 0 < len(login) <= MAX_LOGIN and "\0" not in login
