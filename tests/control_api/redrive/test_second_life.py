"""A redriven delivery is a new one: by a delivery worker and the history that follows it."""

from control_api.access.actor import COMMAND_LINE
from control_api.history import records
from control_api.history.follower import History
from control_api.history.queries import AttemptQuery
from control_api.history.sight import Sight
from notifier.settings import Settings
from tests.rigs.delivery_rig import buried as are_buried
from tests.rigs.delivery_rig import define_sink, make, saw, send, wait_for_attempts, with_, working
from tests.rigs.history_rig import following, has_rows
from tests.rigs.kafka_tools import wait_until
from tests.rigs.redrive_rig import JOB, begin, define, opened, redriven, store, worked
from tests.rigs.redrive_rig import buried as letter_of


async def test_it_is_tried_by_the_full_schedule_again_and_history_shows_both_lives(settings: Settings) -> None:
    """One that was accepted meanwhile is not sent a second time."""
    settings = with_(settings, retry_schedule_s=(0.01, 0.01))
    bad, good = make("bad"), make("good")
    path = await define_sink(settings, plan={"bad": ["fail"]})
    async with opened(settings) as database, worked(settings, database) as redrives, working(settings):
        await define(database, "consumer", "sink")
        await send(settings, [bad, good])
        await wait_until(lambda: are_buried(settings, 1))
        await History(settings, database).catch_up()
        await store(
            database, [letter_of(settings, good)]
        )  # of a worker that died before it had said that it was accepted
        assert (await begin(redrives, JOB + "1", reason="exhausted"))["matched"] == 2
        assert (await redriven(redrives, JOB + "1"))["redriven"] == 2
        await wait_until(lambda: are_buried(settings, 2))
        await wait_for_attempts(settings, 1, outcome="suppressed", reason="duplicate")
        given = [(line["content"], line["attempt"]) for line in await saw(path, 7)]
        assert [attempt for content, attempt in given if content == "bad"] == [1, 2, 3, 1, 2, 3]
        assert given.count(("good", 1)) == 1
        async with following(settings, database):
            await wait_until(lambda: has_rows(database, 8))
        async with database.read() as session:
            items, _ = await records.attempts(session, AttemptQuery(delivery=bad.id, limit=100), Sight())
            letters, _ = await records.dead_letters(session, {"letter": bad.id}, 100, None)
        lives = [(item["number"], item["outcome"]) for item in reversed(items)]
        assert lives == [(1, "deferred"), (2, "deferred"), (3, "refused")] * 2
        assert len({item["origin"]["offset"] for item in items}) == 2
        assert [letter["redriven_at"] is not None for letter in letters] == [False, True]  # the newest first
        # The letter of its second life is another one.
        assert (await begin(redrives, JOB + "2", consumer="sink"))["matched"] == 1
        assert (await redrives.get(COMMAND_LINE, JOB + "2"))["state"] == "running"
