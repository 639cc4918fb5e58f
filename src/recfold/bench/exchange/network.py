"""Where ranks run: side by side over loopback, or each in a network namespace of its own with a slow link between."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType

from recfold.spec import InputError, unknown

LINKS: dict[str, str | None] = {"loopback": None, "1gbit": "1gbit"}
"""Link -> its rate as `tc` writes it; None for one that is not limited."""
BURST, LATENCY = "128kb", "50ms"
"""Of the token bucket: what leaves at once, and how long a packet may wait."""
_NAME = "recfold"


@dataclass(frozen=True)
class Place:
    """Where a rank runs.

    Args:
        command: goes before the rank's own.
        env: added to its environment.
    """

    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def places(link: str, ranks: int) -> Iterator[list[Place]]:
    """A place for each rank; namespaces are removed at the end, also after a failure or SIGTERM.

    Raises:
        InputError: no such link, not two ranks on a limited one, or a system that does not permit namespaces.
    """
    if link not in LINKS:
        raise unknown("link", link, LINKS)
    rate = LINKS[link]
    if rate is None:
        yield [Place()] * ranks
        return
    if ranks != 2:
        raise InputError(f"a link of {link} joins two ranks", got=f"{ranks}", todo="give --nproc 2")
    if not all(map(shutil.which, ("ip", "tc"))):
        raise _not_permitted(link, "the commands `ip` and `tc` are not there")
    with ExitStack() as stack:
        stack.enter_context(_sigterm_unwinds())
        _remove_left_over()
        yield _joined(stack, link, rate)


def namespaces() -> list[str]:
    """Names of the network namespaces that recfold has made and that are there now."""
    shown = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in shown.splitlines() if line.startswith(f"{_NAME}-")]


def _joined(stack: ExitStack, link: str, rate: str) -> list[Place]:
    names = [f"{_NAME}-{os.getpid()}-{rank}" for rank in range(2)]
    ends = ["veth0", "veth1"]
    try:
        for name in names:
            _run("ip", "netns", "add", name)
            stack.callback(_remove, name)
        _run(
            "ip", "link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1]
        )
        for rank, (name, end) in enumerate(zip(names, ends, strict=True)):
            _run("ip", "-n", name, "addr", "add", f"10.0.0.{rank + 1}/24", "dev", end)
            for own in ("lo", end):
                _run("ip", "-n", name, "link", "set", own, "up")
            bucket = ("tbf", "rate", rate, "burst", BURST, "latency", LATENCY)
            _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", end, "root", *bucket)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"`{' '.join(error.cmd)}` failed"]
        raise _not_permitted(link, lines[-1]) from None
    return [
        Place(("ip", "netns", "exec", name), {"GLOO_SOCKET_IFNAME": end}) for name, end in zip(names, ends, strict=True)
    ]


def _not_permitted(link: str, why: str) -> InputError:
    return InputError(
        f"network namespaces with a link of {link} cannot be made here",
        got=why,
        todo="run it as root on Linux with iproute2, or leave --link out",
    )


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)


def _remove(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _remove_left_over() -> None:
    """What a process has left that was killed before it could remove it."""
    for name in namespaces():
        owner = name.split("-")[1]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            _remove(name)


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Inside, SIGTERM raises, as Ctrl-C does; in the main thread only, where Python can handle signals."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
