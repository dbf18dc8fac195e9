"""RAP's prompt, losses, views and checkpoints, with the paper's Equations 20, 22 and 23."""

from dataclasses import replace

import pytest
import torch
from helpers.literal import Vector, affine, cosine, masked_rows, relu
from helpers.methods import (
    batch_without_views,
    build_module,
    distinct_instances,
    encode,
    make_batch,
    perturb,
)

from mmie.methods import RAP

pytestmark = [
    pytest.mark.usefixtures("_double_precision"),
    pytest.mark.filterwarnings("ignore:You are trying to `self.log"),
]


@pytest.fixture
def rap(demo_data, tiny_bert):
    """RAP in double precision, and a batch of posts of different length."""
    data = demo_data("ner", tiny_bert)
    settings = {"vision_backbone": "test_resnet", "num_fusion_layers": 2, "prompt_length": 3}
    torch.set_default_dtype(torch.float32)
    module = perturb(build_module(RAP, data.schema, tiny_bert, **settings)).double()
    torch.set_default_dtype(torch.float64)
    return module, make_batch(data, distinct_instances(data.instances["train"], 5))


def equation_23(module, x: list[Vector]) -> list[Vector]:
    """X_prompt = W_out ReLU(W_in X'), with X' the tokens mapped to the prompt's length."""
    weight, bias = module.length_map.weight.tolist(), module.length_map.bias.tolist()
    prompts = []
    for position in range(len(weight)):
        mapped = [bias[position]] * len(x[0])
        for token in range(len(x)):
            for d in range(len(x[0])):
                mapped[d] += weight[position][token] * x[token][d]
        prompts.append(affine(module.prompt_out, relu(affine(module.prompt_in, mapped))))
    return prompts


def test_equation_23(rap):
    module, batch = rap
    mask, hidden, layers = batch.attention_mask, module.text.hidden_size, module.text.num_layers
    size = hidden // 4  # of one of 4 heads
    fused = torch.randn(*mask.shape, hidden)
    prefix = module.prompt(fused, mask)
    assert prefix.mask is None
    assert prefix.keys.shape == prefix.values.shape == (layers, len(batch), 4, 3, size)
    for post in range(len(batch)):
        prompts = equation_23(module, masked_rows(fused[post], mask[post]))
        for position, prompt in enumerate(prompts):
            assert len(prompt) == 2 * layers * hidden
            for layer in range(layers):
                for kind, tensor in enumerate((prefix.keys, prefix.values)):
                    first = (2 * layer + kind) * hidden
                    actual = tensor[layer, post, :, position].flatten().tolist()
                    expected = prompt[first : first + hidden]
                    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_padding_does_not_change_the_prompt(rap):
    module, batch = rap
    mask = batch.attention_mask
    assert not mask.all()
    fused = torch.randn(*mask.shape, module.text.hidden_size)
    other = torch.where(mask.unsqueeze(-1), fused, torch.randn_like(fused))
    torch.testing.assert_close(
        module.prompt(fused, mask).keys, module.prompt(other, mask).keys, rtol=0, atol=0
    )


def test_encode_runs_the_text_encoder_twice(rap):
    module, batch = rap
    first = module.encode_text(batch)
    text, views = module.features(first, batch)
    (pooled,) = module.encode_images(batch)
    torch.testing.assert_close(text, module.text_map(first))
    torch.testing.assert_close(views[batch.view_mask], module.view_map(pooled[batch.view_mask]))
    assert (views[~batch.view_mask] == 0).all()
    local_mask = module.local_mask(batch)
    masks = (batch.view_mask, local_mask)
    beta = module.relevance(text, batch.attention_mask, batch.text_mask, views, *masks)
    fused, routing = module.fusion(text, batch.attention_mask, views, local_mask, beta.tanh())
    encoding = module.encode(batch)
    expected = module.encode_text(batch, module.prompt(fused, batch.attention_mask))
    torch.testing.assert_close(encoding.states, expected)
    assert not torch.allclose(encoding.states, first, atol=1e-3)
    assert encoding.losses.keys() == {"router"}
    torch.testing.assert_close(
        encoding.losses["router"], 1.5 * module.router_loss(routing, first[:, 0])
    )


def equation_22(g: list[Vector], mu: list[Vector]) -> float:
    """L_router = sum over x, y in B of (cos(g_x, g_y) - cos(mu_x, mu_y))^2."""
    total = 0.0
    for x in range(len(g)):
        for y in range(len(g)):
            total += (cosine(g[x], g[y]) - cosine(mu[x], mu[y])) ** 2
    return total


def test_equation_22(rap):
    module, _ = rap
    routing, cls = torch.rand(5, 12), torch.randn(5, 64)
    expected = equation_22(routing.tolist(), cls.tolist())
    assert module.path_reduction == "sum"
    assert module.router_loss(routing, cls).item() == pytest.approx(expected, rel=1e-12)
    module.path_reduction = "mean"
    assert module.router_loss(routing, cls).item() == pytest.approx(expected / 20, rel=1e-12)


def test_equation_20(rap):
    module, batch = rap
    module.dropout = 0.0
    module.head.eval()
    encoding = module.encode(batch)
    task_loss = module.head.loss(encoding.states, batch).sum().item() / len(batch)
    first = module.encode_text(batch)
    text, views = module.features(first, batch)
    gate, local_mask = module.gate(text, views, batch), module.local_mask(batch)
    _, routing = module.fusion(text, batch.attention_mask, views, local_mask, gate)
    router_loss = equation_22(routing.tolist(), first[:, 0].tolist())
    module.eval()
    loss = module.training_step(batch, 0).item()
    assert loss == pytest.approx(task_loss + 1.5 * router_loss, rel=1e-5)  # a CRF's is float32


def test_router_loss_has_the_gradient_of_float32_under_autocast(rap):
    module, _ = rap
    # routings of posts are alike, as those of trained routers
    start = 0.8 + 0.05 * torch.rand(16, 21, dtype=torch.float32)
    cls = torch.randn(16, 64, dtype=torch.float32)
    gradients = []
    for is_enabled in (False, True):
        routing = start.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_enabled):
            loss = module.router_loss(routing, cls)
        assert loss.dtype == torch.float32
        loss.backward()
        gradients.append(routing.grad.flatten().tolist())
    assert cosine(*gradients) > 0.9999


def test_router_loss_has_no_gradient_for_the_text(rap):
    routing, cls = torch.rand(3, 12, requires_grad=True), torch.randn(3, 64, requires_grad=True)
    rap[0].router_loss(routing, cls).backward()
    assert routing.grad.any()
    assert cls.grad is None


def test_router_loss_of_one_post_is_0(rap):
    routing = torch.rand(1, 12, requires_grad=True)
    loss = rap[0].router_loss(routing, torch.randn(1, 64))
    assert loss.item() == 0
    loss.backward()
    assert routing.grad.isfinite().all()


def test_router_loss_of_closed_paths_is_finite(rap):
    routing = torch.zeros(3, 12, requires_grad=True)
    loss = rap[0].router_loss(routing, torch.randn(3, 64))
    loss.backward()
    assert loss.isfinite()
    assert routing.grad.isfinite().all()


def test_states_and_gradients_without_views_are_finite(rap):
    module, batch = rap
    module.train()
    encoding = module.encode(batch_without_views(batch))
    assert encoding.states.isfinite().all()
    (encoding.states.sum() + sum(encoding.losses.values())).backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not torch.equal(encode(module, batch_without_views(batch)), encode(module, batch))


def views_of(mask):
    """Return the rows of a mask as tuples of view numbers."""
    return [tuple(row.nonzero().flatten().tolist()) for row in mask]


def test_local_views_are_objects_or_the_picture_without_any(rap):
    module, batch = rap
    mask = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]])
    batch = replace(batch, view_mask=mask.bool())
    assert views_of(module.local_mask(batch)) == [(1, 3), (0,), (), (1, 2), (1,)]
    assert batch.view_mask[0, 0]
    module.local_views = "all"
    assert views_of(module.local_mask(batch)) == [(0, 1, 3), (0,), (), (1, 2), (0, 1)]


def test_the_whole_picture_takes_part_in_the_global_node_only(rap):
    module, batch = rap
    text, views = module.features(module.encode_text(batch), batch)
    other = views.clone()
    other[:, 0] += batch.view_mask[:, :1] * torch.randn(views.shape[::2])
    has_objects = batch.view_mask[:, 1:].any(1)
    assert has_objects.any()
    beta, other_beta = (module.beta(text, entry, batch) for entry in (views, other))
    assert (beta != other_beta)[has_objects].all()
    gate, mask = torch.ones(len(batch)), module.local_mask(batch)
    fused, other_fused = (
        module.fusion(text, batch.attention_mask, entry, mask, gate)[0] for entry in (views, other)
    )
    torch.testing.assert_close(fused[has_objects], other_fused[has_objects])
    module.local_views = "all"
    mask = module.local_mask(batch)
    changed = module.fusion(text, batch.attention_mask, other, mask, gate)[0]
    assert (changed - fused)[has_objects].abs().amax((1, 2)).min() > 1e-6


def old_state(module):
    """Return the weights that version 0.1 had, whose rounds shared their weights."""
    old = {}
    for name, tensor in module.state_dict().items():
        is_new = "norm_views" in name or "relevance.norm" in name or ".rounds.1." in name
        if not is_new:
            old[name.replace(".rounds.0.", ".")] = (tensor + 1).clone()
    old["relevance.score.bias"] = torch.randn(1)
    return old


@pytest.mark.parametrize("gate_norm", ["batch", "none"])
def test_weights_of_version_0_1_are_converted(demo_data, tiny_bert, gate_norm):
    data = demo_data("ner", tiny_bert)
    settings = {"vision_backbone": "test_resnet", "num_fusion_layers": 2, "gate_norm": gate_norm}
    module = build_module(RAP, data.schema, tiny_bert, **settings)
    old = old_state(module)
    with pytest.warns(UserWarning, match="version 0.1"):
        module.load_state_dict(old)
    new = module.state_dict()
    for name in ("source", "target", "update"):
        for number in range(2):
            weight = new[f"relevance.rounds.{number}.{name}.weight"]
            torch.testing.assert_close(weight, old[f"relevance.{name}.weight"].to(weight))
    for name, tensor in old.items():
        if name in new:
            torch.testing.assert_close(new[name], tensor.to(new[name]))
    assert new["fusion.layers.0.2.norm_views.weight"].eq(1).all()
    assert ("relevance.score.bias" in new) == (gate_norm == "none")
    build_module(RAP, data.schema, tiny_bert, **settings).load_state_dict(new)  # without a warning
