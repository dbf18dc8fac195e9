"""Products, sums and norms of plain numbers, for equations that are written out index by index."""

import math
from collections.abc import Sequence

from torch import nn

Vector = list[float]


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute sum_i left_i right_i."""
    total = 0.0
    for i in range(len(left)):
        total += left[i] * right[i]
    return total


def times(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> Vector:
    """Compute y_i = sum_j matrix_ij vector_j."""
    return [dot(row, vector) for row in matrix]


def add(left: Sequence[float], right: Sequence[float]) -> Vector:
    """Compute y_i = left_i + right_i."""
    return [left[i] + right[i] for i in range(len(left))]


def linear(layer: nn.Linear, vector: Sequence[float]) -> Vector:
    """Compute W x + b with the weights of a layer."""
    mapped = times(layer.weight.tolist(), vector)
    return mapped if layer.bias is None else add(mapped, layer.bias.tolist())


def layer_norm(layer: nn.LayerNorm, vector: Sequence[float]) -> Vector:
    """Compute (x_i - mean) / sqrt(variance + eps) w_i + b_i."""
    mean = sum(vector) / len(vector)
    variance = sum((value - mean) ** 2 for value in vector) / len(vector)
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    scale = 1 / math.sqrt(variance + layer.eps)
    return [(vector[i] - mean) * scale * weight[i] + bias[i] for i in range(len(vector))]


def gelu(value: float) -> float:
    """Compute x Phi(x), Phi being the distribution function of the normal distribution."""
    return value * (1 + math.erf(value / math.sqrt(2))) / 2


def weighted_sum(weights: Sequence[float], vectors: Sequence[Sequence[float]]) -> Vector:
    """Compute y_i = sum_k weights_k vectors_ki."""
    result = [0.0] * len(vectors[0])
    for k in range(len(weights)):
        for i in range(len(result)):
            result[i] += weights[k] * vectors[k][i]
    return result
