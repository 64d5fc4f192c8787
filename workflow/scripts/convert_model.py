"""Convert a GGUF file once to a model folder: weights dequantised to float32, config, tokenizer, origin.json."""

import job


def main(input, output, params, wildcards, threads, log):
    """Convert the file; raises ModelError if it cannot be converted."""
    from circuit_reuse import gguf_convert

    source = dict(params.cfg)
    expected = source.pop("fingerprint", None)
    origin = gguf_convert.convert(input.gguf, output.folder, source, source.get("sha256"), expected)
    log.info("%s", origin)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
