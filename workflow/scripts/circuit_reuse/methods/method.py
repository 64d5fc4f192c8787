"""What an attribution method is.  Imported by the Snakefile: standard library only."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method that scores every component on every example.

    name:    what the config calls it
    scores:  a function of (model, batch, metric, steps, tokens) to [example, component], float32, in units of
             the metric: how the metric changes when a component is corrupted, negative where the component helps.
             It imports torch only when it is called
    source:  where it comes from
    signed:  whether scores have a sign
    steps:   whether it integrates over steps
    edges:   whether it scores edges, and so needs a model whose stream is a sum of what components write
    effect:  whether scores estimate what corrupting a component does, by the pair's corrupt prompt
    whole:   whether it needs the whole prompt; the others take only what the two prompts do not share
    """

    name: str
    scores: Callable
    source: str
    signed: bool = True
    steps: bool = False
    edges: bool = False
    effect: bool = True
    whole: bool = False

    @property
    def module(self):
        """Its module, below circuit_reuse."""
        return self.scores.__module__.removeprefix("circuit_reuse.")
