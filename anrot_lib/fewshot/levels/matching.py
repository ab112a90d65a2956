"""From vectors of a query to the nearest vectors of every class: the image-to-class measure of DN4 (arXiv 1903.12290).

The pixel level and the part level are this one measure on two views of the same maps. The matrix of all inner products
(75 x 441 x 11,025 numbers in a 5-way 5-shot episode of Conv-64F) is made block by block in a buffer that fits a cache,
and only the indices of the k largest are kept; the gradients then touch the chosen pairs alone, which is exact because
the choice is constant almost everywhere.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.pairs import cut_blocks
from anrot_lib.fewshot.heads.contract import mark_membership

BUFFER_ON_CPU, BUFFER_ELSEWHERE = 2**20, 2**25  # inner products held at once
TILE = 16  # a maximum over tiles first: it is vectorised, and leaves few candidates to search


class ClassMaps(NamedTuple):
    """Support maps sorted by class: maps (E, way, M, C, h, w), valid (E, way, M); M is the largest number of shots."""

    maps: Tensor
    valid: Tensor


def group_by_class(maps: Tensor, labels: Tensor, mask: Tensor | None = None) -> ClassMaps:
    """Support maps (E, S, C, h, w) with labels (E, S) and mask (E, S) to ClassMaps; spare places repeat a shot.

    UserError for a class without a shot that counts.
    """
    counts = mark_membership(labels, mask).sum(-1).long()  # (E, way)
    if bool((counts == 0).any()):
        raise UserError("a class has no support image that counts; every class needs at least one")
    way = counts.shape[1]
    keys = labels if mask is None else torch.where(mask, labels, way)  # what does not count goes to the end
    order = keys.expand(maps.shape[:2]).argsort(dim=-1, stable=True)
    shot = torch.arange(int(counts.max()), device=labels.device)
    places = (counts.cumsum(-1) - counts).unsqueeze(-1) + shot
    valid = (shot < counts.unsqueeze(-1)).expand(len(maps), way, -1)
    places = torch.where(valid, places, 0).expand_as(valid).flatten(1)
    rows = order.gather(1, places) + torch.arange(len(maps), device=labels.device).unsqueeze(-1) * maps.shape[1]
    return ClassMaps(maps.flatten(0, 1)[rows].unflatten(1, valid.shape[1:]), valid)


def make_unit(x: Tensor, dim: int = -1) -> Tensor:
    """x divided by its length along dim; 0, with gradient 0, where the length is below 1e-12 (a dead channel).

    NaN stays NaN, so that a broken net is seen to be broken.
    """
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    dead = length <= 1e-12
    return torch.where(dead, 0.0, x / torch.where(dead, 1.0, length))


def find_nearest(
    query: Tensor, pool: Tensor, k: int = 1, valid: Tensor | None = None, buffer: int | None = None
) -> tuple[Tensor, Tensor]:
    """The k largest inner products of every query vector with the vectors of every class, and where they are.

    query (E, R, D), pool (E, way, J, D), valid (E, way, J) or None (all count). Returns values (E, R, way, k), in
    descending order, with gradients to both, and indices into J of the same shape. Of equal values one is chosen.
    buffer bounds the inner products held at once; it changes results by rounding only. UserError where a class has
    fewer than k vectors.
    """
    fewest = pool.shape[2] if valid is None else int(valid.sum(-1).min())
    if k < 1:
        raise UserError(f"at least 1 nearest vector must be asked for, got {k}")
    if k > fewest:
        raise UserError(
            f"{k} nearest vectors were asked for, but a class has only {fewest}; "
            "take larger images, an encoder with larger maps, or a smaller k"
        )
    if buffer is None:
        buffer = BUFFER_ON_CPU if query.device.type == "cpu" else BUFFER_ELSEWHERE
    apply: Callable[..., tuple[Tensor, Tensor]] = _Nearest.apply
    return apply(query, pool, valid, k, buffer)


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, pool: Tensor, valid: Tensor | None, k: int, buffer: int
    ) -> tuple[Tensor, Tensor]:
        (e, r), (way, j, d) = query.shape[:2], pool.shape[1:]
        width = -(-j // TILE) * TILE if j >= 4 * TILE * k else j  # a multiple of TILE, padded with what cannot win
        if width > j:
            pool_rows = pool.new_zeros(e, way, width, d)
            pool_rows[:, :, :j] = pool
        else:
            pool_rows = pool
        columns = pool_rows.flatten(1, 2).mT
        values = query.new_empty(e, r, way, k)
        indices = torch.empty(e, r, way, k, dtype=torch.int64, device=query.device)
        held = None
        for episodes, rows in cut_blocks(e, r, way * width, buffer):
            part = query[episodes, rows]
            size = part.shape[0] * part.shape[1] * way * width
            held = query.new_empty(size) if held is None or held.numel() < size else held
            products = held[:size].view(*part.shape[:2], way * width)
            torch.bmm(part, columns[episodes], out=products)
            products = products.unflatten(-1, (way, width))
            products[..., j:] = -torch.inf
            if valid is not None:
                products[..., :j].masked_fill_(~valid[episodes].unsqueeze(1), -torch.inf)
            values[episodes, rows], indices[episodes, rows] = _largest(products, k)
        ctx.save_for_backward(query, pool, indices)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        query, pool, indices = ctx.saved_tensors
        (e, r), (way, j, d) = query.shape[:2], pool.shape[1:]
        starts = torch.arange(e * way, device=query.device).view(e, 1, way, 1) * j
        chosen = (indices + starts).view(e * r, -1)
        grad = grad.reshape(e * r, -1)
        to_query = to_pool = None
        if ctx.needs_input_grad[0]:
            to_query = _bags(chosen, pool.reshape(-1, d), grad).view_as(query)
        if ctx.needs_input_grad[1]:
            # Sorted by the chosen vector, every pool vector is a bag of query vectors.
            order = chosen.flatten().argsort()
            ends = torch.bincount(chosen.flatten(), minlength=e * way * j).cumsum(0)
            offsets = torch.cat([ends.new_zeros(1), ends[:-1]])
            rows = order // chosen.shape[1]
            weights = grad.flatten()[order]
            to_pool = _bags(rows, query.reshape(-1, d), weights, offsets).view_as(pool)
        return to_query, to_pool, None, None, None


def _bags(index: Tensor, vectors: Tensor, weights: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Weighted sums of the rows of `vectors` that each bag of indices names."""
    return embedding_bag(index, vectors, offsets, mode="sum", per_sample_weights=weights)


def _largest(products: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest along the last dimension and their indices. The k best lie in the k best tiles."""
    width = products.shape[-1]
    if width % TILE or width < 4 * TILE * k:
        return _top(products, k)
    tiles = width // TILE
    _, best = _top(products.unflatten(-1, (TILE, tiles)).amax(-2), k)
    members = torch.arange(0, width, tiles, device=products.device)
    candidates = (best.unsqueeze(-1) + members).flatten(-2)
    values, among = _top(products.gather(-1, candidates), k)
    return values, candidates.gather(-1, among)


def _top(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return x.max(-1, keepdim=True) if k == 1 else x.topk(k)


def compute_similarity(
    query: Tensor,
    pool: Tensor,
    valid: Tensor | None,
    k: int = 1,
    direction: str = "query",
    reduce: str = "mean",
    buffer: int | None = None,
) -> Tensor:
    """Image-to-class similarity from vectors of queries (E, n, I, D) and classes (E, way, J, D): (E, n, way).

    direction "query": every query vector with its k nearest of the class, as published; "class": every vector of
    the class with its k nearest of the query; "both": the mean of the two. reduce "mean" over vectors and k, or "sum".
    """
    common = torch.promote_types(query.dtype, pool.dtype)
    query, pool = query.to(common), pool.to(common)
    n, way = query.shape[1], pool.shape[1]
    if direction not in ("query", "class", "both"):
        raise UserError(f"unknown direction {direction!r}; choose query, class or both")
    directions = []
    if direction in ("query", "both"):
        values, _ = find_nearest(query.flatten(1, 2), pool, k, valid, buffer)
        directions.append(_reduced(values.unflatten(1, (n, -1)).transpose(2, 3), None, reduce))  # (E, n, way)
    if direction in ("class", "both"):
        values, _ = find_nearest(pool.flatten(1, 2), query, k, None, buffer)
        counted = None if valid is None else valid.unsqueeze(2)
        directions.append(_reduced(values.unflatten(1, (way, -1)).transpose(2, 3), counted, reduce).mT)
    return directions[0] if len(directions) == 1 else 0.5 * (directions[0] + directions[1])


def _reduced(values: Tensor, counted: Tensor | None, reduce: str) -> Tensor:
    """(..., I, k) -> (...), of the vectors that count."""
    if reduce not in ("mean", "sum"):
        raise UserError(f"unknown reduction {reduce!r}; choose mean or sum")
    values = values.mean(-1) if reduce == "mean" else values.sum(-1)
    if counted is None:
        return values.mean(-1) if reduce == "mean" else values.sum(-1)
    total = (values * counted).sum(-1)
    return total / counted.sum(-1) if reduce == "mean" else total


def mark_counted(pool: ClassMaps, per_shot: int) -> Tensor | None:
    """Which vectors of each class count, (E, way, M per_shot); None where all do."""
    return None if bool(pool.valid.all()) else pool.valid.repeat_interleave(per_shot, -1)


def check_places(pool: ClassMaps, what: str) -> None:
    """UserError for maps of a single place, on which the level `what` says nothing."""
    if pool.maps.shape[-1] * pool.maps.shape[-2] < 2:
        raise UserError(
            f"{what}, and these maps have 1 place; take larger images or an encoder with larger maps, such as conv64f"
        )
