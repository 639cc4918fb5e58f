"""How vectors and their gradients travel."""

from dataclasses import dataclass

from recfold.comm.formats import FORMATS, RowFormat
from recfold.spec import unknown


@dataclass(frozen=True)
class Codec:
    """One member of the family.

    Args:
        name: as the user writes it.
        vectors: of the forward exchange.
        gradients: of the backward exchange.
    """

    name: str
    vectors: RowFormat
    gradients: RowFormat


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("fp32", FORMATS["fp32"], FORMATS["fp32"]),
        # gradients of a mean over a large batch are below what fp16 can hold; Neo (Mudigere et al. 2022) pairs them so
        Codec("fp16", FORMATS["fp16"], FORMATS["bf16"]),
        Codec("bf16", FORMATS["bf16"], FORMATS["bf16"]),
        Codec("int8", FORMATS["int8"], FORMATS["int8"]),
    )
}


def codec_named(name: str) -> Codec:
    """A member of the family by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in CODECS:
        raise unknown("codec", name, CODECS)
    return CODECS[name]
