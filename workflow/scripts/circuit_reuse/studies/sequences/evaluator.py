"""Run many circuits alone on the same examples: everything outside a circuit is replaced.

Pruning runs change one component at a time.  What lies below the changed component is the
same as before, so a candidate starts at its layer from the stream of the pruning run's present circuit;
candidates of many pruning runs share a batch; and a circuit that was run once is never run again.
"""

import math
import time
from dataclasses import replace

import numpy as np
import torch

from circuit_reuse.data import components
from circuit_reuse.engine import ablation_values, batching, interventions, prepared, progress

# What the streams of all pruning runs may take at least; on a GPU a quarter of what is free.
STREAM_BYTES = 2 * 2**30
# Tokens of a run on a processor, where larger ones gain little; and products of a run (tokens by
# weights), above which one circuit keeps all cores working.
FIXED_TOKENS, FIXED_PRODUCTS = 512, 2 * 10**9


class CircuitEvaluator:
    """Examples with their replacement, and what was run on them.

    metric: a name in data.metrics.UNITS, or `kl`: how much nearer a circuit's prediction is to the intact model's than that of
            the empty circuit, KL(intact || empty) - KL(intact || circuit), nats; the intact model has the first of the two
    full:   [example], metric of the intact model
    known:  {set of removed names: metric [example], float32}
    """

    def __init__(self, model, examples, reference, replacement, metric, tokens, means="once", known=None):
        self.model, self.metric, self.tokens, self.means = model, metric, tokens, means
        self.replacement, self.known = replacement, {}
        self.examples = examples.reset_index(drop=True)
        self.reference, self.fixed = reference, model.device.type == "cpu"
        self.used, self.prepared, self.runs, self.asked = {}, [], 0, 0
        # Of the layers; the embedding is looked up.
        self.weights = sum(
            weight.numel() for block in model.bridge.blocks for weight in block.original_component.parameters()
        )
        self.full = np.empty(len(self.examples))
        for batch, base, instead in prepared.prepared(model, self.examples, reference, replacement, tokens):
            self.prepared.append((batch, self.streamed(base, instead), instead))
        self.clean = [base.last.log_softmax(-1) for _, base, _ in self.prepared] if metric == "kl" else None
        self.floor = np.zeros(len(self.examples), dtype=np.float32)
        if metric == "kl":
            self.floor = -self.evaluate([Request(frozenset(model.space.of_kinds()))])[0].astype(np.float32)
            self.used, self.runs, self.asked = {}, 0, 0
        # Only now: the divergence of the empty circuit is not what `known` has of it.
        self.known = dict(known or {})
        for number, (batch, base, _) in enumerate(self.prepared):
            self.full[batch.rows] = self.values(base.last, number, 1)[0]

    @torch.no_grad()
    def streamed(self, base, instead):
        """The base with the streams of a run of the shape of all others, see at_once."""
        if not self.fixed or base.streams is None:
            return base
        names = [f"blocks.{layer}.hook_resid_pre" for layer in range(len(base.streams))]
        whole, kept = interventions.Base(base.tokens, base.prefix), {}
        with self.model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *names)):
            interventions.replace(self.model, whole, [[]] * self.at_once(base), instead)
        return replace(base, streams=[kept[name][: len(base.tokens)] for name in names])

    def values(self, last, number, sets):
        """Metrics of a run of one batch, by its number, [set, example], as numpy."""
        batch = self.prepared[number][0]
        if self.metric != "kl":
            return prepared.values(last, batch, sets, self.metric)
        clean = self.clean[number].repeat(sets, 1)
        divergence = (clean.exp() * (clean - last.log_softmax(-1))).sum(1).clamp_min(0)
        return self.floor[batch.rows] - divergence.view(sets, -1).float().cpu().numpy()

    def __call__(self, sets):
        """Metrics with each set of components removed, [set, example]."""
        return self.evaluate([Request(frozenset(names)) for names in sets])

    def evaluate(self, requests):
        """Metrics of requests, [request, example]; what is known is not run."""
        self.asked += len(requests)
        new = {}
        for request in requests:
            if request.removed not in self.known:
                new.setdefault(request.removed, request)
        if self.means == "published":
            for removed in new:
                self.known[removed] = self.published(removed)
        elif new:
            self.run(list(new.values()))
        self.runs += len(new)
        for request in requests:
            self.used[request.removed] = self.known[request.removed]
        return np.stack([self.known[request.removed] for request in requests]).astype(float)

    def run(self, requests):
        """Run requests together, as many at once as fit, those of one first layer together."""
        found = np.empty((len(requests), len(self.examples)), dtype=np.float32)
        for number, (batch, base, instead) in enumerate(self.prepared):
            groups = {}
            for place, request in enumerate(requests):
                groups.setdefault(request.begin, []).append(place)
            for start, places in sorted(groups.items(), key=lambda item: -item[0]):
                size = self.at_once(base)
                what = f"circuits on {len(batch.rows)} examples"

                def work(chosen, start=start, number=number, base=base, instead=instead, size=size):
                    picked = [requests[place] for place in chosen]
                    if self.fixed:
                        picked += [picked[0]] * (size - len(picked))
                    last = self.replaced(picked, start, number, base, instead)
                    return self.values(last, number, len(picked))[: len(chosen)]

                for chosen, values in batching.in_pieces(work, places, size, self.model.device, what):
                    found[np.ix_(chosen, batch.rows)] = values
        for request, values in zip(requests, found, strict=True):
            self.known[request.removed] = values

    def replaced(self, requests, start, number, base, instead):
        """Logits of some requests that begin at one layer; they keep their streams above it."""
        removed = [request.removed for request in requests]
        if start < 0:
            return interventions.replace(self.model, base, removed, instead)
        streams = torch.cat([request.state.streams[number][start] for request in requests])
        names = {f"blocks.{layer}.hook_resid_pre": layer for layer in range(start + 1, self.model.space.layers)}
        kept = {}
        keep = interventions.keepers(kept, *names)
        last = interventions.replace(self.model, base, removed, instead, (start, streams), keep)
        count = len(base.tokens)
        for place, request in enumerate(requests):
            rows = slice(place * count, (place + 1) * count)
            # A run that was filled up holds a request more than once.
            request.above.setdefault(number, {layer: kept[name][rows] for name, layer in names.items()})
        return last

    @torch.no_grad()
    def published(self, removed):
        """As published: MLP means over the corrupt prompts with the circuit's heads alone.

        The MLP means change with every candidate; head means do not (Lan et al. 2023, as run).
        """
        heads = [name for name in removed if components.kind(name) == "head"]
        plain = ablation_values.reference_mean(self.model, self.reference, self.tokens)
        _, _, mlps = interventions.hook_names(self.model)
        sums, counts = {}, {}
        for batch in batching.batches(self.reference, self.tokens, self.model.device):
            length, kept = batch.corrupt.shape[1], {}
            means = ablation_values.repeated(plain[length], len(batch.rows))
            base = interventions.Base(batch.corrupt)
            with self.model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *mlps)):
                interventions.replace(self.model, base, [heads], means)
            counts[length] = counts.get(length, 0) + len(batch.rows)
            for name in mlps:
                total = kept[name].float().sum(0, keepdim=True)
                sums[length, name] = sums.get((length, name), 0) + total
        found = np.empty(len(self.examples), dtype=np.float32)
        for number, (batch, base, instead) in enumerate(self.prepared):
            length, count = batch.clean.shape[1], len(batch.rows)
            mine = [
                (sums[length, name] / counts[length]).expand(count, *mlp.shape[1:])
                for name, mlp in zip(mlps, instead.mlp, strict=True)
            ]
            means = interventions.Activations(instead.embedding, instead.z, mine)
            last = interventions.replace(self.model, base, [removed], means)
            found[batch.rows] = self.values(last, number, 1)[0]
        return found

    def at_once(self, base):
        """How many circuits share a run.

        On a processor always as many, filled up where there are fewer: matrix products of
        another shape round otherwise, and a metric must not depend on what else was asked for.
        Of a large model each has a run of its own, so that none is filled up with copies.
        """
        count = base.tokens.numel()
        if not self.fixed:
            return max(1, self.tokens // count)
        return max(1, min(FIXED_TOKENS // count, FIXED_PRODUCTS // (count * self.weights)))

    def room(self):
        """How many pruning runs can keep their streams; the others start from the clean run."""
        if self.means == "published" or any(base.streams is None for _, base, _ in self.prepared):
            return 0
        streams = [stream for _, base, _ in self.prepared for stream in base.streams]
        size = sum(stream.numel() * stream.element_size() for stream in streams)
        budget = STREAM_BYTES
        if not self.fixed and torch.cuda.is_available():
            budget = max(budget, torch.cuda.mem_get_info(self.model.device)[0] // 4)
        return budget // size

    def state(self):
        """Streams of the intact model as the state of a pruning run."""
        return State([list(base.streams) for _, base, _ in self.prepared], self.model.space.layers)


class State:
    """The streams of a pruning run's present circuit, those of the first `valid` layers up to date.

    streams: by batch, by layer, the input of the layer [example, position, d_model]
    """

    def __init__(self, streams, layers):
        self.streams, self.removed, self.valid = streams, frozenset(), layers

    def move(self, removed):
        """Another circuit: what lies above the first difference is out of date."""
        self.valid = min(self.valid, first_difference(self.removed, removed) + 1)
        self.removed = removed

    def learn(self, request):
        """Take over what a request found of the present circuit.

        A request that has become the circuit gives all; any other one gives the layers up to
        the one in which it differs.
        """
        for number, above in request.above.items():
            for layer, stream in above.items():
                if layer <= first_difference(self.removed, request.removed):
                    self.streams[number][layer] = stream.clone()
        if request.above:
            top = min(first_difference(self.removed, request.removed), len(self.streams[0]) - 1)
            self.valid = max(self.valid, top + 1)


class Request:
    """A circuit to run: what is removed, and the layer of a pruning run's streams to begin at, or -1."""

    def __init__(self, removed, state=None):
        self.removed, self.state, self.above = removed, state, {}
        self.begin = -1
        if state is not None:
            self.begin = min(first_difference(state.removed, removed), state.valid - 1)


def first_difference(first, second):
    """The first layer in which two sets of components differ; infinity if they do not."""
    return min((components.place(name)[0] for name in first ^ second), default=math.inf)


def run(pruning_runs, generators, evaluate, log, states=True):
    """Run pruning runs side by side until all have ended.

    generators: one for each pruning run, from pruning.steps
    states:     whether candidates begin at their layer (off only to measure what that saves)
    """
    began, asked, ran = time.monotonic(), evaluate.asked, evaluate.runs
    waiting, state, room = {}, {}, evaluate.room() if states else 0
    for number, generator in enumerate(generators):
        state[number] = evaluate.state() if number < room else None
        wanted = next(generator, None)
        if wanted is not None:
            waiting[number] = wanted
    with progress.bar(desc="candidates", unit="candidate") as bar:
        while waiting:
            requests = {
                number: [Request(target, state[number]) for target in wanted] for number, wanted in waiting.items()
            }
            flat = [request for mine in requests.values() for request in mine]
            values, place = evaluate.evaluate(flat), 0
            bar.update(len(flat))
            waiting = {}
            for number, mine in requests.items():
                pruning_run, generator = pruning_runs[number], generators[number]
                try:
                    waiting[number] = generator.send(values[place : place + len(mine)])
                except StopIteration:
                    state[number] = None
                place += len(mine)
                if state[number] is not None:
                    if pruning_run.removed != state[number].removed:
                        state[number].move(pruning_run.removed)
                    state[number].learn(mine[0])
                    for request in mine[1:]:
                        if request.removed == pruning_run.removed:
                            state[number].learn(request)
    seconds = max(time.monotonic() - began, 1e-9)
    asked, ran = evaluate.asked - asked, evaluate.runs - ran
    log.info(
        "%d pruning runs: %d candidates in %.1f s, %.0f per second; %d circuits run, %d known already",
        len(pruning_runs),
        asked,
        seconds,
        asked / seconds,
        ran,
        asked - ran,
    )
    return asked, ran, seconds
