"""What is recorded of messages that nobody gets."""

from typing import Any

from tests.rigs.routed import BEGINNING, Routed, attempts_of, changed


def test_a_message_that_names_its_configuration_leaves_nothing_behind_for_others() -> None:
    """Both drop in the index, so no route is left in either case; only the configuration tells the two attempts apart."""
    spec: dict[str, Any] = {"users": ["u1"], "producers": ["p0"], "filters": ["exists"], "consumers": ["file"]}
    routed = Routed(changed(BEGINNING, [("configuration", "c0", spec), ("configuration", "c1", spec)], 2))
    message = {"producer": "p0", "receiver": "u0", "content": "x"}
    (named,) = attempts_of(routed.route({**message, "id": "a", "configuration": "c0"}))
    (plain,) = attempts_of(routed.route({**message, "id": "b"}))
    assert (named.delivery, named.configuration) == ("p0/a/c0", "c0")
    assert (plain.delivery, plain.configuration) == ("p0/b", None)
    assert plain.detail is not None
    assert "c1" in plain.detail
