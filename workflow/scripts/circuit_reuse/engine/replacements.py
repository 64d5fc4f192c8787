"""What a removed component's output can be replaced by.  Imported by the Snakefile: standard library only."""

# By name: what the output becomes.  ablation_values.replacement_activations and effects.Evaluator say how.
REPLACEMENTS = {
    "zero": "zero",
    "mean": "the mean over the corrupt train prompts of the same length, position by position",
    "corrupt": "the output in the corrupt prompt",
    "resample": "the output in another prompt of the same length",
}
