"""The benchmark of the router runs, and finds fault with outputs that are wrong. Its figures are nobody's business here."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.audit import faults
from bench.group import read_group
from bench.index import Index
from bench.messages import Messages
from bench.picture import draw
from bench.rule import PRODUCERS, make_rule
from bench.trial import CONTENDERS, LOOP, ROUTER, trial
from bench.worker import Failed
from bench.worlds import BROAD, SKEWED, SMALL, make_world
from notifier.kafka import ensure_topics, kafka_consumer, kafka_producer
from notifier.settings import load_settings
from notifier.topics import MESSAGES
from tests.rigs.repository import ROOT


def test_outputs_that_are_right_have_no_faults() -> None:
    assert faults(Counter({("a", "1"): 1, ("b", "1"): 1}), Counter([("b", "1"), ("a", "1")])) == []


def test_a_missing_and_a_doubled_delivery_are_found() -> None:
    expected = Counter([("a", "1"), ("a", "2"), ("b", "2")])
    assert faults(expected, Counter([("a", "1"), ("a", "2")])) == ["1 of 3 deliveries missing: 2 by b"]
    assert faults(expected, Counter([("a", "1"), ("a", "1"), ("a", "2"), ("b", "2")])) == [
        "1 of 3 deliveries too many: 1 by a"
    ]
    assert len(faults(expected, Counter([("a", "1"), ("a", "1"), ("a", "2")]))) == 2


@pytest.mark.parametrize("fault", ["none", "missing", "doubled"])
async def test_what_lies_on_the_topics_is_checked(broker: str, own_settings: None, tmp_path: Path, fault: str) -> None:
    rule = make_rule(10)
    rule.write(tmp_path / "rule.json")
    async with trial(LOOP, rule, Messages(rule), broker, tmp_path) as one:
        await one.write(100)
        index = Index(tmp_path / "rule.json", one.settings.topic_prefix)
        outputs = [output for value in one.messages.values(100) for output in index.deliveries(value)]
        if fault == "missing":
            del outputs[7]
        elif fault == "doubled":
            outputs.append(outputs[7])
        async with kafka_producer(one.settings) as producer:
            for output, value in outputs:
                await producer.send(output.topic, value, key=output.key, partition=output.partition)
        if fault == "none":
            await one.check()
        else:
            with pytest.raises(Failed, match=r"1 of .* deliveries (missing|too many): message-"):
                await one.check()


@pytest.mark.parametrize("count", [1, 10, 1_000])
def test_a_pair_matches_one_configuration_on_average(count: int) -> None:
    rule = make_rule(count)
    assert rule == make_rule(count)
    pairs = len(PRODUCERS) * len(rule.users)
    assert sum(map(len, rule.by_pair.values())) / pairs == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", [BROAD, SKEWED])
@pytest.mark.parametrize("count", [100, 10_000])
def test_a_message_of_the_broad_worlds_matches_one_configuration_on_average(name: str, count: int) -> None:
    messages = make_world(name, count).messages()
    messages.make(20_000)
    assert messages.deliveries(0, 20_000) / 20_000 == pytest.approx(1, abs=0.06)
    assert messages.nobody(0, 20_000) / 20_000 == pytest.approx(0.37, abs=0.03)


@pytest.mark.parametrize("name", [SMALL, BROAD, SKEWED])
@pytest.mark.parametrize("count", [1, 100])
def test_the_hand_written_index_finds_what_the_rule_says(tmp_path: Path, name: str, count: int) -> None:
    world = make_world(name, count)
    world.rule.write(tmp_path / "rule.json")
    index = Index(tmp_path / "rule.json", "")
    messages = world.messages()
    found = [json.loads(made) for value in messages.values(5_000) for _, made in index.deliveries(value)]
    pairs = Counter((delivery["configuration"], delivery["message_id"]) for delivery in found)
    assert faults(messages.expected(5_000), pairs) == []


async def test_a_group_that_is_divided_anew_has_another_generation(broker: str, own_settings: None) -> None:
    settings = load_settings(env_file=None, kafka=broker, topic_prefix="bench-group.")
    await ensure_topics(settings, [MESSAGES])
    options = {"group_id": "bench-group.router", "enable_auto_commit": False}
    async with kafka_consumer(settings, "bench-group.messages", **options) as one:
        await one.getmany(timeout_ms=100)
        first = await read_group(settings, "router")
        assert await read_group(settings, "router") == first
        async with kafka_consumer(settings, "bench-group.messages", **options):
            second = await read_group(settings, "router")
    assert first.members < second.members
    assert first.generation < second.generation


@pytest.mark.slow
def test_it_runs_and_writes_its_figures(broker: str, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = (
        "--worlds",
        "small,broad",
        "--n",
        "10",
        "--messages",
        "3000",
        "--contenders",
        f"{ROUTER},{LOOP}",
        "--kafka",
        broker,
    )
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "router", "--quick", *options, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ended.returncode == 0, ended.stderr
    assert CONTENDERS[LOOP] in ended.stdout
    rows = json.loads(out.read_text())["scale"]["rows"]
    assert [(row["world"], row["contender"], row["configurations"]) for row in rows] == [
        (SMALL, ROUTER, 10),
        (SMALL, LOOP, 10),
        (BROAD, ROUTER, 10),
        (BROAD, LOOP, 10),
    ]
    assert all(row["cpu_s_beside_loop"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--fan-out", "--messages", "100"), ("--memory", "--n", "10", "--messages", "1000")]
)
def test_fan_out_and_memory_are_measured(broker: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    out = tmp_path / "figures.json"
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "router", *options, "--kafka", broker, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(out.read_text()).keys() == {"memory" if "--memory" in options else "fan_out"}


@pytest.mark.slow
@pytest.mark.parametrize("world", [SMALL, BROAD])
def test_judging_is_measured_without_a_broker(world: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "judge", "--world", world, "--n", "10", "--messages", "3000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "3,000 messages made" in ended.stdout


def test_the_picture_shows_every_contender() -> None:
    picture = ElementTree.fromstring(draw({name: [(1, 9.0), (10_000, 12.0)] for name in CONTENDERS}))
    assert set(CONTENDERS.values()) <= {element.text for element in picture}


@pytest.mark.slow
def test_pushing_is_measured_and_every_accepted_message_is_found(broker: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "intake", "--seconds", "1", "--clients", "3", "--kafka", broker],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert ended.returncode == 0, ended.stderr
    assert "together beside one by one" in ended.stdout


@pytest.mark.slow
def test_a_dry_run_is_measured_and_counts_what_a_router_delivers(broker: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "dry-run", "--messages", "2000", "--rounds", "1", "--kafka", broker],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
    assert "deliveries, and so many a real router made of the same messages" in ended.stdout
