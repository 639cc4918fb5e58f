"""What crosses ranks: codecs of vectors, collectives that are one object with `wait()`, and a count of the bytes.

encode   [N, D] numbers  ->  [N, row bytes] uint8, so that any slice of rows is a message
send     one message per peer; what stays on a rank is not sent and not counted
"""

from recfold.comm.codecs import CODECS, Codec, codec_named
from recfold.comm.collectives import Exchange, Message, all_to_all, gather_texts, stop_together
from recfold.comm.formats import RowFormat, aligned, round_trip
from recfold.comm.under_way import UnderWay
from recfold.comm.wire import Span, Wire

__all__ = [
    "CODECS",
    "Codec",
    "Exchange",
    "Message",
    "RowFormat",
    "Span",
    "UnderWay",
    "Wire",
    "aligned",
    "all_to_all",
    "codec_named",
    "gather_texts",
    "round_trip",
    "stop_together",
]
