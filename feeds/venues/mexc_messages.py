"""The one message of MEXC that is read, as a class of Google's `protobuf`.

Of https://github.com/mexcdevelop/websocket-proto only the fields that are used, by their numbers;
others are skipped, as the format wants it.
"""

from typing import TYPE_CHECKING, Protocol, cast

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import DescriptorProto

_TICKER_FIELDS = {"bid_price": 1, "ask_price": 3, "version": 5}


class Ticker(Protocol):
    """PublicAggreBookTickerV3Api: the best prices as decimal texts, and the book's version."""

    bid_price: str
    ask_price: str
    version: str


class Push(Protocol):
    """PushDataV3ApiWrapper: what every frame is; times are Unix milliseconds."""

    channel: str
    symbol: str
    send_time: int
    ticker: Ticker

    def HasField(self, name: str, /) -> bool:
        """Tell whether the message wraps a ticker."""


class PushClass(Protocol):
    """The class of `Push` messages."""

    def FromString(self, frame: bytes, /) -> Push:
        """Return a frame's message; raises google.protobuf.message.DecodeError."""


def _push_class() -> PushClass:
    file = FileDescriptorProto(name="mexc.proto", syntax="proto3")
    ticker = file.message_type.add(name="Ticker")
    for name, number in _TICKER_FIELDS.items():
        _add(ticker, name, number, FieldDescriptorProto.TYPE_STRING)
    push = file.message_type.add(name="Push")
    _add(push, "channel", 1, FieldDescriptorProto.TYPE_STRING)
    _add(push, "symbol", 3, FieldDescriptorProto.TYPE_STRING)
    _add(push, "send_time", 6, FieldDescriptorProto.TYPE_INT64)
    _add(push, "ticker", 315, FieldDescriptorProto.TYPE_MESSAGE, ".Ticker")
    pool = DescriptorPool()
    pool.Add(file)
    made = GetMessageClass(pool.FindMessageTypeByName("Push"))
    return cast("PushClass", made)


def _add(
    message: "DescriptorProto",
    name: str,
    number: int,
    kind: "FieldDescriptorProto.Type.ValueType",
    type_name: str | None = None,
) -> None:
    message.field.add(
        name=name,
        number=number,
        type=kind,
        type_name=type_name,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )


PUSH = _push_class()
