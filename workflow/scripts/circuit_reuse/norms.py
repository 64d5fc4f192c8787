"""Layer norms in closed form: what a norm does to a gradient, without running it backwards."""

from dataclasses import dataclass

import torch

UNKNOWN = (
    "eap and eap-ig know LayerNorm and RMSNorm with weights; this model has {}: use atp, ig or "
    "patching"
)


@dataclass(frozen=True)
class Norm:
    """A layer norm: y = weight * (x - centre) / scale (+ bias).

    weight:  [d_model], float32
    centred: whether the mean is taken off (LayerNorm) or not (RMSNorm)
    eps:     added to the variance
    """

    weight: torch.Tensor
    centred: bool
    eps: float

    def read(self, stream):
        """The normed stream before the weight, and 1 / scale.

        stream:  [..., d_model];  returns: [..., d_model], [...]
        """
        stream = stream.float()
        if self.centred:
            stream = stream - stream.mean(-1, keepdim=True)
        inverse = (stream.pow(2).mean(-1) + self.eps).rsqrt()
        return stream * inverse[..., None], inverse

    def tangent(self, stream, change):
        """What a small change before the norm is after it, to first order.

        stream: [..., d_model], before the norm;  change: of a shape that fits it
        """
        normed, inverse = self.read(stream)
        change = change.float()
        if self.centred:
            change = change - change.mean(-1, keepdim=True)
        along = (normed * change).mean(-1, keepdim=True)
        return (change - normed * along) * inverse[..., None] * self.weight

    def fold(self, matrix):
        """A matrix that reads the normed stream, [..., d_model], as one that reads before it.

        With the weight multiplied in, and with the mean taken off where the norm does so.
        """
        folded = matrix.float() * self.weight
        return folded - folded.mean(-1, keepdim=True) if self.centred else folded


class NoNorm:
    """Stands for a norm where a model has none: what is read is the stream."""

    def read(self, stream):
        """Nothing of the stream decides how it is read."""
        return torch.zeros_like(stream, dtype=torch.float32), stream.new_ones(
            stream.shape[:-1]
        ).float()

    def fold(self, matrix):
        """The matrix as it is."""
        return matrix.float()


def norm_of(module):
    """The closed form of a norm of the model, found by comparing it with the norm itself.

    raises: ValueError for another kind of norm
    """
    own, eps = getattr(module, "weight", None), getattr(module, "eps", None)
    eps = eps or getattr(module, "variance_epsilon", None)
    if own is None or eps is None:
        raise ValueError(UNKNOWN.format(type(module).__name__))
    weight, width = own.detach().float(), len(own)
    probe = torch.linspace(-2, 3, 3 * width, device=weight.device).view(3, width)
    probe = (probe + probe.sin()).to(module.weight.dtype)
    with torch.no_grad():
        # The bias, if any, is what a norm gives for a constant or zero stream.
        target = module(probe).float() - module(torch.zeros_like(probe)).float()
    for candidate in (
        Norm(weight, True, eps),
        Norm(weight, False, eps),
        Norm(1 + weight, False, eps),
    ):
        found = candidate.read(probe)[0] * candidate.weight
        limit = 1e-4 if module.weight.dtype == torch.float32 else 5e-2
        if torch.allclose(found, target, rtol=limit, atol=limit):
            return candidate
    raise ValueError(UNKNOWN.format(type(module).__name__))
