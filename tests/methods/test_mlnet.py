"""MLNet's equations against literal versions, its switches and its losses."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_module,
    build_trainer,
    distinct_instances,
    encode,
    instance_without_views,
    make_batch,
    parameter_rates,
    parameters_without_gradient,
    perturb,
    training_loss,
)
from torch import nn

from mmie.methods.loading import load_method
from mmie.methods.mlnet import (
    FusedAttention,
    FusionLayer,
    Match,
    MLNet,
    RegionLayer,
    hard_gate,
)

POSTS, TOKENS, REGIONS, HIDDEN, HEADS = 3, 5, 4, 8, 2
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]).bool()
REGION_MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
TINY = {"vision_backbone": "test_resnet", "fusion_layers": 1, "lstm_size": 16, "lstm_dropout": 0.0}

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def batch(data):
    posts = distinct_instances(data.instances["train"], 6)
    return make_batch(data, [*posts[:5], instance_without_views(posts[5])])


@pytest.fixture
def build(data, tiny_bert):
    def build(perturbed=True, **changes):
        module = build_module(MLNet, data.schema, tiny_bert, **{**TINY, **changes})
        return perturb(module) if perturbed else module

    return build


def linear(layer, vector):
    return layer.weight @ vector + (0 if layer.bias is None else layer.bias)


def mean(vectors):
    return sum(vectors) / len(vectors) if len(vectors) else torch.zeros(HIDDEN)


def norm(layer, vector):
    centred = vector - vector.mean()
    return centred / (centred.square().mean() + layer.eps).sqrt() * layer.weight + layer.bias


def literal_attention(layer, states, mask, memory, memory_mask):
    """Compute Equations 2 and 3 with fused keys and values, for one post."""
    summary = mean(states[mask])
    pairs = [
        torch.tanh(linear(layer.pair, m) + linear(layer.pair_summary, summary))
        for m in memory[memory_mask]
    ]
    if not pairs:
        return torch.zeros_like(states)
    size, results = HIDDEN // HEADS, []
    for state in states:
        query, joined = linear(layer.query, state), []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = [
                math.exp((query[part] @ pair[:HIDDEN][part]).item() / math.sqrt(size))
                for pair in pairs
            ]
            weighted = [
                w / sum(scores) * pair[HIDDEN:][part] for w, pair in zip(scores, pairs, strict=True)
            ]
            joined.append(sum(weighted))
        results.append(linear(layer.output, torch.cat(joined)))
    return torch.stack(results)


def text_and_regions(module, batch):
    """Return the states before the fusion."""
    regions = module.encode_regions(module.region_grid(batch), batch)
    return module.lower_text_layers(batch), regions


def own_match_loss(module, batch):
    """Compute the loss that trains the gates."""
    text, regions = text_and_regions(module, batch)
    scores = module.match_scores(text, regions, batch)
    return module.match_loss(text, module.region_grid(batch), scores, batch)


def score_biases(module):
    """Return the biases of the gates' scores."""
    parts = [module.match] if module.match is not None else module.fusions
    return [part.score.bias for part in parts]


@pytest.mark.usefixtures("_double_precision")
def test_fused_attention_equals_loops():
    layer = FusedAttention(HIDDEN, HEADS)
    text, regions = torch.randn(POSTS, TOKENS, HIDDEN), torch.randn(POSTS, REGIONS, HIDDEN)
    attended, _ = layer(text, MASK, regions, REGION_MASK)
    for post in range(POSTS):
        expected = literal_attention(
            layer, text[post], MASK[post], regions[post], REGION_MASK[post]
        )
        torch.testing.assert_close(attended[post], expected)
    assert not attended[2].any()


@pytest.mark.usefixtures("_double_precision")
def test_summary_has_an_effect_on_keys_and_values():
    layer = FusedAttention(HIDDEN, HEADS)
    loss, _ = layer(
        torch.randn(1, TOKENS, HIDDEN), MASK[:1], torch.randn(1, REGIONS, HIDDEN), REGION_MASK[:1]
    )
    loss.square().sum().backward()
    keys, values = layer.pair_summary.weight.grad.chunk(2)
    assert keys.abs().max() > 1e-6
    assert values.abs().max() > 1e-6


@pytest.mark.usefixtures("_double_precision")
def test_fusion_layer_equals_loops():
    layer = FusionLayer(HIDDEN, HEADS, has_score=False)
    nn.init.normal_(layer.scale)
    text, regions = torch.randn(POSTS, TOKENS, HIDDEN), torch.randn(POSTS, REGIONS, HIDDEN)
    gate, score = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.1, -0.1, 0.1])
    fused, updated, used = layer(text, regions, MASK, REGION_MASK, score)
    assert used is score
    for post in range(POSTS):
        attended = literal_attention(
            layer.regions_to_text, regions[post], REGION_MASK[post], text[post], MASK[post]
        )
        views = torch.stack([norm(layer.norm, v) for v in regions[post] + attended])
        torch.testing.assert_close(updated[post], views)
        visual = literal_attention(
            layer.text_to_regions, text[post], MASK[post], views, REGION_MASK[post]
        )
        torch.testing.assert_close(fused[post], text[post] + gate[post] * layer.scale * visual)
    assert torch.equal(fused[1:], text[1:])


@pytest.mark.usefixtures("_double_precision")
def test_region_layer_equals_a_transformer_layer_of_torch():
    layer = RegionLayer(HIDDEN, HEADS)
    expected_layer = nn.TransformerEncoderLayer(
        HIDDEN, HEADS, 4 * HIDDEN, 0.0, "gelu", batch_first=True
    )
    attention, source = expected_layer.self_attn, layer.attention
    with torch.no_grad():
        for name in ("weight", "bias"):
            parts = [getattr(part, name) for part in (source.query, source.key, source.value)]
            getattr(attention, f"in_proj_{name}").copy_(torch.cat(parts))
            getattr(attention.out_proj, name).copy_(getattr(source.output, name))
            getattr(expected_layer.linear1, name).copy_(getattr(layer.feed_forward[0], name))
            getattr(expected_layer.linear2, name).copy_(getattr(layer.feed_forward[2], name))
    regions = torch.randn(2, REGIONS, HIDDEN)
    expected = expected_layer(regions, src_key_padding_mask=~REGION_MASK[:2])
    torch.testing.assert_close(
        layer(regions, REGION_MASK[:2])[REGION_MASK[:2]], expected[REGION_MASK[:2]]
    )


@pytest.mark.usefixtures("_double_precision")
def test_match_equals_loops_and_starts_open():
    match, text, pictures = Match(HIDDEN), torch.randn(POSTS, HIDDEN), torch.randn(POSTS, HIDDEN)
    scores = match(text, pictures)
    for post in range(POSTS):
        products = [
            float(a) * float(b) * float(w)
            for a, b, w in zip(
                linear(match.text, text[post]),
                linear(match.picture, pictures[post]),
                match.score.weight[0],
                strict=True,
            )
        ]
        assert scores[post].item() == pytest.approx(sum(products) + match.score.bias.item())
    nn.init.zeros_(match.score.weight)
    assert match(text, pictures).sigmoid().tolist() == pytest.approx([2 / 3] * POSTS)


def test_regions_are_grid_cells_view_by_view(build, batch):
    module = build(visual_layers=0)
    (maps,) = module.encode_images(batch)
    grid, mask = module.region_grid(batch), module.region_mask(module.region_grid(batch), batch)
    posts, views, _, height, width = maps.shape
    assert grid.shape == (posts, views * height * width, module.vision.channels[0])
    regions = module.encode_regions(grid, batch)
    for view in range(views):
        for row in range(height):
            for column in range(width):
                region = (view * height + row) * width + column
                assert torch.equal(grid[:, region], maps[:, view, :, row, column])
                assert torch.equal(mask[:, region], batch.view_mask[:, view])
                expected = torch.tanh(linear(module.region_map, maps[0, view, :, row, column]))
                torch.testing.assert_close(regions[0, region], expected)


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_initial_states_are_close_to_those_of_the_text_encoder(build, batch, fusion):
    module = build(perturbed=False, fusion=fusion)
    with torch.no_grad():
        plain = module.encode_text(batch)
        states = module.fuse(*text_and_regions(module, batch), batch).text
        assert 0 < (states - plain).norm() < 0.1 * plain.norm()
        for layer in module.fusions:
            assert torch.equal(layer.scale, torch.full_like(layer.scale, 0.1))
            layer.scale.zero_()
        states = module.fuse(*text_and_regions(module, batch), batch).text
        assert torch.equal(states, plain)


def test_the_regions_get_a_gradient_from_the_first_step(build, batch):
    module = build(perturbed=False)
    training_loss(module, batch).backward()
    sums = [weight.grad.abs().sum() for weight in module.region_layers.parameters()]
    assert sum(sums) > 0


@pytest.mark.parametrize("gate", ["per_layer", "once"])
def test_no_picture_or_closed_gates_leave_the_text_unchanged(build, batch, gate):
    module = build(char_embedding=False, fusion_layers=2, gate=gate)
    plain = module.bilstm(module.encode_text(batch), batch.attention_mask)
    assert not torch.allclose(encode(module, batch)[:5], plain[:5], atol=1e-4)
    assert torch.equal(encode(module, batch)[5], plain[5])
    assert torch.equal(encode(module, batch_without_views(batch)), plain)
    for bias in score_biases(module):
        nn.init.constant_(bias, -100.0)
    assert torch.equal(encode(module, batch), plain)


def test_each_layer_has_its_own_gate(build, batch):
    module = build(fusion_layers=2)
    states = encode(module, batch)
    nn.init.constant_(module.fusions[1].score.bias, -100.0)
    first_alone = encode(module, batch)
    nn.init.constant_(module.fusions[0].score.bias, -100.0)
    neither = encode(module, batch)
    assert not torch.allclose(states[:5], first_alone[:5], atol=1e-4)
    assert not torch.allclose(first_alone[:5], neither[:5], atol=1e-4)


def test_a_gate_is_the_thresholded_score_with_the_gradient_of_the_score():
    scores = torch.tensor([-2.0, -1e-3, 0.0, 1e-3, 3.0], requires_grad=True)
    gate, weights = hard_gate(scores), torch.arange(1.0, 6.0)
    assert gate.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    (hard,) = torch.autograd.grad((gate * weights).sum(), scores)
    (soft,) = torch.autograd.grad((scores.sigmoid() * weights).sum(), scores)
    torch.testing.assert_close(hard, soft)


@pytest.mark.parametrize("changes", [{"fusion_layers": 2}, {"gate": "once"}, {"fusion": "late"}])
def test_match_loss_compares_each_post_with_its_own_and_the_next_picture(build, batch, changes):
    """A mismatched pair is scored like a post whose own picture it is."""
    module = build(**changes)
    batch = replace(
        batch, view_mask=batch.view_mask & torch.tensor([1, 1, 0, 1, 1, 1]).bool().unsqueeze(1)
    )
    rows, losses = [0, 1, 3, 4], []
    for index, row in enumerate(rows):
        other = rows[(index + 1) % len(rows)]
        for picture, label in ((row, 1.0), (other, 0.0)):
            pixels, mask = batch.pixels.clone(), batch.view_mask.clone()
            pixels[row], mask[row] = batch.pixels[picture], batch.view_mask[picture]
            pair = replace(batch, pixels=pixels, view_mask=mask)
            for score in module.fuse(*text_and_regions(module, pair), pair).scores[row]:
                probability = score.sigmoid().item()
                losses.append(-math.log(probability) if label else -math.log(1 - probability) / 2)
    gates = 2 if changes == {"fusion_layers": 2} else 1
    assert len(losses) == 8 * gates
    loss = own_match_loss(module, batch)
    assert loss.item() == pytest.approx(sum(losses) / (gates * (4 + 4 / 2)), rel=1e-4)


def test_posts_that_share_a_picture_are_no_mismatch(build, data):
    post = distinct_instances(data.instances["train"], 1)[0]
    module, batch = build(), make_batch(data, [post, post, post])
    scores = module.match_scores(*text_and_regions(module, batch), batch)
    expected = -scores.sigmoid().log().mean()
    torch.testing.assert_close(own_match_loss(module, batch), expected)


@pytest.mark.parametrize("gate", ["per_layer", "once"])
def test_match_loss_requires_training_two_pictures_and_a_weight(build, data, batch, gate):
    module = build(match_weight=0.1, gate=gate).train()
    losses = module.encode(batch).losses
    assert losses.keys() == {"match"}
    assert losses["match"] > 0
    doubled = build(match_weight=0.2, gate=gate).train().encode(batch).losses
    assert doubled["match"] > losses["match"]
    assert build(gate=gate).train().encode(batch).losses == {}
    assert build(match_weight=0.1, gate=gate).eval().encode(batch).losses == {}
    single = make_batch(
        data, [data.instances["train"][0], instance_without_views(data.instances["train"][1])]
    )
    assert module.encode(single).losses["match"] == 0
    assert module.encode(batch_without_views(batch)).losses["match"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("gate", "rate"), [("per_layer", 1e-3), ("once", 3e-3)])
def test_match_loss_can_be_learnt(build, data, gate, rate):
    module = build(perturbed=False, gate=gate)
    batch = make_batch(data, distinct_instances(data.instances["train"], 6))
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    losses = []
    for _ in range(160):
        losses.append(own_match_loss(module, batch))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


def test_pieces_of_words_get_the_characters_of_their_word(build, batch):
    module = build()
    embedded, words = module.embed_characters(batch), module.characters(batch.characters)
    assert (batch.token_words.diff(dim=1) == 0).any()
    for post in range(len(batch)):
        for token, word in enumerate(batch.token_words[post].tolist()):
            expected = words[post, word] if word >= 0 else torch.zeros_like(words[post, 0])
            assert torch.equal(embedded[post, token], expected)


def test_char_embedding_decides_whether_characters_have_influence(build, batch):
    other = replace(batch, characters=torch.where(batch.characters > 0, 98, 0))
    with_characters, without = build(), build(char_embedding=False)
    assert not torch.allclose(
        encode(with_characters, other), encode(with_characters, batch), atol=1e-4
    )
    assert torch.equal(encode(without, other), encode(without, batch))
    assert not any("characters" in name for name, _ in without.named_parameters())


@pytest.mark.parametrize("layers", [1, 2])
def test_fusion_happens_in_the_last_layers(build, batch, layers):
    module = build(fusion_layers=layers)
    assert len(module.fusions) == layers
    embedded = module.lower_text_layers(batch_without_views(batch))
    assert torch.equal(module.lower_text_layers(batch), embedded)
    hidden = module.text.model(
        batch.input_ids, batch.attention_mask, batch.token_type_ids, output_hidden_states=True
    ).hidden_states
    plain = build(fusion_layers=layers, char_embedding=False)
    torch.testing.assert_close(plain.lower_text_layers(batch), hidden[2 - layers])


def test_late_fusion_follows_the_last_layer(build, batch):
    module = build(fusion="late", fusion_layers=2)
    text, regions = text_and_regions(module, batch)
    torch.testing.assert_close(
        build(fusion="late", char_embedding=False).lower_text_layers(batch),
        module.encode_text(batch),
    )
    assert len(module.fusions) == 1
    masks = batch.attention_mask, module.region_mask(regions, batch)
    expected, _, _ = module.fusions[0](text, regions, *masks)
    torch.testing.assert_close(module.fuse(text, regions, batch).text, expected)
    early = build(fusion="early", fusion_layers=1)
    early.load_state_dict(module.state_dict())
    assert not torch.allclose(encode(early, batch), encode(module, batch), atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gate": "twice"}, "gate is 'twice': expected per_layer or once"),
        ({"fusion": "middle"}, "fusion is 'middle': expected early or late"),
        ({"fusion_layers": 3}, "fusion_layers is 3: expected 1 to 2, the text encoder's layers"),
        ({"fusion_layers": 0}, "fusion_layers is 0: expected 1 to 2"),
    ],
)
def test_invalid_arguments_raise(build, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_head_and_lstm_train_at_the_head_rate(build):
    module = build(text_lr=1e-3, fusion_lr=2e-3, head_lr=3e-3)
    rates = parameter_rates(module)
    expected = {"text": 1e-3, "head": 3e-3, "bilstm": 3e-3}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert rates[parameter] == expected.get(name.split(".")[0], 2e-3), name
    assert module.head.emission.in_features == 32


@pytest.mark.parametrize(
    "changes",
    [{}, {"fusion": "late"}, {"fusion_layers": 2}, {"gate": "once"}, {"match_weight": 0.1}],
    ids=["early", "late", "all", "once", "match"],
)
def test_every_trainable_parameter_gets_a_gradient(build, batch, changes):
    module = build(**changes)
    training_loss(module, batch).backward()
    assert parameters_without_gradient(module) == []


def all_gradients(module, batch):
    """Return all gradients of a training step as one vector."""
    module.zero_grad()
    training_loss(module, batch).backward()
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize("gate", ["per_layer", "once"])
def test_gradient_under_bfloat16_autocast_is_close_to_that_in_float32(build, batch, gate):
    module = build(gate=gate, fusion_layers=2, match_weight=1.0, dropout=0.0)
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    expected = all_gradients(module, batch)
    with torch.autocast("cpu", torch.bfloat16):
        gradient = all_gradients(module, batch)
        assert module.encode(batch_without_views(batch)).states.isfinite().all()
    assert torch.cosine_similarity(gradient, expected, dim=0) > 0.999


@pytest.mark.parametrize("gate", ["per_layer", "once"])
def test_gates_are_scored_in_float32_under_bfloat16_autocast(build, batch, gate):
    module = build(gate=gate)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = module.fuse(*text_and_regions(module, batch), batch).scores
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())


def test_gradient_checkpointing_recomputes_fused_layers(build, batch):
    # the LSTM over characters is not recomputed
    settings = {"fusion_layers": 2, "char_embedding": False}
    plain, checkpointed = build(**settings), build(**settings, gradient_checkpointing=True)
    saved = []
    for module in (plain, checkpointed):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t
        ):
            loss = training_loss(module, batch)
        loss.backward()
        saved.append(sum(sizes))
    assert saved[1] < 0.7 * saved[0]
    for (name, left), (_, right) in zip(
        plain.named_parameters(), checkpointed.named_parameters(), strict=True
    ):
        if left.requires_grad:
            torch.testing.assert_close(left.grad, right.grad, msg=name)


def test_all_layers_fuse_by_default(build, batch):
    module = build(fusion_layers=None)
    assert len(module.fusions) == module.text.config.num_hidden_layers == 2
    assert not any(name.startswith("match.") for name, _ in module.named_parameters())
    embedded = module.text.model.embeddings(batch.input_ids, batch.token_type_ids)
    plain = build(fusion_layers=None, char_embedding=False)
    torch.testing.assert_close(plain.lower_text_layers(batch), embedded)


def test_a_checkpoint_from_before_gates_per_layer_keeps_its_network(
    build, batch, data, tiny_bert, tmp_path
):
    settings = {"gate": "once", "match_weight": 0.1}
    module, trainer = build(**settings), build_trainer(tmp_path)
    trainer.strategy.connect(module)
    file = tmp_path / "old.ckpt"
    trainer.save_checkpoint(file)
    content = torch.load(file, weights_only=True)
    arguments = content["mmie"]["init_args"]
    for name in ("gate", "match_weight"):
        del arguments[name]
    torch.save(content, file)
    loaded = load_method(file)
    assert loaded.match_weight == 0.1
    assert torch.equal(encode(loaded, batch), encode(module, batch))
