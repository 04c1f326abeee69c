"""What bench/gpu.py times: ops, shapes, and PyTorch's ways of computing them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from .gpu_rows import COMPILED, Call, Row, Work, backward_of, both_ways

ROWS = [(16384, 1024), (8192, 4096), (4096, 32000)]
IMAGES = [(64, 64, 112), (64, 256, 56), (64, 2048, 7)]


# A Transformer's.
PARAMETERS = [1 << 20] * 60 + [1 << 22] * 20 + [1024] * 20


def memory_bound(
    torch: Any, pf: Any, shapes: Any = ROWS, sizes: Any = IMAGES, parameters: Any = PARAMETERS
) -> Iterator[Work]:  # fmt: skip
    """Softmax, the normalisations, pooling, losses, activations, the optimizer."""
    functional = torch.nn.functional
    for dtype in (torch.bfloat16, torch.float32):
        for rows, n in shapes:
            x = torch.randn(rows, n, dtype=dtype, device="cuda", requires_grad=True)
            w = torch.randn(n, dtype=dtype, device="cuda", requires_grad=True)
            b = torch.randn(n, dtype=dtype, device="cuda", requires_grad=True)
            shape = f"{rows}x{n}"
            compiled = torch.compile(functional.layer_norm)
            yield from both_ways(
                torch, "softmax", shape, x, lambda x=x: pf.ops.softmax(x, -1),
                {"eager": lambda x=x: functional.softmax(x, -1)}, [x], (2, 3),
            )  # fmt: skip
            yield from both_ways(
                torch, "layer_norm", shape, x,
                lambda x=x, w=w, b=b, n=n: pf.ops.layer_norm(x, n, w, b),
                {
                    "eager": lambda x=x, w=w, b=b, n=n: functional.layer_norm(x, (n,), w, b),
                    COMPILED: lambda x=x, w=w, b=b, n=n, f=compiled: f(x, (n,), w, b),
                },
                [x, w, b], (2, 3),
            )  # fmt: skip
            yield from both_ways(
                torch, "rms_norm", shape, x, lambda x=x, w=w, n=n: pf.ops.rms_norm(x, n, w),
                {"eager": lambda x=x, w=w, n=n: functional.rms_norm(x, (n,), w)}, [x, w], (2, 3),
            )  # fmt: skip
            target = torch.randint(0, n, (rows,), device="cuda")
            yield from both_ways(
                torch, "cross_entropy", shape, x,
                lambda x=x, t=target: pf.ops.cross_entropy(x, t),
                {"eager": lambda x=x, t=target: functional.cross_entropy(x, t)}, [x], (1, 2),
            )  # fmt: skip
            yield from both_ways(
                torch, "gelu", shape, x, lambda x=x: pf.ops.gelu(x),
                {"eager": lambda x=x: functional.gelu(x)}, [x], (2, 3),
            )  # fmt: skip
        yield from images(torch, pf, dtype, sizes)
    yield from optimizers(torch, parameters)


def images(torch: Any, pf: Any, dtype: Any, sizes: Any) -> Iterator[Work]:
    """Batch norm with ReLU, and pooling, in both layouts."""
    functional = torch.nn.functional
    for n, c, h in sizes:
        for layout in ("contiguous_format", "channels_last"):
            x = torch.randn(n, c, h, h, dtype=dtype, device="cuda")
            x = x.to(memory_format=getattr(torch, layout)).requires_grad_()
            w = torch.randn(c, device="cuda", requires_grad=True)
            b = torch.randn(c, device="cuda", requires_grad=True)
            mean, var = torch.zeros(c, device="cuda"), torch.ones(c, device="cuda")
            name = "" if layout == "contiguous_format" else " channels last"

            def peer(x: Any = x, w: Any = w, b: Any = b, m: Any = mean, v: Any = var) -> Any:
                return functional.relu(functional.batch_norm(x, m, v, w, b, True))

            yield from both_ways(
                torch, f"batch_norm + relu{name}", f"{n}x{c}x{h}x{h}", x,
                lambda x=x, w=w, b=b, m=mean, v=var: pf.ops.batch_norm(
                    x, m, v, w, b, training=True, activation="relu"
                ),
                {"eager": peer, COMPILED: torch.compile(peer)}, [x, w, b], (3, 5),
            )  # fmt: skip
            yield from pooling(torch, pf, x, name)


def pooling(torch: Any, pf: Any, x: Any, name: str) -> Iterator[Work]:
    """What moves: input, output, and where a maximum was, a byte each (PyTorch: eight)."""
    functional = torch.nn.functional
    shape = "x".join(map(str, x.shape))
    half = (x.shape[-1] + 1) // 2 / x.shape[-1]
    taps = half**2 / x.element_size()
    yield from both_ways(
        torch, f"max_pool2d 3/2{name}", shape, x, lambda: pf.ops.max_pool2d(x, 3, 2, 1),
        {"eager": lambda: functional.max_pool2d(x, 3, 2, 1)}, [x],
        (1 + half**2 + taps, 1 + half**2 + taps),
    )  # fmt: skip
    quarter = (x.shape[-1] // 2 / x.shape[-1]) ** 2
    yield from both_ways(
        torch, f"avg_pool2d 2{name}", shape, x, lambda: pf.ops.avg_pool2d(x, 2),
        {"eager": lambda: functional.avg_pool2d(x, 2)}, [x], (1 + quarter, 1 + quarter),
    )  # fmt: skip


def optimizers(torch: Any, sizes: Any) -> Iterator[Work]:
    """AdamW over many tensors."""
    from pyfast.cuda.frameworks import kernels_of

    arrays = [[torch.randn(n, device="cuda") for n in sizes] for _ in range(2)]
    state = [(torch.zeros(n, device="cuda"), torch.zeros(n, device="cuda"), None) for n in sizes]
    settings = {
        "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False,
        "maximize": False, "decoupled_weight_decay": True,
    }  # fmt: skip
    step = kernels_of(arrays[0][0], "adamw").adam_step
    steps, groups = [1] * len(sizes), [0] * len(sizes)
    theirs = [torch.randn(n, device="cuda", requires_grad=True) for n in sizes]
    for p in theirs:
        p.grad = torch.randn_like(p)
    fused = torch.optim.AdamW(theirs, fused=True)
    yield Work(
        Row("AdamW step", f"{len(sizes)} tensors, {sum(sizes)}", "float32", 7 * 4 * sum(sizes)),
        lambda: step(arrays[0], arrays[1], state, steps, groups, [settings]),
        {"eager": fused.step},
    )


# ResNet-50's convolutions (He et al., 2015, table 1): channels, maps, image, kernel, stride.
RESNET50 = [
    (3, 64, 224, 7, 2), (64, 64, 56, 1, 1), (64, 64, 56, 3, 1), (64, 256, 56, 1, 1),
    (256, 64, 56, 1, 1), (256, 128, 56, 1, 1), (128, 128, 56, 3, 2), (128, 512, 28, 1, 1),
    (256, 512, 56, 1, 2), (512, 128, 28, 1, 1), (128, 128, 28, 3, 1), (512, 256, 28, 1, 1),
    (256, 256, 28, 3, 2), (256, 1024, 14, 1, 1), (512, 1024, 28, 1, 2), (1024, 256, 14, 1, 1),
    (256, 256, 14, 3, 1), (1024, 512, 14, 1, 1), (512, 512, 14, 3, 2), (512, 2048, 7, 1, 1),
    (1024, 2048, 14, 1, 2), (2048, 512, 7, 1, 1), (512, 512, 7, 3, 1),
]  # fmt: skip


def convolutions(
    torch: Any, pf: Any, layers: Any = RESNET50, dtypes: Any = ("float16", "bfloat16"),
    batch: int = 64, layout: str = "channels_last",
) -> Iterator[Work]:  # fmt: skip
    """Layers of a network: plain and its gradients, then with bias and ReLU.

    cuDNN searches for its fastest algorithm (``cudnn.benchmark``), in the warm-up calls.
    """
    functional = torch.nn.functional
    torch.backends.cudnn.benchmark = True
    lies = {"memory_format": getattr(torch, layout)}
    first = "" if layout == "channels_last" else ", channels first"
    for name, (channels, maps, size, kernel, stride) in itertools.product(dtypes, layers):
        dtype = getattr(torch, name)
        x = torch.randn(batch, channels, size, size, dtype=dtype, device="cuda")
        x = x.to(**lies).requires_grad_()
        w = torch.randn(maps, channels, kernel, kernel, dtype=dtype, device="cuda")
        w = w.to(**lies).requires_grad_()
        b = torch.randn(maps, dtype=dtype, device="cuda")
        out = (size - 1) // stride + 1
        flops = 2 * batch * out * out * maps * channels * kernel * kernel
        moved = x.element_size() * (x.numel() + w.numel() + batch * out * out * maps)
        shape = f"{batch}x{channels}x{size} {maps}k{kernel}s{stride}"
        where = {"stride": stride, "padding": kernel // 2}
        plain, weight = x.detach(), w.detach()

        def ours(x: Any = x, w: Any = w, where: Any = where) -> Any:
            return pf.ops.conv2d(x, w, **where)

        def cudnn(x: Any = x, w: Any = w, where: Any = where) -> Any:
            return functional.conv2d(x, w, **where)

        def ours_fused(b: Any = b, where: Any = where, x: Any = plain, w: Any = weight) -> Any:
            return pf.ops.conv2d(x, w, b, **where, activation="relu")

        def cudnn_then_relu(b: Any = b, where: Any = where, x: Any = plain, w: Any = weight) -> Any:
            return functional.relu(functional.conv2d(x, w, b, **where), inplace=True)

        yield Work(
            Row(f"conv2d{first}", shape, name, moved, flops),
            ours,
            {"cudnn": cudnn},
            two_kernels=True,
        )
        yield Work(
            Row(f"conv2d{first} backward", shape, name, 2 * moved, 2 * flops),
            backward_of(torch, ours, [x, w]),
            {"cudnn": backward_of(torch, cudnn, [x, w])},
            two_kernels=True,
        )
        if first:
            continue
        yield Work(
            Row("conv2d + bias + relu", shape, name, moved, flops),
            ours_fused,
            {"cudnn": cudnn_then_relu},
            two_kernels=True,
        )


def pinned(torch: Any, backend: str, call: Call) -> Call:
    """PyTorch's attention on one backend alone, which fails where it cannot."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def run() -> Any:
        with sdpa_kernel(getattr(SDPBackend, backend)):
            return call()

    return run


def attention_pair(
    torch: Any, shape: str, operands: list[Any], ours: Call, theirs: Call,
    backends: tuple[str, ...], pairs: int,
) -> Iterator[Work]:  # fmt: skip
    """Forward and backward against pinned backends; `pairs` of query and key that may meet.

    Operations are counted as is usual: two products forward, five backward, masked pairs not.
    """
    q = operands[0]
    products = 2 * pairs * q.shape[-1]
    dtype = str(q.dtype)[6:]
    peers = {b.removesuffix("_ATTENTION").lower(): pinned(torch, b, theirs) for b in backends}
    yield Work(Row("attention", shape, dtype, flops=2 * products), ours, peers, two_kernels=True)
    row = Row("attention backward", shape, dtype, flops=5 * products)
    backward: dict[str, Call] = {}
    for name, call in peers.items():
        try:
            backward[name] = backward_of(torch, call, operands)
        except RuntimeError as problem:  # a backend that does not take this
            row.failed[name] = str(problem)
    yield Work(row, backward_of(torch, ours, operands), backward, two_kernels=True)


def attention(torch: Any, pf: Any, longest: int = 16384) -> Iterator[Work]:
    """Head 128 in bfloat16: full, causal, grouped, boolean masks, unequal lengths, generation."""
    theirs = torch.nn.functional.scaled_dot_product_attention
    ours = pf.ops.scaled_dot_product_attention
    every = ("FLASH_ATTENTION", "CUDNN_ATTENTION")

    def operands(batch: int, heads: int, groups: int, rows: int, keys: int) -> list[Any]:
        return [
            torch.randn(batch, h, n, 128, dtype=torch.bfloat16, device="cuda", requires_grad=True)
            for h, n in ((heads, rows), (groups, keys), (groups, keys))
        ]

    for n in (longest // 4, longest // 2, longest):
        batch = longest // n
        x = operands(batch, 16, 16, n, n)
        for causal in (False, True):
            pairs = batch * 16 * (n * (n + 1) // 2 if causal else n * n)
            yield from attention_pair(
                torch, f"{batch}x16x{n}{' causal' if causal else ''}", x,
                lambda x=x, c=causal: ours(*x, is_causal=c),
                lambda x=x, c=causal: theirs(*x, is_causal=c), every, pairs,
            )  # fmt: skip
    n = longest // 4
    x = operands(2, 32, 8, n, n)
    yield from attention_pair(
        torch, f"2x32:8x{n} causal", x, lambda: ours(*x, is_causal=True, enable_gqa=True),
        lambda: theirs(*x, is_causal=True, enable_gqa=True), every, 2 * 32 * n * (n + 1) // 2,
    )  # fmt: skip
    yield from masked_attention(torch, ours, theirs, operands, n)
    yield from packed_attention(torch, pf, n)
    few = operands(8, 32, 8, 1, longest)
    row = Row("attention, one query", f"8x32:8x{longest}", "bfloat16", 2 * few[1].numel() * 2)
    with torch.no_grad():
        plain = [t.detach() for t in few]
    yield Work(
        row, lambda: ours(*plain, enable_gqa=True),
        {"flash": pinned(torch, every[0], lambda: theirs(*plain, enable_gqa=True))},
    )  # fmt: skip


def masked_attention(
    torch: Any, ours: Any, theirs: Any, operands: Any, n: int
) -> Iterator[Work]:  # fmt: skip
    """Boolean masks: random blocks, and sequences of unequal lengths padded to one."""
    x = operands(4, 16, 16, n, n)
    blocks = torch.rand(n // 64, n // 64, device="cuda") < 0.3
    blocks.fill_diagonal_(True)
    tiles = blocks.repeat_interleave(64, 0).repeat_interleave(64, 1)
    scattered = torch.rand(n, n, device="cuda") < 0.5
    lengths = torch.tensor([n // 8, n // 4, n // 2, n], device="cuda")
    ends = (torch.arange(n, device="cuda") < lengths[:, None])[:, None, None]
    for name, mask in (("blocks", tiles), ("scattered", scattered), ("lengths", ends)):
        pairs = int(mask.expand(4, 1, n, n).sum()) * 16
        yield from attention_pair(
            torch, f"4x16x{n} {name}", x, lambda m=mask: ours(*x, m), lambda m=mask: theirs(*x, m),
            ("EFFICIENT_ATTENTION", "CUDNN_ATTENTION"), pairs,
        )  # fmt: skip


def packed_attention(torch: Any, pf: Any, n: int) -> Iterator[Work]:
    """The same lengths packed one behind the other: no padding is there to be computed."""
    from torch.nn.attention import varlen

    lengths = torch.tensor([n // 8, n // 4, n // 2, n], device="cuda")
    starts = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    rows = int(lengths.sum())
    x = [
        torch.randn(rows, 16, 128, dtype=torch.bfloat16, device="cuda", requires_grad=True)
        for _ in range(3)
    ]
    pairs = 16 * int((lengths**2).sum())
    row = Row("attention", f"packed, {n} at most", "bfloat16", flops=4 * pairs * 128)
    back = Row("attention backward", row.shape, row.dtype, flops=10 * pairs * 128)

    def ours() -> Any:
        return pf.ops.varlen_attn(*x, starts, starts, n, n)

    def theirs() -> Any:
        return varlen.varlen_attn(*x, starts, starts, n, n)

    yield Work(row, ours, {"varlen": theirs}, two_kernels=True)
    yield Work(back, backward_of(torch, ours, x), {"varlen": backward_of(torch, theirs, x)})


CHANNELS_FIRST = [RESNET50[i] for i in (0, 2, 10, 16)]


def everything(torch: Any, pf: Any) -> Iterator[Work]:
    """All works; their tensors are made when one is asked for."""
    yield from attention(torch, pf)
    yield from memory_bound(torch, pf)
    yield from convolutions(torch, pf)
    yield from convolutions(torch, pf, CHANNELS_FIRST, ("bfloat16",), layout="contiguous_format")
