"""The engine for parts of heads and layers against one hook a part and one example at a time."""

import logging

import pandas as pd
import pytest
import tiny_families
import torch
from circuit_reuse.engine import attribution, batching, interventions, models, output_norms, parts
from circuit_reuse.studies.scaling import stage_scan, stage_trace
from support import examples_for

LOG = logging.getLogger("test")
Patch = parts.Patch
METRIC = "logit_difference"
close = torch.testing.assert_close


@pytest.fixture(scope="module")
def runs(model, batch):
    """Base and parts of the corrupt run, parts of the clean run."""
    base, _ = parts.capture(model, batch.corrupt, parts.PLACES)
    _, clean = parts.capture(model, batch.clean, parts.PLACES)
    return base, clean


def slowly(model, tokens, patches, source, where, row):
    """One example; every patch is a hook that writes its slice."""
    hooks = []
    for patch in patches:
        name = parts.hook_of(patch.part, patch.layer)
        at = slice(None) if patch.role is None else where[patch.role][row]

        def write(tensor, hook, patch=patch, name=name, at=at):
            tensor, value = tensor.clone(), source[name][row]
            if patch.head is None:
                tensor[0, at] = value[at]
            elif patch.part == "pattern":
                tensor[0, patch.head, at] = value[patch.head, at]
            else:
                tensor[0, at, patch.head] = value[at, patch.head]
            return tensor

        hooks.append((name, write))
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=hooks):
        return models.logits(model, tokens[row : row + 1])[0]


def test_many_patches_in_one_batch_equal_one_at_a_time(model, batch, runs):
    base, clean = runs
    examples = torch.zeros_like(batch.clean, dtype=torch.bool)
    where = {"last": examples.clone(), "fourth": examples.clone()}
    where["last"][:, -1], where["fourth"][:, 3] = True, True
    sets = [[Patch(part, 1, 2)] for part in [name for name, place in parts.PLACES.items() if place.head is not None]]
    sets += [[Patch(part, layer)] for part in parts.OF_LAYERS for layer in (0, 2)]
    sets += [[Patch("z", 2, 1, "last")], [Patch("pattern", 1, 3, "last")]]
    sets += [[Patch("stream", 0, None, "fourth"), Patch("mlp", 2, None, "last"), Patch("k", 1, 0)]]
    found = {}
    for places, last in parts.scan(model, base, sets, clean, where, 600):
        found |= dict(zip(places, last.view(len(places), len(batch.rows), -1), strict=True))
    assert sorted(found) == list(range(len(sets)))
    for place, patches in enumerate(sets):
        for row in range(len(batch.rows)):
            expected = slowly(model, batch.corrupt, patches, clean, where, row)
            close(found[place][row], expected, rtol=1e-4, atol=1e-4)


def test_parts_add_up_to_the_whole(model, batch, runs):
    """A head's output is its pattern and values; a layer's attention its heads; all is all."""
    base, clean = runs
    heads = range(model.space.heads)
    sets = [
        [Patch("z", 0, 1)],
        [Patch("pattern", 0, 1), Patch("v", 0, 1)],
        [Patch("q", 0, 1), Patch("k", 0, 1), Patch("v", 0, 1)],
        [Patch("attention", 1)],
        [Patch("z", 1, head) for head in heads],
        [Patch("stream", model.space.layers - 1)],
    ]
    z, by_pattern, by_query, attention, by_heads, everything = (
        parts.replace(model, base, [patches], clean) for patches in sets
    )
    close(by_pattern, z, rtol=1e-4, atol=1e-4)
    close(by_query, z, rtol=1e-4, atol=1e-4)
    close(by_heads, attention, rtol=1e-4, atol=1e-4)
    close(everything, models.logits(model, batch.clean), rtol=1e-4, atol=1e-4)


def test_tracing_z_into_the_clean_run_is_the_head_scan_and_exact_patching(model):
    table = examples_for("ioi", 10)
    heads = [(layer, head) for layer in range(model.space.layers) for head in range(model.space.heads)]
    cfg = {"metric": METRIC, "parts": ["z"], "by_position": [], "least": 0}
    traced = stage_trace.trace(model, table, cfg, heads, 700, LOG)
    mine = traced[(traced["direction"] == "corrupt") & (traced["part"] == "z")]
    scanned = stage_scan.scan(
        model, table, table, {"replacements": ["corrupt"], "metric": METRIC, "accuracy": "top1"}, 2048, ("s",), LOG
    )
    for batch in batching.batches(table, 2048):
        exact = attribution.patching(model, batch, METRIC)
        for layer, head in heads:
            name = f"a{layer}.h{head}"
            expected = exact[:, model.space.names.index(name)].numpy()
            numbers = table["example"].to_numpy()[batch.rows]
            by_trace = mine[(mine["layer"] == layer) & (mine["head"] == head)].set_index("example")
            by_scan = scanned[scanned["component"] == name].set_index("example")
            assert by_trace.loc[numbers, "influence"].to_numpy() == pytest.approx(expected, abs=2e-4)
            assert by_scan.loc[numbers, "delta"].to_numpy() == pytest.approx(expected, abs=2e-4)


def test_influences_do_not_depend_on_the_batch(model):
    table = examples_for("ioi", 8)
    cfg = {"metric": METRIC, "parts": ["v", "pattern"], "by_position": ["v"], "least": 0}
    keys = ["direction", "part", "layer", "head", "role", "example"]
    large = stage_trace.trace(model, table, cfg, [(0, 1), (2, 3)], 4000, LOG)
    small = stage_trace.trace(model, table, cfg, [(0, 1), (2, 3)], 40, LOG)
    assert large[keys].equals(small[keys])
    assert small["influence"].to_numpy() == pytest.approx(large["influence"].to_numpy(), abs=2e-4)


def test_what_its_layer_does_not_show_is_not_traced_more_closely_and_the_rest_is_as_before(model):
    table, heads = examples_for("ioi", 8), [(layer, head) for layer in range(model.space.layers) for head in range(2)]
    cfg = {"metric": METRIC, "parts": ["z", "v"], "by_position": ["z"], "least": 0}
    keys = ["direction", "part", "layer", "head", "role", "example"]
    whole = stage_trace.trace(model, table, cfg, heads, 2048, LOG)
    everywhere = whole[whole["role"].isna()]
    moved = (everywhere["influence"] / everywhere["gap"]).abs()
    attention = moved[everywhere["part"] == "attention"].groupby(everywhere["layer"]).max()
    # By hand: between the two layers whose attention moves the metric of any example least.
    least = attention.nsmallest(2).mean()
    part = stage_trace.trace(model, table, cfg | {"least": least}, heads, 2048, LOG)
    looked_at = set(attention[attention >= least].index)
    assert len(looked_at) == model.space.layers - 1
    assert set(part.dropna(subset=["head"])["layer"]) == looked_at
    by_role = part[part["role"].notna()]
    assert set(by_role[by_role["part"] == "attention"]["layer"]) == looked_at
    z = moved[everywhere["part"] == "z"].groupby([everywhere["layer"], everywhere["head"]]).max()
    closely = by_role[by_role["part"] == "z"][["layer", "head"]].drop_duplicates()
    assert set(closely.itertuples(index=False, name=None)) == {
        place for place in z[z >= least].index if place[0] in looked_at
    }
    # Every layer is seen as a whole, and what is traced is traced as before.
    assert set(part[part["role"].isna() & (part["part"] == "stream")]["layer"]) == set(range(model.space.layers))
    same = whole.set_index(keys)["influence"].loc[pd.MultiIndex.from_frame(part[keys])].to_numpy()
    assert part["influence"].to_numpy() == pytest.approx(same, abs=2e-4)


def test_all_positions_of_the_last_stream_restore_everything_and_early_words_nothing(model):
    table = examples_for("ioi", 8)
    cfg = {"metric": METRIC, "parts": ["z"], "by_position": [], "least": 0}
    found = stage_trace.trace(model, table, cfg, [(0, 0)], 2048, LOG)
    stream = found[(found["part"] == "stream") & (found["direction"] == "restore")]
    top = stream[stream["layer"] == model.space.layers - 1]
    for role in ("end", None):
        mine = top[top["role"].isna() if role is None else top["role"] == role]
        assert (mine["influence"] / mine["gap"]).to_numpy() == pytest.approx(1, abs=1e-3)
    # The subject's second mention is what differs: nothing before it can matter.
    assert (stream[stream["role"].isin(["IO", "S1"])]["influence"].abs() < 1e-3).all()
    assert (stream[stream["role"] == "S2"]["influence"].abs() > 0.01).any()


def test_the_last_mlp_at_the_last_position_alone_changes_nothing(model, batch):
    from circuit_reuse.engine import shortcuts

    assert shortcuts.able(model, "end")
    _, corrupt = interventions.run(model, batch.corrupt)
    base, _ = interventions.base(model, batch.clean)
    sets = [["m2"], ["a2.h0"], ["a0.h1", "m0"], ["m2", "a1.h1"]]
    fast = interventions.replace(model, base, sets, corrupt)
    model.shortcuts["end"] = False
    try:
        close(interventions.replace(model, base, sets, corrupt), fast, rtol=1e-5, atol=1e-4)
    finally:
        model.shortcuts["end"] = True


def test_output_norms_are_those_of_what_each_head_writes(model):
    table = examples_for("digits", 3)
    found = stage_scan.output_norms(model, table, 2048).set_index(["component", "example"])["output_norm"]
    for row in range(3):
        batch = batching.batch_of(table, [row], "cpu")
        _, acts = interventions.run(model, batch.clean)
        written = acts.z[1][0, :, 2] @ model.bridge.blocks[1].attn.W_O[2]
        expected = written.norm(dim=-1).mean().item()
        assert found["a1.h2", row] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("kind", "times"), [("gemma2", 1.0), ("llama", 10.0)])
def test_the_norm_of_what_a_head_writes_is_taken_after_a_norm_that_follows_the_attention(tmp_path, kind, times):
    """Ten times the output weights of a layer write ten times as much, unless a norm takes that off."""
    torch.manual_seed(0)
    tiny_families.build(kind, tmp_path)
    own, table = models.load(tmp_path, "cpu", threads=1), examples_for("digits", 3)
    table["clean_tokens"] = [[token % 1600 for token in tokens] for tokens in table["clean_tokens"]]

    def norms():
        found = output_norms.output_norms(own, table, 2048)
        return found[found["component"].str.startswith("a1.")]["output_norm"].to_numpy()

    before = norms()
    with torch.no_grad():
        own.bridge.blocks[1].attn.o.original_component.weight.mul_(10)
    assert norms() == pytest.approx(times * before, rel=0.01) and (before > 0).all()


def test_a_pattern_put_in_by_its_product_with_the_values_is_the_same(model, batch, runs):
    """For models whose attention has read its pattern before a hook can change it."""
    from circuit_reuse.engine import shortcuts

    base, clean = runs
    last = torch.zeros_like(batch.clean, dtype=torch.bool)
    last[:, -1] = True
    sets = [
        [Patch("pattern", 1, 2)],
        [Patch("pattern", 0, 1, "last"), Patch("v", 0, 1)],
        [Patch("pattern", 2, 0), Patch("z", 2, 0)],
    ]
    assert shortcuts.able(model, "pattern")
    direct = parts.replace(model, base, sets, clean, {"last": last})
    model.shortcuts["pattern"] = False
    try:
        product = parts.replace(model, base, sets, clean, {"last": last})
    finally:
        model.shortcuts["pattern"] = True
    close(product, direct, rtol=1e-4, atol=1e-4)
