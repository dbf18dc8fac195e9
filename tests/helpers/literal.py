"""Operations of equations on lists of plain numbers, with a loop over every index."""

import math

from torch import Tensor, nn

Vector = list[float]


def matvec(weight: list[Vector], vector: Vector) -> Vector:
    """Compute y_k = sum_d W_kd x_d."""
    result = []
    for row in weight:
        total = 0.0
        for d in range(len(vector)):
            total += row[d] * vector[d]
        result.append(total)
    return result


def affine(layer: nn.Linear, vector: Vector) -> Vector:
    """Compute y_k = sum_d W_kd x_d + b_k with the weights of a linear layer."""
    result = matvec(layer.weight.tolist(), vector)
    if layer.bias is None:
        return result
    bias = layer.bias.tolist()
    return [result[k] + bias[k] for k in range(len(result))]


def dot(left: Vector, right: Vector) -> float:
    """Compute sum_d a_d b_d."""
    total = 0.0
    for d in range(len(left)):
        total += left[d] * right[d]
    return total


def length(vector: Vector) -> float:
    """Compute sqrt(sum_d a_d^2)."""
    return math.sqrt(dot(vector, vector))


def cosine(left: Vector, right: Vector) -> float:
    """Compute a . b / (|a| |b|), 0 for a vector of zeros."""
    lengths = length(left) * length(right)
    return dot(left, right) / lengths if lengths else 0.0


def softmax(scores: Vector) -> Vector:
    """Compute exp(s_i) / sum_q exp(s_q), with both multiplied by exp(-max s) for large scores."""
    highest = max(scores, default=0.0)
    total = 0.0
    for score in scores:
        total += math.exp(score - highest)
    return [math.exp(score - highest) / total for score in scores]


def weighted_sum(weights: Vector, vectors: list[Vector], size: int | None = None) -> Vector:
    """Compute y_d = sum_j w_j x_jd.

    Args:
        weights: w, one for each vector.
        vectors: x.
        size: Width of the result, which is 0 for no vectors; by default that of the vectors.
    """
    result = [0.0] * (len(vectors[0]) if size is None else size)
    for j in range(len(vectors)):
        for d in range(len(result)):
            result[d] += weights[j] * vectors[j][d]
    return result


def layer_norm(norm: nn.LayerNorm, vector: Vector) -> Vector:
    """Compute (x_d - mean) / sqrt(variance + eps) g_d + b_d."""
    size = len(vector)
    mean = sum(vector) / size
    variance = sum((value - mean) ** 2 for value in vector) / size
    scale, shift = norm.weight.tolist(), norm.bias.tolist()
    result = []
    for d in range(size):
        result.append((vector[d] - mean) / math.sqrt(variance + norm.eps) * scale[d] + shift[d])
    return result


def add(left: Vector, right: Vector) -> Vector:
    """Compute a_d + b_d."""
    return [left[d] + right[d] for d in range(len(left))]


def gelu(value: float) -> float:
    """Compute x Phi(x), Phi being the distribution function of the normal distribution."""
    return value * (1 + math.erf(value / math.sqrt(2))) / 2


def relu(vector: Vector) -> Vector:
    """Compute max(0, x_d)."""
    return [max(0.0, value) for value in vector]


def masked_rows(states: Tensor, mask: Tensor) -> list[Vector]:
    """Return the rows of one post, (positions, width), whose mask is True."""
    rows = states.tolist()
    return [rows[i] for i, keep in enumerate(mask.tolist()) if keep]
