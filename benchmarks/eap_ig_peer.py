"""EAP-IG (Hanna et al. 2024) as its authors' repository computes it, for real.py to time beside ours.

    <python with transformer-lens 2> benchmarks/eap_ig_peer.py <checkout of EAP-IG> <model folder>

It needs packages that the project does not have (transformer-lens 2 and transformers 4), so it is a process of its own.  Each line of the
input is a request as JSON, each line of the output an answer: {clean, corrupt: lists of token lists, answers, distractors, steps} gives
{clean_metric: [example], seconds, extra_megabytes}.
"""

import json
import sys
import time
from pathlib import Path

import torch
from measure import extra_megabytes


def loaded(folder):
    """The model in transformer-lens 2 without any processing of weights, with what EAP-IG asks for switched on."""
    import transformer_lens.loading_from_pretrained as loading
    from transformer_lens import HookedTransformer
    from transformers import AutoModelForCausalLM

    converted = {"LlamaForCausalLM": loading.convert_llama_weights, "GPT2LMHeadModel": loading.convert_gpt2_weights}
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # A newer transformers writes the base of rotary positions in another place.
    rotary = json.loads((Path(folder) / "config.json").read_text()).get("rope_parameters") or {}
    plain.config.rope_theta = rotary.get("rope_theta", getattr(plain.config, "rope_theta", None))
    config = loading.get_pretrained_model_config(
        folder, hf_cfg=plain.config.to_dict(), device="cpu", dtype=torch.float32
    )
    if "rope_theta" in rotary:
        config.rotary_base = rotary["rope_theta"]
    state = converted[plain.config.architectures[0]](plain, config)
    # Without a tokenizer: tokens come with the requests, and one of a newer transformers cannot be read.
    config.tokenizer_name = None
    model = HookedTransformer(config)
    model.load_and_process_state_dict(
        state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    if config.n_key_value_heads is not None:
        model.set_ungroup_grouped_query_attention(True)
    return model.eval()


def tokens_as_given(model, rows):
    """In the place of its tokeniser: the very tokens of the request, all of one length."""
    tokens = torch.tensor(rows)
    return tokens, torch.ones_like(tokens), torch.full((len(rows),), tokens.shape[1]), tokens.shape[1]


def difference(logits, clean_logits, lengths, labels, reduced=True):
    """The logit difference after the last position."""
    last = logits[:, -1]
    found = last.gather(1, labels[:, :1]) - last.gather(1, labels[:, 1:])
    return found.sum() if reduced else found[:, 0]


def on_cpu(zeros):
    """torch.zeros for code that always asks for a GPU."""

    def made(*arguments, device=None, **options):
        return zeros(*arguments, device=None if device == "cuda" else device, **options)

    return made


def main(checkout, folder):
    """Answer requests until the input ends."""
    sys.path.insert(0, str(Path(checkout) / "src"))
    from eap import attribute
    from eap.graph import Graph

    model = loaded(folder)
    attribute.tokenize_plus = tokens_as_given
    torch.zeros = on_cpu(torch.zeros)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        labels = torch.tensor([asked["answers"], asked["distractors"]]).T
        batches = [(asked["clean"], asked["corrupt"], labels)]
        with torch.no_grad():
            clean = difference(model(torch.tensor(asked["clean"])), None, None, labels, reduced=False)

        def work(batches=batches, steps=asked["steps"]):
            graph = Graph.from_model(model)
            attribute.attribute(model, graph, batches, difference, "EAP-IG-inputs", ig_steps=steps, quiet=True)

        start = time.perf_counter()
        extra = extra_megabytes(work)
        answer = {"clean_metric": clean.tolist(), "seconds": time.perf_counter() - start, "extra_megabytes": extra}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
