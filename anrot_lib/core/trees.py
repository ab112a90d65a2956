"""Functions on nested containers of tensors: class models, scores, embeddings."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def pick(tree: Any, rows: Tensor | None) -> Any:
    """The same rows of every tensor of a pytree; everything if `rows` is None."""
    return tree if rows is None else map_tree(lambda t: t.index_select(0, rows) if t.ndim else t, tree)


def map_tree(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """`function` on every tensor of nested (Named)tuples, lists, dicts and dataclasses; other leaves stay."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tree(function, value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        members = [map_tree(function, value) for value in tree]
        return type(tree)(*members) if hasattr(tree, "_fields") else type(tree)(members)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        values = {f.name: map_tree(function, getattr(tree, f.name)) for f in dataclasses.fields(tree)}
        return dataclasses.replace(tree, **values)
    return tree


def concatenate(parts: list[Any]) -> Any:
    """Concatenate equal pytrees of tensors along their first dimension."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, tuple):
        return type(first)(*(concatenate(list(column)) for column in zip(*parts, strict=True)))
    return first
