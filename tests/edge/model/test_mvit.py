"""The MViTv2 backbone against plain loops, and against what is published of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edge.model.attention import AttentionConfig, PoolingAttention, relative_index, resize_table
from edge.model.mvit import Block, DropPath, MViT, MViTConfig
from runtime.errors import ConfigError

Array = npt.NDArray[np.float64]
TINY = {
    "num_frames": 4,
    "height": 32,
    "width": 32,
    "depth": 3,
    "embed_dim": 8,
    "stage_starts": (1,),
    "q_pool_at": (1,),
    "kv_stride": (1, 2, 2),
}


# --- a plain reference: float64, one loop per index, nothing shared with the code under test ---


def ref_layer_norm(x: Array, norm: torch.nn.Module) -> Array:
    weight, bias = (getattr(norm, name).detach().double().numpy() for name in ("weight", "bias"))
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight + bias


def ref_linear(x: Array, layer: torch.nn.Module) -> Array:
    weight, bias = (getattr(layer, name).detach().double().numpy() for name in ("weight", "bias"))
    return x @ weight.T + bias


def ref_windows(size: int, stride: int, kernel: int, pad: int) -> list[list[tuple[int, int]]]:
    """For each output position, the (tap, input position) pairs inside the input."""
    count = (size + 2 * pad - kernel) // stride + 1
    return [
        [(k, o * stride + k - pad) for k in range(kernel) if 0 <= o * stride + k - pad < size]
        for o in range(count)
    ]


def ref_depthwise(grid: Array, weight: Array, stride: tuple[int, ...]) -> Array:
    """Pool (T, H, W, D) by one 3x3x3 kernel per channel, zeros outside."""
    windows = [ref_windows(n, s, 3, 1) for n, s in zip(grid.shape[:3], stride, strict=True)]
    out = np.zeros((*(len(w) for w in windows), grid.shape[3]))
    for t, h, w in np.ndindex(*out.shape[:3]):
        for (kt, it), (kh, ih), (kw, iw) in itertools.product(
            windows[0][t], windows[1][h], windows[2][w]
        ):
            out[t, h, w] += weight[:, 0, kt, kh, kw] * grid[it, ih, iw]
    return out


def ref_max_pool(grid: Array, stride: tuple[int, ...]) -> Array:
    """Max pool (T, H, W, C): kernel stride + 1 where it strides, else 1."""
    kernels = [s + 1 if s > 1 else 1 for s in stride]
    windows = [
        ref_windows(n, s, k, k // 2)
        for n, s, k in zip(grid.shape[:3], stride, kernels, strict=True)
    ]
    out = np.empty((*(len(w) for w in windows), grid.shape[3]))
    for t, h, w in np.ndindex(*out.shape[:3]):
        picks = itertools.product(windows[0][t], windows[1][h], windows[2][w])
        out[t, h, w] = np.max([grid[it, ih, iw] for (_, it), (_, ih), (_, iw) in picks], axis=0)
    return out


def ref_distance(query: int, key: int, queries: int, keys: int) -> int:
    """Table row of one pair: distance in steps of the finer axis, shifted to start at zero."""
    fine_q, fine_k = max(keys / queries, 1.0), max(queries / keys, 1.0)
    return int(query * fine_q - key * fine_k + (keys - 1) * fine_k)


def ref_attention(x: Array, layer: PoolingAttention) -> Array:
    """Attend over one clip's tokens (L, C), head by head and pair by pair."""
    config = layer.config
    skip = 1 if config.has_cls else 0
    parts = ref_linear(x, layer.qkv).reshape(len(x), 3, config.num_heads, config.head_dim)
    heads = []
    for head in range(config.num_heads):
        pooled = {}
        for index, name in enumerate("qkv"):
            part = parts[:, index, head]
            stride = config.stride_q if name == "q" else config.stride_kv
            weight = layer.get_submodule(f"pool_{name}").weight.detach().double().numpy()
            grid = ref_depthwise(part[skip:].reshape(*config.grid, -1), weight, stride)
            tokens = np.concatenate([part[:skip], grid.reshape(-1, config.head_dim)])
            norm = layer.get_submodule(f"norm_{name}")
            pooled[name] = (ref_layer_norm(tokens, norm), grid.shape[:3])
        heads.append(ref_one_head(pooled, layer))
    return ref_linear(np.concatenate(heads, axis=1), layer.proj)


def ref_one_head(
    pooled: dict[str, tuple[Array, tuple[int, ...]]], layer: PoolingAttention
) -> Array:
    (query, q_grid), (key, k_grid), (value, _) = (pooled[name] for name in "qkv")
    skip = 1 if layer.config.has_cls else 0
    scores = query @ key.T / math.sqrt(layer.config.head_dim)
    tables = {
        axis: table.detach().double().numpy()
        for axis, table in enumerate((layer.rel_pos_t, layer.rel_pos_h, layer.rel_pos_w))
        if table is not None
    }
    for i, q_place in enumerate(np.ndindex(*q_grid)):
        for j, k_place in enumerate(np.ndindex(*k_grid)):
            for axis, table in tables.items():
                row = ref_distance(q_place[axis], k_place[axis], q_grid[axis], k_grid[axis])
                scores[i + skip, j + skip] += query[i + skip] @ table[row]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = weights / weights.sum(-1, keepdims=True) @ value
    mixed[skip:] += query[skip:]
    return mixed


def ref_block(x: Array, block: Block) -> Array:
    config = block.attn.config
    skip = 1 if config.has_cls else 0
    normed = ref_layer_norm(x, block.norm1)
    residual = x if block.proj is None else ref_linear(normed, block.proj)
    grid = ref_max_pool(residual[skip:].reshape(*config.grid, -1), config.stride_q)
    residual = np.concatenate([residual[:skip], grid.reshape(-1, residual.shape[1])])
    x = residual + ref_attention(normed, block.attn)
    hidden = ref_linear(ref_layer_norm(x, block.norm2), block.mlp.fc1)
    gelu = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return x + ref_linear(gelu, block.mlp.fc2)


def shake(module: torch.nn.Module, seed: int = 0) -> None:
    """Give every parameter, norms and position tables included, a value that matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            scale = (
                1.0 if "rel_pos" in name or parameter.ndim == 1 else parameter[0].numel() ** -0.5
            )
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


@pytest.mark.parametrize("has_cls", [False, True], ids=["no-cls", "cls"])
@pytest.mark.parametrize(
    ("stride_q", "stride_kv", "growth"),
    [
        pytest.param((1, 1, 1), (1, 2, 2), 1, id="kv-pooled"),
        pytest.param((1, 2, 2), (1, 1, 1), 2, id="q-pooled-and-wider"),
        pytest.param((1, 2, 2), (1, 4, 4), 2, id="both-pooled"),
        pytest.param((2, 1, 2), (1, 2, 1), 1, id="pooled-in-time-and-unevenly"),
    ],
)
def test_block_equals_plain_loops(
    has_cls: bool, stride_q: tuple[int, int, int], stride_kv: tuple[int, int, int], growth: int
) -> None:
    config = AttentionConfig(
        in_channels=8,
        channels=8 * growth,
        num_heads=2,
        grid=(2, 4, 6),
        stride_q=stride_q,
        stride_kv=stride_kv,
        has_cls=has_cls,
        rel_pos_spatial=True,
        rel_pos_temporal=True,
    )
    block = Block(config, mlp_ratio=2.0, drop_path=0.3).double().eval()
    shake(block)
    tokens = torch.randn(2, 48 + has_cls, 8, dtype=torch.float64)
    with torch.no_grad():
        result = block(tokens).numpy()
    for clip in range(2):
        expected = ref_block(tokens[clip].numpy(), block)
        np.testing.assert_allclose(result[clip], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("spatial", "temporal"), [(True, False), (False, True), (False, False)])
def test_position_terms_are_optional(spatial: bool, temporal: bool) -> None:
    config = MViTConfig(**TINY, rel_pos_spatial=spatial, rel_pos_temporal=temporal)  # type: ignore[arg-type]
    model = config.build().double().eval()
    shake(model)
    names = {name.rpartition(".")[2] for name in model.state_dict() if "rel_pos" in name}
    assert names == ({"rel_pos_h", "rel_pos_w"} if spatial else set()) | (
        {"rel_pos_t"} if temporal else set()
    )
    block = model.blocks[1]
    tokens = torch.randn(1, 128, 8, dtype=torch.float64)
    with torch.no_grad():
        result = block(tokens)[0].numpy()
    np.testing.assert_allclose(result, ref_block(tokens[0].numpy(), block), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (2, 4), (4, 2), (16, 8), (5, 3), (1, 7)])
def test_relative_index_counts_in_steps_of_the_finer_axis(queries: int, keys: int) -> None:
    index = relative_index(queries, keys)
    for query, key in itertools.product(range(queries), range(keys)):
        assert int(index[query, key]) == ref_distance(query, key, queries, keys)
    assert int(index.min()) >= 0
    assert int(index.max()) <= 2 * max(queries, keys) - 2


def test_resized_table_is_linear_between_its_rows() -> None:
    table = torch.arange(5.0)[:, None].expand(5, 3)
    assert resize_table(table, 5) is table
    longer = resize_table(table, 10)
    assert longer.shape == (10, 3)
    torch.testing.assert_close(longer[2:8].diff(dim=0), torch.full((5, 3), 0.5))


# --- what is published of MViTv2-S 16x4 ---


def test_published_layout() -> None:
    layout = MViTConfig.published().attention_configs()
    assert [a.in_channels for a in layout] == [96, 96, 192, 192, *[384] * 11, 768]
    assert [a.channels for a in layout] == [96, 192, 192, *[384] * 11, 768, 768]
    assert [a.num_heads for a in layout] == [1, 2, 2, *[4] * 11, 8, 8]
    assert [a.stride_q[1] for a in layout] == [1, 2, 1, 2, *[1] * 10, 2, 1]
    assert [a.stride_kv[2] for a in layout] == [8, 4, 4, *[2] * 11, 1, 1]
    assert layout[-1].grid_q == (8, 7, 7)
    # a block that pools its queries still pools keys from the larger grid it came from
    assert [a.grid_kv[1] for a in layout] == [7, 14, 7, 14, *[7] * 10, 14, 7]


def test_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = MViTConfig.published().build()
    classifier = 768 * 400 + 400
    assert sum(p.numel() for p in model.parameters()) + classifier == 34_537_744


def test_detector_keeps_stride_16_and_2048_tokens() -> None:
    layout = MViTConfig().attention_configs()
    assert layout[-1].grid_q == (8, 16, 16)
    assert [a.stride_kv[1] for a in layout[-2:]] == [2, 2]


def test_blocks_keep_time_and_class_token_apart() -> None:
    with_cls = MViTConfig(**TINY, cls_token=True).build().eval()  # type: ignore[arg-type]
    clip = torch.randn(2, 3, 4, 32, 32)
    tokens, cls_token = with_cls.forward_tokens(clip)
    assert tokens.shape == (2, 2 * 4 * 4, 16)
    assert cls_token is not None
    assert cls_token.shape == (2, 16)
    features = with_cls(clip)
    assert features.shape == (2, 16, 2, 4, 4)
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens)


def test_clips_of_a_batch_do_not_mix() -> None:
    model = MViTConfig(**TINY).build().eval()  # type: ignore[arg-type]
    clips = torch.randn(3, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(clips)[1:2], model(clips[1:2]), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter() -> None:
    model = MViTConfig(**TINY, cls_token=True, drop_path=0.0).build()  # type: ignore[arg-type]
    shake(model)
    tokens, cls_token = model.forward_tokens(torch.randn(1, 3, 4, 32, 32))
    (tokens.square().sum() + cls_token.square().sum()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a key's norm bias shifts all scores of a query by one amount, which softmax removes
    assert all("norm_k.bias" in name for name in without)


def test_drop_path_drops_whole_clips_in_training_only() -> None:
    layer = DropPath(0.5)
    branch = torch.ones(400, 2, 3)
    torch.manual_seed(0)
    dropped = layer(branch)
    per_clip = dropped.flatten(1)
    assert set(per_clip.unique().tolist()) == {0.0, 2.0}
    assert bool((per_clip == per_clip[:, :1]).all())
    assert 0.4 < float((per_clip[:, 0] > 0).float().mean()) < 0.6
    assert layer.eval()(branch) is branch


def test_clip_of_another_size_is_refused() -> None:
    model = MViT(MViTConfig(**TINY))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"\(1, 3, 4, 48, 32\).*takes \(B, 3, 4, 32, 32\)"):
        model(torch.zeros(1, 3, 4, 48, 32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"depth": 0}, "depth", id="depth"),
        pytest.param({"embed_dim": 97, "num_heads": 2}, "does not divide", id="heads"),
        pytest.param({"q_pool_at": (16,)}, "q_pool_at", id="pool-outside"),
        pytest.param({"kv_stride": (1, 0, 8)}, "strides", id="stride"),
        pytest.param({"drop_path": 1.0}, "drop_path", id="drop"),
    ],
)
def test_bad_configurations_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MViTConfig(**fields)  # type: ignore[arg-type]
