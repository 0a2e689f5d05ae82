"""Decoders for the batched sampler: a KV cache that advances one token at a time.

`FusedDecoder` runs the Llama family (Llama, Qwen2, Qwen3) as a plain function of the Hugging Face
weights: fused query-key-value and gate-up products, a preallocated cache, no module overhead.
`ModelDecoder` calls the Hugging Face model itself and serves every other architecture.
Both drop the rows of finished responses.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kpo.policy import head


class Decoder(Protocol):
    """Next-token logits for a batch of rows."""

    def prefill(self, ids: Tensor, mask: Tensor, max_new: int) -> Tensor:
        """Read prompts [B, S], padded on the left, mask [B, S] real; logits [B, V] of the next."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append tokens [B]; logits [B, V] of the next."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Keep the rows with these indices and forget the others."""
        ...


def make_decoder(model: Any) -> Decoder:
    """The fastest decoder that knows the model's architecture."""
    return FusedDecoder(model) if FusedDecoder.supports(model) else ModelDecoder(model)


class ModelDecoder:
    """Any causal model, through its own forward pass and cache."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def prefill(self, ids: Tensor, mask: Tensor, max_new: int) -> Tensor:
        """See `Decoder`."""
        del max_new  # the model's cache grows by itself
        from transformers import DynamicCache  # noqa: PLC0415 - slow to import

        self.cache = DynamicCache(config=self.model.config)
        self.mask = mask.long()
        self.position = mask.sum(1, keepdim=True)
        return self._forward(ids, (self.mask.cumsum(1) - 1).clamp(min=0))

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        self.mask = F.pad(self.mask, (0, 1), value=1)
        logits = self._forward(tokens[:, None], self.position)
        self.position = self.position + 1
        return logits

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self.cache.batch_select_indices(rows)
        self.mask, self.position = self.mask[rows], self.position[rows]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        output = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class FusedDecoder:
    """The Llama family as a function of its weights. Holds fused copies: rebuild after an update.

    Shapes: B rows, S new tokens, N cached tokens, H query heads, K key-value heads, D head size.
    """

    FAMILY = ("llama", "qwen2", "qwen3")

    @classmethod
    def supports(cls, model: Any) -> bool:
        """Whether the architecture is one that this forward pass reproduces."""
        config = model.config
        return config.model_type in cls.FAMILY and not getattr(config, "use_sliding_window", False)

    def __init__(self, model: Any) -> None:
        config = model.config
        self.base = model.get_decoder()
        self.eps = config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.embedding = self.base.embed_tokens.weight.detach()
        self.norm = self.base.norm.weight.detach()
        self.head = _transposed(head(model))
        self.layers = [_fuse(layer, self.heads, self.kv_heads) for layer in self.base.layers]

    def prefill(self, ids: Tensor, mask: Tensor, max_new: int) -> Tensor:
        """See `Decoder`."""
        batch, length = ids.shape
        shape = (batch, self.kv_heads, length + max_new, self.head_dim)
        new = self.embedding.new_zeros
        self.cache = [(new(shape), new(shape)) for _ in self.layers]
        self.length = 0
        self.start = (~mask).sum(1)  # padding on the left of each row
        positions = torch.arange(length + max_new, device=ids.device)[None]
        cos, sin = self.base.rotary_emb(self.embedding, positions)
        half = self.head_dim // 2
        self.cos, self.sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
        self.bias = None
        if not bool(mask.all()):
            self.bias = new(batch, 1, 1, length + max_new)
            self.bias[..., :length].masked_fill_(
                ~mask[:, None, None], torch.finfo(self.embedding.dtype).min
            )
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        allowed = (causal & mask[:, None, :]) | torch.eye(
            length, dtype=torch.bool, device=ids.device
        )
        return self._forward(ids, allowed[:, None])

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        return self._forward(tokens[:, None], None)

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self.cache = [(k[rows], v[rows]) for k, v in self.cache]
        self.start = self.start[rows]
        self.bias = None if self.bias is None else self.bias[rows]

    def _forward(self, ids: Tensor, allowed: Tensor | None) -> Tensor:
        batch, new = ids.shape
        positions = self.length + torch.arange(new, device=ids.device) - self.start[:, None]
        positions = positions.clamp(min=0).flatten()
        cos, sin = self.cos[positions, None], self.sin[positions, None]
        h = self.embedding[ids.flatten()]
        for layer, (keys, values) in zip(self.layers, self.cache, strict=True):
            q, k, v = self._project(layer, h, cos, sin)
            place = slice(self.length, self.length + new)
            keys[:, :, place] = k.view(batch, new, self.kv_heads, -1).transpose(1, 2)
            values[:, :, place] = v.view(batch, new, self.kv_heads, -1).transpose(1, 2)
            seen = slice(0, self.length + new)
            attended = self._attend(
                q.view(batch, new, self.heads, -1), keys[:, :, seen], values[:, :, seen], allowed
            )
            h = h + _linear(attended.reshape(batch * new, -1), *layer["out"])
            gate, up = _linear(self._normed(h, layer["norm_mlp"]), *layer["gate_up"]).chunk(2, -1)
            h = h + _linear(F.silu(gate) * up, *layer["down"])
        self.length += new
        last = h.view(batch, new, -1)[:, -1]
        return _linear(self._normed(last, self.norm), *self.head)

    def _project(self, layer: dict[str, Any], h: Tensor, cos: Tensor, sin: Tensor) -> Any:
        """Rotated queries and keys, and values: [B S, heads, D] each."""
        qkv = _linear(self._normed(h, layer["norm_attention"]), *layer["qkv"])
        qkv = qkv.view(len(h), self.heads + 2 * self.kv_heads, self.head_dim)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if layer["norm_qk"] is not None:
            qk = self._normed(qk, layer["norm_qk"])
        qk = qk * cos + qk.roll(self.head_dim // 2, -1) * sin
        return qk[:, : self.heads], qk[:, self.heads :], v

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None) -> Tensor:
        """Attention of q [B, S, H, D] over keys, values [B, K, N, D]; allowed [B, 1, S, N]."""
        if allowed is not None:
            return F.scaled_dot_product_attention(
                q.transpose(1, 2), keys, values, attn_mask=allowed, enable_gqa=True
            ).transpose(1, 2)
        # One new token: the heads that share a key-value head are rows of one small product.
        grouped = q.reshape(len(q), self.kv_heads, -1, self.head_dim)
        scores = (grouped @ keys.transpose(-1, -2)) * self.head_dim**-0.5
        if self.bias is not None:
            scores = scores + self.bias[..., : keys.shape[2]]
        return torch.softmax(scores, dim=-1) @ values

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm over the last dimension; weight [.., D]."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * weight


def _transposed(linear: Any, *more: Any) -> tuple[Tensor, Tensor | None]:
    """Weights of one or several linear layers, side by side, [in, out], and their bias."""
    parts = (linear, *more)
    weight = torch.cat([part.weight.detach() for part in parts]).t().contiguous()
    if linear.bias is None:
        return weight, None
    return weight, torch.cat([part.bias.detach() for part in parts])


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


def _fuse(layer: Any, heads: int, kv_heads: int) -> dict[str, Any]:
    """The weights of one layer as the forward pass wants them."""
    attention, mlp = layer.self_attn, layer.mlp
    norm_qk = None
    if hasattr(attention, "q_norm"):
        q, k = attention.q_norm.weight.detach(), attention.k_norm.weight.detach()
        norm_qk = torch.cat([q.expand(heads, -1), k.expand(kv_heads, -1)])
    return {
        "norm_attention": layer.input_layernorm.weight.detach(),
        "qkv": _transposed(attention.q_proj, attention.k_proj, attention.v_proj),
        "norm_qk": norm_qk,
        "out": _transposed(attention.o_proj),
        "norm_mlp": layer.post_attention_layernorm.weight.detach(),
        "gate_up": _transposed(mlp.gate_proj, mlp.up_proj),
        "down": _transposed(mlp.down_proj),
    }
