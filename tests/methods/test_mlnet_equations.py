"""MLNet's numbered equations, transcribed from the paper index by index, in float64.

Zhai et al., MLNet, Frontiers in Neurorobotics 17:1181143, 2023. Every sum, product and index that
an equation prints is a loop over plain numbers.
"""

import math
from itertools import product

import pytest
import torch
from helpers.literal import add, affine, dot, layer_norm, softmax
from helpers.methods import build_module, distinct_instances, make_batch, perturb
from torch import nn

from mmie.blocks.attention import MultiHeadAttention
from mmie.blocks.crf import ConstrainedCRF
from mmie.methods.mlnet import FusedAttention, FusionLayer, MLNet, hard_gate
from mmie.methods.mlnet_pretraining import MLNetPretraining
from mmie.metrics.scores import precision_recall_f1

TOKENS, REGIONS, HIDDEN, HEADS = 3, 4, 6, 2
TAGS = ("O", "B-PER", "I-PER")
TINY = {"vision_backbone": "test_resnet", "fusion_layers": 1}

pytestmark = pytest.mark.usefixtures("_double_precision")


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 3))


def close(tensor, expected):
    torch.testing.assert_close(tensor.detach(), torch.tensor(expected), rtol=1e-9, atol=1e-11)


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def mean(vectors):
    """Compute y_i = 1/n sum_k v_ki."""
    result = [0.0] * len(vectors[0])
    for vector in vectors:
        for i in range(len(result)):
            result[i] += vector[i] / len(vectors)
    return result


def tanh(vector):
    return [math.tanh(value) for value in vector]


def multi_head(queries, keys, values, output):
    """Compute Equation 2 of projected inputs: Concat(head_1, ..., head_n) W^O.

    Equation 3: head_i = Attention(Q_i, K_i, V_i) = softmax(Q_i K_i^T / sqrt(d_head)) V_i.
    """
    size, results = HIDDEN // HEADS, []
    for query in queries:
        joined = []
        for head in range(HEADS):
            scores = []
            for key in keys:
                total = 0.0
                for j in range(head * size, (head + 1) * size):
                    total += query[j] * key[j]
                scores.append(total / math.sqrt(size))
            weights = softmax(scores)
            for j in range(head * size, (head + 1) * size):
                total = 0.0
                for k in range(len(keys)):
                    total += weights[k] * values[k][j]
                joined.append(total)
        results.append(affine(output, joined))
    return results


def fuse_keys(layer, memory, summary):
    """Compute K = tanh(W_K m + U_K s) and V = tanh(W_V m + U_V s) for every m."""
    keys, values = [], []
    for state in memory:
        joined = tanh(add(affine(layer.pair, state), affine(layer.pair_summary, summary)))
        keys.append(joined[:HIDDEN])
        values.append(joined[HIDDEN:])
    return keys, values


def test_equation_1(data, tiny_bert, batch):
    """v_I = tanh(W_I v + b_I) for each of the regions."""
    module = build_module(MLNet, data.schema, tiny_bert, **TINY, visual_layers=0)
    perturb(module).double()
    (maps,) = module.encode_images(batch)  # (posts, views, channels, height, width)
    regions = module.encode_regions(module.region_grid(batch), batch)
    weight, bias = module.region_map.weight.tolist(), module.region_map.bias.tolist()
    _, num_views, channels, height, width = maps.shape
    values = maps[0].tolist()
    for view in range(num_views):
        for row in range(height):
            for column in range(width):
                expected = []
                for i in range(len(bias)):
                    total = bias[i]
                    for c in range(channels):
                        total += weight[i][c] * values[view][c][row][column]
                    expected.append(math.tanh(total))
                close(regions[0, (view * height + row) * width + column], expected)


def test_equations_2_and_3():
    """MultiHead(Q, K, V) = Concat(head_1, ..., head_n) W^O, of the transformer over regions."""
    layer = MultiHeadAttention(HIDDEN, HEADS)
    regions = torch.randn(1, REGIONS, HIDDEN)
    rows = regions[0].tolist()
    queries = [affine(layer.query, row) for row in rows]
    keys = [affine(layer.key, row) for row in rows]
    values = [affine(layer.value, row) for row in rows]
    attended = layer(regions, regions, torch.ones(1, REGIONS).bool())
    close(attended[0], multi_head(queries, keys, values, layer.output))


def test_equations_2_and_3_with_fused_keys_and_values():
    """K and V are fused by fully connected layers before they are attended to."""
    layer = FusedAttention(HIDDEN, HEADS)
    text, regions = torch.randn(1, TOKENS, HIDDEN), torch.randn(1, REGIONS, HIDDEN)
    masks = torch.ones(1, TOKENS).bool(), torch.ones(1, REGIONS).bool()
    attended, _ = layer(text, masks[0], regions, masks[1])
    rows = text[0].tolist()
    keys, values = fuse_keys(layer, regions[0].tolist(), mean(rows))
    queries = [affine(layer.query, row) for row in rows]
    close(attended[0], multi_head(queries, keys, values, layer.output))


@pytest.mark.parametrize("bias", [-5.0, -0.3, 0.3, 5.0])
def test_equation_8(bias):
    """G = 1 if sigmoid(LN(Text, Image)) > 0.5, else 0, the coefficient of the cross-attention."""
    layer = FusionLayer(HIDDEN, HEADS)
    nn.init.normal_(layer.scale)
    nn.init.constant_(layer.score.bias, bias)
    text, regions = torch.randn(1, TOKENS, HIDDEN), torch.randn(1, REGIONS, HIDDEN)
    fused, updated, score = layer(
        text, regions, torch.ones(1, TOKENS).bool(), torch.ones(1, REGIONS).bool()
    )
    words, views = text[0].tolist(), regions[0].tolist()
    towards_text, towards_regions = layer.regions_to_text, layer.text_to_regions
    text_keys, text_values = fuse_keys(towards_text, words, mean(views))
    queries = [affine(towards_text.query, view) for view in views]
    attended = multi_head(queries, text_keys, text_values, towards_text.output)
    views = [layer_norm(layer.norm, add(views[k], attended[k])) for k in range(REGIONS)]
    close(updated[0], views)
    keys, values = fuse_keys(towards_regions, views, mean(words))
    fused_representation = mean(text_keys) + mean(text_values) + mean(keys) + mean(values)
    literal_score = dot(layer.score.weight[0].tolist(), fused_representation) + bias
    close(score[0], literal_score)
    gate = 1.0 if sigmoid(literal_score) > 0.5 else 0.0
    assert hard_gate(score).item() == gate
    queries = [affine(towards_regions.query, word) for word in words]
    visual = multi_head(queries, keys, values, towards_regions.output)
    scale = layer.scale.tolist()
    for t in range(TOKENS):
        expected = [words[t][i] + gate * scale[i] * visual[t][i] for i in range(HIDDEN)]
        close(fused[0, t], expected)


@pytest.fixture
def pretraining(data, tiny_bert):
    def build(**changes):
        module = build_module(MLNetPretraining, data.schema, tiny_bert, **TINY, **changes)
        return perturb(module).double()

    return build


def draw(mask, share, generator):
    """Draw positions as the module does."""
    return mask & (torch.rand(mask.shape, generator=generator) < share)


def log_softmax(scores, index):
    """Compute log(exp(s_index) / sum_j exp(s_j))."""
    total = 0.0
    for score in scores:
        total += math.exp(score)
    return scores[index] - math.log(total)


def test_equation_4(pretraining, batch):
    """L_MLM = -E log P(w_m | w_rest, v), where all regions v are visible."""
    module = pretraining(text_ratio=0.3)
    regions = module.encode_regions(module.region_grid(batch), batch)
    loss = module.word_loss(regions, batch, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    chosen = draw(batch.text_mask, 0.3, generator)
    remaining = module.hide_words(batch, chosen, generator)
    states = module.fuse(module.lower_text_layers(remaining), regions, remaining).text
    pieces, embeddings = module.pieces, module.embeddings.tolist()
    bias, total, count = pieces.bias.tolist(), 0.0, 0
    for post, token in chosen.nonzero().tolist():
        mapped = affine(pieces.transform, states[post, token].tolist())
        activated = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in mapped]
        vector = layer_norm(pieces.norm, activated)
        scores = [dot(embeddings[w], vector) + bias[w] for w in range(len(bias))]
        total += log_softmax(scores, batch.input_ids[post, token].item())
        count += 1
    assert count > 3
    close(loss, -total / count)


@pytest.mark.parametrize("mvm_mask", ["pixels", "features"])
@pytest.mark.parametrize("equation", [6, 7])
def test_equations_5_to_7(pretraining, batch, mvm_mask, equation):
    """L_MVM = E f(v_m | v_rest, w), where the whole text w is visible.

    Equation 6: f_1 = sum_i CE(c(v_m^i), g_1(v_m^i)) with the class of the detector.
    Equation 7: f_2 = sum_i KL(c(v_m^i), g_2(v_m^i)) with its distribution.
    """
    target = "class" if equation == 6 else "distribution"
    module = pretraining(region_ratio=0.3, mvm_mask=mvm_mask, mvm_target=target)
    text, grid = module.lower_text_layers(batch), module.region_grid(batch)
    loss = module.region_loss(text, grid, batch, torch.Generator().manual_seed(3))
    masked = draw(module.region_mask(grid, batch), 0.3, torch.Generator().manual_seed(3))
    if mvm_mask == "features":
        remaining = grid.clone()
        for post, region in masked.nonzero().tolist():
            remaining[post, region] = -1
    else:
        remaining = module.hide_regions(grid, masked, batch)
    regions = module.fuse(text, module.encode_regions(remaining, batch), batch).regions
    per_view = grid.shape[1] // batch.view_mask.shape[1]
    total, count = 0.0, 0
    for post, region in masked.nonzero().tolist():
        view = batch.pixels[post, region // per_view].double()
        (logits,) = module.classifier(view.unsqueeze(0))
        detected = softmax(logits[0].tolist())
        scores = affine(module.objects, regions[post, region].tolist())
        if equation == 6:
            total -= log_softmax(scores, detected.index(max(detected)))
        else:
            for k in range(len(detected)):
                total += detected[k] * (math.log(detected[k]) - log_softmax(scores, k))
        count += 1
    assert count > 3
    torch.testing.assert_close(loss, torch.tensor(total / count), rtol=1e-7, atol=0)


@pytest.fixture
def crf():
    crf = ConstrainedCRF(TAGS, "bio")
    with torch.no_grad():
        for parameter in crf.parameters():
            nn.init.normal_(parameter)
    return crf


def score(crf, emissions, tags):
    """Compute Equation 9: s(X, Y) = sum_i=0^n A_{y_i, y_i+1} + sum_i=1^n P_{i, y_i}.

    A has k + 2 rows: y_0 is the start and y_n+1 the end of the sequence.
    """
    starts, transitions, ends = (part.tolist() for part in crf.scores())
    start, end, n = len(TAGS), len(TAGS) + 1, len(tags)
    matrix = [[0.0] * (len(TAGS) + 2) for _ in range(len(TAGS) + 2)]
    for i in range(len(TAGS)):
        matrix[start][i], matrix[i][end] = starts[i], ends[i]
        for j in range(len(TAGS)):
            matrix[i][j] = transitions[i][j]
    y, total = [start, *tags, end], 0.0
    for i in range(n + 1):
        total += matrix[y[i]][y[i + 1]]
    for i in range(1, n + 1):
        total += emissions[i - 1][y[i]]
    return total


def test_equations_9_to_12(crf):
    """Equations 10 and 11 print the denominator without exp, which would make p no probability."""
    emissions = torch.randn(1, 4, len(TAGS))
    rows, mask = emissions[0].tolist(), torch.ones(1, 4).bool()
    scores = {}
    for tags in product(range(len(TAGS)), repeat=4):
        scores[tags] = score(crf, rows, tags)
    total, probability = 0.0, 0.0
    for value in scores.values():
        total += math.exp(value)  # the denominator of Equation 10
    for tags, value in scores.items():
        probability += math.exp(value) / total  # Equation 10
        log_likelihood = value - math.log(total)  # Equation 11
        loss = crf.loss(emissions, torch.tensor([tags]), mask)
        # the loss is rounded to float32
        torch.testing.assert_close(
            -loss.double(), torch.tensor([log_likelihood]), rtol=1e-6, atol=0
        )
    assert probability == pytest.approx(1)
    best = max(scores, key=lambda tags: scores[tags])  # Equation 12
    assert tuple(crf.decode(emissions, mask)[0].tolist()) == best


def test_equations_13_to_15():
    """P = a / B, R = a / A and F1 = 2 P R / (P + R)."""
    for correct, identified, total in ((3, 4, 6), (5, 5, 5), (1, 7, 2)):
        precision = correct / identified
        recall = correct / total
        f1 = 2 * precision * recall / (precision + recall)
        scores = precision_recall_f1(correct, identified, total)
        assert (scores.precision, scores.recall) == (precision, recall)
        assert scores.f1 == pytest.approx(f1, rel=1e-12)
