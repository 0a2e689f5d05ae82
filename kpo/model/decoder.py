"""Decoders for the batched sampler: a KV cache that advances one token at a time.

`FusedDecoder` runs the Llama family (Llama, Qwen2, Qwen3) as a plain function of the Hugging Face
weights: fused query-key-value and gate-up products, a preallocated cache, no module overhead.
`ModelDecoder` calls the Hugging Face model itself and serves every other architecture.
Both drop the rows of finished responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

PREFILL_TOKENS = 1024
"""Prompt tokens read at once: few enough for their activations to stay in the processor's cache."""


class ModelDecoder:
    """Any causal model, through its own forward pass and cache."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def prefill(self, ids: Tensor, mask: Tensor, max_new: int) -> Tensor:
        """Read prompts [B, S], padded on the left, mask [B, S] real; logits [B, V] of the next.

        At most `max_new` tokens follow.
        """
        self.cache = DynamicCache(config=self.model.config)  # grows by itself
        self.mask = mask.long()
        return self._forward(ids)

    def step(self, tokens: Tensor) -> Tensor:
        """Append tokens [B]; logits [B, V] of the next."""
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._forward(tokens[:, None])

    def keep(self, rows: Tensor) -> None:
        """Keep the rows with these indices, any of them several times; forget the others."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def _forward(self, ids: Tensor) -> Tensor:
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        output = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions[:, -ids.shape[1] :],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class FusedDecoder:
    """The Llama family as a function of its weights. Holds fused copies: rebuild after an update.

    What can be folded into the weights is: the gains of the norms and the scale of the attention.
    The two halves of queries and keys are interleaved, which their product does not notice, so that
    the rotary embedding is one complex multiplication.

    Shapes: B rows, S new tokens, N cached tokens, H query heads, K key-value heads, D head size.
    """

    FAMILY = ("llama", "qwen2", "qwen3")

    FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")
    """Those whose angles follow from a token's place alone, whatever the length of its sequence."""

    @classmethod
    def supports(cls, config: Any, dtype: torch.dtype) -> bool:
        """Whether this forward pass reproduces the architecture; in float32 alone."""
        rotation = getattr(config, "rope_parameters", None) or {}
        return (
            dtype == torch.float32
            and config.model_type in cls.FAMILY
            and config.hidden_act in ("silu", "swish")
            and set(getattr(config, "layer_types", None) or []) <= {"full_attention"}
            and rotation.get("rope_type", "default") in cls.FIXED_ROTATIONS
            and rotation.get("partial_rotary_factor", 1.0) == 1.0
        )

    def __init__(self, model: Any) -> None:
        config = model.config
        base = model.get_decoder()
        self.rotary = base.rotary_emb
        self.eps = config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.embedding = base.embed_tokens.weight.detach()
        self.head = _fused([model.get_output_embeddings()], base.norm.weight)
        self.layers = [self._fuse(layer) for layer in base.layers]

    def prefill(self, ids: Tensor, mask: Tensor, max_new: int) -> Tensor:
        """See `ModelDecoder`."""
        batch, length = ids.shape
        room = (length + max_new, self.head_dim)
        new = self.embedding.new_empty
        # Keys lie transposed, [B, K, D, N]: the product of one token's queries with them is faster.
        self.cache = [
            (new(batch, self.kv_heads, *room[::-1]), new(batch, self.kv_heads, *room))
            for _ in self.layers
        ]
        self.length = 0
        positions = torch.arange(length + max_new, device=ids.device)[None]
        cos, sin = self.rotary(self.embedding, positions)
        half = self.head_dim // 2
        self.turn = torch.complex(cos[0, :, :half], sin[0, :, :half])  # by position [N, D / 2]
        self.padding = (~mask).sum(1)  # on the left of each row
        self.bias, self.allowed = None, None
        if not bool(mask.all()):
            lowest = torch.finfo(self.embedding.dtype).min
            self.bias = F.pad((~mask).to(self.embedding) * lowest, (0, max_new))[:, None, None]
            itself = torch.eye(length, dtype=torch.bool, device=ids.device)  # no row without a key
            self.allowed = (mask[:, None].expand(-1, length, -1).tril() | itself)[:, None]
        size = max(1, PREFILL_TOKENS // length)
        parts = [slice(start, start + size) for start in range(0, batch, size)]
        logits = torch.cat([self._forward(ids[rows], rows) for rows in parts])
        self.length = length
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """See `ModelDecoder`."""
        logits = self._forward(tokens[:, None], slice(None))
        self.length += 1
        return logits

    def keep(self, rows: Tensor) -> None:
        """See `ModelDecoder`."""
        self.cache = [(k[rows], v[rows]) for k, v in self.cache]
        self.padding = self.padding[rows]
        self.bias = None if self.bias is None else self.bias[rows]

    def _forward(self, ids: Tensor, rows: slice) -> Tensor:
        """Append tokens ids [B, S] to some rows of the batch; logits [B, V] of the next."""
        batch, new = ids.shape
        place, seen = slice(self.length, self.length + new), slice(0, self.length + new)
        positions = torch.arange(self.length, self.length + new, device=ids.device)
        positions = (positions - self.padding[rows, None]).clamp(min=0)
        turn = self.turn[positions.flatten(), None]  # of each new token, [B S, 1, D / 2] complex
        h = self.embedding[ids.flatten()]
        for layer, cache in zip(self.layers, self.cache, strict=True):
            qkv = _linear(self._normed(h), layer["qkv"])
            q, k, v = self._split(qkv.view(len(h), -1, self.head_dim), layer["norm_qk"], turn)
            keys, values = cache[0][rows], cache[1][rows]
            keys[..., place] = k.view(batch, new, self.kv_heads, -1).permute(0, 2, 3, 1)
            values[:, :, place] = v.view(batch, new, self.kv_heads, -1).transpose(1, 2)
            q = q.view(batch, new, self.heads, -1)
            attended = self._attend(q, keys[..., seen], values[:, :, seen], rows)
            if layer is self.layers[-1]:  # from here on only the last token counts
                attended, h = attended[:, -1:], h.view(batch, new, -1)[:, -1]
            h = _linear(attended.reshape(len(h), -1), layer["out"], add=h)
            gate, up = _linear(self._normed(h), layer["gate_up"]).chunk(2, -1)
            h = _linear(F.silu(gate, inplace=True).mul_(up), layer["down"], add=h)
        return _linear(self._normed(h), self.head)

    def _split(self, qkv: Tensor, norm: Tensor | None, turn: Tensor) -> tuple[Tensor, ...]:
        """Rotated queries and keys, and values, [B S, heads, D] each."""
        qk, v = qkv[:, : -self.kv_heads], qkv[:, -self.kv_heads :]
        if norm is not None:
            qk = self._normed(qk).mul_(norm)
        pairs = torch.view_as_complex(qk.unflatten(-1, (-1, 2)))
        qk = torch.view_as_real(pairs * turn).flatten(-2)
        return qk[:, : self.heads], qk[:, self.heads :], v

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, rows: slice) -> Tensor:
        """Attention of q [B, S, H, D] over keys [B, K, D, N], values [B, K, N, D]: [B, S, H D]."""
        if q.shape[1] > 1:
            attended = F.scaled_dot_product_attention(
                q.transpose(1, 2),
                keys.transpose(-1, -2),
                values,
                attn_mask=None if self.allowed is None else self.allowed[rows],
                is_causal=self.allowed is None,
                scale=1.0,
                enable_gqa=True,
            )
            return attended.transpose(1, 2).flatten(2)
        # One new token: the heads that share a key-value head are rows of one small product.
        scores = q.reshape(len(q), self.kv_heads, -1, self.head_dim) @ keys
        if self.bias is not None:
            scores += self.bias[rows, ..., : keys.shape[-1]]
        return (torch.softmax(scores, dim=-1) @ values).view(len(q), 1, -1)

    def _normed(self, x: Tensor) -> Tensor:
        """RMS norm over the last dimension, without its gain."""
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        return x * square.mul_(1 / x.shape[-1]).add_(self.eps).rsqrt_()

    def _fuse(self, layer: Any) -> dict[str, Any]:
        """The weights of one layer as the forward pass wants them."""
        attention, mlp = layer.self_attn, layer.mlp
        half = self.head_dim // 2
        order = torch.arange(self.head_dim).view(2, half).t().flatten()  # 0, half, 1, half + 1, ...
        scale = self.head_dim**-0.5
        rotated = self.heads + self.kv_heads
        weight, bias = _fused(
            [attention.q_proj, attention.k_proj, attention.v_proj], layer.input_layernorm.weight
        )
        norm_qk = None
        if hasattr(attention, "q_norm"):
            q, k = attention.q_norm.weight.detach(), attention.k_norm.weight.detach()
            norms = [(scale * q).expand(self.heads, -1), k.expand(self.kv_heads, -1)]
            norm_qk = torch.cat(norms)[:, order.to(q.device)]
            scale = 1.0
        for part in [weight] if bias is None else [weight, bias]:
            heads = part.view(*part.shape[:-1], -1, self.head_dim)
            heads[..., :rotated, :] = heads[..., :rotated, order.to(part.device)]
            heads[..., : self.heads, :] *= scale
        return {
            "qkv": (weight, bias),
            "norm_qk": norm_qk,
            "out": _fused([attention.o_proj]),
            "gate_up": _fused([mlp.gate_proj, mlp.up_proj], layer.post_attention_layernorm.weight),
            "down": _fused([mlp.down_proj]),
        }


Linear = tuple[Tensor, Tensor | None]
"""Weight [in, out] and bias [out]."""


def _fused(parts: Sequence[Any], gain: Tensor | None = None) -> Linear:
    """Linear layers side by side, with the gain [in] of the norm before them folded in; a copy."""
    weight = torch.cat([part.weight.detach() for part in parts])
    if gain is not None:
        weight = weight * gain.detach()
    bias = None if parts[0].bias is None else torch.cat([part.bias.detach() for part in parts])
    return weight.t().contiguous(), bias


def _linear(x: Tensor, linear: Linear, add: Tensor | None = None) -> Tensor:
    """x W + b, plus `add` where given."""
    weight, bias = linear
    if add is not None:
        x = torch.addmm(add, x, weight)
        return x if bias is None else x + bias
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


Decoder = ModelDecoder | FusedDecoder


def make_decoder(model: Any) -> Decoder:
    """The fastest decoder that knows the model's architecture."""
    fused = FusedDecoder.supports(model.config, model.dtype)
    return FusedDecoder(model) if fused else ModelDecoder(model)


def read_prompts(
    decoder: Decoder, prompts: Sequence[Sequence[int]], max_new: int, device: torch.device
) -> Tensor:
    """Read each distinct prompt once, then copy its cache for its rows; logits [B, V] of the next.

    At most `max_new` tokens follow.
    """
    place: dict[tuple[int, ...], int] = {}
    rows = [place.setdefault(tuple(prompt), len(place)) for prompt in prompts]
    lines = [torch.tensor(prompt) for prompt in place]
    ids = pad_sequence(lines, batch_first=True, padding_value=-1, padding_side="left").to(device)
    logits = decoder.prefill(ids.clamp(min=0), ids >= 0, max_new)
    if len(place) < len(rows):
        copies = torch.tensor(rows, device=logits.device)
        decoder.keep(copies)
        logits = logits[copies]
    return logits
