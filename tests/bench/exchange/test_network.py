"""Namespaces come and go with their block; where they cannot be made, one line says so."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recfold.bench.exchange.network import namespaces, places
from recfold.spec import InputError

PERMITTED = (
    sys.platform == "linux"
    and os.geteuid() == 0
    and subprocess.run(["sh", "-c", "ip netns add recfold-probe && ip netns del recfold-probe"]).returncode == 0
)
needs_namespaces = pytest.mark.skipif(not PERMITTED, reason="network namespaces are not permitted here")


def test_loopback_needs_nothing() -> None:
    with places("loopback", 4) as found:
        assert [(place.command, dict(place.env)) for place in found] == [((), {})] * 4


@needs_namespaces
def test_a_limited_link_joins_two_namespaces_which_are_gone_afterwards() -> None:
    before = namespaces()
    with places("1gbit", 2) as found:
        assert len(namespaces()) == len(before) + 2
        devices, buckets = (
            subprocess.run([*place.command, *asked], capture_output=True, text=True, check=True).stdout
            for place, asked in zip(found, (("cat", "/proc/net/dev"), ("tc", "qdisc")), strict=True)
        )
    assert namespaces() == before
    assert found[0].env["GLOO_SOCKET_IFNAME"] in devices
    assert "tbf" in buckets
    assert "rate 1Gbit" in buckets


@needs_namespaces
def test_namespaces_are_removed_after_a_failure() -> None:
    def fail() -> None:
        with places("1gbit", 2):
            raise ZeroDivisionError

    before = namespaces()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert namespaces() == before


@needs_namespaces
def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = f"recfold-{child.stdout.strip()}-0"
    subprocess.run(["ip", "netns", "add", left], check=True)
    with places("1gbit", 2):
        assert left not in namespaces()


@needs_namespaces
def test_namespaces_are_removed_when_the_bench_is_stopped() -> None:
    code = (
        "import time\n"
        "from recfold.bench.exchange.network import places\n"
        "with places('1gbit', 2):\n"
        "    print('made', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "made\n"
        assert any(name.startswith(f"recfold-{child.pid}-") for name in namespaces())
        child.terminate()
        assert child.wait(timeout=60) == 143
    assert not any(name.startswith(f"recfold-{child.pid}-") for name in namespaces())


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for `ip`")
@pytest.mark.usefixtures("no_ranks")
def test_where_namespaces_are_not_permitted_one_line_says_so(link_folder: Path, monkeypatch: Any) -> None:
    for name in ("ip", "tc"):
        (link_folder / name).write_text(
            '#!/bin/sh\necho "mount --make-shared /run/netns failed: not permitted" >&2\nexit 1\n'
        )
        (link_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(link_folder), prepend=os.pathsep)
    message = (
        r"^network namespaces with a link of 1gbit cannot be made here; got mount .* not permitted; "
        r"run it as root on Linux with iproute2, or leave --link out$"
    )
    with pytest.raises(InputError, match=message), places("1gbit", 2):
        pass


def test_without_the_commands_one_line_says_so(link_folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(link_folder))
    with pytest.raises(InputError, match="got the commands `ip` and `tc` are not there"), places("1gbit", 2):
        pass


def test_a_limited_link_is_for_two_ranks() -> None:
    with pytest.raises(InputError, match="a link of 1gbit joins two ranks; got 3; give --nproc 2"), places("1gbit", 3):
        pass


def test_an_unknown_link_answers_with_the_right_ones() -> None:
    message = r"unknown link '1gbt'; expected one of 1gbit, loopback; did you mean '1gbit'"
    with pytest.raises(InputError, match=message), places("1gbt", 2):
        pass
