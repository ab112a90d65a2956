"""The structure of a pickle, followed without making its values: how deep it nests, how much it holds.

A tuple two million levels deep ends Python itself, and 45 doubled tuples, written out, are 2 ** 45 values: both fit
into a small file. Arrays and lists of images nest a few levels only.
"""

import pickletools
from collections.abc import Iterator
from typing import Any, BinaryIO

DEEPEST = 64
LARGEST = 1 << 28  # values, written out


class _Value:
    """What is known of a value on the stack."""

    __slots__ = ("closed", "depth", "size")

    def __init__(self, depth: int = 0, size: int = 1):
        self.depth, self.size, self.closed = depth, size, False

    def hold(self, members: "list[_Value]") -> None:
        if self.closed and members:
            raise ValueError("it holds itself")
        for member in members:
            if member is self:
                raise ValueError("it holds itself")
            member.closed = True
            self.depth = max(self.depth, member.depth + 1)
            self.size += member.size
        if self.depth > DEEPEST:
            raise ValueError(f"it nests more than {DEEPEST} levels deep")
        if self.size > LARGEST:
            raise ValueError(f"written out it holds more than {LARGEST} values")


OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}
MARK = object()
TAKES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3, "STACK_GLOBAL": 2}
ADDS = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}
TO_MARK = {"TUPLE", "LIST", "DICT", "FROZENSET", "INST", "OBJ"}
ADDS_TO_MARK = {"APPENDS", "SETITEMS", "ADDITEMS"}
NOTHING = {"PROTO", "FRAME", "STOP", "BINPERSID", "READONLY_BUFFER"}


SIZED = {
    **dict.fromkeys(("SHORT_BINSTRING", "SHORT_BINBYTES", "SHORT_BINUNICODE", "LONG1"), 1),
    **dict.fromkeys(("BINSTRING", "BINBYTES", "BINUNICODE", "LONG4"), 4),
    **dict.fromkeys(("BINBYTES8", "BINUNICODE8", "BYTEARRAY8"), 8),
}
LINES = {"STRING", "UNICODE"}


def _operations(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """(name, argument) of every operation; texts and bytes are skipped, not read."""
    end = file.seek(0, 2)
    file.seek(0)
    while code := file.read(1):
        operation = OPERATIONS.get(code.decode("latin-1"))
        if operation is None:
            raise ValueError(f"it holds the unknown operation {code!r}")
        argument = None
        if operation.name in SIZED:
            length = int.from_bytes(file.read(SIZED[operation.name]), "little")
            if length > end - file.tell():
                raise ValueError("it was cut short")
            file.seek(length, 1)
        elif operation.name in LINES:
            file.readline()
        elif operation.arg is not None:
            argument = operation.arg.reader(file)
        yield operation.name, argument
        if operation.name == "STOP":
            return
    raise ValueError("it was cut short")


def check_structure(file: BinaryIO) -> None:
    """ValueError if a pickle nests too deep, holds itself, holds too much, or is not whole."""
    stack: list[_Value | object] = []
    memo: dict[int, _Value] = {}

    def take(n: int) -> list[_Value]:
        members = stack[len(stack) - n :]
        if len(members) < n or MARK in members:
            raise ValueError("its stack is empty")
        del stack[len(stack) - n :]
        return [m for m in members if isinstance(m, _Value)]

    def pop_to_mark() -> list[_Value]:
        place = len(stack) - 1
        while place >= 0 and stack[place] is not MARK:
            place -= 1
        members = take(len(stack) - place - 1)
        stack.pop()
        return members

    def top() -> _Value:
        if not stack or not isinstance(stack[-1], _Value):
            raise ValueError("its stack is empty")
        return stack[-1]

    for name, argument in _operations(file):
        if name in NOTHING:
            continue
        if name == "MARK":
            stack.append(MARK)
        elif name in ADDS or name in ADDS_TO_MARK:
            members = take(ADDS[name]) if name in ADDS else pop_to_mark()
            top().hold(members)
        elif name in TAKES or name in TO_MARK:
            members = take(TAKES[name]) if name in TAKES else pop_to_mark()
            value = _Value()
            value.hold(members)
            stack.append(value)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else int(argument)] = top()
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            pop_to_mark()
        elif name == "DUP":
            stack.append(top())
        else:  # a number, a text, bytes, a global, an empty container
            stack.append(_Value())
