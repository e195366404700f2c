"""`notifier router --workers N`: real processes on the real broker, killed, stopped and told nonsense."""

import asyncio
import re
import signal
import sys

import psutil
import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from notifier.kafka import kafka_admin
from notifier.settings import Settings
from notifier.topics import MESSAGES
from notifier_cli.children import Children
from tests.rigs.kafka_tools import WAIT_S, wait_for_records, wait_until
from tests.rigs.roles import Role, environment, run, start_role
from tests.rigs.router_rig import write_messages

# A worker that was killed is missed after the session's 10 s; a busy machine takes its time besides.
REBALANCED_S = WAIT_S


def workers_of(role: Role) -> list[psutil.Process]:
    """The living child processes of the command."""
    children = psutil.Process(role.process.pid).children()
    return [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


async def shares(settings: Settings) -> list[int]:
    """How many partitions of `messages` each member of the routers' group has; empty while the group is not of one mind."""
    group = settings.topic_prefix + "router"
    async with kafka_admin(settings) as admin:
        try:
            (answer,) = await admin.describe_consumer_groups([group])
        except KafkaError:  # the very first group of a broker has no coordinator for a moment
            return []
    (described,) = answer.to_object()["groups"]
    if described["state"] != "Stable":
        return []
    found = [
        {
            partition
            for _, partitions in ConsumerProtocolMemberAssignment.decode(member["member_assignment"]).assignment
            for partition in partitions
        }
        for member in described["members"]
    ]
    assert len(set().union(*found)) == sum(map(len, found)) == MESSAGES.partitions
    return sorted(map(len, found))


async def shared_by_two(settings: Settings) -> bool:
    """Whether two workers share the partitions evenly."""
    return await shares(settings) == [MESSAGES.partitions // 2] * 2


async def one_in_each_partition(settings: Settings, round_: int) -> None:
    """Every partition has a worker: what nobody is to get is a dead letter of each."""
    for partition in range(MESSAGES.partitions):
        await write_messages(settings, [{"producer": "nobody", "content": "x"}], partition)
    await wait_for_records(settings, "dead_letters", MESSAGES.partitions * round_)


@pytest.mark.slow
async def test_workers_share_the_partitions_and_one_that_is_killed_is_started_again(settings: Settings) -> None:
    role = await start_role(settings, "router", "--workers", "2")
    try:
        await wait_until(lambda: len(workers_of(role)) == 2, otherwise=role.output)
        await wait_until(lambda: shared_by_two(settings), REBALANCED_S, role.output)
        await one_in_each_partition(settings, 1)
        killed, other = workers_of(role)
        killed.kill()
        await wait_until(lambda: len(workers_of(role)) == 2 and killed not in workers_of(role), otherwise=role.output)
        assert other in workers_of(role)
        assert re.search(r"router [12] ended with status -9 and is started again in 2 s", role.output())
        await wait_until(lambda: shared_by_two(settings), REBALANCED_S, role.output)
        await one_in_each_partition(settings, 2)
        left = workers_of(role)
    finally:
        status = await role.stop()
    assert status == 0, role.output()
    assert not any(worker.is_running() for worker in left)
    assert "Traceback" not in role.output()


async def test_ctrl_c_stops_workers_that_have_hardly_begun(settings: Settings) -> None:
    role = await start_role(settings, "router", "--workers", "3")
    await wait_until(lambda: len(workers_of(role)) == 3, otherwise=role.output)
    left = workers_of(role)
    assert await role.stop(signal.SIGINT) == 0
    assert not any(worker.is_running() for worker in left)
    assert "Traceback" not in role.output()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a child dies with its parent at once")
async def test_workers_die_with_the_command_that_is_killed(settings: Settings) -> None:
    role = await start_role(settings, "router", "--workers", "3")
    await wait_until(lambda: len(workers_of(role)) == 3, otherwise=role.output)
    left = workers_of(role)
    await role.stop(signal.SIGKILL)
    await wait_until(lambda: not any(worker.is_running() for worker in left), otherwise=lambda: str(left))


@pytest.mark.parametrize("count", ["0", "65", "many"])
async def test_a_number_of_workers_that_is_none_is_refused(settings: Settings, count: str) -> None:
    status, _, err = await run(settings, "router", "--workers", count)
    assert status == 2
    assert "--workers" in err


async def test_workers_without_a_broker_say_so_once(settings: Settings) -> None:
    env = environment(settings)
    del env["NOTIFIER_KAFKA"]
    status, _, err = await run(settings, "router", "--workers", "4", env=env)
    assert status == 3
    assert len(err.splitlines()) == 1
    assert "notifier kafka start" in err


async def test_a_child_whose_settings_are_wrong_ends_them_all(settings: Settings) -> None:
    wrong = {**environment(settings), "NOTIFIER_HTTP_PORT": "many"}
    children = Children(environment=wrong, folder=settings.data_dir)
    for name in ("one", "two"):
        children.keep(name, "router")
    assert await asyncio.wait_for(children.wait(), WAIT_S) == 2
    await children.stop("one", "two")
