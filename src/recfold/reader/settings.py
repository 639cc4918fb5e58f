"""Settings of a reader."""

from typing import Literal

from pydantic import Field

from recfold.spec import Settings

Order = Literal["time", "shuffle"]


class ReaderSettings(Settings):
    """How a folded table is read.

    Args:
        batch_size: samples of a batch, per rank; the last one of an epoch may be shorter.
        order: `time` merges all parts by the units' first timestamps; `shuffle` draws a new order for every epoch.
        seed: of the shuffle.
        workers: processes that decode and transform ahead; 0 does it in this process, when a batch is asked for.
        prefetch: finished batches held per worker.
        block_samples: units are dealt to ranks in blocks of about so many samples.
        shuffle_window: row groups whose units are mixed with each other.
        pin_memory: put batches into page-locked memory.
    """

    batch_size: int = Field(default=4096, gt=0)
    order: Order = "shuffle"
    seed: int = Field(default=0, ge=0, lt=1 << 64)
    workers: int = Field(default=1, ge=0)
    prefetch: int = Field(default=4, gt=0)
    block_samples: int = Field(default=8192, gt=0)
    shuffle_window: int = Field(default=2, gt=0)
    pin_memory: bool = False
