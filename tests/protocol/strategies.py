"""Hypothesis strategies for messages, made from the types of their fields."""

import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st
from tests.protocol.samples import COW_TWO_PAGES

from shootdown_protocol.program import Program

TypeHint = Any

U64_MAX = (1 << 64) - 1


def of_type(hint: TypeHint, meta: msgspec.Meta | None = None) -> st.SearchStrategy[Any]:
    """Values of an annotated type, up to the ends of its range."""
    if hasattr(hint, "__metadata__"):
        return of_type(get_args(hint)[0], hint.__metadata__[0])
    if hint is Program:
        return st.just(COW_TWO_PAGES)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return of_struct(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    origin: object = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return st.one_of([of_type(part) for part in get_args(hint)])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        least = (meta and meta.min_length) or 0
        return st.lists(of_type(get_args(hint)[0]), min_size=least, max_size=4).map(tuple)
    if origin is dict:
        key, value = get_args(hint)
        return st.dictionaries(of_type(key), of_type(value), max_size=4)
    return of_scalar(hint, meta)


def of_scalar(hint: TypeHint, meta: msgspec.Meta | None) -> st.SearchStrategy[Any]:
    """Values of a plain type within a range or a pattern."""
    if hint is int:
        least = int(meta.ge) if meta and meta.ge is not None else -(1 << 63)
        most = int(meta.le) if meta and meta.le is not None else U64_MAX
        step = int((meta and meta.multiple_of) or 1)
        return st.integers(least // step, most // step).map(lambda n: n * step)
    if hint is str and meta is not None and meta.pattern is not None:
        return st.text("azAZ09_.-", max_size=12).map("a".__add__)
    if hint is str:
        return st.text(max_size=20)
    if hint is float:
        low, high = (None, None) if meta is None else (meta.ge, meta.le)
        return st.floats(low, high, allow_nan=False)
    return {bool: st.booleans(), type(None): st.none()}[hint]


def of_struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Messages of a kind that obey every rule."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: of_type(hints[name]) for name in kind.__struct_fields__}
    return st.builds(kind, **fields)
