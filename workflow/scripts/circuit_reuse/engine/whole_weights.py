"""Weights are loaded as the files have them: a tensor that is missing, left over or of another shape is refused by name.

transformers loads such a folder with random values in the missing places, other ones at each load.
"""

import fnmatch

from circuit_reuse.data import fingerprint

# Tensors of files that a model need not use: buffers that it computes itself, a copy of a tied output matrix, and
# heads that predict further tokens.
UNUSED = ("*.inv_freq", "*.masked_bias", "*.attn.bias", "*.attention.bias", "lm_head.weight", "*mtp*")
SHOWN = 4


class WholeWeights:
    """A model class of transformers that loads all weights of a folder or none."""

    def __init__(self, model_class):
        self.model_class = model_class

    def __getattr__(self, name):
        return getattr(self.model_class, name)

    def from_pretrained(self, folder, **settings):
        """The model of a folder; raises ModelError that names the tensors that do not fit."""
        try:
            model, info = self.model_class.from_pretrained(folder, output_loading_info=True, **settings)
        except RuntimeError as problem:
            if "ignore_mismatched_sizes" in str(problem) or "size mismatch" in str(problem):
                raise fingerprint.ModelError(
                    f"{folder}: tensors have other shapes than config.json says; get the files that belong together: "
                    f"{' '.join(str(problem).split())[:300]}"
                ) from None
            raise
        check_loaded(folder, info)
        return model


def check_loaded(folder, info):
    """Refuse a model that lacks weights, or has some that it does not use.

    info: of from_pretrained with output_loading_info: missing_keys, unexpected_keys, mismatched_keys
    raises: ModelError
    """
    missing, left = sorted(info["missing_keys"]), sorted(filter(matters, info["unexpected_keys"]))
    shapes = sorted(str(each) for each in info.get("mismatched_keys", ()))
    if missing:
        raise fingerprint.ModelError(
            f"{folder} lacks {listed(missing)}, which would be random numbers{renamed(missing, left)}; save the model again with "
            "save_pretrained"
        )
    if shapes:
        raise fingerprint.ModelError(f"{folder}: tensors have other shapes than config.json says: {listed(shapes)}")
    if left:
        raise fingerprint.ModelError(
            f"{folder} holds {listed(left)}, which the model of its config.json does not use (fewer layers, an adapter, another "
            "architecture); the config must belong to the weights"
        )


def matters(name):
    """Whether a tensor that is not used may be a part of the model."""
    return not any(fnmatch.fnmatch(name, pattern) for pattern in UNUSED)


def renamed(missing, left):
    """What looks like a prefix in front of all names, as the end of a sentence."""
    for name in left:
        for wanted in missing:
            if name != wanted and name.endswith(wanted):
                return f": {name!r} seems to be {wanted!r} with {name.removesuffix(wanted)!r} in front"
    return ""


def listed(names):
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more tensors" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
