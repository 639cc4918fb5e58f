"""Worker processes: the same batches, one clear error when they fail, none left behind."""

import gc
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from recfold.reader import Reader, ReaderSettings
from recfold.reader.pool import _COMMAND
from recfold.reader.wire import read_frame, write_frame
from recfold.reader.worker import job_line, serve, start_line
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
    with subprocess.Popen(
        [sys.executable, "-c", _COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        send(process.stdin, start_line(table.path, table.manifest.checksum, "train", HERE, Reader(table).schema, 0))
        if busy:
            send(process.stdin, job_line(0, [(1, 1, 0)], 0, 1))
            assert read_frame(process.stdout) is not None
        process.stdout.close()
        process.stdin.close()
        assert process.wait(60) == 0


def send(file, line: dict) -> None:
    file.write(json.dumps(line).encode() + b"\n")


def test_a_program_that_forgets_to_close_its_reader_ends(table):
    program = f"""
from recfold.reader import Reader, ReaderSettings
reader = Reader({str(table.path)!r}, settings=ReaderSettings(batch_size=1, prefetch=1))
print(next(iter(reader)).num_samples)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


class Pipe(io.BytesIO):
    """A file that takes and gives a few bytes at a time, as a pipe may."""

    def write(self, data) -> int:
        return super().write(data[:7])

    def readinto(self, into) -> int:
        return super().readinto(into[:5])


def test_frames_carry_arrays_of_any_shape_and_type():
    arrays = {
        "empty": np.empty((0, 3), np.float32),
        "ids": np.arange(5, dtype=np.int64),
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "strided": np.arange(8, dtype=np.int64)[::2],
    }
    pipe = Pipe()
    write_frame(pipe, {"a": 1}, arrays)
    write_frame(pipe, {"end": True})
    size = pipe.tell()
    pipe.seek(0)
    header, found = read_frame(pipe)
    assert header == {"a": 1}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape, found[name].tolist()) == (
            array.dtype,
            array.shape,
            array.tolist(),
        )
        assert found[name].flags.writeable
    assert read_frame(pipe) == ({"end": True}, {})
    assert read_frame(pipe) is None
    cut = Pipe(pipe.getvalue()[: size // 2])
    with pytest.raises(EOFError):
        read_frame(cut)


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


def answers(*lines: dict) -> list:
    jobs = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    out = io.BytesIO()
    serve(jobs, out)
    out.seek(0)
    return list(iter(lambda: read_frame(out), None))
