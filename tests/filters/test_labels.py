"""`labels`: matchers as in Alertmanager, how they are read and how they are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import InputError
from notifier.label_matcher import read_matchers
from tests.rigs.candidates import REGISTRY, about, make, table

LABELS = {"team": "infra", "env": "prod", "quote": 'a "b", c', "path": "a\\b", "lines": "a\nb", "k8s.io/name": "x"}


@table(
    ("equal", "team=infra", True),
    ("equal and quoted", 'team="infra"', True),
    ("white space around", ' team = "infra" ', True),
    ("not equal to another", "team!=web", True),
    ("not equal to it", "team!=infra", False),
    ("case matters", "team=Infra", False),
    ("an expression", "team=~inf.*", True),
    ("an expression is anchored at the end", "team=~inf", False),
    ("an expression is anchored in front", "team=~nfra", False),
    ("anchored around all alternatives", "team=~web|infra|db", True),
    ("anchored around each alternative", "team=~in|fra", False),
    ("not an expression", "team!~inf.*", False),
    ("not an expression that does not fit", "team!~web.*", True),
    ("a missing label equals empty", "nope=", True),
    ("a missing label equals quoted empty", 'nope=""', True),
    ("a missing label differs from a value", "nope!=x", True),
    ("a missing label fits an expression for empty", "nope=~.*", True),
    ("a missing label does not fit .+", "nope=~.+", False),
    ("a missing label and not .+", "nope!~.+", True),
    ("a label that is there is not empty", "team=", False),
    ("several in one text", 'team=infra, env="prod"', True),
    ("several of which one does not match", "team=infra,env=test", False),
    ("in braces, with a comma at the end", '{team="infra", env!="test",}', True),
    ("a quantifier may stand at the end", "team=~infr{0}a|[a-z]{5}", True),
    ("a comma in quotation marks", 'team=~"[a-z]{1,5}"', True),
    ("an escaped quotation mark", r'quote="a \"b\", c"', True),
    ("an escaped backslash", r'path="a\\b"', True),
    ("another backslash is itself", r"path=~a\\\\b", True),
    ("a class of digits", r'team!~"\d+"', True),
    ("a line end", r'lines="a\nb"', True),
    ("a dot is no line end", 'lines=~"a.b"', False),
    ("a name with signs", "k8s.io/name=x", True),
    ("a name in quotation marks", '"k8s.io/name"="x"', True),
    ("a value that looks like an operator", 'team!="=~"', True),
)
def test_labels_match_as_in_alertmanager(row: tuple[str, bool]) -> None:
    matcher, passes = row
    filter_ = make("labels", matchers=[matcher])
    assert filter_.passes(about(labels=LABELS)) is passes
    assert make("labels", matchers=["env=prod", matcher]).passes(about(labels=LABELS)) is passes


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    st.sampled_from(["=", "!="]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.dictionaries(st.text(max_size=3), st.text(max_size=8), max_size=2),
)
def test_a_matcher_reads_what_it_writes(name: str, operator: str, value: str, labels: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    (matcher,) = read_matchers(f"{quoted(name)} {operator}{quoted(value)} ")
    assert (matcher.name, matcher.operator, matcher.value) == (name, operator, value)
    assert read_matchers(str(matcher)) == (matcher,)
    assert matcher.matches(labels) is ((labels.get(name, "") == value) is (operator == "="))


def test_labels_say_which_matcher_does_not_match() -> None:
    filter_ = make("labels", matchers=["team=infra", "env=~prod|test", 'name="x"'])
    says = filter_.says
    assert (
        says(about(labels={"team": "web"}))
        == """drops: the label 'team' is 'web', which does not match team="infra\""""
    )
    assert says(about(labels={"team": "infra", "env": "prod"})).startswith("drops: the label 'name' is missing, which")
    everything = about(labels={"team": "infra", "env": "prod", "name": "x"})
    assert says(everything) == 'passes: the labels match team="infra", env=~"prod|test", name="x"'


@pytest.mark.parametrize(
    "matcher",
    ["", "team", "=x", "a b=c", "a==b", "a=b,,c=d", 'a="b', 'a=b"c', 'a="b"c', '"a=b', '"a"', "a=~(", "{a=b", "!a=b"],
)
def test_a_text_that_is_not_a_matcher_is_refused(matcher: str) -> None:
    with pytest.raises(InputError) as caught:
        REGISTRY.check("filter", "labels", {"matchers": [matcher]})
    (error,) = caught.value.errors
    assert error.pointer == "/parameters/matchers/0"


@given(st.text(max_size=30))
def test_any_text_is_a_matcher_or_refused_as_one(text: str) -> None:
    try:
        matchers = read_matchers(text)
    except ValueError:
        return
    assert read_matchers(",".join(map(str, matchers))) == matchers
