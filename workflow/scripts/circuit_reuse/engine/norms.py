"""Layer norms in closed form: what a norm does to a gradient, without running it backwards."""

from dataclasses import dataclass

import torch

UNKNOWN = (
    "edges (eap, eap-ig, edge circuits) know LayerNorm and RMSNorm; this model has {}: use atp, ig or "
    "patching, and circuits of components"
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
        stream = self.centre(stream.float())
        inverse = (stream.pow(2).mean(-1) + self.eps).rsqrt()
        return stream * inverse[..., None], inverse

    def held(self, stream, part):
        """What a part of a stream is after the norm, its scale held; the parts' sum is the normed stream.

        stream: [..., d_model], before the norm;  part: of a shape that fits it;  without the bias
        """
        _, inverse = self.read(stream)
        return self.centre(part.float()) * inverse[..., None] * self.weight

    def tangent(self, stream, change):
        """What a small change before the norm is after it, to first order.

        stream: [..., d_model], before the norm;  change: of a shape that fits it
        """
        normed, inverse = self.read(stream)
        change = self.centre(change.float())
        along = (normed * change).mean(-1, keepdim=True)
        return (change - normed * along) * inverse[..., None] * self.weight

    def centre(self, stream):
        """The stream without its mean, where the norm takes that off."""
        return stream - stream.mean(-1, keepdim=True) if self.centred else stream

    def fold(self, matrix):
        """A matrix that reads the normed stream, [..., d_model], as one that reads before it.

        With the weight multiplied in, and with the mean taken off where the norm does so.
        """
        return self.centre(matrix.float() * self.weight)


class NoNorm:
    """Stands for a norm where a model has none: what is read is the stream."""

    def read(self, stream):
        """Nothing of the stream decides how it is read."""
        return torch.zeros_like(stream, dtype=torch.float32), stream.new_ones(stream.shape[:-1]).float()

    def fold(self, matrix):
        """The matrix as it is."""
        return matrix.float()


def norm_of(module, device=None):
    """The closed form of a norm of the model, found by comparing it with the norm itself.

    device: where the model is, for a norm without weights
    raises: ValueError for another kind of norm
    """
    own, shape = getattr(module, "weight", None), getattr(module, "normalized_shape", None)
    if own is None and shape is None:
        raise ValueError(UNKNOWN.format(type(module).__name__))
    # OLMo's norm has neither weight nor a number of its own for eps.
    weight = torch.ones(shape, device=device) if own is None else own.detach().float()
    eps = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None) or 1e-5
    width, dtype = len(weight), torch.float32 if own is None else own.dtype
    probe = torch.linspace(-2, 3, 3 * width, device=weight.device).view(3, width)
    probe = (probe + probe.sin()).to(dtype)
    with torch.no_grad():
        # The bias, if any, is what a norm gives for a constant or zero stream.
        target = module(probe).float() - module(torch.zeros_like(probe)).float()
    limit = 1e-4 if dtype in (torch.float32, torch.float64) else 5e-2
    # Gemma's and Nemotron's weights are what is added to 1.
    for scale in (weight, 1 + weight):
        for centred in (True, False):
            candidate = Norm(scale, centred, eps)
            found = candidate.read(probe)[0] * candidate.weight
            if torch.allclose(found, target, rtol=limit, atol=limit):
                return candidate
    raise ValueError(UNKNOWN.format(type(module).__name__))
