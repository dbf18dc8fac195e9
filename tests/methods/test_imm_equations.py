"""IMM against the numbered equations of its paper, index by index in float64.

The equations are those of Lu and Guo, Implicit Modality Mining, Journal of Electronic Research and
Application, March 2024. They are quoted as printed, with the readings that the module declares
under Departures.
"""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.literal import add, affine, dot, gelu, layer_norm, matvec, softmax, weighted_sum
from helpers.methods import (
    build_module,
    distinct_instances,
    encode,
    make_batch,
    perturb,
    training_loss,
)
from torch import nn

from mmie.blocks.matching import matching_loss
from mmie.methods.imm import IMM, KnowledgeSlots

POSTS, TOKENS, PATCHES, HIDDEN = 3, 5, 4, 8
EPSILON, TAU = 1e-8, 0.07
INTERMEDIATE = SimpleNamespace(intermediate_act_fn=nn.GELU())
CLOSE = {"rtol": 1e-8, "atol": 1e-10}

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.fixture
def build(data, tiny_bert):
    """Function that builds an IMM in float64 with perturbed weights."""

    def build(encoder=tiny_bert, schema=data.schema, **changes):
        settings = {"patch_size": 16, **changes}
        return perturb(build_module(IMM, schema, encoder, **settings)).double()

    return build


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def literal_text(embeddings, ids):
    """Compute (1) T = [t_cls, t_1, ..., t_n, t_sep] + T_pos + T_type, and the encoder's norm."""
    words, positions = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
    kind = embeddings.token_type_embeddings.weight[0].tolist()
    vectors = []
    for position, token in enumerate(ids.tolist()):
        summed = add(add(words[token].tolist(), positions[position].tolist()), kind)
        vectors.append(layer_norm(embeddings.LayerNorm, summed))
    return vectors


def literal_patches(patches, picture):
    """Compute (2) V = [v_cls, v_1, ..., v_m] + V_pos + V_type of one picture, and a norm."""
    side, size = patches.patch_size, picture.shape[1]
    vectors = [patches.start.weight[0].tolist()]
    weight, bias = patches.projection.weight, patches.projection.bias
    for top in range(0, size, side):
        for left in range(0, size, side):
            patch = picture[:, top : top + side, left : left + side].double()
            pixels = ((patch - patches.mean) / patches.std).flatten().tolist()
            vectors.append(add(matvec(weight.flatten(1).tolist(), pixels), bias.tolist()))
    kind, places = patches.kind.weight[0].tolist(), patches.positions.weight
    embedded = []
    for position, vector in enumerate(vectors):
        summed = add(add(vector, places[position].tolist()), kind)
        embedded.append(layer_norm(patches.norm, summed))
    return embedded


def literal_mha(attention, states):
    """Compute multi-head attention over the vectors of one sequence."""
    layer = attention.self
    queries, keys, values = (
        [affine(part, state) for state in states] for part in (layer.query, layer.key, layer.value)
    )
    size = layer.attention_head_size
    results = []
    for query in queries:
        joined = []
        for start in range(0, len(query), size):
            head = slice(start, start + size)
            scores = [dot(query[head], key[head]) / math.sqrt(size) for key in keys]
            joined += weighted_sum(softmax(scores), [value[head] for value in values])
        results.append(affine(attention.output.dense, joined))
    return results


def literal_ffn(inner, outer, h, phi_k=(), phi_v=()):
    """Compute the feed-forward of one vector, with its biases.

    (15) FFN(h) = f(h K^T) V
    (21) Activation-FFN(h) = f(h [phi_k : K]^T) [phi_v : V]
    """
    keys, values = [*phi_k, *inner.weight.tolist()], [*phi_v, *outer.weight.T.tolist()]
    biases = [0.0] * len(phi_k) + inner.bias.tolist()
    units = [gelu(dot(h, keys[unit]) + biases[unit]) for unit in range(len(keys))]
    return add(weighted_sum(units, values), outer.bias.tolist())


def literal_knowledge(slots, h_t, h_v, scaled=False):
    """Compute phi_k and phi_v of one post.

    (16) S = h^t (h^v)^T
    (17) Sele_i(h^v) = softmax(S_i) h^v
    (18) k = [Sele_1(h^v) ; ... ; Sele_n(h^v)]
    (19), (20) phi_k = k W_k, phi_v = k W_v
    """
    scale = math.sqrt(len(h_t[0])) if scaled else 1.0
    k = []
    for i in range(len(h_t)):
        s_i = [dot(h_t[i], h_v[j]) / scale for j in range(len(h_v))]
        k.append(weighted_sum(softmax(s_i), h_v))
    phi_k = [matvec(slots.key.weight.tolist(), selected) for selected in k]
    phi_v = [matvec(slots.value.weight.tolist(), selected) for selected in k]
    return phi_k, phi_v


class LiteralBlocks:
    """States of one sequence through blocks in the order of the paper, or with norms behind.

    Args:
        states: Vectors of the embedded sequence.
        is_pre: Whether the norms stand before the sub-layers, as printed.
    """

    def __init__(self, states, is_pre):
        self.states = states
        self.is_pre = is_pre
        self.norm = None

    def attend(self, block):
        """Compute (3) h_i = MHA(LN(h_{i-1})) + h_{i-1}; return the feed-forward's inputs."""
        inputs = self.states
        if self.is_pre and self.norm is not None:
            inputs = [layer_norm(self.norm, state) for state in self.states]
        attended = literal_mha(block.attention, inputs)
        self.states = [add(attended[i], self.states[i]) for i in range(len(attended))]
        normed = [layer_norm(block.attention.output.LayerNorm, state) for state in self.states]
        if not self.is_pre:
            self.states = normed
        return normed

    def feed(self, fed, norm):
        """Compute (4) h_i = V/T-FFN(LN(h_i)) + h_i, from results of the feed-forward."""
        self.states = [add(fed[i], self.states[i]) for i in range(len(fed))]
        if not self.is_pre:
            self.states = [layer_norm(norm, state) for state in self.states]
        self.norm = norm


def literal_states(module, ids, picture, is_pre):
    """Compute all blocks for one post, (tokens, hidden); ``picture`` may be None."""
    layers, visual, shared = list(module.layers), module.visual, module.num_shared_layers
    text = LiteralBlocks(literal_text(module.text.model.embeddings, ids), is_pre)
    image = None
    if picture is not None:
        image = LiteralBlocks(literal_patches(visual.patches, picture), is_pre)
    for index, layer in enumerate(layers):
        h_t, phi_k, phi_v = text.attend(layer), (), ()
        if image is not None and index < shared:
            own = visual.feed_forwards[index]
            inputs = image.attend(layer)
            fed = [literal_ffn(own.intermediate.dense, own.output, h) for h in inputs]
            image.feed(fed, layer.output.LayerNorm)
        elif image is not None:
            block = visual.blocks[index - shared]
            h_v = image.attend(block)
            slots = module.slots[index - shared]
            phi_k, phi_v = literal_knowledge(slots, h_t, h_v, slots.scaled)
            if index < len(layers) - 1:
                inner, outer = block.intermediate.dense, block.output.dense
                image.feed([literal_ffn(inner, outer, h) for h in h_v], block.output.LayerNorm)
        inner, outer = layer.intermediate.dense, layer.output.dense
        fed = [literal_ffn(inner, outer, h, phi_k, phi_v) for h in h_t]
        text.feed(fed, layer.output.LayerNorm)
    if is_pre:
        return [layer_norm(text.norm, state) for state in text.states]
    return text.states


@pytest.mark.parametrize(("order", "scaled"), [("post", False), ("pre", False), ("post", True)])
def test_equations_1_to_4_and_15_to_21(build, batch, order, scaled):
    """All blocks of a text encoder of four layers, for a post with and one without a picture."""
    deep = {**build().text.config.to_dict(), "num_hidden_layers": 4}
    module = build(encoder=deep, norm=order, slot_scale=scaled)
    assert module.num_shared_layers == 2
    batch.view_mask[1, 0] = False
    states = encode(module, batch)
    for post, picture in ((0, batch.pixels[0, 0]), (1, None)):
        ids = batch.input_ids[post, batch.attention_mask[post]]
        expected = literal_states(module, ids, picture, order == "pre")
        torch.testing.assert_close(states[post, : len(ids)].tolist(), expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("scaled", [False, True])
def test_equations_16_to_21(scaled):
    """f(h phi_k^T) phi_v is the part of Equation 21 that is added; masked slots are 0."""
    torch.manual_seed(0)
    slots = KnowledgeSlots(HIDDEN, INTERMEDIATE, scaled).double()
    torch.nn.init.normal_(slots.value.weight)
    text, pictures = random(POSTS, TOKENS, HIDDEN), random(POSTS, 1 + PATCHES, HIDDEN, seed=1)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    inserted = slots(text, pictures, mask)
    for post in range(POSTS):
        h_t, h_v = text[post].tolist(), pictures[post].tolist()
        phi_k, phi_v = literal_knowledge(slots, h_t, h_v, scaled)
        for i in range(TOKENS):
            units = [gelu(dot(h_t[i], key)) for key in phi_k]
            units = [units[j] * float(mask[post, j]) for j in range(TOKENS)]
            expected = weighted_sum(units, phi_v)
            torch.testing.assert_close(inserted[post, i].tolist(), expected, **CLOSE)


def literal_score(a, b, matching):
    """Compute s(a, b) of Equations 7 and 10 in its three readings; ``dot`` is the printed one."""
    length_a, length_b = math.sqrt(dot(a, a)), math.sqrt(dot(b, b))
    divisors = {"dot": 1.0, "projection": length_b, "cosine": length_a * length_b * TAU}
    return dot(a, b) / divisors[matching]


def literal_direction(h_t, h_v, target, matching):
    """Compute L of one direction.

    (6), (9) L = 1/B sum_{i=1}^B sum_{j=1}^B p_ij log(p_ij / (q_ij + eps))
    (7), (10) p_ij = exp(h_i^t . h_j^v) / sum_{k=1}^B exp(h_i^t . h_k^v)
    (8), (11) q_ij = P_ij / sum_{k=1}^B P_ik
    """
    size, loss = len(h_t), 0.0
    for i in range(size):
        exponentials = [math.exp(literal_score(h_t[i], h_v[k], matching)) for k in range(size)]
        row_sum = sum(target[i])
        for j in range(size):
            p_ij = exponentials[j] / sum(exponentials)
            q_ij = target[i][j] / row_sum
            loss += p_ij * math.log(p_ij / (q_ij + EPSILON)) / size
    return loss


def literal_both_directions(h_t, h_v, target, matching):
    """Compute (12), (13) L = 1/2 (L^t2v + L^v2t)."""
    transposed = [list(column) for column in zip(*target, strict=True)]
    t2v = literal_direction(h_t, h_v, target, matching)
    v2t = literal_direction(h_v, h_t, transposed, matching)
    return (t2v + v2t) / 2


def literal_p(t_c, v_c):
    """Compute (5) P = max(0, f(T_c, V_c)), f being the cosine."""
    target = []
    for text in t_c:
        lengths = [math.sqrt(dot(text, text) * dot(picture, picture)) for picture in v_c]
        cosines = [dot(text, v_c[j]) / lengths[j] for j in range(len(v_c))]
        target.append([max(0.0, cosine) for cosine in cosines])
    return target


@pytest.mark.parametrize("matching", ["cosine", "dot", "projection"])
def test_equations_6_to_13(matching):
    text, pictures = random(4, HIDDEN), random(4, HIDDEN, seed=1)
    target = random(4, 4, seed=2).abs()
    expected = literal_both_directions(text.tolist(), pictures.tolist(), target.tolist(), matching)
    everyone = torch.ones(4, dtype=torch.bool)
    loss = matching_loss(text, pictures, target, everyone, matching, TAU)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("matching", ["cosine", "dot", "projection"])
def test_equations_5_to_14(build, batch, matching):
    """L_SW = alpha L_S + beta L_W (14) over the posts that have a picture."""
    module = build(clip="clip", alpha=0.3, beta=0.9, matching=matching)
    posts, width = len(batch), 6
    batch.view_mask[2, 0] = False
    t_c, v_c = random(posts, 3), random(posts, 3, seed=1)
    text = random(posts, batch.input_ids.shape[1], width, seed=2)
    pictures = random(2 * posts, 1 + PATCHES, width, seed=3)
    present = [post for post in range(posts) if post != 2]
    target = literal_p(t_c[present].tolist(), v_c[present].tolist())
    sentences = [text[i, 0].tolist() for i in present]
    whole = [pictures[i, 0].tolist() for i in present]
    words, patches = [], []
    for i in present:
        pieces = text[i, batch.text_mask[i]].tolist()
        words.append(weighted_sum([1 / len(pieces)] * len(pieces), pieces))
        augmented = pictures[posts + i, 1:].tolist()
        patches.append(weighted_sum([1 / PATCHES] * PATCHES, augmented))
    l_s = literal_both_directions(sentences, whole, target, matching)
    l_w = literal_both_directions(words, patches, target, matching)
    features = {"clip_text": t_c, "clip_image": v_c}
    loss = module.semantic_loss(text, pictures, replace(batch, features=features))
    assert loss.item() == pytest.approx(0.3 * l_s + 0.9 * l_w, rel=1e-9)


def test_equations_24_and_26(demo_data, build, tiny_bert):
    """The loss of relations.

    p(R | X) = softmax(W H_[CLS])
    (24) L_re = -sum_i log p(R^(i) | x^i), here a mean over posts
    (26) L_RE = gamma L_SW + delta L_re, delta = 1
    """
    data = demo_data("re", tiny_bert)
    batch = make_batch(data, distinct_instances(data.instances["train"], 4))
    module = build(schema=data.schema, pooling="cls", dropout=0.0, sw_weight=0.3)
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    states, losses = encode(module, batch), []
    for post in range(len(batch)):
        scores = affine(module.head.classifier, states[post, 0].tolist())
        losses.append(-math.log(softmax(scores)[batch.labels[post]]))
    loss = training_loss(module, batch)
    torch.manual_seed(0)  # the same augmented views
    l_sw = module.encode(batch).losses["sw"].item() / 0.3
    assert l_sw > 0.01
    assert loss.item() == pytest.approx(0.3 * l_sw + sum(losses) / len(losses), rel=1e-5)
