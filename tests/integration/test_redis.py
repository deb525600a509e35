"""The redis-server that we start ourselves, and notifications through it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from prover.errors import AlreadyRunning, QueueUnavailable, RedisMissing
from prover.host.redis_server import RedisServer, find_redis_server
from prover.jobs.bus import LocalNotifications, open_notifications
from prover.jobs.notifications import Notifications
from prover.jobs.redis_notifications import RedisNotifications

pytestmark = pytest.mark.slow


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


@pytest.mark.parametrize("folder", ["a b%", "x" * 120], ids=["socket", "port"])
def test_it_starts_keeps_its_data_and_leaves_no_process(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    with RedisServer.start(place) as server:
        with client(server) as connection:
            connection.set("key", "value")
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (place / "redis.sock").exists()

    with RedisServer.start(place) as again, client(again) as connection:
        assert connection.get("key") == b"value"


def test_other_users_cannot_connect_to_it(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path / "socket") as server:
        assert server.url.startswith("unix://")
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o700
    with RedisServer.start(tmp_path / ("x" * 120)) as server:
        stranger = server.url.split("@")[1]
        connection = redis.Redis.from_url(f"redis://{stranger}")
        with connection, pytest.raises(redis.AuthenticationError):
            connection.ping()
        password = server.url.split(":")[2].split("@")[0]
        assert password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_a_folder_has_one_server_at_a_time(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path) as server:
        with pytest.raises(AlreadyRunning):
            RedisServer.start(tmp_path)
        assert server.is_alive()


def test_a_server_that_outlived_its_parent_is_replaced_and_its_data_kept(tmp_path: Path) -> None:
    program = (
        "import sys, time, redis\n"
        "from pathlib import Path\n"
        "from prover.host.redis_server import RedisServer\n"
        "server = RedisServer.start(Path(sys.argv[1]))\n"
        "redis.Redis.from_url(server.url).set('key', 'value')\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()

    try:
        with RedisServer.start(tmp_path) as server, client(server) as connection:
            assert connection.get("key") == b"value"
            assert not running(orphan)
    finally:
        if running(orphan):
            os.kill(orphan, signal.SIGKILL)


def running(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_without_redis_server_the_error_has_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(RedisMissing) as caught:
        find_redis_server()
    assert "ZKML_REDIS_URL" in caught.value.advice


# --- notifications ---------------------------------------------------------------------------


def test_a_notification_reaches_waiters_in_threads_and_loops_and_only_theirs(
    tmp_path: Path,
) -> None:
    with (
        RedisServer.start(tmp_path) as server,
        RedisNotifications(server.url) as worker,
        RedisNotifications(server.url) as api,
    ):
        expect_notifications(worker, api)


def test_without_redis_notifications_stay_in_the_process() -> None:
    notifications = open_notifications(None)
    assert isinstance(notifications, LocalNotifications)
    expect_notifications(notifications, notifications)


def expect_notifications(publisher: Notifications, listener: Notifications) -> None:
    async def in_a_loop() -> tuple[bool, bool]:
        async with (
            listener.subscribe_async("job-1") as mine,
            listener.subscribe_async("job-2") as other,
        ):
            await mine.wait(0.1)  # what came before subscribing does not count
            await other.wait(0.1)
            publisher.publish("job-1")
            return await mine.wait(5), await other.wait(0.1)

    assert asyncio.run(in_a_loop()) == (True, False)
    with listener.subscribe("job-1") as subscription:
        publisher.publish("job-1")
        assert subscription.wait(5)
        assert not subscription.wait(0.05)


def test_a_redis_that_goes_away_costs_notifications_and_nothing_else(tmp_path: Path) -> None:
    server = RedisServer.start(tmp_path)
    with (
        RedisNotifications(server.url) as notifications,
        notifications.subscribe("job") as subscription,
    ):
        server.stop()
        notifications.publish("job")
        with pytest.raises(QueueUnavailable):
            notifications.ping()
        with RedisServer.start(tmp_path):
            assert subscription.wait(
                10
            )  # woken to look, because notifications may have been missed
            notifications.ping()
            notifications.publish("job")
            assert subscription.wait(5)
