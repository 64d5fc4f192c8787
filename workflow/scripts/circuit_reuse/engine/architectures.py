"""Which families of models are supported, in which studies, and what of their config rules a study out.

A family is what `model_type` in config.json says.  Those of FAMILIES are tested against the plain
Hugging Face model, every study that is listed; docs/models.md is made from this list.  Standard
library only: this is read while a config is checked.
"""

from dataclasses import dataclass
from pathlib import Path

from circuit_reuse.data import fingerprint

EDGES = "eap, eap-ig, eap-absolute, eap-ig-absolute, edge circuits and sequences.edges"
WEIGHTS = "the weights study"
USES = {"edges": EDGES, "weights": WEIGHTS}
EXPERTS = "its MLPs are mixtures of experts, so a weight is not used on every prompt"
SCALED = "its residual stream is scaled between layers (residual_multiplier or embedding_multiplier)"


@dataclass(frozen=True)
class Family:
    """A family; edges, weights: None where they work, else why they do not.

    models: some that belong to it
    note:   what of its architecture is unusual
    """

    models: str
    note: str = ""
    edges: str | None = None
    weights: str | None = None


SHARED, POST = "grouped queries", "norms after attention and MLP"
FAMILIES = {
    "gpt2": Family("GPT-2, DistilGPT-2", "learned positions, fused projections"),
    "gpt_neo": Family("GPT-Neo", "local attention"),
    "gptj": Family("GPT-J", "attention and MLP side by side, one norm"),
    "gpt_neox": Family("GPT-NeoX, Pythia", "attention and MLP side by side"),
    "codegen": Family("CodeGen", "attention and MLP side by side, one norm"),
    "gpt_bigcode": Family("SantaCoder, StarCoder", "one key and value head"),
    "opt": Family("OPT but for 350M", "learned positions"),
    "xglm": Family("XGLM"),
    "bloom": Family("BLOOM", edges="it norms the embedding, so the stream is no sum of what is written"),
    "mpt": Family("MPT", "ALiBi"),
    "falcon": Family("Falcon 7B", "one key and value head; attention and MLP side by side, one norm"),
    "llama": Family("Llama 1 to 3, SmolLM 1 and 2, TinyLlama, Vicuna, Yi", SHARED),
    "smollm3": Family("SmolLM3", f"{SHARED}, layers without positions"),
    "mistral": Family("Mistral", f"{SHARED}, sliding window"),
    "ministral3": Family("Ministral 3", SHARED),
    "qwen2": Family("Qwen 1.5, 2, 2.5", f"{SHARED}, biases"),
    "qwen3": Family("Qwen3", f"{SHARED}, norms of queries and keys"),
    "gemma": Family("Gemma 1", SHARED),
    "gemma2": Family("Gemma 2", f"{POST}, {SHARED}, sliding window, capped logits"),
    "gemma3_text": Family("Gemma 3 270M and 1B", f"{POST}, {SHARED}, norms of queries and keys, sliding window"),
    "gemma3": Family("Gemma 3 4B to 27B", f"{POST}, {SHARED}, norms of queries and keys, sliding window; text alone"),
    "olmo": Family("OLMo 1", "norms without weights"),
    "olmo2": Family("OLMo 2", f"{POST} and none before, norms of queries and keys"),
    "olmo3": Family("OLMo 3", f"{POST} and none before, norms of queries and keys, sliding window"),
    "phi": Family("Phi-1, 1.5, 2", "attention and MLP side by side, one norm"),
    "phi3": Family("Phi-3, 3.5, Phi-4", f"fused projections, {SHARED}"),
    "stablelm": Family("StableLM", SHARED),
    "cohere": Family("Command R", f"attention and MLP side by side, one norm, {SHARED}"),
    "cohere2": Family("Command R7B, Command A", f"attention and MLP side by side, one norm, {SHARED}, sliding window"),
    "glm": Family("GLM-4 9B", SHARED),
    "glm4": Family("GLM-4 0414", f"{POST}, {SHARED}"),
    "exaone4": Family("EXAONE 4", f"{POST} and none before, {SHARED}"),
    "granite": Family("Granite 3 (dense)", SHARED, edges=SCALED),
    "starcoder2": Family("StarCoder2", SHARED),
    "nemotron": Family("Nemotron, Minitron", SHARED),
    "arcee": Family("AFM", SHARED),
    "apertus": Family("Apertus", f"{SHARED}, norms of queries and keys"),
    "seed_oss": Family("Seed-OSS", SHARED),
    "ernie4_5": Family("ERNIE 4.5 (dense)", SHARED),
    "mixtral": Family("Mixtral", f"experts, {SHARED}", weights=EXPERTS),
    "qwen2_moe": Family("Qwen 1.5 and 2 MoE", f"experts, {SHARED}", weights=EXPERTS),
    "qwen3_moe": Family("Qwen3 MoE", f"experts, {SHARED}, norms of queries and keys", weights=EXPERTS),
    "olmoe": Family("OLMoE", "experts, norms of queries and keys", weights=EXPERTS),
    "gpt_oss": Family("gpt-oss", f"experts, {SHARED}, sinks, sliding window", weights=EXPERTS),
}

ENCODER = "it is an encoder, which does not predict the next token"
SEQ2SEQ = "it is an encoder-decoder model; only decoders are supported"
STATE = "it has layers that are neither attention nor MLP (a state space, a recurrence or a convolution)"
LATENT = "its heads have no queries, keys and values of one width (latent attention)"
IMAGES = "it reads images or sound too; save its language model alone and use that"
LAYERED = "its layers differ in the shape of their attention, or share their keys and values"
REFUSED = {
    ENCODER: (
        "albert bert camembert deberta deberta-v2 distilbert electra ernie eurobert modernbert mpnet nomic_bert "
        "roberta xlm-roberta xlnet"
    ).split(),
    SEQ2SEQ: "bart blenderbot led longt5 m2m_100 marian mbart mt5 pegasus prophetnet switch_transformers t5 t5gemma umt5".split(),
    STATE: (
        "bamba falcon_h1 falcon_mamba granitemoehybrid jamba lfm2 lfm2_moe mamba mamba2 nemotron_h olmo_hybrid "
        "qwen3_5 qwen3_5_moe qwen3_5_text qwen3_next recurrent_gemma rwkv zamba zamba2"
    ).split(),
    LATENT: ("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "glm_moe_dsa", "minicpm3", "youtu"),
    IMAGES: (
        "gemma3n gemma4 idefics3 llama4 llava llava_next llava_onevision mistral3 mllama paligemma phi4_multimodal "
        "qwen2_5_vl qwen2_vl qwen3_vl smolvlm whisper"
    ).split(),
    LAYERED: ("gemma3n_text", "gemma4_text", "openelm", "laguna"),
}
PREDICTS = ("ForCausalLM", "LMHeadModel")


def unsupported(folder, uses=()):
    """Why a model cannot be used, or not for some studies, from its config.json; None if it can.

    uses:    edges, weights: what is asked of it beside removing, keeping and scoring components
    returns: the end of a sentence that begins with the model's name
    raises:  ModelError if the file is damaged
    """
    config = fingerprint.config_of(folder)
    kind = config.get("model_type")
    for reason, kinds in REFUSED.items():
        if kind in kinds:
            return f"is of the type {kind}: {reason}"
    names = config.get("architectures") or []
    names = [names] if isinstance(names, str) else names
    reads_images = kind in FAMILIES and str(*names[:1]).endswith("ForConditionalGeneration")
    if names and not reads_images and not any(str(name).endswith(PREDICTS) for name in names):
        return f"is a {names[0]}, which gives no logits of the next token; use the model that ends in ForCausalLM"
    if kind == "falcon" and config.get("new_decoder_architecture"):
        return "is built like Falcon 40B (new_decoder_architecture), which TransformerLens does not load"
    if kind == "phi" and config.get("qk_layernorm"):
        return "has qk_layernorm, which TransformerLens does not load for Phi"
    for use in uses:
        if reason := without(use, kind, config):
            return f"is of the type {kind}, for which there is no {USES[use]}: {reason}"
    return None


def without(use, kind, config):
    """Why a family, or a model of it by what its config says, has no edges or weights; None if it has."""
    if use == "edges" and kind == "granite":
        scales = (config.get(f"{name}_multiplier", 1) for name in ("residual", "embedding"))
        return SCALED if any(scale != 1 for scale in scales) else None
    if use == "edges" and kind == "opt":
        narrow = config.get("word_embed_proj_dim", config["hidden_size"]) != config["hidden_size"]
        if narrow or config.get("do_layer_norm_before") is False:
            return "its norms stand after the sum, or its embedding is projected (OPT 350M)"
    family = FAMILIES.get(kind)
    return family and getattr(family, use)


def tested(folder):
    """Whether a model's family is among those that are compared with the plain model."""
    return fingerprint.config_of(Path(folder)).get("model_type") in FAMILIES


def document():
    """The text of docs/models.md."""
    yes = {None: "yes"}
    rows = [
        f"| `{kind}` | {family.models} | {family.note} | yes | "
        f"{yes.get(family.edges, 'no')} | {yes.get(family.weights, 'no')} |"
        for kind, family in sorted(FAMILIES.items())
    ]
    why = [
        f"* `{kind}` does not work with {USES[use]}: {reason}."
        for kind, family in sorted(FAMILIES.items())
        for use in USES
        if (reason := getattr(family, use))
    ]
    refused = [f"* {', '.join(f'`{kind}`' for kind in kinds)}: {reason}." for reason, kinds in REFUSED.items()]
    return TEXT.format(rows="\n".join(rows), why="\n".join(why), refused="\n".join(refused))


TEXT = """# Models

What works for which family (`model_type` in a model's config.json). For every family listed a tiny model with
random weights is compared with hooks on the plain Hugging Face model: the logits, a head's and an MLP's
ablation, every edge score, an edge circuit, a path-patched edge, and single weights
(`tests/unit/test_families.py`). A model of another type may work; nothing here says so.

**Components** are the methods gradient, atp, atp-star, ig, gim and patching, ablations, and what is built on them: `reuse`,
`scaling`, `contrast`, and `sequences` without edges. **Edges** are eap, eap-ig, eap-absolute, eap-ig-absolute, edge circuits and
`sequences.edges`; a model without edges has the component scores of eap and eap-ig under the names atp and ig. **Weights** is the study of that name.

| type | models | of note | components | edges | weights |
|---|---|---|---|---|---|
{rows}

{why}
* In mixtures of experts an MLP is one component with all its experts; `sequences` lists no neurons of it.

Refused while the config is read, from the model's config.json:

{refused}
* Falcon 40B and 180B (`new_decoder_architecture`) and Phi with `qk_layernorm`, which TransformerLens does not load.
* Classifiers and reward models, and whatever else has no architecture that ends in ForCausalLM or LMHeadModel.
* Quantised weights (`quantization_config`), whose gradients are not those of the model.

Refused when the model is first loaded (`describe_model`), before any result rests on it:

* Weights that are missing, left over or of another shape, by the names of their tensors: transformers would put random numbers in their places.
* A model whose logits, as they are studied, are not those of the plain model with its own attention, compared at up to 256 tokens. `results/<model>/model.json` states
  the difference (`bridge_difference`, a share of the spread of the logits), the lengths, the parameters of the loaded model (tied ones once) and the BOS token that goes first.

Shortcuts, such as a prefix that examples share, are checked against full runs at the lengths that are used; where a rotation depends on the length (longrope,
dynamic scaling), at exactly these. No job installs or downloads anything.

## Shared keys and values

Where several query heads share a key and a value head, a reader is the model's own: `a5.h3-5.k` is the key that
heads 3 to 5 of layer 5 share, `a5.h4.q` the query of head 4. An edge into a shared key, when cut or patched,
changes it for all of its heads. Files of other tools know query heads alone: there such an edge is one into each
head, with an even part of its score, and the file says so.

## Norms after attention and MLP

What a head adds to the stream is its share of what the norm after the attention gives. Edge scores pass its change
through that norm to first order, at the values of the run that the gradient is taken in, so that the edges
out of a head sum to `atp` (or, over the steps, to `ig`) exactly. Edge circuits and path patching compute the
norm of the changed sum again. An MLP is taken after its norm.
"""
