"""Worker processes: the same batches, one clear error when they fail, none left behind."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import numpy as np
import pytest

from recfold.reader import Reader, ReaderSettings
from recfold.reader.layout import layout_of
from recfold.reader.pool import COMMAND
from recfold.reader.produce import Store
from recfold.reader.shared import Shared
from recfold.reader.wire import receive_frame, send_frame
from recfold.reader.worker import TAKEN, job_line, serve, start_line
from recfold.spec import InputError

HERE = ReaderSettings(workers=0, batch_size=2, block_samples=5, shuffle_window=2)


def contents(batches) -> list[list[bytes | None]]:
    """Every tensor of every batch, as bytes."""
    found = []
    for batch in batches:
        tensors = [batch.labels, batch.weight, *batch.keys.values()]
        for group in batch.groups.values():
            tensors += [group.index.inverse, group.dense]
            for part in (group.lists, group.dense_lists):
                if part is not None:
                    tensors += [part.values, part.offsets, part.weights, part.start, part.length]
        found.append([None if tensor is None else tensor.numpy().tobytes() for tensor in tensors])
    return found


def processes_of(reader: Reader) -> list[int]:
    return [worker._process.pid for worker in reader._pool._workers]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_order_and_bits_do_not_depend_on_the_number_of_workers(table):
    expected = Reader(table, settings=HERE)
    with Reader(table, settings=HERE.model_copy(update={"workers": 2, "prefetch": 1})) as reader:
        assert contents(reader) == contents(expected)
        first = processes_of(reader)
        assert contents(reader) == contents(expected)
        assert processes_of(reader) == first
        # in the middle of an epoch
        state = None
        for _ in reader:
            state = reader.state_dict()
            if reader.num_batches() == 4:
                break
        expected.load_state_dict(state)
        reader.load_state_dict(state)
        assert contents(reader) == contents(expected)
        pids = processes_of(reader)
    assert not any(is_running(pid) for pid in pids)


@pytest.mark.parametrize("at", ["start", "work"])
def test_a_worker_that_is_killed_is_one_line(table, at):
    with Reader(table, settings=HERE.model_copy(update={"workers": 2})) as reader:
        stream = reader._open_stream()
        pids = processes_of(reader)
        if at == "work":
            os.kill(pids[1], signal.SIGSTOP)  # it gets its job and makes nothing
            next(stream)
        os.kill(pids[1], signal.SIGKILL)
        with pytest.raises(InputError, match=r"a reader worker died; got signal 9; if memory ran out"):
            list(stream)
    assert not any(is_running(pid) for pid in pids)


def test_a_damaged_file_is_named_by_a_worker(folded, tmp_path):
    table = folded(tmp_path / "table")
    reader = Reader(table, settings=HERE.model_copy(update={"workers": 1}))
    path = table.parts("train")[0].path
    data = bytearray(path.read_bytes())
    data[60:400] = bytes(340)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"part-00000\.parquet is damaged"), reader:
        list(reader)


def test_a_reader_that_is_forgotten_leaves_no_process(table):
    reader = Reader(table, settings=HERE.model_copy(update={"workers": 1}))
    next(iter(reader))
    (pid,) = processes_of(reader)
    del reader
    gc.collect()
    assert not is_running(pid)


@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_ends_when_the_program_that_started_it_is_gone(table, busy):
    here, there = socket.socketpair()
    with there:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND.format(fd=there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
        )
    with process, here:
        send(here, start_line(table.path, table.manifest.checksum, "train", HERE, Reader(table).schema, 0))
        if busy:
            send(here, job_line(0, [(1, 1, 0)], 0, 1))
            assert receive_frame(here) is not None
        here.close()
        assert process.wait(60) == 0


def send(to: socket.socket, line: dict) -> None:
    to.sendall(json.dumps(line).encode() + b"\n")


def test_a_program_that_forgets_to_close_its_reader_ends(table):
    program = f"""
from recfold.reader import Reader, ReaderSettings
reader = Reader({str(table.path)!r}, settings=ReaderSettings(batch_size=1, prefetch=1))
print(next(iter(reader)).num_samples)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


ARRAYS = {
    "empty": np.empty((0, 3), np.float32),
    "ids": np.arange(5, dtype=np.int64),
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "strided": np.arange(8, dtype=np.int64)[::2],
}


@pytest.mark.parametrize("arrays", [ARRAYS, {"nothing": np.empty(0, np.int64)}, {}])
@pytest.mark.parametrize("memfd", [True, False])
def test_frames_carry_arrays_of_any_shape_and_type(arrays, memfd, monkeypatch):
    if not memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    here, there = socket.socketpair()
    with here, there:
        send_frame(there, {"a": 1}, arrays)
        send_frame(there, {"end": True})
        open_before = len(os.listdir("/dev/fd"))
        header, found = receive_frame(here)
        assert header == {"a": 1}
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert (found[name].dtype, found[name].shape, found[name].tolist()) == (
                array.dtype,
                array.shape,
                array.tolist(),
            )
            assert found[name].flags.writeable
        assert len(os.listdir("/dev/fd")) <= open_before
        assert receive_frame(here) == ({"end": True}, {})
        there.close()
        assert receive_frame(here) is None


def test_arrays_stay_when_the_frame_is_forgotten_and_whoever_sent_it_is_gone():
    here, there = socket.socketpair()
    with here, there:
        send_frame(there, {}, {"ids": np.arange(3)})
        ids = receive_frame(here)[1]["ids"]
    gc.collect()
    assert ids.tolist() == [0, 1, 2]


def test_a_frame_that_is_cut_is_an_end_of_file():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"\x09\0\0\0\0\0\0\0{}")
        there.close()
        with pytest.raises(EOFError):
            receive_frame(here)


def test_a_worker_serves_jobs_and_says_what_went_wrong(table):
    start = start_line(table.path, table.manifest.checksum, "train", HERE, Reader(table).schema, 0)
    frames = answers(start, job_line(0, [(1, 2, 0)], 6, 1))
    assert [("labels" in arrays, header) for header, arrays in frames] == [
        (True, {}),
        (True, {}),
        (False, {"end": True}),
    ]
    ((header, _),) = answers({**start, "checksum": "0"}, {})
    assert header["input"]
    assert "has changed while it was read" in header["error"]
    ((header, _),) = answers(start, {})
    assert not header["input"]
    assert header["error"].startswith("KeyError: 'epoch' (worker.py:")


def test_a_worker_is_ahead_by_as_many_batches_as_it_may(table):
    settings = HERE.model_copy(update={"prefetch": 3})
    start = start_line(table.path, table.manifest.checksum, "train", settings, Reader(table).schema, 0)
    job = job_line(0, [(1, 2, 0)], 0, 1)
    assert Reader(table, settings=settings).num_batches() == 8
    assert len(answers(start, job)) == 3
    assert len(answers(start, job, taken=2)) == 5
    # what was said of one job's batches counts for no other
    assert [header for header, _ in answers(start, job, taken=8, more=[job])] == [{}] * 8 + [{"end": True}] + [{}] * 3


def answers(*lines: dict, taken: int = 0, more: tuple | list = ()) -> list:
    here, there = socket.socketpair()
    with here, there:
        for line in lines:
            send(here, line)
        here.sendall(TAKEN * taken)
        for line in more:
            send(here, line)
        here.shutdown(socket.SHUT_WR)
        serve(there)
        there.shutdown(socket.SHUT_WR)
        return list(iter(lambda: receive_frame(here), None))


def names_left() -> set[str]:
    """What there is by name in shared memory and in the folder of temporary files."""
    shared = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    return {name for name in (*shared, *os.listdir(tempfile.gettempdir())) if "recfold" in name or "psm_" in name}


@pytest.mark.parametrize("how", ["close", "error", "worker", "parent"])
def test_nothing_is_left_behind_however_reading_ends(table, how):
    before = names_left()
    if how == "parent":
        program = f"""
import os, signal
from recfold.reader import Reader, ReaderSettings
reader = Reader({str(table.path)!r}, settings=ReaderSettings(batch_size=1, prefetch=1, workers=2))
next(iter(reader))
print(*(worker._process.pid for worker in reader._pool._workers), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL
        for pid in map(int, done.stdout.split()):
            wait_for_end(pid)
    else:
        reader = Reader(table, settings=HERE.model_copy(update={"workers": 2, "prefetch": 1}))
        open_before = len(os.listdir("/dev/fd"))
        stream = iter(reader)
        batch = next(stream)
        if how == "error":
            with pytest.raises(KeyError), reader:
                raise KeyError
        elif how == "worker":
            os.kill(processes_of(reader)[1], signal.SIGKILL)
            with pytest.raises(InputError, match="a reader worker died"):
                list(stream)
        reader.close()
        assert contents([batch]) == contents([next(iter(Reader(table, settings=HERE)))])
        del batch, stream
        gc.collect()
        assert len(os.listdir("/dev/fd")) <= open_before
    assert names_left() == before


def wait_for_end(pid: int) -> None:
    for _ in range(6000):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().split()[2] == "Z":
                    return
        except FileNotFoundError:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"process {pid} is still there")


def test_workers_map_the_dictionaries_that_the_reader_transformed(table):
    layout = layout_of(Reader(table).schema)
    store, other = Store(table, "train", layout), Store(table, "train", layout)
    made = store.shared_dictionary("candidate")
    shared = store.shared_dictionaries()
    told = Shared.of_json(json.loads(json.dumps(shared.as_json())))
    other.share(told)
    mapped = other.shared_dictionary("candidate")
    assert mapped.num_rows == made.num_rows == 6
    assert mapped.dense.tobytes() == made.dense.tobytes()
    for own, theirs in zip(made.lists, mapped.lists, strict=True):
        assert theirs.to_pylists() == own.to_pylists()
        assert not theirs.values.flags.writeable
        assert not theirs.values.flags.owndata
