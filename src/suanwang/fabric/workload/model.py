"""A transformer's sizes: its parameters, and the floating-point operations of one token.

Multiplying a token by a matrix of P parameters takes 2P operations, and attending to a sequence of s tokens
2s·heads·(query + value) more; backwards it is twice that (Narayanan et al.: "Efficient large-scale language model
training on GPU clusters using Megatron-LM", SC 2021, appendix). Norms, biases, softmax and activation functions are
not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

BACKWARD = 2
"""Operations backwards for each forwards: one product for the gradient of the input, one for that of the weights."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Sizes of the attention of each layer.

    `query` and `value` are the dimensions of a head's queries (and keys), and of its values. With `key_value_rank`
    above 0 it is multi-head latent attention (DeepSeek-V2, 2024, section 2.1): keys and values come from a latent
    vector of that many dimensions, `rotary` of a key's dimensions are shared by all heads, and queries come from
    `query_rank` ones.
    """

    heads: int
    key_value_heads: int
    query: int
    value: int
    query_rank: int = 0
    key_value_rank: int = 0
    rotary: int = 0

    def parameters(self, hidden: int) -> int:
        """Parameters of the four projections."""
        queries = self.heads * self.query
        from_hidden = hidden * queries
        if self.query_rank:
            from_hidden = hidden * self.query_rank + self.query_rank * queries
        if self.key_value_rank:
            up = self.key_value_rank * self.heads * (self.query - self.rotary + self.value)
            keys_values = hidden * (self.key_value_rank + self.rotary) + up
        else:
            keys_values = hidden * self.key_values
        return from_hidden + keys_values + self.heads * self.value * hidden

    @property
    def key_values(self) -> int:
        """Numbers that make up the keys and values of one token, as the products with queries need them."""
        heads = self.heads if self.key_value_rank else self.key_value_heads
        return heads * (self.query + self.value)

    def scores_flops(self, sequence: int, causal: bool) -> int:
        """Operations of one token's attention to the others, forwards; causal: on average half of them come before."""
        return 2 * sequence * self.heads * (self.query + self.value) // (2 if causal else 1)


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts in place of the feed-forward part: `count` of them, of which a token visits `per_token`.

    `shared` experts see every token. The first `dense_layers` layers have no experts. `imbalance` is the load of
    the busiest accelerator over the mean. `most_domains`, if above 0, is how many scale-up domains a token's
    experts are in.
    """

    count: int
    per_token: int
    feed_forward: int
    shared: int = 0
    dense_layers: int = 0
    imbalance: float = 1.0
    most_domains: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A decoder-only transformer. `gated` feed-forward parts (SwiGLU) have three matrices, others two.

    `tied`: the output layer uses the embedding's matrix.
    """

    layers: int
    hidden: int
    attention: Attention
    feed_forward: int
    vocabulary: int
    sequence: int
    gated: bool = True
    causal: bool = True
    tied: bool = False
    experts: Experts | None = None

    @property
    def matrices(self) -> int:
        """Matrices of a feed-forward part."""
        return 3 if self.gated else 2

    def has_experts(self, layer: int) -> bool:
        """Whether that layer, counted from 0, is a mixture of experts."""
        return self.experts is not None and layer >= self.experts.dense_layers

    @property
    def attention_parameters(self) -> int:
        """Parameters of a layer's attention and of its two norms."""
        latent = self.attention.query_rank + self.attention.key_value_rank
        return self.attention.parameters(self.hidden) + 2 * self.hidden + latent

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding, and as many of an output layer of its own."""
        return self.vocabulary * self.hidden

    def dense_parameters(self, layer: int) -> int:
        """Parameters of a layer that every token meets: all but those of routed experts."""
        wide = self.feed_forward
        router = 0
        if self.experts is not None and self.has_experts(layer):
            wide, router = self.experts.shared * self.experts.feed_forward, self.hidden * self.experts.count
        return self.attention_parameters + router + self.matrices * self.hidden * wide

    def expert_parameters(self, layer: int) -> int:
        """Parameters of one routed expert of a layer; 0 if it has none."""
        if self.experts is None or not self.has_experts(layer):
            return 0
        return self.matrices * self.hidden * self.experts.feed_forward

    def _total(self, experts: int) -> int:
        layers = sum(self.dense_parameters(at) + experts * self.expert_parameters(at) for at in range(self.layers))
        return layers + self.hidden + self.embedding_parameters * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self._total(self.experts.count if self.experts else 0)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        return self._total(self.experts.per_token if self.experts else 0)

    def attention_flops(self) -> int:
        """Operations of one token in a layer's attention, forwards."""
        scores = self.attention.scores_flops(self.sequence, self.causal)
        return 2 * self.attention.parameters(self.hidden) + scores

    def dense_flops(self, layer: int) -> int:
        """Operations of one token in the feed-forward part or the shared experts and router, forwards."""
        return 2 * (self.dense_parameters(layer) - self.attention_parameters)

    def expert_flops(self, layer: int) -> int:
        """Operations of one token in the routed experts that it visits, forwards."""
        return 2 * self.expert_parameters(layer) * (self.experts.per_token if self.experts else 0)

    def output_flops(self) -> int:
        """Operations of one token in the output layer, forwards."""
        return 2 * self.embedding_parameters

    def training_flops(self) -> int:
        """Operations of one token forwards and backwards: what model FLOPs utilisation counts (PaLM, 2022, appendix
        B).
        """
        forward = self.output_flops() + sum(
            self.attention_flops() + self.dense_flops(at) + self.expert_flops(at) for at in range(self.layers)
        )
        return (1 + BACKWARD) * forward
