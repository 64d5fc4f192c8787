"""Load a model as a TransformerLens bridge, and read its last logits and the metric."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path

# A folder holds all that is needed; nothing may be fetched while a job runs.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components import NormalizationBridge
from transformer_lens.model_bridge.sources.transformers import source as loading
from transformers.activations import NewGELUActivation
from transformers.utils import logging as transformers_logging

from circuit_reuse.data import fingerprint
from circuit_reuse.data.components import Space
from circuit_reuse.engine import architectures, devices
from circuit_reuse.engine.whole_weights import WholeWeights

transformers_logging.disable_progress_bar()
# For a model that reads images, too, TransformerLens installs torchvision, and with it another torch.
# Only text is read here, so no processor of images is loaded.
loading.load_modality_processor = lambda *_: None
class_of = loading.get_hf_model_class_for_architecture
loading.get_hf_model_class_for_architecture = lambda architecture: WholeWeights(class_of(architecture))


@dataclass(frozen=True)
class Model:
    """A frozen model with its component space.

    bridge:   the TransformerBridge, weights unprocessed, no parameter gradients
    space:    layers, heads and widths
    parallel: whether an MLP reads the stream before its own layer's attention (GPT-NeoX)
    shortcuts: what was found of it once: which shortcuts give its own logits, its list of layers
    folder:   that it was loaded from, None where that is not known
    """

    bridge: TransformerBridge
    space: Space
    parallel: bool
    shortcuts: dict = field(default_factory=dict, compare=False)
    folder: Path | None = field(default=None, compare=False)

    def __repr__(self):
        """Short: a bridge prints each of its modules."""
        kind, space = type(self.bridge.original_model).__name__, self.space
        return f"<Model {kind}: {space.layers} layers, {space.heads} heads, width {space.d_model}, {self.dtype} on {self.device}>"

    @property
    def device(self):
        """Where the weights lie."""
        return next(self.bridge.original_model.parameters()).device

    @property
    def dtype(self):
        """What the weights are stored in."""
        return next(self.bridge.original_model.parameters()).dtype

    @cached_property
    def vocabulary(self):
        """What its token ids stand for, by `vocabulary`: read when it is first asked for, as jobs never do; None without a folder."""
        there = self.folder and (self.folder / "tokenizer.json").is_file()
        return vocabulary(self.folder) if there else None


def load(folder, device="auto", dtype="float32", threads=None):
    """Boot a bridge from a local folder.

    device:  cpu, cuda, mps, auto (a CUDA GPU if there is one, else the processor), or spread (layers over all GPUs)
    dtype:   float32, bfloat16 or float16
    threads: processor threads; results on a processor are the same bits for the same number
    raises:  ModelError if the folder has no safetensors weights or no tokenizer, or if the
             architecture lacks the places where components are read and replaced
    """
    fingerprint.files(folder)
    if reason := architectures.unsupported(folder):
        raise fingerprint.ModelError(f"{folder} {reason}; see docs/models.md")
    if threads:
        torch.set_num_threads(threads)
    if device in ("auto", "cuda"):
        devices.claim()
    devices.check(device)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = {"device_map": "auto"} if device == "spread" else {"device": device}
    bridge = TransformerBridge.boot_transformers(
        str(folder), dtype=getattr(torch, dtype), trust_remote_code=False, **where
    )
    bridge.requires_grad_(False)
    bridge.eval()
    fuse_activations(bridge.original_model)
    fuse_norms(bridge)
    space = fingerprint.shape(folder)
    check_shape(bridge.original_model.config.get_text_config(), space, folder)
    check_hooks(bridge, space)
    parallel = bool(getattr(bridge.cfg, "parallel_attn_mlp", False))
    # Whoever runs this may change the working folder later.
    return Model(bridge, space, parallel, folder=Path(folder).resolve())


def vocabulary(folder):
    """What each token id stands for, from a folder's tokenizer.json, as a hash of 16 hexadecimal digits.

    It is the same for models that can read one another's tokens, whatever else their files say.
    raises: ModelError for a file that is no tokenizer
    """
    path = Path(folder) / "tokenizer.json"
    about = path.stat()
    return vocabulary_of(path, about.st_size, about.st_mtime_ns)


@cache
def vocabulary_of(path, size, changed):
    """The same of a file, once as long as its size and time are the same: a large one takes a second."""
    content = fingerprint.json_object(path)
    try:
        known = content["model"]["vocab"]
        # A list, of tokens with their scores, is in the order of ids.
        pairs = known.items() if isinstance(known, dict) else ((token, n) for n, (token, _) in enumerate(known))
        tokens = {number: token for token, number in pairs}
        tokens |= {token["id"]: token["content"] for token in content.get("added_tokens") or ()}
    except (KeyError, TypeError, ValueError):
        raise fingerprint.ModelError(f"{path} is no tokenizer; save the model's tokenizer there") from None
    return hashlib.sha256(json.dumps(sorted(tokens.items())).encode()).hexdigest()[:16]


def of_job(job):
    """The model of a job: from its input files, by its `cfg` (dtype) and `compute` (device)."""
    return load(fingerprint.folder_of(job.input.model), job.compute["device"], job.cfg["dtype"], job.threads)


def check_shape(config, space, folder):
    """What was loaded must have the shape that was read from config.json: names, costs and slices of heads go by it.

    config: the loaded model's;  raises: ModelError that names both
    """
    loaded = {
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "d_model": "hidden_size",
        "d_head": "head_dim",
    }
    for name, key in loaded.items():
        there, read = getattr(config, key, None), getattr(space, name)
        if isinstance(there, int) and there != read:
            raise fingerprint.ModelError(
                f"{folder}/config.json gives {name} {read}, and the model that transformers makes of it has {there}: state {key} in the file"
            )


def check_hooks(bridge, space):
    """Refuse an architecture without the hooks that every method needs."""
    needed = ["embed.hook_out"]
    for layer in range(space.layers):
        needed += [f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"]
    missing = [name for name in needed if not reachable(bridge, name)]
    if missing:
        raise fingerprint.ModelError(
            f"{type(bridge.original_model).__name__} has no {missing[0]}: only models of attention "
            "and MLP layers can be studied (docs/models.md lists those that are tested)"
        )


def reachable(bridge, name):
    """Whether a hook is there under a name, be it another's."""
    found = bridge
    for part in name.split("."):
        try:
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        except (AttributeError, IndexError, TypeError):
            return False
    return True


def check_ready(model):
    """Refuse a model whose numbers would be those of another function.

    raises: ModelError in training mode, where dropout draws new masks in every run
    """
    if model.bridge.training or model.bridge.original_model.training:
        raise fingerprint.ModelError(
            "the model is in training mode, where dropout makes every run another: call eval()"
        )


def fuse_activations(model):
    """Put one fused kernel where GPT-2's GELU is written out in eight operations.

    The function is the same (the tanh approximation); on a processor the written-out form
    takes almost half of the time of a small model.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, torch.nn.GELU(approximate="tanh"))


def fuse_norms(bridge):
    """Let layer norms run as the model's own single kernel.

    The bridge writes them out, or computes them twice, for hooks inside the norm; no study
    looks in there.  Hooks before and after a norm stay.
    """
    for module in bridge.modules():
        if isinstance(module, NormalizationBridge):
            # Set past the bridge, which hands some attributes on to the norm that it wraps.
            module.__dict__["forward"] = partial(own_norm, module)


def own_norm(module, stream, **more):
    """What the model's norm gives, with the hooks before and after it."""
    return module.hook_out(module.original_component(module.hook_in(stream)))


def logits_of_last(model, tokens, count):
    """Logits after each of the last `count` positions, float32, [example, position, vocabulary]."""
    found = model.bridge(tokens, return_type="logits", logits_to_keep=count, use_cache=False)
    return found[:, -count:].float()


def logits(model, tokens, prefix=None, repeats=1):
    """Logits after the last position, float32, [example, vocabulary].

    tokens:  [example, position], those after the prefix if there is one
    prefix:  shortcuts.Prefix of the examples;  repeats: how often the examples are repeated
    """
    cache = {"use_cache": False} if prefix is None else {"past_key_values": prefix.cache(repeats)}
    return model.bridge(tokens, return_type="logits", logits_to_keep=1, **cache)[:, -1].float()


def metric_values(last, answer, distractor, choices, metric):
    """The metric of each example.

    last:       [example, vocabulary] logits after the last position
    distractor: [example] or [example, distractor], -1 where an example has fewer
    choices:    [example, label, variant] of a task of choices or of several right answers, the right ones first and
                -1 for none; or None
    metric:     logit_difference (answer - mean of the distractors, logits), log_probability (of the answer, nats) or
                probability_difference (of all right less all wrong answers; of answer and distractors without choices)
    returns:    [example]
    source:     Hanna et al. 2023 (probability difference)
    """
    if metric == "probability_difference":
        if choices is None:
            choices = torch.cat([answer[:, None, None], distractor.view(len(answer), -1, 1)], dim=1)
        there = (choices >= 0).flatten(1)
        found = last.softmax(-1).gather(1, choices.clamp_min(0).flatten(1)) * there
        found = found.view(choices.shape)
        return found[:, 0].sum(1) - found[:, 1:].flatten(1).sum(1)
    if metric == "logit_difference":
        distractor = distractor.view(len(answer), -1)
        there = distractor >= 0
        others = last.gather(1, distractor.clamp_min(0)) * there
        return last.gather(1, answer[:, None])[:, 0] - others.sum(1) / there.sum(1)
    return last.log_softmax(-1).gather(1, answer[:, None])[:, 0]
